#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dtk/schedule.hpp>

#include "base/chart.hpp"
#include "cli/commands.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

struct Shown {
    std::string name;
    NoiseLevels levels;
    std::vector<double> weight = {};  ///< of an experiment, at t = 0 … T−1: how much its objective makes ‖Δε‖² count
};

/// Does the word name an experiment's file, or a stage in one?
bool is_experiment(const std::string& word) { return word.ends_with(".toml") || word.find(".toml:") != word.npos; }

/// The noise of an experiment and what its objective weighs it with. A --set that is not addressed to one of the names
/// is for all, where all are experiments.
Shown weighed(const ScheduleRequest& request, const std::string& name) {
    Overrides overrides;
    overrides.plugin_path = request.folders;
    const bool only = std::all_of(request.names.begin(), request.names.end(), is_experiment);
    const auto addressed = [&](const std::string& set) {
        return std::any_of(request.names.begin(), request.names.end(),
                           [&](const std::string& other) { return set.starts_with(other + "."); });
    };
    for (const auto& set : request.set)
        if (set.starts_with(name + "."))
            overrides.set.push_back(set.substr(name.size() + 1));
        else if (only && !addressed(set))
            overrides.set.push_back(set);
    auto found = engine().weighed_noise(name, overrides);
    return {name, std::move(found.levels), std::move(found.weight)};
}

/// Does the word name a run's folder, rather than a schedule?
bool is_folder(const Registry& registry, const std::string& word) {
    if (word.find('/') != word.npos) return true;
    const auto named = [&](const PluginFile& plugin) { return plugin.kind == "schedule" && plugin.name == word; };
    return fs::is_directory(word) && std::none_of(registry.plugins().begin(), registry.plugins().end(), named);
}

/// What the process of that run, or of that stage, was trained with.
Shown trained(const ScheduleRequest& request, const std::string& folder) {
    const auto own = [&](const std::string& set) { return request.names.size() == 1 || set.starts_with(folder + "."); };
    if (std::any_of(request.set.begin(), request.set.end(), own))
        throw UserError(fmt::format("{} is a run: nothing of its schedule can be set", folder),
                        "name the schedule itself to see it with other fields");
    if (!fs::exists(fs::path(folder) / "stage.toml")) {
        std::string stages;
        std::error_code error;
        for (const auto& entry : fs::directory_iterator(folder, error))
            if (!entry.is_symlink() && fs::exists(entry.path() / "stage.toml"))
                stages += (stages.empty() ? "" : ", ") + entry.path().string();
        throw UserError(
            fmt::format("{} is {}", folder,
                        fs::is_directory(folder) ? "not the folder of a run or of one of its stages" : "not there"),
            stages.empty() ? "name a schedule, or the folder of a run that has trained"
                           : "name one of these: " + stages);
    }
    if (!fs::exists(fs::path(folder) / "checkpoints"))
        throw UserError(fmt::format("{} has no trained network", folder),
                        "name its schedule; `dtk show` says which it is");
    return {folder, engine().levels(folder)};
}

/// The schedule of that name, with the fields that --set gives it.
Shown scheduled(const Registry& registry, const ScheduleRequest& request, const std::string& name,
                Diagnostics& mistakes) {
    toml::table table{{"use", name}};
    for (const auto& set : request.set) {
        if (std::any_of(request.names.begin(), request.names.end(),
                        [&](const std::string& other) { return is_experiment(other) && set.starts_with(other + "."); }))
            continue;
        const auto dot = set.find('.'), equals = set.find('=');
        const bool addressed = dot < equals && std::find(request.names.begin(), request.names.end(),
                                                         set.substr(0, dot)) != request.names.end();
        if (addressed && set.substr(0, dot) != name) continue;
        const auto text = addressed ? set.substr(dot + 1) : set, source = "--set " + set;
        mistakes.remember(source, text);
        try {
            auto given = toml::parse(std::string_view(text), std::string_view(source));
            for (auto&& [key, node] : given)
                node.visit([&, &key = key](auto& value) { table.insert_or_assign(key, std::move(value)); });
        } catch (const toml::parse_error& error) {
            mistakes.add({source}, fmt::format("`--set {}` cannot be read: {}", set, error.description()),
                         "write for example --set s=0.01");
        }
    }
    toml::table root;
    ParseContext reading{registry, mistakes, fs::current_path(), {&root}};
    const auto spec = read_plugin(reading, "schedule", &table, {});
    if (!spec) return {};
    try {
        return {name, std::static_pointer_cast<Schedule>(spec.make(no_context()))->levels(request.steps)};
    } catch (const Error& error) {
        mistakes.add_plugin({}, error);
        return {};
    }
}

/// Density of log-SNR at time t where u is uniform on (0, 1]: 1/|d log-SNR/du|; 0 where α or σ is 0.
double log_snr_density(const NoiseLevels& levels, std::int64_t t) {
    const auto [alpha_rate, sigma_rate] = levels.rates(static_cast<double>(t));
    const auto level = levels.at(static_cast<double>(t));
    if (level.alpha == 0 || level.sigma == 0) return 0;
    return 1 / (2 * std::abs(sigma_rate / level.sigma - alpha_rate / level.alpha));
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
    {"p(log SNR)", "log_snr_density", log_snr_density},
};

