#include "study/run_store.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <fstream>
#include <set>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/build.hpp"
#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/lease.hpp"
#include "base/toml.hpp"
#include "base/words.hpp"
#include "study/study.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

constexpr int deepest = 4;

bool there(const fs::path& path) {
    std::error_code ignored;
    return fs::exists(path, ignored);
}

std::string text_of(const json& object, const char* key) {
    const auto at = object.is_object() ? object.find(key) : object.end();
    return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

std::optional<std::int64_t> whole_of(const json& object, const char* key) {
    const auto at = object.is_object() ? object.find(key) : object.end();
    return at != object.end() && at->is_number_integer() ? std::optional(at->get<std::int64_t>()) : std::nullopt;
}

std::string modified(const fs::path& file) {
    std::error_code error;
    const auto time = fs::last_write_time(file, error);
    if (error) return {};
    return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                       fmt::gmtime(std::chrono::system_clock::to_time_t(std::chrono::file_clock::to_sys(time))));
}

void add_measured(const json& list, const std::string& stage, std::vector<Measured>& all) {
    if (!list.is_array()) return;
    for (const auto& one : list) {
        const auto metric = text_of(one, "metric");
        if (metric.empty()) continue;
        Measured m{.metric = (stage.empty() ? "" : stage + ".") + metric,
                   .value = number_at(one, "value"),
                   .better = better_of(text_of(one, "better")),
                   .unit = text_of(one, "unit"),
                   .expected = number_at(one, "expected"),
                   .expected_sd = number_at(one, "expected_sd"),
                   .standard_error = number_at(one, "standard_error"),
                   .note = text_of(one, "note"),
                   .card = one.value("card", json())};
        if (const auto passes = one.find("passes"); passes != one.end() && passes->is_boolean())
            m.passes = passes->get<bool>();
        all.push_back(std::move(m));
    }
}

/// The last step in the log. Its last line may have been cut short; then the one before counts.
std::optional<std::int64_t> last_step(const fs::path& folder) {
    std::ifstream in(folder / "metrics.jsonl");
    std::string last, before;
    for (std::string line; std::getline(in, line);) before = std::exchange(last, line);
    for (const auto& line : {last, before})
        if (const auto step = whole_of(json::parse(line, nullptr, false), "step")) return step;
    return std::nullopt;
}

void read_run(Record& r) {
    r.what = Record::What::run;
    r.content = read_json(r.folder / "run.json");
    if (!r.content.is_object() || text_of(r.content, "status").empty()) {
        r.what = Record::What::damaged;
        r.problem = "run.json is damaged";
        return;
    }
    if (const auto name = text_of(r.content, "name"); !name.empty()) r.name = name;
    r.started = text_of(r.content, "start_time");
    r.status = text_of(r.content, "status");
    r.problem = text_of(r.content, "error");
    r.problem = r.problem.substr(0, r.problem.find('\n'));
    r.seed = whole_of(r.content, "seed");
    if (r.content.contains("result")) r.measured = measured_in(r.content["result"]);
    if (r.status == "running" && !Lease::held(r.folder / "run.lease"))
        r.status = "killed", r.problem = "its process is gone";
    std::int64_t step = 0, steps = 0;
    try {
        const auto root = toml::parse_file((r.folder / "resolved.toml").string());
        const auto* list = root["stage"].as_array();
        if (!list)
            step = last_step(r.folder).value_or(0), steps = root["train"]["steps"].value_or(std::int64_t{0});
        else
            for (const auto& stage : *list)
                if (const auto* table = stage.as_table()) {
                    step += last_step(r.folder / (*table)["name"].value_or(std::string())).value_or(0);
                    steps += (*table)["train"]["steps"].value_or(root["train"]["steps"].value_or(std::int64_t{0}));
                }
    } catch (const toml::parse_error&) {
        if (r.problem.empty()) r.problem = "resolved.toml is missing or damaged";
    }
    if (steps > 0) r.step = step, r.steps = steps;
}

void read_sample(Record& r) {
    r.what = Record::What::sample;
    r.content = read_json(r.folder / "result.json");
    if (!r.content.is_object()) {
        r.what = Record::What::damaged;
        r.problem = "result.json is damaged";
        return;
    }
    r.status = "completed", r.started = modified(r.folder / "result.json");
    r.measured = measured_in(r.content);
    try {
        const auto root = toml::parse_file((r.folder / "resolved.toml").string());
        r.seed = root["seed"].value<std::int64_t>();
        r.name = root["name"].value_or(r.name);
    } catch (const toml::parse_error&) {
    }
}

/// Is somebody at work on it?
bool held(fs::path folder) { return Lease::held(folder += ".lease"); }

