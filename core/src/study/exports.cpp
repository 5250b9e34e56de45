// What runs and studies left, in the formats of other tools.
#include "study/exports.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>

#include <fmt/format.h>

#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/npz.hpp"
#include "base/tensor_file.hpp"
#include "base/tensorboard.hpp"
#include "study/kept.hpp"
#include "study/sample_images.hpp"
#include "study/tables.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

/// metrics.jsonl as columns: by name and step, a value or a row of values.
struct LogColumns {
    std::map<std::string, std::map<std::int64_t, std::vector<double>>> columns;
    std::map<std::int64_t, double> wall_times;
    std::int64_t last_step() const { return wall_times.empty() ? 0 : wall_times.rbegin()->first; }
    double last_time() const { return wall_times.empty() ? 0 : wall_times.rbegin()->second; }
};

double number(const json& value) { return number_of(value).value_or(NAN); }

LogColumns read_log_columns(const fs::path& folder) {
    LogColumns log;
    for (const auto& line : read_json_lines(folder / "metrics.jsonl")) {
        if (!line.contains("step") || !line["step"].is_number_integer()) continue;
        const auto step = line["step"].get<std::int64_t>();
        log.wall_times[step] = line.contains("wall_time") ? number(line["wall_time"]) : 0;
        for (const auto& [key, value] : line.items()) {
            if (key == "step") continue;
            auto& at = log.columns[key][step];
            at.clear();
            if (value.is_array())
                for (const auto& one : value) at.push_back(number(one));
            else
                at.push_back(number(value));
        }
    }
    return log;
}

std::size_t width_of(const std::map<std::int64_t, std::vector<double>>& column) {
    std::size_t width = 1;
    for (const auto& [step, values] : column) width = std::max(width, values.size());
    return width;
}

/// The columns of several logs with one step axis, NaN where a log has no such line; `shape` is that of the logs,
/// row-major.
void add_logs(const std::vector<LogColumns>& logs, const std::vector<std::int64_t>& shape, const std::string& prefix,
              std::vector<NumpyArray>& arrays) {
    std::set<std::int64_t> steps;
    std::map<std::string, std::size_t> widths;
    for (const auto& log : logs)
        for (const auto& [key, column] : log.columns) {
            for (const auto& [step, values] : column) steps.insert(step);
            widths[key] = std::max(widths[key], width_of(column));
        }
    if (steps.empty()) return;
    arrays.push_back(NumpyArray::of(prefix + "step", std::vector<std::int64_t>(steps.begin(), steps.end())));
    for (const auto& [key, width] : widths) {
        std::vector<double> all;
        for (const auto& log : logs)
            for (const auto step : steps) {
                std::vector<double> row;
                if (const auto column = log.columns.find(key); column != log.columns.end())
                    if (const auto at = column->second.find(step); at != column->second.end()) row = at->second;
                row.resize(width, NAN);
                all.insert(all.end(), row.begin(), row.end());
            }
        auto whole = shape;
        whole.push_back(static_cast<std::int64_t>(steps.size()));
        if (width > 1) whole.push_back(static_cast<std::int64_t>(width));
        arrays.push_back(NumpyArray::of(prefix + key, all, whole));
    }
}

/// The tensors of a file, each read in pieces when it is written.
void add_tensors(const fs::path& path, const std::string& prefix, std::vector<NumpyArray>& arrays) {
    static const std::map<std::string, const char*> types{{"F64", "<f8"}, {"F32", "<f4"}, {"F16", "<f2"},
                                                          {"I64", "<i8"}, {"I32", "<i4"}, {"I16", "<i2"},
                                                          {"I8", "|i1"},  {"U8", "|u1"},  {"BOOL", "|b1"}};
    const auto file = std::make_shared<InputFile>(path);
    for (const auto& [name, entry] : read_tensor_header(*file, path).entries) {
        const auto type = types.find(entry.dtype);
        if (type == types.end()) {  // bfloat16, which NumPy does not know
            arrays.push_back(NumpyArray::of(prefix + name, read_tensors(path).at(name).numbers()));
            arrays.back().shape = entry.shape;
            continue;
        }
        arrays.push_back({prefix + name, type->second, entry.shape, {}});
        arrays.back().pieces = [file, from = entry.offset, bytes = entry.bytes](const auto& take) {
            std::string some;
            for (std::uint64_t at = 0; at < bytes; at += some.size()) {
                some.resize(std::min<std::uint64_t>(1 << 20, bytes - at));
                file->read(from + at, some.data(), some.size());
                take(some);
            }
        };
    }
}

