// Codecs that do wrong on purpose; each names the law that it breaks as its summary.
#include <dtk/codec.hpp>

namespace {

using at::Tensor;

/// z = x/2, which is what the others do wrong.
struct Right : dtk::Codec {
    explicit Right(const dtk::BuildContext& context) : data_(context.dataset()) {}
    dtk::Space space() const override { return {data_.shape()}; }
    dtk::Latents encode(const Tensor& x) const override { return {x / 2}; }
    Tensor decode(const Tensor& z) const override { return z * 2; }
    const dtk::Dataset& data_;
};

/// Mean and deviation of the batch.
struct OfItsBatch final : Right {
    using Right::Right;
    dtk::Latents encode(const Tensor& x) const override { return {(x - x.mean(0)) / 2}; }
};

/// What it measures is no buffer, so that nothing is kept with the network.
struct NotKept final : Right {
    explicit NotKept(const dtk::BuildContext& context)
        : Right(context), sd_(data_.examples(at::arange(100)).x.std().item<double>()) {}
    dtk::Latents encode(const Tensor& x) const override { return {x / sd_}; }
    Tensor decode(const Tensor& z) const override { return z * sd_; }
    double sd_;
};

/// Multiplies both ways.
struct TheWrongWay final : Right {
    using Right::Right;
    dtk::Latents encode(const Tensor& x) const override { return {x * 2}; }
};

/// Scaled, and said to be the examples.
struct ClaimsIdentity final : Right {
    using Right::Right;
    bool is_identity() const override { return true; }
};

/// log σ² for σ².
struct LogVariance final : Right {
    using Right::Right;
    dtk::Latents encode(const Tensor& x) const override { return {x / 2, at::full_like(x, -3)}; }
};

/// In place.
struct InPlace final : Right {
    using Right::Right;
    dtk::Latents encode(const Tensor& x) const override { return {Tensor(x).div_(2)}; }
};

/// Flat latents, said to be shaped as the data.
struct Flat final : Right {
    using Right::Right;
    dtk::Latents encode(const Tensor& x) const override { return {x.flatten(1).slice(1, 0, 1)}; }
    Tensor decode(const Tensor& z) const override {
        auto sizes = data_.shape();
        sizes.insert(sizes.begin(), z.size(0));
        return at::zeros(sizes, z.options());
    }
};

/// The data's range, of latents that are wider.
struct Wider final : Right {
    using Right::Right;
    dtk::Space space() const override { return {data_.shape(), std::pair{-1.0, 1.0}, 0}; }
    dtk::Latents encode(const Tensor& x) const override { return {x * 5}; }
    Tensor decode(const Tensor& z) const override { return z / 5; }
};

struct Learns final : Right {
    explicit Learns(const dtk::BuildContext& context)
        : Right(context), scale_(parameter("scale", at::full({}, 2.0, at::kFloat))) {}
    dtk::Latents encode(const Tensor& x) const override { return {x / scale_}; }
    Tensor decode(const Tensor& z) const override { return z * scale_; }
    Tensor& scale_;
};

/// Looks at the numbers, which are on a device: the host waits for it.
struct Waits final : Right {
    using Right::Right;
    dtk::Latents encode(const Tensor& x) const override {
        if (!x.isfinite().all().item<bool>()) throw dtk::Error("an example is not finite", "look at the data");
        return {x / 2};
    }
};

/// Its numbers stay on the CPU, as no buffer.
struct StaysBehind final : Right {
    explicit StaysBehind(const dtk::BuildContext& context)
        : Right(context), scale_(at::full(data_.shape(), 2.0, at::kFloat)) {}
    dtk::Latents encode(const Tensor& x) const override { return {x / scale_}; }
    Tensor scale_;
};

struct Narrow final : Right {
    using Right::Right;
    Tensor decode(const Tensor& z) const override { return z.to(at::kFloat) * 2; }
};

}  // namespace

DTK_PLUGIN(Codec, of_its_batch, OfItsBatch, "latents of an example are its own, whatever the batch")
DTK_PLUGIN(Codec, not_kept, NotKept, "its tensors are all that it knows of the data")
DTK_PLUGIN(Codec, the_wrong_way, TheWrongWay, "what went through latents is nearer than the mean of the data")
DTK_PLUGIN(Codec, claims_identity, ClaimsIdentity, "latents that are said to be the examples are")
DTK_PLUGIN(Codec, log_variance, LogVariance, "the variance of latents is not negative")
DTK_PLUGIN(Codec, in_place, InPlace, "asked twice, and from two threads, it answers the same and writes into nothing")
DTK_PLUGIN(Codec, flat, Flat, "latents and what is decoded have the shapes that are said")
DTK_PLUGIN(Codec, wider, Wider, "latents lie in the range that is said")
DTK_PLUGIN(Codec, learns, Learns, "nothing in it is trained")
DTK_PLUGIN(Codec, narrow, Narrow, "float64 is coded as float32 is")
DTK_PLUGIN(Codec, waits, Waits,
           "on an accelerator the host waits for nothing, and tensors of two devices are not mixed")
DTK_PLUGIN(Codec, stays_behind, StaysBehind,
           "on an accelerator the host waits for nothing, and tensors of two devices are not mixed")
