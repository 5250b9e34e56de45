// Training looked at: held-out errors against what they are for networks whose answers are known, the same draws
// whatever the seed, the batch and the threads; and one step computed again.
#include <cmath>
#include <fstream>
#include <set>

#include <ATen/Parallel.h>
#include <nlohmann/json.hpp>

#include "base/experiment.hpp"
#include "base/files.hpp"
#include "base/tensor_file.hpp"
#include "base/validated.hpp"
#include "bench.hpp"
#include "catch.hpp"
#include "compared_runs.hpp"
#include "engine/replay.hpp"
#include "engine/validation.hpp"
#include "run_program.hpp"
#include "small_experiment.hpp"
#include "support.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

std::string text_of(const std::string& dataset, const std::string& model, const std::string& validate,
                    const std::string& more = {}) {
    return "seed = 3\n[dataset]\n" + dataset + "\n[schedule]\nuse = \"cosine\"\n[model]\nuse = \"mlp\"\nwidth = 8\n" +
           model + "\n[validate]\n" + validate + "\n" + more +
           (more.find("[train]") == more.npos ? "[train]\nsteps = 4\nbatch = 8\n" : "");
}

const std::string mixture = "use = \"gaussian_mixture\"", table = "use = \"csv\"\nfile = \"rows.csv\"";

/// Rows of two elements; those of number 5, 15, 25, … are held out of forty.
std::map<std::string, std::string> rows(const std::function<std::string(int)>& row, int count = 40) {
    std::string text = "a,b\n";
    for (int i = 0; i < count; ++i) text += row(i) + "\n";
    return {{"rows.csv", text}};
}
std::map<std::string, std::string> ones() {
    return rows([](int i) { return i % 3 == 0 ? "1,-1" : "-1,1"; });
}

std::vector<std::string> names_in(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}

/// Everything in a folder, and when it was written.
std::map<std::string, std::pair<std::string, fs::file_time_type>> state_of(const fs::path& folder) {
    std::map<std::string, std::pair<std::string, fs::file_time_type>> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
        all[entry.path().string()] = {entry.is_regular_file() ? read(entry.path()) : "", entry.last_write_time()};
    return all;
}

const std::string looked_at = small_experiment + "[validate]\nevery = 10\nn = 64\nlevels = 4\nbatch = 24\n";

Outcome call(const Folder& folder, std::vector<std::string> arguments, int code = 0) {
    if (arguments[0] == "run" || arguments[0] == "sample") arguments.insert(arguments.end(), {"--progress", "none"});
    const auto outcome = dtk_program(arguments, folder.path);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == code);
    return outcome;
}

}  // namespace

TEST_CASE("the held-out error of a network that answers 0 is that of the noise it does not see") {
    const auto n = 200, levels = 8;
    for (const auto* seed : {"seed = 3", "seed = 11"}) {
        const auto text = text_of(mixture, "", "n = 200\nlevels = 8\nbatch = 64");
        const auto found = Bench(changed(text, "seed = 3", seed)).zero().held_out();
        // ‖0 − ε‖²/d, pair i in level i mod 8.
        const auto eps = dtk::Random(0, "validate").stream("noise").normal({n, 2}, at::kFloat).to(at::kDouble);
        const auto error = eps.square().mean(1);
        REQUIRE(found.by_level.size() == levels);
        double mean = 0;
        for (int level = 0; level < levels; ++level) {
            const double right = error.slice(0, level, n, levels).mean().item<double>();
            CHECK(found.by_level[static_cast<std::size_t>(level)] == Approx(right).epsilon(1e-6));
            mean += right / levels;
        }
        CHECK(found.error == Approx(mean).epsilon(1e-6));
    }
}