constexpr std::pair<const char*, double Measured::*> parts[] = {{"value", &Measured::value},
                                                                {"expected", &Measured::expected},
                                                                {"expected_sd", &Measured::expected_sd},
                                                                {"standard_error", &Measured::standard_error}};

void add_measured_arrays(const std::vector<Measured>& measured, std::vector<NumpyArray>& arrays) {
    for (const auto& m : measured)
        for (const auto& [name, part] : parts)
            if (std::isfinite(m.*part) || part == &Measured::value) {
                arrays.push_back(NumpyArray::of(fmt::format("metric/{}/{}", m.metric, name), std::vector{m.*part}));
                arrays.back().shape.clear();  // a number, no row
            }
}

void add_levels(const NoiseLevels& levels, const std::string& prefix, std::vector<NumpyArray>& arrays) {
    const auto each = [&](double (*value)(const NoiseLevels&, std::int64_t)) {
        std::vector<double> all;
        for (std::int64_t t = 0; t < levels.steps(); ++t) all.push_back(value(levels, t));
        return all;
    };
    arrays.push_back(NumpyArray::of(prefix + "schedule/alpha_bar",
                                    each([](const NoiseLevels& l, std::int64_t t) { return l.alpha_bar(t); })));
    arrays.push_back(NumpyArray::of(prefix + "schedule/sigma2",
                                    each([](const NoiseLevels& l, std::int64_t t) { return l.sigma2(t); })));
    arrays.push_back(NumpyArray::of(prefix + "schedule/log_snr",
                                    each([](const NoiseLevels& l, std::int64_t t) { return l.log_snr(t); })));
}

/// What a study's cells are spread over: arms, seeds and, where there are any, seeds of what was drawn.
struct Axes {
    std::vector<std::string> arms;
    std::vector<std::int64_t> seeds, draws;

    explicit Axes(const Record& study) {
        const auto note = [](auto& list, const auto& value) {
            if (std::find(list.begin(), list.end(), value) == list.end()) list.push_back(value);
        };
        for (const auto& cell : study.cells) {
            if (!cell.stream.empty()) continue;  // what one stream does is in results.json
            note(arms, cell.arm);
            note(seeds, cell.seed);
            if (cell.sample_seed) note(draws, *cell.sample_seed);
        }
    }
    std::size_t size() const { return arms.size() * seeds.size() * std::max<std::size_t>(1, draws.size()); }
    std::size_t place(const CellRecord& cell) const {
        const auto among = [](const auto& list, const auto& value) {
            return static_cast<std::size_t>(std::find(list.begin(), list.end(), value) - list.begin());
        };
        const auto trained = among(arms, cell.arm) * seeds.size() + among(seeds, cell.seed);
        return cell.sample_seed ? trained * draws.size() + among(draws, *cell.sample_seed) : trained;
    }
    std::vector<std::int64_t> shape() const {
        std::vector<std::int64_t> all{static_cast<std::int64_t>(arms.size()), static_cast<std::int64_t>(seeds.size())};
        if (!draws.empty()) all.push_back(static_cast<std::int64_t>(draws.size()));
        return all;
    }
};

std::vector<NumpyArray> arrays_of_study(const Record& study) {
    const Axes axes(study);
    std::vector<NumpyArray> arrays{NumpyArray::of("arms", axes.arms), NumpyArray::of("seeds", axes.seeds)};
    if (!axes.draws.empty()) arrays.push_back(NumpyArray::of("sample_seeds", axes.draws));
    std::vector<std::string> metrics;
    std::map<std::string, std::vector<Measured>> scores;  // of each metric one for each cell
    std::vector<LogColumns> logs(axes.size());
    for (const auto& cell : study.cells) {
        if (!cell.stream.empty()) continue;
        logs[axes.place(cell)] = read_log_columns(cell.trained);
        for (auto& m : read_record(cell.measured).measured) {
            auto& of_metric = scores[m.metric];
            of_metric.resize(axes.size());
            of_metric[axes.place(cell)] = std::move(m);
        }
    }
    for (const auto& [metric, cells] : scores)
        for (const auto& [name, part] : parts) {
            std::vector<double> all;
            for (const auto& m : cells) all.push_back(m.*part);
            if (!std::all_of(all.begin(), all.end(), [](double value) { return std::isnan(value); }))
                arrays.push_back(NumpyArray::of(fmt::format("metric/{}/{}", metric, name), all, axes.shape()));
        }
    add_logs(logs, axes.shape(), "", arrays);
    return arrays;
}

