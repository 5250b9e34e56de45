// Another guidance while the noise is between two levels, low < σ/α ≤ high, and none outside.
// Kynkäänniemi, Aittala, Karras, Laine, Aila & Lehtinen, "Applying Guidance in a Limited Interval Improves Sample and
// Distribution Quality in Diffusion Models", 2024.
#include <limits>

#include <dtk/guidance.hpp>
#include <dtk/schedule.hpp>

namespace {
struct Interval final : dtk::Guidance {
    struct Config {
        dtk::Part<dtk::Guidance> of{"classifier_free"};
        double low = 0, high = 1e300;
        void fields(dtk::Fields& f) {
            f("of", of, "the guidance that is limited");
            f("low", low, dtk::at_least(0), "σ/α at and below which there is none");
            f("high", high, dtk::above(0), "σ/α above which there is none");
        }
    } c;
    Interval(const Config& config, const dtk::BuildContext& context) : c(config), of_(config.of.make(context)) {
        if (!(c.low < c.high)) throw dtk::Error("`low` must be smaller than `high`", "swap them");
        if (of_->moves_steps())
            throw dtk::Error("interval limits guidance of what the network answers, and this one moves reverse steps",
                             "use form = \"score\"");
    }
    bool needs_null_condition() const override { return of_->needs_null_condition(); }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        return denoise.replaced([denoise, guided = of_->around(denoise), low = c.low, high = c.high](
                                    const at::Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            const auto inside = t.map([&](double t) {
                const double ratio = denoise.noise().ratio(t);
                return ratio > low && ratio <= high ? 1.0 : 0.0;
            });
            if (inside.uniform()) return inside.value() > 0 ? guided(x, t, condition) : denoise(x, t, condition);
            const auto in = [&](const dtk::Denoiser& one) {
                return denoise.process().convert(one(x, t, condition), dtk::PredictionType::x0, x, t);
            };
            return dtk::Prediction{
                dtk::PredictionType::x0, at::where(inside.beside(x) > 0, in(guided), in(denoise)), {}};
        });
    }

 private:
    std::shared_ptr<dtk::Guidance> of_;
};
}  // namespace

DTK_PLUGIN(Guidance, interval, Interval, "another guidance between two noise levels only (Kynkäänniemi et al. 2024)")
