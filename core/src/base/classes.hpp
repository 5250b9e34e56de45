#pragma once
// The classes of data: what they are called, and which of them have examples.
#include <cstdint>
#include <string>
#include <vector>

#include <dtk/api.hpp>
#include <nlohmann/json.hpp>

namespace dtk {

struct DTK_API Classes {
    std::int64_t count = 0;                   ///< they are 0 … count − 1
    std::vector<std::string> names = {};      ///< of class 0, 1, …; empty: they are numbers
    std::vector<std::int64_t> examples = {};  ///< of class 0, 1, … in training; empty: not counted

    std::string name(std::int64_t number) const;
    /// Those that are not known to be without examples.
    std::vector<std::int64_t> with_examples() const;
    /// The class that goes by that name, or by that number where no name is a number. Errors: Error with what there is.
    std::int64_t number_of(const std::string& label) const;
    /// "10: 0 T-shirt/top (6000), 1 Trouser (6000) …", of many only the first; those without examples by themselves.
    std::string text(std::size_t shown = 20) const;

    /// A list with number, name and examples of each, and back; of what is no such list nothing.
    nlohmann::json to_json() const;
    static Classes from_json(const nlohmann::json& list);

    bool operator==(const Classes&) const = default;
};

}  // namespace dtk
