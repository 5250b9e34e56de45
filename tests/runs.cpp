// The commands around finished runs and studies, and the files they write for other tools.
#include "catch.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

#include <nlohmann/json.hpp>

#include <dtk/error.hpp>

#include "base/npz.hpp"
#include "base/tensor_file.hpp"
#include "base/tensorboard.hpp"
#include "run_program.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

const std::string experiment = R"(name = "tiny"
seed = 5
threads = 1

[dataset]
use = "gaussian_mixture"

[process]
steps = 50

[schedule]
use = "cosine"

[model]
use = "mlp"
width = 8
depth = 1

[train]
steps = 20
batch = 16
log_every = 5

[sampler]
use = "ddim"
steps = 5

[sample]
n = 200

[[metric]]
use = "nll"
)";

Outcome call(const fs::path& folder, std::vector<std::string> arguments, int code = 0) {
    const auto outcome = dtk_program(std::move(arguments), folder);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == code);
    CHECK(outcome.signal == 0);
    return outcome;
}

json call_json(const fs::path& folder, std::vector<std::string> arguments) {
    arguments.emplace_back("--json");
    return json::parse(call(folder, std::move(arguments)).out);
}

/// Five runs that the tests look at: cosine with seeds 5, 6 and 7, linear with 5 and 6.
const Folder& runs() {
    static const Folder folder;
    static const bool made = [] {
        write(folder / "tiny.toml", experiment);
        for (const auto& [name, schedule, seed] : {std::tuple{"a", "cosine", "5"},
                                                   {"b", "cosine", "6"},
                                                   {"c", "linear", "5"},
                                                   {"d", "linear", "6"},
                                                   {"e", "cosine", "7"}})
            call(folder.path, {"run", "tiny.toml", "--out", std::string("runs/tiny/") + name, "--progress", "none",
                               "--seed", seed, "--set", std::string("schedule.use=") + schedule});
        fs::create_directory_symlink("e", folder / "runs/tiny/latest");
        return true;
    }();
    REQUIRE(made);
    return folder;
}

/// A copy of one of the runs, to spoil.
fs::path copy_of(const std::string& name, const Folder& to) {
    fs::copy(runs() / "runs/tiny" / name, to / name, fs::copy_options::recursive);
    return to / name;
}

/// The float32 numbers of one tensor are changed by so much.
void change_tensor(const fs::path& file, const std::string& name, float by) {
    auto bytes = read(file);
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    const auto entry = json::parse(bytes.substr(8, length))[name];
    const std::size_t at = 8 + length + entry["data_offsets"][0].get<std::size_t>();
    float value = 0;
    std::memcpy(&value, bytes.data() + at, 4);
    value += by;
    std::memcpy(bytes.data() + at, &value, 4);
    write(file, bytes);
}

std::uint32_t word(const std::string& bytes, std::size_t at) {
    std::uint32_t value = 0;
    std::memcpy(&value, bytes.data() + at, 4);
    return value;
}

/// Members of a ZIP archive without compression, read by its directory.
std::map<std::string, std::string> members(const std::string& zip) {
    std::map<std::string, std::string> found;
    const auto end = zip.rfind("PK\x05\x06");
    REQUIRE(end != zip.npos);
    const auto count = word(zip, end + 8) & 0xFFFF;
    std::size_t at = word(zip, end + 16);
    for (std::uint32_t i = 0; i < count; ++i) {
        REQUIRE(zip.substr(at, 4) == "PK\x01\x02");
        const auto size = word(zip, at + 24), length = word(zip, at + 28) & 0xFFFF, local = word(zip, at + 42);
        CHECK((word(zip, at + 10) & 0xFFFF) == 0);  // stored
        const auto name = zip.substr(at + 46, length);
        CHECK(zip.substr(local, 4) == "PK\x03\x04");
        CHECK(zip.substr(local + 4, 26) == zip.substr(at + 6, 26));
        found[name] = zip.substr(local + 30 + length, size);
        // CRC-32, bit by bit
        std::uint32_t crc = ~0u;
        for (const char c : found[name]) {
            crc ^= static_cast<unsigned char>(c);
            for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
        }
        CHECK(word(zip, at + 16) == ~crc);
        at += 46 + length;
    }
    CHECK(at == end);
    return found;
}

