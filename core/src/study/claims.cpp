// Which claims about what an experiment gives hold.
#include "study/claims.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/json.hpp"
#include "base/words.hpp"

namespace dtk {

using json = nlohmann::json;
using State = CheckedClaim::State;

const char* name_of(State state) {
    static constexpr const char* names[] = {"holds", "fails", "not measured", "no run"};
    return names[static_cast<int>(state)];
}

CheckedClaim check_claim(const std::string& experiment, const Expectation& claim,
                         const std::vector<Measured>& measured) {
    CheckedClaim checked{.experiment = experiment, .claim = claim, .state = State::unmeasured, .why = {}};
    const auto found =
        std::find_if(measured.begin(), measured.end(), [&](const Measured& m) { return m.metric == claim.metric; });
    if (found == measured.end() || std::isnan(found->value)) return checked;
    checked.value = found->value;
    checked.noise = std::isfinite(found->standard_error) ? found->standard_error : found->expected_sd;
    // Bounds belong to the claim, but for the rounding of the two sums.
    const double rounding = 1e-12 * (std::abs(claim.value) + claim.within);
    checked.state = std::abs(checked.off()) <= claim.within + rounding ? State::holds : State::fails;
    return checked;
}

std::vector<std::vector<std::string>> claims_table(const std::vector<CheckedClaim>& all) {
    std::vector<std::vector<std::string>> rows{
        {"experiment", "metric", "claimed", "within", "measured", "noise", "off by", "verdict", "source"}};
    const auto number = [](double value, const char* plus = "") {
        return std::isnan(value) ? std::string("–") : fmt::format("{}{:.5g}", value > 0 ? plus : "", value);
    };
    for (const auto& one : all)
        rows.push_back(
            {one.experiment, one.claim.metric, number(one.claim.value), number(one.claim.within), number(one.value),
             std::isfinite(one.noise) ? fmt::format("{:.2g}", one.noise) : "–", number(one.off(), "+"),
             fmt::format("{}{}", name_of(one.state), one.why.empty() ? "" : ": " + one.why), one.claim.source});
    return rows;
}

std::string claims_summary(const std::vector<CheckedClaim>& all) {
    const auto count = [&](auto&& which) { return std::count_if(all.begin(), all.end(), which); };
    const auto narrow = count([](const CheckedClaim& one) { return one.is_narrow(); });
    auto text = fmt::format("{} of {} claims hold.",
                            count([](const CheckedClaim& one) { return one.state == State::holds; }), all.size());
    if (narrow > 0)
        text += fmt::format(
            " {} of them {} less than two standard deviations of the measurement's own noise: chance alone breaks such "
            "a claim now and then. Draw more samples, or say a wider `within`.",
            narrow, narrow == 1 ? "allows" : "allow");
    return text;
}

json claims_json(const std::vector<CheckedClaim>& all) {
    json list = json::array();
    for (const auto& one : all) {
        list.push_back({{"experiment", one.experiment},
                        {"metric", one.claim.metric},
                        {"claimed", one.claim.value},
                        {"within", one.claim.within},
                        {"source", one.claim.source},
                        {"measured", std::isnan(one.value) ? json(nullptr) : json_number(one.value)},
                        {"noise", std::isfinite(one.noise) ? json(one.noise) : json(nullptr)},
                        {"verdict", name_of(one.state)}});
        if (!one.why.empty()) list.back()["why"] = one.why;
    }
    return list;
}

}  // namespace dtk
