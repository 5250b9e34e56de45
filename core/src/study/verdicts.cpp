// What a study found, in words.
#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/words.hpp"
#include "study/report.hpp"

namespace dtk {

namespace {

std::string in_words(const std::optional<std::pair<double, double>>& interval) {
    return interval ? fmt::format("[{:.4g}, {:.4g}]", interval->first, interval->second)
                    : std::string("n = 1, no interval");
}

/// All of them, or how many, where a sentence cannot hold them.
std::string named(const Study& study, const std::vector<std::size_t>& arms) {
    if (arms.size() > 3) return fmt::format("{} arms", arms.size());
    std::vector<std::string> names;
    for (const auto arm : arms) names.push_back(study.arms[arm].name);
    return listed(names);
}

const char* are(const std::vector<std::size_t>& arms) { return arms.size() > 1 ? "are" : "is"; }

/// "cosine is worse than linear by 0.2 (simultaneous 95 % interval 0.1 … 0.3)".
std::string found_so(const Study& study, const std::vector<Score>& scores, const std::vector<std::size_t>& arms,
                     const char* what) {
    const auto text =
        fmt::format("{} {} {} than {}", named(study, arms), are(arms), what, study.arms[study.baseline].name);
    if (arms.size() > 1) return text;
    const auto& d = scores[arms.front()].difference;
    return fmt::format("{} by {:.3g} (simultaneous {:g} % interval {:.3g} … {:.3g})", text, std::abs(d.estimate.mean),
                       100 * study.level, d.estimate.mean < 0 ? -d.simultaneous->second : d.simultaneous->first,
                       d.estimate.mean < 0 ? -d.simultaneous->first : d.simultaneous->second);
}

std::string comparison(const Study& study, const std::vector<Score>& scores, const std::string& metric) {
    std::map<Told, std::vector<std::size_t>> arms;
    std::size_t pairs = 0;
    for (std::size_t arm = 0; arm < scores.size(); ++arm)
        if (arm != study.baseline)
            arms[told(scores[arm].difference)].push_back(arm),
                pairs = std::max(pairs, scores[arm].difference.estimate.n);
    const auto& base = study.arms[study.baseline].name;
    if (scores.size() == 1) return fmt::format("There is one arm, {}, and nothing to compare it with.", base);
    std::vector<std::string> parts;
    if (const auto& better = arms[Told::better]; !better.empty())
        parts.push_back(found_so(study, scores, better, "better"));
    if (const auto& worse = arms[Told::worse]; !worse.empty()) parts.push_back(found_so(study, scores, worse, "worse"));
    const bool any = !parts.empty();
    if (const auto& open = arms[Told::not_apart]; !open.empty())
        parts.push_back(any               ? fmt::format("{} {} not told apart from it", named(study, open), are(open))
                        : open.size() > 1 ? fmt::format("none of {} is told apart from {}", named(study, open), base)
                                          : fmt::format("{} is not told apart from {}", named(study, open), base));
    if (const auto& single = arms[Told::one_seed]; !single.empty())
        parts.push_back(fmt::format("of {} and {} there is one seed in common, which says nothing about others",
                                    named(study, single), base));
    if (const auto& none = arms[Told::no_pair]; !none.empty())
        parts.push_back(fmt::format("{} could not be compared with {}", named(study, none), base));
    std::string text;
    for (const auto& part : parts) text += (text.empty() ? "" : "; ") + part;
    return fmt::format("By {}{}, {}.", metric, pairs > 1 ? fmt::format(" over {} paired seeds", pairs) : "", text);
}

std::string least(const Study& study, const std::vector<Score>& scores) {
    const Score* best = nullptr;
    for (const auto& score : scores)
        if (score.distance.n > 0 && (!best || score.distance.mean < best->distance.mean)) best = &score;
    if (!best) return "No cell has finished.";
    const auto& e = best->distance;
    auto text = fmt::format("The least mean is that of {}, {:.3g} ({})",
                            study.arms[static_cast<std::size_t>(best - scores.data())].name, e.mean,
                            e.interval ? fmt::format("{:g} % interval {:.3g} … {:.3g}", 100 * study.level,
                                                     e.interval->first, e.interval->second)
                                       : std::string("n = 1, no interval"));
    if (std::isfinite(best->expected))
        text += best->two_sided ? fmt::format(", where the value of true samples has a standard deviation of {:.2g}",
                                              best->expected_sd)
                                : fmt::format(", where true samples give {:.3g} ± {:.2g} (standard deviation)",
                                              best->expected, best->expected_sd);
    return text + ".";
}

}  // namespace

Told told(const Difference& d) {
    if (d.estimate.n == 0) return Told::no_pair;
    if (!d.simultaneous) return Told::one_seed;
    return d.simultaneous->second < 0 ? Told::better : d.simultaneous->first > 0 ? Told::worse : Told::not_apart;
}

std::string conclusion(const Study& study, const Findings& findings, const std::string& metric) {
    const auto& scores = findings.scores.at(metric);
    return comparison(study, scores, metric) + " " + least(study, scores);
}

std::vector<std::string> verdicts(const Study& study, const Findings& findings, const std::string& metric) {
    std::vector<std::string> all;
    const auto& scores = findings.scores.at(metric);
    const auto& base = study.arms[study.baseline].name;
    for (std::size_t arm = 0; arm < scores.size(); ++arm) {
        if (arm == study.baseline) continue;
        const auto& d = scores[arm].difference;
        const auto& name = study.arms[arm].name;
        const auto numbers = [&] {
            return fmt::format("{:g} % interval {}, simultaneous {}, over {} paired seeds (Holm p = {:.2g})",
                               100 * study.level, in_words(d.estimate.interval), in_words(d.simultaneous), d.estimate.n,
                               *d.p_holm);
        };
        switch (told(d)) {
            case Told::no_pair:
                all.push_back(fmt::format(
                    "{} could not be compared with {}: they have no seed in common that finished.", name, base));
                break;
            case Told::one_seed:
                all.push_back(
                    fmt::format("{} differs from {} by {:.4g} in {} with the one seed both have; that says nothing "
                                "about other seeds.",
                                name, base, d.estimate.mean, metric));
                break;
            case Told::better:
            case Told::worse:
                all.push_back(fmt::format("{} is {} than {} in {}: by {:.3g}, {}.", name,
                                          d.estimate.mean < 0 ? "better" : "worse", base, metric,
                                          std::abs(d.estimate.mean), numbers()));
                break;
            case Told::not_apart:
                all.push_back(fmt::format("{} cannot be told from {} in {}: the difference is {:.3g}, {}.", name, base,
                                          metric, d.estimate.mean, numbers()));
                break;
        }
    }
    return all;
}

std::string table_text(const Study& study, const Findings& findings) {
    std::size_t width = 8;
    for (const auto& arm : study.arms) width = std::max(width, arm.name.size());
    std::string text;
    for (const auto& metric : study.metrics) {
        const auto& scores = findings.scores.at(metric);
        text += fmt::format("\n{} ({})\n{:<{}}  {:>11}  {:<24}  {:>11}  {:<24}  {:>8}  {:>5}\n", metric,
                            findings.notes.count(metric) ? findings.notes.at(metric) : "no result", "arm", width,
                            "mean", fmt::format("{:g} % interval (n)", 100 * study.level), "difference",
                            "simultaneous interval", "Holm p", "rank");
        for (std::size_t arm = 0; arm < scores.size(); ++arm) {
            const auto& s = scores[arm];
            const auto& d = s.difference;
            if (s.distance.n == 0) {
                text += fmt::format("{:<{}}  {:>11}\n", study.arms[arm].name, width, "no result");
                continue;
            }
            const auto own = s.distance.interval ? fmt::format("{} ({})", in_words(s.distance.interval), s.distance.n)
                                                 : in_words(s.distance.interval);
            text += fmt::format("{:<{}}  {:>11.5g}  {:<24}  {:>11}  {:<24}  {:>8}  {:>5}\n", study.arms[arm].name,
                                width, s.distance.mean, own,
                                arm == study.baseline ? "baseline"
                                : d.estimate.n > 0    ? fmt::format("{:+.4g}", d.estimate.mean)
                                                      : "",
                                d.estimate.n > 0 ? in_words(d.simultaneous) : "",
                                d.p_holm ? fmt::format("{:.2g}", *d.p_holm) : "",
                                s.rank.n > 0 ? fmt::format("{:.2f}", s.rank.mean) : "–");
        }
        if (const auto& s = scores[study.baseline]; std::isfinite(s.expected))
            text += s.two_sided ? fmt::format(
                                      "true samples' value is {:.5g}, with a standard deviation of {:.2g}; the table "
                                      "shows how far from it\n",
                                      s.expected, s.expected_sd)
                                : fmt::format("{:<{}}  {:>11.5g}  ± {:.2g} (standard deviation)\n", "true samples",
                                              width, s.expected, s.expected_sd);
    }
    return text;
}

}  // namespace dtk
