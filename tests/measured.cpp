// What metrics say of a run does not depend on how it was computed.
#include "catch.hpp"

#include <cmath>

#include <nlohmann/json.hpp>

#include "base/json.hpp"
#include "run_program.hpp"

namespace {

using json = nlohmann::json;

/// The metrics of a finished run by their names.
std::map<std::string, json> metrics_of(const std::filesystem::path& run) {
    std::map<std::string, json> found;
    const json record = json::parse(read(run / "run.json"));
    for (const auto& one : record["result"]["metrics"]) found[one["metric"]] = one;
    return found;
}

double number(const json& one, const char* key) {
    return one.contains(key) ? dtk::number_of(one[key]).value_or(NAN) : NAN;
}

void run(const Folder& folder, const std::string& name, const std::vector<std::string>& sets = {}) {
    std::vector<std::string> words{"run", "run.toml", "--out", name, "--progress", "none"};
    for (const auto& set : sets) words.insert(words.end(), {"--set", set});
    const auto outcome = dtk_program(words, folder.path);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
}

}  // namespace

TEST_CASE(
    "a network that is fed its own estimate has one bound, whatever was asked of it before and in what portions") {
    const Folder folder;
    const std::string bits = "{use = \"bits_per_dim\", n = 60, name = ";
    write(folder / "run.toml", R"(name = "fed_back"
seed = 1
threads = 1
dataset = {use = "dead_leaves", size = 8}
process = {steps = 20, decoder = "reversed"}
schedule = "cosine"
model = {use = "unet", channels = 8, multipliers = [1, 2], blocks = 1, groups = 4, prediction = "v", self_condition = true}
train = {steps = 30, batch = 16, lr = 3e-3}
metric = [)" + bits + "\"whole\", batch = 60}, " +
                                   bits + "\"parts\", batch = 20}]\n");
    run(folder, "both");
    run(folder, "alone", {"metric=[" + bits + "\"parts\", batch = 20}]"});
    const auto both = metrics_of(folder / "both"), alone = metrics_of(folder / "alone");
    const double whole = number(both.at("whole"), "value"), parts = number(both.at("parts"), "value");
    CHECK(std::isfinite(whole));
    CHECK(parts == Approx(whole).epsilon(1e-5));
    CHECK(number(alone.at("parts"), "value") == parts);
}
