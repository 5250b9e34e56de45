// run.json, result.json, study.json and logs that are damaged: every reader is told what is wrong, in words.
#include <sys/stat.h>

#include <random>

#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/record_types.hpp"
#include "catch.hpp"
#include "complaint.hpp"
#include "folder.hpp"

using json = nlohmann::json;

namespace {

const auto run = json::parse(R"({
    "schema": 1, "name": "a", "status": "completed", "seed": 5, "pid": 7, "threads": 1, "device": "cpu",
    "dtk": {"version": "0", "build": "g", "sha256": "0"}, "host": {"name": "h", "cores": 2},
    "plugins": [{"kind": "model", "name": "mlp", "path": "/mlp.so", "sha256": "0", "build_id": "t"}],
    "data": {"sha256": "0"}, "seconds": {"train": 1.5}, "artefacts": {"c": "/c"},
    "result": {"samples": 4, "metrics": [{"metric": "nll", "value": null, "passes": true, "parts": {"a": 1}}]},
    "of a newer dtk": [{}]})");

/// What is wrong with run.json where `pointer` holds `value`.
std::string wrong(const char* pointer, const json& value, const char* file = "run.json") {
    auto content = run;
    content[json::json_pointer(pointer)] = value;
    return dtk::remove_wrong_types(content, file);
}

}  // namespace

TEST_CASE("what dtk writes has the right types, and fields that it does not know are left alone") {
    auto content = run;
    CHECK(dtk::remove_wrong_types(content, "run.json").empty());
    CHECK(content == run);
    json stages = run;
    stages["result"] = {{"train", run["result"]}, {"distil", run["result"]}};
    CHECK(dtk::remove_wrong_types(stages, "run.json").empty());
    CHECK(dtk::remove_wrong_types(content = json::array(), "anything.json").empty());
}

TEST_CASE("a wrong type is named with its place") {
    CHECK(wrong("/seed", "no") == "`seed` is a text, not a whole number");
    CHECK(wrong("/seed", 1.5) == "`seed` is a number, not a whole number");
    CHECK(wrong("/seed", UINT64_MAX) == "`seed` is a number, not a whole number");
    CHECK(wrong("/name", json::array()) == "`name` is a list, not a text");
    CHECK(wrong("/plugins", "mlp") == "`plugins` is a text, not a list");
    CHECK(wrong("/plugins/0", 3) == "`plugins[0]` is a number, not a table");
    CHECK(wrong("/plugins/0/sha256", nullptr) == "`plugins[0].sha256` is null, not a text");
    CHECK(wrong("/plugins/0", json::object()) == "`plugins[0]` has no `kind`");
    CHECK(wrong("/seconds/train", "long") == "`seconds.train` is a text, not a number");
    CHECK(wrong("/host", 7) == "`host` is a number, not a table");
    CHECK(wrong("/artefacts/c", true) == "`artefacts.c` is a truth value, not a text");
    CHECK(wrong("/result/metrics/0/parts/a", "b") == "`result.metrics[0].parts.a` is a text, not a number");
    CHECK(wrong("/result/distil", json{{"metrics", 3}}) == "`result.distil.metrics` is a number, not a list");
}

TEST_CASE("whatever one value is replaced by, what is left has the right types or the file is named") {
    const Folder folder;
    const json odd[] = {nullptr, true, -1, 0.5, "text", json::array(), json::object(), json::array({3}), UINT64_MAX};
    const auto places = run.flatten();
    for (const auto& [pointer, ignored] : places.items())
        for (const auto& value : odd) {
            auto content = run;
            content[json::json_pointer(pointer)] = value;
            dtk::write_atomically(folder / "run.json", content.dump());
            std::string why;
            auto read = dtk::read_json(folder / "run.json", &why);
            INFO(pointer << " = " << value << ": " << why);
            REQUIRE(read.is_object());
            CHECK(dtk::remove_wrong_types(read, "run.json").empty());
            const auto complaint = complaint_of([&] { dtk::read_record_file(folder / "run.json"); });
            CHECK(complaint.empty() == why.empty());
            if (!why.empty()) CHECK(says(complaint, (folder / "run.json").string() + " is damaged: " + why));
        }
}

TEST_CASE("nesting, other kinds of files and what is no JSON are damage in words") {
    const Folder folder;
    const auto file = folder / "run.json";
    const auto complaint = [&] { return complaint_of([&] { dtk::read_record_file(file); }); };
    CHECK(says(complaint(), "it is not there"));
    CHECK(dtk::read_json(file).is_null());
    for (const auto* bracket : {"[", "{\"a\":"}) {
        std::string deep;
        for (int i = 0; i < 200'000; ++i) deep += bracket;
        dtk::write_atomically(file, "{\"a\": " + deep);
        CHECK(says(complaint(), "it is nested too deeply"));
    }
    dtk::write_atomically(file, "{\"name\": \"" + std::string(1000, '[') + "\\\"[\"}");  // brackets in a text
    CHECK(dtk::read_record_file(file)["name"].get<std::string>().size() == 1002);
    dtk::write_atomically(file, "{\"name\": \"cut");
    CHECK(says(complaint(), "it is not JSON"));
    dtk::write_atomically(file, "[1]");
    CHECK(says(complaint(), "it holds no table"));
    std::filesystem::remove(file);
    REQUIRE(::mkfifo(file.c_str(), 0600) == 0);
    CHECK(says(complaint(), "it is no regular file"));
    CHECK(dtk::read_json_lines(file).empty());
}

TEST_CASE("lines of a log that are cut short, nested too deeply or of another type are left out") {
    const Folder folder;
    const auto file = folder / "metrics.jsonl";
    dtk::write_atomically(file,
                          "{\"step\":1}\n{\"step\":\"x\"}\n" + std::string(100'000, '[') + "\n[2]\n{\"step\":3}\n{");
    const auto lines = dtk::read_json_lines(file);
    REQUIRE(lines.size() == 2);
    CHECK(lines[1]["step"] == 3);
}

TEST_CASE("a text that a spreadsheet would take for a formula is none any more, and numbers stay as they are") {
    CHECK(dtk::csv_field("=1+1") == "'=1+1");
    CHECK(dtk::csv_field("@SUM(A1)") == "'@SUM(A1)");
    CHECK(dtk::csv_field("-cmd|' /C calc'!A0") == "'-cmd|' /C calc'!A0");
    CHECK(dtk::csv_field("+a, b") == "\"'+a, b\"");
    CHECK(dtk::csv_field("\tx") == "'\tx");
    for (const auto* number : {"-1", "-1.5e-3", "-inf", "3", ""}) CHECK(dtk::csv_field(number) == number);
    CHECK(dtk::csv_field("a \"b\", c") == "\"a \"\"b\"\", c\"");
    CHECK(dtk::csv_field("lr=0.1") == "lr=0.1");
}
