// What --set and the axes of a study lay over the tables of an experiment.
#include "base/overlay.hpp"

#include <algorithm>
#include <optional>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/declaration.hpp"
#include "base/words.hpp"

namespace dtk {

Parts::Parts(const Registry& registry) : registry_(registry) {
    for (auto& kind : registry.kinds()) kinds_.insert(std::move(kind));
}

std::string Parts::named(const std::string& kind, const toml::node* node) const {
    if (const auto* text = node ? node->as_string() : nullptr) return text->get();
    if (const auto* table = node ? node->as_table() : nullptr)
        if (const auto* use = table->get("use")) return use->value_or(std::string());
    for (const auto& plugin : registry_.plugins())
        if (plugin.kind == kind && plugin.is_default) return plugin.name;
    return {};
}

const std::map<std::string, std::string>& Parts::of(const std::string& kind, const std::string& name) const {
    const auto [at, is_new] = known_.try_emplace(kind + " " + name);
    if (is_new && !name.empty()) try {
            const auto& file = registry_.find(kind, name);
            if (registry_.probe({file}).front().problem.empty())
                for (const auto& field : declared_fields(registry_.load(file)))
                    if (kinds_.contains(field.type)) at->second.emplace(field.key, field.type);
        } catch (const Error&) {
            // Who reads the experiment says what is wrong with the plugin.
        }
    return at->second;
}

namespace {

/// One value that is laid over.
struct Value {
    std::vector<toml::key> path;
    std::shared_ptr<toml::table> holder;  ///< the tables it was read with
    toml::node* node;
    bool done = false;

    bool is_text() const { return node->is_string(); }
    /// Where the plugin stands that it names, if it names one: `sampler` of `sampler.use`.
    std::vector<toml::key> named() const {
        const bool by_use = path.size() > 1 && path.back().str() == "use" && is_text();
        return {path.begin(), path.end() - (by_use ? 1 : 0)};
    }
};

void collect(const std::shared_ptr<toml::table>& holder, toml::table& table, std::vector<toml::key> path,
             std::vector<Value>& values) {
    for (auto&& [key, node] : table) {
        path.push_back(key);
        if (auto* inner = node.as_table(); inner && !inner->empty())
            collect(holder, *inner, path, values);
        else
            values.push_back({path, holder, &node});
        path.pop_back();
    }
}

toml::table parsed(const std::string& override, Diagnostics& mistakes) {
    const auto source = "--set " + override;
    mistakes.remember(source, override);
    const auto equals = override.find('=');
    if (equals == override.npos || equals == 0) {
        mistakes.add({source, 0, 0, 1}, fmt::format("`--set {}` does not say KEY=VALUE", override),
                     "write for example --set train.lr=1e-3");
        return {};
    }
    try {
        return toml::parse(std::string_view(override), std::string_view(source));
    } catch (const toml::parse_error&) {
    }
    try {  // a bare word
        const auto quoted = override.substr(0, equals + 1) + toml_string(override.substr(equals + 1));
        return toml::parse(std::string_view(quoted), std::string_view(source));
    } catch (const toml::parse_error& error) {
        mistakes.add({source, 0, 0, 1}, fmt::format("`--set {}` cannot be read: {}", override, error.description()),
                     "write for example --set train.lr=1e-3");
        return {};
    }
}

std::vector<Value> values_of(const std::vector<std::string>& overrides, Diagnostics& mistakes) {
    std::vector<Value> values;
    for (const auto& override : overrides) {
        const auto holder = std::make_shared<toml::table>(parsed(override, mistakes));
        collect(holder, *holder, {}, values);
    }
    return values;
}

/// A place among the tables, whether anything stands there or not.
struct Spot {
    enum class Of { experiment, stages, stage, plugin, other };
    Of of = Of::other;
    std::string kind = {};       ///< of the plugin, or of a list of such
    toml::node* self = nullptr;  ///< the experiment; otherwise what holds it:
    toml::table* table = nullptr;
    toml::key key = toml::key("");
    toml::array* list = nullptr;
    std::size_t number = 0;
    std::string where = {};  ///< the way here, in words that no other place has
    std::string stage = {};  ///< the stage it is in; empty outside