TEST_CASE("examples that are made are the same under every seed, those that are read come as often as one another") {
    // ‖0 − x_0‖²/d
    const auto made = text_of(mixture, "prediction = \"x0\"", "n = 60\nlevels = 3");
    const auto first = Bench(made).zero().held_out();
    CHECK(Bench(changed(made, "seed = 3", "seed = 4")).zero().held_out().by_level == first.by_level);
    // They are others than training sees: a mixture of variance 2 or so is not met twice alike.
    CHECK(Bench(made + "drop_condition = 0.5\n").zero().held_out().by_level == first.by_level);
    CHECK(Bench(changed(made, "[validate]", "[validate]\nsplit = \"train\"")).zero().held_out().error != first.error);

    // Row i holds i/10 twice, and every tenth is held out.
    const auto numbers = rows([](int i) { return std::to_string(i) + "e-1," + std::to_string(i) + "e-1"; });
    const auto read = text_of(table, "prediction = \"x0\"", "n = 12\nlevels = 1");
    const Bench bench(read, numbers);
    const auto held_out = bench.stage->dataset().test_examples(at::arange(4)).x;
    REQUIRE(bench.stage->dataset().test_size() == 4);
    const double right = held_out.to(at::kDouble).square().mean().item<double>();
    CHECK(Bench(read, numbers).zero().held_out().error == Approx(right).epsilon(1e-6));
    CHECK(Bench(changed(read, "seed = 3", "seed = 5"), numbers).zero().held_out().error == Approx(right).epsilon(1e-6));
    const auto all =
        Bench(changed(changed(read, "n = 12", "n = 72"), "[validate]", "[validate]\nsplit = \"train\""), numbers)
            .zero()
            .held_out();
    const auto training = bench.stage->dataset().examples(at::arange(36)).x;
    CHECK(all.error == Approx(training.to(at::kDouble).square().mean().item<double>()).epsilon(1e-6));
}

TEST_CASE("levels are equal parts of the times from the least noisy on, or of log-SNR") {
    // ε̂ of x̂_0 = 0 is off by (α/σ) x_0: of elements ±1 the error is the SNR of the time.
    const std::string loss = "[loss]\ntarget = \"eps\"\n";
    Bench steps(text_of(table, "prediction = \"x0\"", "n = 100\nlevels = 20", loss + "[process]\nsteps = 20\n"),
                ones());
    const auto by_time = steps.zero().held_out();
    const auto& noise = steps.stage->process().levels();
    REQUIRE(by_time.by_level.size() == 20);
    for (std::size_t t = 0; t < 20; ++t)
        CHECK(by_time.by_level[t] == Approx(noise.snr(static_cast<double>(t))).epsilon(1e-3));
    CHECK(dtk::Validation(*steps.stage, at::kCPU).log_snr()[7] == noise.log_snr(7));

    // ∫ e^λ dλ over a level of width 1.
    const auto text = text_of(table, "prediction = \"x0\"", "n = 4000\nlevels = 4\nlog_snr = [-2, 2]", loss);
    Bench even(text, ones());
    const auto by_log_snr = even.zero().held_out();
    double mean = 0;
    for (int level = 0; level < 4; ++level) {
        const double right = std::exp(2.0 - level) - std::exp(1.0 - level);
        CHECK(by_log_snr.by_level[static_cast<std::size_t>(level)] == Approx(right).epsilon(1e-3));
        mean += right / 4;
    }
    CHECK(by_log_snr.error == Approx(mean).epsilon(1e-3));
    CHECK(dtk::Validation(*even.stage, at::kCPU).log_snr() == std::vector<double>{1.5, 0.5, -0.5, -1.5});
    // A level that the schedule does not reach over has no error, and no say in the mean.
    const auto beyond = Bench(changed(text, "[-2, 2]", "[30, -2]"), ones()).zero().held_out();
    CHECK(std::isnan(beyond.by_level[0]));
    CHECK(beyond.by_level[3] == Approx((std::exp(6.0) - std::exp(-2.0)) / 8).epsilon(1e-2));
    CHECK(std::isfinite(beyond.error));
}