/// A folder's name from an arm's: what a path cannot hold is replaced.
std::string folder_name(std::string text) {
    for (auto& c : text)
        if (c == '/' || c == '\0') c = '_';
    return text.empty() || text == "." || text == ".." ? "arm " + text : text;
}

/// A whole number that the PNG's header holds, most significant byte first.
std::int64_t big_endian(const std::string& bytes, std::size_t at) {
    std::int64_t value = 0;
    for (std::size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    return value;
}

void add_picture(const fs::path& file, std::int64_t step, double time, EventFile& events) {
    std::error_code error;
    if (!fs::exists(file, error)) return;
    const auto png = read_file(file);
    if (png.size() < 33 || !png.starts_with("\x89PNG")) return;
    const int type = png[25];  // 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha
    events.image("samples", step, time, png, big_endian(png, 16), big_endian(png, 20),
                 type == 0   ? 1
                 : type == 4 ? 2
                 : type == 6 ? 4
                             : 3);
}

/// One event file: the log, and what was measured at its end.
void write_events(const fs::path& trained, const fs::path& measured, const std::vector<Measured>& values,
                  const fs::path& folder) {
    const auto log = read_log_columns(trained);
    const double begin = log.wall_times.empty() ? 0 : log.wall_times.begin()->second;
    EventFile events(begin);
    for (const auto& [key, column] : log.columns) {
        if (key == "wall_time") continue;
        for (const auto& [step, row] : column)
            for (std::size_t i = 0; i < row.size(); ++i)
                events.scalar(row.size() > 1 ? fmt::format("{}/{}", key, i) : key, step, log.wall_times.at(step),
                              row[i]);
    }
    for (const auto& m : values) events.scalar("metric/" + m.metric, log.last_step(), log.last_time(), m.value);
    add_picture(measured / "samples.png", log.last_step(), log.last_time(), events);
    fs::create_directories(folder);
    write_atomically(folder / fmt::format("events.out.tfevents.{:.0f}.dtk", begin), events.bytes());
}

struct LabelledLog {
    std::vector<std::string> labels;
    LogColumns log;
};

void write_csv(const fs::path& file, std::vector<std::string> header, const std::vector<LabelledLog>& logs) {
    std::map<std::string, std::size_t> widths;
    for (const auto& one : logs)
        for (const auto& [key, column] : one.log.columns) widths[key] = std::max(widths[key], width_of(column));
    header.emplace_back("step");
    for (const auto& [key, width] : widths)
        for (std::size_t i = 0; i < width; ++i) header.push_back(width > 1 ? fmt::format("{}/{}", key, i) : key);
    std::string text;
    const auto line = [&](const std::vector<std::string>& fields) {
        for (std::size_t i = 0; i < fields.size(); ++i) text += (i ? "," : "") + csv_field(fields[i]);
        text += '\n';
    };
    line(header);
    for (const auto& one : logs)
        for (const auto& [step, time] : one.log.wall_times) {
            auto fields = one.labels;
            fields.push_back(std::to_string(step));
            for (const auto& [key, width] : widths) {
                std::vector<double> row;
                if (const auto column = one.log.columns.find(key); column != one.log.columns.end())
                    if (const auto at = column->second.find(step); at != column->second.end()) row = at->second;
                row.resize(width, NAN);
                for (const double value : row) fields.push_back(std::isfinite(value) ? fmt::format("{}", value) : "");
            }
            line(fields);
        }
    write_atomically(file, text);
}

void export_npz(const Record& record, const fs::path& file, const Exporter::Levels& levels) {
    if (record.what == Record::What::study) {
        write_npz(file, arrays_of_study(record));
        return;
    }
    std::vector<NumpyArray> arrays;
    for (const auto& [stage, folder] : stages_of(record)) {
        const auto prefix = stage.empty() ? std::string() : stage + "/";
        if (const auto samples = folder / "samples.safetensors"; fs::exists(samples)) {
            add_tensors(samples, prefix, arrays);
            if (const auto names = class_names_of(samples); !names.empty())
                arrays.push_back(NumpyArray::of(prefix + "class_names", names));
        }
        add_logs({read_log_columns(folder)}, {}, prefix, arrays);
        if (!levels) continue;
        if (const auto own = levels(folder)) add_levels(*own, prefix, arrays);
    }
    add_measured_arrays(record.measured, arrays);
    write_npz(file, arrays);
}

void export_tensorboard(const Record& record, const fs::path& folder, const Exporter::Levels&) {
    if (record.what == Record::What::study) {
        for (const auto& cell : record.cells) {
            auto own = folder / folder_name(cell.arm) / fmt::format("seed={}", cell.seed);
            if (!cell.stream.empty()) own /= cell.stream + " alone";
            if (cell.sample_seed) own /= fmt::format("sample={}", *cell.sample_seed);
            write_events(cell.trained, cell.measured, read_record(cell.measured).measured, own);
        }
        return;
    }
    for (const auto& [stage, own] : stages_of(record)) {
        std::vector<Measured> values;
        for (auto m : record.measured) {
            if (!stage.empty() && !m.metric.starts_with(stage + ".")) continue;
            if (!stage.empty()) m.metric.erase(0, stage.size() + 1);
            values.push_back(std::move(m));
        }
        write_events(own, own, values, stage.empty() ? folder : folder / folder_name(stage));
    }
}

void export_csv(const Record& record, const fs::path& file, const Exporter::Levels&) {
    std::vector<LabelledLog> logs;
    if (record.what == Record::What::study) {
        // Cells that differ in what was drawn have one log.
        std::set<std::pair<std::string, std::int64_t>> known;
        for (const auto& cell : record.cells)
            if (cell.stream.empty() && known.insert({cell.arm, cell.seed}).second)
                logs.push_back({{cell.arm, std::to_string(cell.seed)}, read_log_columns(cell.trained)});
        write_csv(file, {"arm", "seed"}, logs);
        return;
    }
    const auto stages = stages_of(record);
    if (std::none_of(stages.begin(), stages.end(),
                     [](const auto& stage) { return fs::exists(stage.second / "metrics.jsonl"); }))
        throw UserError(fmt::format("{} has no log: nothing was trained", record.folder.string()),
                        "its metrics and samples: dtk export … --to npz");
    const bool many = !stages.front().first.empty();
    for (const auto& [stage, folder] : stages)
        logs.push_back({many ? std::vector{stage} : std::vector<std::string>{}, read_log_columns(folder)});
    write_csv(file, many ? std::vector<std::string>{"stage"} : std::vector<std::string>{}, logs);
}

/// What a study found, by that of its tables.
template <class Table>
void export_table(const Record& record, const fs::path& file, Table table) {
    const auto study = kept_study(record.folder);
    write_atomically(file, table(study, results_of(study, record.folder, true)));
}

void export_json(const Record& record, const fs::path& file, const Exporter::Levels&) {
    export_table(record, file, [](const Study& study, const StudyResults& results) {
        return results_json(study, results).dump(2) + "\n";
    });
}

void export_table_csv(const Record& record, const fs::path& file, const Exporter::Levels&) {
    export_table(record, file, results_csv);
}

void export_latex(const Record& record, const fs::path& file, const Exporter::Levels&) {
    export_table(record, file, results_tex);
}

}  // namespace

