// t_i = i·⌊T/N⌋ + offset, i = 0 … N−1: the clean end is visited, the noisy end is not.
#include <string>

#include <dtk/grid.hpp>
#include <dtk/schedule.hpp>

namespace {
struct Leading final : dtk::Grid {
    struct Config {
        std::int64_t offset = 0;
        void fields(dtk::Fields& f) { f("offset", offset, dtk::at_least(0), "added to every time"); }
    } c;
    explicit Leading(const Config& config) : c(config) {}

    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        const auto T = levels.steps(), stride = T / n;
        const auto first = (n - 1) * stride + c.offset;
        // ⌊T/N⌋ far below T/N leaves the noisiest times out: 501 of 1000 would start at 500. One step would start at 0.
        if (10 * stride * n < 9 * T || 2 * first < T - 1)
            throw dtk::Error(
                std::to_string(n) + " leading steps of " + std::to_string(T) +
                    " would start at t = " + std::to_string(first) + ", far from the noisy end",
                "use two steps or more, a number that divides " + std::to_string(T) + ", or the grid `trailing`");
        if (first > T - 1)
            throw dtk::Error(
                "an offset of " + std::to_string(c.offset) + " leads beyond the last time, " + std::to_string(T - 1),
                "make `offset` at most " + std::to_string(T - 1 - (n - 1) * stride));
        std::vector<double> t;
        for (auto i = n - 1; i >= 0; --i) t.push_back(static_cast<double>(i * stride + c.offset));
        return t;
    }
};
}  // namespace

DTK_PLUGIN(Grid, leading, Leading, "every ⌊T/N⌋-th time from the clean end")