/// The description of a .npy file and its data.
std::pair<std::string, std::string> npy(const std::string& bytes) {
    REQUIRE(bytes.substr(0, 8) == std::string("\x93NUMPY\x01\x00", 8));
    const auto length = word(bytes, 8) & 0xFFFF;
    CHECK((10 + length) % 64 == 0);
    CHECK(bytes[10 + length - 1] == '\n');
    auto description = bytes.substr(10, length);
    return {description.substr(0, description.find('}') + 1), bytes.substr(10 + length)};
}

std::vector<double> doubles(const std::string& bytes) {
    std::vector<double> all(bytes.size() / 8);
    std::memcpy(all.data(), bytes.data(), all.size() * 8);
    return all;
}

// A reader of TensorBoard's files after its protobuf definitions, with nothing of the writer's.

std::uint64_t varint(const std::string& bytes, std::size_t& at) {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        const auto byte = static_cast<unsigned char>(bytes.at(at++));
        value |= static_cast<std::uint64_t>(byte & 127) << shift;
        if (byte < 128) return value;
    }
}

/// The fields of a message: number → contents, numbers as their bytes.
std::multimap<int, std::string> message(const std::string& bytes) {
    std::multimap<int, std::string> fields;
    for (std::size_t at = 0; at < bytes.size();) {
        const auto key = varint(bytes, at);
        std::size_t length = 0;
        std::string own;
        switch (key & 7) {
            case 0:
                own = std::to_string(varint(bytes, at));
                break;
            case 1:
                length = 8;
                break;
            case 2:
                length = varint(bytes, at);
                break;
            case 5:
                length = 4;
                break;
            default:
                FAIL("no such kind of field");
        }
        REQUIRE(at + length <= bytes.size());
        fields.emplace(static_cast<int>(key >> 3), (key & 7) == 0 ? own : bytes.substr(at, length));
        at += length;
    }
    return fields;
}

std::uint32_t masked(const std::string& bytes) {
    std::uint32_t crc = ~0u;
    for (const char c : bytes) {
        crc ^= static_cast<unsigned char>(c);
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    crc = ~crc;
    return ((crc >> 15) | (crc << 17)) + 0xA282EAD8u;
}

std::vector<std::multimap<int, std::string>> events(const std::string& bytes) {
    std::vector<std::multimap<int, std::string>> all;
    for (std::size_t at = 0; at < bytes.size();) {
        std::uint64_t length = 0;
        REQUIRE(at + 12 <= bytes.size());
        std::memcpy(&length, bytes.data() + at, 8);
        CHECK(word(bytes, at + 8) == masked(bytes.substr(at, 8)));
        REQUIRE(at + 16 + length <= bytes.size());
        const auto data = bytes.substr(at + 12, length);
        CHECK(word(bytes, at + 12 + length) == masked(data));
        all.push_back(message(data));
        at += 16 + length;
    }
    return all;
}

/// Scalars of an event file: tag → step → value.
std::map<std::string, std::map<std::int64_t, float>> scalars(const std::string& bytes) {
    std::map<std::string, std::map<std::int64_t, float>> all;
    for (const auto& event : events(bytes)) {
        if (!event.contains(5)) continue;
        const auto value = message(message(event.find(5)->second).find(1)->second);
        if (value.contains(2))
            all[value.find(1)->second][std::stoll(event.find(2)->second)] =
                std::bit_cast<float>(word(value.find(2)->second, 0));
    }
    return all;
}

fs::path only_file(const fs::path& folder) {
    REQUIRE(std::distance(fs::directory_iterator(folder), {}) == 1);
    return fs::directory_iterator(folder)->path();
}

}  // namespace

