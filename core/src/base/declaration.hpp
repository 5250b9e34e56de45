#pragma once
#include <string>
#include <vector>

#include <dtk/plugin.hpp>

namespace dtk {

/// A field as its plugin declares it.
struct DeclaredField {
    std::string key;
    std::string type;           ///< "number", "whole number", "text", "list of numbers", …, or the kind of a plugin
    std::string default_value;  ///< in TOML; empty where there is none
    std::string accepts;        ///< the range or the choices, in words; empty where anything goes
    std::string doc;
};

/// The fields of a plugin, in the order it declares them.
DTK_API std::vector<DeclaredField> declared_fields(const Descriptor& descriptor);

}  // namespace dtk
