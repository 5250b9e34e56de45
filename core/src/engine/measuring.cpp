#include "engine/measuring.hpp"

#include <algorithm>
#include <map>
#include <set>

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <fmt/format.h>

#include "base/build.hpp"
#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/stop.hpp"
#include "engine/remembering.hpp"
#include "engine/sampling.hpp"
#include "engine/say.hpp"
#include "engine/start.hpp"

namespace dtk {

using json = nlohmann::json;

namespace {
/// The plugins that fields of a table name, however deep.
void add_named(const toml::node& node, std::set<std::string>& names) {
    if (const auto* table = node.as_table())
        for (auto&& [key, value] : *table) {
            if (key.str() == "use" && value.is_string()) names.insert(**value.as_string());
            add_named(value, names);
        }
    if (const auto* list = node.as_array())
        for (const auto& one : *list) add_named(one, names);
}

/// All that numbers of a metric may depend on that are of no sample and no network that is measured.
std::string about(const Stage& stage, const PluginSpec& metric, at::Device device) {
    json all{{"dtk", sha256_of_dtk()},
             {"torch", torch_build_text()},
             {"instructions", at::get_cpu_capability()},
             {"threads", at::get_num_threads()},
             {"device", device.str()},
             {"seed", stage.seed()},
             {"metric seed", stage.random("metric").seed()},
             {"data", stage.dataset().fingerprint()}};
    std::set<std::string> named;
    const auto add = [&](const PluginSpec& spec) {
        if (!spec) return;
        all["plugins"].push_back({spec.kind, toml_value(spec.resolved), sha256_of_file(spec.file->file)});
        add_named(spec.resolved, named);
    };
    for (const char* kind : {"dataset", "codec", "observation"}) add(stage.spec().part(kind));
    add(metric);
    std::set<std::string> nested;
    for (const auto* one : stage.spec().reading->chosen)
        if (named.contains(one->name)) nested.insert(sha256_of_file(one->file));
    all["nested"] = nested;
    for (const auto& [reference, network] : stage.trained_networks()) all["networks"].push_back(network.sha256);
    return all.dump();
}

void print_result(const std::string& name, const MetricResult& m) {
    const auto passes = m.passes();
    say(fmt::format("{:<22}{:>12.6g}  {:>24}   {}{}", name, m.value,
                    m.expected             ? fmt::format("{:.6g} ± {:<6.2g}", *m.expected, m.expected_sd)
                    : m.standard_error > 0 ? fmt::format("(± {:.2g})", m.standard_error)
                                           : "",
                    !passes   ? ""
                    : *passes ? "as true samples"
                              : "off",
                    m.note.empty() ? "" : "  (" + m.note + ")"));
    for (const auto& [part, value] : m.parts) say(fmt::format("  {:<20}{:>12.6g}", part, value));
}

json record_of(const PluginSpec& spec, const MetricResult& m) {
    json record{{"metric", spec.label},          {"plugin", spec.name},
                {"value", json_number(m.value)}, {"better", std::string(name_of(m.card.better))},
                {"unit", m.card.unit},           {"note", m.note}};
    if (m.standard_error > 0) record["standard_error"] = json_number(m.standard_error);
    if (m.expected) record["expected"] = json_number(*m.expected);
    if (m.expected) record["expected_sd"] = json_number(m.expected_sd);
    if (const auto passes = m.passes()) record["passes"] = *passes;
    for (const auto& [part, value] : m.parts) record["parts"][part] = json_number(value);
    return record;
}

/// Under what conditions the number was found: numbers with different cards do not compare.
json card_of(const Stage& stage, const PluginSpec& spec, const MetricResult& m) {
    const auto& settings = stage.spec().sample;
    const auto& averages = stage.spec().list("average");
    const auto average = settings && !settings->average.empty() ? settings->average
                         : averages.empty()                     ? std::string("none")
                                                                : averages.front().label;
    std::string guidance;
    for (const auto& one : stage.spec().list("guidance")) guidance += toml_value(one.resolved);
    json card{{"n", m.n},
              {"average", average},
              {"clip", (!settings || settings->clip) && stage.space().range.has_value()},
              {"guidance", guidance}};
    if (const auto& seen = stage.spec().part("observation")) card["observation"] = toml_value(seen.resolved);
    if (settings && settings->starts_from_file()) card["start"] = settings->start;
    if (settings && settings->renoise > 0) card["renoise"] = settings->renoise;
    if (!m.split.empty()) card["split"] = m.split;
    if (!m.features.empty()) card["features"] = m.features;
    if (const auto data = stage.dataset().fingerprint(); !data.empty()) card["data"] = data;
    for (auto&& [key, value] : spec.resolved)
        if (key.str() != "use" && key.str() != "name") card["fields"][std::string(key.str())] = toml_value(value);
    return card;
}

/// Of a metric that needs data which are not there.
json left_out(const PluginSpec& spec, const std::string& why) {
    const auto note = "left out: " + why;
    say(fmt::format("{:<22}{}", spec.label, note));
    return {{"metric", spec.label}, {"plugin", spec.name}, {"value", nullptr}, {"note", note}};
}
}  // namespace

json measure(const Stage& stage, const Tensor& samples, const Tensor& start, const json& drawn, at::Device device,
             Progress::Mode progress_mode) {
    json all = json::array();
    const auto& settings = stage.spec().sample;
    DenoiserOptions asked;
    if (!settings || settings->clip) asked.clip = stage.space().range;
    const auto network = stage.denoiser(asked);
    const auto denoise = network.replaced([&](const Tensor& x, const Time& t, const Condition& condition) {
        end_if_asked("while the run was measured");
        return network(x, t, condition);
    });
    EvaluationInput input{samples, stage.dataset(), stage.process(), denoise, device, start};
    if (stage.part<Codec>()) input.latents = &stage.chain_data();
    input.observation = stage.part<Observation>().get();
    if (settings && stage.part<Sampler>()) input.start_time = sampled_times(stage, *settings).front();
    if (settings && samples.defined()) {
        input.captions = captions_asked(stage, *settings, 0, samples.size(0));
        if (stage.looks_at_classes()) input.labels = labels_asked(stage, *settings, 0, samples.size(0));
    }
    const auto metrics = stage.list<Metric>();
    say(fmt::format("\n{:<22}{:>12}  {:>24}   {}", "metric", "value", "true samples ± sd", "verdict"));
    for (std::size_t i = 0; i < metrics.size(); ++i) {
        end_if_asked("while the run was measured");
        const auto& spec = stage.spec().list("metric")[i];
        std::optional<Progress> progress;
        input.progress = [&](std::int64_t done, std::int64_t of) {
            if (!progress) progress.emplace(spec.label, of, Progress::Settings{.mode = progress_mode, .start = done});
            progress->at(done);
            end_if_asked("while the run was measured");
        };
        // By the plugin and not by its own name: the same metric asks the same way under any.
        MetricResult m;
        const Remembering remembering(about(stage, spec, device));
        try {
            m = metrics[i]->evaluate(input, stage.random("metric").stream(spec.name));
        } catch (const Interrupted&) {
            throw;
        } catch (const Error& error) {
            if (stage.missing_data().empty()) throw;
            all.push_back(left_out(spec, error.what()));
            continue;
        }
        if (progress) progress->finish();
        print_result(spec.label, m);
        all.push_back(record_of(spec, m));
        auto& card = all.back()["card"] = card_of(stage, spec, m);
        if (samples.defined()) card["evaluations"] = drawn["network_evaluations"];
    }
    return all;
}

void say_beside(const Experiment& experiment, const json& result) {
    std::vector<std::string> stages, metrics;
    std::map<std::string, std::map<std::string, const json*>> found;  // by metric and stage
    for (const auto& spec : experiment.stages) {
        if (!result.contains(spec.name) || !result[spec.name].contains("metrics")) continue;
        for (const auto& one : result[spec.name]["metrics"]) {
            const auto name = one["metric"].get<std::string>();
            if (!found.contains(name)) metrics.push_back(name);
            found[name][spec.name] = &one;
        }
        stages.push_back(spec.name);
    }
    if (stages.size() < 2) return;
    const auto line = [&](const std::string& name, const auto& cell, const std::string& last) {
        std::string text = fmt::format("{:<22}", name);
        for (const auto& stage : stages)
            text += fmt::format("{:>{}}", cell(stage), std::max<std::size_t>(stage.size(), 12) + 2);
        return text + last;
    };
    say("\n" + line(
                   "beside one another", [](const std::string& stage) { return stage; }, "   true samples ± sd"));
    for (const auto& metric : metrics) {
        const auto& of = found[metric];
        const auto& any = *of.begin()->second;
        const auto expected =
            any.contains("expected") && any["expected"].is_number()
                ? fmt::format("   {:.4g} ± {:.2g}", any["expected"].get<double>(), any["expected_sd"].get<double>())
                : std::string();
        const auto value = [&](const std::string& stage) {
            const auto one = of.find(stage);
            if (one == of.end()) return std::string("–");
            const auto& number = (*one->second)["value"];
            return number.is_number() ? fmt::format("{:.5g}", number.get<double>()) : number.dump();
        };
        say(line(metric, value, expected));
    }
    say(line(
        "evaluations",
        [&](const std::string& stage) {
            const json& one = result[stage];
            return one.contains("network_evaluations") ? fmt::format("{:g}", one["network_evaluations"].get<double>())
                                                       : "–";
        },
        ""));
}

}  // namespace dtk