TEST_CASE("CRC-32C is that of RFC 3720, B.4") {
    std::string ascending, descending;
    for (int i = 0; i < 32; ++i) ascending += static_cast<char>(i), descending += static_cast<char>(31 - i);
    CHECK(dtk::crc32c(std::string(32, '\0')) == 0x8A9136AA);
    CHECK(dtk::crc32c(std::string(32, '\xFF')) == 0x62A8AB43);
    CHECK(dtk::crc32c(ascending) == 0x46DD794E);
    CHECK(dtk::crc32c(descending) == 0x113FDB5C);
    CHECK(dtk::crc32c("123456789") == 0xE3069283);
    CHECK(dtk::crc32c("") == 0);
}

TEST_CASE("event files hold what was put into them") {
    dtk::EventFile file(2.5);
    file.scalar("train/loss", 300, 3.5, 0.25);
    file.image("samples", 1, 4, "PNG", 640, 480, 3);
    const auto all = events(file.bytes());
    REQUIRE(all.size() == 3);
    CHECK(all[0].find(3)->second == "brain.Event:2");
    CHECK(doubles(all[0].find(1)->second) == std::vector{2.5});
    CHECK(doubles(all[1].find(1)->second) == std::vector{3.5});
    CHECK(scalars(file.bytes()) ==
          std::map<std::string, std::map<std::int64_t, float>>{{"train/loss", {{300, 0.25f}}}});
    const auto picture = message(message(message(all[2].find(5)->second).find(1)->second).find(4)->second);
    CHECK(picture == std::multimap<int, std::string>{{1, "480"}, {2, "640"}, {3, "3"}, {4, "PNG"}});
}

TEST_CASE("NPZ archives hold arrays as NumPy describes them") {
    const Folder folder;
    dtk::write_npz(folder / "a.npz", {dtk::NumpyArray::of("x/y", std::vector<double>{1.0, -2.5, NAN, 4.0}, {2, 2}),
                                      dtk::NumpyArray::of("n", std::vector<std::int64_t>{7, -1}),
                                      dtk::NumpyArray::of("words", std::vector<std::string>{"β=1", "ab"}),
                                      {"number", "<f8", {}, std::string(8, '\0')}});
    const auto found = members(read(folder / "a.npz"));
    REQUIRE(found.size() == 4);
    const auto [of_x, x] = npy(found.at("x/y.npy"));
    CHECK(of_x == "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2), }");
    CHECK(x == std::string("\0\0\0\0\0\0\xF0\x3F\0\0\0\0\0\0\x04\xC0\0\0\0\0\0\0\xF8\x7F\0\0\0\0\0\0\x10\x40", 32));
    const auto [of_n, n] = npy(found.at("n.npy"));
    CHECK(of_n == "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }");
    CHECK(n == std::string("\x07\0\0\0\0\0\0\0\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 16));
    const auto [of_words, words] = npy(found.at("words.npy"));
    CHECK(of_words == "{'descr': '<U3', 'fortran_order': False, 'shape': (2,), }");
    CHECK(words == std::string("\xB2\x03\0\0=\0\0\0"
                               "1\0\0\0"
                               "a\0\0\0b\0\0\0\0\0\0\0",
                               24));
    CHECK(npy(found.at("number.npy")).first == "{'descr': '<f8', 'fortran_order': False, 'shape': (), }");
    CHECK_THROWS_WITH(dtk::write_npz(folder / "b.npz", {dtk::NumpyArray::of("x", std::vector{1.0}),
                                                        dtk::NumpyArray::of("x", std::vector{2.0})}),
                      Catch::Matchers::Contains("two arrays are called `x`"));
}

TEST_CASE("tensors are read from safetensors files, and damage is said") {
    const Folder folder;
    const auto file = [&](const std::string& header, const std::string& data) {
        std::string bytes(8, '\0');
        bytes[0] = static_cast<char>(header.size());
        write(folder / "t", bytes + header + data);
        return folder / "t";
    };
    const auto good = dtk::read_tensors(file(
        R"({"h":{"dtype":"F16","shape":[3],"data_offsets":[0,6]},"b":{"dtype":"BF16","shape":[],"data_offsets":[6,8]}})",
        std::string("\x00\x3C\x01\x00\x00\xC5\xC0\x3F", 8)));
    CHECK(good.at("h").numbers() == std::vector{1.0, std::ldexp(1.0, -24), -5.0});
    CHECK(good.at("b").numbers() == std::vector{1.5});
    for (const auto* header : {R"({"h":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})",
                               R"({"h":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}})",
                               R"({"h":{"dtype":"F32","shape":[-1],"data_offsets":[4,0]}})",
                               R"({"h":{"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]}})",
                               R"({"h":{"dtype":"Q","shape":[1],"data_offsets":[0,4]}})", R"({"h":3})", "[]", "{"}) {
        INFO(header);
        CHECK_THROWS_AS(dtk::read_tensors(file(header, std::string(8, '\0'))), dtk::Error);
    }
}

