// Studies in trouble: cells that fail, kills, several hosts at once, and machines that are short of something.
#include "catch.hpp"

#include <fstream>
#include <random>
#include <set>
#include <sstream>
#include "study/memory.hpp"

#include "small_study.hpp"

TEST_CASE("a cell that fails is shown with its reason, and the rest is complete") {
    const Folder folder;
    const auto text = changed(changed(study, "key = \"schedule.use\"\nvalues = [\"linear\", \"cosine\"]",
                                      "key = \"train.lr\"\nvalues = [1e-3, 1e30]\nnames = [\"linear\", \"wild\"]"),
                              "batch = 16", "batch = 16\nclip = 0");
    const auto outcome = run(folder, text);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == 1);
    CHECK(says(outcome.err, "failed: wild, seed 3: the loss or its gradient is not finite at step"));
    CHECK(says(outcome.err, "= help: dtk run /"));
    const auto found = results(folder);
    CHECK(found["failures"].size() == 2);
    CHECK(found["arms"][0]["metrics"]["nll"]["n"] == 2);
    CHECK_FALSE(found["arms"][1]["metrics"]["nll"]["mean"].is_number());
    const auto page = read(folder / "study" / "report.html");
    CHECK(says(page, "is not finite at step"));
    // The command that the page shows fails in the same way.
    const auto at = page.find("dtk run /");
    REQUIRE(at != page.npos);
    const auto file = page.substr(at + 8, page.find(".toml", at) + 5 - (at + 8));
    const auto again = dtk_program({"run", file, "--out", "again", "--progress", "none"}, folder.path);
    INFO(again.err);
    CHECK(again.code == 1);
    CHECK(says(again.err, "the loss or its gradient is not finite at step"));
}

TEST_CASE("a study that is killed at any moment ends with the same results, and finished cells stay as they are") {
    const Folder folder;
    write(folder / "study.toml", study);
    std::mt19937 random(1);
    std::map<std::string, fs::file_time_type> before;
    for (int kill = 0; kill < 3; ++kill) {
        auto running = start_dtk(command, folder.path);
        std::this_thread::sleep_for(std::chrono::milliseconds(600 + random() % 2500));
        running.send(SIGKILL);
        running.wait();
        const auto now = finished(folder / "study");
        for (const auto& [task, time] : before) CHECK(now.at(task) == time);
        before = now;
    }
    const auto outcome = run(folder);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    const auto after = finished(folder / "study");
    CHECK(after.size() == 8);
    for (const auto& [task, time] : before) CHECK(after.at(task) == time);
    CHECK(results(folder) == done().results);
}

TEST_CASE("an interrupted study says how to go on") {
    const Folder folder;
    write(folder / "study.toml", changed(study, "steps = 40", "steps = 400000"));
    auto running = start_dtk(command, folder.path);
    while (!fs::exists(folder / "study" / "tasks") && !running.ended())
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::this_thread::sleep_for(std::chrono::seconds(1));
    running.send(SIGINT);
    const auto outcome = running.wait();
    INFO(outcome.err);
    CHECK(outcome.code == 130);
    CHECK(says(outcome.err, "the same command goes on"));
    for (const auto& entry : fs::directory_iterator(folder / "study" / "tasks"))
        CHECK(entry.path().extension() != ".lease");
}

namespace {
/// The hosts that hold leases of a study.
std::set<std::string> holders(const fs::path& folder) {
    std::set<std::string> found;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(folder / "tasks", none))
        if (entry.path().extension() == ".lease" && entry.path().filename().string()[0] != '.') {
            std::ifstream in(entry.path());
            std::string host;
            if (in >> host) found.insert(host);
        }
    return found;
}
}  // namespace

