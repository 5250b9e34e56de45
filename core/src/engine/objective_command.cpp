// dtk schedule equivalent, and the weights that dtk schedule show draws: what experiments minimise, beside one another.
#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/engine.hpp"
#include "base/toml.hpp"
#include "engine/artefacts.hpp"
#include "engine/commands.hpp"
#include "engine/objective.hpp"
#include "engine/say.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t compared_levels = 400;  // noise levels that two objectives are compared at

/// A stage of an experiment that is looked at and not run.
struct Looked {
    std::shared_ptr<Loaded> loaded = std::make_shared<Loaded>();
    std::shared_ptr<Stage> stage = {};
    std::string name = {};
};

/// "FILE", "FILE:STAGE", or the folder of a run or of one of its stages. What is wrong with the file is in
/// `loaded->mistakes`.
Looked looked(const std::string& word, const Overrides& overrides) {
    Looked one{.name = word};
    fs::path file = word;
    std::string wanted;
    if (const auto colon = word.rfind(':'); colon != word.npos && !fs::exists(file)) {
        file = word.substr(0, colon);
        wanted = word.substr(colon + 1);
    }
    if (fs::is_directory(file)) {
        if (!fs::exists(file / "stage.toml"))
            throw UserError(fmt::format("{} is not the folder of a run or of one of its stages", word),
                            "name the folder that holds stage.toml, or an experiment file");
        file /= "stage.toml";
    }
    read(*one.loaded, file, overrides);
    std::map<std::string, std::shared_ptr<Stage>> stages;
    if (!one.loaded->experiment.stages.empty()) stages = check_stages(*one.loaded, false);
    if (!one.loaded->mistakes.empty()) return one;
    std::vector<std::string> names;
    for (const auto& spec : one.loaded->experiment.stages)
        if (spec.train && (wanted.empty() || spec.name == wanted)) names.push_back(spec.name);
    if (names.empty())
        throw UserError(wanted.empty() ? fmt::format("{} trains nothing", word)
                                       : fmt::format("{} has no stage `{}` that trains", file.string(), wanted));
    if (names.size() > 1)
        throw UserError(fmt::format("{} trains {} stages", word, names.size()),
                        fmt::format("name one of them: {}", fmt::join(
                                                                [&] {
                                                                    for (auto& name : names)
                                                                        name = file.string() + ":" + name;
                                                                    return names;
                                                                }(),
                                                                ", ")));
    one.stage = stages.at(names.front());
    return one;
}

/// What its objective is made of, field by field.
std::map<std::string, std::string> made_of(const Stage& stage) {
    std::map<std::string, std::string> fields;
    const std::function<void(const std::string&, const toml::node&)> add = [&](const std::string& path,
                                                                               const toml::node& node) {
        if (const auto* table = node.as_table())
            for (auto&& [key, value] : *table) add(path + "." + std::string(key.str()), value);
        else
            fields[path] = toml_value(node);
    };
    for (const auto* kind : {"dataset", "process", "loss", "times", "weighting"})
        add(kind, stage.spec().part(kind).resolved);
    if (const auto* prediction = stage.spec().part("model").resolved.get("prediction"))
        add("model.prediction", *prediction);
    return fields;
}

void say_differences(const Stage& a, const Stage& b) {
    const auto of_a = made_of(a), of_b = made_of(b);
    std::set<std::string> keys;
    for (const auto* fields : {&of_a, &of_b})
        for (const auto& [key, value] : *fields) keys.insert(key);
    const auto value = [](const auto& fields, const std::string& key) {
        const auto found = fields.find(key);
        return found == fields.end() ? std::string("–") : found->second;
    };
    for (const auto& key : keys)
        if (value(of_a, key) != value(of_b, key))
            say(fmt::format("  {:<24} {:<24} {}", key, value(of_a, key), value(of_b, key)));
}

/// How much of the weight lies where the other has noise as well.
double share_within(const Tensor& weight, const Tensor& both) {
    return (weight * both).sum().item<double>() / weight.sum().item<double>();
}

