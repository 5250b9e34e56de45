// Sequences of bits with a 1 at every `period`-th place, from a first place that is drawn: x_i = [i ≡ j (mod period)],
// j ~ U{0 … period−1}. Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics", 2015,
// appendix D.1.2: length 20, period 5, five sequences of log₂ 5 = 2.32193 bits.
#include <cmath>

#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/categories.hpp>

namespace {

using at::Tensor;

struct Heartbeat final : dtk::Dataset {
    struct Config {
        std::int64_t length = 20, period = 5;
        void fields(dtk::Fields& f) {
            f("length", length, dtk::at_least(1), "bits of a sequence");
            f("period", period, dtk::at_least(1), "places from one 1 to the next");
            f.require(period <= length, "period",
                      fmt::format("= {} leaves some sequences of `length` {} without a 1", period, length),
                      "make `length` a multiple of `period`");
        }
    } c;
    Heartbeat(const Config& config, const dtk::BuildContext& context)
        : c(config), random_(context.random("dataset")), density_(beats(at::arange(c.period)).to(at::kDouble)) {}

    std::vector<std::int64_t> shape() const override { return {c.length}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override { return drawn(random_.stream("train"), index); }
    dtk::Batch test_examples(const Tensor& index) const override { return drawn(random_.stream("test"), index); }
    std::optional<std::pair<double, double>> range() const override { return std::pair{0.0, 1.0}; }
    int levels() const override { return 2; }
    const dtk::Density* density() const override { return &density_; }

 private:
    Tensor beats(const Tensor& first) const {
        return (at::arange(c.length).remainder(c.period) == first.unsqueeze(1)).to(at::kFloat);
    }
    dtk::Batch drawn(const dtk::Random& random, const Tensor& index) const {
        return {beats(random.samples(index).integers(c.period, {index.numel()})), Tensor()};
    }

    dtk::Random random_;
    dtk::FiniteDensity density_;
};
}  // namespace

DTK_PLUGIN(Dataset, heartbeat, Heartbeat,
           "bits with a 1 at every fifth place, five sequences in all (Sohl-Dickstein et al. 2015)")