TEST_CASE("one network has one held-out error, whatever the batch of training, the threads and the log") {
    // A mean over so many elements of one example is summed in other portions by two threads than by one.
    const auto text = text_of("use = \"dead_leaves\"\nsize = 256", "", "n = 16\nlevels = 1\nbatch = 1");
    Bench small(text), large(changed(text, "batch = 8\n", "batch = 96\nlog_every = 7\naccumulate = 3\n"));
    small.zero(), large.zero();
    const auto before = at::get_num_threads();
    std::vector<double> found;
    std::set<std::vector<double>> sums;
    for (const int threads : {1, 2, 3}) {
        at::set_num_threads(threads);
        found.push_back(small.held_out().error);
        found.push_back(large.held_out().error);
        CHECK(at::get_num_threads() == threads);
        std::vector<double> of_rows;
        for (int row = 0; row < 16; ++row)
            of_rows.push_back(
                dtk::Random(0, "sum").from(row).normal({1, 65536}, at::kFloat).square().mean(1).item<double>());
        sums.insert(of_rows);
    }
    at::set_num_threads(before);
    for (const double one : found) CHECK(one == found.front());
    CHECK(sums.size() > 1);  // else this shows nothing
}

TEST_CASE("none of training's randomness is in a held-out error") {
    const auto images = [](const std::string& more) {
        const auto text = text_of("use = \"dead_leaves\"\nsize = 8", more, "n = 32\nlevels = 2");
        return Bench(changed(text, "use = \"mlp\"\nwidth = 8",
                             "use = \"unet\"\nchannels = 8\nmultipliers = [1, 2]\nblocks = 1\nattention = []\n"
                             "groups = 2"))
            .held_out();
    };
    const auto right = images("");
    CHECK(images("dropout = 0.5").by_level == right.by_level);
    CHECK(std::isfinite(right.error));
    // No class is dropped: half of them would be, here.
    const auto classes = text_of(mixture + "\nlabels = true", "conditional = true", "n = 64\nlevels = 2");
    CHECK(Bench(classes + "drop_condition = 0.5\n").held_out().by_level == Bench(classes).held_out().by_level);
}

TEST_CASE("losses of every kind say what their error is, or that they have none") {
    const auto with = [](const std::string& loss, const std::string& model = "", const std::string& data = mixture) {
        return text_of(data, model, "n = 64\nlevels = 2", "[loss]\n" + loss + "\n");
    };
    const auto simple = Bench(with("use = \"simple\"")).zero().held_out();
    // Its objective is more than its error, which it reports by itself.
    const auto uncertain = Bench(with("use = \"uncertainty\"")).zero().held_out();
    CHECK(uncertain.by_level == simple.by_level);
    REQUIRE(uncertain.parts.size() == 1);
    CHECK(uncertain.parts[0].first == "log_variance");
    // 2c(√(Δ² + c²) − c) → Δ² for a c that is large.
    CHECK(Bench(with("use = \"huber\"\nc = 1000")).zero().held_out().error == Approx(simple.error).epsilon(1e-4));
    CHECK(Bench(with("use = \"hybrid\"", "variance = \"range\"")).zero().held_out().by_level == simple.by_level);
    // In nats, its parts beside it.
    const auto bound = Bench(with("use = \"elbo\"")).zero().held_out();
    double parts = 0;
    for (const auto& [name, value] : bound.parts) parts += value;
    CHECK(bound.parts.size() == 3);
    CHECK(bound.error == Approx(parts).epsilon(1e-6));
    // Without times there is nothing by level. log ½ of two classes where all is 0.
    const auto classes = changed(with("use = \"cross_entropy\"", "", "use = \"moons\"\nlabels = true"),
                                 "use = \"mlp\"\nwidth = 8", "use = \"classifier\"\nchannels = 8");
    const auto entropy = Bench(classes).zero().held_out();
    CHECK(entropy.by_level.empty());
    CHECK(entropy.error == Approx(std::log(2.0)).epsilon(1e-6));
    CHECK(entropy.parts.at(0).first == "accuracy");
}