int compare_objectives(const Looked& a, const Looked& b) {
    const ObjectiveByNoise first(*a.stage), second(*b.stage);
    const auto [low_a, high_a] = first.range();
    const auto [low_b, high_b] = second.range();
    say(fmt::format("A  {}\nB  {}", a.name, b.name));
    say_differences(*a.stage, *b.stage);
    if (toml_value(a.stage->spec().part("dataset").resolved) != toml_value(b.stage->spec().part("dataset").resolved)) {
        say("\nnot the same objective: the data differ");
        return failed;
    }

    // The weights beside one another, where either has noise.
    const auto wide = at::linspace(std::min(low_a, low_b), std::max(high_a, high_b), compared_levels, at::kDouble);
    const auto weight_a = first.weight(wide), weight_b = second.weight(wide);
    const auto both = ((weight_a > 0).logical_and(weight_b > 0)).to(at::kDouble);
    if (both.sum().item<double>() == 0) {
        say("\nnot the same objective: no noise level counts in both");
        return failed;
    }
    const double least = std::max(low_a, low_b), most = std::min(high_a, high_b);
    const auto common = at::linspace(least, most, compared_levels, at::kDouble);
    const auto of_both = [&](const Tensor& x, const Tensor& y) { return (x > 0).logical_and(y > 0); };

    // The losses themselves, example by example: what is the same objective has one factor between them.
    double factor = 0, apart = 0;
    std::string where;
    const auto hold = [&](const Tensor& x, const Tensor& y, const std::string& of) {
        const auto seen = of_both(x, y);
        const auto ratio = (y / x).masked_select(seen);
        if (factor == 0) factor = ratio.median().item<double>();
        const auto off = (ratio / factor - 1).abs();
        const double worst = off.max().item<double>();
        if (worst > apart) {
            apart = worst;
            where = of;
        }
        return ratio / factor;
    };
    const auto ratios = hold(first.weight(common), second.weight(common), "weight");
    const double by_weight = apart;
    for (const double off : {0.01, 10.0})
        hold(first.weight(common, off), second.weight(common, off), "size of the error");
    hold(first.losses(common), second.losses(common), "examples");

    constexpr double alike = 1e-7;  // rounding, where log-SNR is large
    const double inside_a = share_within(weight_a, both), inside_b = share_within(weight_b, both);
    const bool whole = inside_a > 1 - 1e-12 && inside_b > 1 - 1e-12;
    const auto range = fmt::format("log-SNR {:.4g} … {:.4g}", least, most);
    if (apart < alike && whole) {
        say(fmt::format("\nthe same objective: B is {:.6g} times A ({}, {} losses apart by {:.1e} at most)", factor,
                        range, compared_levels, apart));
        return done;
    }
    if (apart < alike) {
        say(fmt::format(
            "\nthe same objective where both have noise, {}: B is {:.6g} times A. Beyond it A has {:.3g} % and "
            "B {:.3g} % of the weight",
            range, factor, 100 * (1 - inside_a), 100 * (1 - inside_b)));
        return failed;
    }
    if (by_weight < alike) {
        say(fmt::format(
            "\nnot the same objective, though each noise level has the same weight: the losses differ in the {}",
            where == "examples" ? "pairs of data and noise, or in how they are drawn"
                                : "size of an error, which one of them does not square"));
        return failed;
    }
    const auto lowest = ratios.argmin().item<std::int64_t>(), highest = ratios.argmax().item<std::int64_t>();
    const auto at_both = common.masked_select(of_both(first.weight(common), second.weight(common)));
    say(fmt::format(
        "\nnot the same objective ({}): beside a common factor, B gives log-SNR {:.3g} {:.3g} times the weight "
        "that A gives it, and log-SNR {:.3g} {:.3g} times",
        range, at_both[lowest].item<double>(), ratios[lowest].item<double>(), at_both[highest].item<double>(),
        ratios[highest].item<double>()));
    return failed;
}

}  // namespace

int compare_objectives(const EquivalenceRequest& request) {
    return guarded([&] {
        std::vector<Looked> both;
        for (const auto& [word, set] : {std::pair(request.a, request.set_a), std::pair(request.b, request.set_b)}) {
            Overrides overrides;
            overrides.set = request.set;
            overrides.plugin_path = request.folders;
            overrides.set.insert(overrides.set.end(), set.begin(), set.end());
            both.push_back(looked(word, overrides));
            if (const auto& mistakes = both.back().loaded->mistakes; !mistakes.empty()) return report(mistakes);
        }
        for (auto& [one, set] : {std::pair(&both[0], request.set_a), std::pair(&both[1], request.set_b)})
            for (const auto& word : set) one->name += " " + word;
        return compare_objectives(both[0], both[1]);
    });
}

WeighedNoise weighed_noise(const std::string& word, const Overrides& overrides) {
    const auto one = looked(word, overrides);
    if (!one.loaded->mistakes.empty()) throw UserError(word + " is not in order:\n" + one.loaded->mistakes.text());
    const ObjectiveByNoise objective(*one.stage);
    const auto& levels = objective.levels();
    std::vector<double> log_snr, weight;
    for (std::int64_t t = 0; t < levels.steps(); ++t) log_snr.push_back(levels.log_snr(static_cast<double>(t)));
    for (std::size_t first = 0; first < log_snr.size(); first += compared_levels) {
        const auto last = std::min<std::size_t>(first + compared_levels, log_snr.size());
        const auto some = at::tensor(std::vector<double>(log_snr.begin() + first, log_snr.begin() + last), at::kDouble);
        const auto found = objective.weight(some);
        for (std::int64_t i = 0; i < found.size(0); ++i) weight.push_back(found[i].item<double>());
    }
    return {levels, weight};
}

}  // namespace dtk
