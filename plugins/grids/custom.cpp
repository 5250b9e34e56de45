// The times that the file lists, as times, as σ/α or as log-SNR.
#include <string>

#include <dtk/grid.hpp>

namespace {
struct Custom final : dtk::Grid {
    struct Config {
        std::vector<double> at;
        std::string in = "t";
        void fields(dtk::Fields& f) {
            f.required("at", at, dtk::any_number(), "the times from the noisy end on, as many as there are steps");
            f("in", in, {"t", "ratio", "log_snr"}, "what they are: times in −1 … T−1, σ/α, or log(α²/σ²)");
        }
    } c;
    explicit Custom(const Config& config) : c(config) {}

    std::vector<double> times(const dtk::NoiseLevels& levels, std::int64_t n) const override {
        if (static_cast<std::int64_t>(c.at.size()) != n)
            throw dtk::Error("`at` lists " + std::to_string(c.at.size()) + " times, and the sampler has " +
                                 std::to_string(n) + " steps",
                             "list as many times as there are `steps`, or set steps = " + std::to_string(c.at.size()));
        std::vector<double> t;
        for (const double value : c.at)
            t.push_back(c.in == "t" ? value : c.in == "ratio" ? levels.time_of_ratio(value) : levels.time(value));
        return t;
    }
};
}  // namespace

DTK_PLUGIN(Grid, custom, Custom, "the times that the experiment lists")
