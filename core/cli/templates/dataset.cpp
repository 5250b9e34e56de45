//! dataset="my_dataset"
// x = (cos φ, sin φ) + noise·z, φ ~ U(0, 2π): examples by number.
#include <numbers>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>

namespace {
struct MyDataset final : dtk::Dataset {
    struct Config {
        double noise = 0.1;
        void fields(dtk::Fields& f) { f("noise", noise, dtk::at_least(0), "standard deviation around the circle"); }
    } c;
    MyDataset(const Config& config, const dtk::BuildContext& context) : c(config), random_(context.random("dataset")) {}

    std::vector<std::int64_t> shape() const override { return {2}; }
    std::int64_t size() const override { return 0; }  // without end
    // Example i has random numbers of its own, so that order, batches and workers change nothing.
    dtk::Batch examples(const at::Tensor& index) const override {
        return drawn(random_.stream("train").samples(index), index.numel());
    }
    dtk::Batch test_examples(const at::Tensor& index) const override {
        return drawn(random_.stream("test").samples(index), index.numel());
    }

 private:
    dtk::Batch drawn(const dtk::Random& random, std::int64_t n) const {
        const auto phi = 2 * std::numbers::pi * random.uniform({n}, at::kDouble);
        const auto x = at::stack({phi.cos(), phi.sin()}, 1) + c.noise * random.normal({n, 2}, at::kDouble);
        return {.x = x.to(at::kFloat)};
    }

    dtk::Random random_;
};
}  // namespace

DTK_PLUGIN(Dataset, my_dataset, MyDataset, "a circle with noise around it")
