// Completing what is typed: commands, options, plugins and their fields.
#include "cli/completion.hpp"

#include <algorithm>
#include <iterator>
#include <set>

#include <CLI/CLI.hpp>

#include "base/experiment.hpp"
#include "cli/commands.hpp"

namespace dtk::cli {

namespace {

using Words = std::vector<std::string>;

/// The fields of any plugin of that kind.
std::set<std::string> fields_of(const Registry& registry, const std::string& kind) {
    std::vector<PluginFile> plugins;
    std::ranges::copy_if(registry.plugins(), std::back_inserter(plugins),
                         [&](const PluginFile& plugin) { return plugin.kind == kind && plugin.twins.empty(); });
    const auto probes = registry.probe(plugins);
    std::set<std::string> keys;
    for (std::size_t i = 0; i < plugins.size(); ++i)
        if (probes[i].problem.empty())
            for (const auto& field : declared_fields(registry.load(plugins[i]))) keys.insert(field.key);
    return keys;
}

/// KEY=VALUE: tables, then their fields, then the plugins that a field names.
Words settings(const std::string& typed) {
    const Registry registry(plugin_folders({}));
    const auto kinds = registry.kinds();
    const auto tables = declared_settings();
    const auto dot = typed.find('.'), equals = typed.find('=');
    const auto table = typed.substr(0, std::min(dot, equals));
    const bool is_kind = std::ranges::find(kinds, table) != kinds.end();
    Words all;
    if (equals != typed.npos) {
        const auto key = dot < equals ? typed.substr(dot + 1, equals - dot - 1) : "use";
        const auto kind = key == "use" ? table : key;  // a field that is a plugin is mostly called as its kind
        if (is_kind)
            for (const auto& name : registry.names(kind)) all.push_back(typed.substr(0, equals + 1) + name);
    } else if (dot != typed.npos) {
        if (is_kind) {
            all.push_back(table + ".use=");
            for (const auto& key : fields_of(registry, table)) all.push_back(table + "." + key + "=");
        }
        if (const auto found = tables.find(table); found != tables.end())
            for (const auto& field : found->second) all.push_back(table + "." + field.key + "=");
    } else {
        for (const auto& kind : kinds) all.push_back(kind + ".");
        for (const auto& [name, fields] : tables)
            if (!name.empty()) all.push_back(name + ".");
    }
    return all;
}

/// What a positional argument or an option's value may be, by the word that --help has for it.
Words values(const std::string& type, const std::string& typed) {
    const Registry registry(plugin_folders({}));
    if (type == "KEY=VALUE") return settings(typed);
    if (type == "KIND") return registry.kinds();
    Words names;
    for (const auto& plugin : registry.plugins())
        if (type.find("NAME") != type.npos && (type[0] == '[' || plugin.kind == "schedule"))
            names.push_back(plugin.name);
    return names;
}

}  // namespace

Words completions(const CLI::App& app, const Words& words) {
    const auto typed = words.empty() ? std::string() : words.back();
    const auto* command = &app;
    const CLI::Option* asks = nullptr;  // the option whose value comes next
    std::size_t positional = 0;
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
        if (asks) {
            asks = nullptr;
        } else if (words[i].starts_with("-")) {
            const auto* option = command->get_option_no_throw(words[i]);
            asks = option && option->get_items_expected_max() > 0 ? option : nullptr;
        } else if (const auto subs =
                       command->get_subcommands([&](const CLI::App* sub) { return sub->get_name() == words[i]; });
                   !subs.empty()) {
            command = subs.front();
        } else {
            ++positional;
        }
    }
    Words all;
    if (asks) {
        all = values(asks->get_type_name(), typed);
    } else if (typed.starts_with("-")) {
        for (const auto* option : command->get_options())
            for (const auto& name : option->get_lnames()) all.push_back("--" + name);
    } else {
        for (const auto* sub : command->get_subcommands([](const CLI::App*) { return true; }))
            all.push_back(sub->get_name());
        std::vector<const CLI::Option*> places;
        for (const auto* option : command->get_options())
            if (option->get_positional()) places.push_back(option);
        if (!places.empty())
            for (const auto& one : values(places[std::min(positional, places.size() - 1)]->get_type_name(), typed))
                all.push_back(one);
    }
    std::erase_if(all, [&](const std::string& one) { return !one.starts_with(typed); });
    return all;
}

std::string completion_script(const std::string& shell) {
    if (shell == "bash")
        return R"sh(# eval "$(dtk completion bash)"
_dtk() {
    local line="${COMP_LINE:0:COMP_POINT}" words
    # Words as they were typed, whole where they hold a "=".
    read -ra words <<<"$line"
    [[ $line == *" " ]] && words+=("")
    local typed="${words[-1]}"
    mapfile -t COMPREPLY < <("${COMP_WORDS[0]}" --complete "${words[@]:1}" 2>/dev/null)
    # bash replaces what stands after the last "=" alone.
    [[ $typed == *=* ]] && COMPREPLY=("${COMPREPLY[@]#"${typed%=*}="}")
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[.=] ]] && compopt -o nospace
}
complete -o default -F _dtk dtk ./dtk
)sh";
    if (shell == "zsh")
        return R"sh(# eval "$(dtk completion zsh)"
_dtk() {
    local -a found
    found=("${(@f)$("${words[1]}" --complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    found=(${found:#})
    if (( ${#found} )); then compadd -S '' -- "${found[@]}"; else _files; fi
}
compdef _dtk dtk ./dtk
)sh";
    return R"sh(# dtk completion fish | source
function __dtk_complete
    set -l words (commandline -opc) (commandline -ct)
    $words[1] --complete $words[2..] 2>/dev/null
end
complete -c dtk -a '(__dtk_complete)'
)sh";
}

}  // namespace dtk::cli
