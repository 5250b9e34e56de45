// x̂_0 ← x̂_0 − u^d ∇U(x̂_0),   u = (t+1)/T,   U = L w_R max(R_g − radius, 0) − w_C Σ_{j ≥ i+3} 1/(1 + ((d_ij − 4)/8)⁶)
// of the places of residues, in ångström: chains more compact than that, or with more contacts. Watson et al., "De novo
// design of protein structure and function with RFdiffusion", 2023, supplement 4.4. Samples are then no draws of the
// learned law, and how far they leave it is to be seen by their metrics.
#include <algorithm>
#include <cmath>

#include <dtk/guidance.hpp>
#include <dtk/process.hpp>

namespace {

using at::Tensor;

struct Potential final : dtk::Guidance {
    struct Config {
        double compact = 1, radius = 0, contacts = 0.1, decay = 2;
        void fields(dtk::Fields& f) {
            f("compact", compact, dtk::at_least(0),
              "w_R, about as many Å a step as a chain that is too wide is drawn in");
            f("radius", radius, dtk::at_least(0).measured_in("Å"), "of gyration, below which nothing is drawn in");
            f("contacts", contacts, dtk::at_least(0), "w_C, weight of contacts");
            f("decay", decay, dtk::at_least(0), "d, how fast it fades towards the data; 0: it does not");
        }
    } c;
    Potential(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto shape = context.space().shape;
        const bool points = shape.size() == 2 && shape[1] == 3, frames = shape.size() == 3 && shape[2] == 4;
        if (!points && !frames)
            throw dtk::Error("potentials are of chains in space, [L, 3], or of their frames, [L, 3, 4]",
                             "use it with data of chains");
        context.process().accept(dtk::PredictionType::x0);
    }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        if (c.compact == 0 && c.contacts == 0) return denoise;
        return denoise.replaced([this, denoise](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            const auto prediction = denoise(x, t, condition);
            const auto x0 = denoise.process().convert(prediction, dtk::PredictionType::x0, x, t);
            const bool frames = x.dim() == 4;
            const auto place = frames ? x0.select(-1, 3) : x0;
            const auto T = static_cast<double>(denoise.process().steps());
            const auto faded = t.map([&](double t) { return std::pow((t + 1) / T, c.decay); });
            const auto moved = place - faded * slope(place);
            return dtk::Prediction{dtk::PredictionType::x0,
                                   frames ? at::cat({x0.slice(-1, 0, 3), moved.unsqueeze(-1)}, -1) : moved,
                                   prediction.variance};
        });
    }

 private:
    /// ∇U: [B, L, 3]
    Tensor slope(const Tensor& place) const {
        auto all = at::zeros_like(place);
        if (c.compact > 0) {
            const auto off = place - place.mean(1, true);
            const auto radius = off.square().sum(-1).mean(1).sqrt().view({-1, 1, 1});
            all = all + c.compact * (radius > c.radius) * off / radius.clamp_min(1e-6);
        }
        if (c.contacts > 0) {
            const auto L = place.size(1);
            const auto apart = place.unsqueeze(2) - place.unsqueeze(1);
            const auto d = (apart.square().sum(-1) + 1e-6).sqrt();
            const auto number = at::arange(L, place.options());
            const auto counted = (number.unsqueeze(0) - number.unsqueeze(1)).abs() >= 3;
            const auto q = (d - 4) / 8;
            const auto steepness = 6 * q.pow(5) / (8 * (1 + q.pow(6)).square()) * counted / d;
            all = all + c.contacts * (steepness.unsqueeze(-1) * apart).sum(2);
        }
        return all;
    }
};
}  // namespace

DTK_PLUGIN(Guidance, potential, Potential, "draws chains together, or towards contacts (RFdiffusion)")
