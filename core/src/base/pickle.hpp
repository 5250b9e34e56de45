#pragma once
// Python's pickles as data: what they name is not imported and what they call is not called.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

/// One value of a pickle. Values refer to others by their numbers in Pickle::values, and may refer to themselves.
struct PickleValue {
    enum class Type {
        none,
        boolean,
        integer,
        real,
        text,
        bytes,
        list,
        tuple,
        dictionary,
        set,
        global,
        call,
        persistent
    };
    using Number = std::uint32_t;
    Type type = Type::none;
    std::int64_t integer = 0;  ///< of a boolean, too
    double real = 0;
    std::string text = {};           ///< of text and bytes; of a global "module.name"
    std::vector<Number> items = {};  ///< of a collection; key, value, key, … of a dictionary and of what a call became
    Number function = 0;             ///< of a call: what would be called …
    Number argument = 0;             ///< … and with which tuple; of a persistent: what names it
    std::vector<Number> states = {};  ///< of a call: what it would be given afterwards
};

struct Pickle {
    std::vector<PickleValue> values;
    PickleValue::Number top = 0;
    const PickleValue& operator[](PickleValue::Number number) const { return values[number]; }
};

/// Reads protocols 2 to 5, as far as they can be written without a class's own reducer. Errors: Error that says what is
/// damaged, at which byte, or that there are more than two million values.
DTK_API Pickle read_pickle(std::string_view bytes);

}  // namespace dtk
