// The levels that a file lists, one number a line, step after step from the clean end: β, ᾱ or log-SNR. Lines that
// begin with # are comments. The file's content is in the hash of whatever was made with it.
#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include <dtk/schedule.hpp>

namespace {
struct Table final : dtk::Schedule {
    struct Config {
        std::filesystem::path file;
        std::string of = "alpha_bar";
        void fields(dtk::Fields& f) {
            f.required("file", file, "a number on each line, for steps 1, 2, … T");
            f("of", of, {"beta", "alpha_bar", "log_snr"}, "what the numbers are; variance preserving");
        }
    } c;
    explicit Table(const Config& config) : c(config) {
        std::ifstream in(c.file);
        if (!in) throw dtk::Error("cannot read " + c.file.string(), "check the path; it is relative to the experiment");
        std::string line;
        for (std::int64_t number = 1; std::getline(in, line); ++number) {
            if (line.empty() || line[0] == '#') continue;
            std::size_t used = 0;
            double value = 0;
            try {
                value = std::stod(line, &used);
            } catch (const std::exception&) {
                used = 0;
            }
            if (used == 0 || line.find_first_not_of(" \t\r", used) != std::string::npos || !std::isfinite(value))
                throw dtk::Error(c.file.string() + ":" + std::to_string(number) + ": this is no number",
                                 "write one number on each line, such as 0.9999");
            values_.push_back(value);
        }
    }

    dtk::NoiseLevels levels(std::int64_t steps) const override {
        if (static_cast<std::int64_t>(values_.size()) != steps)
            throw dtk::Error(c.file.string() + " lists " + std::to_string(values_.size()) +
                                 " numbers, and the process has " + std::to_string(steps) + " steps",
                             "set `steps` of the process to " + std::to_string(values_.size()));
        if (c.of == "beta") return dtk::NoiseLevels::from_betas(values_);
        std::vector<dtk::NoiseLevel> table;
        for (std::size_t t = 0; t < values_.size(); ++t) {
            const double value = values_[t];
            if (c.of == "alpha_bar" && !(value >= 0 && value < 1))
                throw dtk::Error(c.file.string() + ": ᾱ = " + std::to_string(value) + " at step " +
                                 std::to_string(t + 1) + " is outside [0, 1)");
            table.push_back(c.of == "log_snr" ? dtk::variance_preserving(value)
                                              : dtk::noise_level(std::sqrt(value), std::sqrt(1 - value)));
        }
        return dtk::NoiseLevels::from_table(table);
    }

 private:
    std::vector<double> values_;
};
}  // namespace

DTK_PLUGIN(Schedule, table, Table,
           "the levels that a file lists: β, ᾱ or log-SNR of each step; elsewhere: trained_betas, alphas_cumprod")
