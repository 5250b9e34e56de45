// What --set, axes and stages lay over an experiment means the same as the file that says it in full; and every text
// survives being written and read.
#include "catch.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/declaration.hpp"
#include "base/experiment.hpp"
#include "base/names.hpp"
#include "base/words.hpp"
#include "run_program.hpp"
#include "study/study.hpp"

namespace {

const std::string base = R"(name = "small"
seed = 3
threads = 1

[dataset]
use = "gaussian_mixture"
preset = "gmm1d"

[process]
steps = 100

[schedule]
use = "cosine"
s = 0.02

[model]
use = "mlp"
width = 8

[times]
use = "stratified"

[train]
steps = 20
batch = 16

[sampler]
use = "ddim"
eta = 0.5

[grid]
use = "leading"

[sample]
n = 32

[[metric]]
use = "nll"
)";

/// Every plugin of the build; loaded once, so that no test waits for it again.
std::unique_ptr<dtk::Registry>& registry() {
    static std::unique_ptr<dtk::Registry> all;
    static const Folder home;
    if (!all) {
        ::setenv("XDG_CACHE_HOME", (home / "cache").c_str(), 1);
        ::setenv("XDG_DATA_HOME", (home / "data").c_str(), 1);
        ::setenv("DTK_PLUGIN_PATH", "", 1);
        all = std::make_unique<dtk::Registry>(dtk::plugin_folders({DTK_PLUGINS}));
        all->probe(all->plugins());
    }
    return all;
}

struct ParseContext {
    std::string resolved;  ///< empty where there are mistakes
    std::vector<std::string> notes;
    std::set<std::string> mistakes = {};  ///< what is wrong, wherever it stands
    std::string text = {};                ///< as it would be printed
};

std::set<std::string> messages(const std::string& text) {
    std::set<std::string> all;
    for (std::size_t at = 0; (at = text.find("error: ", at)) != text.npos; ++at)
        all.insert(text.substr(at + 7, text.find('\n', at) - at - 7));
    return all;
}

ParseContext reading(const std::string& text, const std::vector<std::string>& set = {}) {
    static const Folder folder;
    write(folder / "experiment.toml", text);
    dtk::Diagnostics mistakes;
    dtk::Overrides overrides;
    overrides.set = set;
    overrides.plugin_path = {DTK_PLUGINS};
    const auto experiment = dtk::read_experiment(folder / "experiment.toml", overrides, registry(), mistakes);
    return {mistakes.empty() ? experiment.resolved() : "", experiment.notes, messages(mistakes.text()),
            mistakes.text()};
}

struct Arms {
    std::map<std::string, std::string> resolved;  ///< by their names
    std::vector<std::string> notes;
    std::string mistakes;
};

Arms arms(const std::string& text, const std::vector<std::string>& set = {}) {
    static const Folder folder;
    write(folder / "study.toml", text);
    dtk::Diagnostics mistakes;
    dtk::Overrides overrides;
    overrides.set = set;
    overrides.plugin_path = {DTK_PLUGINS};
    const auto nothing = [](const auto&, const auto&, dtk::Diagnostics&) { return std::string(); };
    const auto study = dtk::read_study(folder / "study.toml", overrides, 1, nothing, mistakes);
    Arms all{{}, study.notes, mistakes.text()};
    for (const auto& cell : study.cells) all.resolved[study.arms[cell.arm].name] = study.task(cell.task).text;
    return all;
}

std::string axis(const std::string& key, const std::string& values) {
    return fmt::format("[[ablation.axis]]\nkey = \"{}\"\nvalues = {}\n", key, values);
}

/// The file with the tables of [ablation] before its first.
std::string study(const std::string& axes, const std::string& text = base) {
    return changed(text, "[dataset]", "[ablation]\nseeds = [3]\n" + axes + "\n[dataset]");
}

toml::table parsed(const std::string& text) { return toml::parse(text); }