TEST_CASE("ls names every run, newest first, and what is damaged or foreign") {
    const Folder folder;
    for (const auto* name : {"a", "c"}) copy_of(name, folder);
    const auto edit = [&](const std::string& name, const std::string& from, const std::string& to) {
        write(folder / name / "run.json", changed(read(folder / name / "run.json"), from, to));
    };
    fs::copy(folder / "a", folder / "killed", fs::copy_options::recursive);
    edit("killed", "\"status\": \"completed\"", "\"status\": \"running\"");  // by a process that has ended
    fs::copy(folder / "a", folder / "bad", fs::copy_options::recursive);
    edit("bad", "{", "{{");
    fs::create_directories(folder / "strange/deeper");
    write(folder / "strange/letter.txt", "dear");
    for (
        const auto* text :
        {"{}", "[1]", "3",
         R"({"status":"completed","result":{"metrics":[3,{"metric":"x","value":"y"}]},"seed":"no","plugins":[{"kind":4}],"seconds":[],"host":7})",
         R"({"status":7})"}) {
        static int n = 0;
        const auto odd = folder / ("odd" + std::to_string(n++));
        fs::create_directory(odd);
        write(odd / "run.json", text);
        if (says(text, "completed")) {
            call(folder.path, {"show", odd.string()});
            call(folder.path, {"show", odd.string(), "--json"});
        }
    }
    fs::create_directory(folder / "half");
    write(folder / "half/experiment.toml", experiment);
    const auto list = call_json(runs().path, {"ls", folder.path.string()});
    std::map<std::string, json> found;
    for (const auto& one : list) found[fs::path(one["folder"].get<std::string>()).filename()] = one;
    CHECK(found.size() == 11);
    CHECK(found["a"]["status"] == "completed");
    CHECK(found["a"]["seed"] == 5);
    CHECK(found["a"]["metrics"][0]["metric"] == "nll");
    CHECK(found["a"]["metrics"][0]["value"] ==
          json::parse(read(folder / "a/run.json"))["result"]["metrics"][0]["value"]);
    CHECK(found["killed"]["status"] == "killed");
    CHECK(found["killed"]["step"] == 20);
    CHECK(found["killed"]["steps"] == 20);
    for (const auto* name : {"bad", "half", "odd0", "odd1", "odd2", "odd4"}) CHECK(found[name]["what"] == "damaged");
    CHECK(found["strange"]["what"] == "foreign");
    const auto text = call(runs().path, {"ls"}).out;
    CHECK(says(text, "runs/tiny/a"));
    CHECK(!says(text, "latest"));
    for (std::size_t i = 1; i < list.size(); ++i) CHECK(list[i - 1]["start_time"] >= list[i]["start_time"]);
    const Folder empty;
    call(empty.path, {"ls"});
    CHECK(call_json(empty.path, {"ls"}) == json::array());
    CHECK(says(call(empty.path, {"ls", "nowhere"}, 2).err, "= help:"));
}

