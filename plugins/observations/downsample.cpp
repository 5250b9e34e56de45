// y = the means of an image's blocks of f × f, + sd·z.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/observation.hpp>

namespace {

using at::Tensor;

struct Downsample final : dtk::Observation {
    struct Config : dtk::Observation::Config {
        std::int64_t factor = 2;
        void fields(dtk::Fields& f) {
            f("factor", factor, dtk::at_least(2), "f, the side of a block");
            dtk::Observation::Config::fields(f);
        }
    };
    Downsample(const Config& config, const dtk::BuildContext& context)
        : Observation(config, context, blocks(config, context)), factor_(config.factor) {}

    Tensor of(const Tensor& x) const override { return at::avg_pool2d(x, factor_).flatten(1); }

 private:
    static std::int64_t blocks(const Config& c, const dtk::BuildContext& context) {
        const auto shape = context.space().shape;
        if (shape.size() != 3)
            throw dtk::Error(
                fmt::format("downsample is of images, but the data have shape {}", fmt::join(shape, " × ")),
                "use observation `matrix`");
        if (shape[1] % c.factor != 0 || shape[2] % c.factor != 0)
            throw dtk::Error(fmt::format("images of {} × {} have no whole blocks of {} × {}", shape[1], shape[2],
                                         c.factor, c.factor),
                             "choose a divisor of both sides");
        return shape[0] * (shape[1] / c.factor) * (shape[2] / c.factor);
    }

    std::int64_t factor_;
};
}  // namespace

DTK_PLUGIN(Observation, downsample, Downsample, "an image at a lower resolution (super-resolution)")