/// The file as a person would leave it: without tables that nothing uses, but for the one of that kind.
toml::table trimmed(toml::table table, const std::string& kind) {
    for (bool fewer = true; fewer;) {
        fewer = false;
        for (const auto& message : reading(dtk::toml_text(table)).mistakes)
            if (const std::string says = "nothing in this experiment uses ["; message.starts_with(says))
                if (const auto name = message.substr(says.size(), message.size() - says.size() - 1); name != kind)
                    fewer = table.erase(name) > 0 || fewer;
    }
    return table;
}

ParseContext by_hand(const toml::table& table, const std::string& kind = {}) {
    return reading(dtk::toml_text(trimmed(table, kind)));
}

/// A field of the plugin that can be set to its own default; empty where it has none.
std::string a_field_of(const dtk::PluginFile& plugin) {
    for (const auto& field : dtk::declared_fields(registry()->load(plugin)))
        if (field.type == "number" || field.type == "whole number" || field.type == "truth")
            return field.key + " = " + field.default_value;
    return {};
}

/// The plugins whose fields an overlay must not leave behind.
std::vector<dtk::PluginFile> two_with_fields(const std::string& kind) {
    std::vector<dtk::PluginFile> found;
    for (const auto& plugin : registry()->plugins())
        if (plugin.kind == kind && !a_field_of(plugin).empty() && found.size() < 2) found.push_back(plugin);
    if (found.empty())
        for (const auto& plugin : registry()->plugins())
            if (plugin.kind == kind && found.empty()) found.push_back(plugin);
    return found;
}

toml::table named(const std::string& plugin, const std::string& field = {}) {
    return parsed(fmt::format("use = \"{}\"\n{}\n", plugin, field));
}

void put(toml::table& root, const std::string& kind, toml::table plugin) {
    if (kind == "metric")
        root.insert_or_assign(kind, toml::array{std::move(plugin)});
    else
        root.insert_or_assign(kind, std::move(plugin));
}

/// Does it read as the file that was written by hand, or is it refused for the same reasons?
void check_same(const ParseContext& laid, const ParseContext& hand) {
    CHECK(laid.mistakes == hand.mistakes);
    CHECK(laid.resolved == hand.resolved);
}

}  // namespace

TEST_CASE("any plugin takes any other's place with its fields, however it is named, on the command line and in axes") {
    CHECK(reading(base).text.empty());
    std::size_t tried = 0;
    for (const auto& kind : registry()->kinds())
        for (const auto& from : two_with_fields(kind)) {
            auto before = parsed(base);
            put(before, kind, named(from.name, a_field_of(from)));
            before = trimmed(before, kind);
            const auto text = dtk::toml_text(before);
            for (const auto& to : registry()->names(kind)) {
                if (to == from.name) continue;
                auto after = parsed(text);
                put(after, kind, named(to));
                const auto hand = by_hand(after, kind);
                const std::string quoted = "\"" + to + "\"", table = "{use = \"" + to + "\"}";
                INFO(kind << " " << from.name << " → " << to << "\n" << hand.text);
                for (const auto& set : {kind + "=" + to, kind + ".use=" + to, kind + "=" + table}) {
                    const auto laid = reading(text, {set});
                    INFO(set << "\n" << laid.text);
                    check_same(laid, hand);
                    // What is dropped is said, by the names of both.
                    if (hand.text.empty() && !a_field_of(from).empty()) {
                        REQUIRE(!laid.notes.empty());
                        CHECK(says(laid.notes[0], a_field_of(from).substr(0, a_field_of(from).find(' '))));
                        CHECK(says(laid.notes[0], "`" + from.name + "`"));
                        CHECK(says(laid.notes[0], "`" + to + "`"));
                    }
                    ++tried;
                }
                for (const auto& [key, value] : std::vector<std::pair<std::string, std::string>>{
                         {kind, quoted}, {kind + ".use", quoted}, {kind, table}}) {
                    const auto found = arms(study(axis(key, "[" + value + "]"), text));
                    INFO("axis " << key << " = " << value << "\n" << found.mistakes);
                    auto wrong = messages(found.mistakes);
                    wrong.erase("the experiment has no [[metric]] to compare arms by");
                    CHECK(wrong == hand.mistakes);
                    if (hand.text.empty() && found.mistakes.empty()) {
                        REQUIRE(found.resolved.size() == 1);
                        CHECK(parsed(found.resolved.begin()->second) == parsed(hand.resolved));
                    }
                    ++tried;
                }
            }
        }
    CHECK(tried > 300);
}

