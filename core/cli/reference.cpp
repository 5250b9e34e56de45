// dtk plugins describe: what plugins are and take, on the screen or as a reference in JSON, Markdown, HTML, man pages.
#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/blame.hpp"
#include "base/declaration.hpp"
#include "base/files.hpp"
#include "cli/check.hpp"
#include "cli/commands.hpp"
#include "study/html.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

/// A plugin as the reference tells it.
struct Entry {
    PluginFile plugin;
    std::string summary, build;
    std::string about;  ///< the comment that its source begins with: formula and paper; empty where that is not there
    std::vector<DeclaredField> fields;
    std::optional<Checked> checked = {};
    std::string picture = {};  ///< an <svg> element; empty: none
};

/// Registered plugins of that name (and kind, where one is given).
std::vector<PluginFile> named(const Registry& registry, const std::vector<std::string>& words) {
    if (words.empty()) return registry.plugins();
    std::vector<PluginFile> found;
    for (const auto& plugin : registry.plugins())
        if (plugin.name == words.back() && (words.size() == 1 || plugin.kind == words.front())) found.push_back(plugin);
    if (!found.empty()) return found;
    std::vector<std::string> known;
    for (const auto& plugin : registry.plugins()) known.push_back(plugin.name);
    throw Error(fmt::format("there is no plugin `{}`", fmt::join(words, " ")),
                did_you_mean(words.back(), known, "`dtk plugins list` shows what there is"));
}

std::vector<Entry> entries(const Registry& registry, const std::vector<std::string>& words) {
    const auto described = named(registry, words);
    registry.probe(described);  // all at once: each is then known
    std::vector<Entry> all;
    for (const auto& plugin : described) {
        registry.find(plugin.kind, plugin.name);  // says so where two files claim the name
        if (const auto probe = registry.probe({plugin}).front(); !probe.problem.empty())
            throw PluginError(probe.problem, probe.help);
        const Blame blame(fmt::format("{} plugin `{}`", plugin.kind, plugin.name), "while it is described",
                          plugin.file);
        const auto& descriptor = registry.load(plugin);
        auto about = plugin.file;
        about.replace_extension(".txt");
        all.push_back({plugin, descriptor.summary, descriptor.build, fs::exists(about) ? read_file(about) : "",
                       declared_fields(descriptor)});
    }
    return all;
}

std::string default_of(const DeclaredField& field) {
    return field.required ? "(required)" : field.default_value.empty() ? "(the default)" : field.default_value;
}

/// "a number in (0, 1), nats"
std::string accepted(const DeclaredField& field) {
    auto text = field.accepts.empty() ? field.type : field.accepts;
    if (*field.range.unit) text += std::string(" ") + field.range.unit;
    return text;
}

std::string as_text(const Entry& entry) {
    auto text = fmt::format("{} `{}`: {}\n", entry.plugin.kind, entry.plugin.name, entry.summary);
    std::size_t key_width = 0, value_width = 0, range_width = 0;
    for (const auto& field : entry.fields) {
        key_width = std::max(key_width, field.key.size());
        value_width = std::max(value_width, std::min<std::size_t>(default_of(field).size(), 24));
        range_width = std::max(range_width, std::min<std::size_t>(accepted(field).size(), 24));
    }
    for (const auto& field : entry.fields)
        text += fmt::format("  {} = {}  {}  {}\n", padded(field.key, key_width), padded(default_of(field), value_width),
                            padded(accepted(field), range_width), field.doc);
    return text + fmt::format("\n[{}]\nuse = \"{}\"\n\n{}\n{}\n\n", entry.plugin.kind, entry.plugin.name,
                              entry.plugin.file.string(), entry.build);
}

json as_json(const Entry& entry) {
    json one{{"kind", entry.plugin.kind}, {"name", entry.plugin.name},          {"summary", entry.summary},
             {"about", entry.about},      {"file", entry.plugin.file.string()}, {"build", entry.build},
             {"fields", json::array()}};
    for (const auto& field : entry.fields)
        one["fields"].push_back({{"key", field.key},
                                 {"type", field.type},
                                 {"default", field.default_value},
                                 {"required", field.required},
                                 {"accepts", field.accepts},
                                 {"unit", field.range.unit},
                                 {"doc", field.doc}});
    return one;
}

/// Text in a table's cell.
std::string cell(std::string text) {
    for (std::size_t at = 0; (at = text.find('|', at)) != text.npos; at += 2) text.insert(at, "\\");
    return text;
}

