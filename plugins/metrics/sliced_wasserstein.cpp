// Sliced Wasserstein-1 distance between n samples and n true examples:
//   SW1 = mean over unit vectors θ of (1/n) Σ_i |(θ·x)_(i) − (θ·y)_(i)|,   (·)_(i) the i-th in rising order
// (Rabin, Peyré, Delon & Bernot, "Wasserstein Barycenter and its Application to Texture Mixing", 2011). It is never 0
// for finite sets, so `repeats` sets of true examples are compared with each other in the same directions: the mean and
// the standard deviation over all their pairs are what a perfect sampler would get.
#include <fmt/format.h>

#include <cmath>
#include <dtk/features.hpp>
#include <dtk/metric.hpp>
#include <dtk/remembered.hpp>

namespace {

using at::Tensor;

/// The sorted shadows of the rows of x, [n, d], on each direction, [d, L]. → [L, n]
Tensor sorted_shadows(const Tensor& x, const Tensor& directions) {
    return std::get<0>(
        x.reshape({x.size(0), -1}).to(at::kCPU, at::kDouble).matmul(directions).t().contiguous().sort(1));
}

double distance(const Tensor& sorted_x, const Tensor& sorted_y) {
    return (sorted_x - sorted_y).abs().mean().item<double>();
}

struct SlicedWasserstein final : dtk::Metric {
    struct Config {
        std::int64_t directions = 128, repeats = 16;
        void fields(dtk::Fields& f) {
            f("directions", directions, dtk::in(1, 65536), "directions the sets are projected on");
            f("repeats", repeats, dtk::in(4, 1024), "sets of true examples that are compared with each other");
        }
    } cfg;

    SlicedWasserstein(const Config& config, const dtk::BuildContext& context) : cfg(config) {
        if (const auto size = context.dataset().test_size(); size == 1)
            throw dtk::Error("sliced_wasserstein needs two test examples or more", "use another metric");
    }

    dtk::MetricCard card() const override { return {dtk::Better::less, "units of the data"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = dtk::true_set_size(input.data, input.samples.size(0));
        const auto directions = unit_vectors(input.samples.numel() / input.samples.size(0), random);
        const auto shadows = [&](std::int64_t number) {
            return sorted_shadows(dtk::true_set(input.data, number, n, random), directions);
        };

        const double value = distance(sorted_shadows(dtk::evenly_among(input.samples, n), directions), shadows(0));
        const auto floor = at::tensor(dtk::remembered(fmt::format("distances between true sets of {}", n),
                                                      [&] { return over_pairs(input.data.test_size() == 0, shadows); }),
                                      at::kDouble);
        return {.value = value,
                .expected = floor.mean().item<double>(),
                .expected_sd = floor.std().item<double>(),
                .note = fmt::format("sliced W1 of {} samples to as many true ones, {} directions", n, cfg.directions),
                .n = n,
                .split = "test"};
    }

 private:
    Tensor unit_vectors(std::int64_t d, const dtk::Random& random) const {
        const auto v = random.stream("directions").normal({cfg.directions, d}, at::kDouble);
        return (v / v.norm(2, 1, true)).t().contiguous();
    }

    /// Distances between true sets 1 … repeats: of all pairs where the sets are independent, else of sets 2i and 2i
    /// + 1.
    template <class Shadows>
    std::vector<double> over_pairs(bool independent, const Shadows& shadows) const {
        std::vector<double> distances;
        std::vector<Tensor> earlier;
        for (std::int64_t i = 0; i < cfg.repeats; ++i) {
            if (!independent) {
                distances.push_back(distance(shadows(2 + 2 * i), shadows(3 + 2 * i)));
                continue;
            }
            const auto set = shadows(1 + i);
            for (const auto& other : earlier) distances.push_back(distance(set, other));
            earlier.push_back(set);
        }
        return distances;
    }
};

}  // namespace

DTK_PLUGIN(Metric, sliced_wasserstein, SlicedWasserstein,
           "sliced Wasserstein-1 distance to true examples, with its floor")
