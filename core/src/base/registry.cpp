#include "base/registry.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>
#include <boost/dll/runtime_symbol_info.hpp>
#include <boost/dll/shared_library.hpp>
#include <nlohmann/json.hpp>

#include "base/blame.hpp"
#include "base/build.hpp"
#include "base/elf.hpp"
#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/trust.hpp"
#include "base/words.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

namespace {

constexpr std::string_view section = "dtk2";
constexpr int probe_seconds = 20;

/// dtk_Schedule_cosine__3_0_b12345678[_default] → its parts; nothing for a name of another shape.
bool read_symbol(const std::string& symbol, PluginFile& plugin) {
    std::string_view rest = symbol;
    if (!rest.starts_with("dtk_")) return false;
    rest.remove_prefix(4);
    if (rest.ends_with("_default")) {
        plugin.is_default = true;
        rest.remove_suffix(8);
    }
    const auto kind_end = rest.find('_');
    const auto name_end = rest.rfind("__");
    if (kind_end == rest.npos || name_end == rest.npos || name_end <= kind_end) return false;
    const auto tail = rest.substr(name_end + 2);
    const auto major_end = tail.find('_'), version_end = tail.find('_', major_end + 1);
    if (major_end == tail.npos || version_end == tail.npos) return false;
    auto& [major, minor] = plugin.interface_version;
    if (std::from_chars(tail.data(), tail.data() + major_end, major).ec != std::errc() ||
        std::from_chars(tail.data() + major_end + 1, tail.data() + version_end, minor).ec != std::errc())
        return false;
    plugin.kind = rest.substr(0, kind_end);
    std::transform(plugin.kind.begin(), plugin.kind.end(), plugin.kind.begin(),
                   [](unsigned char c) { return std::tolower(c); });
    plugin.name = rest.substr(kind_end + 1, name_end - kind_end - 1);
    plugin.build_id = tail.substr(version_end + 1);
    plugin.symbol = symbol;
    return true;
}

/// The system's own sentence, without what Boost.DLL and the loader put around it.
std::string loader_message(const fs::path& file, std::string text) {
    constexpr std::string_view before = "dlerror system message: ";
    if (const auto at = text.find(before); at != text.npos) text.erase(0, at + before.size());
    if (const auto at = text.find("): "); at != text.npos) text.erase(at);
    if (const auto name = file.string() + ": "; text.starts_with(name)) text.erase(0, name.size());
    return text;
}

void check_interface(const PluginFile& plugin) {
    const auto version = interface_versions().find(plugin.kind);
    if (version == interface_versions().end())
        throw PluginError(
            fmt::format("{} is of a kind this dtk does not know, `{}`", plugin.file.string(), plugin.kind));
    if (!version->second.takes(plugin.interface_version))
        throw PluginError(
            fmt::format("{} plugin `{}` speaks another version of its interface\n  plugin: {} {}\n  dtk:    {} {}",
                        plugin.kind, plugin.name, plugin.kind, text_of(plugin.interface_version), plugin.kind,
                        text_of(version->second)),
            fmt::format("build it again with this dtk's headers; it is {}", plugin.file.string()));
}

bool same_build(const PluginFile& plugin) {
    return plugin.build_id == base_build_id() || plugin.build_id == torch_build_id();
}

[[noreturn]] void refuse_build(const PluginFile& plugin, std::string_view plugin_says) {
    throw PluginError(
        fmt::format("{} plugin `{}` was built for another dtk\n  plugin: {}\n  dtk:    {}\n          {}", plugin.kind,
                    plugin.name, plugin_says, torch_build_text(), base_build_text()),
        fmt::format("build it again with this dtk's LibTorch and standard library; it is {}", plugin.file.string()));
}

/// $variable/…, or in the home folder; as the XDG Base Directory Specification has it, a relative path does not count.
fs::path user_folder(const char* variable, const char* in_home) {
    const char* base = std::getenv(variable);
    const char* home = std::getenv("HOME");
    if (base && fs::path(base).is_absolute()) return fs::path(base) / "dtk";
    if (home && fs::path(home).is_absolute()) return fs::path(home) / in_home / "dtk";
    return {};
}

fs::path cache_file() {
    const auto folder = user_folder("XDG_CACHE_HOME", ".cache");
    return folder.empty() ? folder : folder / "plugins.json";
}

/// A summary, or a problem with its cure.
bool is_answer(const json& one) {
    return one.is_object() && (one.contains("summary") || one.contains("problem")) &&
           std::ranges::all_of(one, [](const json& text) { return text.is_string(); });
}

/// What was learnt of plugins that worked. Whatever else stands there, or anything but a file, is as good as nothing.
json read_cache() {
    auto cache = read_json(cache_file());
    if (!cache.is_object()) return json::object();
    for (auto one = cache.begin(); one != cache.end();)
        one = is_answer(*one) && one->contains("summary") ? std::next(one) : cache.erase(one);
    return cache;
}

void write_cache(const json& cache) {
    const auto file = cache_file();
    if (file.empty()) return;
    std::error_code ignored;  // a cache that cannot be written only costs time
    fs::create_directories(file.parent_path(), ignored);
    try {
        write_atomically(file, cache.dump());
    } catch (const Error&) {
    }
}

json thrown(const PluginFile& plugin, std::string_view what) {
    return {{"problem", fmt::format("{} plugin `{}` throws while it is loaded: {}", plugin.kind, plugin.name, what)},
            {"help", fmt::format("the fault is in {}", plugin.file.string())}};
}

/// In the child: load each plugin and say what it says, a line each; the line before a crash is missing.
[[noreturn]] void probe_in_child(const Registry& registry, const std::vector<const PluginFile*>& plugins, int out) {
    forget_blame();
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, 0), ::dup2(null, 1), ::dup2(null, 2);
    for (const auto* plugin : plugins) {
        json line;
        try {
            line["summary"] = registry.load(*plugin).summary;
        } catch (const Error& error) {
            line = {{"problem", error.what()}, {"help", error.help()}};
        } catch (const std::exception& error) {
            line = thrown(*plugin, error.what());
        } catch (...) {
            line = thrown(*plugin, "something that is no exception");
        }
        const auto text = line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
        if (::write(out, text.data(), text.size()) < 0) break;
    }
    ::_exit(0);
}