TEST_CASE("what [validate] cannot do is said before training begins") {
    const Folder folder;
    write(folder / "small.toml", looked_at);
    const auto check = [&](const std::string& set, const std::string& phrase) {
        const auto outcome = dtk_program({"check", "small.toml", "--set", set}, folder.path);
        INFO(outcome.err);
        CHECK(outcome.code == 2);
        CHECK(says(outcome.err, phrase));
    };
    check("validate.n=3", "3 pairs leave some of the 4 levels empty");
    check("validate.log_snr=[1]", "`log_snr` is not two different numbers");
    check("validate.split=dev", "split");
    check("validate.evry=3", "every");
    write(folder / "none.toml", changed(looked_at,
                                        "[train]\nsteps = 30\nbatch = 8\nlog_every = 10\n"
                                        "checkpoint_every = 10\n",
                                        "init = \"elsewhere\"\n"));
    CHECK(says(dtk_program({"check", "none.toml"}, folder.path).err, "there is no [train]"));
    for (const auto& [set, phrase] :
         {std::pair{"validate.levels=21", "asks for 21 levels, and the process has 20 steps"},
          std::pair{"validate.log_snr=[200,100]", "reaches no level of `log_snr`"},
          std::pair{"loss={use=\"flow_matching\",coupling=\"optimal\",group=5}", "examples are paired among 5"}}) {
        const auto refused = dtk_program({"run", "small.toml", "--out", "no", "--progress", "none", "--set", set,
                                          "--set", "validate.n=64", "--set", "train.batch=20"},
                                         folder.path);
        INFO(refused.err);
        CHECK(refused.code != 0);
        CHECK(says(refused.err, phrase));
        CHECK_FALSE(fs::exists(folder / "no/metrics.jsonl"));
        fs::remove_all(folder / "no");
    }
}

TEST_CASE("losses of networks against each other have no held-out error: refused before training, and replayed") {
    const Folder folder;
    write(folder / "small.toml", changed(small_experiment, "log_every = 10", "log_every = 1"));
    call(folder, {"run", "small.toml", "--out", "teacher"});
    for (const auto& [name, second, loss] :
         {std::tuple{"dmd", "train/fake", "loss={use=\"dmd\",teacher=\"teacher\",fake={use=\"mlp\",width=8,depth=1}}"},
          std::tuple{"gan", "train/critic", "loss={use=\"gan\"}"}}) {
        INFO(name);
        const std::vector<std::string> words{"run", "small.toml", "--out", name, "--set", loss};
        auto looking = words;
        looking.insert(looking.end(), {"--set", "validate={every=10,n=64,levels=4}"});
        const auto refused = call(folder, looking, 2);
        INFO(refused.err);
        CHECK(says(refused.err, fmt::format("loss `{}` trains networks against each other and has no error", name)));
        CHECK(says(refused.err, "remove [validate]"));
        CHECK_FALSE(fs::exists(folder / name / "metrics.jsonl"));
        fs::remove_all(folder / name);
        call(folder, words);
        auto again = words;
        again.insert(again.end(), {"--replay", "15"});
        const auto said = call(folder, again);
        INFO(said.out);
        const auto line = log_of(folder / name).at(14);
        for (const auto* what : {"train/loss", second, "train/grad_norm"})
            CHECK(says(said.out, fmt::format("{:<22}{:.4g}\n", what, line[what].get<double>())));
    }
}

