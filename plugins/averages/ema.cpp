// keep(k) = min(decay, (1 + k)/(10 + k)): an exponential average that forgets its start.
// As in Ho et al. 2020 with decay = 0.9999; the warm-up is TensorFlow's.
#include <algorithm>

#include <dtk/optimizer.hpp>

namespace {
struct Ema final : dtk::Average {
    struct Config {
        double decay = 0.999;
        bool warmup = true;
        void fields(dtk::Fields& f) {
            f("decay", decay, dtk::up_from(0, 1), "what is kept of the average at each step");
            f("warmup", warmup, "keep less in the first steps");
        }
    } c;
    explicit Ema(const Config& config) : c(config) {}
    double keep(std::int64_t step) const override {
        const auto k = static_cast<double>(step);
        return c.warmup ? std::min(c.decay, (1 + k) / (10 + k)) : c.decay;
    }
};
}  // namespace

DTK_DEFAULT_PLUGIN(Average, ema, Ema, "exponential average of the parameters")