TEST_CASE("a part is found where it stands, inside its owner or beside it, as in a run's own record") {
    const dtk::Parts parts(*registry());
    std::size_t tried = 0;
    const auto beside = parsed(base);
    const auto inside = parsed(reading(base).resolved);  // as stage.toml has it: every part in its owner
    for (const auto& owner : registry()->kinds()) {
        if (!inside[owner].is_table()) continue;
        for (const auto& [field, kind] : parts.of(owner, parts.named(owner, beside.get(owner)))) {
            if (kind == owner) continue;
            for (const auto& to : registry()->names(kind)) {
                auto after = beside;
                put(after, kind, named(to));
                const auto hand = by_hand(after, kind);
                auto inner = inside;
                inner[owner].as_table()->insert_or_assign(field, named(to));
                const auto record = by_hand(inner, kind);
                INFO(owner << "." << field << " = " << to << "\n" << hand.text);
                CHECK(hand.mistakes == record.mistakes);
                for (const auto& key : {kind, kind + ".use", owner + "." + field, owner + "." + field + ".use"}) {
                    INFO(key);
                    // The same plugin keeps what is set for it.
                    if (to == parts.named(kind, beside.get(kind))) {
                        check_same(reading(dtk::toml_text(beside), {key + "=" + to}), reading(base));
                        check_same(reading(dtk::toml_text(inside), {key + "=" + to}), reading(base));
                    } else {
                        check_same(reading(dtk::toml_text(beside), {key + "=" + to}), hand);
                        check_same(reading(dtk::toml_text(inside), {key + "=" + to}), record);
                    }
                    ++tried;
                }
            }
        }
    }
    CHECK(tried > 20);
}

TEST_CASE("what names a plugin goes before what sets its fields, in whatever order they are given") {
    std::vector<std::string> set{"sampler=ddpm", "sampler.variance=\"small\"", "schedule.use=linear",
                                 "schedule.beta_end=0.03", "model.width=16"};
    std::sort(set.begin(), set.end());
    auto hand = parsed(base);
    hand.insert_or_assign("sampler", parsed("use = \"ddpm\"\nvariance = \"small\""));
    hand.insert_or_assign("schedule", parsed("use = \"linear\"\nbeta_end = 0.03"));
    hand["model"].as_table()->insert_or_assign("width", 16);
    const auto expected = by_hand(hand);
    REQUIRE(expected.text.empty());
    do {
        const auto laid = reading(base, set);
        INFO(laid.text);
        check_same(laid, expected);
    } while (std::next_permutation(set.begin(), set.end()));

    // Among equals the later wins, and what is named in between leaves no trace.
    check_same(reading(base, {"sampler=ddpm", "sampler=ddim"}), reading(base));
    CHECK(reading(base, {"sampler=ddpm", "sampler.use=ddim"}).notes.empty());
    check_same(reading(base, {"sampler.steps=5", "sampler={steps = 7}"}), reading(base, {"sampler.steps=7"}));
    // The plugin that is there already keeps its fields, also where the file names none.
    check_same(reading(base, {"process.use=gaussian"}), reading(base));
    check_same(reading(base, {"sampler={use = \"ddim\", steps = 7}"}), reading(base, {"sampler.steps=7"}));
}