/// Loads the plugins in a child process → as many answers as it gave, then, if it died, one that says how.
std::vector<json> probe_in_child(const Registry& registry, const std::vector<const PluginFile*>& plugins) {
    int ends[2];
    if (::pipe(ends) != 0) throw Error("cannot make a pipe to look at plugins");
    const pid_t child = ::fork();
    if (child < 0) throw Error("cannot start a process to look at plugins");
    if (child == 0) {
        ::close(ends[0]);
        probe_in_child(registry, plugins, ends[1]);
    }
    ::close(ends[1]);
    std::string text;
    bool late = false;
    char buffer[4096];
    for (;;) {
        pollfd waiting{ends[0], POLLIN, 0};
        const int ready = ::poll(&waiting, 1, probe_seconds * 1000);
        if (ready < 0 && errno == EINTR) continue;
        if (ready == 0) {
            late = true;
            ::kill(child, SIGKILL);
            break;
        }
        const auto got = ::read(ends[0], buffer, sizeof buffer);
        if (got <= 0) break;
        text.append(buffer, static_cast<std::size_t>(got));
    }
    ::close(ends[0]);
    int status = 0;
    ::waitpid(child, &status, 0);

    std::vector<json> answers;
    for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != text.npos; begin = end + 1)
        answers.push_back(json::parse(text.substr(begin, end - begin), nullptr, false));
    // A plugin can write there, too.
    for (std::size_t i = 0; i < answers.size(); ++i)
        if (!is_answer(answers[i])) {
            answers.resize(i);
            break;
        }
    if (answers.size() > plugins.size()) answers.resize(plugins.size());
    if (answers.size() < plugins.size()) {
        const auto how = late ? fmt::format("does not finish loading in {} seconds", probe_seconds)
                         : WIFSIGNALED(status)
                             ? fmt::format("crashes while it is loaded (signal {}, {})", WTERMSIG(status),
                                           strsignal(WTERMSIG(status)))
                             : fmt::format("ends the program while it is loaded (exit code {})", WEXITSTATUS(status));
        const auto& plugin = *plugins[answers.size()];
        answers.push_back({{"problem", fmt::format("{} plugin `{}` {}", plugin.kind, plugin.name, how)},
                           {"help", fmt::format("the fault is in {}", plugin.file.string())}});
    }
    return answers;
}

