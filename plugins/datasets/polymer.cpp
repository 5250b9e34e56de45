// x = R z, z ~ N(0, I): a Gaussian polymer of L residues in space, the one chain whose law, best denoiser and law given
// any part of it are known (dtk/polymer.hpp). Each coordinate is N(0, R Rᵀ).
#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/normal_mixture.hpp>
#include <dtk/polymer.hpp>

namespace {

using at::Tensor;

struct PolymerData final : dtk::Dataset {
    struct Config {
        std::int64_t length = 32;
        dtk::Polymer chain;
        void fields(dtk::Fields& f) {
            f("length", length, dtk::in(3, 256), "L, residues of a chain");
            chain.fields(f);
        }
    };
    PolymerData(const Config& config, const dtk::BuildContext& context)
        : random_(context.random("dataset")), map_(config.chain.map(config.length)) {
        const auto covariance = at::kron(map_.matmul(map_.t()), at::eye(3, at::kDouble));
        density_ = dtk::normal_mixture(at::ones({1}, at::kDouble), at::zeros({1, 3 * config.length}, at::kDouble),
                                       covariance.unsqueeze(0));
    }

    std::vector<std::int64_t> shape() const override { return {map_.size(0), 3}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        return drawn(random_.stream("train").samples(index), index.numel());
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        return drawn(random_.stream("test").samples(index), index.numel());
    }
    const dtk::Density* density() const override { return density_.get(); }

 private:
    dtk::Batch drawn(const dtk::Random& random, std::int64_t n) const {
        return {map_.matmul(random.normal({n, map_.size(0), 3}, at::kDouble)).to(at::kFloat)};
    }

    dtk::Random random_;
    Tensor map_;
    std::shared_ptr<dtk::Density> density_;
};

}  // namespace

DTK_PLUGIN(Dataset, polymer, PolymerData,
           "Gaussian chains of points in space, whose density and best denoiser are known")
