// What a study's comparisons say, in words.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/words.hpp"
#include "study/results.hpp"

namespace dtk {

using State = CellScore::State;

namespace {

std::string interval_or_none(const std::optional<Interval>& interval) {
    return interval ? fmt::format("[{:.4g}, {:.4g}]", interval->first, interval->second) : std::string("none");
}

/// All of them, or how many, where a sentence cannot hold them.
std::string named(const Study& study, const std::vector<std::size_t>& arms) {
    if (arms.size() > 3) return fmt::format("{} arms", arms.size());
    std::vector<std::string> names;
    for (const auto arm : arms) names.push_back(study.arms[arm].name);
    return listed(names);
}

const char* are(const std::vector<std::size_t>& arms) { return arms.size() > 1 ? "are" : "is"; }

/// "0.2 (simultaneous 95 % interval 0.1 … 0.3)", the sizes of a difference whose sign the sentence says.
std::string size_text(const Study& study, const Difference& d) {
    const auto size = fmt::format("{:.3g}", std::abs(d.estimate.mean));
    if (d.exact) return size + ", the same with every seed";
    if (!d.simultaneous) return size;
    const auto [low, high] = *d.simultaneous;
    const bool negative = d.estimate.mean < 0;
    return fmt::format("{} (simultaneous {:g} % interval {:.3g} … {:.3g})", size, 100 * study.level,
                       negative ? -high : low, negative ? -low : high);
}

/// "infinite in 6 of 8 seeds", of an arm with cells that have no number.
std::string without_number(const Score& score) {
    std::vector<std::string> parts;
    const auto ended = score.cells.size() - score.count(State::to_do);
    for (const auto& [state, what] : {std::pair{State::infinite, "infinite"}, std::pair{State::undefined, "undefined"},
                                      std::pair{State::failed, "failed"}})
        if (const auto n = score.count(state); n > 0) parts.push_back(fmt::format("{} in {} of {}", what, n, ended));
    return listed(parts);
}

/// Cells without a number, of either of the two.
std::string without_number(const Study& study, const MetricResults& metric, std::size_t first, std::size_t second) {
    std::string text;
    for (const auto arm : {second, first})
        if (const auto said = without_number(metric.arms[arm]); !said.empty())
            text += fmt::format("{}{} is {}", text.empty() ? "" : ", ", study.arms[arm].name, said);
    return text;
}

/// "cosine is worse than linear by 0.2 (simultaneous 95 % interval 0.1 … 0.3)".
std::string decided(const Study& study, const MetricResults& metric, const std::vector<std::size_t>& arms,
                    const char* what) {
    const auto text =
        fmt::format("{} {} {} than {}", named(study, arms), are(arms), what, study.arms[study.baseline].name);
    if (arms.size() > 1) return text;
    const auto& d = metric.arms[arms.front()].difference;
    if (std::isfinite(d.estimate.mean)) return fmt::format("{} by {}", text, size_text(study, d));
    return fmt::format("{} ({}{})", text, without_number(study, metric, study.baseline, arms.front()),
                       d.p_holm ? fmt::format("; signed-rank p = {:.2g}", *d.p_holm) : "");
}

std::string comparison(const Study& study, const MetricResults& metric) {
    std::map<Verdict, std::vector<std::size_t>> arms;
    std::size_t pairs = 0;
    for (std::size_t arm = 0; arm < metric.arms.size(); ++arm) {
        if (arm == study.baseline) continue;
        const auto& d = metric.arms[arm].difference;
        arms[verdict_of(d, metric)].push_back(arm);
        pairs = std::max(pairs, d.estimate.n);
    }
    const auto& base = study.arms[study.baseline].name;
    if (metric.arms.size() == 1) return fmt::format("There is one arm, {}, and nothing to compare it with.", base);
    std::vector<std::string> parts;
    const auto of = [&](Verdict verdict) -> const std::vector<std::size_t>& { return arms[verdict]; };
    if (const auto& better = of(Verdict::better); !better.empty())
        parts.push_back(decided(study, metric, better, "better"));
    if (const auto& worse = of(Verdict::worse); !worse.empty()) parts.push_back(decided(study, metric, worse, "worse"));
    if (const auto& alike = of(Verdict::equivalent); !alike.empty())
        parts.push_back(fmt::format("{} {} as good as {} to within {:.3g}, which is the least that matters",
                                    named(study, alike), are(alike), base, metric.smallest));
    if (const auto& same = of(Verdict::same); !same.empty())
        parts.push_back(fmt::format("{} {} no other number than {} with any seed", named(study, same),
                                    same.size() > 1 ? "have" : "has", base));
    const bool any = !parts.empty();
    if (const auto& open = of(Verdict::inconclusive); !open.empty())
        parts.push_back(any               ? fmt::format("{} {} not told apart from it", named(study, open), are(open))
                        : open.size() > 1 ? fmt::format("none of {} is told apart from {}", named(study, open), base)
                                          : fmt::format("{} is not told apart from {}", named(study, open), base));
    if (const auto& single = of(Verdict::one_seed); !single.empty())
        parts.push_back(fmt::format("of {} and {} there is one seed in common, which says nothing about others",
                                    named(study, single), base));
    if (const auto& none = of(Verdict::no_pair); !none.empty())
        parts.push_back(fmt::format("{} could not be compared with {}", named(study, none), base));
    std::string text;
    for (const auto& part : parts) text += (text.empty() ? "" : "; ") + part;
    return fmt::format("By {}{}{}, {}.", metric.name, pairs > 1 ? fmt::format(" over {} paired seeds", pairs) : "",
                       metric.confirmatory ? "" : " (exploratory)", text);
}

std::string best(const Study& study, const MetricResults& metric) {
    const auto first = metric.order().front();
    const auto& score = metric.arms[first];
    std::string none;
    for (std::size_t arm = 0; arm < metric.arms.size(); ++arm)
        if (const auto said = without_number(metric.arms[arm]); !said.empty())
            none += fmt::format(" {} has no mean ({}) and stands last.", study.arms[arm].name, said);
    if (!score.has_mean()) return none.empty() ? " No cell has finished." : none;
    const auto& e = score.mean;
    auto text = fmt::format(" The best mean is that of {}, {:.3g} ({})", study.arms[first].name, e.mean,
                            e.interval   ? fmt::format("{:g} % interval {:.3g} … {:.3g}", 100 * study.level,
                                                       e.interval->first, e.interval->second)
                            : e.constant ? std::string("it does not depend on the seed")
                                         : std::string("n = 1, no interval"));
    if (std::isfinite(score.expected))
        text += metric.nearest() ? fmt::format(", where the value of true samples has a standard deviation of {:.2g}",
                                               score.expected_sd)
                                 : fmt::format(", where true samples give {:.3g} ± {:.2g} (standard deviation)",
                                               score.expected, score.expected_sd);
    return text + "." + none;
}

/// One sentence about the second arm against the first.
std::string sentence(const Study& study, const MetricResults& metric, std::size_t first, std::size_t second,
                     const Difference& d) {
    const auto &base = study.arms[first].name, &name = study.arms[second].name;
    const auto numbers = [&] {
        if (d.exact) return std::string("the same with every seed: neither depends on it");
        if (d.infinite > 0)
            return fmt::format("{}, signed-rank p = {:.2g} over {} paired seeds",
                               without_number(study, metric, first, second), d.p_holm.value_or(1), d.estimate.n);
        if (!d.simultaneous)
            return fmt::format("the same in all {} seeds that both have, so that no interval can be given",
                               d.estimate.n);
        return fmt::format("{:g} % interval {}, simultaneous {}, over {} paired seeds (Holm p = {:.2g})",
                           100 * study.level, interval_or_none(d.estimate.interval), interval_or_none(d.simultaneous),
                           d.estimate.n, d.p_holm.value_or(1));
    };
    const bool finite = std::isfinite(d.estimate.mean);
    const auto by = finite ? fmt::format("by {:.3g}, ", std::abs(d.estimate.mean)) : std::string();
    const auto detectable =
        d.detectable
            ? fmt::format("; so many seeds would find a true difference of {:.2g} 8 times in 10", *d.detectable)
            : std::string();
    switch (const auto verdict = verdict_of(d, metric)) {
        case Verdict::no_pair:
            return fmt::format("{} could not be compared with {}: they have no seed in common that ended.", name, base);
        case Verdict::one_seed:
            return fmt::format(
                "{} differs from {} by {:.4g} in {} with the one seed both have; that says nothing about other seeds.",
                name, base, d.estimate.mean, metric.name);
        case Verdict::better:
        case Verdict::worse:
            return fmt::format("{} is {} than {} in {}: {}{}.", name, name_of(verdict), base, metric.name, by,
                               numbers());
        case Verdict::equivalent:
            return fmt::format("{} is as good as {} in {} to within {:.3g}: they differ {}{}.", name, base, metric.name,
                               metric.smallest, by, numbers());
        case Verdict::same:
            return fmt::format("{} and {} have the same {} with every seed.", name, base, metric.name);
        case Verdict::inconclusive:
            break;
    }
    return fmt::format("{} cannot be told from {} in {}: {}{}{}.", name, base, metric.name,
                       finite ? fmt::format("the difference is {:.3g}, ", d.estimate.mean) : "", numbers(), detectable);
}

}  // namespace

Verdict verdict_of(const Difference& d, const MetricResults& metric) {
    if (d.estimate.n == 0) return Verdict::no_pair;
    if (d.estimate.n == 1) return Verdict::one_seed;
    const auto by = [&](double difference) {
        return metric.shortfall(difference) < 0 ? Verdict::better : Verdict::worse;
    };
    if (d.exact) {
        if (d.estimate.mean == 0 || std::isnan(d.estimate.mean)) return Verdict::same;
        return std::abs(d.estimate.mean) < metric.smallest ? Verdict::equivalent : by(d.estimate.mean);
    }
    if (d.estimate.constant && d.estimate.mean == 0) return Verdict::same;
    if (d.simultaneous) {
        if (metric.smallest > 0 && d.equivalence->first > -metric.smallest && d.equivalence->second < metric.smallest)
            return Verdict::equivalent;
        const bool apart = d.simultaneous->first > 0 || d.simultaneous->second < 0;
        return apart ? by(d.estimate.mean) : Verdict::inconclusive;
    }
    const bool decides = d.p_holm && *d.p_holm <= 1 - metric.family.level && d.direction != 0;
    return decides ? by(d.direction) : Verdict::inconclusive;
}

const char* name_of(Verdict verdict) {
    switch (verdict) {
        case Verdict::better:
            return "better";
        case Verdict::worse:
            return "worse";
        case Verdict::equivalent:
            return "equivalent";
        case Verdict::same:
            return "the same";
        case Verdict::inconclusive:
            return "not told apart";
        case Verdict::one_seed:
            return "one seed";
        case Verdict::no_pair:
            break;
    }
    return "no pair";
}

std::string conclusion(const Study& study, const StudyResults& results, const std::string& metric) {
    const auto& found = results.metrics.at(metric);
    return comparison(study, found) + best(study, found);
}

std::vector<std::string> verdicts(const Study& study, const StudyResults& results, const std::string& metric) {
    std::vector<std::string> all;
    const auto& found = results.metrics.at(metric);
    for (const auto& pair : found.pairs)
        all.push_back(sentence(study, found, pair.first, pair.second, pair.difference));
    for (std::size_t arm = 0; found.pairs.empty() && arm < found.arms.size(); ++arm)
        if (arm != study.baseline)
            all.push_back(sentence(study, found, study.baseline, arm, found.arms[arm].difference));
    return all;
}

std::string what_seeds_show(const Study& study, const MetricResults& metric) {
    const auto n = study.seeds.size();
    if (n < 2) return "One seed says nothing about others.";
    std::string text;
    if (n < 5)
        text = fmt::format(
            "Student's intervals take differences for about normal; with {} seeds nothing in them can show that they "
            "are not (of visibly skewed ones an interval that says 95 % holds 80 to 88).",
            n);
    const auto least = signed_rank_seeds(metric.family.error());
    if (n < least)
        text += fmt::format(
            "{}A test that needs no normality (signed ranks) can decide {} from {} seeds on.", text.empty() ? "" : " ",
            metric.family.comparisons > 1 ? fmt::format("one of {} comparisons", metric.family.comparisons)
                                          : std::string("this comparison"),
            least);
    return text;
}

std::string mean_text(const Score& score, int digits) {
    if (score.has_mean()) return fmt::format("{:.{}g}", score.mean.mean, digits);
    const auto none = without_number(score);
    return none.empty() ? "no result" : none;
}

}  // namespace dtk
