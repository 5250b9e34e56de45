// Checkpoints and records that are damaged, false or another's, and several commands in one folder: what is whole is
// found, what is not is said, and nothing that was finished is lost.
#include <algorithm>
#include <thread>

#include <nlohmann/json.hpp>

#include <dtk/safetensors.hpp>

#include "catch.hpp"
#include "run_program.hpp"
#include "small_experiment.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

const auto& experiment = small_experiment;

fs::path run(const Folder& folder, const std::string& name, std::vector<std::string> more = {}) {
    write(folder / "small.toml", experiment);
    std::vector<std::string> command{"run", "small.toml", "--out", name, "--progress", "none"};
    command.insert(command.end(), more.begin(), more.end());
    const auto outcome = dtk_program(command, folder.path);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return folder / name;
}

/// A finished run, and a copy of it to damage.
struct Copy {
    Copy() : path(folder / "run") {
        static const Folder keep;
        static const auto whole = run(keep, "run");
        fs::copy(whole, path, fs::copy_options::recursive);
        write(folder / "small.toml", experiment);
    }
    fs::path checkpoint(int step) const {
        return path / "checkpoints" / ("000000" + std::to_string(step) + ".safetensors");
    }
    Outcome resume() const {
        return dtk_program({"run", "small.toml", "--resume=run", "--progress", "none"}, folder.path);
    }
    Outcome sample() const {
        return dtk_program({"sample", "run", "--out", "drawn" + std::to_string(++drawn_), "--progress", "none"},
                           folder.path);
    }
    Folder folder;
    fs::path path;

 private:
    mutable int drawn_ = 0;
};

/// Sampling must pass over the newest checkpoint with that reason, and draw from the one before.
void passed_over(const Copy& copy, const std::string& reason) {
    const auto drawn = copy.sample();
    INFO(drawn.err);
    CHECK(drawn.code == 0);
    CHECK(says(drawn.err, "passed over"));
    CHECK(says(drawn.err, "00000030.safetensors"));
    CHECK(says(drawn.err, reason));
    const auto on = copy.resume();
    INFO(on.err);
    CHECK(on.code == 0);
    CHECK(says(on.err, "going on after step 20 of 30"));
}

void rewrite(const fs::path& file, const std::function<void(dtk::Safetensors&)>& change, bool with_checksum) {
    auto content = dtk::load_safetensors(file);
    change(content);
    if (with_checksum) content.metadata["checksum"] = dtk::checksum_of(content);
    dtk::save_safetensors(file, content);
}

}  // namespace

TEST_CASE("the checksum sees every bit of names, types, shapes, values and metadata but its own key") {
    const dtk::Safetensors whole{.tensors = {{"a", at::ones({2, 3})}, {"b", at::zeros({2}, at::kLong)}},
                                 .metadata = {{"step", "3"}, {"checksum", "x"}}};
    const auto sum = dtk::checksum_of(whole);
    auto other = whole;
    other.metadata["checksum"] = "y";
    CHECK(dtk::checksum_of(other) == sum);
    const auto differs = [&](const std::function<void(dtk::Safetensors&)>& change) {
        auto changed = whole;
        for (auto& [name, tensor] : changed.tensors) tensor = tensor.clone();
        change(changed);
        CHECK(dtk::checksum_of(changed) != sum);
    };
    differs([](auto& c) { c.metadata["step"] = "4"; });
    differs([](auto& c) { c.metadata["steps"] = "3"; });
    differs([](auto& c) { c.tensors["a"] = at::ones({3, 2}); });
    differs([](auto& c) { c.tensors["a"] = at::ones({2, 3}).view(at::kInt); });
    differs([](auto& c) { c.tensors["c"] = c.tensors["b"], c.tensors.erase("b"); });
    differs([](auto& c) { c.tensors["b"][1] = 1; });
    differs([](auto& c) { c.tensors["empty"] = at::empty({0}); });
    other.tensors["a"] = at::ones({3, 2}).t();  // laid out otherwise in memory
    CHECK(dtk::checksum_of(other) == sum);
}

