// Several processes that train one network: the bits of one in strict mode, sums that agree in fast mode, and how all
// of them end when one is stopped, killed or fails.
#include "catch.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cmath>
#include <cstdlib>

#include "base/engine.hpp"
#include "base/launch.hpp"
#include "base/threads.hpp"
#include "compared_runs.hpp"
#include "run_program.hpp"
#include "small_experiment.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

/// With what looks at more than one example, or draws for each: times that learn from the errors of the whole batch,
/// and classes that are dropped.
const std::string experiment = [] {
    auto text = changed(small_experiment, "\"gaussian_mixture\"", "\"gaussian_mixture\"\nlabels = true");
    text = changed(text, "\"mlp\"", "\"mlp\"\nconditional = true");
    text = changed(text, "batch = 8", "batch = 32\ndrop_condition = 0.25");
    return changed(text, "[train]", "[times]\nuse = \"adaptive\"\nbins = 5\n[train]");
}();

std::string strict(const std::string& text) { return changed(text, "[train]\n", "[train]\nreduction = \"strict\"\n"); }

/// A run that goes on until it is stopped.
std::string endless(const std::string& text) { return changed(text, "steps = 30", "steps = 100000000"); }

int free_port() {
    const int one = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    ::bind(one, reinterpret_cast<sockaddr*>(&address), size);
    ::getsockname(one, reinterpret_cast<sockaddr*>(&address), &size);
    ::close(one);
    return ntohs(address.sin_port);
}

/// What torchrun says to process `rank`.
Running::Environment told(int rank, int size, int port) {
    return {{"RANK", std::to_string(rank)},
            {"WORLD_SIZE", std::to_string(size)},
            {"LOCAL_WORLD_SIZE", std::to_string(size)},
            {"MASTER_ADDR", "127.0.0.1"},
            {"MASTER_PORT", std::to_string(port)}};
}

std::vector<Running> start(int size, const std::vector<std::string>& arguments, const fs::path& folder,
                           const Running::Environment& more = {}) {
    const int port = free_port();
    std::vector<Running> all;
    for (int rank = 0; rank < size; ++rank) {
        auto environment = told(rank, size, port);
        environment.insert(more.begin(), more.end());
        all.push_back(start_dtk(arguments, folder, environment));
    }
    return all;
}

std::vector<Outcome> outcomes(std::vector<Running>& all) {
    std::vector<Outcome> ends;
    for (auto& one : all) ends.push_back(one.wait());
    return ends;
}

/// Trains by so many processes in folder/name → that folder.
fs::path run(const Folder& folder, const std::string& name, int size, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"run", "small.toml", "--out", name, "--resume", "--progress", "none"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    auto all = start(size, arguments, folder.path);
    for (const auto& end : outcomes(all)) {
        INFO(end.err);
        REQUIRE(end.code == 0);
    }
    return folder / name;
}

fs::path newest(const fs::path& run) {
    fs::path last;
    for (const auto& entry : fs::directory_iterator(run / "checkpoints"))
        if (entry.path() > last) last = entry.path();
    return last;
}

bool wait_for(const fs::path& file) {
    for (int i = 0; i < 6000; ++i) {
        if (fs::exists(file)) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
}

void check_same(const fs::path& a, const fs::path& b) {
    CHECK(bits_of(newest(a)) == bits_of(newest(b)));
    CHECK(bits_of(a / "samples.safetensors") == bits_of(b / "samples.safetensors"));
    CHECK(log_of(a) == log_of(b));
}

json record(const fs::path& run) { return json::parse(read(run / "run.json")); }

}  // namespace

#ifdef DTK_GLOO

TEST_CASE("one, two and four processes come to the same bits in strict mode, with one another's numbers too") {
    const Folder folder;
    write(folder / "small.toml", strict(experiment));
    const auto one = run(folder, "one", 1), two = run(folder, "two", 2), four = run(folder, "four", 4);
    check_same(one, two);
    check_same(one, four);
    CHECK(record(two)["processes"] == 2);
    CHECK(log_of(one).size() == 3);
    CHECK(log_of(one).back()["train/loss"].get<double>() > 0);

    // Half of it by four, the rest by two. Ten steps are between two tellings of errors to the times, and 15 are not.
    run(folder, "mixed", 4, {"--set", "train.steps=15"});
    const auto mixed = run(folder, "mixed", 2);
    CHECK(bits_of(newest(one)) == bits_of(newest(mixed)));
    CHECK(bits_of(one / "samples.safetensors") == bits_of(mixed / "samples.safetensors"));
    CHECK(log_of(one).back() == log_of(mixed).back());  // that of step 15 is one more
    CHECK(record(folder / "mixed")["status"] == "completed");
}