    toml::node* node() const { return self ? self : table ? table->get(key) : list ? list->get(number) : nullptr; }

    /// Puts the value there. Moving keeps where it was written; copying would not.
    void put(toml::node& value) {
        value.visit([&](auto& one) {
            if (list)
                list->replace(list->begin() + static_cast<std::ptrdiff_t>(number), std::move(one));
            else
                table->insert_or_assign(key, std::move(one));
        });
    }
};

toml::table as_table(toml::node& text) {
    toml::table table;
    table.insert(toml::key("use", text.source()), std::move(*text.as_string()));
    return table;
}

std::string shortened(std::string text) {
    constexpr std::size_t most = 60;
    if (text.size() <= most) return text;
    auto end = most;
    while ((static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
    return text.substr(0, end) + "…";
}

/// What a table says beside the name of its plugin.
std::vector<std::string> fields_in(const toml::node* node) {
    std::vector<std::string> fields;
    if (const auto* table = node ? node->as_table() : nullptr)
        for (auto&& [key, value] : *table)
            if (key.str() != "use" && key.str() != "name")
                fields.push_back(fmt::format("{} = {}", key.str(), shortened(toml_value(value))));
    return fields;
}

class Overlay {
 public:
    Overlay(toml::table& root, const Parts* parts, Diagnostics& mistakes, Laid& laid)
        : root_(root), parts_(parts), mistakes_(mistakes), laid_(laid) {}

    void lay(std::vector<Value> values) {
        std::size_t deepest = 0;
        for (const auto& value : values) deepest = std::max(deepest, value.path.size());
        for (std::size_t depth = 1; depth <= deepest; ++depth) name_plugins(values, depth);
        for (auto& value : values) {
            if (value.done) continue;
            auto spot = walk(value.path, true);
            if (spot && (!value.node->is_table() || !spot->node())) spot->put(*value.node);
        }
    }

    /// The plugin in `node`, and what was set for it, give way to the plugin of that name.
    void give_way(const std::string& kind, const toml::node* node, const std::string& now, const std::string& stage) {
        const auto before = parts_->named(kind, node);
        for (const auto& [key, part] : parts_->of(kind, before)) laid_.left.insert(part);
        if (const auto dropped = fields_in(node); !dropped.empty())
            note(stage, fmt::format("{} `{}` takes the place of `{}`; what was set for that is dropped: {}", kind, now,
                                    before, fmt::join(dropped, ", ")));
    }

 private:
    void note(const std::string& stage, const std::string& text) {
        laid_.notes.push_back((stage.empty() ? "" : fmt::format("stage `{}`: ", stage)) + text);
    }

    /// Puts the plugins, and lists of plugins, that are named at this depth.
    void name_plugins(std::vector<Value>& values, std::size_t depth) {
        std::vector<std::pair<std::string, Value*>> last;
        for (auto& value : values) {
            const auto path = value.named();
            if (value.done || path.size() != depth || (!value.is_text() && !value.node->is_array())) continue;
            const auto spot = walk(path, false);
            if (!spot || spot->of != Spot::Of::plugin) continue;
            value.done = true;
            const auto same = [&](const auto& other) { return other.first == spot->where; };
            if (const auto at = std::find_if(last.begin(), last.end(), same); at != last.end())
                at->second = &value;
            else
                last.emplace_back(spot->where, &value);
        }
        for (auto& [where, value] : last)
            if (auto spot = walk(value->named(), true)) name_plugin(*spot, *value->node);
    }

    void name_plugin(Spot spot, toml::node& value) {
        auto* node = spot.node();
        if (auto* list = node ? node->as_array() : nullptr; list && list->size() == 1 && value.is_string())
            return name_plugin(element(spot, *list, 0), value);
        if ((node && node->is_array()) || value.is_array()) {
            drop_list(spot, value);
            return spot.put(value);
        }
        auto* table = node ? node->as_table() : nullptr;
        const auto now = value.as_string()->get(), before = parts_->named(spot.kind, node);
        if (table && (before == now || before.empty())) {
            table->insert_or_assign("use", std::move(*value.as_string()));
            return;
        }
        if (before != now) give_way(spot.kind, node, now, spot.stage);
        // One of a list keeps the name that it is called by.
        auto* name = table && spot.list ? table->get_as<std::string>("name") : nullptr;
        if (!name) return spot.put(value);
        auto named = as_table(value);
        named.insert("name", std::move(*name));
        spot.put(named);
    }

    void drop_list(const Spot& spot, const toml::node& value) {
        const auto* list = spot.node() ? spot.node()->as_array() : nullptr;
        std::vector<std::string> all;
        bool fields = false;
        for (std::size_t i = 0; list && i < list->size(); ++i) {
            const auto set = fields_in(list->get(i));
            fields = fields || !set.empty();
            all.push_back(fmt::format("`{}`{}", label(spot, *list->get(i)),
                                      set.empty() ? "" : fmt::format(" ({})", fmt::join(set, ", "))));
        }
        if (fields)
            note(spot.stage,
                 fmt::format("{} = {} takes the place of {}", spot.kind, shortened(toml_value(value)), listed(all)));
    }

    /// What an element of a list is called by.
    std::string label(const Spot& list, const toml::node& one) const {
        if (const auto* table = one.as_table())
            if (const auto* name = table->get_as<std::string>("name")) return name->get();
        return list.of == Spot::Of::plugin ? parts_->named(list.kind, &one) : one.value_or(std::string());
    }

    static Spot element(const Spot& of, toml::array& list, std::size_t number) {
        auto one = of;
        one.self = nullptr;
        one.table = nullptr;
        one.list = &list;
        one.number = number;
        one.where += fmt::format("/{}", number);
        if (of.of == Spot::Of::stages) one.of = Spot::Of::stage;
        return one;
    }

    /// The element by its number or its name; with one plugin in the list, a field of that.
    std::optional<Spot> step_into(const Spot& at, toml::array& list, const toml::key& key, bool make) {
        const std::string word(key.str());
        std::vector<std::size_t> found;
        std::vector<std::string> names;
        for (std::size_t i = 0; i < list.size(); ++i) {
            names.push_back(label(at, *list.get(i)));
            if (word == std::to_string(i)) found = {i};
        }
        for (std::size_t i = 0; found.empty() && i < list.size(); ++i)
            if (names[i] == word) found.push_back(i);
        if (found.empty())
            for (std::size_t i = 0; i < list.size(); ++i)
                if (names[i] == word) found.push_back(i);
        if (found.size() == 1) {
            auto one = element(at, list, found.front());
            if (at.of == Spot::Of::stages) one.stage = names[found.front()];
            return one;
        }
        if (found.empty() && at.of == Spot::Of::plugin && list.size() == 1)
            return step(element(at, list, 0), key, make);
        if (make) complain(at, key, names, found.size());
        return std::nullopt;
    }

    void complain(const Spot& at, const toml::key& key, const std::vector<std::string>& names, std::size_t found) {
        const auto what = std::string(at.key.str());
        std::vector<std::string> all;
        for (std::size_t i = 0; i < names.size(); ++i)
            all.push_back(names[i].empty() ? std::to_string(i) : fmt::format("{} or {}", names[i], i));
        mistakes_.add(place_of(key.source()),
                      found > 1 ? fmt::format("{} are called `{}` in the list `{}`", found, key.str(), what)
                                : fmt::format("nothing is called `{}` in the list `{}`", key.str(), what),
                      all.empty() ? "it is empty" : fmt::format("it has {}", listed(all)));
    }

    /// The plugin of that kind as it stands for this scope: in the stage, or else at the top.
    toml::node* effective(toml::table& scope, std::string_view kind) const {
        auto* own = scope.get(kind);
        return own ? own : root_.get(kind);
    }

    /// A part of a plugin stands inside it or beside it; wherever it stands, that is the one that is meant.
    std::vector<toml::key> settled(toml::table& scope, std::vector<toml::key> path) const {
        const std::string kind(path.front().str());
        if (!parts_ || !parts_->is_kind(kind)) return path;
        auto* owner = effective(scope, kind);
        if (path.size() > 1 && !(owner && owner->is_array())) {
            const auto& parts = parts_->of(kind, parts_->named(kind, owner));
            const auto part = parts.find(std::string(path[1].str()));
            const auto* table = owner ? owner->as_table() : nullptr;
            if (part != parts.end() && part->second != kind && !(table && table->contains(part->first)) &&
                effective(scope, part->second)) {
                path.erase(path.begin());
                path.front() = toml::key(part->second, path.front().source());
                return path;
            }
        }
        if (owner) return path;
        std::vector<std::pair<std::string, std::string>> inside;
        for (const auto& other : parts_->kinds())
            if (const auto* node = other == kind ? nullptr : effective(scope, other))
                if (const auto* table = node->as_table())
                    for (const auto& [key, part] : parts_->of(other, parts_->named(other, node)))
                        if (part == kind && table->contains(key)) inside.emplace_back(other, key);
        if (inside.size() != 1) return path;
        const auto source = path.front().source();
        path.front() = toml::key(inside.front().second, source);
        path.insert(path.begin(), toml::key(inside.front().first, source));
        return path;
    }

    std::optional<Spot> walk(std::vector<toml::key> path, bool make) {
        std::optional<Spot> at = Spot{.of = Spot::Of::experiment, .self = &root_};
        for (std::size_t i = 0; at && i < path.size(); ++i) {
            if (at->of == Spot::Of::experiment || at->of == Spot::Of::stage)
                if (auto* scope = at->node()->as_table()) {
                    const auto rest = settled(*scope, {path.begin() + static_cast<std::ptrdiff_t>(i), path.end()});
                    path.resize(i);
                    path.insert(path.end(), rest.begin(), rest.end());
                    if (make && at->of == Spot::Of::stage) leave(*scope, std::string(path[i].str()));
                }
            at = step(*at, path[i], make);
        }
        return at;
    }

    /// A stage is given a part of its own: what stands at the top may then be of no use to any.
    void leave(const toml::table& stage, const std::string& kind) {
        if (!parts_ || !parts_->is_kind(kind) || stage.contains(kind)) return;
        laid_.left.insert(kind);
        for (const auto& [key, part] : parts_->of(kind, parts_->named(kind, root_.get(kind)))) laid_.left.insert(part);
    }

    /// What is called so in what stands there. make: tables on the way that are not there yet are made.
    std::optional<Spot> step(Spot at, const toml::key& key, bool make) {
        auto* node = at.node();
        if (auto* list = node ? node->as_array() : nullptr) return step_into(at, *list, key, make);
        if (make && !(node && node->is_table())) {
            toml::table made;
            if (node && at.of == Spot::Of::plugin && node->is_string()) made = as_table(*node);
            at.put(made);
        }
        Spot next{.key = key, .where = fmt::format("{}/{}", at.where, key.str()), .stage = at.stage};
        const auto part = at.of == Spot::Of::plugin ? kind_of_part(at, key) : std::string(key.str());
        if (node = at.node(); node) next.table = node->as_table();
        if (at.of == Spot::Of::experiment && key.str() == "stage") {
            next.of = Spot::Of::stages;
        } else if (at.of != Spot::Of::other && at.of != Spot::Of::stages && parts_ && parts_->is_kind(part)) {
            next.of = Spot::Of::plugin;
            next.kind = part;
        }
        return next;
    }

    std::string kind_of_part(const Spot& at, const toml::key& key) const {
        const auto& parts = parts_->of(at.kind, parts_->named(at.kind, at.node()));
        const auto part = parts.find(std::string(key.str()));
        return part == parts.end() ? "" : part->second;
    }

    toml::table& root_;
    const Parts* parts_;  ///< null: as if there were no plugins
    Diagnostics& mistakes_;
    Laid& laid_;
};

/// Lays one table over another, both of the plugin of that kind, or of settings where the kind is empty.
class Merge {
 public:
    Merge(const Parts& parts, Overlay& overlay, std::string stage)
        : parts_(parts), overlay_(overlay), stage_(std::move(stage)) {}

    /// Does it name another plugin than stands below?
    bool is_other(const std::string& kind, const toml::node& below, const toml::node& above) const {
        const auto* table = above.as_table();
        const bool names = !table || table->contains("use");
        return !kind.empty() && names && parts_.named(kind, &above) != parts_.named(kind, &below);
    }

    toml::table merged(const std::string& kind, toml::node& below, toml::node& above) const {
        auto all = below.is_table() ? std::move(*below.as_table()) : as_table(below);
        auto more = above.is_table() ? std::move(*above.as_table()) : as_table(above);
        const auto& parts = parts_.of(kind, parts_.named(kind, &all));
        for (auto&& [key, node] : more) {
            auto* old = all.get(key);
            const auto part = parts.find(std::string(key.str()));
            const bool both = old && part != parts.end() && is_plugin(*old) && is_plugin(node);
            if (both && !is_other(part->second, *old, node)) {
                all.insert_or_assign(key, merged(part->second, *old, node));
                continue;
            }
            if (both) overlay_.give_way(part->second, old, parts_.named(part->second, &node), stage_);
            node.visit([&, &key = key](auto& value) { all.insert_or_assign(key, std::move(value)); });
        }
        return all;
    }

    static bool is_plugin(const toml::node& node) { return node.is_table() || node.is_string(); }

 private:
    const Parts& parts_;
    Overlay& overlay_;
    std::string stage_;
};

}  // namespace

void lay_over(toml::table& root, const std::vector<std::string>& overrides, const Parts& parts, Diagnostics& mistakes,
              Laid& laid) {
    Overlay(root, &parts, mistakes, laid).lay(values_of(overrides, mistakes));
}

void lay_stages(toml::table& root, const Parts& parts, const std::function<toml::table()>& again, Laid& laid) {
    auto* stages = root.get_as<toml::array>("stage");
    if (!stages) return;
    Diagnostics none;
    Overlay overlay(root, &parts, none, laid);
    for (auto& one : *stages) {
        auto* stage = one.as_table();
        if (!stage) continue;
        const auto name = (*stage)["name"].value_or(std::string());
        const Merge merge(parts, overlay, name);
        auto top = again();
        for (auto&& [key, node] : top) {
            auto* own = stage->get(key);
            const auto kind = parts.is_kind(key.str()) ? std::string(key.str()) : std::string();
            const auto fits = [&](const toml::node& part) {
                return part.is_table() || (!kind.empty() && part.is_string());
            };
            if (!own || !fits(node) || !fits(*own)) continue;
            if (merge.is_other(kind, node, *own)) {
                overlay.give_way(kind, &node, parts.named(kind, own), name);
                continue;
            }
            stage->insert_or_assign(key, merge.merged(kind, node, *own));
            laid.hidden.insert(root.get(key));
        }
    }
}

toml::table read_toml(const std::filesystem::path& file, const std::vector<std::string>& overrides,
                      Diagnostics& mistakes) {
    auto root = read_toml(file, mistakes);
    Diagnostics later;  // what does not fit is said by who knows the plugins
    Laid laid;
    Overlay(root, nullptr, later, laid).lay(values_of(overrides, mistakes));
    return root;
}

}  // namespace dtk
