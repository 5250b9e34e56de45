// logit β_t = logit β_t of another schedule + w·φ(t), t = 2 … T, β_1 stays;   φ: bumps spread over the steps, w learned
// The learned schedule of Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics",
// 2015, section 2.4.1, in the form of their code. Train it with `elbo`: the bound falls where a step of the other
// schedule was too wide, while a loss that weighs all steps alike is least where there is nothing to predict.
#include <dtk/build_context.hpp>
#include <dtk/layers.hpp>
#include <dtk/learned_schedule.hpp>

namespace {

using at::Tensor;

struct Learned final : dtk::LearnedBetas {
    struct Config {
        dtk::Part<dtk::Schedule> start{"sohl_dickstein"};
        std::int64_t bumps = 10;
        void fields(dtk::Fields& f) {
            f("start", start, "what it starts from, every β below 1");
            f("bumps", bumps, dtk::in(2, 1000), "numbers that are learned");
        }
    };
    Learned(const Config& config, const dtk::BuildContext& context)
        : start_(config.start.make(context)), bumps_(config.bumps) {
        weight_ = &parameter("weight", at::zeros({bumps_}));
    }

    Tensor betas(std::int64_t steps) const override {
        const auto& [logit, phi] = begin(steps, weight_->device());
        return (logit + phi.mv(weight_->to(at::kDouble))).sigmoid();
    }

 private:
    struct Begin {
        Tensor logit, phi;  ///< of the schedule it starts from: [T]; [T, bumps], 0 at the first step
    };
    /// For the number of steps that was last asked for.
    const Begin& begin(std::int64_t steps, at::Device device) const {
        if (begin_.logit.defined() && begin_.logit.size(0) == steps && begin_.logit.device() == device) return begin_;
        const auto levels = start_->levels(steps);
        std::vector<double> beta;
        for (std::int64_t t = 0; t < steps; ++t) beta.push_back(levels.added_variance(t, t - 1));
        const auto table = at::tensor(beta, at::kDouble);
        if (!(table < 1).all().item<bool>())
            throw dtk::Error("a schedule cannot be learned from one whose β reaches 1, whose log-odds are infinite",
                             "start from another, such as sohl_dickstein");
        auto phi = dtk::bumps(at::linspace(-1, 1, steps, at::kDouble), bumps_);
        phi[0].zero_();
        begin_ = {table.logit().to(device, true), phi.to(device, true)};
        return begin_;
    }

    std::shared_ptr<dtk::Schedule> start_;
    std::int64_t bumps_;
    Tensor* weight_;
    mutable Begin begin_;
};
}  // namespace

DTK_PLUGIN(Schedule, learned, Learned, "β is trained with the network, by the bound (Sohl-Dickstein et al. 2015)")
