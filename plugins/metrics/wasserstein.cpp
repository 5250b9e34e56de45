// Wasserstein distance of n samples of one number from the law of the data itself, whose distribution function F is
// known:
//   W_p = ((1/n) Σ_i |x_(i) − F⁻¹((i + ½)/n)|^p)^(1/p),   x_(0) ≤ x_(1) ≤ … the samples in order
// (Villani, "Topics in Optimal Transportation", 2003, remark 2.19). F is the integral of the density, by a
// Gauss–Legendre rule on panels that are halved until that changes nothing; F⁻¹ by Newton's steps in the panel,
// bisection where they leave it. Of true samples W_p is not 0 but about √(2/(πn)) ∫ √(F(1 − F)) dx for p = 1; mean and
// standard deviation come from `repeats` sets of them. Where x_T are quantiles and the sampler draws nothing, nothing
// is random, and W_p is to be held against 0 instead.
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include <dtk/densities.hpp>
#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

/// F⁻¹ of a density on the line.
class Law {
 public:
    /// examples: a few of the law's, to know where it lies. Errors: Error where the density cannot be integrated.
    Law(const dtk::Density& density, const Tensor& examples) : density_(density), rule_(dtk::gauss_legendre({-1, 1})) {
        // Edges at examples, too, or a narrow mode would fall between two nodes.
        const auto seen = std::get<0>(examples.flatten().sort()).slice(0, 0, std::nullopt, 8);
        const double least = seen[0].item<double>(), most = seen[-1].item<double>(), width = most - least;
        double off = 1;
        for (double margin = width / 2; off > missing && margin < 1000 * width; margin *= 2) {
            integrate(
                std::get<0>(at::cat({at::linspace(least - margin, most + margin, 65, at::kDouble), seen}).sort()));
            off = std::abs(upto_[-1].item<double>() - 1);
        }
        if (!(off <= missing))
            throw dtk::Error(fmt::format("the integral of the density is off 1 by {:.2g}", off),
                             "use sliced_wasserstein, which needs no density");
    }

    /// u: [n] in (0, 1) → F⁻¹(u), [n]
    Tensor quantiles(const Tensor& u) const {
        const auto panel = (at::searchsorted(upto_, u, false, /*right=*/true) - 1).clamp(0, edges_.size(0) - 2);
        const auto start = edges_.index_select(0, panel), share = u - upto_.index_select(0, panel);
        auto low = start.clone(), high = edges_.index_select(0, panel + 1), x = (low + high) / 2;
        const double close = 1e-14 * (edges_[-1] - edges_[0]).item<double>();
        auto open = at::arange(u.size(0));  // those that are not there yet
        for (int i = 0; i < 100 && open.numel() > 0; ++i) {
            const auto of = [&](const Tensor& all) { return all.index_select(0, open); };
            const auto now = of(x), excess = mass(of(start), now) - of(share);
            low.index_copy_(0, open, at::where(excess < 0, now, of(low)));
            high.index_copy_(0, open, at::where(excess < 0, of(high), now));
            const auto newton = now - excess / density(now), middle = (of(low) + of(high)) / 2;
            const auto there = excess.abs() <= 1e-15;
            const auto next =
                at::where(there, now, at::where((newton > of(low)).logical_and(newton < of(high)), newton, middle));
            x.index_copy_(0, open, next);
            open = open.masked_select((next - now).abs() > close);
        }
        return x;
    }

 private:
    static constexpr double missing = 1e-12;  ///< what the integral may be off 1

    Tensor density(const Tensor& x) const { return density_.log_prob(x.reshape({-1, 1})).exp().view_as(x); }

    /// ∫ p from each a to each b. [n] → [n]
    Tensor mass(const Tensor& a, const Tensor& b) const {
        const auto half = (b - a) / 2;
        return half * density(((a + b) / 2).unsqueeze(1) + half.unsqueeze(1) * rule_.at).matmul(rule_.weight);
    }

    void integrate(Tensor edges) {
        Tensor masses;
        for (int halvings = 0; halvings < 40; ++halvings) {
            const auto a = edges.slice(0, 0, -1), b = edges.slice(0, 1), middle = (a + b) / 2;
            masses = mass(a, middle) + mass(middle, b);
            // Two rules may agree on nothing where all there is lies beside an edge.
            const auto at_edges = (density(a) + density(b)) * (b - a);
            const auto rough = ((mass(a, b) - masses).abs() > 1e-15)
                                   .logical_or((at_edges > 1e-15).logical_and(masses < 1e-3 * at_edges));
            if (!rough.any().item<bool>()) break;
            edges = std::get<0>(at::cat({edges, middle.masked_select(rough)}).sort());
        }
        edges_ = edges;
        upto_ = at::constant_pad_nd(masses.cumsum(0), {1, 0}).slice(0, 0, edges.size(0));
    }

    const dtk::Density& density_;
    dtk::QuadratureNodes rule_;
    Tensor edges_;  ///< of the panels, rising
    Tensor upto_;   ///< F there
};

struct Wasserstein final : dtk::Metric {
    struct Config {
        std::int64_t p = 1, repeats = 32;
        void fields(dtk::Fields& f) {
            f("p", p, dtk::in(1, 2), "1: mean distance; 2: root of the mean squared distance");
            f("repeats", repeats, dtk::in(4, 1024), "sets of true samples that say what to expect");
        }
    } c;
    Wasserstein(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto& density = dtk::known_density(context.dataset(), "wasserstein");
        if (context.dataset().shape() != std::vector<std::int64_t>{1})
            throw dtk::Error("wasserstein is for data of one number", "use sliced_wasserstein");
        law_.emplace(density, context.dataset().test_examples(at::arange(1000, at::kLong)).x.to(at::kDouble));
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "units of the data"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = dtk::true_set_size(input.data, input.samples.size(0));
        const auto exact = law_->quantiles((at::arange(n, at::kDouble) + 0.5) / static_cast<double>(n));
        const auto distance = [&](const Tensor& x) {
            const auto off = std::get<0>(x.flatten().to(at::kCPU, at::kDouble).sort()) - exact;
            return c.p == 1 ? off.abs().mean().item<double>() : off.square().mean().sqrt().item<double>();
        };
        const auto floor = dtk::over_true_sets(input.data, c.repeats, n, random, distance);
        return {.value = distance(dtk::evenly_among(input.samples, n)),
                .expected = floor.mean,
                .expected_sd = floor.sd,
                .note = fmt::format("W{} of {} samples to the law of the data, in its units", c.p, n),
                .n = n};
    }

 private:
    std::optional<Law> law_;
};
}  // namespace

DTK_PLUGIN(Metric, wasserstein, Wasserstein, "Wasserstein distance to the exact law of data of one number")
