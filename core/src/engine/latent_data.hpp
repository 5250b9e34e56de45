#pragma once
// A data set as the chain has it: the latents that a codec makes of its examples.
#include <memory>

#include <dtk/captions.hpp>
#include <dtk/codec.hpp>
#include <dtk/dataset.hpp>

namespace dtk {

/// z ~ N(mean, variance) of what the codec makes of x. x: [B, ...] on any device → on the codec's
Tensor latents_of(const Codec& codec, const Tensor& x, const Random& random);

/// The noise of an example's latents is its own and stays the same, as for metrics and validation; training draws its
/// own at every step.
class DTK_API LatentData final : public DatasetAround {
 public:
    LatentData(std::shared_ptr<const Dataset> data, std::shared_ptr<const Codec> codec, Random random);
    std::vector<std::int64_t> shape() const override { return codec_->space().shape; }
    Batch examples(const Tensor& index) const override;
    Batch test_examples(const Tensor& index) const override;
    std::optional<std::pair<double, double>> range() const override { return codec_->space().range; }
    int levels() const override { return codec_->space().levels; }
    const Density* density() const override { return codec_->is_identity() ? inside().density() : nullptr; }

 private:
    Batch encoded(Batch batch, const Random& random) const;
    std::shared_ptr<const Codec> codec_;
    Random random_;
};

}  // namespace dtk
