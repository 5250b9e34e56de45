#include "base/reader.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/blame.hpp"
#include "base/names.hpp"
#include "base/words.hpp"

namespace dtk {

namespace {
/// The value as it is written, where that is known.
std::string written(const toml::node& node, const Diagnostics& mistakes) {
    const auto text = mistakes.written(place_of(node.source()));
    return text.empty() ? toml_value(node) : text;
}

std::string described(const toml::node& node, const Diagnostics& mistakes) {
    if (const auto* text = node.as_string()) return fmt::format("the text \"{}\"", text->get());
    if (node.is_integer()) return "the whole number " + written(node, mistakes);
    if (node.is_floating_point()) return "the number " + written(node, mistakes);
    if (node.is_boolean()) return written(node, mistakes);
    if (node.is_array()) return "a list";
    if (node.is_table()) return "a table";
    return "the date or time " + written(node, mistakes);
}

/// The value that was meant by one of another type, as it should have been written; empty where that is not clear.
std::string meant(const toml::node& node, std::string_view wanted, const Diagnostics& mistakes) {
    const bool list = wanted.find("list") != wanted.npos, whole = wanted.find("whole") != wanted.npos;
    const bool number = wanted.find("number") != wanted.npos;
    if (list && node.is_value()) {
        const auto text = node.is_string();
        if (text == (wanted.find("text") != wanted.npos)) return "[" + written(node, mistakes) + "]";
        return {};
    }
    if (const auto* value = node.as_floating_point())
        if (constexpr double limit = 9.2e18; whole && std::abs(value->get()) < limit)
            return std::floor(value->get()) == value->get() ? fmt::format("{:.0f}", value->get()) : "";
    if (const auto* text = node.as_string()) {
        if (number) try {
                const auto parsed = toml::parse("a = " + text->get());
                const auto* value = parsed.get("a");
                if (value->is_integer() || (value->is_floating_point() && !whole)) return toml_value(*value);
            } catch (const toml::parse_error&) {
            }
        if (wanted == "true or false" && (text->get() == "true" || text->get() == "false")) return text->get();
        return {};
    }
    if (!number && !list && wanted != "true or false" && node.is_value()) return toml_string(written(node, mistakes));
    return {};
}
}  // namespace

std::string interval(Range range) {
    const bool whole_line = std::isinf(range.lo) && std::isinf(range.hi);
    if (whole_line) return "the numbers";
    if (std::isinf(range.hi)) return fmt::format("{} {}", range.lo_open ? ">" : "≥", range.lo);
    if (std::isinf(range.lo)) return fmt::format("{} {}", range.hi_open ? "<" : "≤", range.hi);
    return fmt::format("{}{}, {}{}", range.lo_open ? '(' : '[', range.lo, range.hi, range.hi_open ? ')' : ']');
}

const BuildContext& no_context() {
    static const char nothing[sizeof(void*)] = {};
    return reinterpret_cast<const BuildContext&>(nothing);
}

const toml::node* ParseContext::find(std::string_view name) {
    for (const auto* scope : scopes)
        if (const auto* node = scope->get(name)) {
            used.insert(node);
            return node;
        }
    return nullptr;
}

SourceLocation ParseContext::place(std::string_view name) const {
    for (const auto* scope : scopes)
        for (auto&& [key, node] : *scope)
            if (key.str() == name) return place_of(key.source());
    return scopes.empty() ? SourceLocation{} : place_of(*scopes.front());
}

std::shared_ptr<void> PluginSpec::make(const BuildContext& context) const {
    const Blame blame(fmt::format("{} plugin `{}`", kind, name), "while it is built", file->file);
    try {
        return descriptor->create(config.get(), context);
    } catch (const PlacedError&) {
        throw;
    } catch (const Error& error) {
        throw PlacedError(place, fmt::format("{} `{}`: {}", kind, name, error.what()), error.help(),
                          dynamic_cast<const PluginError*>(&error) != nullptr);
    } catch (const std::exception& error) {
        throw PlacedError(
            place, fmt::format("{} plugin `{}` failed while it was built: {}", kind, name, without_stack(error.what())),
            fmt::format("the fault is in {}", file->file.string()), true);
    } catch (...) {
        throw PlacedError(place, fmt::format("{} plugin `{}` threw something that is no exception", kind, name),
                          fmt::format("the fault is in {}", file->file.string()), true);
    }
}

PluginSpec read_plugin(ParseContext& reading, const std::string& kind, const toml::node* node, SourceLocation place,
                       bool labelled) {
    std::string name;
    const toml::table* table = nullptr;
    if (node) {
        if (const auto* text = node->as_string()) {
            name = text->get();
            place = place_of(node->source());
        } else if ((table = node->as_table())) {
            if (const auto* use = table->get("use")) {
                place = place_of(use->source());
                if (const auto* text = use->as_string())
                    name = text->get();
                else {
                    reading.mistakes.add(place, fmt::format("`use` must be the name of a {} plugin, not {}", kind,
                                                            described(*use, reading.mistakes)));
                    return {};
                }
                if (name.empty()) {
                    reading.mistakes.add(place, fmt::format("`use` is empty: it must be the name of a {} plugin", kind),
                                         fmt::format("there are {}", listed(reading.registry.names(kind))));
                    return {};
                }
            }
        } else {
            reading.mistakes.add(place_of(node->source()),
                                 fmt::format("`{}` must be a table such as {{use = \"…\"}}, not {}", kind,
                                             described(*node, reading.mistakes)));
            return {};
        }
    }
    PluginSpec spec;
    spec.kind = kind;
    spec.place = place;
    spec.node = node;
    try {
        const auto& file = reading.registry.find(kind, name);
        if (const auto probe = reading.registry.probe({file}).front(); !probe.problem.empty())
            throw PluginError(probe.problem, probe.help);
        spec.file = &file;
        spec.name = file.name;
        const Blame blame(fmt::format("{} plugin `{}`", kind, file.name), "while it is loaded", file.file);
        spec.descriptor = &reading.registry.load(file);
    } catch (const Error& error) {
        reading.mistakes.add_plugin(place, error);
        return {};
    }
    const auto before = reading.mistakes.count();
    TomlFields reader(reading, table, kind, spec.name);
    const auto whose = fmt::format("{} plugin `{}`", kind, spec.name);
    try {
        const Blame blame(whose, "while it is described", spec.file->file);
        spec.config = spec.descriptor->configure(reader);
    } catch (const PlacedError&) {
        throw;
    } catch (const std::exception& error) {
        reading.mistakes.add_plugin(
            place, PluginError(fmt::format("{} throws while it is described: {}", whose, without_stack(error.what())),
                               fmt::format("the fault is in {}", spec.file->file.string())));
    } catch (...) {
        reading.mistakes.add_plugin(
            place, PluginError(fmt::format("{} throws something that is no exception while it is described", whose),
                               fmt::format("the fault is in {}", spec.file->file.string())));
    }
    reader.finish(labelled ? std::set<std::string>{"use", "name"} : std::set<std::string>{"use"});
    spec.label = spec.name;
    if (const auto* own = labelled && table ? table->get("name") : nullptr) {
        spec.label = own->value_or(std::string());
        if (!own->is_string() || spec.label.empty())
            reading.mistakes.add(place_of(own->source()),
                                 fmt::format("`name` must be a text, the {}'s own name, not {}", kind,
                                             described(*own, reading.mistakes)),
                                 "leave it out, and it is called by its plugin");
    }
    if (reading.mistakes.count() > before) return {};
    spec.resolved = reader.resolved();
    spec.resolved.insert_or_assign("use", spec.name);
    if (spec.label != spec.name) spec.resolved.insert_or_assign("name", spec.label);
    return spec;
}

const toml::node* TomlFields::node(const char* key, const char* doc) {
    if (std::ranges::find(asked_, key) != asked_.end()) wrong_declaration(key, "it is declared twice");
    asked_.emplace_back(key);
    const auto* found = table_ ? table_->get(key) : nullptr;
    const auto* text = found ? found->as_string() : nullptr;
    const auto* list = found ? found->as_array() : nullptr;
    const bool empty = !found || (text && text->get().empty()) || (list && list->empty());
    if (std::exchange(without_default_, "") == key && empty) {
        mistaken_.insert(key);
        reading_.mistakes.add(found ? place_of(*found) : place_of_table(), fmt::format("{} needs `{}`", owner_, key),
                              fmt::format("{}: {}", key, doc));
    }
    return found;
}

SourceLocation TomlFields::place_of_table() const {
    if (!table_) return reading_.place(kind_);
    const auto* use = table_->get("use");
    return place_of(use ? use->source() : table_->source());
}

void TomlFields::wrong_declaration(const char* key, const std::string& problem) {
    reading_.mistakes.add_plugin(place_of_table(), PluginError(fmt::format("{}: `{}`: {}", owner_, key, problem),
                                                               "that is the plugin's fault, not the file's"));
}

void TomlFields::check_default(const char* key, Range range, double value) {
    if (!mistaken_.contains(key) && !range.holds(value))
        wrong_declaration(key, fmt::format("its default {} is outside its own range {}", value, interval(range)));
}

void TomlFields::require(bool holds, const char* key, const std::string& problem, const std::string& cure) {
    // Of values that are no values there is nothing more to be said.
    if (holds || !mistaken_.empty()) return;
    const auto* found = table_ ? table_->get(key) : nullptr;
    reading_.mistakes.add(found ? place_of(*found) : place_of_table(),
                          fmt::format("`{}` of {} {}", key, owner_, problem), cure);
}

void TomlFields::wrong_type(const toml::node& node, const char* key, std::string_view wanted) {
    mistaken_.insert(key);
    const auto value = meant(node, wanted, reading_.mistakes);
    reading_.mistakes.add(
        place_of(node),
        fmt::format("`{}` of {} must be {}, not {}", key, owner_, wanted, described(node, reading_.mistakes)),
        value.empty() ? "" : fmt::format("write {} = {}", key, value));
}

bool TomlFields::number(const toml::node& node, const char* key, Range range, double& value) {
    if (const auto* floating = node.as_floating_point())
        value = floating->get();
    else if (const auto* integer = node.as_integer())
        value = static_cast<double>(integer->get());
    else
        return wrong_type(node, key, "a number"), false;
    return inside(node, key, range, value);
}

bool TomlFields::inside(const toml::node& node, const char* key, Range range, double value) {
    if (std::isfinite(value) && range.holds(value)) return true;
    mistaken_.insert(key);
    reading_.mistakes.add(
        place_of(node.source()),
        fmt::format("`{}` = {} of {} is outside {}", key, written(node, reading_.mistakes), owner_, interval(range)));
    return false;
}

bool TomlFields::whole(const toml::node& node, const char* key, Range range, std::int64_t& value) {
    const auto* integer = node.as_integer();
    if (!integer) return wrong_type(node, key, "a whole number"), false;
    value = integer->get();
    return inside(node, key, range, static_cast<double>(value));
}

TomlFields::TomlFields(ParseContext& reading, const toml::table* table, const std::string& kind,
                       const std::string& name)
    : reading_(reading), table_(table), owner_(fmt::format("{} `{}`", kind, name)), kind_(kind) {}

void TomlFields::operator()(const char* key, double& value, Range range, const char* doc) {
    if (const auto* found = node(key, doc))
        number(*found, key, range, value);
    else
        check_default(key, range, value);
    resolved_.insert_or_assign(key, value);
}

void TomlFields::operator()(const char* key, std::int64_t& value, Range range, const char* doc) {
    if (const auto* found = node(key, doc))
        whole(*found, key, range, value);
    else
        check_default(key, range, static_cast<double>(value));
    resolved_.insert_or_assign(key, value);
}

void TomlFields::operator()(const char* key, bool& value, const char* doc) {
    if (const auto* found = node(key, doc)) {
        if (const auto* truth = found->as_boolean())
            value = truth->get();
        else
            wrong_type(*found, key, "true or false");
    }
    resolved_.insert_or_assign(key, value);
}

void TomlFields::operator()(const char* key, std::string& value, const Choices& choices, const char* doc) {
    if (const auto* found = node(key, doc)) {
        const auto* text = found->as_string();
        if (!text)
            wrong_type(*found, key, fmt::format("one of {}", listed(choices, "or")));
        else if (std::find(choices.begin(), choices.end(), text->get()) == choices.end()) {
            mistaken_.insert(key);
            const auto near = nearest(text->get(), choices);
            reading_.mistakes.add(
                place_of(found->source()),
                fmt::format("`{}` = \"{}\" of {} is none of {}", key, text->get(), owner_, listed(choices, "or")),
                near.empty() ? "" : fmt::format("did you mean \"{}\"?", near));
        } else
            value = text->get();
    } else if (!mistaken_.contains(key) && std::ranges::find(choices, value) == choices.end()) {
        wrong_declaration(key, fmt::format("its default \"{}\" is none of {}", value, listed(choices, "or")));
    }
    resolved_.insert_or_assign(key, value);
}

void TomlFields::operator()(const char* key, std::string& value, const char* doc) {
    if (const auto* found = node(key, doc)) {
        if (const auto* text = found->as_string())
            value = text->get();
        else
            wrong_type(*found, key, "a text");
    }
    resolved_.insert_or_assign(key, value);
}

void TomlFields::operator()(const char* key, std::filesystem::path& value, const char* doc) {
    if (const auto* found = node(key, doc)) {
        const auto* text = found->as_string();
        if (text && (!text->get().empty() || value.empty()))
            value = text->get();
        else
            wrong_type(*found, key, "a path");
    }
    if (!value.empty() && value.is_relative()) value = (reading_.folder / value).lexically_normal();
    if (!is_utf8(value.native()))
        reading_.mistakes.add(table_ ? place_of(*table_) : SourceLocation{},
                              fmt::format("`{}` of {}: the path {} is not UTF-8", key, owner_, value.string()),
                              "rename the folder: what a run was must be written into its files");
    resolved_.insert_or_assign(key, value.string());
}

template <class Value, class Read>
void TomlFields::list(const char* key, std::vector<Value>& value, const char* doc, std::string_view wanted, Read read) {
    if (const auto* found = node(key, doc)) {
        if (const auto* array = found->as_array()) {
            value.clear();
            for (const auto& element : *array)
                if (Value one{}; read(element, one)) value.push_back(std::move(one));
        } else
            wrong_type(*found, key, wanted);
    }
}

void TomlFields::operator()(const char* key, std::vector<double>& value, Range range, const char* doc) {
    list(key, value, doc, "a list of numbers",
         [&](const toml::node& node, double& one) { return number(node, key, range, one); });
    toml::array array;
    for (const double one : value) array.push_back(one);
    resolved_.insert_or_assign(key, std::move(array));
}

void TomlFields::operator()(const char* key, std::vector<std::int64_t>& value, Range range, const char* doc) {
    list(key, value, doc, "a list of whole numbers",
         [&](const toml::node& node, std::int64_t& one) { return whole(node, key, range, one); });
    toml::array array;
    for (const auto one : value) array.push_back(one);
    resolved_.insert_or_assign(key, std::move(array));
}

void TomlFields::operator()(const char* key, std::vector<std::string>& value, const char* doc) {
    list(key, value, doc, "a list of texts", [&](const toml::node& node, std::string& one) {
        if (const auto* text = node.as_string()) return one = text->get(), true;
        return wrong_type(node, key, "a list of texts"), false;
    });
    toml::array array;
    for (const auto& one : value) array.push_back(one);
    resolved_.insert_or_assign(key, std::move(array));
}

void TomlFields::words(const char* key, std::vector<std::string>& value, const char* doc) {
    constexpr const char* wanted = "a list of texts and whole numbers";
    toml::array array;
    list(key, value, doc, wanted, [&](const toml::node& node, std::string& one) {
        if (const auto* text = node.as_string())
            array.push_back(one = text->get());
        else if (const auto* integer = node.as_integer())
            array.push_back(integer->get()), one = std::to_string(integer->get());
        else
            return wrong_type(node, key, wanted), false;
        return true;
    });
    resolved_.insert_or_assign(key, std::move(array));
}

void TomlFields::operator()(const char* key, std::vector<Row>& value, Range range, const char* doc) {
    list(key, value, doc, "a list of lists of numbers", [&](const toml::node& node, Row& row) {
        const auto* array = node.as_array();
        if (!array) return wrong_type(node, key, "a list of lists of numbers"), false;
        for (const auto& element : *array)
            if (double one; number(element, key, range, one)) row.push_back(one);
        return true;
    });
    toml::array array;
    for (const auto& row : value) {
        toml::array inner;
        for (const double one : row) inner.push_back(one);
        array.push_back(std::move(inner));
    }
    resolved_.insert_or_assign(key, std::move(array));
}

void TomlFields::reference(const char* key, std::string& name, const char* doc) {
    (*this)(key, name, doc);
    if (!name.empty() && name != "pixels") reading_.references.insert(name);
}

void TomlFields::plugin(const char* key, const char* kind, AnyPart& value, const char* doc) {
    const auto* found = node(key, doc);
    auto place = table_ ? place_of(*table_) : reading_.place(kind);
    // The table of a plugin's own kind is the one that it is read from.
    if (!found && kind != kind_ && (found = reading_.find(kind))) place = reading_.place(kind);
    toml::value<std::string> named(value.use);
    if (!found && !value.use.empty()) found = &named;
    auto spec = std::make_shared<PluginSpec>(read_plugin(reading_, kind, found, place));
    if (found == &named) spec->node = nullptr;
    if (!*spec) return;
    reading_.chosen.insert(spec->file);
    value.use = spec->name;
    value.build = [spec](const BuildContext& context) { return spec->make(context); };
    resolved_.insert_or_assign(key, spec->resolved);
}

void TomlFields::finish(const std::set<std::string>& also_known) {
    if (!table_) return;
    auto known = asked_;
    known.insert(known.end(), also_known.begin(), also_known.end());
    for (auto&& [key, value] : *table_) {
        if (std::find(known.begin(), known.end(), key.str()) != known.end()) continue;
        const auto kinds = reading_.registry.kinds();
        const auto near = nearest(key.str(), known);
        const auto help = std::find(kinds.begin(), kinds.end(), key.str()) != kinds.end()
                              ? fmt::format("`{0}` stands in a table of its own, [{0}]", key.str())
                          : !near.empty()  ? fmt::format("did you mean `{}`?", near)
                          : asked_.empty() ? fmt::format("{} has no keys", owner_)
                                           : fmt::format("it has {}", listed(asked_));
        reading_.mistakes.add(place_of(key.source()), fmt::format("{} has no key `{}`", owner_, key.str()), help);
    }
}

}  // namespace dtk
