// A run that is gone on with, by one command or with something changed: what is allowed gives the bits that it should,
// what is not is refused in words, and the record tells which.
#include "catch.hpp"

#include <sched.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <sstream>

#include <nlohmann/json.hpp>

#include "base/changes.hpp"
#include "base/tensor_file.hpp"
#include "base/threads.hpp"
#include "compared_runs.hpp"
#include "run_program.hpp"
#include "small_experiment.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;
using Kind = dtk::Change::Kind;

const std::string experiment = changed(changed(small_experiment, "steps = 30", "steps = 40"), "checkpoint_every = 10\n",
                                       "checkpoint_every = 10\nkeep = 99\n");

Outcome call(const Folder& folder, std::vector<std::string> arguments, int code = 0) {
    if (arguments[0] != "check") arguments.insert(arguments.end(), {"--progress", "none"});
    const auto outcome = dtk_program(arguments, folder.path);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == code);
    CHECK(outcome.signal == 0);
    return outcome;
}

/// A finished run of the experiment in `run`, made once, with the file beside it.
struct Finished {
    Finished() {
        static const Folder keep;
        static const bool made = [] {
            write(keep / "small.toml", experiment);
            call(keep, {"run", "small.toml", "--out", "run"});
            return true;
        }();
        REQUIRE(made);
        fs::copy(keep.path, folder.path, fs::copy_options::recursive);
    }
    Outcome resume(std::vector<std::string> more = {}, int code = 0) const {
        more.insert(more.begin(), {"run", "small.toml", "--resume=run"});
        return call(folder, more, code);
    }
    /// The file says something else from now on.
    void change(const std::string& from, const std::string& to) const {
        write(folder / "small.toml", changed(read(folder / "small.toml"), from, to));
    }
    json record() const { return json::parse(read(folder / "run/run.json")); }
    Folder folder;
};

std::vector<std::int64_t> logged_steps(const fs::path& run) {
    std::vector<std::int64_t> steps;
    std::istringstream lines(read(run / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);) steps.push_back(json::parse(line)["step"]);
    return steps;
}

fs::path checkpoint(const fs::path& run, int step) {
    const auto number = std::to_string(step);
    return run / "checkpoints" / (std::string(8 - number.size(), '0') + number + ".safetensors");
}

void check_same(const fs::path& one, const fs::path& other, int step) {
    CHECK((bits_of(checkpoint(one, step)) == bits_of(checkpoint(other, step))));
    CHECK((bits_of(one / "samples.safetensors") == bits_of(other / "samples.safetensors")));
    CHECK(log_of(one) == log_of(other));
}

/// An IDX file of bytes, as MNIST's.
std::string idx(const std::vector<int>& shape, const std::string& values) {
    std::string bytes{0, 0, 8, static_cast<char>(shape.size())};
    for (const int n : shape)
        for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(n >> shift);
    return bytes + values;
}

/// Twelve images of 2 × 2 in three classes, and an experiment on them.
void write_images(const Folder& folder, int brightness, const std::string& more = {}) {
    fs::create_directories(folder / "data");
    std::string pixels, labels;
    for (int i = 0; i < 48; ++i) pixels += static_cast<char>((37 * i + brightness) % 256);
    for (int i = 0; i < 12; ++i) labels += static_cast<char>(i % 3);
    for (const std::string name : {"train", "t10k"}) {
        write(folder / "data" / (name + "-images-idx3-ubyte"), idx({12, 2, 2}, pixels));
        write(folder / "data" / (name + "-labels-idx1-ubyte"), idx({12}, labels));
    }
    auto text = changed(experiment, "use = \"gaussian_mixture\"", "use = \"idx\"\nfolder = \"data\"");
    write(folder / "images.toml", changed(text, "depth = 1", "depth = 1\nconditional = true") + more);
}

}  // namespace

TEST_CASE(
    "fields are of the kind that they are: what was learned, how it goes on, what comes afterwards, what is idle") {
    const auto kinds = [](const char* then, const char* now) {
        std::map<std::string, Kind> found;
        for (const auto& change : dtk::changes_between(toml::parse(then), toml::parse(now)))
            found[(change.stage.empty() ? "" : change.stage + ":") + change.key] = change.kind;
        return found;
    };
    CHECK(kinds("a = 1", "a = 1").empty());
    CHECK(
        kinds("seed = 1\nthreads = 1\ntrain = {lr = 1e-3, batch = 8, keep = 1, steps = 4}\nmodel = {use = \"mlp\"}",
              "seed = 2\nthreads = 2\ntrain = {lr = 1e-4, batch = 9, keep = 2, steps = 5}\nmodel = {use = \"unet\"}") ==
        std::map<std::string, Kind>{{"seed", Kind::refused},
                                    {"threads", Kind::idle},
                                    {"train.lr", Kind::law},
                                    {"train.batch", Kind::refused},
                                    {"train.keep", Kind::idle},
                                    {"train.steps", Kind::steps},
                                    {"model.use", Kind::refused}});
    CHECK(
        kinds("optimizer = {use = \"adamw\", beta1 = 0.9}\nprocess = {schedule = {use = \"linear\"}}",
              "optimizer = {use = \"sgd\", beta1 = 0.8}\nprocess = {schedule = {use = \"cosine\"}}\nsample = {n = 3}\n"
              "metric = [{use = \"nll\"}]") == std::map<std::string, Kind>{{"optimizer.use", Kind::refused},
                                                                           {"optimizer.beta1", Kind::law},
                                                                           {"process.schedule.use", Kind::refused},
                                                                           {"sample.n", Kind::afterwards},
                                                                           {"metric", Kind::afterwards}});
    // To train at all, or no more, is no change of a rate.
    CHECK(kinds("", "train = {lr = 1.0, log_every = 3}") ==
          std::map<std::string, Kind>{{"train.lr", Kind::refused}, {"train.log_every", Kind::refused}});
    // How often is looked at it changes nothing, nor does looking at all; what is looked at decides which is best.
    CHECK(kinds("validate = {every = 5, n = 9}", "validate = {every = 6, n = 8}") ==
          std::map<std::string, Kind>{{"validate.every", Kind::idle}, {"validate.n", Kind::refused}});
    CHECK(kinds("", "validate = {n = 9}") == std::map<std::string, Kind>{{"validate.n", Kind::idle}});
    CHECK(
        kinds("stage = [{name = \"a\", train = {lr = 1.0}}, {name = \"b\"}]",
              "stage = [{name = \"a\", train = {lr = 2.0}}, {name = \"c\"}]") ==
        std::map<std::string, Kind>{{"a:train.lr", Kind::law}, {"b:stage", Kind::refused}, {"c:stage", Kind::refused}});

    const dtk::Change lr{.stage = "a", .key = "train.lr", .before = "1.0", .after = "2.0"};
    CHECK(lr.text() == "stage a: train.lr 1.0 → 2.0");
    for (const auto* one : {"train.lr=2", "train = {lr = 2}", "stage.a.train.lr=2"}) CHECK(is_set(lr, {"x=1", one}));
    for (const auto* one : {"train.l=2", "train.lr.x=2", "stage.b.train.lr=2", "lr=2", ""}) CHECK(!is_set(lr, {one}));
}

