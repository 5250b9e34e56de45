// y = x_k + sd·z of some elements k of vectors.
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/observation.hpp>

namespace {

using at::Tensor;

struct Elements final : dtk::Observation {
    struct Config : dtk::Observation::Config {
        std::vector<std::int64_t> coordinates;
        void fields(dtk::Fields& f) {
            f("coordinates", coordinates, dtk::at_least(0), "which elements are known, the first is 0");
            dtk::Observation::Config::fields(f);
        }
    };
    Elements(const Config& config, const dtk::BuildContext& context)
        : Observation(config, context, checked(config, context)) {
        places_ = at::tensor(config.coordinates, at::kLong);
    }

    Tensor of(const Tensor& x) const override {
        return x.flatten(1).index_select(1, places_.to(x.device(), /*non_blocking=*/true));
    }
    Tensor elements() const override { return places_; }

 private:
    /// → how many are known
    static std::int64_t checked(const Config& c, const dtk::BuildContext& context) {
        const auto shape = context.space().shape;
        if (shape.size() != 1)
            throw dtk::Error(fmt::format("`coordinates` are of vectors, but the data are {}", fmt::join(shape, " × ")),
                             "use observation `box`, which says which part of the image is hidden");
        if (c.coordinates.empty())
            throw dtk::Error("nothing is said of what is known",
                             "name elements, as in coordinates = [0], and their values, as in values = [1.2]");
        std::set<std::int64_t> met;
        for (const auto place : c.coordinates) {
            if (place >= shape[0])
                throw dtk::Error(fmt::format("coordinate {} of data with {} elements", place, shape[0]),
                                 fmt::format("the first is 0, the last {}", shape[0] - 1));
            if (!met.insert(place).second)
                throw dtk::Error(fmt::format("coordinate {} is given twice", place), "name each known element once");
        }
        const auto known = static_cast<std::int64_t>(met.size());
        if (c.sd == 0 && known == shape[0])
            throw dtk::Error("all elements are known exactly, so that nothing is left to be drawn",
                             "leave some of them out, or say in `sd` what error they have");
        return known;
    }

    Tensor places_;
};
}  // namespace

DTK_PLUGIN(Observation, elements, Elements, "some elements of vectors, exactly or with an error")
