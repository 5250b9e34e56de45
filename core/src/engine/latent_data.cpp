#include "engine/latent_data.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/registry.hpp"

namespace dtk {

Tensor latents_of(const Codec& codec, const Tensor& x, const Random& random) {
    at::NoGradGuard no_grad;
    const auto [mean, variance] = codec.encode(x);
    const auto shape = codec.space().shape;
    if (!std::ranges::equal(mean.sizes().slice(1), shape))
        throw PluginError(fmt::format("the codec answers latents of shape {} and says that they are {}",
                                      fmt::join(mean.sizes().slice(1), "×"), fmt::join(shape, "×")));
    return variance.defined() ? mean + variance.sqrt() * random.normal(mean.sizes(), mean.options()) : mean;
}

LatentData::LatentData(std::shared_ptr<const Dataset> data, std::shared_ptr<const Codec> codec, Random random)
    : DatasetAround(std::move(data)), codec_(std::move(codec)), random_(random.stream("latents")) {}

Batch LatentData::examples(const Tensor& index) const {
    return encoded(inside().examples(index), random_.stream("train").samples(index));
}

Batch LatentData::test_examples(const Tensor& index) const {
    return encoded(inside().test_examples(index), random_.stream("test").samples(index));
}

Batch LatentData::encoded(Batch batch, const Random& random) const {
    const auto tensors = codec_->named_tensors();
    const auto device = tensors.empty() ? batch.x.device() : tensors.front().tensor->device();
    const auto where = batch.x.device();
    batch.x = latents_of(*codec_, batch.x.to(device), random).to(where);
    return batch;
}

}  // namespace dtk
