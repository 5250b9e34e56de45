// share(k) = shares[i] from step at[i] on, 1 before the first.
#include <algorithm>
#include <functional>

#include <dtk/rate.hpp>

namespace {
struct Piecewise final : dtk::Rate {
    struct Config {
        std::vector<std::int64_t> at;
        std::vector<double> shares;
        void fields(dtk::Fields& f) {
            f("at", at, dtk::at_least(0), "steps at which it changes, rising");
            f("shares", shares, dtk::at_least(0), "of the learning rate from each of them on");
            f.require(at.size() == shares.size(), "shares", "has not as many numbers as `at`",
                      "name one share for each step");
            f.require(std::ranges::adjacent_find(at, std::greater_equal()) == at.end(), "at", "does not rise",
                      "sort the steps");
        }
    } c;
    explicit Piecewise(const Config& config) : c(config) {}
    double share(std::int64_t step, std::int64_t) const override {
        double now = 1;
        for (std::size_t i = 0; i < c.at.size() && c.at[i] <= step; ++i) now = c.shares[i];
        return now;
    }
};
}  // namespace

DTK_PLUGIN(Rate, piecewise, Piecewise, "changes at the steps that are listed")