TEST_CASE("axes mean the same in any order, and a text, `use` and a table are one thing in them") {
    const std::string plugin = axis("schedule", R"(["linear", "quadratic"])"),
                      by_use = axis("schedule.use", R"(["linear", "quadratic"])"),
                      by_table = axis("schedule", R"([{use = "linear"}, {use = "quadratic"}])"),
                      field = axis("schedule.beta_end", "[0.03, 0.04]");
    const auto experiments = [](const Arms& all) {
        INFO(all.mistakes);
        CHECK(all.mistakes.empty());
        std::set<std::string> found;
        for (const auto& [name, text] : all.resolved) found.insert(text);
        return found;
    };
    const auto first = experiments(arms(study(plugin + field)));
    CHECK(first.size() == 4);
    for (const auto& name : {plugin, by_use, by_table})
        for (const auto& axes : {name + field, field + name}) CHECK(experiments(arms(study(axes))) == first);
    for (const auto& text : first) {
        const auto table = parsed(text);
        const auto schedule = table["process"]["schedule"];
        CHECK((schedule["use"] == "linear" || schedule["use"] == "quadratic"));
        CHECK((schedule["beta_end"] == 0.03 || schedule["beta_end"] == 0.04));
    }
    const auto zipped =
        arms(study("[[ablation.axis]]\nkeys = [\"sampler\", \"sampler.steps\"]\n"
                   "values = [[\"ddim\", 10], [\"ddpm\", 20]]\n"));
    INFO(zipped.mistakes);
    REQUIRE(zipped.resolved.size() == 2);
    std::set<std::string> made;
    for (const auto& [name, text] : zipped.resolved)
        made.insert(fmt::format("{} {}", parsed(text)["sampler"]["use"].value_or(""),
                                parsed(text)["sampler"]["steps"].value_or(0)));
    CHECK(made == std::set<std::string>{"ddim 10", "ddpm 20"});
    // An exclusion finds a value however either is written.
    for (const auto* excluded :
         {R"({"schedule" = "linear"})", R"({"schedule.use" = "linear"})", R"({"schedule" = {use = "linear"}})"})
        for (const auto& name : {plugin, by_use, by_table}) {
            const auto found = arms(study(fmt::format("exclude = [{}]\n", excluded) + name));
            INFO(excluded << "\n" << found.mistakes);
            CHECK(found.mistakes.empty());
            CHECK(found.resolved.size() == 1);
        }
}

TEST_CASE("arms that are one and the same experiment are a mistake with the names of both") {
    const std::vector<std::pair<std::string, std::vector<std::string>>> doubled{
        {axis("schedule", R"(["linear", {use = "linear"}])"), {"linear"}},
        {axis("schedule", R"(["linear", {use = "linear", rescale = true}])"),
         {"schedule=linear", "linear rescale=true"}},
        {axis("sampler.steps", "[100, 0]"), {"sampler.steps=100", "sampler.steps=0"}},
        {"[[ablation.axis]]\nkeys = [\"sampler\", \"sampler.steps\"]\nvalues = [[\"ddim\", 10], [{use = \"ddim\"}, "
         "10]]\n",
         {"ddim"}},
    };
    for (std::size_t i = 0; i < doubled.size(); ++i) {
        const auto found = arms(study(doubled[i].first));
        INFO(i << "\n" << found.mistakes);
        if (i == 2) {  // 0 means all steps, which only the sampler knows: two files that differ
            CHECK(found.mistakes.empty());
            continue;
        }
        CHECK(says(found.mistakes, "are one and the same experiment"));
        for (const auto& name : doubled[i].second) CHECK(says(found.mistakes, name));
    }
}

