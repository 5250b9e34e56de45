#include "base/validated.hpp"

#include <cmath>

#include <fmt/format.h>

#include "base/json.hpp"

namespace dtk {

using json = nlohmann::json;

std::optional<Validated> validated_in(const json& line) {
    const auto number = [&](const char* key) { return number_of(line.value(key, json())); };
    const auto error = number("validate/error");
    if (!error || !line.contains("step")) return std::nullopt;
    return Validated{line["step"].get<std::int64_t>(), *error, number("validate/average_error")};
}

void Validations::add(const Validated& one) {
    last = one;
    if (std::isfinite(one.of_sampled()) && (!best || one.of_sampled() < best->of_sampled())) best = one;
}

std::string Validations::in_words() const {
    if (!last) return {};
    auto text = fmt::format("{:.4g} at step {}", last->of_sampled(), last->step);
    if (last->average_error) text += fmt::format(" ({:.4g} without the average)", last->error);
    if (!best) return text;
    return text + (best->step == last->step ? ", the least so far"
                                            : fmt::format(", least {:.4g} at step {}", best->of_sampled(), best->step));
}

json Validations::record() const {
    const auto entry = [](const Validated& one) {
        json entry{{"step", one.step}, {"error", json_number(one.error)}};
        if (one.average_error) entry["average_error"] = json_number(*one.average_error);
        return entry;
    };
    if (!last) return nullptr;
    json all{{"last", entry(*last)}};
    if (best) all["best"] = entry(*best);
    return all;
}

Validations validations_in(const std::filesystem::path& folder) {
    Validations found;
    for (const auto& line : read_json_lines(folder / "metrics.jsonl"))
        if (const auto one = validated_in(line)) found.add(*one);
    return found;
}

}  // namespace dtk
