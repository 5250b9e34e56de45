// P(t) ∝ √(E[L_t²] + little), E over the last `history` errors at t; until every t has so many, times are uniform. A
// share `uniform` is always drawn evenly. Weighed back, so that the objective stays that of uniform times. Nichol &
// Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, section 3.3, with a history of 10 and a uniform
// share of 0.001. The history is saved with a checkpoint.
#include <algorithm>
#include <cmath>
#include <utility>

#include <dtk/build_context.hpp>
#include <dtk/times.hpp>

namespace {

using at::Tensor;

struct SecondMoment final : dtk::Times {
    struct Config {
        std::int64_t history = 10;
        double uniform = 0.001;
        void fields(dtk::Fields& f) {
            f("history", history, dtk::in(1, 1000), "errors at each step that are remembered");
            f("uniform", uniform, dtk::in(0, 1), "share that is drawn evenly");
        }
    } c;
    SecondMoment(const Config& config, const dtk::BuildContext& context)
        : c(config), steps_(context.process().steps()) {
        errors_ = &buffer("errors", at::zeros({steps_, c.history}, at::kDouble));
        count_ = &buffer("count", at::zeros({steps_}, at::kLong));
    }

    dtk::SampledTimes draw(const dtk::Batch& batch, const dtk::Process&, const dtk::Random& random) const override {
        const auto p = probabilities();
        const auto rows = batch.x.size(0);
        const auto share = random.uniform({rows}, at::kDouble) * p.cumsum(0)[steps_ - 1];
        const auto t = at::searchsorted(p.cumsum(0), share, false, /*right=*/true).clamp_max(steps_ - 1);
        return {t.to(at::kDouble), dtk::Coefficient::of_rows(1 / (p.index_select(0, t) * static_cast<double>(steps_)))};
    }

    bool observes() const override { return true; }
    void observe(const dtk::Time& t, const Tensor& error) override {
        const auto rows = t.rows(error.size(0));
        const auto [errors, count] = on_host();
        auto* value = errors.mutable_data_ptr<double>();
        auto* seen = count.mutable_data_ptr<std::int64_t>();
        for (std::int64_t i = 0; i < rows.size(0); ++i) {
            const auto step = static_cast<std::int64_t>(std::round(rows.const_data_ptr<double>()[i]));
            const double one = error.const_data_ptr<double>()[i];
            if (step < 0 || step >= steps_ || !std::isfinite(one)) continue;
            value[step * c.history + seen[step]++ % c.history] = one;
        }
        errors_->copy_(errors, /*non_blocking=*/true);
        count_->copy_(count, /*non_blocking=*/true);
        version_ = count_->_version();
    }

 private:
    Tensor probabilities() const {
        const auto even = at::full({steps_}, 1.0 / static_cast<double>(steps_), at::kDouble);
        const auto [errors, count] = on_host();
        if ((count < c.history).any().item<bool>()) return even;
        const auto root = errors.square().mean(1).sqrt();
        const auto sum = root.sum();
        if (!(sum.item<double>() > 0)) return even;
        return (1 - c.uniform) * root / sum + c.uniform * even;
    }

    /// Read from the device again only after somebody else, a checkpoint, has changed them.
    std::pair<Tensor, Tensor> on_host() const {
        if (!host_.first.defined() || version_ != count_->_version()) {
            host_ = {errors_->cpu().clone(), count_->cpu().clone()};
            version_ = count_->_version();
        }
        return host_;
    }

    std::int64_t steps_;
    Tensor *errors_, *count_;
    mutable std::pair<Tensor, Tensor> host_;
    mutable std::int64_t version_ = -1;
};
}  // namespace

DTK_PLUGIN(Times, second_moment, SecondMoment, "as often as the loss is large there (Nichol & Dhariwal 2021)")