CellRecord read_cell(const fs::path& study, const json& cell, bool accept_rebuilt) {
    const auto task = text_of(cell, "task"), needs = text_of(cell, "needs");
    CellRecord c{.arm = text_of(cell, "arm"),
                 .seed = whole_of(cell, "seed").value_or(0),
                 .sample_seed = whole_of(cell, "sample_seed"),
                 .stream = text_of(cell, "stream"),
                 .trained = task_folder(study, needs.empty() ? task : needs, accept_rebuilt),
                 .measured = task_folder(study, task, accept_rebuilt),
                 .status = "to do",
                 .error = {}};
    if (finished_result(c.measured))
        c.status = "done";
    else if (held(c.measured) || held(c.trained))
        c.status = "running";
    else
        for (const auto& id : {task, needs})
            if (const auto error = id.empty() ? std::string() : error_in(study / "logs" / (id + ".log"));
                !error.empty() && c.status != "failed")
                c.status = "failed", c.error = error;
    return c;
}

void read_study(Record& r) {
    r.what = Record::What::study;
    r.content = read_json(r.folder / "study.json");
    r.started = modified(r.folder / "study.toml");
    if (!r.content.is_object()) {
        r.what = Record::What::damaged;
        r.problem = there(r.folder / "study.json") ? "study.json is damaged" : "study.json is not there (yet)";
        return;
    }
    if (const auto name = text_of(r.content, "name"); !name.empty()) r.name = name;
    if (const auto cells = r.content.find("cells"); cells != r.content.end() && cells->is_array())
        for (const auto& cell : *cells)
            r.cells.push_back(read_cell(r.folder, cell, r.content.value("accept_rebuilt", json()) == true));
    r.status = r.count("running") > 0                                  ? "running"
               : !r.cells.empty() && r.count("done") == r.cells.size() ? "complete"
                                                                       : "incomplete";
    if (r.cells.empty())
        r.problem = "what its cells are is not known: it is of an older dtk; the same `dtk run` writes it anew";
}

/// Adds what lies in the folder → whether anything of dtk's did.
bool collect(const fs::path& folder, int depth, std::vector<Record>& all) {
    auto record = read_record(folder);
    if (record.what != Record::What::foreign) {
        all.push_back(std::move(record));
        return true;
    }
    std::error_code error;
    bool any = false;
    std::vector<Record> strangers;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
        if (entry.is_symlink(error) || !entry.is_directory(error) || entry.path().filename().string().starts_with('.'))
            continue;
        if (depth < deepest && collect(entry.path(), depth + 1, strangers)) any = true;
    }
    if (error) record.problem = "it cannot be read: " + error.message();
    if (any)
        all.insert(all.end(), std::make_move_iterator(strangers.begin()), std::make_move_iterator(strangers.end()));
    else if (depth > 0)
        all.push_back(std::move(record));
    return any;
}

std::vector<std::string> matches(const std::string& text, const std::vector<Record>& all) {
    std::vector<std::string> found;
    for (const auto& record : all) {
        if (record.what == Record::What::foreign) continue;
        const auto id = record.folder.filename().string();
        if (id.starts_with(text) || (record.name + "/" + id).starts_with(text)) found.push_back(record.folder.string());
    }
    return found;
}

}  // namespace

std::string CellRecord::seed_text() const {
    return fmt::format("{}{}{}", seed, stream.empty() ? "" : fmt::format(" of {} alone", stream),
                       sample_seed ? fmt::format(", drawn with {}", *sample_seed) : "");
}

std::vector<Measured> measured_in(const json& result) {
    std::vector<Measured> all;
    if (!result.is_object()) return all;
    if (const auto own = result.find("metrics"); own != result.end() && own->is_array())
        add_measured(*own, {}, all);
    else
        for (const auto& [stage, one] : result.items())
            if (one.is_object() && one.contains("metrics")) add_measured(one["metrics"], stage, all);
    return all;
}

std::optional<json> finished_result(const fs::path& folder) {
    if (auto result = read_json(folder / "result.json"); result.is_object()) return result;
    const auto record = read_json(folder / "run.json");
    if (text_of(record, "status") != "completed") return std::nullopt;
    auto result = record.value("result", json::object());
    result["seconds"] = record.value("seconds", json::object());
    return result;
}

std::size_t Record::count(const std::string& cell_status) const {
    return static_cast<std::size_t>(
        std::count_if(cells.begin(), cells.end(), [&](const CellRecord& cell) { return cell.status == cell_status; }));
}

Record read_record(const fs::path& folder) {
    Record r;
    r.folder = folder;
    const auto plain = folder.has_filename() ? folder : folder.parent_path();
    r.name = plain.parent_path().filename().string();
    if (r.name.empty()) r.name = plain.filename().string();
    if (there(folder / "run.json"))
        read_run(r);
    else if (there(folder / "study.toml"))
        read_study(r);
    else if (there(folder / "result.json"))
        read_sample(r);
    else if (there(folder / "stage.toml") || there(folder / "resolved.toml") || there(folder / "experiment.toml")) {
        r.what = Record::What::damaged;
        r.problem = "it has no run.json: its beginning was cut short, or it is one stage of a run";
    } else
        r.problem = "nothing of dtk's is in it";
    return r;
}

std::vector<Record> records_in(const fs::path& folder) {
    std::vector<Record> all;
    collect(folder, 0, all);
    std::stable_sort(all.begin(), all.end(), [](const Record& a, const Record& b) {
        return std::pair(a.started, a.folder) > std::pair(b.started, b.folder);
    });
    return all;
}