TEST_CASE("lists are reached by number and by name") {
    const auto two = base +
                     "[[metric]]\nuse = \"wasserstein\"\np = 1\n[[metric]]\nname = \"second\"\nuse = "
                     "\"wasserstein\"\np = 2\n";
    REQUIRE(reading(two).text.empty());
    const auto p_of = [&](const std::vector<std::string>& set, std::size_t i) {
        const auto found = reading(two, set);
        INFO(found.text);
        CHECK(found.text.empty());
        return parsed(found.resolved)["metric"][i]["p"].value_or(-1.0);
    };
    CHECK(p_of({"metric.1.p=2"}, 1) == 2);
    CHECK(p_of({"metric.wasserstein.p=2"}, 1) == 2);
    CHECK(p_of({"metric.second.p=1"}, 2) == 1);
    CHECK(p_of({"metric.second.p=1"}, 1) == 1);
    // A name of its own stays when another plugin takes the place.
    const auto swapped = reading(two, {"metric.second=energy_distance"});
    INFO(swapped.text);
    CHECK((parsed(swapped.resolved)["metric"][2]["name"] == "second"));
    CHECK((parsed(swapped.resolved)["metric"][2]["use"] == "energy_distance"));
    REQUIRE(swapped.notes.size() == 1);
    CHECK(says(swapped.notes[0], "p = 2"));
    // What names no element says what there is.
    CHECK(says(reading(two, {"metric.wassersteim.p=1"}).text, "it has nll or 0, wasserstein or 1 and second or 2"));
    CHECK(says(reading(two, {"metric.7.p=1"}).text, "nothing is called `7` in the list `metric`"));
    CHECK(says(reading(base, {"stage.student.train.steps=1"}).text, "stage"));
    // One in the list is meant by its field alone.
    const auto one = changed(base, "use = \"nll\"", "use = \"wasserstein\"");
    check_same(reading(one, {"metric.p=2"}), reading(one + "p = 2\n"));
    // Numbers reach into lists of values too.
    const auto row =
        reading(changed(base, "preset = \"gmm1d\"", "preset = \"none\"\nmeans = [[0.0], [2.0]]\nstd = [1.0, 1.0]"),
                {"dataset.std.1=0.5"});
    INFO(row.text);
    CHECK((parsed(row.resolved)["dataset"]["std"][1] == 0.5));
}

TEST_CASE("a stage lies over the top of the file, and --set reaches into it by its name") {
    const auto stages = base +
                        "[[stage]]\nname = \"teacher\"\n[[stage]]\nname = \"the student\"\nsampler = {steps = 7}\n"
                        "train = {steps = 30}\n";
    const auto read_stage = [&](const std::vector<std::string>& set, std::size_t i,
                                std::vector<std::string>* notes = nullptr) {
        const auto found = reading(stages, set);
        INFO(found.text);
        REQUIRE(found.text.empty());
        if (notes) *notes = found.notes;
        return parsed(dtk::toml_text(*parsed(found.resolved)["stage"][i].as_table()));
    };
    // What a stage does not say is as above it, field for field.
    const auto student = read_stage({}, 1);
    CHECK((student["sampler"]["use"] == "ddim"));
    CHECK((student["sampler"]["eta"] == 0.5));
    CHECK((student["sampler"]["steps"] == 7));
    CHECK((student["train"]["batch"] == 16));
    CHECK((student["train"]["steps"] == 30));
    for (const std::string key : {"stage.teacher.sampler.steps", "stage.0.sampler.steps"}) {
        CHECK((read_stage({key + "=9"}, 0)["sampler"]["steps"] == 9));
        CHECK((read_stage({key + "=9"}, 0)["sampler"]["eta"] == 0.5));
        CHECK((read_stage({key + "=9"}, 1)["sampler"]["steps"] == 7));
    }
    CHECK((read_stage({"stage.\"the student\".train.steps=4"}, 1)["train"]["steps"] == 4));
    CHECK((read_stage({"train.batch=8"}, 1)["train"]["batch"] == 8));
    // Another plugin in a stage takes the place of that above it, and of that in the stage.
    std::vector<std::string> notes;
    for (const std::string set :
         {"stage.teacher.sampler=ddpm", "stage.teacher.sampler.use=ddpm", "stage.teacher.sampler={use = \"ddpm\"}"}) {
        const auto teacher = read_stage({set}, 0, &notes);
        CHECK((teacher["sampler"]["use"] == "ddpm"));
        CHECK(!teacher["sampler"]["eta"]);
        REQUIRE(notes.size() == 1);
        CHECK(says(notes[0], "stage `teacher`: sampler `ddpm` takes the place of `ddim`"));
        CHECK(says(notes[0], "eta = 0.5"));
    }
    CHECK((read_stage({"stage.teacher.process.schedule=linear"}, 0)["process"]["schedule"]["use"] == "linear"));
    CHECK((read_stage({"stage.teacher.process.schedule=linear"}, 1)["process"]["schedule"]["use"] == "cosine"));
    CHECK(says(reading(stages, {"stage.nobody.train.steps=4"}).text, "it has teacher or 0 and the student or 1"));
}