/// Folders that stand beside the program.
const std::vector<fs::path>& own_folders() {
    static const fs::path program = boost::dll::program_location().parent_path().string();
    static const std::vector<fs::path> folders{(program / "../lib/dtk/plugins").lexically_normal(),
                                               program / "plugins"};
    return folders;
}

/// Who can write beside the program can write the program, too; and what the user has said is enough.
bool is_beyond_doubt(const fs::path& folder) {
    return std::ranges::find(own_folders(), folder) != own_folders().end() || is_trusted(folder);
}

void refuse_foreign(const fs::path& folder) {
    if (is_beyond_doubt(folder)) return;
    if (const auto why = writable_by_others(folder); !why.empty())
        throw PluginError(fmt::format("plugins in {} are not loaded: {}", folder.string(), why),
                          fmt::format("chmod go-w '{0}', or copy them to a folder of your own, or add --trust '{0}'",
                                      folder.string()));
}

/// Why a file in a search folder, or the folder that a link leads to, is not the user's; empty where it is.
std::string foreign(const fs::path& file) {
    std::error_code error;
    const auto real = fs::is_symlink(file, error) ? fs::canonical(file, error) : file;
    for (const auto& path : {real, real.parent_path()})
        if (const auto why = writable_by_others(path); !why.empty()) return fmt::format("{}: {}", path.string(), why);
    return {};
}

/// Does a summary end in "elsewhere: a, b", and is that one of its words?
bool called_elsewhere(const std::string& summary, const std::string& name) {
    constexpr std::string_view lead = "elsewhere: ";
    auto at = summary.rfind(lead);
    if (at == summary.npos) return false;
    for (at += lead.size(); at < summary.size();) {
        const auto end = std::min(summary.find(", ", at), summary.size());
        if (std::string_view(summary).substr(at, end - at) == name) return true;
        at = end + 2;
    }
    return false;
}

}  // namespace

PluginError::~PluginError() = default;

Registry::Registry(std::vector<fs::path> folders) : folders_(std::move(folders)) {
    for (const auto& folder : folders_) read_folder(folder);
    std::sort(plugins_.begin(), plugins_.end(),
              [](const auto& a, const auto& b) { return std::tie(a.kind, a.name) < std::tie(b.kind, b.name); });
}

void Registry::read_folder(const fs::path& folder) {
    refuse_foreign(folder);
    std::error_code error;
    std::vector<fs::path> files;
    for (fs::recursive_directory_iterator it(folder, fs::directory_options::skip_permission_denied, error), end;
         !error && it != end; it.increment(error)) {
        if (it.depth() >= 1) it.disable_recursion_pending();
        if (it->path().extension() == ".so") files.push_back(it->path());
    }
    std::sort(files.begin(), files.end());
    const bool beyond_doubt = is_beyond_doubt(folder);
    for (const auto& file : files) try {
            if (const auto why = beyond_doubt ? std::string() : foreign(file); !why.empty())
                skipped_.push_back({file, "is not loaded: " + why});
            else
                read_file(folder, file);
        } catch (const Error& unusable) {
            const std::string reason = unusable.what();
            skipped_.push_back(
                {file, reason.starts_with(file.string() + " ") ? reason.substr(file.string().size() + 1) : reason});
        }
}

