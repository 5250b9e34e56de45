// y = x_k + sd·z of all elements k of an image but those in a hidden box, the same in every channel.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/observation.hpp>

namespace {

using at::Tensor;

struct Box final : dtk::Observation {
    struct Config : dtk::Observation::Config {
        std::vector<std::int64_t> hidden;
        void fields(dtk::Fields& f) {
            f("hidden", hidden, dtk::at_least(0), "what is not known of the image: [top, left, height, width]");
            dtk::Observation::Config::fields(f);
        }
    };
    Box(const Config& config, const dtk::BuildContext& context) : Box(config, context, shown(config, context)) {}

    Tensor of(const Tensor& x) const override {
        return x.flatten(1).index_select(1, places_.to(x.device(), /*non_blocking=*/true));
    }
    Tensor elements() const override { return places_; }

 private:
    Box(const Config& config, const dtk::BuildContext& context, const Tensor& places)
        : Observation(config, context, places.numel()), places_(places) {}

    /// The places of the elements outside the box.
    static Tensor shown(const Config& c, const dtk::BuildContext& context) {
        const auto shape = context.space().shape;
        if (shape.size() != 3)
            throw dtk::Error(
                fmt::format("`hidden` is a box of an image, but the data have shape {}", fmt::join(shape, " × ")),
                "use observation `elements`");
        if (c.hidden.size() != 4)
            throw dtk::Error(fmt::format("`hidden` has {} numbers, not 4", c.hidden.size()),
                             "write hidden = [top, left, height, width]");
        const auto top = c.hidden[0], left = c.hidden[1], height = c.hidden[2], width = c.hidden[3];
        if (height < 1 || width < 1 || top + height > shape[1] || left + width > shape[2])
            throw dtk::Error(
                fmt::format("a hidden box of {} × {} from row {} and column {} does not lie in images of {} × {}",
                            height, width, top, left, shape[1], shape[2]),
                "write hidden = [top, left, height, width], counted from 0");
        if (height == shape[1] && width == shape[2])
            throw dtk::Error("the hidden box is all of the image, so that nothing is known",
                             "make it smaller, or remove [observation]");
        const auto known = at::ones(shape, at::kBool);
        known.slice(1, top, top + height).slice(2, left, left + width).zero_();
        return known.flatten().nonzero().flatten();
    }

    Tensor places_;
};
}  // namespace

DTK_PLUGIN(Observation, box, Box, "an image but for a hidden box (inpainting)")
