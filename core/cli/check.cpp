// dtk plugins check: every law of a plugin's kind, tried in a process of its own.
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <thread>

#include <nlohmann/json.hpp>

#include "base/blame.hpp"
#include "base/files.hpp"
#include "base/overlay.hpp"
#include "cli/check.hpp"
#include "cli/commands.hpp"

namespace dtk::cli {

namespace fs = std::filesystem;
using json = nlohmann::json;
using Clock = std::chrono::steady_clock;

namespace {

constexpr rlim_t bytes_for_a_plugin = rlim_t{8} << 30;

/// What stands in [check] of the file.
toml::table named_in(const fs::path& file) {
    Diagnostics mistakes;
    auto table = read_toml(file, mistakes);
    auto* check = table.get_as<toml::table>("check");
    if (mistakes.empty() && !check)
        mistakes.add({file}, "there is no table [check] in it", "name in [check] what the plugin is to be tried with");
    if (!mistakes.empty()) throw UserError(mistakes.text());
    return std::move(*check);
}

/// NAME.check.toml beside NAME.so or NAME.cpp.
fs::path beside(const fs::path& file) { return file.parent_path() / (file.stem().string() + ".check.toml"); }

/// In the child: a line before each law and one after it; where the line after it is missing, it ended the child.
[[noreturn]] void try_in_child(const Registry& registry, const Tried& one, int out) {
    forget_blame();
    const int null = ::open("/dev/null", O_RDWR);
    ::dup2(null, 0), ::dup2(null, 1), ::dup2(null, 2);
    const auto most = static_cast<rlim_t>(std::ceil(plugin_seconds()));
    const rlimit seconds{most, most}, memory{bytes_for_a_plugin, bytes_for_a_plugin}, no_core{0, 0};
    ::setrlimit(RLIMIT_CPU, &seconds);
    ::setrlimit(RLIMIT_DATA, &memory);
    ::setrlimit(RLIMIT_CORE, &no_core);
    const auto say = [out](const json& line) {
        const auto text = line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
        if (::write(out, text.data(), text.size()) < 0) ::_exit(1);
    };
    try {
        laws().try_on(
            registry, one.plugin, one.named, one.folder, one.law,
            [&](const std::string& law) {
                say({{"begins", law}});
            },
            [&](const LawVerdict& verdict) {
                say({{"law", verdict.law},
                     {"outcome", static_cast<int>(verdict.outcome)},
                     {"figures", verdict.figures}});
            });
        say({{"done", true}});
        if (!one.picture.empty()) try {
                laws().draw(registry, one.plugin, one.named, one.folder, one.picture);
            } catch (const Error& error) {
                say({{"no_picture", error.what()}});
            }
    } catch (const std::exception& error) {
        say({{"law", "it can be tried"},
             {"outcome", static_cast<int>(LawVerdict::Outcome::broken)},
             {"figures", error.what()}});
        say({{"done", true}});
    }
    ::_exit(0);
}

/// A plugin under trial in a child, and what it has said.
struct Child {
    pid_t process = 0;
    int out = -1;
    std::string text;
    Clock::time_point began = Clock::now();
    bool late = false;
};

Child begin(const Registry& registry, const Tried& one) {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw Error("cannot make a pipe to a plugin on trial");
    Child child;
    child.process = ::fork();
    if (child.process < 0) throw Error("cannot start a process for a plugin on trial");
    if (child.process == 0) try_in_child(registry, one, ends[1]);
    ::close(ends[1]);
    child.out = ends[0];
    return child;
}

Checked ended(Child& child) {
    ::close(child.out);
    int status = 0;
    ::waitpid(child.process, &status, 0);
    Checked checked;
    checked.seconds = std::chrono::duration<double>(Clock::now() - child.began).count();
    std::string law = "it is loaded";
    bool done = false;
    for (std::size_t at = 0, end; (end = child.text.find('\n', at)) != std::string::npos; at = end + 1) {
        const auto line = json::parse(child.text.substr(at, end - at), nullptr, false);
        if (!line.is_object()) continue;  // a plugin can write there, too
        if (line.contains("begins")) law = line.value("begins", law);
        done = done || line.contains("done");
        checked.no_picture = line.value("no_picture", checked.no_picture);
        if (line.contains("law"))
            checked.verdicts.push_back({line.value("law", ""),
                                        static_cast<LawVerdict::Outcome>(line.value("outcome", 1)),
                                        line.value("figures", "")});
    }
    if (done) return checked;
    const auto how = child.late || (WIFSIGNALED(status) && (WTERMSIG(status) == SIGXCPU || WTERMSIG(status) == SIGKILL))
                         ? fmt::format("it is not done after {} seconds ($DTK_PLUGIN_SECONDS)", plugin_seconds())
                     : WIFSIGNALED(status)
                         ? fmt::format("it crashes (signal {}, {})", WTERMSIG(status), strsignal(WTERMSIG(status)))
                         : fmt::format("it ends the program (exit code {})", WEXITSTATUS(status));
    checked.verdicts.push_back({law, LawVerdict::Outcome::broken, how});
    return checked;
}

}  // namespace

Tried tried(const Registry& registry, const PluginFile& plugin, const fs::path& file,
            const std::vector<std::string>& set) {
    Tried one{plugin, {}, fs::absolute(file).parent_path()};
    for (const auto& said : {beside(plugin.file), beside(file)})
        if (fs::exists(said)) {
            const auto real = fs::canonical(said);  // what is relative in it is so to where a link leads
            one.named = named_in(real);
            one.folder = real.parent_path();
            break;
        }
    Diagnostics mistakes;
    Laid laid;
    const Parts parts(registry);
    // A field alone is the plugin's own.
    auto keys = set;
    for (auto& key : keys)
        if (key.substr(0, key.find('=')).find('.') == key.npos && !parts.is_kind(key.substr(0, key.find('='))))
            key.insert(0, plugin.kind + ".");
    auto* own = one.named.get(plugin.kind);
    if (!own) own = &one.named.insert_or_assign(plugin.kind, toml::table{}).first->second;
    if (auto* table = own->as_table()) table->insert_or_assign("use", plugin.name);
    lay_over(one.named, keys, parts, mistakes, laid);
    if (!mistakes.empty()) throw UserError(mistakes.text());
    return one;
}

std::size_t Checked::count(LawVerdict::Outcome outcome) const {
    return static_cast<std::size_t>(std::ranges::count(verdicts, outcome, &LawVerdict::outcome));
}

std::string Checked::text() const {
    const auto broken = count(LawVerdict::Outcome::broken), holding = count(LawVerdict::Outcome::holds);
    if (broken == 0) return fmt::format("{} laws hold", holding);
    return fmt::format("{} of {} laws {} broken", broken, broken + holding, broken == 1 ? "is" : "are");
}

void check_plugins(const Registry& registry, const std::vector<Tried>& all, std::int64_t jobs,
                   const std::function<void(const Tried&, const Checked&)>& told) {
    const auto at_a_time =
        jobs > 0 ? static_cast<std::size_t>(jobs) : std::max<std::size_t>(1, std::thread::hardware_concurrency());
    std::vector<std::optional<Checked>> done(all.size());
    std::map<std::size_t, Child> children;
    std::size_t next = 0, said = 0;
    const double most = plugin_seconds();
    laws();  // LibTorch is loaded here once, and not in every child
    while (said < all.size()) {
        for (; next < all.size() && children.size() < at_a_time; ++next)
            children.emplace(next, begin(registry, all[next]));
        std::vector<pollfd> waiting;
        for (const auto& [_, child] : children) waiting.push_back({child.out, POLLIN, 0});
        ::poll(waiting.data(), waiting.size(), 500);
        auto wait = waiting.begin();
        for (auto at = children.begin(); at != children.end(); ++wait) {
            auto& child = at->second;
            char buffer[4096];
            const bool speaks = wait->revents != 0;
            const auto got = speaks ? ::read(child.out, buffer, sizeof buffer) : 1;
            if (speaks && got > 0) child.text.append(buffer, static_cast<std::size_t>(got));
            child.late = std::chrono::duration<double>(Clock::now() - child.began).count() > most;
            if (child.late) ::kill(child.process, SIGKILL);
            if (got > 0 && !child.late) {
                ++at;
                continue;
            }
            done[at->first] = ended(child);
            at = children.erase(at);
        }
        for (; said < all.size() && done[said]; ++said) told(all[said], *done[said]);
    }
}

namespace {

std::vector<Tried> everything_tried(const Registry& registry, const CheckRequest& request,
                                    const std::map<fs::path, fs::path>& source_of) {
    std::vector<Tried> all;
    const auto take = [&](const PluginFile& plugin) {
        const auto source = source_of.find(plugin.file);
        all.push_back(tried(registry, plugin, source == source_of.end() ? plugin.file : source->second, request.set));
    };
    if (request.plugins.empty()) {
        for (const auto& plugin : registry.plugins()) take(plugin);
        return all;
    }
    for (const auto& what : request.plugins) {
        const auto before = all.size();
        std::error_code error;
        for (const auto& plugin : registry.plugins()) {
            const auto slash = what.find('/');
            const bool by_name = plugin.name == what || (slash != what.npos && what == plugin.kind + "/" + plugin.name);
            const auto made = source_of.find(plugin.file);
            const bool by_file = fs::equivalent(plugin.file, what, error) ||
                                 (made != source_of.end() && fs::equivalent(made->second, what, error)) ||
                                 (fs::is_directory(what) && fs::equivalent(plugin.file.parent_path(), what, error));
            if (by_name || by_file) take(plugin);
        }
        if (all.size() > before) continue;
        for (const auto& [file, reason] : registry.skipped())
            if (fs::equivalent(file, what, error)) throw PluginError(file.string() + " " + reason);
        if (fs::is_directory(what))
            throw UserError(fmt::format("there is no plugin in {}", what), "give the folder that holds the .so files");
        std::vector<std::string> known;
        for (const auto& plugin : registry.plugins()) known.push_back(plugin.name);
        throw UserError(fmt::format("there is no plugin `{}`", what),
                        did_you_mean(what, known, "give a name, KIND/NAME, a .so or .cpp file, or a folder"));
    }
    return all;
}

json as_json(const Tried& one, const Checked& checked) {
    json laws = json::array();
    for (const auto& verdict : checked.verdicts)
        laws.push_back({{"law", verdict.law}, {"outcome", text_of(verdict.outcome)}, {"figures", verdict.figures}});
    return {{"kind", one.plugin.kind}, {"name", one.plugin.name},    {"file", one.plugin.file.string()},
            {"good", checked.good()},  {"seconds", checked.seconds}, {"laws", laws}};
}

void print(const Tried& one, const Checked& checked, bool every_law) {
    show("{:<11} {:<24} {} ({:.1f} s)\n", one.plugin.kind, one.plugin.name, checked.text(), checked.seconds);
    if (!one.picture.empty() && !fs::exists(one.picture))
        show("no picture: {}\n",
             checked.no_picture.empty() ? fmt::format("a {} has none", one.plugin.kind) : checked.no_picture);
    for (const auto& [law, outcome, figures] : checked.verdicts)
        if (outcome == LawVerdict::Outcome::broken || every_law)
            show("  {:<9} {}{}{}\n", text_of(outcome), law, figures.empty() ? "" : ": ", figures);
    std::fflush(stdout);
}

}  // namespace

int plugins_check(const CheckRequest& request) {
    // What is given as a file is looked for first, a C++ file after it was built.
    auto folders = request.folders;
    std::map<fs::path, fs::path> source_of;
    for (const auto& what : request.plugins) {
        const fs::path path = what;
        if (path.extension() == ".cpp" || path.extension() == ".cc") {
            const auto plugin = build_plugin(path);
            source_of[plugin] = path;
            folders.push_back(plugin.parent_path());
        } else if (fs::is_directory(path)) {
            folders.push_back(fs::absolute(path));
        } else if (fs::is_regular_file(path)) {
            folders.push_back(fs::absolute(path).parent_path());
        }
    }
    // A folder that is named twice does not hold its plugins twice.
    std::vector<fs::path> each;
    for (const auto& folder : plugin_folders(folders))
        if (std::ranges::find(each, folder) == each.end()) each.push_back(folder);
    const Registry registry(each);
    auto all = everything_tried(registry, request, source_of);
    if (!request.picture.empty()) {
        if (all.size() > 1)
            throw UserError(fmt::format("--picture is of one plugin, and these are {}", all.size()),
                            "name one by KIND/NAME, or write them all with dtk plugins describe --format html");
        all.front().picture = request.picture;
    }
    for (auto& one : all) one.law = request.law;
    int broken = 0;
    bool has_law = request.law.empty();
    json list = json::array();
    check_plugins(registry, all, request.jobs, [&](const Tried& one, const Checked& checked) {
        broken += checked.good() ? 0 : 1;
        has_law = has_law || checked.verdicts.size() > 1;  // that it is built is always asked
        if (request.json)
            list.push_back(as_json(one, checked));
        else
            print(one, checked, request.verbose || all.size() == 1);
    });
    if (!has_law && broken == 0)
        throw UserError(fmt::format("no law of {} has the words `{}`",
                                    all.size() == 1 ? "a " + all.front().plugin.kind : "these plugins", request.law),
                        "dtk plugins check -v shows all of them");
    if (request.json) fmt::print("{}\n", list.dump(1));
    if (!request.json && all.size() > 1)
        fmt::print("{} plugins: {}\n", all.size(),
                   broken == 0 ? std::string("every law holds") : fmt::format("{} break a law", broken));
    return broken == 0 ? done : plugin_fault;
}

}  // namespace dtk::cli