void Registry::read_file(const fs::path& folder, const fs::path& file) {
    const auto [sections, symbols] = exported_symbols(file, section);
    if (symbols.empty()) {
        for (const auto& other : sections)
            if (other.size() > 3 && other.starts_with("dtk") && std::isdigit(static_cast<unsigned char>(other[3])))
                return skipped_.push_back(
                    {file, fmt::format("speaks plugin interface {}, this dtk speaks {}", other, section)});
        return skipped_.push_back({file, "holds no dtk plugin"});
    }
    for (const auto& symbol : symbols) {
        PluginFile plugin;
        if (!read_symbol(symbol, plugin)) {
            skipped_.push_back({file, fmt::format("has a plugin symbol of an unknown shape, {}", symbol)});
            continue;
        }
        plugin.file = file;
        plugin.folder = folder;
        const auto same = std::find_if(plugins_.begin(), plugins_.end(), [&](const PluginFile& known) {
            return known.kind == plugin.kind && known.name == plugin.name;
        });
        if (same == plugins_.end())
            plugins_.push_back(std::move(plugin));
        else if (same->folder == folder)
            same->twins.push_back(file);
        else
            same->shadowed.push_back(file);
    }
}

std::vector<std::string> Registry::kinds() const {
    std::vector<std::string> kinds;
    for (const auto& plugin : plugins_)
        if (kinds.empty() || kinds.back() != plugin.kind) kinds.push_back(plugin.kind);
    return kinds;
}

std::vector<std::string> Registry::names(const std::string& kind) const {
    std::vector<std::string> names;
    for (const auto& plugin : plugins_)
        if (plugin.kind == kind) names.push_back(plugin.name);
    return names;
}

const PluginFile* Registry::named_elsewhere(const std::string& kind, const std::string& name) const {
    std::vector<PluginFile> of_kind;
    std::ranges::copy_if(plugins_, std::back_inserter(of_kind), [&](const auto& one) { return one.kind == kind; });
    const auto probes = probe(of_kind);
    for (std::size_t i = 0; i < probes.size(); ++i)
        if (called_elsewhere(probes[i].summary, name)) return &find(kind, of_kind[i].name);
    return nullptr;
}

const PluginFile& Registry::find(const std::string& kind, const std::string& name) const {
    std::vector<const PluginFile*> found;
    for (const auto& plugin : plugins_)
        if (plugin.kind == kind && (name.empty() ? plugin.is_default : plugin.name == name)) found.push_back(&plugin);
    const auto known = names(kind);
    if (found.empty() && name.empty())
        throw Error(fmt::format("no {} is named and there is no default one", kind),
                    known.empty() ? "" : fmt::format("there are {}", listed(known)));
    if (found.empty()) {
        const auto near = nearest(name, known);
        auto help = near.empty() ? std::string() : fmt::format("did you mean `{}`? ", near);
        if (const auto* ours = named_elsewhere(kind, name))
            help = fmt::format("that is called `{}` here; ", ours->name);
        for (const auto& plugin : plugins_)
            if (plugin.name == name) help += fmt::format("`{}` is a {}, not a {}; ", name, plugin.kind, kind);
        help += known.empty()
                    ? fmt::format("no plugin of kind {} was found; `dtk plugins path` shows where dtk looks", kind)
                    : fmt::format("there are {}", listed(known));
        for (const auto& skipped : skipped_)
            if (skipped.file.stem() == name)
                throw PluginError(fmt::format("{} plugin `{}` cannot be used: {} {}", kind, name, skipped.file.string(),
                                              skipped.reason),
                                  "build it again with this dtk");
        throw Error(fmt::format("{} plugin `{}` is not known", kind, name), help);
    }
    if (found.size() > 1)
        throw PluginError(fmt::format("the {} plugins `{}` and `{}` both claim to be the default", kind, found[0]->name,
                                      found[1]->name),
                          "name the one you want with `use`");
    if (!found[0]->twins.empty())
        throw PluginError(fmt::format("{} plugin `{}` is in two files of one folder: {} and {}", kind, found[0]->name,
                                      found[0]->file.string(), found[0]->twins[0].string()),
                          "remove or rename one of them");
    return *found[0];
}