TEST_CASE("a run is found by its path, its name, the beginning of it, or as the latest") {
    const auto folder = [](std::vector<std::string> arguments) {
        return fs::path(call_json(runs().path, std::move(arguments))["folder"].get<std::string>()).filename();
    };
    CHECK(folder({"show", "runs/tiny/c"}) == "c");
    CHECK(folder({"show", "runs/tiny/c/run.json"}) == "c");
    CHECK(folder({"show", "runs/tiny"}) == "e");
    CHECK(folder({"show", "tiny"}) == "e");
    CHECK(folder({"show", "tiny/c"}) == "c");
    CHECK(folder({"show", "d"}) == "d");
    CHECK(says(call(runs().path, {"show", "tiny/"}, 2).err, "may be any of 5 runs"));
    CHECK(says(call(runs().path, {"show", "tinny"}, 2).err, "did you mean `tiny`?"));
    CHECK(says(call(runs().path, {"show", "."}, 2).err, "= help:"));
    const Folder empty;
    CHECK(says(call(empty.path, {"show", "latest"}, 2).err, "there is no run"));
}

TEST_CASE("show says whether plugins and dtk are still those of the run") {
    const Folder folder;
    copy_of("a", folder);
    CHECK(call_json(folder.path, {"show", "a"})["changed_since"].empty());
    const auto text = call(folder.path, {"show", "a"}).out;
    for (const auto* part :
         {"gaussian_mixture", "cosine", "nll", "nothing has changed", "dtk reproduce", "samples.safetensors", "took"})
        CHECK(says(text, part));
    auto record = json::parse(read(folder / "a/run.json"));
    record["dtk"]["version"] = "0.0.1";
    record["plugins"][0]["sha256"] = "0";
    record["plugins"][1]["path"] = "/nowhere/grid.so";
    write(folder / "a/run.json", record.dump());
    write(folder / "a/resolved.toml", read(folder / "a/resolved.toml") + "\n");
    const auto since = call_json(folder.path, {"show", "a"})["changed_since"].dump();
    for (const auto* part : {"then 0.0.1", "another build", "/nowhere/grid.so is not there", "resolved.toml"})
        CHECK(says(since, part));
}

TEST_CASE("diff tells the keys, plugins and results that differ, and no others") {
    const auto found = call_json(runs().path, {"diff", "runs/tiny/a", "runs/tiny/c"});
    std::map<std::string, std::pair<json, json>> keys;
    for (const auto& one : found["experiment"]) keys[one["key"]] = {one["before"], one["after"]};
    CHECK(keys.at("schedule.use") == std::pair<json, json>("cosine", "linear"));
    CHECK(keys.at("schedule.s").second.is_null());
    CHECK(keys.at("schedule.beta_end").first.is_null());
    for (const auto& [key, values] : keys) CHECK(key.starts_with("schedule."));
    REQUIRE(found["made_by"].size() == 2);
    CHECK(found["made_by"][0]["key"] == "plugin schedule cosine");
    CHECK(found["metrics"][0]["before"]["value"] != found["metrics"][0]["after"]["value"]);
    const auto same = call_json(runs().path, {"diff", "tiny/a", "tiny/a"});
    CHECK((same["experiment"].empty() && same["made_by"].empty()));
    CHECK(says(call(runs().path, {"diff", "tiny/a", "tiny/b"}).out, "seed"));
    call(runs().path, {"diff", "tiny/a"}, 2);
}

TEST_CASE("compare groups runs of one experiment by their seeds and pairs them") {
    const auto value = [](const std::string& run) {
        return json::parse(read(runs() / "runs/tiny" / run / "run.json"))["result"]["metrics"][0];
    };
    const auto found = call_json(runs().path, {"compare", "runs/tiny/[abcd]", "--baseline", "schedule.use=linear"});
    REQUIRE(found["groups"].size() == 2);
    for (const auto& group : found["groups"]) {
        const bool cosine = group["settings"]["schedule.use"] == "cosine";
        // What counts of `nll` is how far it is from what true samples give.
        const auto off = [&](const char* run) {
            return std::abs(value(run)["value"].get<double>() - value(run)["expected"].get<double>());
        };
        const double x = off(cosine ? "a" : "c"), y = off(cosine ? "b" : "d");
        const auto& nll = group["metrics"]["nll"];
        CHECK(nll["n"] == 2);
        CHECK(nll["mean"].get<double>() == Approx((x + y) / 2));
        // Student's t for one degree of freedom at 95 %: 12.7062; the half width is t·|x − y|/2
        CHECK(nll["interval"][1].get<double>() - nll["interval"][0].get<double>() ==
              Approx(12.706204736432095 * std::abs(x - y)));
        CHECK(group["baseline"] == !cosine);
        CHECK(nll.contains("difference") == cosine);
        if (!cosine) continue;
        const double first = off("a") - off("c"), second = off("b") - off("d");
        CHECK(nll["difference"]["mean"].get<double>() == Approx((first + second) / 2));
        CHECK(nll["difference"]["n"] == 2);
    }
    const auto one = call(runs().path, {"compare", "tiny/a", "tiny/c", "--baseline", "tiny/c"});
    CHECK(says(one.out, "n = 1, no interval"));
    CHECK(says(one.out, "is not known"));
    CHECK(says(one.out, "schedule.use"));
    CHECK(!says(one.out, "schedule.beta_end"));  // says no more than the schedule's name
    CHECK(says(call(runs().path, {"compare", "runs/tiny", "--baseline", "schedule.use=sigmoid"}, 2).err,
               "none of the groups"));
    CHECK(says(call(runs().path, {"compare", "runs/nothing*"}, 2).err, "nothing matches"));
}