namespace {
Record find(const std::string& text) {
    fs::path path = text;
    std::error_code error;
    if (fs::is_regular_file(path, error)) path = path.has_parent_path() ? path.parent_path() : ".";
    const auto seen = [](const fs::path& folder) {
        return fs::is_directory(folder) ? std::optional(read_record(fs::canonical(folder))) : std::nullopt;
    };
    if (fs::is_directory(path, error))
        for (const auto& candidate : {path, path / "latest", path / "study"})
            if (auto record = seen(candidate); record && record->what != Record::What::foreign)
                return std::move(*record);
    if (text.find('/') == text.npos)
        for (const auto& candidate :
             {fs::path("runs") / text / "latest", fs::path("runs") / text / "study", fs::path("runs") / text})
            if (auto record = seen(candidate); record && record->what != Record::What::foreign)
                return std::move(*record);
    const auto all = records_in("runs");
    if (text == "latest")
        for (const auto& record : all)
            if (record.what != Record::What::foreign) return record;
    if (text == "latest")
        throw UserError(fmt::format("there is no run under {}", fs::absolute("runs").string()),
                        "start one: dtk run experiments/quickstart.toml");
    if (fs::is_directory(path, error))
        throw UserError(fmt::format("{} is not the folder of a run or a study", text),
                        "a run's folder holds run.json; `dtk ls` shows what there is");
    const auto found = matches(text, all);
    if (found.size() == 1) return read_record(found.front());
    if (found.size() > 1)
        throw UserError(
            fmt::format("`{}` may be any of {} runs", text, found.size()),
            fmt::format("say one: {}{}",
                        fmt::join(found.begin(), found.begin() + std::min<std::ptrdiff_t>(4, std::ssize(found)), ", "),
                        found.size() > 4 ? ", …" : ""));
    std::set<std::string> known;
    for (const auto& record : all) known.insert(record.name), known.insert(record.folder.string());
    throw UserError(fmt::format("there is no run `{}`", text),
                    did_you_mean(text, {known.begin(), known.end()},
                                 "`dtk ls` shows what there is; give a folder, a name, or `latest`"));
}
}  // namespace

Record find_record(const std::string& text) {
    auto record = find(text);
    record.folder = fs::canonical(record.folder);
    return record;
}

std::vector<std::pair<std::string, fs::path>> stages_of(const Record& run) {
    std::vector<std::pair<std::string, fs::path>> all;
    try {
        const auto root = toml::parse_file((run.folder / "resolved.toml").string());
        if (const auto* list = root["stage"].as_array())
            for (const auto& stage : *list)
                if (const auto* table = stage.as_table()) {
                    const auto name = (*table)["name"].value_or(std::string());
                    all.emplace_back(name, run.folder / name);
                }
    } catch (const toml::parse_error&) {
    }
    if (all.empty()) all.emplace_back("", run.folder);
    return all;
}

namespace {
/// `stage` is what stands before the keys of a stage: a part inside another, as a process's schedule, is called as if
/// it stood beside it.
void flatten(const toml::table& table, const std::string& path, const std::string& stage,
             std::map<std::string, std::string>& all) {
    for (auto&& [key, node] : table) {
        const auto name = path + std::string(key.str());
        if (const auto* inner = node.as_table()) {
            const auto beside = stage + std::string(key.str());
            const bool part = inner->contains("use") && interface_versions().contains(std::string(key.str())) &&
                              !all.contains(beside + ".use");
            flatten(*inner, (part ? beside : name) + ".", stage, all);
        } else if (node.is_array_of_tables())
            for (const auto& element : *node.as_array()) {
                const auto& one = *element.as_table();
                const bool is_stage = path.empty() && key.str() == "stage";
                const auto called = one["name"].value<std::string>();
                const auto own = (is_stage ? "" : name + ".") + called.value_or(one["use"].value_or(std::string("?")));
                auto prefix = own;
                for (int n = 2; all.contains(prefix + (is_stage ? ".name" : ".use")); ++n)
                    prefix = fmt::format("{}#{}", own, n);
                prefix += ".";
                flatten(one, prefix, is_stage ? prefix : stage, all);
            }
        else if (const auto* text = node.as_string())
            all[name] = text->get();
        else
            all[name] = toml_value(node);
    }
}
}  // namespace

std::map<std::string, std::string> settings_of(const Record& run) {
    const auto file = run.folder / "resolved.toml";
    Diagnostics mistakes;
    const auto root = read_toml(file, mistakes);
    if (!mistakes.empty())
        throw UserError(fmt::format("{} is missing or damaged", file.string()), "without it nobody knows what was run");
    std::map<std::string, std::string> all;
    flatten(root, "", "", all);
    return all;
}

std::string in_words(const Measured& m) {
    if (!std::isfinite(m.value)) return "not finite";
    auto text = fmt::format("{:.4g}", m.value);
    if (std::isfinite(m.standard_error)) text += fmt::format(" ± {:.2g}", m.standard_error);
    if (std::isfinite(m.expected)) text += fmt::format(" (true {:.4g} ± {:.2g})", m.expected, m.expected_sd);
    return text;
}

}  // namespace dtk
