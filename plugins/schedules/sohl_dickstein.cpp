// β_t = 1/(T − (t − 1)(T − 2)/(T − 1)), t = 2 … T, falling from 1/T to ½ in its inverse, and β_1 by itself, which sets
// how fine the last, fixed step of the reverse process is. The published code's form of β_t = 1/(T − t + 1), with some
// signal left at the end: Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics",
// 2015, section 2.4.1 and footnote 2.
#include <dtk/schedule.hpp>

namespace {
struct SohlDickstein final : dtk::BetaSchedule {
    struct Config {
        double first = 1e-3;
        void fields(dtk::Fields& f) { f("first", first, dtk::inside(0, 1), "β_1"); }
    } c;
    explicit SohlDickstein(const Config& config) : c(config) {}

    std::vector<double> betas(std::int64_t steps) const override {
        const auto T = static_cast<double>(steps);
        std::vector<double> betas{c.first};
        for (std::int64_t i = 1; i < steps; ++i) betas.push_back(1 / (T - static_cast<double>(i) * (T - 2) / (T - 1)));
        return betas;
    }
};
}  // namespace

DTK_PLUGIN(Schedule, sohl_dickstein, SohlDickstein,
           "1/β falls linearly from T to 2, β_1 by itself (Sohl-Dickstein et al. 2015)")