TEST_CASE("the mistakes of a study are said at once, where they stand in its file") {
    const auto found =
        arms(study("baseline = \"nobody\"\n" + axis("schedule.use", R"(["linaer", "cosine", "quadratix"])") +
                   axis("model.width", "[8, -8]")));
    INFO(found.mistakes);
    CHECK(says(found.mistakes, "`baseline` = \"nobody\" is no arm"));
    CHECK(says(found.mistakes, "schedule plugin `linaer` is not known"));
    CHECK(says(found.mistakes, "schedule plugin `quadratix` is not known"));
    CHECK(says(found.mistakes, "`width` = -8 of model `mlp` is outside"));
    CHECK(says(found.mistakes, "study.toml:10:11\n"));
    CHECK(says(found.mistakes, "study.toml:10:31\n"));
    CHECK(says(found.mistakes, "study.toml:13:14\n"));
    CHECK(says(found.mistakes, "= in: the arm `quadratix, width=8`"));
    CHECK(!says(found.mistakes, "--set"));
    CHECK(messages(found.mistakes).size() == 4);
    // What was typed is shown as it was typed all the same.
    CHECK(says(arms(study(axis("schedule.use", R"(["linear"])")), {"model.width=-3"}).mistakes,
               "--set model.width=-3:1:13"));
    CHECK(says(arms(study(axis("dataset.preset", "[\"" + std::string(300, 'x') + "\"]"))).mistakes, "bytes long"));
    CHECK(says(arms(study(axis("dataset.preset", R"(["a/b"])"))).mistakes, "holds a /"));
}

namespace {

/// A text with everything in it that could break a line, an escape or a quote.
std::string any_text(std::mt19937& random) {
    static const std::vector<std::string> pieces{
        "\n",      "\r",   "\t", "\"",   "\\",      "'",  "\"\"\"",   "'''", std::string(1, '\0'),
        "\x1b[2J", "\x7f", " ",  "#",    "=",       "[",  "]",        "{",   "}",
        ".",       "é",    "漢", "🙂", "\\u0041", "a",  "Z",        "0",   "-",
        "use",     "$",    "`",  ";",    "!",       "\b", "\xc2\x85", "%",   "\\n",
        "\\\"",    "~",    "*",  "\f"};
    std::string text;
    const auto length = random() % 9;
    for (std::size_t i = 0; i < length; ++i) text += pieces[random() % pieces.size()];
    return text;
}

void fill(toml::table& table, std::mt19937& random, int depth);

toml::array any_list(std::mt19937& random, int depth) {
    toml::array list;
    const auto size = random() % 4;
    const bool tables = depth > 0 && random() % 2;
    for (std::size_t i = 0; i < size; ++i) {
        if (tables || (depth > 0 && random() % 4 == 0)) {
            toml::table inner;
            fill(inner, random, depth - 1);
            list.push_back(std::move(inner));
        } else if (depth > 0 && random() % 4 == 0) {
            list.push_back(any_list(random, depth - 1));
        } else {
            list.push_back(any_text(random));
        }
    }
    return list;
}

void fill(toml::table& table, std::mt19937& random, int depth) {
    const auto size = random() % 6;
    for (std::size_t i = 0; i < size; ++i) {
        const auto key = random() % 3 ? any_text(random) : std::string("use");
        switch (random() % 7) {
            case 0:
                table.insert_or_assign(key, static_cast<std::int64_t>(random()) - 1000);
                break;
            case 1:
                table.insert_or_assign(
                    key, std::ldexp(static_cast<double>(random()), static_cast<int>(random() % 200) - 100));
                break;
            case 2:
                table.insert_or_assign(key, random() % 2 == 0);
                break;
            case 3:
                table.insert_or_assign(key, toml::date{1979, 5, static_cast<unsigned>(1 + random() % 28)});
                break;
            case 4:
                if (depth > 0) {
                    toml::table inner;
                    fill(inner, random, depth - 1);
                    table.insert_or_assign(key, std::move(inner));
                    break;
                }
                [[fallthrough]];
            case 5:
                table.insert_or_assign(key, any_list(random, depth));
                break;
            default:
                table.insert_or_assign(key, any_text(random));
        }
    }
}

}  // namespace

