#include "base/classes.hpp"

#include <algorithm>
#include <charconv>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/error.hpp>

#include "base/words.hpp"

namespace dtk {

using json = nlohmann::json;

namespace {
std::optional<std::int64_t> whole_number(const std::string& text) {
    std::int64_t value = 0;
    const auto* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}
}  // namespace

std::string Classes::name(std::int64_t number) const {
    return names.empty() ? std::to_string(number) : names[static_cast<std::size_t>(number)];
}

std::vector<std::int64_t> Classes::with_examples() const {
    std::vector<std::int64_t> some;
    for (std::int64_t k = 0; k < count; ++k)
        if (examples.empty() || examples[static_cast<std::size_t>(k)] > 0) some.push_back(k);
    return some;
}

std::int64_t Classes::number_of(const std::string& label) const {
    if (count == 0)
        throw Error(fmt::format("asks for class {}, and there are no classes", label),
                    "leave it out, or use data with classes");
    if (const auto found = std::ranges::find(names, label); found != names.end()) return found - names.begin();
    const auto number = whole_number(label);
    const auto is_number = [](const std::string& name) { return whole_number(name).has_value(); };
    if (number && *number >= 0 && *number < count && std::ranges::none_of(names, is_number)) return *number;
    const auto there = names.empty()        ? fmt::format("there are classes 0 … {}", count - 1)
                       : names.size() <= 20 ? fmt::format("there are {}", listed(names))
                                            : "`dtk data show` lists them";
    throw Error(fmt::format("asks for class {}, which there is not", number ? label : fmt::format("`{}`", label)),
                number ? there : did_you_mean(label, names, there));
}

std::string Classes::text(std::size_t shown) const {
    std::vector<std::string> words, without;
    for (std::int64_t k = 0; k < count; ++k) {
        const auto word = names.empty() ? std::to_string(k) : fmt::format("{} {}", k, name(k));
        const bool counted = !examples.empty();
        const auto n = counted ? examples[static_cast<std::size_t>(k)] : 0;
        if (counted && n == 0)
            without.push_back(word);
        else
            words.push_back(counted ? fmt::format("{} ({})", word, n) : word);
    }
    const auto some = [&](std::vector<std::string> all) {
        const auto more = all.size() - std::min(all.size(), shown);
        all.resize(all.size() - more);
        return fmt::format("{}{}", fmt::join(all, ", "), more > 0 ? fmt::format(" and {} more", more) : "");
    };
    auto text = fmt::format("{}: {}", words.size(), some(words));
    if (!without.empty()) text += "; without examples, and never drawn: " + some(without);
    return text;
}

json Classes::to_json() const {
    auto list = json::array();
    for (std::int64_t k = 0; k < count; ++k) {
        json one{{"number", k}, {"name", name(k)}};
        if (!examples.empty()) one["examples"] = examples[static_cast<std::size_t>(k)];
        list.push_back(std::move(one));
    }
    return list;
}

Classes Classes::from_json(const json& list) {
    Classes classes;
    if (!list.is_array()) return classes;
    bool named = false;
    for (const auto& one : list) {
        if (!one.is_object() || !one.contains("name") || !one["name"].is_string()) return {};
        classes.names.push_back(one["name"].get<std::string>());
        named = named || classes.names.back() != std::to_string(classes.count);
        ++classes.count;
        if (one.contains("examples") && one["examples"].is_number_integer())
            classes.examples.push_back(one["examples"].get<std::int64_t>());
    }
    if (!named) classes.names.clear();
    if (classes.examples.size() != static_cast<std::size_t>(classes.count)) classes.examples.clear();
    return classes;
}

}  // namespace dtk