const std::vector<Exporter>& exporters() {
    static const std::vector<Exporter> all{
        {"npz", "NumPy: samples, log, metrics, noise levels", "run.npz", "results.npz", false, export_npz},
        {"tensorboard", "event files", "tensorboard", "tensorboard", true, export_tensorboard},
        {"csv", "the training's log, a line for each logged step", "metrics.csv", "curves.csv", false, export_csv},
        {"images", "a PNG for each sample", "images", nullptr, true,
         [](const Record& record, const fs::path& out, const Exporter::Levels&) { export_images(record, out); }},
        {"uint8", "NumPy: the samples alone as 8-bit images, arr_0", "uint8.npz", nullptr, false,
         [](const Record& record, const fs::path& out, const Exporter::Levels&) { export_uint8(record, out); }},
        {"json", "of a study: all its numbers", nullptr, "results.json", false, export_json},
        {"cells", "of a study: a line of CSV for each cell and metric", nullptr, "results.csv", false,
         export_table_csv},
        {"latex", "of a study: its table for booktabs", nullptr, "results.tex", false, export_latex}};
    return all;
}

void write_exports(const fs::path& study) {
    const auto record = read_record(study);
    if (record.cells.empty()) return;
    // Event files of arms that are no longer there would be drawn beside the others.
    std::error_code error;
    std::vector<fs::path> old;
    for (const auto& entry : fs::recursive_directory_iterator(study / "tensorboard", error))
        if (entry.path().filename().string().starts_with("events.out.tfevents.") && entry.path().extension() == ".dtk")
            old.push_back(entry.path());
    for (const auto& file : old) fs::remove(file, error);
    for (const auto& exporter : exporters()) {
        // The report writes its own tables; the log is there for the asking.
        const std::string_view name = exporter.name;
        if (name == "npz" || name == "tensorboard") exporter.write(record, study / exporter.of_study, {});
    }
}

}  // namespace dtk
