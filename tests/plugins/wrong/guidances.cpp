// Guidance that does wrong on purpose; each names the law that it breaks as its summary.
#include <memory>

#include <dtk/guidance.hpp>

namespace {

using at::Tensor;

struct Scale {
    double scale = 2;
    void fields(dtk::Fields& f) { f("scale", scale, dtk::any_number(), "1: no guidance"); }
};

/// Away from the answer without the condition, as `moved` has it of both.
struct Wrong : dtk::Guidance {
    using Config = Scale;
    explicit Wrong(const Config& config) : c(config) {}
    bool needs_null_condition() const override { return true; }
    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        return denoise.replaced([this, denoise](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            const auto [with, without] = dtk::both_halves(denoise, x, t, condition);
            return dtk::Prediction{with.type, moved(with.value, without.value), {}};
        });
    }
    virtual Tensor moved(const Tensor& with, const Tensor& without) const = 0;
    Config c;
};

/// Three of four channels, as the code of a paper has it.
struct ThreeChannels final : Wrong {
    using Wrong::Wrong;
    Tensor moved(const Tensor& with, const Tensor& without) const override {
        auto all = with.clone();
        const auto some = std::max<std::int64_t>(all.size(1) * 3 / 4, 1);
        all.slice(1, 0, some).add_((c.scale - 1) * (with - without).slice(1, 0, some));
        return all;
    }
};

/// (1 + s)·c − s·u under the name of a scale whose 1 is no guidance.
struct ShiftedScale final : Wrong {
    using Wrong::Wrong;
    Tensor moved(const Tensor& with, const Tensor& without) const override {
        return (1.5 + c.scale) * with - (0.5 + c.scale) * without;
    }
};

/// The spread of the answer is kept over the batch, not for each example.
struct BatchSpread final : Wrong {
    using Wrong::Wrong;
    Tensor moved(const Tensor& with, const Tensor& without) const override {
        const auto guided = without + c.scale * (with - without);
        return c.scale == 1 ? guided : guided * (with.std() / guided.std());
    }
};

/// It asks without the condition and keeps it to itself.
struct Silent final : Wrong {
    using Wrong::Wrong;
    Tensor moved(const Tensor& with, const Tensor& without) const override {
        return without + c.scale * (with - without);
    }
    bool needs_null_condition() const override { return false; }
};

/// Momentum in a member, which outlives the trajectory.
struct Momentum final : Wrong {
    using Wrong::Wrong;
    Tensor moved(const Tensor& with, const Tensor& without) const override {
        auto delta = with - without;
        if (before_.defined() && before_.sizes() == delta.sizes() && before_.dtype() == delta.dtype())
            delta = delta - 0.5 * before_;
        before_ = delta;
        return with + (c.scale - 1) * delta;
    }
    mutable Tensor before_;
};

/// Asked for x̂_0 and answered as what the network predicts.
struct Mislabelled final : dtk::Guidance {
    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        return denoise.replaced([denoise](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            return dtk::Prediction{dtk::PredictionType::label, denoise(x, t, condition).value, {}};
        });
    }
};

/// Reverse steps are moved, and nobody is told to draw them.
struct Hidden final : dtk::Guidance {
    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        return denoise.shifted([](const Tensor&, const dtk::Normal& step, const dtk::Time&, const dtk::Time&,
                                  const dtk::Condition&) { return step.mean + 0.1; });
    }
};

/// The first row's time for all.
struct OneTime final : dtk::Guidance {
    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        return denoise.replaced([denoise](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            const auto first = t.rows(x.size(0))[0].item<double>();
            auto answer = denoise(x, t, condition);
            if (first > 300) answer.value = 0.9 * answer.value;
            return answer;
        });
    }
};

}  // namespace

DTK_PLUGIN(Guidance, three_channels, ThreeChannels, "every channel is guided alike")
DTK_PLUGIN(Guidance, shifted_scale, ShiftedScale, "the neutral scale changes nothing")
DTK_PLUGIN(Guidance, batch_spread, BatchSpread, "every row is guided by itself, at its own time")
DTK_PLUGIN(Guidance, silent, Silent, "it asks without the condition where it says so, and nowhere else")
DTK_PLUGIN(Guidance, momentum, Momentum, "it remembers nothing but its own trajectory")
DTK_PLUGIN(Guidance, mislabelled, Mislabelled, "its answers are shaped and typed as x, whatever the network predicts")
DTK_PLUGIN(Guidance, hidden, Hidden, "it moves reverse steps where it says so, and nowhere else")
DTK_PLUGIN(Guidance, one_time, OneTime, "every row is guided by itself, at its own time")