TEST_CASE("every text and every table survives being written and read") {
    std::mt19937 random(11);
    for (int i = 0; i < 20000; ++i) {
        const auto text = any_text(random);
        INFO(dtk::toml_string(text));
        CHECK(toml::parse("a = " + dtk::toml_string(text))["a"].value_or(std::string("?")) == text);
        CHECK(dtk::toml_string(text).find('\n') == std::string::npos);
    }
    for (int i = 0; i < 3000; ++i) {
        toml::table table;
        fill(table, random, 3);
        const auto text = dtk::toml_text(table);
        INFO(text);
        CHECK(toml::parse(text) == table);
        CHECK(dtk::toml_text(toml::parse(text)) == text);
    }
    // The same through an experiment's resolved form: read → resolved → read.
    for (int i = 0; i < 200; ++i) {
        const auto folder = any_text(random) + "x";
        auto table = parsed(base);
        table.insert_or_assign("dataset", parsed("use = \"idx\"\nfolder = " + dtk::toml_string("/" + folder)));
        const auto once = reading(dtk::toml_text(table));
        INFO(once.text);
        REQUIRE(once.text.empty());
        CHECK(reading(once.resolved).resolved == once.resolved);
        CHECK(parsed(once.resolved)["dataset"]["folder"].value_or(std::string()) == "/" + folder);
        // And as a bare word on the command line.
        CHECK(reading(base, {"dataset={use = \"idx\"}", "dataset.folder=" + dtk::toml_string("/" + folder)}).resolved ==
              once.resolved);
    }
}

TEST_CASE("a word in a command means the same to a shell, and nothing that is shown moves the cursor") {
    std::mt19937 random(12);
    std::vector<std::string> words;
    for (int i = 0; i < 300; ++i)
        if (auto word = any_text(random); word.find('\0') == word.npos) words.push_back(word);
    const Folder folder;
    auto all = words;
    all.insert(all.begin(), {"printf", "%s\\0"});
    const auto outcome = Running({"bash", "-c", dtk::shell_command(all)}, folder.path).wait();
    std::string expected;
    for (const auto& word : words) expected += word + std::string(1, '\0');
    CHECK(outcome.out == expected);
    CHECK(dtk::shell_word("runs/a-b_c.toml") == "runs/a-b_c.toml");
    CHECK(dtk::shell_word("") == "''");
    CHECK(dtk::shell_word("a b") == "'a b'");
    for (const auto& word : words)
        for (const char c : dtk::harmless(word, true)) CHECK((static_cast<unsigned char>(c) >= 0x20 && c != 0x7f));
    CHECK(dtk::harmless("é\n漢") == "é\n漢");
    CHECK(dtk::harmless("a\x1b[2Jb") == "a\\x1b[2Jb");
}

