#include "cli/commands.hpp"

#include <algorithm>
#include <cmath>

#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dtk/schedule.hpp>

#include "base/build.hpp"
#include "base/declaration.hpp"
#include "base/picture.hpp"
#include "base/words.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

/// The half that needs LibTorch, opened for good: what it made may live until exit.
Engine& engine() {
    static auto& library = *new boost::dll::shared_library;
    if (!library.is_loaded()) {
        const fs::path folder = boost::dll::program_location().parent_path().string();
        const auto beside = folder / "core" / "libdtk.so", installed = folder / "../lib/libdtk.so";
        try {
            // Lazily: binding all of LibTorch's symbols at once would take longer than most commands.
            library.load((fs::exists(beside) ? beside : installed).string(), boost::dll::load_mode::rtld_lazy);
        } catch (const boost::dll::fs::system_error& error) {
            throw Error(std::string("dtk's half that needs LibTorch cannot be loaded: ") + error.what(), "run ./dtk setup and ./dtk build");
        }
    }
    return *library.get<Engine*()>("dtk_open_engine")();
}

Registry registry(const std::vector<fs::path>& folders) { return Registry(plugin_folders(folders)); }

/// As wide as `width` on the screen, counting characters rather than bytes.
std::string padded(const std::string& text, std::size_t width) {
    const auto shown = static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](unsigned char c) { return (c & 0xC0) != 0x80; }));
    return text + std::string(shown < width ? width - shown : 0, ' ');
}

void print_skipped(const Registry& registry) {
    for (const auto& skipped : registry.skipped()) fmt::print("skipped  {}: {}\n", skipped.file.string(), skipped.reason);
    for (const auto& plugin : registry.plugins()) {
        for (const auto& twin : plugin.twins) fmt::print("twice    {} `{}`: {} and {}\n", plugin.kind, plugin.name, plugin.file.string(), twin.string());
        for (const auto& shadowed : plugin.shadowed) fmt::print("shadowed {} `{}`: {} by {}\n", plugin.kind, plugin.name, shadowed.string(), plugin.file.string());
    }
}

/// Registered plugins of that name (and kind, where one is given).
std::vector<PluginFile> named(const Registry& registry, const std::vector<std::string>& words) {
    std::vector<PluginFile> found;
    for (const auto& plugin : registry.plugins())
        if (plugin.name == words.back() && (words.size() == 1 || plugin.kind == words.front())) found.push_back(plugin);
    if (!found.empty()) return found;
    std::vector<std::string> known;
    for (const auto& plugin : registry.plugins()) known.push_back(plugin.name);
    const auto near = nearest(words.back(), known);
    throw Error(fmt::format("there is no plugin `{}`", fmt::join(words, " ")), near.empty() ? "`dtk plugins list` shows what there is" : fmt::format("did you mean `{}`?", near));
}

struct Shown {
    std::string name;
    NoiseLevels levels;
};

/// The schedule of that name, with the fields that --set gives it.
Shown shown(const Registry& registry, const ScheduleRequest& request, const std::string& name, Mistakes& mistakes) {
    toml::table table{{"use", name}};
    for (const auto& set : request.set) {
        const auto dot = set.find('.'), equals = set.find('=');
        const bool addressed = dot < equals && std::find(request.names.begin(), request.names.end(), set.substr(0, dot)) != request.names.end();
        if (addressed && set.substr(0, dot) != name) continue;
        const auto text = addressed ? set.substr(dot + 1) : set, source = "--set " + set;
        mistakes.remember(source, text);
        try {
            auto given = toml::parse(std::string_view(text), std::string_view(source));
            for (auto&& [key, node] : given) node.visit([&, &key = key](auto& value) { table.insert_or_assign(key, std::move(value)); });
        } catch (const toml::parse_error& error) {
            mistakes.add({source}, fmt::format("`--set {}` cannot be read: {}", set, error.description()), "write for example --set s=0.01");
        }
    }
    toml::table root;
    Reading reading{registry, mistakes, fs::current_path(), {&root}};
    const auto spec = read_plugin(reading, "schedule", &table, {});
    if (!spec) return {};
    try {
        return {name, std::static_pointer_cast<Schedule>(spec.make(reading, no_view()))->levels(request.steps)};
    } catch (const Error& error) {
        mistakes.add_plugin({}, error);
        return {};
    }
}

/// One column of the table: a heading and a value at each step.
struct Column {
    const char* heading;
    const char* key;
    double (*value)(const NoiseLevels&, std::int64_t);
};
constexpr Column columns[] = {
    {"β", "beta", [](const NoiseLevels& l, std::int64_t t) { return l.added_variance(t, t - 1); }},
    {"ᾱ", "alpha_bar", [](const NoiseLevels& l, std::int64_t t) { return l.alpha_bar(t); }},
    {"σ²", "sigma2", [](const NoiseLevels& l, std::int64_t t) { return l.sigma2(t); }},
    {"SNR", "snr", [](const NoiseLevels& l, std::int64_t t) { return l.snr(t); }},
    {"log SNR", "log_snr", [](const NoiseLevels& l, std::int64_t t) { return l.log_snr(t); }},
    {"β̃", "posterior_variance", [](const NoiseLevels& l, std::int64_t t) { return l.posterior_variance(t, t - 1); }},
};