TEST_CASE("several hosts share a study, and what a killed one held is taken over") {
    const Folder folder;
    write(folder / "study.toml", changed(study, "seeds = [3, 4]", "seeds = [3, 4, 5, 6]"));
    std::vector<Running> hosts;
    auto one_at_a_time = command;
    one_at_a_time.back() = "1";
    for (const auto* name : {"a", "b", "c", "d"})
        hosts.push_back(start_dtk(one_at_a_time, folder.path, {{"DTK_HOST", name}, {"DTK_LEASE_SECONDS", "3"}}));
    // Two are killed while they hold a cell, which they then go on holding.
    for (const auto& [number, name] : {std::pair{1, "b"}, std::pair{3, "d"}}) {
        while (!holders(folder / "study").contains(name) && !hosts[number].ended())
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        hosts[number].send(SIGKILL);
        hosts[number].wait();
        CHECK(holders(folder / "study").contains(name));
    }
    const auto before = finished(folder / "study");
    CHECK(before.size() < 16);
    for (const std::size_t alive : {0, 2}) {
        const auto outcome = hosts[alive].wait();
        INFO(outcome.out << outcome.err);
        CHECK(outcome.code == 0);
    }
    const auto after = finished(folder / "study");
    CHECK(after.size() == 16);
    for (const auto& [task, time] : before) CHECK(after.at(task) == time);
    // What was finished and not yet given back when its owner was killed is swept up later.
    std::this_thread::sleep_for(std::chrono::seconds(3));
    CHECK(start_dtk(one_at_a_time, folder.path, {{"DTK_HOST", "a"}, {"DTK_LEASE_SECONDS", "3"}}).wait().code == 0);
    CHECK(finished(folder / "study") == after);
    CHECK(holders(folder / "study").empty());
    // Each cell stands in the results once.
    std::multiset<std::string> cells;
    std::istringstream lines(read(folder / "study" / "results.csv"));
    for (std::string line; std::getline(lines, line);)
        if (says(line, ",nll,")) cells.insert(line.substr(0, line.find(",nll,")));
    CHECK(cells == std::multiset<std::string>{"linear,3", "linear,4", "linear,5", "linear,6", "cosine,3", "cosine,4",
                                              "cosine,5", "cosine,6"});
    const auto shared = results(folder);
    CHECK(shared["failures"].empty());
    for (std::size_t arm = 0; arm < 2; ++arm)
        for (std::size_t seed = 0; seed < 2; ++seed)
            CHECK(shared["arms"][arm]["metrics"]["nll"]["values"][seed] ==
                  done().results["arms"][arm]["metrics"]["nll"]["values"][seed]);
}

TEST_CASE("a job is started where memory holds what one of its kind has taken") {
    constexpr std::uint64_t gigabyte = 1 << 30;
    using dtk::memory_holds_another;
    CHECK(memory_holds_another(0, 4 * gigabyte, {}));  // one is always tried
    CHECK(memory_holds_another(4 * gigabyte, 4 * gigabyte, {4 * gigabyte}));
    CHECK_FALSE(memory_holds_another(4 * gigabyte - 1, 4 * gigabyte, {4 * gigabyte}));
    // Those at work have not taken yet what they will.
    CHECK_FALSE(memory_holds_another(4 * gigabyte, 4 * gigabyte, {3 * gigabyte}));
    CHECK(memory_holds_another(5 * gigabyte, 4 * gigabyte, {3 * gigabyte}));
    CHECK(memory_holds_another(9 * gigabyte, 4 * gigabyte, {3 * gigabyte, 0}));
    CHECK_FALSE(memory_holds_another(9 * gigabyte - 1, 4 * gigabyte, {3 * gigabyte, 0}));
    CHECK(memory_holds_another(4 * gigabyte, 4 * gigabyte, {5 * gigabyte}));
}

TEST_CASE("memory that is left is the system's or what a control group allows") {
    const Folder root;
    const auto put = [&](const char* file, const std::string& text) {
        fs::create_directories((root / file).parent_path());
        write(root / file, text);
    };
    CHECK_FALSE(dtk::memory_left(root.path));
    put("proc/meminfo", "MemTotal:       100 kB\nMemFree:        10 kB\nMemAvailable:   50 kB\n");
    CHECK(dtk::memory_left(root.path) == 50u * 1024);
    // Version 2: the innermost group has no limit of its own, the one around it has; cached files count as free.
    put("proc/self/cgroup", "0::/jobs/7\n");
    put("sys/fs/cgroup/jobs/7/memory.max", "max\n");
    put("sys/fs/cgroup/jobs/7/memory.current", "20000\n");
    put("sys/fs/cgroup/jobs/memory.max", "40000\n");
    put("sys/fs/cgroup/jobs/memory.current", "30000\n");
    put("sys/fs/cgroup/jobs/memory.stat", "anon 25000\ninactive_file 5000\n");
    CHECK(dtk::memory_left(root.path) == 15000u);
    put("sys/fs/cgroup/jobs/memory.current", "90000\n");
    CHECK(dtk::memory_left(root.path) == 0u);
    // Version 1, seen from inside a container: the group's path is the host's, the limit lies at the root.
    put("proc/self/cgroup", "9:cpuset:/\n4:memory,hugetlb:/host/path\n0::/\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "30000\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "20000\n");
    put("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 1000\n");
    CHECK(dtk::memory_left(root.path) == 11000u);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK(dtk::memory_left(root.path) == 50u * 1024);
}

TEST_CASE("GPUs are those of the machine or those that one may use") {
    const Folder root;
    ::unsetenv("CUDA_VISIBLE_DEVICES");
    CHECK(dtk::visible_gpus(root.path).empty());
    fs::create_directories(root / "dev");
    for (const auto* file : {"nvidia0", "nvidia1", "nvidiactl"}) write(root / "dev" / file, "");
    CHECK(dtk::visible_gpus(root.path) == std::vector<std::string>{"0", "1"});
    ::setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5f", 1);
    CHECK(dtk::visible_gpus(root.path) == std::vector<std::string>{"3", "GPU-5f"});
    ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
    CHECK(dtk::visible_gpus(root.path).empty());
    ::unsetenv("CUDA_VISIBLE_DEVICES");
}
