// Declares a default that its own range refuses, and a field twice.
#include <dtk/schedule.hpp>

namespace {
struct WrongDefault final : dtk::BetaSchedule {
    struct Config {
        double beta = 2;
        std::string form = "round";
        bool twice = false;
        void fields(dtk::Fields& f) {
            f("beta", beta, dtk::inside(0, 1), "of every step");
            f("form", form, {"square", "even"}, "of the table");
            f("twice", twice, "once");
            f("twice", twice, "and again");
        }
    } c;
    explicit WrongDefault(const Config& config) : c(config) {}
    std::vector<double> betas(std::int64_t steps) const override {
        return std::vector<double>(static_cast<std::size_t>(steps), c.beta);
    }
};
}  // namespace

DTK_PLUGIN(Schedule, wrong_default, WrongDefault, "defaults that are none")
