// Claims of experiments held against what they give.
#include "catch.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "run_program.hpp"
#include "study/claims.hpp"

namespace {

using json = nlohmann::json;
using State = dtk::CheckedClaim::State;

/// A run of a second, without chance but that of its seed.
const std::string experiment = R"(name = "claimed"
seed = 3
threads = 1
dataset = {use = "gaussian_mixture", preset = "gmm1d"}
process = {steps = 100}
model = {use = "exact"}
sampler = {use = "ddim", steps = 10}
sample = {n = 500}
metric = [{use = "wasserstein"}, {use = "nll"}]
)";

std::string expect(const std::string& metric, double value, const std::string& within) {
    return fmt::format("[[expect]]\nmetric = \"{}\"\nvalue = {}\nwithin = {}\nsource = \"this test\"\n", metric, value,
                       within);
}

}  // namespace

TEST_CASE("a claim holds where what was measured is within its bounds, the bounds included") {
    dtk::Measured m;
    m.metric = "nll", m.value = 2.5, m.expected_sd = 0.02;
    const auto state = [&](double value, double within) {
        return dtk::check_claim("x", {"nll", value, within, ""}, {m}).state;
    };
    CHECK(state(2.4, 0.1) == State::holds);
    CHECK(state(2.6, 0.1) == State::holds);
    CHECK(state(2.61, 0.1) == State::fails);
    CHECK(state(2.39, 0.1) == State::fails);
    const auto checked = dtk::check_claim("x", {"nll", 2.4, 0.03, ""}, {m});
    CHECK(checked.off() == Approx(0.1));
    CHECK(checked.is_narrow());  // 0.03 < 2·0.02
    CHECK_FALSE(dtk::check_claim("x", {"nll", 2.4, 0.05, ""}, {m}).is_narrow());
    m.standard_error = 0.1;
    CHECK(dtk::check_claim("x", {"nll", 2.4, 0.05, ""}, {m}).is_narrow());
    for (const double odd : {double(INFINITY), double(-INFINITY)}) {
        m.value = odd;
        CHECK(state(2.4, 0.1) == State::fails);
    }
    m.value = NAN;
    CHECK(state(2.4, 0.1) == State::unmeasured);
    CHECK(dtk::check_claim("x", {"bound", 2.4, 0.1, ""}, {m}).state == State::unmeasured);
}

TEST_CASE("dtk verify runs what claims something, once, and says which claims hold") {
    const Folder folder;
    std::filesystem::create_directory(folder / "papers");
    write(folder / "papers" / "silent.toml", experiment);
    write(folder / "papers" / "right.toml", experiment + expect("wasserstein", 0, "10"));
    const auto verify = [&](std::vector<std::string> words) {
        words.insert(words.begin(), "verify");
        return dtk_program(words, folder.path);
    };
    const auto held = verify({"papers", "--json", "--progress", "none"});
    INFO(held.out << held.err);
    REQUIRE(held.code == 0);
    const auto all = json::parse(held.out);
    REQUIRE(all.size() == 1);
    CHECK(all[0]["verdict"] == "holds");
    CHECK(all[0]["source"] == "this test");
    const double measured = all[0]["measured"];

    // The same run serves other claims about it: by number, by share, and about another metric.
    const auto more = expect("wasserstein", measured, "1e-9") + expect("wasserstein", measured + 1, "0.5") +
                      expect("nll", 1000, "\"50%\"");
    write(folder / "papers" / "right.toml", experiment + more);
    CHECK(says(verify({"papers", "-n"}).out, "1 of 1 tasks done"));
    const auto mixed = verify({"papers", "--progress", "none"});
    INFO(mixed.out << mixed.err);
    CHECK(mixed.code == 1);
    CHECK(says(mixed.out, "1 of 3 claims hold."));
    CHECK(says(mixed.out, "chance alone breaks such a claim"));
    CHECK(says(mixed.out, "-1 "));
    CHECK(says(mixed.out, "papers/right.toml"));

    // A run that is there says it by itself.
    REQUIRE(dtk_program({"run", "papers/right.toml", "--out", "run", "--progress", "none"}, folder.path).code == 0);
    const auto of_run = verify({"run", "--json"});
    INFO(of_run.err);
    CHECK(of_run.code == 1);
    CHECK(json::parse(of_run.out)[0]["verdict"] == "holds");
    CHECK(json::parse(of_run.out)[0]["measured"].get<double>() == measured);
    CHECK(json::parse(of_run.out)[1]["verdict"] == "fails");
    CHECK_FALSE(says(read(folder / "run" / "resolved.toml"), "expect"));
}

TEST_CASE("a claim whose experiment fails does not hold, and the others are looked at") {
    const Folder folder;
    const auto failing = changed(changed(experiment, "model = {use = \"exact\"}",
                                         "model = {use = \"mlp\", width = 8, depth = 1}\ntrain = {steps = 20, batch = "
                                         "16, lr = 1e30, clip = 0}"),
                                 "claimed", "failing");
    write(folder / "a.toml", failing + expect("nll", 2, "1"));
    write(folder / "b.toml", experiment + expect("wasserstein", 0, "10"));
    const auto outcome = dtk_program({"verify", "a.toml", "b.toml", "--progress", "none"}, folder.path);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == 1);
    CHECK(says(outcome.out, "no run: the loss or its gradient is not finite"));
    CHECK(says(outcome.out, "1 of 2 claims hold."));
}

TEST_CASE("mistakes in claims are found before anything runs") {
    const Folder folder;
    const auto wrong = [&](const std::string& text, const char* message) {
        write(folder / "x.toml", text);
        for (const auto* command : {"verify", "check"}) {
            const auto outcome = dtk_program({command, "x.toml"}, folder.path);
            INFO(command << "\n" << message << "\n" << outcome.out << outcome.err);
            CHECK(outcome.code == 2);
            CHECK(says(outcome.err, message));
            CHECK(says(outcome.err, "-->"));
        }
        CHECK_FALSE(std::filesystem::exists(folder / "runs"));
    };
    wrong(experiment + expect("nl", 2, "1"), "did you mean `nll`?");
    wrong(experiment + expect("nll", 2, "0"), "`within` is a number above 0 or a share");
    wrong(experiment + expect("nll", 2, "\"five %\""), "`within` is a number above 0 or a share");
    wrong(experiment + "[expect]\nmetric = \"nll\"\nwithin = 1\n", "does not say what `value` is claimed");
    wrong(experiment + "[expect]\nvalue = 2\nwithin = 1\n", "does not say what `metric` it is about");
    wrong(experiment + "[expect]\nmetric = \"nll\"\nvalue = 2\nwithin = 1\nsourc = \"x\"\n", "did you mean `source`?");
    wrong("expect = 3\n" + experiment, "`expect` must be a table");
    write(folder / "x.toml", experiment);
    CHECK(says(dtk_program({"verify", "x.toml"}, folder.path).err, "nothing is claimed there"));
    CHECK(dtk_program({"verify", "nowhere"}, folder.path).code == 2);
    write(folder / "x.toml", "[ablation]\n" + experiment + expect("nll", 2, "1"));
    CHECK(says(dtk_program({"verify", "x.toml"}, folder.path).err, "this is a study"));
}