TEST_CASE("reproduce runs it again: the same bits, or where they differ and by how much") {
    const Folder folder;
    const auto run = copy_of("a", folder);
    const auto same = call(folder.path, {"reproduce", "a", "--progress", "none"});
    CHECK(says(same.out, "reproduced: the same bits"));
    for (const auto* what : {"checkpoint 00000020", "samples", "metric nll"})
        CHECK(says(same.out, std::string("same bits  ") + what));
    CHECK(!says(same.err, "warning"));

    change_tensor(run / "samples.safetensors", "samples", 0.5f);
    auto record = json::parse(read(run / "run.json"));
    record["plugins"][0]["sha256"] = "0";
    write(run / "run.json", record.dump());
    const auto other = call(folder.path, {"reproduce", "a", "--progress", "none", "--out", "again"}, 1);
    CHECK(
        says(other.out, "DIFFERS    samples: 1 of 1 tensors differ, first `samples` in 1 of 400 values, by up to 0.5"));
    CHECK(says(other.out, "same bits  checkpoint"));
    CHECK(says(other.out, "not reproduced"));
    CHECK(says(other.err, "is another build"));
    CHECK(says(call(folder.path, {"reproduce", "a", "--out", "again"}, 2).err, "not empty"));

    record["status"] = "interrupted";
    write(run / "run.json", record.dump());
    CHECK(says(call(folder.path, {"reproduce", "a"}, 2).err, "not completed but interrupted"));
    fs::remove(run / "resolved.toml");
    record["status"] = "completed";
    write(run / "run.json", record.dump());
    CHECK(says(call(folder.path, {"reproduce", "a"}, 2).err, "missing or damaged"));
}

TEST_CASE("samples that were drawn later are reproduced from the network they were drawn from") {
    const Folder folder;
    copy_of("a", folder);
    call(folder.path,
         {"sample", "a", "--n", "50", "--set", "sampler.steps=7", "--out", "a/sampled/more", "--progress", "none"});
    const auto outcome = call(folder.path, {"reproduce", "a/sampled/more", "--progress", "none"});
    CHECK(says(outcome.out, "same bits  samples"));
    CHECK(says(outcome.out, "reproduced: the same bits"));
    CHECK(says(call(folder.path, {"show", "a/sampled/more"}).out, "50 samples by ddim in 7 steps"));
}