TEST_CASE("a bit that flipped anywhere in a checkpoint's tensors or metadata is seen, and the one before is taken") {
    const Copy original;
    const auto bytes = read(original.checkpoint(30));
    const auto header = 8 + bytes[0] + 256 * static_cast<unsigned char>(bytes[1]);
    for (const std::size_t place : {bytes.size() - 3, bytes.size() / 2, static_cast<std::size_t>(header) + 1000}) {
        const Copy copy;
        auto damaged = bytes;
        damaged[place] = static_cast<char>(damaged[place] ^ 4);
        write(copy.checkpoint(30), damaged);
        passed_over(copy, "it does not hold what was saved");
    }
    for (const auto& [from, to] :
         {std::pair{"\"dtype\":\"F32\"", "\"dtype\":\"I32\""}, std::pair{"\"step\":\"30\"", "\"step\":\"20\""},
          std::pair{"dtk checkpoint", "dtk chekpoint!"}, std::pair{"\"checksum\"", "\"chekcsum\""}}) {
        const Copy copy;
        write(copy.checkpoint(30), changed(bytes, from, to));
        passed_over(copy, "");
    }
}

TEST_CASE("a checkpoint whose step, experiment or seed is another's is passed over, checksum or not") {
    for (const auto* step : {"31", "99999", "-1", "3x", ""}) {
        const Copy copy;
        rewrite(
            copy.checkpoint(30), [&](auto& content) { content.metadata["step"] = step; }, true);
        const auto drawn = copy.sample();
        INFO(drawn.err);
        CHECK(drawn.code == 0);
        CHECK(says(drawn.err, "it is said to be of step"));
    }
    for (const auto& more : {std::vector<std::string>{"--seed", "6"}, {"--set", "process.steps=21"}}) {
        const Copy copy;
        const auto other = run(copy.folder, "other", more);
        fs::copy_file(other / "checkpoints/00000030.safetensors", copy.checkpoint(30),
                      fs::copy_options::overwrite_existing);
        passed_over(copy, "it is of another run, its `" + std::string(more[0] == "--seed" ? "seed" : "process"));
    }
}

TEST_CASE("the newest checkpoint is the one with the highest step inside, whatever the files are called") {
    const Copy copy;
    const auto drawn = copy.sample();
    REQUIRE(drawn.code == 0);
    const auto right = read(copy.folder / "drawn1/samples.safetensors");
    fs::copy_file(copy.checkpoint(20), copy.path / "checkpoints/best.safetensors");
    fs::copy_file(copy.checkpoint(20), copy.path / "checkpoints/99999999.safetensors");
    REQUIRE(copy.sample().code == 0);
    CHECK(read(copy.folder / "drawn2/samples.safetensors") == right);
    fs::rename(copy.checkpoint(30), copy.path / "checkpoints/a.safetensors");
    REQUIRE(copy.sample().code == 0);
    CHECK(read(copy.folder / "drawn3/samples.safetensors") == right);
    fs::remove(copy.path / "samples.safetensors");
    CHECK(says(copy.resume().err, "going on after step 30 of 30, from checkpoints/a.safetensors"));
}

