// Reads [ablation]: the seeds and what they vary, what counts, what is tuned and searched.
#include "study/ablation.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <set>

#include <fmt/format.h>

#include "base/stream_seeds.hpp"
#include "base/toml.hpp"
#include "base/words.hpp"

namespace dtk {

void AblationSettings::fields(Fields& f) {
    f("question", question, "what the study is to answer, for its report");
    f("baseline", baseline, "the arm that the others are compared with; otherwise the first");
    if (seeds_are_a_list) f("seeds", seeds, at_least(0), "every arm runs with each of them");
    f("vary", vary,
      "the random streams of training that follow its seed, of init, data, noise and times; all else, sampling "
      "too, keeps the experiment's seed. Empty: everything follows it");
    f("one_at_a_time", one_at_a_time,
      "train with each stream of `vary` varied alone, too, so that the scatter is split by stream");
    f("metrics", metrics, "those that count, the first above all; otherwise all of the experiment's");
    f("first", first,
      "experiments that train what all arms stand on, each run once; fields name their networks by the "
      "experiments' names");
    f("level", level, inside(0, 1), "of the intervals");
    f("compare", compare, {"baseline", "pairs"}, "with the baseline, or every arm with every other");
    f("confirm", confirm, {"first", "all"},
      "the metrics whose comparisons hold together: the first, the others being exploratory, or all");
    f("smallest", smallest, "the least difference that matters: \"1%\" of the baseline's mean, or \"0.02\"");
    f("until", until, {"all", "decided"},
      "run the seeds that are given, or add more until the first metric's comparisons are decided");
    f("search", search, {"all", "halving"},
      "train every arm as long, or of many arms few for long and hold the best against the baseline");
    f("rungs", rungs, in(2, 12), "with search = \"halving\": how often arms are left out");
    f("eta", eta, in(2, 16), "with it: each rung keeps one arm in eta, and trains them eta times as long");
    f("fresh", fresh, at_least(0), "with it: the seeds of the trainings that confirm what the search found");
    f("limit", limit, in(2, 1000), "with until = \"decided\": the most seeds");
}

namespace {

struct TuneSettings {
    Tuning tuning;
    void fields(Fields& f) {
        f("key", tuning.key, "what every arm chooses for each of its trainings, such as guidance.0.scale");
        f("metric", tuning.metric, "what it chooses by; otherwise the study's first");
        f("seed", tuning.seed, at_least(0),
          "of the samples that choose, which must be none of those that are reported");
    }
};

/// Reads [ablation.tune]; nothing where there is none, or where it is mistaken. places: where the values stand.
std::optional<Tuning> read_tuning(ParseContext& reading, const toml::table& ablation, const toml::table& root,
                                  const std::vector<Axis>& axes, std::vector<SourceLocation>& places) {
    const auto* node = ablation.get("tune");
    if (!node) return std::nullopt;
    auto& mistakes = reading.mistakes;
    const auto before = mistakes.count();
    const auto* table = node->as_table();
    constexpr auto example =
        "write for example\n    [ablation.tune]\n    key = \"sampler.eta\"\n    values = [0, 0.5, 1]";
    if (!table) {
        mistakes.add(place_of(*node), "`tune` must be a table, [ablation.tune]", example);
        return std::nullopt;
    }
    TuneSettings settings;
    TomlFields reader(reading, table, "[ablation.tune]");
    settings.fields(reader);
    reader.finish({"values"});
    auto& tuning = settings.tuning;
    const auto* values = table->get_as<toml::array>("values");
    for (std::size_t i = 0; values && i < values->size(); ++i) {
        tuning.values.push_back(toml_value(*values->get(i)));
        places.push_back(place_of(*values->get(i)));
    }
    if (tuning.key.empty()) mistakes.add(place_of(*table), "[ablation.tune] needs a `key`", example);
    if (std::set(tuning.values.begin(), tuning.values.end()).size() != tuning.values.size() || tuning.values.size() < 2)
        mistakes.add(place_of(*table), "[ablation.tune] needs two different `values` at least", example);
    for (const auto& axis : axes)
        if (std::find(axis.keys.begin(), axis.keys.end(), tuning.key) != axis.keys.end())
            mistakes.add(
                place_of(*table->get("key")),
                fmt::format("an axis gives `{}` its values already, and what arms differ in is not chosen", tuning.key),
                "tune another key, or take the axis away");
    if (root.contains("stage") || !root.contains("sample"))
        mistakes.add(place_of(*table), "tuning is for an experiment of one stage that has [sample]: samples choose",
                     "take [ablation.tune] away, or add [sample]");
    return mistakes.count() > before ? std::nullopt : std::optional(std::move(tuning));
}

/// The search that [ablation] asks for; nothing where it asks for none, or is mistaken.
std::optional<Search> read_search(const AblationSettings& settings, const toml::table& table, const toml::table& root,
                                  const std::vector<Axis>& axes, const Growth& growth, Diagnostics& mistakes) {
    if (settings.search == "all") {
        if (!settings.fresh.empty())
            mistakes.add(place_of(*table.get("fresh")), "`fresh` seeds confirm what a search found, and there is none",
                         "add search = \"halving\", or write the seeds in `seeds`");
        return std::nullopt;
    }
    const auto before = mistakes.count();
    const auto place = place_of(*table.get("search"));
    const auto steps = root["train"]["steps"].value<std::int64_t>();
    Search search{.rungs = static_cast<std::size_t>(settings.rungs),
                  .eta = static_cast<std::size_t>(settings.eta),
                  .seeds = settings.seeds,
                  .fresh = settings.fresh,
                  .arms = {},
                  .steps = steps.value_or(0),
                  .done = growth.rungs};
    if (root.contains("stage") || !steps)
        mistakes.add(place, "a search by halving is for an experiment of one stage that says `steps` in [train]");
    else if (search.steps_of(0) < 1)
        mistakes.add(place, fmt::format("{} rungs leave the first one no step of {}", search.rungs, *steps),
                     "take fewer `rungs`, or a smaller `eta`");
    for (const auto& axis : axes)
        if (std::find(axis.keys.begin(), axis.keys.end(), "train.steps") != axis.keys.end())
            mistakes.add(place, "an axis gives `train.steps` its values, and the rungs of a search do so, too",
                         "take the axis away");
    if (settings.fresh.empty())
        mistakes.add(place, "nothing confirms what the search finds",
                     "name seeds that had no part in it, such as fresh = [100, 101, 102, 103, 104]");
    for (const auto seed : settings.fresh)
        if (std::find(settings.seeds.begin(), settings.seeds.end(), seed) != settings.seeds.end())
            mistakes.add(
                place_of(*table.get("fresh")),
                fmt::format("the winner would be confirmed with the seed {}, which had a part in choosing it", seed),
                "`fresh` and `seeds` have none in common");
    if (table.contains("tune"))
        mistakes.add(place, "[ablation.tune] and search = \"halving\" both choose among trainings",
                     "take one of them; what is to be tuned may be an axis of the search");
    return mistakes.count() > before ? std::nullopt : std::optional(std::move(search));
}

/// `vary` names streams of training, each once.
void check_vary(const AblationSettings& settings, const toml::table& root, const toml::table& table,
                Diagnostics& mistakes) {
    const auto place = [&](const char* key) { return place_of(*table.get(key)); };
    const std::vector<std::string> known(std::begin(streams_of_training), std::end(streams_of_training));
    for (const auto& one : settings.vary)
        if (std::find(known.begin(), known.end(), one) == known.end())
            mistakes.add(place("vary"), fmt::format("`{}` is no random stream of training", one),
                         did_you_mean(one, known, fmt::format("there are {}", listed(known))));
    if (std::set(settings.vary.begin(), settings.vary.end()).size() != settings.vary.size())
        mistakes.add(place("vary"), "a stream stands in `vary` twice");
    if (!settings.vary.empty() && !root.contains("train") && !root.contains("stage"))
        mistakes.add(place("vary"), "`vary` names streams of training, and nothing is trained",
                     "leave it out, or add [train]");
    if (settings.one_at_a_time && (settings.vary.size() < 2 || settings.seeds.size() < 2))
        mistakes.add(place("one_at_a_time"), "one stream at a time takes two streams in `vary` and two seeds at least",
                     "write for example vary = [\"init\", \"data\", \"noise\", \"times\"]");
}

/// Reads `seeds` where it is a table: of trainings, and of what is drawn.
void read_seeds(ParseContext& reading, const toml::table& seeds, const toml::table& root, AblationSettings& settings) {
    TomlFields two_axes(reading, &seeds, "`seeds`");
    two_axes("train", settings.seeds, at_least(0), "every arm is trained with each of them");
    two_axes("sample", settings.sample_seeds, at_least(0), "every training is drawn from with each of them");
    two_axes.finish();
    if (!settings.sample_seeds.empty() && (root.contains("stage") || !root.contains("sample")))
        reading.mistakes.add(place_of(seeds.source()),
                             "sampling seeds are for an experiment of one stage that has [sample]",
                             "leave `sample` out of `seeds`, or write [sample] at the top of the file");
}

/// There are seeds, each once, and no more than the study may come to.
void check_seeds(const AblationSettings& settings, const toml::table& table, Diagnostics& mistakes) {
    if (settings.seeds.empty())
        mistakes.add(place_of(table.source()), "`seeds` is empty",
                     "give one at least, five for intervals that say something");
    for (const auto* list : {&settings.seeds, &settings.sample_seeds})
        if (std::set(list->begin(), list->end()).size() != list->size())
            mistakes.add(place_of(table.source()), "a seed stands in `seeds` twice");
    if (settings.until == "decided" && static_cast<std::int64_t>(settings.seeds.size()) > settings.limit)
        mistakes.add(
            place_of(table.source()),
            fmt::format("there are {} seeds to begin with, and `limit` is {}", settings.seeds.size(), settings.limit),
            "raise `limit`");
}

}  // namespace

std::optional<Smallest> read_smallest(const std::string& text) {
    const bool relative = text.ends_with('%');
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (!std::isfinite(value) || !(value > 0) || std::string_view(end) != (relative ? "%" : "")) return std::nullopt;
    return Smallest{relative ? value / 100 : value, relative};
}

std::optional<Ablation> read_ablation(ParseContext& reading, const toml::table& root, const toml::table& table,
                                      const Growth& growth) {
    auto& mistakes = reading.mistakes;
    Ablation ablation;
    auto& settings = ablation.settings;
    const auto* two = table.get_as<toml::table>("seeds");
    settings.seeds_are_a_list = !two;
    TomlFields reader(reading, &table, "[ablation]");
    settings.fields(reader);
    reader.finish({"axis", "exclude", "seeds", "tune"});
    if (two) read_seeds(reading, *two, root, settings);
    const auto smallest = settings.smallest.empty() ? std::optional(Smallest{}) : read_smallest(settings.smallest);
    if (!smallest)
        mistakes.add(place_of(table.get("smallest")->source()),
                     fmt::format("`smallest` = \"{}\" is neither a share nor a number above 0", settings.smallest),
                     "write for example smallest = \"1%\" (of the baseline's mean), or smallest = \"0.02\"");
    auto axes = read_axes(table, mistakes);
    if (axes) check_exclusions(table.get_as<toml::array>("exclude"), *axes, mistakes);
    check_seeds(settings, table, mistakes);
    check_vary(settings, root, table, mistakes);
    const bool can_go_on = axes && !settings.seeds.empty() && smallest;
    if (axes) ablation.axes = std::move(*axes);
    ablation.tune = read_tuning(reading, table, root, ablation.axes, ablation.tuned_at);
    ablation.search = read_search(settings, table, root, ablation.axes, growth, mistakes);
    if (!can_go_on) return std::nullopt;
    ablation.smallest = *smallest;
    return ablation;
}

}  // namespace dtk