TEST_CASE("the logged error by noise is the same, however often which times are drawn") {
    const Folder folder;
    // Networks that learn next to nothing: what is logged is the bound of one and the same network.
    write(folder / "fixed.toml", R"(name = "fixed"
seed = 7
threads = 1
dataset = {use = "gaussian_mixture"}
process = {steps = 100}
schedule = {use = "cosine"}
model = {use = "mlp", width = 8, depth = 1, prediction = "x0"}
loss = {use = "elbo"}
train = {steps = 40, batch = 1000, lr = 1e-12, log_every = 40}
)");
    const auto log_with = [&](const std::string& times) {
        call(folder.path, {"run", "fixed.toml", "--out", times, "--set", "times.use=" + times, "--progress", "none"});
        return json::parse(read(folder / times / "metrics.jsonl"));
    };
    const auto even = log_with("stratified");
    for (const std::string times : {"information", "uniform", "low_discrepancy"}) {
        const auto line = log_with(times);
        double mean = 0;
        for (int tenth = 0; tenth < 10; ++tenth) {
            const double found = line["train/loss_by_noise"][tenth];
            INFO(times << ", tenth " << tenth);
            CHECK(found == Approx(even["train/loss_by_noise"][tenth].get<double>()).epsilon(0.06));
            mean += found / 10;
        }
        // A tenth of the times each, so that their mean is that of all.
        CHECK(mean == Approx(line["train/loss"].get<double>()).epsilon(0.03));
    }
}

TEST_CASE("a run is exported with its samples, log, metrics and noise levels") {
    const Folder folder;
    const auto run = copy_of("a", folder);
    call(folder.path, {"export", "a", "--to", "npz", "--out", "new/a.npz"});
    const auto found = members(read(folder / "new/a.npz"));
    const auto samples = dtk::read_tensors(run / "samples.safetensors").at("samples");
    CHECK(npy(found.at("samples.npy")) ==
          std::pair<std::string, std::string>("{'descr': '<f4', 'fortran_order': False, 'shape': (200, 2), }",
                                              samples.bytes));
    std::istringstream log(read(run / "metrics.jsonl"));
    std::vector<double> losses, steps;
    for (std::string line; std::getline(log, line);)
        losses.push_back(json::parse(line)["train/loss"]), steps.push_back(json::parse(line)["step"]);
    REQUIRE(losses.size() == 4);
    CHECK(doubles(npy(found.at("train/loss.npy")).second) == losses);
    CHECK(npy(found.at("train/loss_by_noise.npy")).first ==
          "{'descr': '<f8', 'fortran_order': False, 'shape': (4, 10), }");
    CHECK(doubles(npy(found.at("metric/nll/value.npy")).second).front() ==
          json::parse(read(run / "run.json"))["result"]["metrics"][0]["value"]);
    const auto alpha_bar = doubles(npy(found.at("schedule/alpha_bar.npy")).second);
    REQUIRE(alpha_bar.size() == 50);
    // cos²(π/2·(u+s)/(1+s)) over its value at 0, s = 0.008, at u = 25/50
    const auto f = [](double u) { return std::pow(std::cos(std::acos(-1.0) / 2 * (u + 0.008) / 1.008), 2); };
    CHECK(alpha_bar[24] == Approx(f(0.5) / f(0)));

    call(folder.path, {"export", "a", "--to", "tensorboard"});
    const auto drawn = scalars(read(only_file(run / "tensorboard")));
    for (std::size_t i = 0; i < losses.size(); ++i)
        CHECK(drawn.at("train/loss").at(static_cast<std::int64_t>(steps[i])) == static_cast<float>(losses[i]));
    CHECK(drawn.at("metric/nll").contains(20));
    CHECK(drawn.contains("train/loss_by_noise/9"));

    call(folder.path, {"export", "a", "--to", "csv"});
    std::istringstream csv(read(run / "metrics.csv"));
    std::string header, line;
    std::getline(csv, header);
    CHECK(header.starts_with("step,images,"));
    for (const double step : steps) {
        REQUIRE(std::getline(csv, line));
        CHECK(line.starts_with(std::to_string(static_cast<int>(step)) + "," +
                               std::to_string(16 * static_cast<int>(step)) + ","));
    }
    CHECK(says(call(folder.path, {"export", "a", "--to", "png"}, 2).err, "npz"));
    CHECK(says(call(folder.path, {"export", "a", "--to", "npz", "--out", "a"}, 2).err, "is a folder"));
}