void print_text(const std::vector<Shown>& schedules, std::int64_t rows) {
    for (const auto& [name, levels, weight] : schedules) {
        const auto T = levels.steps(), n = rows == 0 ? T : std::min(rows, T);
        fmt::print("{}, T = {} (t counts from 0; β̃ is the variance of q(x_t−1 | x_t, x_0); p is of uniform times{})\n",
                   name, T,
                   weight.empty() ? "" : "; weight: what the squared error of ε counts for each unit of log SNR");
        fmt::print("{:>7}", "t");
        for (const auto& column : columns)
            fmt::print("  {}{}",
                       std::string(padded(column.heading, 14).size() - std::string(column.heading).size(), ' '),
                       column.heading);
        fmt::print("{}\n", weight.empty() ? "" : "          weight");
        for (std::int64_t i = 0; i < n; ++i) {
            const auto t = n > 1 ? i * (T - 1) / (n - 1) : 0;
            fmt::print("{:>7}", t);
            for (const auto& column : columns) fmt::print("  {:>14.8g}", column.value(levels, t));
            if (!weight.empty()) fmt::print("  {:>14.8g}", weight[static_cast<std::size_t>(t)]);
            fmt::print("\n");
        }
        fmt::print("\n");
    }
}

void print_csv(const std::vector<Shown>& schedules) {
    fmt::print("schedule,t");
    const bool weighs =
        std::any_of(schedules.begin(), schedules.end(), [](const Shown& one) { return !one.weight.empty(); });
    for (const auto& column : columns) fmt::print(",{}", column.key);
    fmt::print("{}\n", weighs ? ",weight" : "");
    for (const auto& [name, levels, weight] : schedules)
        for (std::int64_t t = 0; t < levels.steps(); ++t) {
            fmt::print("{},{}", name, t);
            for (const auto& column : columns) fmt::print(",{}", column.value(levels, t));
            if (weighs) fmt::print(",{}", weight.empty() ? "" : fmt::format("{}", weight[static_cast<std::size_t>(t)]));
            fmt::print("\n");
        }
}

void print_json(const std::vector<Shown>& schedules) {
    json all = json::array();
    for (const auto& [name, levels, weight] : schedules) {
        json one{{"schedule", name}, {"steps", levels.steps()}};
        for (const auto& column : columns) {
            json values = json::array();
            for (std::int64_t t = 0; t < levels.steps(); ++t) {
                const double value = column.value(levels, t);
                values.push_back(std::isfinite(value) ? json(value) : json(nullptr));
            }
            one[column.key] = std::move(values);
        }
        if (!weight.empty()) one["weight"] = weight;
        all.push_back(std::move(one));
    }
    fmt::print("{}\n", all.dump());
}

void draw(const std::vector<Shown>& schedules, const fs::path& file) {
    Chart alpha_bar{.title = "signal left, ᾱ", .x_label = "t / T", .y_label = "ᾱ"},
        log_snr{.title = "log SNR", .x_label = "t / T", .y_label = "log(α²/σ²)"},
        beta{.title = "noise added, β", .x_label = "t / T", .y_label = "β", .log_y = true},
        density{.title = "how often uniform times meet a log SNR", .x_label = "log(α²/σ²)", .y_label = "density"},
        effective{.title = "effective weight of the error of ε", .x_label = "log(α²/σ²)", .y_label = "weight"};
    const auto other_T = [&](const Shown& one) { return one.levels.steps() != schedules.front().levels.steps(); };
    const bool rates =
        std::any_of(schedules.begin(), schedules.end(), other_T);  // β of fewer steps is larger; β·T is not
    if (rates) beta.title = "rate of noise, β·T", beta.y_label = "β·T";
    for (const auto& [name, levels, weight] : schedules) {
        const auto T = levels.steps();
        const auto curve = [&, &name = name, &levels = levels](double (*value)(const NoiseLevels&, std::int64_t),
                                                               double factor = 1) {
            Series series{.name = name};
            for (std::int64_t t = 0; t < T; t += std::max<std::int64_t>(1, T / 1000))
                series.x.push_back(static_cast<double>(t + 1) / static_cast<double>(T)),
                    series.y.push_back(factor * value(levels, t));
            return series;
        };
        beta.series.push_back(curve(columns[0].value, rates ? static_cast<double>(T) : 1));
        alpha_bar.series.push_back(curve(columns[1].value));
        log_snr.series.push_back(curve(columns[4].value));
        auto met = curve(columns[6].value);
        met.x = log_snr.series.back().y;
        density.series.push_back(std::move(met));
        if (weight.empty()) continue;
        auto counted = log_snr.series.back();
        counted.x = counted.y;
        for (std::size_t i = 0; i < counted.y.size(); ++i)
            counted.y[i] =
                weight[static_cast<std::size_t>(std::llround(log_snr.series.back().x[i] * static_cast<double>(T))) - 1];
        effective.series.push_back(std::move(counted));
    }
    std::vector<Chart> charts{alpha_bar, log_snr, beta, density};
    if (!effective.series.empty()) charts.push_back(effective);
    write_charts(file, charts, 2);
    fmt::print(stderr, "picture  {}\n", file.string());
}

}  // namespace

int schedule_show(const ScheduleRequest& request) {
    const Registry all(plugin_folders(request.folders));
    Diagnostics mistakes;
    std::vector<Shown> schedules;
    for (const auto& name : request.names)
        schedules.push_back(is_experiment(name)    ? weighed(request, name)
                            : is_folder(all, name) ? trained(request, name)
                                                   : scheduled(all, request, name, mistakes));
    if (!mistakes.empty()) return complain(mistakes);
    if (request.format == "csv")
        print_csv(schedules);
    else if (request.format == "json")
        print_json(schedules);
    else
        print_text(schedules, request.rows);
    if (request.picture) draw(schedules, *request.picture);
    return done;
}

}  // namespace dtk::cli
