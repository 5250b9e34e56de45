// Observations that do wrong on purpose; each names the law that it breaks as its summary.
#include <dtk/observation.hpp>

namespace {

using at::Tensor;

/// Each with one number of an example but for what `of` says.
struct One : dtk::Observation {
    using Config = dtk::Observation::Config;
    One(const Config& config, const dtk::BuildContext& context, std::int64_t size = 1)
        : Observation(config, context, size) {}
};

/// Measured beside what the batch has on average.
struct Centred final : One {
    using One::One;
    Tensor of(const Tensor& x) const override {
        const auto sum = x.flatten(1).sum(1, true);
        return sum - sum.mean(0, true);
    }
};

/// A sum of squares that it takes for a matrix.
struct Energy final : One {
    using One::One;
    Tensor of(const Tensor& x) const override { return x.flatten(1).square().sum(1, true); }
};

/// The first element, where it says the last.
struct OffByOne final : One {
    OffByOne(const Config& config, const dtk::BuildContext& context) : One(config, context, 1) {
        last_ = at::full({1}, context.space().elements() - 1, at::kLong);
    }
    Tensor of(const Tensor& x) const override { return x.flatten(1).slice(1, 0, 1); }
    Tensor elements() const override { return last_; }
    Tensor last_;
};

/// Rounded to whole numbers: its slope is 0 wherever there is one.
struct Rounded final : One {
    using One::One;
    Tensor of(const Tensor& x) const override { return x.flatten(1).slice(1, 0, 1).detach() * 2; }
};

/// With an error of its own each time.
struct Shaky final : One {
    using One::One;
    Tensor of(const Tensor& x) const override {
        return x.flatten(1).slice(1, 0, 1) * (1 + 1e-3 * static_cast<double>(++calls_));
    }
    mutable int calls_ = 0;
};

/// Three numbers where two are announced.
struct Three final : One {
    Three(const Config& config, const dtk::BuildContext& context) : One(config, context, 2) {}
    Tensor of(const Tensor& x) const override { return x.flatten(1).slice(1, 0, 1).expand({-1, 3}).contiguous(); }
};

}  // namespace

DTK_PLUGIN(Observation, centred, Centred, "every row is measured by itself")
DTK_PLUGIN(Observation, energy, Energy, "it is a matrix where it says so")
DTK_PLUGIN(Observation, off_by_one, OffByOne, "its elements are those of x that it names")
DTK_PLUGIN(Observation, rounded, Rounded, "y has a derivative by x")
DTK_PLUGIN(Observation, shaky, Shaky, "asked twice, it answers the same, and changes nothing")
DTK_PLUGIN(Observation, three, Three, "it measures as many numbers as it says, in the type of x")