TEST_CASE("a finished record stays as it is when going on with the run fails") {
    const auto unchanged = [](const Copy& copy, const std::function<void(const Copy&)>& damage, int code,
                              const std::string& phrase) {
        damage(copy);
        const auto before = read(copy.path / "run.json");
        const auto outcome = copy.resume();
        INFO(outcome.err);
        CHECK(outcome.code == code);
        CHECK(says(outcome.err, phrase));
        CHECK(read(copy.path / "run.json") == before);
        CHECK_FALSE(fs::exists(copy.path / "run.lease"));
    };
    unchanged(
        Copy(), [](const Copy& c) { fs::remove(c.path / "resolved.toml"); }, 1, "resolved.toml");
    unchanged(
        Copy(),
        [](const Copy& c) {
            fs::remove(c.path / "samples.safetensors"), fs::create_directory(c.path / "samples.safetensors");
        },
        1, "samples.safetensors");
    for (const auto& [key, value] : {std::pair<const char*, json>{"seed", "no"},
                                     {"seconds", json::array()},
                                     {"status", 7},
                                     {"plugins", json::array({json::object()})},
                                     {"result", 3},
                                     {"data", json{{"sha256", 3}}},
                                     {"artefacts", "c"}}) {
        const Copy copy;
        auto record = json::parse(read(copy.path / "run.json"));
        record[key] = value;
        write(copy.path / "run.json", record.dump());
        unchanged(
            copy, [](const Copy&) {}, 2, (copy.path / "run.json").filename().string() + " is damaged: `");
    }
    const Copy deep;
    write(deep.path / "run.json", "{\"a\": " + std::string(200'000, '['));
    unchanged(
        deep, [](const Copy&) {}, 2, "it is nested too deeply");
}

TEST_CASE("what a run left that ended before its record was written can be begun in, and is not gone on with") {
    const Folder folder;
    write(folder / "small.toml", experiment);
    fs::create_directory(folder / "out");
    for (const auto* file : {"experiment.toml", "resolved.toml", ".dtk-1.1-1-1-1-1-a.tmp"})
        write(folder / "out" / file, "half");
    const auto resumed = dtk_program({"run", "small.toml", "--resume=out"}, folder.path);
    CHECK(resumed.code == 2);
    CHECK(says(resumed.err, "there is nothing to go on with"));
    CHECK(says(resumed.err, "--out out"));
    run(folder, "out");
    const auto again = dtk_program({"run", "small.toml", "--out", "out"}, folder.path);
    CHECK(again.code == 2);
    CHECK(says(again.err, "go on in it with --resume"));
    write(folder / "file", "x");
    CHECK(dtk_program({"run", "small.toml", "--out", "file"}, folder.path).code == 2);
    fs::create_directory(folder / "mine");
    write(folder / "mine/letter", "x");
    CHECK(dtk_program({"run", "small.toml", "--out", "mine"}, folder.path).code == 2);
    CHECK(read(folder / "mine/letter") == "x");
}

TEST_CASE("of several commands in one folder one runs, and the others say so") {
    const Folder folder;
    write(folder / "small.toml", changed(experiment, "steps = 30", "steps = 2000"));
    for (const bool resume : {false, true}) {
        const std::vector<std::string> command{"run", "small.toml", resume ? "--resume=out" : "--out=out", "--progress",
                                               "none"};
        std::vector<Running> all;
        for (int i = 0; i < 3; ++i) all.push_back(start_dtk(command, folder.path));
        if (!resume) {
            std::this_thread::sleep_for(std::chrono::milliseconds(200));
            while (!fs::exists(folder / "out/metrics.jsonl")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
            // Those that are refused have said so before the one that runs is stopped.
            for (int i = 0; i < 2000 && std::ranges::count_if(all, [](auto& one) { return one.ended(); }) < 2; ++i)
                std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        int ran = 0, refused = 0;
        std::vector<Outcome> outcomes;
        for (auto& one : all) {
            if (!resume) one.send(SIGINT);
            const auto outcome = one.wait();
            INFO(outcome.err);
            ran += outcome.code == (resume ? 0 : 130);
            refused += outcome.code == 2 && (says(outcome.err, "is at work in") || says(outcome.err, "is not empty"));
            CHECK(outcome.code != 1);
        }
        CHECK(ran >= 1);
        CHECK(ran + refused == 3);
    }
    std::int64_t before = 0;
    std::istringstream lines(read(folder / "out/metrics.jsonl"));
    for (std::string line; std::getline(lines, line); before = json::parse(line)["step"])
        CHECK(json::parse(line)["step"].get<std::int64_t>() > before);
    CHECK(json::parse(read(folder / "out/run.json"))["status"] == "completed");
}

TEST_CASE("the lease of a killed run is taken over, that of a live one elsewhere is not") {
    const Copy copy;
    write(copy.path / "run.lease", "another 7-1-2-3-another 0123\n");
    const auto refused = copy.resume();
    CHECK(refused.code == 2);
    CHECK(says(refused.err, "process 7 on host another is at work in"));
    CHECK(says(refused.err, "after 60 seconds"));
    write(copy.path / "run.lease", "torn");
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    CHECK(dtk_program({"run", "small.toml", "--resume=run", "--progress", "none"}, copy.folder.path,
                      {{"DTK_LEASE_SECONDS", "1"}})
              .code == 0);
    CHECK_FALSE(fs::exists(copy.path / "run.lease"));
}