void print_text(const std::vector<Shown>& schedules, std::int64_t rows) {
    for (const auto& [name, levels] : schedules) {
        const auto T = levels.steps(), n = rows == 0 ? T : std::min(rows, T);
        fmt::print("{}, T = {} (t counts from 0; β̃ is the variance of q(x_t−1 | x_t, x_0))\n", name, T);
        fmt::print("{:>7}", "t");
        for (const auto& column : columns) fmt::print("  {}", std::string(14 - padded("", 0).size() - std::min<std::size_t>(14, padded(column.heading, 0).size()), ' ') + column.heading);
        fmt::print("\n");
        for (std::int64_t i = 0; i < n; ++i) {
            const auto t = n > 1 ? i * (T - 1) / (n - 1) : 0;
            fmt::print("{:>7}", t);
            for (const auto& column : columns) fmt::print("  {:>14.8g}", column.value(levels, t));
            fmt::print("\n");
        }
        fmt::print("\n");
    }
}

void print_csv(const std::vector<Shown>& schedules) {
    fmt::print("schedule,t");
    for (const auto& column : columns) fmt::print(",{}", column.key);
    fmt::print("\n");
    for (const auto& [name, levels] : schedules)
        for (std::int64_t t = 0; t < levels.steps(); ++t) {
            fmt::print("{},{}", name, t);
            for (const auto& column : columns) fmt::print(",{}", column.value(levels, t));
            fmt::print("\n");
        }
}

void print_json(const std::vector<Shown>& schedules) {
    json all = json::array();
    for (const auto& [name, levels] : schedules) {
        json one{{"schedule", name}, {"steps", levels.steps()}};
        for (const auto& column : columns) {
            json values = json::array();
            for (std::int64_t t = 0; t < levels.steps(); ++t) {
                const double value = column.value(levels, t);
                values.push_back(std::isfinite(value) ? json(value) : json(nullptr));
            }
            one[column.key] = std::move(values);
        }
        all.push_back(std::move(one));
    }
    fmt::print("{}\n", all.dump());
}

void draw(const std::vector<Shown>& schedules, const fs::path& file) {
    Chart alpha_bar{.title = "signal left, ᾱ", .x_label = "t / T", .y_label = "ᾱ"}, log_snr{.title = "log SNR", .x_label = "t / T", .y_label = "log(α²/σ²)"},
        beta{.title = "noise added, β", .x_label = "t / T", .y_label = "β", .log_y = true};
    for (const auto& [name, levels] : schedules) {
        const auto T = levels.steps();
        const auto curve = [&, &name = name, &levels = levels](double (*value)(const NoiseLevels&, std::int64_t)) {
            Series series{.name = name};
            for (std::int64_t t = 0; t < T; t += std::max<std::int64_t>(1, T / 1000)) series.x.push_back(static_cast<double>(t + 1) / static_cast<double>(T)), series.y.push_back(value(levels, t));
            return series;
        };
        beta.series.push_back(curve(columns[0].value));
        alpha_bar.series.push_back(curve(columns[1].value));
        log_snr.series.push_back(curve(columns[4].value));
    }
    write_charts(file, {alpha_bar, log_snr, beta}, 3);
    fmt::print(stderr, "picture  {}\n", file.string());
}

}  // namespace

int run(RunRequest& request, bool resume) {
    if (resume && !request.resume) request.resume = "latest";
    return engine().run(request);
}

int check(const fs::path& file, const Overrides& overrides) { return engine().check(file, overrides); }

int sample(const SampleRequest& request) { return engine().sample(request); }