std::string as_markdown(const Entry& entry) {
    auto text = fmt::format("## {}\n\n{}{}.\n", entry.plugin.name, entry.summary,
                            entry.plugin.is_default ? " (what stands in where none is named)" : "");
    if (!entry.about.empty()) text += fmt::format("\n```text\n{}```\n", entry.about);
    if (entry.fields.empty()) return text + "\nIt has no fields.\n\n";
    text += "\n| field | default | accepts | what it is |\n|---|---|---|---|\n";
    for (const auto& field : entry.fields)
        text += fmt::format(
            "| `{}` | {} | {} | {} |\n", field.key,
            field.required || field.default_value.empty() ? default_of(field) : "`" + cell(field.default_value) + "`",
            cell(accepted(field)), cell(field.doc));
    return text + "\n";
}

/// A line of a man page: nothing in it is a request.
std::string roff(std::string text) {
    for (std::size_t at = 0; (at = text.find('\\', at)) != text.npos; at += 2) text.insert(at, "\\");
    if (text.starts_with('.') || text.starts_with('\'')) text.insert(0, "\\&");
    for (std::size_t at = 0; (at = text.find("\n.", at)) != text.npos; at += 4) text.insert(at + 1, "\\&");
    return text;
}

std::string as_man(const Entry& entry) {
    auto text =
        fmt::format(".TH DTK-{0}-{1} 7\n.SH NAME\ndtk-{0}-{1} \\- {2}\n.SH SYNOPSIS\n.nf\n[{0}]\nuse = \"{1}\"\n.fi\n",
                    entry.plugin.kind, entry.plugin.name, roff(entry.summary));
    if (!entry.about.empty()) text += fmt::format(".SH DESCRIPTION\n.nf\n{}.fi\n", roff(entry.about));
    if (!entry.fields.empty()) text += ".SH FIELDS\n";
    for (const auto& field : entry.fields)
        text += fmt::format(".TP\n.B {}\n{}\n.br\n{}; {}\n", field.key, roff(field.doc), roff(accepted(field)),
                            field.required ? "it must be given" : "default " + roff(default_of(field)));
    return text;
}

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1f24; --faint: #57606a; --line: #d0d7de; --code: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #0d1117; --ink: #e6edf3; --faint: #8d96a0; --line: #30363d; --code: #161b22; }
}
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: var(--ink); background: var(--paper); }
pre { background: var(--code); padding: .8rem; white-space: pre-wrap; border-radius: 6px; }
table { border-collapse: collapse; width: 100%; } .wide { overflow-x: auto; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top; }
code { font-size: .92em; } a { color: inherit; } figure { margin: 1rem 0; background: #fff; border-radius: 6px; }
svg { max-width: 100%; height: auto; } .faint { color: var(--faint); }
)";

std::string page_of(const std::string& title, const std::string& body) {
    return fmt::format(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
        "content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>{}</style>\n</head>\n"
        "<body>\n{}</body>\n</html>\n",
        page::escaped(title), style, body);
}

std::string html_file(const PluginFile& plugin) { return fmt::format("{}-{}.html", plugin.kind, plugin.name); }

std::string as_html(const Entry& entry) {
    using page::escaped;
    const auto& [plugin, summary, build, about, fields, checked, picture] = entry;
    auto body = fmt::format(
        "<p><a href=\"index.html\">plugins</a> / {0}</p>\n<h1>{1}</h1>\n<p>{2}</p>\n"
        "<pre>[{0}]\nuse = \"{1}\"</pre>\n",
        escaped(plugin.kind), escaped(plugin.name), escaped(summary));
    if (!about.empty()) body += fmt::format("<h2>Formula and source</h2>\n<pre>{}</pre>\n", escaped(about));
    if (!picture.empty())
        body += fmt::format("<figure role=\"img\" aria-label=\"what {} does\">{}</figure>\n", escaped(plugin.name),
                            picture);
    body += "<h2>Fields</h2>\n";
    if (fields.empty()) body += "<p>It has none.</p>\n";
    if (!fields.empty()) {
        body +=
            "<div class=\"wide\"><table>\n<tr><th>field</th><th>default</th><th>accepts</th><th>what it is</th></tr>\n";
        for (const auto& field : fields)
            body += fmt::format("<tr><td><code>{}</code></td><td><code>{}</code></td><td>{}</td><td>{}</td></tr>\n",
                                escaped(field.key), escaped(default_of(field)), escaped(accepted(field)),
                                escaped(field.doc));
        body += "</table></div>\n";
    }
    if (checked) {
        body += fmt::format("<h2>Laws</h2>\n<p>{}.</p>\n<div class=\"wide\"><table>\n", escaped(checked->text()));
        for (const auto& [law, outcome, figures] : checked->verdicts)
            body += fmt::format("<tr><td>{}</td><td>{}</td><td class=\"faint\">{}</td></tr>\n", escaped(law),
                                text_of(outcome), escaped(figures));
        body += "</table></div>\n";
    }
    return page_of(fmt::format("{} {}", plugin.kind, plugin.name), body);
}