TEST_CASE("held-out errors stand in the log, the record, the picture and show, and change nothing that is trained") {
    const Folder folder;
    write(folder / "small.toml", changed(looked_at, "log_every = 10", "log_every = 15"));
    const auto ran = call(folder, {"run", "small.toml", "--out", "run"});
    CHECK(says(ran.err, "validate 64 held-out examples (made for it), each at a time in one of 4 parts of the times"));
    std::vector<std::int64_t> steps;
    dtk::Validations by_hand;
    for (const auto& line : log_of(folder / "run")) {
        steps.push_back(line["step"]);
        CHECK(line.contains("validate/error") == (steps.back() % 10 == 0));
        CHECK(line.contains("train/loss") == (steps.back() % 15 == 0));
        if (!line.contains("validate/error")) continue;
        double mean = 0;
        for (const double error : line["validate/error_by_level"]) mean += error / 4;
        CHECK(line["validate/error"].get<double>() == Approx(mean).epsilon(1e-12));
        CHECK(line["validate/average_error_by_level"].size() == 4);
        CHECK(line["validate/average_error"] != line["validate/error"]);
        const auto log_snr = line["validate/log_snr"].get<std::vector<double>>();
        CHECK(std::is_sorted(log_snr.rbegin(), log_snr.rend()));
        by_hand.add({steps.back(), line["validate/error"].get<double>(), line["validate/average_error"].get<double>()});
    }
    CHECK(steps == std::vector<std::int64_t>{10, 15, 20, 30});
    CHECK(json::parse(read(folder / "run/run.json"))["result"]["held_out"] == by_hand.record());
    CHECK(by_hand.record()["last"]["step"] == 30);
    CHECK(says(read(folder / "run/loss.svg"), "held out, average"));
    const auto shown = call(folder, {"show", "run"}).out;
    CHECK(says(shown, "held out    " + by_hand.in_words()));
    CHECK(says(shown, ", validate "));

    write(folder / "blind.toml", changed(small_experiment, "log_every = 10", "log_every = 15"));
    call(folder, {"run", "blind.toml", "--out", "blind"});
    CHECK((bits_of(folder / "blind/checkpoints/00000030.safetensors") ==
           bits_of(folder / "run/checkpoints/00000030.safetensors")));
    CHECK(log_of(folder / "blind").back()["train/loss"] == log_of(folder / "run").back()["train/loss"]);
    CHECK_FALSE(says(call(folder, {"show", "blind"}).out, "held out"));
    CHECK(says(call(folder, {"sample", "blind", "--step", "best"}, 2).err, "no held-out errors"));

    // To look at it, or no more, or more often, is no other training.
    write(folder / "blind.toml", changed(looked_at, "log_every = 10", "log_every = 15"));
    call(folder, {"run", "blind.toml", "--resume=blind", "--set", "train.steps=40"});
    CHECK(log_of(folder / "blind").back().contains("validate/error"));
    call(folder, {"run", "blind.toml", "--resume=blind", "--set", "train.steps=50", "--set", "validate.every=5"});
    CHECK(says(
        call(folder, {"run", "blind.toml", "--resume=blind", "--set", "train.steps=60", "--set", "validate.n=60"}, 2)
            .err,
        "validate.n = 60"));
}

TEST_CASE("the best checkpoint stays, and is sampled by that name") {
    const Folder folder;
    write(folder / "small.toml", changed(looked_at, "checkpoint_every = 10", "keep = 1\nkeep_every = 0\nlr = 1e-2"));
    call(folder, {"run", "small.toml", "--out", "run"});
    CHECK(names_in(folder / "run/checkpoints") == std::vector<std::string>{"00000030.safetensors"});
    // From here on it gets worse.
    call(folder, {"run", "small.toml", "--resume=run", "--set", "train.lr=30", "--set", "train.steps=60"});
    const auto found = dtk::validations_in(folder / "run");
    REQUIRE(found.best);
    CHECK(found.best->step == 30);
    CHECK(found.last->step == 60);
    CHECK(found.last->of_sampled() > found.best->of_sampled());
    CHECK(names_in(folder / "run/checkpoints") ==
          std::vector<std::string>{"00000030.safetensors", "00000060.safetensors"});
    CHECK(says(call(folder, {"show", "run"}).out, "dtk sample run --step best"));
    CHECK(says(call(folder, {"sample", "run", "--step", "best", "--out", "best"}).err, "network  step 30 of "));
    call(folder, {"sample", "run", "--step", "30", "--out", "thirty"});
    CHECK((bits_of(folder / "best/samples.safetensors").at("samples") ==
           bits_of(folder / "thirty/samples.safetensors").at("samples")));
    CHECK(says(call(folder, {"sample", "run", "--step", "worst"}, 2).err, "best"));
    CHECK(says(call(folder, {"sample", "run/checkpoints/00000060.safetensors", "--step", "best"}, 2).err,
               "is one checkpoint"));
}