TEST_CASE("in fast mode one step's gradients are those of one process to 1e-6 of each tensor's largest") {
    const Folder folder;
    // All go on from one checkpoint by a step. Without momentum Adam's mean is the gradient.
    write(folder / "small.toml", experiment + "[optimizer]\nuse = \"adam\"\nbeta1 = 0\n");
    const auto begun = run(folder, "begun", 1, {"--set", "train.steps=5"});
    const auto go_on = [&](int size) {
        fs::copy(begun, folder / std::to_string(size), fs::copy_options::recursive);
        return run(folder, std::to_string(size), size, {"--set", "train.steps=6"});
    };
    const auto one = go_on(1);
    for (const int size : {2, 4}) {
        const auto many = go_on(size);
        const auto a = dtk::read_tensors(newest(one)), b = dtk::read_tensors(newest(many));
        std::size_t compared = 0;
        for (const auto& [name, tensor] : a) {
            if (name.find("mean.") == name.npos) continue;
            const auto x = tensor.numbers(), y = b.at(name).numbers();
            double largest = 0, off = 0;
            for (std::size_t i = 0; i < x.size(); ++i) {
                largest = std::max(largest, std::abs(x[i]));
                off = std::max(off, std::abs(x[i] - y[i]));
            }
            INFO(size << " processes, " << name << ": largest " << largest << ", off by " << off);
            CHECK(largest > 0);
            CHECK(off <= 1e-6 * largest);
            ++compared;
        }
        CHECK(compared >= 4);
        CHECK(log_of(many).back()["train/loss"].get<double>() ==
              Approx(log_of(one).back()["train/loss"].get<double>()).epsilon(1e-6));
    }
}

TEST_CASE("a signal to one process stops all of them after the same step, and the run goes on") {
    const Folder folder;
    write(folder / "small.toml", endless(experiment));
    auto all = start(2, {"run", "small.toml", "--out", "run", "--progress", "none"}, folder.path);
    REQUIRE(wait_for(folder / "run" / "checkpoints" / "00000010.safetensors"));
    all[1].send(SIGTERM);
    const auto ends = outcomes(all);
    for (const auto& end : ends) {
        INFO(end.err);
        CHECK(end.code == 85);
    }
    CHECK(says(ends[0].err, "stopped after step"));
    CHECK(says(ends[0].err, "go on with: dtk run"));
    CHECK(ends[1].err.empty());
    CHECK(record(folder / "run")["status"] == "interrupted");
    const auto step = dtk::read_tensor_header(dtk::InputFile(newest(folder / "run")), "").metadata.at("step");
    CHECK(says(ends[0].err, "stopped after step " + step));
    // On with one more.
    run(folder, "run", 4, {"--set", "train.steps=" + std::to_string(std::stoll(step) + 3)});
}

TEST_CASE("a process that is killed ends the others with a sentence and a checkpoint") {
    for (const int dead : {1, 0}) {
        const Folder folder;
        write(folder / "small.toml", changed(endless(experiment), "checkpoint_every = 10", "keep = 1000"));
        auto all = start(3, {"run", "small.toml", "--out", "run", "--progress", "none", "--set", "train.batch=33"},
                         folder.path);
        REQUIRE(wait_for(folder / "run" / "metrics.jsonl"));
        all[static_cast<std::size_t>(dead)].send(SIGKILL);
        const auto began = std::chrono::steady_clock::now();
        const auto ends = outcomes(all);
        CHECK(std::chrono::steady_clock::now() - began < std::chrono::seconds(60));
        for (int rank = 0; rank < 3; ++rank) {
            const auto& end = ends[static_cast<std::size_t>(rank)];
            INFO(rank << ": " << end.err);
            CHECK(end.code == (rank == dead ? -1 : 1));
            if (rank != dead) CHECK(says(end.err, "process " + std::to_string(dead) + " of 3 ended without a word"));
        }
        // It was saved by then and by nobody before.
        const auto step = dtk::read_tensor_header(dtk::InputFile(newest(folder / "run")), "").metadata.at("step");
        CHECK(std::stoll(step) >= 10);
        run(folder, "run", 1,
            {"--set", "train.batch=33", "--set", "train.steps=" + std::to_string(std::stoll(step) + 2)});
    }
}