std::string index_of(const std::vector<Entry>& all) {
    using page::escaped;
    std::string body = "<h1>Plugins</h1>\n", kind;
    for (const auto& entry : all) {
        if (entry.plugin.kind != kind) {
            body +=
                fmt::format("{}<h2>{}</h2>\n<table>\n", kind.empty() ? "" : "</table>\n", escaped(entry.plugin.kind));
            kind = entry.plugin.kind;
        }
        body += fmt::format("<tr><td><a href=\"{}\">{}</a></td><td>{}</td><td class=\"faint\">{}</td></tr>\n",
                            html_file(entry.plugin), escaped(entry.plugin.name), escaped(entry.summary),
                            entry.checked ? escaped(entry.checked->text()) : "");
    }
    return page_of("Plugins of dtk", body + "</table>\n");
}

/// Tries the laws of each and has it drawn.
void check(const Registry& registry, std::vector<Entry>& all) {
    const auto folder = temporary_beside(fs::temp_directory_path() / "dtk-reference");
    fs::create_directories(folder);
    std::vector<Tried> trials;
    for (const auto& entry : all) {
        trials.push_back(tried(registry, entry.plugin, entry.plugin.file));
        trials.back().picture = folder / fmt::format("{}.svg", trials.size());
    }
    std::size_t next = 0;
    check_plugins(registry, trials, 0, [&](const Tried& trial, const Checked& checked) {
        auto& entry = all[next++];
        entry.checked = checked;
        if (fs::exists(trial.picture)) {
            const auto text = read_file(trial.picture);
            if (const auto begin = text.find("<svg"); begin != text.npos) entry.picture = text.substr(begin);
        }
        fmt::print(stderr, "{} {}: {}\n", entry.plugin.kind, entry.plugin.name, checked.text());
    });
    fs::remove_all(folder);
}

/// A file for each kind, or each plugin, and what leads to them.
void write_reference(const std::vector<Entry>& all, const std::string& format, const fs::path& folder) {
    fs::create_directories(folder);
    std::map<std::string, std::string> files;
    for (const auto& entry : all) {
        if (format == "html") files[html_file(entry.plugin)] = as_html(entry);
        if (format == "man") files[fmt::format("dtk-{}-{}.7", entry.plugin.kind, entry.plugin.name)] = as_man(entry);
        if (format == "json") files["plugins.json"] = "";
        if (format == "text") files["plugins.txt"] += as_text(entry);
        if (format != "md") continue;
        auto& page = files[entry.plugin.kind + ".md"];
        if (page.empty()) {
            page = fmt::format("# Plugins of kind `{}`\n\n", entry.plugin.kind);
            files["README.md"] += fmt::format("\n## [{0}]({0}.md)\n\n", entry.plugin.kind);
        }
        page += as_markdown(entry);
        files["README.md"] +=
            fmt::format("- [{0}]({1}.md#{0}): {2}\n", entry.plugin.name, entry.plugin.kind, entry.summary);
    }
    if (format == "md")
        files["README.md"] =
            "# Reference of the plugins\n\nWritten by `dtk plugins describe --format md --out "
            "docs/reference` from what they declare.\n" +
            files["README.md"];
    if (format == "html") files["index.html"] = index_of(all);
    if (format == "json") {
        json list = json::array();
        for (const auto& entry : all) list.push_back(as_json(entry));
        files["plugins.json"] = list.dump(2) + "\n";
    }
    for (const auto& [name, text] : files) write_atomically(folder / name, text);
    fmt::print("{} plugins in {}\n", all.size(), folder.string());
}

}  // namespace

int plugins_describe(const PluginsRequest& request) {
    const Registry registry(plugin_folders(request.folders));
    auto all = entries(registry, request.names);
    const auto format = request.json ? std::string("json") : request.format;
    if (format == "html") check(registry, all);
    if (request.out) {
        write_reference(all, format, *request.out);
        return done;
    }
    json list = json::array();
    for (const auto& entry : all) {
        if (format == "json")
            list.push_back(as_json(entry));
        else
            fmt::print("{}", format == "md"     ? as_markdown(entry)
                             : format == "html" ? as_html(entry)
                             : format == "man"  ? as_man(entry)
                                                : as_text(entry));
    }
    if (format == "json") fmt::print("{}\n", list.dump(2));
    return done;
}

}  // namespace dtk::cli