int plugins_list(const PluginsRequest& request) {
    const auto all = registry(request.folders);
    const auto kinds = all.kinds();
    if (!request.kind.empty() && std::find(kinds.begin(), kinds.end(), request.kind) == kinds.end()) {
        const auto near = nearest(request.kind, kinds);
        throw Error(fmt::format("there is no plugin of kind `{}`", request.kind), near.empty() ? fmt::format("there are {}", listed(kinds)) : fmt::format("did you mean `{}`?", near));
    }
    std::vector<PluginFile> shown;
    for (const auto& plugin : all.plugins())
        if (request.kind.empty() || plugin.kind == request.kind) shown.push_back(plugin);
    const auto probes = all.probe(shown);
    if (request.json) {
        json list = json::array();
        for (std::size_t i = 0; i < shown.size(); ++i) {
            json one{{"kind", shown[i].kind}, {"name", shown[i].name}, {"summary", probes[i].summary}, {"file", shown[i].file.string()},
                     {"interface", shown[i].interface_version}, {"default", shown[i].is_default}};
            if (!probes[i].problem.empty()) one["problem"] = probes[i].problem;
            list.push_back(std::move(one));
        }
        fmt::print("{}\n", list.dump(2));
        return done;
    }
    std::size_t kind_width = 0, name_width = 0;
    for (const auto& plugin : shown) kind_width = std::max(kind_width, plugin.kind.size()), name_width = std::max(name_width, plugin.name.size());
    for (std::size_t i = 0; i < shown.size(); ++i) {
        const auto& plugin = shown[i];
        const auto problem = probes[i].problem.substr(0, probes[i].problem.find('\n'));
        const auto text = !problem.empty() ? problem : probes[i].summary + (plugin.is_default ? " [default]" : "");
        fmt::print("{}  {}  {}\n", padded(plugin.kind, kind_width), padded(plugin.name, name_width), text);
        if (request.verbose) fmt::print("{}  {}\n", std::string(kind_width, ' '), plugin.file.string());
    }
    if (request.verbose) print_skipped(all);
    return done;
}

int plugins_describe(const PluginsRequest& request) {
    const auto all = registry(request.folders);
    json list = json::array();
    for (const auto& plugin : named(all, request.names)) {
        all.find(plugin.kind, plugin.name);  // says so where two files claim the name
        if (const auto probe = all.probe({plugin}).front(); !probe.problem.empty())
            throw PluginError(probe.problem, probe.help);
        const auto& descriptor = all.load(plugin);
        const auto fields = declared_fields(descriptor);
        if (request.json) {
            json one{{"kind", plugin.kind}, {"name", plugin.name}, {"summary", descriptor.summary}, {"file", plugin.file.string()}, {"build", descriptor.build}, {"fields", json::array()}};
            for (const auto& field : fields)
                one["fields"].push_back({{"key", field.key}, {"type", field.type}, {"default", field.default_value}, {"accepts", field.accepts}, {"doc", field.doc}});
            list.push_back(std::move(one));
            continue;
        }
        fmt::print("{} `{}`: {}\n", plugin.kind, plugin.name, descriptor.summary);
        std::size_t key_width = 0, value_width = 0, range_width = 0;
        const auto value = [](const DeclaredField& field) { return field.default_value.empty() ? std::string("(the default)") : field.default_value; };
        const auto range = [](const DeclaredField& field) { return field.accepts.empty() ? field.type : field.accepts; };
        for (const auto& field : fields) {
            key_width = std::max(key_width, field.key.size());
            value_width = std::max(value_width, std::min<std::size_t>(value(field).size(), 24));
            range_width = std::max(range_width, std::min<std::size_t>(range(field).size(), 24));
        }
        for (const auto& field : fields)
            fmt::print("  {} = {}  {}  {}\n", padded(field.key, key_width), padded(value(field), value_width), padded(range(field), range_width), field.doc);
        fmt::print("\n[{}]\nuse = \"{}\"\n\n{}\n{}\n\n", plugin.kind, plugin.name, plugin.file.string(), descriptor.build);
    }
    if (request.json) fmt::print("{}\n", list.dump(2));
    return done;
}

int plugins_path(const PluginsRequest& request) {
    for (const auto& folder : plugin_folders(request.folders)) fmt::print("{}{}\n", folder.string(), fs::is_directory(folder) ? "" : "  (not there)");
    return done;
}

int schedule_show(const ScheduleRequest& request) {
    const auto all = registry(request.folders);
    Mistakes mistakes;
    std::vector<Shown> schedules;
    for (const auto& name : request.names) schedules.push_back(shown(all, request, name, mistakes));
    if (!mistakes.empty()) {
        fmt::print(stderr, "{}", mistakes.text());
        return mistakes.exit_code();
    }
    if (request.format == "csv") print_csv(schedules);
    else if (request.format == "json") print_json(schedules);
    else print_text(schedules, request.rows);
    if (request.picture) draw(schedules, *request.picture);
    return done;
}

int doctor(const PluginsRequest& request) {
    fmt::print("dtk      {}\nbuild    {}\n{}", version(), torch_build_text(), engine().doctor());
    fmt::print("         CUDA has been compiled for and not yet run on a GPU by this project's tests\n");
    const auto all = registry(request.folders);
    const auto probes = all.probe(all.plugins());
    const auto broken = std::count_if(probes.begin(), probes.end(), [](const Probe& probe) { return !probe.problem.empty(); });
    fmt::print("plugins  {} found, {} cannot be used\n", all.plugins().size(), broken);
    for (std::size_t i = 0; i < probes.size(); ++i)
        if (!probes[i].problem.empty()) fmt::print("broken   {} `{}`: {}\n         {}\n", all.plugins()[i].kind, all.plugins()[i].name, probes[i].problem, all.plugins()[i].file.string());
    print_skipped(all);
    return done;
}

}  // namespace dtk::cli