TEST_CASE("a run that goes on validates as one that was never stopped, each step once") {
    const Folder folder;
    const auto text = changed(changed(looked_at, "every = 10\nn", "every = 4\nn"), "checkpoint_every = 10",
                              "checkpoint_every = 10\nkeep = 99");
    write(folder / "small.toml", text);
    call(folder, {"run", "small.toml", "--out", "whole"});
    for (const int cut : {10, 20}) {
        INFO(cut);
        fs::remove_all(folder / "cut");
        fs::copy(folder / "whole", folder / "cut", fs::copy_options::recursive);
        fs::remove(folder / "cut/samples.safetensors");
        for (const auto& name : names_in(folder / "cut/checkpoints"))
            if (std::stoi(name) > cut) fs::remove(folder / "cut/checkpoints" / name);
        write(folder / "cut/run.json",
              changed(read(folder / "cut/run.json"), "\"status\": \"completed\"", "\"status\": \"interrupted\""));
        call(folder, {"run", "small.toml", "--resume=cut"});
        CHECK(log_of(folder / "cut") == log_of(folder / "whole"));
        CHECK(names_in(folder / "cut/checkpoints") == names_in(folder / "whole/checkpoints"));
        for (const auto& name : names_in(folder / "whole/checkpoints"))
            CHECK((bits_of(folder / "cut/checkpoints" / name) == bits_of(folder / "whole/checkpoints" / name)));
        CHECK(json::parse(read(folder / "cut/run.json"))["result"] ==
              json::parse(read(folder / "whole/run.json"))["result"]);
    }
}

TEST_CASE("a step computed again is the one that was trained, and the run's folder stays as it is") {
    const Folder folder;
    write(folder / "small.toml", changed(small_experiment, "log_every = 10", "log_every = 1\nkeep = 9"));
    call(folder, {"run", "small.toml", "--out", "run"});
    const auto before = state_of(folder / "run");
    const auto log = log_of(folder / "run");
    for (const int step : {1, 2, 11, 25, 30}) {
        const auto said = call(folder, {"run", "small.toml", "--out", "run", "--replay", std::to_string(step)});
        INFO(said.out);
        const auto& line = log.at(static_cast<std::size_t>(step - 1));
        for (const auto* name : {"train/loss", "train/grad_norm"})
            CHECK(says(said.out, fmt::format("{:<22}{:.4g}\n", name, line[name].get<double>())));
        CHECK(says(said.out, fmt::format("step      {} of 30, from ", step)));
        CHECK(says(said.out, "model.hidden0"));
        CHECK_FALSE(says(said.out, "not finite"));
        CHECK(says(said.out, "checkpoints/00000020.safetensors") == (step > 20));
        CHECK(says(said.out, "the network as it was drawn") == (step <= 10));
    }
    CHECK((state_of(folder / "run") == before));
    for (const auto* step : {"0", "31", "x", "-1"})
        CHECK(call(folder, {"run", "small.toml", "--out", "run", "--replay", step}, 2).code == 2);
    CHECK(says(call(folder, {"run", "small.toml", "--replay", "3"}, 2).err, "there is no run of `small`"));
}

TEST_CASE("the inspected step holds the numbers of every example, and its gradients are the step's own") {
    Bench bench(text_of(mixture, "depth = 2", "n = 16",
                        "[times]\nuse = \"stratified\"\n[train]\nsteps = 9\nbatch = 12\n"
                        "accumulate = 3\nclip = 0.001\n"));
    dtk::Trainer trainer(*bench.stage, at::kCPU);
    trainer.advance(3);
    const auto before = trainer.step();
    const auto one = dtk::inspect_next_step(*bench.stage, trainer);
    const auto again = dtk::inspect_next_step(*bench.stage, trainer);
    CHECK(trainer.step() == before);
    CHECK(one.step == 4);
    CHECK(one.means == again.means);
    REQUIRE(one.examples.size() == 12);
    double loss = 0;
    std::vector<double> times;
    for (std::size_t i = 0; i < 12; ++i) {
        CHECK(one.examples[i].number == static_cast<std::int64_t>(3 * 12 + i));
        loss += one.examples[i].loss / 12;
        times.push_back(std::floor(one.examples[i].t * 12 / 1000));
    }
    CHECK(one.means.front().second == Approx(loss).epsilon(1e-6));
    std::sort(times.begin(), times.end());
    for (std::size_t i = 0; i < 12; ++i) CHECK(times[i] == static_cast<double>(i));  // one in each twelfth
    double square = 0;
    for (const auto& [module, norm] : one.gradient_norms) square += norm * norm;
    CHECK(one.means.back().first == "train/grad_norm");
    CHECK(std::sqrt(square) == Approx(one.means.back().second).epsilon(1e-5));
    CHECK(one.gradient_norms.front().first == "model.hidden0");
    CHECK_FALSE(one.first_bad);
}