TEST_CASE("a study is listed, shown, exported, and its cells are reproduced") {
    const Folder folder;
    write(folder / "study.toml", experiment + R"(
[ablation]
question = "Which?"
seeds = [3, 4]

[[ablation.axis]]
key = "schedule.use"
values = ["linear", "cosine"]
)");
    write(folder / "study.toml", changed(read(folder / "study.toml"), "seed = 5\n", ""));
    const auto ran = dtk_program({"run", "study.toml", "--out", "runs/tiny/study", "--progress", "none", "--jobs", "2"},
                                 folder.path);
    INFO(ran.err);
    REQUIRE(ran.code == 0);
    const auto list = call_json(folder.path, {"ls"});
    REQUIRE(list.size() == 1);
    CHECK(list[0]["what"] == "study");
    CHECK(list[0]["status"] == "complete");
    CHECK(list[0]["cells"] == json{{"all", 4}, {"done", 4}, {"failed", 0}, {"running", 0}});
    const auto shown = call_json(folder.path, {"show", "tiny"});
    REQUIRE(shown["all_cells"].size() == 4);
    CHECK(says(call(folder.path, {"show", "tiny"}).out, "Which?"));

    // The same numbers as results.json, in the study's folder since it ended.
    const auto study = folder / "runs/tiny/study";
    const auto found = members(read(study / "results.npz"));
    const auto results = json::parse(read(study / "results.json"));
    std::vector<double> values;
    for (const auto& arm : results["arms"])
        for (const auto& one : arm["metrics"]["nll"]["values"]) values.push_back(one);
    CHECK(doubles(npy(found.at("metric/nll/value.npy")).second) == values);
    CHECK(npy(found.at("arms.npy")).first == "{'descr': '<U6', 'fortran_order': False, 'shape': (2,), }");
    CHECK(npy(found.at("train/loss.npy")).first == "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 2, 4), }");
    CHECK(scalars(read(only_file(study / "tensorboard/cosine/seed=4"))).at("metric/nll").at(20) ==
          static_cast<float>(values[3]));

    const fs::path trained = shown["all_cells"][3]["trained"].get<std::string>(),
                   measured = shown["all_cells"][3]["measured"].get<std::string>();
    REQUIRE(trained != measured);
    CHECK(says(call(folder.path, {"reproduce", trained.string(), "--progress", "none"}).out, "same bits  checkpoint"));
    CHECK(says(call(folder.path, {"reproduce", measured.string(), "--progress", "none"}).out, "same bits  samples"));
    CHECK(says(call(folder.path, {"reproduce", "tiny"}, 2).err, "is a study"));
    CHECK(says(call(folder.path, {"diff", "tiny", "tiny"}, 2).err, "dtk report"));

    fs::remove_all(measured);
    CHECK(call_json(folder.path, {"ls"})[0]["cells"]["done"] == 3);
    CHECK(call_json(folder.path, {"ls"})[0]["status"] == "incomplete");
    write(study / "study.json", "{");
    CHECK(call_json(folder.path, {"ls"})[0]["what"] == "damaged");
    CHECK(says(call(folder.path, {"report", "runs/tiny/study"}, 2).err, "damaged"));
}

TEST_CASE("schedule show takes the folder of a run: the levels that it was trained with") {
    const auto shown = json::parse(
        call(runs().path, {"schedule", "show", "cosine", "runs/tiny/a", "--steps", "50", "--format", "json"}).out);
    REQUIRE(shown.size() == 2);
    CHECK(shown[1]["schedule"] == "runs/tiny/a");
    CHECK(shown[1]["steps"] == 50);
    CHECK(shown[0]["alpha_bar"] == shown[1]["alpha_bar"]);
    CHECK(says(call(runs().path, {"schedule", "show", "runs/tiny"}, 2).err, "runs/tiny/a"));
    CHECK(says(call(runs().path, {"schedule", "show", "runs/nothing"}, 2).err, "is not there"));
    CHECK(says(call(runs().path, {"schedule", "show", "runs/tiny/a", "--set", "s=0.1"}, 2).err,
               "nothing of its schedule can be set"));
}

TEST_CASE("every command says what it does, with an example") {
    for (const auto* command : {"ls", "show", "diff", "compare", "reproduce", "export"})
        CHECK(says(call(runs().path, {command, "--help"}).out, "Example: dtk "));
    CHECK(says(call(runs().path, {"diff", "--help"}).out, "The exit code is 0"));
}