TEST_CASE("a full disk where the run's folder is ends all with the message") {
    const Folder folder;
    write(folder / "small.toml", changed(experiment, "width = 8", "width = 128"));
    const int port = free_port();
    std::vector<Running> all;
    for (int rank = 0; rank < 2; ++rank) {
        auto environment = own_environment();
        environment.merge(told(rank, 2, port));
        all.push_back(Running({"bash", "-c",
                               std::string(rank == 0 ? "ulimit -f 100; " : "") +
                                   "exec " DTK_PROGRAM " run small.toml --out run --progress none"},
                              folder.path, environment));
    }
    for (const auto& end : outcomes(all)) {
        INFO(end.err);
        CHECK(end.code == 1);
        CHECK(says(end.err, "00000010.safetensors: File too large"));
    }
    CHECK(record(folder / "run")["status"] == "failed");
}

TEST_CASE("what cannot be done together is said once, before anything is trained") {
    const Folder folder;
    const auto refused = [&](int size, const std::string& text, std::vector<std::string> more = {}) {
        write(folder / "small.toml", text);
        std::vector<std::string> arguments{"run", "small.toml", "--out", "run", "--progress", "none"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        auto all = start(size, arguments, folder.path);
        const auto ends = outcomes(all);
        for (const auto& end : ends) CHECK(end.code == 2);
        return ends;
    };
    CHECK(says(refused(3, strict(experiment))[0].err, "3 processes cannot share the 8 parts of a batch evenly"));
    CHECK(says(refused(3, experiment)[0].err, "make `batch` in [train] a multiple of 3"));
    const auto mistake = refused(2, changed(experiment, "width = 8", "width = \"wide\""));
    CHECK(says(mistake[0].err, "small.toml:"));
    CHECK(mistake[1].err.empty());
    CHECK_FALSE(fs::exists(folder / "run"));
    CHECK(says(refused(1, strict(experiment), {"--set", "train.batch=12"})[0].err, "in 8 equal parts"));
    CHECK(says(refused(1, strict(experiment), {"--set", "train.accumulate=2"})[0].err, "`accumulate`"));
}

TEST_CASE("pairs of a whole batch are not made of a process's share of it") {
    const Folder folder;
    write(folder / "small.toml", changed(changed(small_experiment, "[train]",
                                                 "[loss]\nuse = \"flow_matching\"\ncoupling = \"optimal\"\n[train]"),
                                         "use = \"cosine\"", "use = \"flow\""));
    auto all = start(2,
                     {"run", "small.toml", "--out", "run", "--progress", "none", "--set", "model.prediction=velocity",
                      "--set", "sampler.use=\"flow_ode\""},
                     folder.path);
    for (const auto& end : outcomes(all)) {
        INFO(end.err);
        CHECK(end.code == 1);
        CHECK(says(end.err, "examples are paired among 8, and a part of the batch has 4 of them"));
    }
}

TEST_CASE("a process that was given another experiment is told what differs") {
    const Folder folder;
    write(folder / "small.toml", experiment);
    const int port = free_port();
    std::vector<Running> all;
    for (int rank = 0; rank < 2; ++rank)
        all.push_back(start_dtk({"run", "small.toml", "--out", "run", "--progress", "none", "--set",
                                 rank == 0 ? "train.lr=1e-3" : "train.lr=1e-2"},
                                folder.path, told(rank, 2, port)));
    for (const auto& end : outcomes(all)) {
        INFO(end.err);
        CHECK(end.code == 2);
        CHECK(says(end.err, "another experiment than process 0"));
    }
}

TEST_CASE("a process that is silent counts as dead, and those of a study are each alone", "[slow]") {
    const Folder folder;
    write(folder / "small.toml", endless(experiment));
    auto all = start(3, {"run", "small.toml", "--out", "run", "--progress", "none", "--set", "train.batch=33"},
                     folder.path, {{"DTK_SILENCE_SECONDS", "4"}});
    REQUIRE(wait_for(folder / "run" / "checkpoints" / "00000010.safetensors"));
    all[1].send(SIGSTOP);
    const auto leader = all[0].wait(), other = all[2].wait();
    INFO(leader.err << other.err);
    CHECK(leader.code == 1);
    CHECK(other.code == 1);
    CHECK(says(leader.err, "process 1 of 3 has not answered for"));
    CHECK(says(other.err, "process 1 of 3 has not answered for"));
    all[1].send(SIGKILL);

    write(folder / "study.toml", small_experiment + R"([[metric]]
use = "nll"
[ablation]
baseline = "lr=0.001"
seeds = [0, 1]
metrics = ["nll"]
[[ablation.axis]]
key = "train.lr"
values = [1e-3, 1e-2]
)");
    auto study = start(2, {"run", "study.toml", "--out", "study", "--progress", "none"}, folder.path);
    for (const auto& end : outcomes(study)) {
        INFO(end.err);
        CHECK(end.code == 0);
    }
}

TEST_CASE("ten times two processes are stopped in the middle of what they are at, and end alike", "[slow]") {
    const Folder folder;
    write(folder / "small.toml", strict(endless(experiment)));
    for (int i = 0; i < 10; ++i) {
        auto all = start(2, {"run", "small.toml", "--out", "run", "--resume", "--progress", "none"}, folder.path);
        std::this_thread::sleep_for(std::chrono::milliseconds(300 + 250 * i));
        for (auto& one : all) one.send(i % 2 ? SIGTERM : SIGINT);
        for (const auto& end : outcomes(all)) {
            INFO(i << ": " << end.err);
            // Before it watches for signals, one ends by it.
            CHECK((end.code == (i % 2 ? 85 : 130) || end.signal != 0 || end.code == 1));
        }
    }
}

#else

TEST_CASE("a build without Gloo says so where several processes are started") {
    const Folder folder;
    write(folder / "small.toml", experiment);
    auto all = start(2, {"run", "small.toml", "--out", "run"}, folder.path);
    for (const auto& end : outcomes(all)) {
        CHECK(end.code == 2);
        CHECK(says(end.err, "this dtk was built without Gloo"));
    }
}

#endif

TEST_CASE("the variables of torchrun, srun and mpirun are understood") {
    const auto with = [](const Running::Environment& variables) {
        for (const auto& [name, value] : variables) ::setenv(name.c_str(), value.c_str(), 1);
        std::optional<dtk::Launch> launch;
        const auto complaint = complaint_of([&] { launch = dtk::launch(); });
        for (const auto& [name, value] : variables) ::unsetenv(name.c_str());
        return std::pair(launch, complaint);
    };
    CHECK_FALSE(with({}).first);
    CHECK_FALSE(with({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).first);

    const auto torch = with(told(2, 4, 1234)).first;
    REQUIRE(torch);
    CHECK((torch->rank == 2 && torch->size == 4 && torch->local_size == 4 && torch->port == 1234 && !torch->serves));
    CHECK(with(told(0, 4, 1234)).first->serves);
    auto agent = told(0, 4, 1234);
    agent["TORCHELASTIC_USE_AGENT_STORE"] = "True";
    agent["TORCHELASTIC_RESTART_COUNT"] = "3";
    CHECK_FALSE(with(agent).first->serves);
    CHECK(with(agent).first->key == "restart3");

    // The script of a job is one process, whatever was asked for.
    const Running::Environment job{{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "4"}, {"SLURM_PROCID", "0"}};
    CHECK_FALSE(with(job).first);
    auto step = job;
    step.insert({{"SLURM_STEP_ID", "1"}, {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_STEP_NUM_NODES", "2"}});
    step["SLURM_PROCID"] = "3";
    const auto slurm = with(step).first;
    REQUIRE(slurm);
    CHECK((slurm->rank == 3 && slurm->size == 4 && slurm->local_size == 0 && slurm->host.empty()));
    CHECK(slurm->key == "slurm-7.1.");

    const auto mpi = with({{"OMPI_COMM_WORLD_RANK", "1"},
                           {"OMPI_COMM_WORLD_SIZE", "2"},
                           {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                           {"PMIX_NAMESPACE", "123"},
                           {"OMPI_MCA_orte_hnp_uri", "9.0;tcp://a"}})
                         .first;
    REQUIRE(mpi);
    CHECK((mpi->rank == 1 && mpi->size == 2 && mpi->local_size == 2 && mpi->key == "mpi-123-9-0-tcp---a"));

    CHECK(says(with({{"RANK", "1"}}).second, "WORLD_SIZE is not set"));
    CHECK(says(with({{"RANK", "2"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "1"}}).second,
               "process 2 of 2"));
    CHECK(says(with({{"RANK", "x"}, {"WORLD_SIZE", "2"}}).second, "RANK = x is no whole number"));
    CHECK(says(with({{"RANK", "0"}, {"WORLD_SIZE", "2"}}).second, "MASTER_ADDR is not set"));
}

TEST_CASE("processes that share a machine share its cores, unless they were told how many threads to use") {
    ::unsetenv("OMP_NUM_THREADS");
    const auto alone = dtk::threads_for(0).count;
    dtk::share_machine(1024);
    CHECK(dtk::threads_for(0).count == 1);
    CHECK(dtk::threads_for(3).count == 3);
    ::setenv("OMP_NUM_THREADS", "2", 1);
    CHECK(dtk::threads_for(0).count == 2);
    ::unsetenv("OMP_NUM_THREADS");
    dtk::share_machine(1);
    CHECK(dtk::threads_for(0).count == alone);
}
