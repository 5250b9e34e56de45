// P(bin) ∝ √(running mean of L²) over bins of equal width in u, with a share `uniform` drawn evenly: what second_moment
// does for whole steps, for real times, with as many numbers as there are bins. Weighed back to uniform times.
// After the learned noise-level densities of Kingma & Gao, "Understanding Diffusion Objectives as the ELBO with Simple
// Data Augmentation", 2023, section 4.1.
#include <algorithm>
#include <cmath>
#include <utility>

#include <dtk/build_context.hpp>
#include <dtk/times.hpp>

namespace {

using at::Tensor;

struct Adaptive final : dtk::Times {
    struct Config {
        std::int64_t bins = 50;
        double decay = 0.99, uniform = 0.1;
        void fields(dtk::Fields& f) {
            f("bins", bins, dtk::in(2, 10000), "parts of the time");
            f("decay", decay, dtk::up_from(0, 1), "what is kept of a bin's mean at each error in it");
            f("uniform", uniform, dtk::down_from(0, 1), "share that is drawn evenly, which bounds the weights");
        }
    } c;
    Adaptive(const Config& config, const dtk::BuildContext& context)
        : c(config), whole_(context.process().whole_steps()), steps_(static_cast<double>(context.process().steps())) {
        if (whole_ && c.bins > context.process().steps()) c.bins = context.process().steps();
        mean_ = &buffer("mean_square", at::zeros({c.bins}, at::kDouble));
        seen_ = &buffer("seen", at::zeros({c.bins}, at::kDouble));
    }

    dtk::SampledTimes draw(const dtk::Batch& batch, const dtk::Process& process,
                           const dtk::Random& random) const override {
        const auto T = static_cast<double>(process.steps()), bins = static_cast<double>(c.bins);
        const auto p = probabilities();
        const auto* of_bin = p.const_data_ptr<double>();
        const auto share = random.uniform({batch.x.size(0)}, at::kDouble);
        const auto t = at::empty_like(share), weight = at::empty_like(share);
        for (std::int64_t i = 0; i < share.numel(); ++i) {
            // The bin that the share falls into, and the place inside it.
            double left = share.const_data_ptr<double>()[i];
            std::int64_t bin = 0;
            while (bin + 1 < c.bins && left >= of_bin[bin]) left -= of_bin[bin++];
            const double u = (static_cast<double>(bin) + std::clamp(left / of_bin[bin], 0.0, 1.0)) / bins;
            t.mutable_data_ptr<double>()[i] = whole_ ? std::min(std::floor(u * T), T - 1) : std::max(u, 1e-9) * T - 1;
            weight.mutable_data_ptr<double>()[i] = 1 / (bins * of_bin[bin]);
        }
        return {t, dtk::Coefficient::of_rows(weight)};
    }

    bool observes() const override { return true; }
    void observe(const dtk::Time& t, const Tensor& error) override {
        const auto rows = t.rows(error.size(0));
        const auto [mean, seen] = on_host();
        for (std::int64_t i = 0; i < rows.size(0); ++i) {
            const double one = error.const_data_ptr<double>()[i];
            const double u = (rows.const_data_ptr<double>()[i] + (whole_ ? 0.5 : 1)) / steps_;
            if (!std::isfinite(one)) continue;
            const auto bin =
                std::clamp<std::int64_t>(static_cast<std::int64_t>(u * static_cast<double>(c.bins)), 0, c.bins - 1);
            double& m = mean.mutable_data_ptr<double>()[bin];
            double& n = seen.mutable_data_ptr<double>()[bin];
            n = n * c.decay + 1;
            m += (one * one - m) / n;
        }
        mean_->copy_(mean, /*non_blocking=*/true);
        seen_->copy_(seen, /*non_blocking=*/true);
        version_ = seen_->_version();
    }

 private:
    /// Read from the device again only after somebody else, a checkpoint, has changed them.
    std::pair<Tensor, Tensor> on_host() const {
        if (!host_.first.defined() || version_ != seen_->_version()) {
            host_ = {mean_->cpu().clone(), seen_->cpu().clone()};
            version_ = seen_->_version();
        }
        return host_;
    }

    Tensor probabilities() const {
        const auto even = at::full({c.bins}, 1.0 / static_cast<double>(c.bins), at::kDouble);
        const auto [mean, seen] = on_host();
        const auto root = mean.sqrt();
        if ((seen == 0).any().item<bool>() || !(root.sum().item<double>() > 0)) return even;
        return (1 - c.uniform) * root / root.sum() + c.uniform * even;
    }

    bool whole_;
    double steps_;
    Tensor *mean_, *seen_;
    mutable std::pair<Tensor, Tensor> host_;
    mutable std::int64_t version_ = -1;
};
}  // namespace

DTK_PLUGIN(Times, adaptive, Adaptive, "as often as the error is large there, learned by bins (Kingma & Gao 2023)")