const Descriptor& Registry::load(const PluginFile& plugin) const {
    // Never unloaded: objects, vtables and exceptions in flight may point into a plugin until exit.
    static auto& loaded = *new std::map<fs::path, boost::dll::shared_library>;
    check_interface(plugin);
    if (!same_build(plugin)) refuse_build(plugin, "build id " + plugin.build_id);
    auto& library = loaded[plugin.file];
    if (!library.is_loaded()) {
        boost::dll::fs::error_code error;
        std::string message;
        try {
            library.load(plugin.file, boost::dll::load_mode::rtld_now | boost::dll::load_mode::rtld_local);
        } catch (const boost::dll::fs::system_error& failure) {
            message = loader_message(plugin.file, failure.what());
        }
        if (!message.empty())
            throw PluginError(
                fmt::format("{} plugin `{}` cannot be loaded: {}", plugin.kind, plugin.name, message),
                fmt::format("build {} again with this dtk; a missing symbol means that it was linked against "
                            "another version or lacks a library",
                            plugin.file.string()));
    }
    const auto& descriptor = *static_cast<const Descriptor*>(library.get<const void* const>(plugin.symbol));
    if (descriptor.build != base_build_text() && descriptor.build != torch_build_text())
        refuse_build(plugin, descriptor.build);
    return descriptor;
}

std::vector<Probe> Registry::probe(const std::vector<PluginFile>& plugins) const {
    const auto memory = [](const PluginFile& plugin) { return plugin.file.string() + " " + plugin.symbol; };
    if (std::all_of(plugins.begin(), plugins.end(), [&](const auto& one) { return usable_.contains(memory(one)); })) {
        std::vector<Probe> known;
        for (const auto& plugin : plugins) known.push_back(usable_.at(memory(plugin)));
        return known;
    }
    std::vector<std::string> keys;  // what was learnt holds for these bytes in this dtk
    for (const auto& plugin : plugins)
        keys.push_back(fmt::format("{} {} {}", sha256_of_file(plugin.file), plugin.symbol, torch_build_id()));
    static auto cache = json::object();  // the file's and this process's own
    if (!std::ranges::all_of(keys, [](const auto& key) { return cache.contains(key); })) cache.update(read_cache());
    std::vector<std::size_t> unknown;
    std::map<std::size_t, json> answers;
    for (std::size_t i = 0; i < keys.size(); ++i)
        if (!cache.contains(keys[i])) unknown.push_back(i);
    for (std::size_t done = 0; done < unknown.size();) {
        std::vector<const PluginFile*> rest;
        for (std::size_t i = done; i < unknown.size(); ++i) rest.push_back(&plugins[unknown[i]]);
        for (auto& answer : probe_in_child(*this, rest)) answers[unknown[done++]] = std::move(answer);
    }
    std::vector<Probe> probes;
    for (std::size_t i = 0; i < keys.size(); ++i) {
        const auto answer = answers.contains(i) ? answers[i] : cache[keys[i]];
        probes.push_back({answer.value("summary", ""), answer.value("problem", ""), answer.value("help", "")});
        // What failed is tried again next time: the cure may lie outside the plugin's file.
        if (!probes.back().problem.empty()) continue;
        cache[keys[i]] = answer;
        usable_[memory(plugins[i])] = probes.back();
    }
    if (!unknown.empty()) write_cache(cache);
    return probes;
}

std::vector<fs::path> plugin_folders(const std::vector<fs::path>& first) {
    auto folders = first;
    const char* path = std::getenv("DTK_PLUGIN_PATH");
    for (std::string_view list = path ? path : ""; !list.empty();) {
        const auto end = std::min(list.find(':'), list.size());
        const fs::path folder(list.substr(0, end));
        if (!folder.empty() && folder.is_relative())
            throw UserError(fmt::format("DTK_PLUGIN_PATH names `{}`, which is another folder wherever dtk is started",
                                        folder.string()),
                            "write whole paths there, or give the folder with --plugin-path");
        if (!folder.empty()) folders.push_back(folder);
        list.remove_prefix(std::min(end + 1, list.size()));
    }
    if (const auto data = user_folder("XDG_DATA_HOME", ".local/share"); !data.empty())
        folders.push_back(data / "plugins");
    folders.insert(folders.end(), own_folders().begin(), own_folders().end());
    return folders;
}

}  // namespace dtk
