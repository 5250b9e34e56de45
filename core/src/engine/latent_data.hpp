#pragma once
// A data set as the chain has it: the latents that a codec makes of its examples.
#include <memory>

#include <dtk/codec.hpp>
#include <dtk/dataset.hpp>

namespace dtk {

/// z ~ N(mean, variance) of what the codec makes of x. x: [B, ...] on any device → on the codec's
Tensor latents_of(const Codec& codec, const Tensor& x, const Random& random);

/// The noise of an example's latents is its own and stays the same, as for metrics and validation; training draws its
/// own at every step.
class DTK_API LatentData final : public Dataset {
 public:
    LatentData(std::shared_ptr<const Dataset> data, std::shared_ptr<const Codec> codec, Random random);
    std::vector<std::int64_t> shape() const override { return codec_->space().shape; }
    std::int64_t size() const override { return data_->size(); }
    Batch examples(const Tensor& index) const override;
    std::int64_t test_size() const override { return data_->test_size(); }
    Batch test_examples(const Tensor& index) const override;
    std::int64_t classes() const override { return data_->classes(); }
    std::vector<std::string> class_names() const override { return data_->class_names(); }
    ConditionSpace condition_space() const override { return data_->condition_space(); }
    std::optional<std::pair<double, double>> range() const override { return codec_->space().range; }
    int levels() const override { return codec_->space().levels; }
    const Density* density() const override { return codec_->is_identity() ? data_->density() : nullptr; }
    std::string fingerprint() const override { return data_->fingerprint(); }
    std::vector<std::int64_t> class_counts() const override { return data_->class_counts(); }

 private:
    Batch encoded(Batch batch, const Random& random) const;
    std::shared_ptr<const Dataset> data_;
    std::shared_ptr<const Codec> codec_;
    Random random_;
};

}  // namespace dtk