TEST_CASE("a name that becomes a path is a name of one file") {
    for (const std::string good : {"a", "two words", "schedule=linear, steps=10", "naïve", "x.y"})
        CHECK(dtk::name_problem(good).empty());
    CHECK(dtk::name_problem(std::string(255, 'x')).empty());
    for (const std::string& bad :
         {std::string(), std::string("."), std::string(".."), std::string(".hidden"), std::string("a/b"),
          std::string("/abs"), std::string("../../escaped"), std::string("a\\b"), std::string("a\nb"),
          std::string("a\0b", 3), std::string("\x1b[2J"), std::string("\x7f"), std::string("\xc2\x9b"),
          std::string("\xff"), std::string("\xc0\xaf"), std::string("\xed\xa0\x80"), std::string(256, 'x'),
          std::string(" a"), std::string("a ")}) {
        INFO(dtk::harmless(bad, true));
        CHECK(!dtk::name_problem(bad).empty());
        // Wherever a name is given: of the experiment, and of a stage.
        if (dtk::is_utf8(bad)) {
            const auto quoted = dtk::toml_string(bad);
            CHECK(says(reading(changed(base, "\"small\"", quoted)).text, "cannot be the name of a folder"));
            CHECK(says(reading(base + "[[stage]]\nname = " + quoted + "\n").text, "cannot be the name of its folder"));
        }
    }
    for (const std::string taken : {"checkpoints", "run.json", "sampled", "samples-00000100.png", "latest"})
        CHECK(says(reading(base + "[[stage]]\nname = \"" + taken + "\"\n").text, "that the run itself writes"));
}

TEST_CASE("a message shows what was written, and the cure") {
    const std::vector<std::tuple<std::string, std::string, std::string, std::string>> wrong{
        {"n = 32", "n = 100.0", "must be a whole number, not the number 100.0", "write n = 100\n"},
        {"n = 32", "n = 1e3", "must be a whole number, not the number 1e3", "write n = 1000\n"},
        {"n = 32", "n = \"32\"", "must be a whole number, not the text \"32\"", "write n = 32\n"},
        {"width = 8", "width = 1e6", "not the number 1e6", "write width = 1000000\n"},
        {"eta = 0.5", "eta = \"0.5\"", "must be a number, not the text \"0.5\"", "write eta = 0.5\n"},
        {"eta = 0.5", "eta = 1_0", "`eta` = 1_0 of sampler `ddim` is outside", ""},
        {"name = \"small\"", "name = 2026-01-31", "must be a text, not the date or time 2026-01-31",
         "write name = \"2026-01-31\"\n"},
        {"name = \"small\"", "name = 7", "must be a text, not the whole number 7", "write name = \"7\"\n"},
        {"preset = \"gmm1d\"", "preset = \"none\"\nstd = 1.0", "must be a list of numbers, not the number 1.0",
         "write std = [1.0]\n"},
        {"n = 32", "n = 32\nclip = \"true\"", "must be true or false", "write clip = true\n"},
        {"seed = 3", "seed = 18446744073709551615", "", "a whole number lies between"},
        {"seed = 3", "seed = 9223372036854775808", "", "a whole number lies between"},
        {"name = \"small\"", "name = \"C:\\Users\\me\"", "", "a backslash begins an escape"},
        {"name = \"small\"", "name = \"a\\qb\"", "", "a backslash begins an escape"},
        {"use = \"ddim\"", "use = \"cosine\"", "sampler plugin `cosine` is not known",
         "`cosine` is a schedule, not a sampler"},
        {"use = \"cosine\"", "use = \"ddim\"", "schedule plugin `ddim` is not known",
         "`ddim` is a sampler, not a schedule"},
    };
    for (const auto& [from, to, message, cure] : wrong) {
        const auto found = reading(changed(base, from, to));
        INFO(to << "\n" << found.text);
        CHECK(!found.text.empty());
        CHECK(says(found.text, message));
        CHECK(says(found.text, cure));
    }
    CHECK(says(reading(base, {"sample.n=1e3"}).text, "not the number 1e3"));
    // UTF-16, either way round, with its mark and without.
    for (const bool big : {false, true})
        for (const bool mark : {false, true}) {
            std::string wide;
            for (const char c : (mark ? "\xfe" : "") + base) {
                if (c == '\xfe')
                    wide += big ? "\xfe\xff" : "\xff\xfe";
                else
                    wide += big ? std::string{'\0', c} : std::string{c, '\0'};
            }
            const auto found = reading(wide);
            INFO(found.text);
            CHECK(says(found.text, "UTF-16"));
            CHECK(says(found.text, "iconv"));
        }
}