TEST_CASE("threads are what OpenMP, the cores of this process and its container's quota allow") {
    const Folder folder;
    const auto groups = folder / "groups", own = folder / "own";
    fs::create_directories(groups / "slice/job");
    cpu_set_t all, one;
    REQUIRE(::sched_getaffinity(0, sizeof all, &all) == 0);
    const auto cores = CPU_COUNT(&all);
    write(own, "0::/slice/job\n");
    CHECK(dtk::cores_to_use(groups, own).count == cores);
    write(groups / "slice/job/cpu.max", "max 100000\n");
    CHECK(dtk::cores_to_use(groups, own).count == cores);
    write(groups / "slice/job/cpu.max", "1000000000 100000\n");
    CHECK(dtk::cores_to_use(groups, own).count == cores);
    write(groups / "slice/job/cpu.max", "20000 100000\n");
    CHECK(dtk::cores_to_use(groups, own).count == 1);
    if (cores > 1) CHECK(dtk::cores_to_use(groups, own).why == "the container's quota");
    // The group around it counts, too.
    fs::remove(groups / "slice/job/cpu.max");
    write(groups / "slice/cpu.max", "100000 100000\n");
    CHECK(dtk::cores_to_use(groups, own).count == 1);
    // Version 1: the controllers have folders of their own.
    write(own, "4:memory:/x\n3:cpu,cpuacct:/job\n");
    fs::create_directories(groups / "cpu,cpuacct/job");
    write(groups / "cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
    write(groups / "cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
    CHECK(dtk::cores_to_use(groups, own).count == cores);
    write(groups / "cpu,cpuacct/job/cpu.cfs_quota_us", "50000\n");
    CHECK(dtk::cores_to_use(groups, own).count == 1);

    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu)
        if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
    REQUIRE(::sched_setaffinity(0, sizeof one, &one) == 0);
    const auto bound = dtk::cores_to_use(groups, folder / "none");
    REQUIRE(::sched_setaffinity(0, sizeof all, &all) == 0);
    CHECK(bound.count == 1);

    const std::string before = std::getenv("OMP_NUM_THREADS") ? std::getenv("OMP_NUM_THREADS") : "";
    ::setenv("OMP_NUM_THREADS", "3,2", 1);
    CHECK(dtk::threads_for(0).count == 3);
    CHECK(dtk::threads_for(0).why == "OMP_NUM_THREADS");
    CHECK(dtk::threads_for(7).count == 7);
    for (const auto* nothing : {"", "0", "-1", "many", "2x"}) {
        ::setenv("OMP_NUM_THREADS", nothing, 1);
        CHECK(dtk::threads_for(0).why != "OMP_NUM_THREADS");
    }
    if (before.empty())
        ::unsetenv("OMP_NUM_THREADS");
    else
        ::setenv("OMP_NUM_THREADS", before.c_str(), 1);
}

TEST_CASE("a completed run is given more steps, to the bits of one that had them from the beginning") {
    const Finished f;
    const auto before = f.record()["result"];
    f.change("steps = 40", "steps = 60");
    const auto on = f.resume();
    CHECK(says(on.err, "from step 40: train.steps 40 → 60"));
    CHECK(says(on.err, "going on after step 40 of 60, from checkpoints/00000040.safetensors"));
    call(f.folder, {"run", "small.toml", "--out", "straight"});
    check_same(f.folder / "run", f.folder / "straight", 60);
    const auto record = f.record();
    CHECK(record["status"] == "completed");
    CHECK(record["result"] == json::parse(read(f.folder / "straight/run.json"))["result"]);
    REQUIRE(record["history"].size() == 1);
    CHECK(record["history"][0]["from"]["run"] == json{{"step", 40}, {"checkpoint", "00000040.safetensors"}});
    CHECK(record["history"][0]["changes"][0]["law"] == false);
    CHECK(record["history"][0]["result"] == before);
    CHECK(says(read(f.folder / "run/resolved.toml"), "steps = 60"));
    CHECK(logged_steps(f.folder / "run") == std::vector<std::int64_t>{10, 20, 30, 40, 50, 60});

    f.change("steps = 60", "steps = 50");
    CHECK(says(f.resume({}, 2).err, "has come to step 60 already, and `train.steps` is 50"));
    CHECK(f.record() == record);
}

TEST_CASE("more steps under a rate that depends on their number are a change of law, and recorded as one") {
    const Folder folder;
    write(folder / "small.toml", experiment + "[rate]\nuse = \"cosine\"\n");
    call(folder, {"run", "small.toml", "--out", "run"});
    const auto on = call(folder, {"run", "small.toml", "--resume=run", "--set", "train.steps=80"});
    // ½ (1 + cos(π · 40/80)) of 1e-3, where it was ½ (1 + cos π) = 0
    CHECK(says(on.err, "from step 40: train.steps 40 → 80, and with it the learning rate of that step, 0 → 0.0005"));
    const auto change = json::parse(read(folder / "run/run.json"))["history"][0]["changes"][0];
    CHECK(change["law"] == true);
    CHECK(change["key"] == "train.steps");
    const auto log = log_of(folder / "run");
    CHECK(log[4]["train/lr"].get<double>() == Approx(0.5e-3 * (1 + std::cos(std::acos(-1.0) * 49 / 80))));
}

TEST_CASE("a change that a killed process had on record and had not made is taken back") {
    const Finished f;
    const auto resolved = read(f.folder / "run/resolved.toml");
    const auto result = f.record()["result"];
    f.resume({"--set", "train.lr=0.0001", "--set", "train.steps=60"});
    // As it is in between: the record is written first.
    auto record = f.record();
    record["changing"] = true;
    record["status"] = "running";
    record.erase("result");
    write(f.folder / "run/run.json", record.dump());
    write(f.folder / "run/resolved.toml", resolved);
    for (const auto& entry : fs::directory_iterator(f.folder / "run/checkpoints"))
        if (std::stoll(entry.path().stem().string()) > 40) fs::remove(entry.path());
    f.resume({"--set", "train.lr=0.0002", "--set", "train.steps=50"});
    const auto history = f.record()["history"];
    REQUIRE(history.size() == 1);
    CHECK(history[0]["result"] == result);
    REQUIRE(history[0]["changes"].size() == 2);
    for (const auto& change : history[0]["changes"])
        CHECK(change["before"] == (change["key"] == "train.lr" ? "0.001" : "40"));
    CHECK_FALSE(f.record().contains("changing"));
}

TEST_CASE("another rate is taken where it is asked for, recorded, and refused with both ways out where it is not") {
    const Finished f;
    const auto before = read(f.folder / "run/run.json");
    f.change("batch = 8", "batch = 8\nlr = 1e-4");
    f.change("steps = 40", "steps = 50");
    const auto refused = f.resume({}, 2);
    CHECK(says(refused.err, "then: train.lr = 0.001\n  now:  train.lr = 0.0001"));
    CHECK(says(refused.err, "--set train.lr=0.0001; as it was: --set train.lr=0.001"));
    CHECK(read(f.folder / "run/run.json") == before);

    const auto on = f.resume({"--set", "train.lr=0.0001"});
    CHECK(says(on.err, "from step 40: train.lr 0.001 → 0.0001"));
    const auto history = f.record()["history"];
    REQUIRE(history.size() == 1);
    CHECK(history[0]["changes"][0]["text"] == "from step 40: train.lr 0.001 → 0.0001");
    CHECK(history[0]["changes"][0]["law"] == true);
    const auto log = log_of(f.folder / "run");
    REQUIRE(log.size() == 5);
    CHECK(log[3]["train/lr"] == 1e-3);
    CHECK(log[4]["train/lr"] == 1e-4);
    // The same command again finds nothing to do, and what it finds stays as it is.
    const auto complete = read(f.folder / "run/run.json");
    CHECK(says(f.resume({"--set", "train.lr=0.0001"}).err, "is complete: nothing is left to do"));
    CHECK(read(f.folder / "run/run.json") == complete);
    // Other fields of the same kind: clipping, the weighting, a field of the optimiser; not the optimiser itself.
    CHECK(f.resume({"--set", "train.steps=60", "--set", "train.clip=0.5", "--set", "weighting=edm", "--set",
                    "optimizer.beta1=0.8", "--set", "rate=linear"})
              .code == 0);
    CHECK(says(f.resume({"--set", "optimizer=adam"}, 2).err, "optimizer.use"));
    CHECK(f.record()["history"].size() == 2);
}

TEST_CASE("logging, checkpoints, threads, samples and metrics change on the way, and no past result does") {
    const Finished f;
    const auto trained = bits_of(checkpoint(f.folder / "run", 40));
    f.change("log_every = 10", "log_every = 20");
    f.change("keep = 99", "keep = 2");
    f.change("threads = 1", "threads = 2");
    const auto idle = read(f.folder / "run/run.json");
    CHECK(says(f.resume().err, "nothing is left to do"));
    CHECK(read(f.folder / "run/run.json") == idle);

    f.change("n = 20", "n = 30\nbatch = 7\n[[metric]]\nuse = \"nll\"");
    f.resume();
    CHECK(f.record()["result"]["samples"] == 30);
    CHECK(f.record()["result"]["metrics"][0]["metric"] == "nll");
    CHECK((bits_of(checkpoint(f.folder / "run", 40)) == trained));
    for (const auto& change : f.record()["history"][0]["changes"]) CHECK(change["law"] == false);
    // Missing samples are drawn again, though the record says that the run is complete.
    const auto drawn = bits_of(f.folder / "run/samples.safetensors");
    fs::remove(f.folder / "run/samples.safetensors");
    f.resume();
    CHECK((bits_of(f.folder / "run/samples.safetensors") == drawn));
}

TEST_CASE("what has been learned already cannot be changed: that is refused with the reason and the way out") {
    const Finished f;
    const auto before = read(f.folder / "run/run.json");
    for (const auto* set : {"model.width=9", "seed=6", "train.batch=16", "process.steps=21", "dataset.labels=true",
                            "schedule.s=0.01", "loss=elbo", "name=other"}) {
        const auto refused = f.resume({"--set", set}, 2);
        INFO(set << "\n" << refused.err);
        CHECK(says(refused.err, "was run with another experiment"));
        CHECK(says(refused.err, "then: "));
        CHECK(says(refused.err, "init = \""));
    }
    CHECK(read(f.folder / "run/run.json") == before);
    CHECK_FALSE(fs::exists(f.folder / "run/run.lease"));
}

TEST_CASE("advice after a failure works when it is pasted") {
    const Folder folder;
    write(folder / "it's \"new\".toml", changed(experiment, "batch = 8", "batch = 8\nclip = 0\nlr = 1e30"));
    const auto failed = call(folder, {"run", "it's \"new\".toml", "--out", "the run", "--set", "name=\"a b\""}, 1);
    const auto after = [&](const std::string& text, const std::string& phrase) {
        const auto at = text.find(phrase);
        REQUIRE(at != text.npos);
        const auto from = at + phrase.size();
        return text.substr(from, text.find_first_of(" \n", from) - from);
    };
    const std::string go_on = "go on with: dtk ";
    const auto paste = [&](const std::string& said, const std::string& more) {
        const auto at = said.find(go_on);
        REQUIRE(at != said.npos);
        const auto from = at + go_on.size();
        const auto line = said.substr(from, said.find('\n', from) - from);
        return Running({"bash", "-c", DTK_PROGRAM " " + line + " " + more + " --progress none"}, folder.path,
                       own_environment())
            .wait();
    };
    CHECK(says(failed.err, "once that is mended, go on with: "));
    const auto unchanged = paste(failed.err, "");
    CHECK(unchanged.code == 1);
    const auto mended = paste(failed.err, "--set " + after(failed.err, "adding --set "));
    INFO(mended.err);
    CHECK(mended.code == 0);
    CHECK(json::parse(read(folder / "the run/run.json"))["name"] == "a b");

    // Too few samples for what is to be measured.
    write(folder / "few.toml", changed(experiment, "n = 20", "n = 5") + "[[metric]]\nuse = \"mmd\"\n");
    const auto few = call(folder, {"run", "few.toml", "--out", "few"}, 1);
    CHECK(says(few.err, "raise `n` in [sample]"));
    CHECK(paste(few.err, "--set sample.n=20").code == 0);
    CHECK(json::parse(read(folder / "few/run.json"))["result"]["samples"] == 20);
}

TEST_CASE("one command begins a run, goes on with it and finds it complete") {
    const Folder folder;
    write(folder / "small.toml", experiment);
    const std::vector<std::string> command{"run", "small.toml", "--out", "out", "--resume"};
    CHECK(says(call(folder, command).err, "there is no run in out yet: it begins"));
    fs::remove(checkpoint(folder / "out", 40));
    write(folder / "out/run.json",
          changed(read(folder / "out/run.json"), "\"status\": \"completed\"", "\"status\": \"running\""));
    CHECK(says(call(folder, command).err, "going on after step 30 of 40"));
    CHECK(says(call(folder, command).err, "is complete: nothing is left to do"));
    CHECK(logged_steps(folder / "out") == std::vector<std::int64_t>{10, 20, 30, 40});
    CHECK_FALSE(fs::exists(folder / "runs"));
    // Another experiment's run is left alone, and so is a folder of something else.
    write(folder / "other.toml", changed(experiment, "width = 8", "width = 9"));
    CHECK(says(call(folder, {"run", "other.toml", "--out", "out", "--resume"}, 2).err, "another experiment"));
    fs::create_directory(folder / "mine");
    write(folder / "mine/letter", "x");
    CHECK(says(call(folder, {"run", "small.toml", "--out", "mine", "--resume"}, 2).err, "is not empty"));
    CHECK(says(call(folder, {"run", "small.toml", "--out", "a", "--resume=out"}, 2).err, "name two folders"));
    // A seed that nobody gave is drawn once.
    write(folder / "free.toml", changed(experiment, "seed = 5\n", ""));
    const std::vector<std::string> free{"run", "free.toml", "--out", "free", "--resume"};
    call(folder, free);
    const auto seed = json::parse(read(folder / "free/run.json"))["seed"];
    fs::remove(folder / "free/samples.safetensors");
    call(folder, free);
    CHECK(json::parse(read(folder / "free/run.json"))["seed"] == seed);
}

TEST_CASE("of two that begin or go on at once one has the run, and no line is lost or doubled") {
    const Folder folder;
    write(folder / "small.toml", changed(experiment, "steps = 40", "steps = 3000"));
    for (int round = 0; round < 3; ++round) {
        std::vector<Running> both;
        for (int i = 0; i < 2; ++i)
            both.push_back(
                start_dtk({"run", "small.toml", "--out", "out", "--resume", "--progress", "none"}, folder.path));
        if (round < 2) {
            while (!fs::exists(folder / "out/metrics.jsonl")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
            for (int i = 0; i < 3000 && !both[0].ended() && !both[1].ended(); ++i)
                std::this_thread::sleep_for(std::chrono::milliseconds(10));
            for (auto& one : both) one.send(SIGKILL);
        }
        int refused = 0;
        for (auto& one : both) {
            const auto end = one.wait();
            INFO(end.err);
            refused += end.code == 2 && (says(end.err, "is at work in") || says(end.err, "is not empty"));
            CHECK((end.code == 2 || end.code == 0 || end.signal == SIGKILL));
        }
        CHECK(refused <= 1);
    }
    const auto steps = logged_steps(folder / "out");
    REQUIRE(steps.size() == 300);
    for (std::size_t i = 0; i < steps.size(); ++i) CHECK(steps[i] == static_cast<std::int64_t>(10 * (i + 1)));
    CHECK(json::parse(read(folder / "out/run.json"))["status"] == "completed");
}

TEST_CASE("a network is fitted to fewer examples than a batch holds, which is how people check one") {
    const Folder folder;
    write(folder / "one.csv", "x,y\n3,-2\n");
    write(folder / "other.csv", "x,y\n0,0\n");
    write(folder / "small.toml", changed(changed(small_experiment, "use = \"gaussian_mixture\"",
                                                 "use = \"csv\"\nfile = \"one.csv\"\ntest_file = \"other.csv\""),
                                         "steps = 30\nbatch = 8", "steps = 1500\nbatch = 64\nlr = 1e-2"));
    const auto outcome = dtk_program({"run", "small.toml", "--out", "run", "--progress", "none", "--set",
                                      "model.prediction=x0", "--set", "sampler.steps=20", "--set", "model.width=32"},
                                     folder.path);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    const auto samples = dtk::read_tensors(folder / "run/samples.safetensors").at("samples").numbers();
    REQUIRE(samples.size() == 40);
    for (std::size_t i = 0; i < samples.size(); ++i) CHECK(samples[i] == Approx(i % 2 == 0 ? 3 : -2).margin(0.3));
}

TEST_CASE("every signal by which a queue takes a machine back ends in a checkpoint and 85, an interrupt in 130") {
    const Folder folder;
    write(folder / "small.toml", changed(experiment, "steps = 40", "steps = 100000000"));
    write(folder / "small.toml", changed(read(folder / "small.toml"), "checkpoint_every = 10", "checkpoint_every = 0"));
    for (const auto& [signal, code] :
         std::vector<std::pair<int, int>>{{SIGHUP, 85}, {SIGTERM, 85}, {SIGUSR1, 85}, {SIGINT, 130}}) {
        const auto name = "out" + std::to_string(signal);
        auto running = start_dtk({"run", "small.toml", "--out", name, "--progress", "none"}, folder.path);
        while (!fs::exists(folder / name / "metrics.jsonl") && !running.ended())
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        running.send(signal);
        const auto end = running.wait();
        INFO(signal << "\n" << end.err);
        CHECK(end.code == code);
        CHECK(says(end.err, "dtk: stopped after step "));
        CHECK(json::parse(read(folder / name / "run.json"))["status"] == "interrupted");
        CHECK(std::distance(fs::directory_iterator(folder / name / "checkpoints"), {}) == 1);
    }
    // Under nohup nobody hangs up.
    auto running =
        Running({"bash", "-c", "trap '' HUP; exec " DTK_PROGRAM " run small.toml --out nohup --progress none"},
                folder.path, own_environment());
    const auto lines = [&] {
        return fs::exists(folder / "nohup/metrics.jsonl") ? read(folder / "nohup/metrics.jsonl").size() : 0;
    };
    while (lines() == 0 && !running.ended()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    running.send(SIGHUP);
    const auto seen = lines();
    for (int i = 0; i < 2000 && lines() <= seen + 2000; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    CHECK(lines() > seen + 2000);
    CHECK_FALSE(running.ended());
    running.send(SIGUSR1);
    CHECK(running.wait().code == 85);
}

TEST_CASE("a signal while samples are drawn or measured keeps what was trained, and going on draws and measures") {
    for (const bool measuring : {false, true}) {
        const Folder folder;
        auto text = changed(experiment, "n = 20", measuring ? "n = 20" : "n = 100000000\nbatch = 64");
        if (measuring) text += "[[metric]]\nuse = \"eps_error\"\nn = 10000000\n";
        write(folder / "small.toml", text);
        auto running = start_dtk({"run", "small.toml", "--out", "run", "--progress", "plain"}, folder.path);
        const auto begun = [&] {
            if (measuring) return fs::exists(folder / "run/samples.safetensors");
            for (const auto& entry : fs::directory_iterator(folder / "run"))
                if (entry.path().extension() == ".tmp" && fs::file_size(entry.path()) > 4096) return true;
            return false;
        };
        while (!fs::exists(folder / "run/loss.svg") && !running.ended())
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        while (!begun() && !running.ended()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        running.send(SIGUSR1);
        const auto end = running.wait(std::chrono::seconds(20));
        INFO(end.err);
        CHECK(end.code == 85);
        CHECK(says(end.err, measuring ? "stopped while the run was measured" : "stopped while samples were drawn"));
        CHECK(json::parse(read(folder / "run/run.json"))["status"] == "interrupted");
        CHECK(fs::exists(checkpoint(folder / "run", 40)));
        for (const auto& entry : fs::directory_iterator(folder / "run")) CHECK(entry.path().extension() != ".tmp");
        const auto trained = read(checkpoint(folder / "run", 40));
        const auto on = call(folder, {"run", "small.toml", "--resume=run", "--set",
                                      measuring ? "metric.eps_error.n=64" : "sample.n=50"});
        CHECK(says(on.err, "going on after step 40 of 40"));
        CHECK(read(checkpoint(folder / "run", 40)) == trained);
        CHECK(json::parse(read(folder / "run/run.json"))["result"]["samples"] == (measuring ? 20 : 50));
    }
}

TEST_CASE("the log is cut back to the checkpoint that is gone on from, and what was cut short goes") {
    const Finished f;
    const auto whole = log_of(f.folder / "run");
    fs::remove(checkpoint(f.folder / "run", 40));
    fs::remove(checkpoint(f.folder / "run", 30));
    write(f.folder / "run/metrics.jsonl", read(f.folder / "run/metrics.jsonl") + "{\"step\": 50}\n{\"ste");
    CHECK(says(f.resume().err, "going on after step 20 of 40"));
    CHECK(log_of(f.folder / "run") == whole);
    // Of none that is whole all goes.
    fs::remove_all(f.folder / "run/checkpoints");
    CHECK(says(f.resume().err, "going on after step 0 of 40"));
    CHECK(log_of(f.folder / "run") == whole);
}

TEST_CASE("other data or another build of a plugin that trained are refused, or recorded where that is asked for") {
    const Folder folder;
    write_images(folder, 0);
    call(folder, {"run", "images.toml", "--out", "run"});
    const auto record = [&] { return json::parse(read(folder / "run/run.json")); };
    const auto before = record();
    write_images(folder, 1);
    const std::vector<std::string> more{"run", "images.toml", "--resume=run", "--set", "train.steps=50"};
    const auto refused = call(folder, more, 2);
    CHECK(says(refused.err, "\n  the data: SHA-256 "));
    CHECK(says(refused.err, "--accept-changed"));
    CHECK(record() == before);
    auto accepted = more;
    accepted.emplace_back("--accept-changed");
    CHECK(says(call(folder, accepted).err, "from step 40: data "));
    CHECK(record()["history"][0]["changes"].dump().find("\"data\"") != std::string::npos);
    CHECK(record()["data"]["sha256"] != before["data"]["sha256"]);

    const Finished f;
    const auto with_another = [&](const std::string& name, int code) {
        auto content = f.record();
        for (auto& plugin : content["plugins"])
            if (plugin["name"] == name) plugin["sha256"] = std::string(64, '0');
        write(f.folder / "run/run.json", content.dump());
        return f.resume({"--set", "train.steps=50"}, code);
    };
    CHECK(says(with_another("mlp", 2).err, "\n  model plugin `mlp`: SHA-256 000000000000… then"));
    CHECK(says(with_another("cosine", 2).err, "\n  schedule plugin `cosine`: "));
    CHECK(says(f.resume({"--accept-changed", "--set", "train.steps=50"}).err, "plugin mlp"));
    CHECK(with_another("ddim", 0).code == 0);  // it only draws
}

TEST_CASE("a network begins as one that has been trained") {
    const Finished f;
    const auto text = changed(experiment, "steps = 40", "steps = 1\nlr = 1e-30") + "[optimizer]\nweight_decay = 0\n";
    write(f.folder / "tune.toml", "init = \"run\"\n" + text);
    const auto tuned = call(f.folder, {"run", "tune.toml", "--out", "tuned"});
    CHECK(says(tuned.err, "tensors from step 40 of run/checkpoints/00000040.safetensors"));
    // The average of the run it begins as, from which a step of 1e-30 does not lead away.
    CHECK((bits_of(f.folder / "tuned/samples.safetensors").at("samples") ==
           bits_of(f.folder / "run/samples.safetensors").at("samples")));
    CHECK(json::parse(read(f.folder / "tuned/run.json"))["init"]["sha256"].get<std::string>().size() == 64);
    CHECK(says(read(f.folder / "tuned/resolved.toml"), "[init]"));
    call(f.folder, {"run", "tune.toml", "--out", "raw", "--set", "init={run=\"run\",average=\"none\"}"});
    CHECK((bits_of(f.folder / "raw/samples.safetensors") != bits_of(f.folder / "run/samples.safetensors")));

    // What does not fit is said, and refused on request.
    const auto deeper = call(
        f.folder, {"run", "tune.toml", "--out", "deeper", "--set", "model.depth=2", "--set", "model.time_features=32"});
    CHECK(says(deeper.err, "of another shape, left as drawn: model.hidden0.weight (8×66 there, 8×34 here)"));
    CHECK(says(deeper.err, "not there, left as drawn: model.hidden1.weight, model.hidden1.bias"));
    CHECK(bits_of(checkpoint(f.folder / "deeper", 1)).at("model.out.weight") ==
          bits_of(checkpoint(f.folder / "tuned", 1)).at("model.out.weight"));
    const auto strict = call(
        f.folder,
        {"run", "tune.toml", "--out", "no", "--set", "model.depth=2", "--set", "init={run=\"run\",strict=true}"}, 2);
    CHECK(says(strict.err, "does not fit whole"));
    CHECK(says(strict.err, "leave `strict` out"));
    CHECK(says(call(f.folder, {"check", "tune.toml", "--set", "model.width=9", "--set", "dataset.preset=gmm1d"}, 2).err,
               "no tensor of"));
    CHECK(says(call(f.folder, {"check", "tune.toml", "--set", "init=nowhere"}, 2).err, "`nowhere` is neither"));
    CHECK(says(call(f.folder, {"check", "tune.toml", "--set", "init={run=\"run\",average=\"best\"}"}).out, "in order"));
    CHECK(
        says(call(f.folder, {"run", "tune.toml", "--out", "no", "--set", "init={run=\"run\",average=\"best\"}"}, 2).err,
             "is one of none, ema"));
}

TEST_CASE("an experiment without training samples a network that another run trained, and keeps it") {
    const Finished f;
    const auto begin = experiment.find("[train]"), end = experiment.find("[sampler]");
    write(f.folder / "draw.toml", "init = \"run\"\n" + experiment.substr(0, begin) + experiment.substr(end));
    call(f.folder, {"run", "draw.toml", "--out", "drawn"});
    const auto right = bits_of(f.folder / "run/samples.safetensors").at("samples");
    CHECK((bits_of(f.folder / "drawn/samples.safetensors").at("samples") == right));
    CHECK(says(call(f.folder, {"run", "draw.toml", "--out", "no", "--set", "model.depth=2"}, 2).err, "add [train]"));
    // Afterwards it needs the other run no more: to be sampled, to be gone on with, to be begun from.
    fs::remove_all(f.folder / "run");
    call(f.folder, {"sample", "drawn", "--out", "again"});
    CHECK((bits_of(f.folder / "again/samples.safetensors").at("samples") == right));
    fs::remove(f.folder / "drawn/samples.safetensors");
    call(f.folder, {"run", "draw.toml", "--resume=drawn"});
    CHECK((bits_of(f.folder / "drawn/samples.safetensors").at("samples") == right));
    call(f.folder, {"run", "draw.toml", "--out", "third", "--set", "init=drawn"});
    CHECK((bits_of(f.folder / "third/samples.safetensors").at("samples") == right));
}

TEST_CASE("a stage begins as an earlier one ended") {
    const Folder folder;
    auto text = changed(experiment, "[train]\nsteps = 40", "[train]\nsteps = 10");
    text +=
        "[[stage]]\nname = \"first\"\n[[stage]]\nname = \"second\"\ninit = \"first\"\n"
        "train = {steps = 1, lr = 1e-30}\noptimizer = {use = \"adamw\", weight_decay = 0}\n";
    write(folder / "two.toml", text);
    CHECK(says(call(folder, {"run", "two.toml", "--out", "run"}).err, "tensors from step 10 of "));
    CHECK((bits_of(folder / "run/first/samples.safetensors").at("samples") ==
           bits_of(folder / "run/second/samples.safetensors").at("samples")));
    // The first is not trained on under the second's feet.
    const auto refused = call(folder, {"run", "two.toml", "--resume=run", "--set", "stage.first.train.steps=20"}, 2);
    CHECK(says(refused.err, "and stage `second` has been trained after it already"));
    CHECK(says(call(folder, {"run", "two.toml", "--resume=run", "--set", "stage.second.train.steps=2"}).err,
               "from step 1: stage second: train.steps 1 → 2"));
}

TEST_CASE("a run is sampled without its data, and metrics that need them say so") {
    for (const auto* prediction : {"eps", "edm"}) {
        const Folder folder;
        write_images(folder, 0,
                     "[[metric]]\nuse = \"frechet\"\nrepeats = 2\n[[metric]]\nuse = \"bits_per_dim\"\nn = 4\n");
        write(folder / "images.toml", changed(read(folder / "images.toml"), "width = 8",
                                              std::string("width = 8\nprediction = \"") + prediction + "\""));
        call(folder, {"run", "images.toml", "--out", "run"});
        call(folder, {"sample", "run", "--out", "with"});
        fs::rename(folder / "data", folder / "gone");
        const auto without = call(folder, {"sample", "run", "--out", "without"});
        INFO(prediction);
        CHECK(says(without.err, "the data cannot be read"));
        CHECK((bits_of(folder / "without/samples.safetensors") == bits_of(folder / "with/samples.safetensors")));
        const auto metrics = json::parse(read(folder / "without/result.json"))["metrics"];
        REQUIRE(metrics.size() == 2);
        for (const auto& metric : metrics) {
            CHECK(metric["value"].is_null());
            CHECK(says(metric["note"], "left out: "));
        }
        CHECK(fs::exists(folder / "without/samples.png"));
    }
}

TEST_CASE("an earlier checkpoint is sampled, by its step or its path") {
    const Finished f;
    call(f.folder, {"sample", "run", "--step", "20", "--out", "by_step"});
    call(f.folder, {"sample", "run/checkpoints/00000020.safetensors", "--out", "by_path"});
    const auto right = bits_of(f.folder / "by_step/samples.safetensors").at("samples");
    CHECK((bits_of(f.folder / "by_path/samples.safetensors").at("samples") == right));
    CHECK((bits_of(f.folder / "run/samples.safetensors").at("samples") != right));
    const auto result = json::parse(read(f.folder / "by_step/result.json"));
    CHECK(result["step"] == 20);
    CHECK(says(result["checkpoint"], "run/checkpoints/00000020.safetensors"));
    // The step is the one inside, whatever the file is called; the newest is said.
    fs::rename(checkpoint(f.folder / "run", 20), f.folder / "run/checkpoints/z.safetensors");
    call(f.folder, {"sample", "run", "--step", "20", "--out", "renamed"});
    CHECK((bits_of(f.folder / "renamed/samples.safetensors").at("samples") == right));
    CHECK(says(call(f.folder, {"sample", "run", "--out", "newest"}).err, "network  step 40 of "));
    CHECK(says(call(f.folder, {"sample", "run", "--step", "25", "--out", "no"}, 2).err,
               "there are those of 40, 30, 20, 10"));
    CHECK(call(f.folder, {"sample", "run/checkpoints/z.safetensors", "--step", "10", "--out", "no"}, 2).code == 2);
}

TEST_CASE("the classes that were asked for stand beside the samples, in every format") {
    const Folder folder;
    write_images(folder, 0);
    call(folder, {"run", "images.toml", "--out", "run"});
    const auto labels = [&](const fs::path& drawn) {
        const auto bytes = bits_of(drawn / "samples.safetensors").at("labels");
        std::vector<std::int64_t> all(bytes.size() / 8);
        std::memcpy(all.data(), bytes.data(), bytes.size());
        return all;
    };
    const auto in_turn = labels(folder / "run");
    REQUIRE(in_turn.size() == 20);
    for (std::size_t i = 0; i < in_turn.size(); ++i) CHECK(in_turn[i] == static_cast<std::int64_t>(i % 3));
    call(folder,
         {"sample", "run", "--n", "5", "--set", "sample.labels=[2,0]", "--set", "sample.batch=2", "--out", "chosen"});
    CHECK(labels(folder / "chosen") == std::vector<std::int64_t>{2, 0, 2, 0, 2});
    REQUIRE(dtk_program({"export", "run", "--to", "npz", "--out", "run.npz"}, folder.path).code == 0);
    CHECK(says(read(folder / "run.npz"), "labels.npy"));
    // A network that is told no class has none to tell of.
    call(folder, {"run", "images.toml", "--out", "plain", "--set", "model.conditional=false"});
    CHECK_FALSE(bits_of(folder / "plain/samples.safetensors").contains("labels"));
}

namespace {
/// How training went on from a step: what run.json says, and what the command line said.
struct Segment {
    std::int64_t from = 0;
    std::string lr, steps;
};

/// Of a run whose rate and length were changed each time it was gone on with.
std::vector<Segment> segments_of(const json& record) {
    std::vector<Segment> segments(1);
    for (const auto& entry : record["history"]) {
        auto next = segments.back();
        next.from = entry["from"].empty() ? 0 : entry["from"]["run"]["step"].get<std::int64_t>();
        for (const auto& change : entry["changes"]) {
            const bool is_rate = change["key"] == "train.lr";
            if (!is_rate && change["key"] != "train.steps") continue;
            auto& then = is_rate ? segments.back().lr : segments.back().steps;
            if (then.empty()) then = change["before"];
            CHECK(then == change["before"].get<std::string>());
            (is_rate ? next.lr : next.steps) = change["after"];
        }
        segments.push_back(next);
    }
    return segments;
}
}  // namespace

TEST_CASE("a run that is killed forty times, with another rate and length each time, is that of clean stops",
          "[slow]") {
    const Folder folder;
    auto text = changed(experiment, "keep = 99", "keep = 100000");
    write(folder / "small.toml",
          changed(text, "checkpoint_every = 10", "checkpoint_every = 50") + "[rate]\nuse = \"cosine\"\n");
    const auto command = [&](const std::string& name, const std::string& lr, const std::string& steps) {
        return std::vector<std::string>{
            "run",   "small.toml",          "--out", name, "--resume", "--progress", "none", "--set", "train.lr=" + lr,
            "--set", "train.steps=" + steps};
    };
    std::mt19937 random(7);
    const auto began = std::chrono::steady_clock::now();
    REQUIRE(start_dtk(command("warm", "0.001", "50"), folder.path).wait().code == 0);
    const auto start = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
    int kills = 0, steps = 4000;
    std::string lr = "0.001";
    while (kills < 40) {
        lr = "0.00" + std::to_string(1 + random() % 9) + std::to_string(1 + random() % 9);
        steps += 100;
        auto running = start_dtk(command("killed", lr, std::to_string(steps)), folder.path);
        std::this_thread::sleep_for(start * static_cast<int>(20 + random() % 130) / 100);
        running.send(SIGKILL);
        const auto end = running.wait();
        INFO(end.err);
        REQUIRE((end.signal == SIGKILL || end.code == 0));
        kills += end.signal == SIGKILL;
    }
    const auto last = std::to_string(steps += 100);
    REQUIRE(dtk_program(command("killed", "0.0005", last), folder.path).code == 0);
    const auto record = json::parse(read(folder / "killed/run.json"));
    CHECK(record["status"] == "completed");
    CHECK(record["history"].size() > 5);

    // The same changes at the same steps, each stop a clean one after its step.
    const auto segments = segments_of(record);
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const bool ends = i + 1 == segments.size();
        if (!ends && segments[i + 1].from == segments[i].from) continue;
        auto running = start_dtk(command("clean", segments[i].lr, segments[i].steps), folder.path);
        if (!ends) {
            const auto until = segments[i + 1].from;
            while (!fs::exists(checkpoint(folder / "clean", static_cast<int>(until))) && !running.ended())
                std::this_thread::sleep_for(std::chrono::milliseconds(1));
            running.send(SIGINT);
            running.wait();
            for (const auto& entry : fs::directory_iterator(folder / "clean/checkpoints"))
                if (std::stoll(entry.path().stem().string()) > until) fs::remove(entry.path());
        } else
            REQUIRE(running.wait().code == 0);
    }
    check_same(folder / "killed", folder / "clean", steps);
    const auto logged = logged_steps(folder / "killed");
    REQUIRE(std::ssize(logged) == steps / 10);
    for (std::size_t i = 0; i < logged.size(); ++i) CHECK(logged[i] == static_cast<std::int64_t>(10 * (i + 1)));
}

TEST_CASE("memory does not grow with the number of samples", "[slow]") {
    const Finished f;
    // Of the process's own pages, not of files that it looks into.
    const auto most_held = [&](const std::string& n) {
        auto running =
            start_dtk({"sample", "run", "--n", n, "--set", "sample.batch=4096", "--out", "n" + n, "--progress", "none"},
                      f.folder.path);
        long most = 0;
        while (!running.ended()) {
            std::ifstream status("/proc/" + std::to_string(running.pid()) + "/status");
            for (std::string line; std::getline(status, line);)
                if (line.starts_with("RssAnon:")) most = std::max(most, std::atol(line.c_str() + 8));
            std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        const auto end = running.wait();
        INFO(end.err);
        CHECK(end.code == 0);
        return most;
    };
    const auto few = most_held("4096"), many = most_held("8000000");  // 64 MB of them
    CHECK(fs::file_size(f.folder / "n8000000/samples.safetensors") > 64'000'000);
    CHECK(many < few + 40'000);
}