TEST_CASE("the first tensor that is not finite is named with its module, its examples and their times") {
    // Row 7 of the file overflows float32 once it is squared.
    const auto overflow = rows([](int i) { return i == 7 ? "1e30,1e30" : "0.1,0.2"; });
    const auto text = text_of(table, "depth = 2", "n = 4\nlevels = 1", "[train]\nsteps = 9\nbatch = 36\n");
    Bench bench(text, overflow);
    dtk::Trainer trainer(*bench.stage, at::kCPU);
    // As drawn it answers 0, and nothing overflows but the square of a gradient.
    const auto drawn = dtk::inspect_next_step(*bench.stage, trainer);
    REQUIRE(drawn.first_bad);
    CHECK(says(drawn.first_bad->what, "the norm of the gradients"));
    CHECK(drawn.first_bad->module == "model.out");
    for (const auto& example : drawn.examples) CHECK(std::isfinite(example.loss));
    for (const auto& named : bench.stage->named_tensors())
        if (named.name == "model.out.weight") named.tensor->detach().fill_(1);
    const auto step = dtk::inspect_next_step(*bench.stage, trainer);
    REQUIRE(step.first_bad);
    REQUIRE(step.first_bad->rows.size() == 1);
    const auto row = static_cast<std::size_t>(step.first_bad->rows[0]);
    const auto example = bench.stage->dataset().examples(at::tensor({step.examples[row].number})).x;
    CHECK(example.max().item<double>() > 1e29);
    CHECK_FALSE(std::isfinite(step.examples[row].loss));
    for (std::size_t i = 0; i < step.examples.size(); ++i)
        if (i != row) CHECK(std::isfinite(step.examples[i].loss));

    // A weight in the middle that makes its products overflow: every example, in that module.
    const auto with = [&](const std::map<std::string, double>& values) {
        Bench other(text_of(mixture, "depth = 2", "n = 4\nlevels = 1"));
        for (const auto& named : other.stage->named_tensors())
            if (const auto value = values.find(named.name); value != values.end())
                named.tensor->detach().fill_(value->second);
        dtk::Trainer trainer(*other.stage, at::kCPU);
        const auto found = dtk::inspect_next_step(*other.stage, trainer).first_bad;
        REQUIRE(found);
        return *found;
    };
    const auto inside = with({{"model.hidden0.bias", 10}, {"model.hidden1.weight", 3e38}});
    CHECK(inside.module == "model.hidden1");
    CHECK(says(inside.what, " in model.hidden1"));
    CHECK(inside.rows.size() == 8);
    const auto weight = with({{"model.out.bias", NAN}});
    CHECK(weight.what == "tensor model.out.bias");
    CHECK(weight.module == "model.out");
    // The step after is refused, and says which to look at.
    const Folder folder;
    write(folder / "small.toml", changed(small_experiment, "batch = 8", "batch = 8\nlr = 1e30"));
    const auto failed = dtk_program({"run", "small.toml", "--out", "run", "--progress", "none"}, folder.path);
    CHECK(failed.code == 1);
    const auto at = failed.err.find("not finite at step ");
    REQUIRE(at != failed.err.npos);
    const auto bad = std::to_string(std::stoi(failed.err.substr(at + 19)));
    const auto said = call(folder, {"run", "small.toml", "--out", "run", "--replay", bad});
    CHECK(says(said.out, "\nnot finite, first: "));
    CHECK(says(call(folder, {"run", "small.toml", "--out", "run", "--replay", "20"}, 2).err, "--replay " + bad));
}
