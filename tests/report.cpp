// The report of a study whose results are made up: what it says, that it is a page in order, and how a browser shows
// it.
#include "study/report.hpp"

#include <stdlib.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/chart.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/picture.hpp"
#include "catch.hpp"
#include "run_program.hpp"
#include "study/charts.hpp"
#include "study/kept.hpp"
#include "study/tables.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

std::string experiment(const std::string& schedule, int steps, std::int64_t seed) {
    return "name = 'made up'\nseed = " + std::to_string(seed) +
           "\n[process]\nuse = 'gaussian'\nsteps = 100\n[process.schedule]\nuse = '" + schedule +
           "'\n[model]\nuse = 'mlp'\nprediction = 'eps'\n[loss]\nuse = 'simple'\ntarget = 'model'\n[train]\nsteps = "
           "20\nbatch = 8\n[sampler]\nuse = 'ddim'\nsteps = " +
           std::to_string(steps) + "\n";
}

/// What a cell gave, as a run would have left it.
struct Made {
    double error = 1, nll = 2;
    double evaluations = 10;
    std::string failure = {}, better = "less";
};

/// A study with its folder of results.
struct Synthetic {
    Folder folder;
    dtk::Study study;

    Synthetic(const std::vector<std::string>& schedules, const std::vector<int>& steps,
              const std::vector<std::int64_t>& seeds,
              const std::function<Made(std::size_t arm, std::size_t seed)>& make) {
        ::setenv("DTK_PLUGIN_PATH", DTK_PLUGINS, 1);
        study.name = "made_up", study.question = "Is <b> & \"c\" best?",
        study.text = "[ablation]\n# </pre><script>alert(1)</script>\n";
        study.seeds = seeds, study.metrics = {"error", "nll"};
        fs::create_directories(folder / "tasks"), fs::create_directories(folder / "logs");
        for (const auto& schedule : schedules)
            for (const int n : steps) {
                const auto arm = study.arms.size();
                study.arms.push_back({schedule + (steps.size() > 1 ? ", sampler.steps=" + std::to_string(n) : ""),
                                      {"schedule.use=\"" + schedule + "\"", "sampler.steps=" + std::to_string(n)}});
                for (std::size_t seed = 0; seed < seeds.size(); ++seed)
                    add(arm, seed, experiment(schedule, n, seeds[seed]), make(arm, seed));
            }
    }

    dtk::StudyResults results() const { return dtk::results_of(study, folder.path, false); }
    std::string page() const { return dtk::read_file(dtk::write_report(study, results(), folder.path, false)); }

 private:
    void add(std::size_t arm, std::size_t seed, const std::string& text, const Made& made) {
        dtk::Task task{};
        task.what = dtk::Task::What::both;
        task.text = text;
        task.config = "task" + std::to_string(arm) + "seed" + std::to_string(seed);
        task.id = task.config + "-0";
        study.tasks.push_back(task);
        study.cells.push_back({arm, study.seeds[seed], std::nullopt, task.id});
        if (!made.failure.empty())
            return void(std::ofstream(folder / "logs" / (task.id + ".log")) << "error: " << made.failure << "\n");
        const auto at = folder / "tasks" / task.id;
        fs::create_directories(at);
        const json metrics{{{"metric", "error"},
                            {"value", dtk::json_number(made.error)},
                            {"better", made.better},
                            {"expected", 0.001},
                            {"expected_sd", 0.0002},
                            {"note", "how far off"}},
                           {{"metric", "nll"},
                            {"value", made.nll},
                            {"better", "nearest"},
                            {"expected", 2},
                            {"expected_sd", 0.01},
                            {"note", "nats"}}};
        const json run{{"status", "completed"},
                       {"result", {{"metrics", metrics}, {"network_evaluations", made.evaluations}, {"parameters", 7}}},
                       {"seconds", {{"train", 1.5 + static_cast<double>(arm)}, {"sample", 0.5}}},
                       {"dtk", {{"version", "0"}, {"build", "b"}}},
                       {"host", {{"name", "h"}, {"cores", 2}, {"cpu", "c"}, {"os", "o"}}},
                       {"device", "cpu"},
                       {"threads", 1},
                       {"plugins", {{{"kind", "loss"}, {"name", "simple"}, {"sha256", std::string(64, 'a')}}}},
                       {"start_time", "2026-01-01T00:00:00Z"},
                       {"stop_time", "2026-01-01T00:01:00Z"}};
        std::ofstream(at / "run.json") << run.dump();
        std::ofstream log(at / "metrics.jsonl");
        for (int step = 5; step <= 20; step += 5) {
            json line{{"step", step}, {"train/loss", 1.0 / step}};
            for (int part = 0; part < 10; ++part)
                line["train/loss_by_noise"].push_back(step < 20 ? json(nullptr) : json(0.125 * (part + 1)));
            log << line.dump() << "\n";
        }
        const std::vector<std::uint8_t> pixels(4 * 8 * 8, 100);
        dtk::write_image_grid(at / "samples.png", {pixels, 4, 8, 8, 1});
    }
};

/// Three arms of which the second is worse for sure and the third cannot be told from the first.
const Synthetic& three() {
    static const Synthetic made(
        {"linear", "cosine", "sigmoid"}, {10}, {1, 2, 3}, [](std::size_t arm, std::size_t seed) {
            const double wobble[3][3] = {{0, 0, 0}, {0.01, -0.01, 0}, {0.3, -0.25, 0.01}};
            return Made{.error = 1 + 0.1 * static_cast<double>(seed) + (arm == 1 ? 1 : 0) + wobble[arm][seed],
                        .nll = 2.1};
        });
    return made;
}

/// A study of steps, error = 3·evaluations^−k with k = 1 and 2, but where true samples are as near.
const Synthetic& of_steps() {
    static const Synthetic made(
        {"linear", "cosine"}, {10, 20, 40, 4000}, {1, 2}, [](std::size_t arm, std::size_t seed) {
            const double steps[] = {10, 20, 40, 4000}, n = steps[arm % 4], k = arm < 4 ? 1 : 2;
            return Made{.error = n > 1000 ? 0.0011 : (seed ? 3 : 5) * std::pow(n, -k), .nll = 2.01, .evaluations = n};
        });
    return made;
}

/// A page's elements with their attributes in order. Fails where the page is not in order itself: an element left open,
/// an end without a beginning, an attribute without its quotes, an id that stands twice.
struct Element {
    std::string name;
    std::map<std::string, std::string> attributes;
    std::vector<std::string> inside;  ///< from the outermost
    std::string text;
};

std::vector<Element> elements(const std::string& page) {
    static const std::set<std::string> empty{"meta", "img", "br", "hr", "link", "input"};
    std::vector<Element> all;
    std::vector<std::size_t> open;
    std::set<std::string> ids;
    for (std::size_t at = 0; at < page.size();) {
        const auto begin = page.find('<', at);
        if (!open.empty()) all[open.back()].text += page.substr(at, begin - at);
        if (begin == page.npos) break;
        const auto end = page.find('>', begin);
        REQUIRE(end != page.npos);
        auto tag = page.substr(begin + 1, end - begin - 1);
        at = end + 1;
        if (tag.starts_with("!")) continue;
        INFO("<" << tag << "> at " << begin);
        if (tag.starts_with("/")) {
            REQUIRE_FALSE(open.empty());
            REQUIRE(all[open.back()].name == tag.substr(1));
            open.pop_back();
            continue;
        }
        const bool closed = tag.ends_with("/");
        if (closed) tag.pop_back();
        Element one{tag.substr(0, tag.find_first_of(" \n\t")), {}, {}, {}};
        for (const auto place : open) one.inside.push_back(all[place].name);
        auto rest = tag.substr(one.name.size());
        static const std::regex attribute("^\\s*([-:a-zA-Z0-9]+)\\s*=\\s*(\"[^\"]*\"|'[^']*')");
        for (std::smatch found; std::regex_search(rest, found, attribute); rest = found.suffix())
            one.attributes[found[1]] = found[2].str().substr(1, found[2].length() - 2);
        CHECK(rest.find_first_not_of(" \n\t") == rest.npos);
        if (const auto id = one.attributes.find("id"); id != one.attributes.end()) CHECK(ids.insert(id->second).second);
        const bool leaf = closed || empty.contains(one.name);
        all.push_back(std::move(one));
        if (!leaf) open.push_back(all.size() - 1);
        if (all.back().name == "style") at = page.find("</style>", at);
    }
    CHECK(open.empty());
    return all;
}

std::size_t count(const std::vector<Element>& all, const std::string& name) {
    return static_cast<std::size_t>(
        std::count_if(all.begin(), all.end(), [&](const Element& one) { return one.name == name; }));
}

bool has_gnuplot() { return std::system("gnuplot --version > /dev/null 2>&1") == 0; }

/// The browser there is, or nothing.
std::string browser() {
    for (const std::string name : {"chromium", "chromium-browser", "google-chrome"})
        if (std::system(("command -v " + name + " > /dev/null 2>&1").c_str()) == 0) return name;
    return {};
}

}  // namespace

TEST_CASE("an arm is better or worse only where the simultaneous interval leaves 0 out") {
    const auto& made = three();
    const auto results = made.results();
    const auto& error = results.metrics.at("error");
    CHECK(dtk::verdict_of(error.arms[1].difference, error) == dtk::Verdict::worse);
    CHECK(dtk::verdict_of(error.arms[2].difference, error) == dtk::Verdict::inconclusive);
    dtk::Difference near;
    near.estimate = {5, 0.2, 0.1, std::pair{0.01, 0.39}};
    near.simultaneous = std::pair{-0.02, 0.42};
    near.equivalence = std::pair{0.0, 0.4};
    near.p = 0.02;
    near.p_holm = 0.04;
    CHECK(dtk::verdict_of(near, error) == dtk::Verdict::inconclusive);
    near.simultaneous = std::pair{-0.4, -0.01};
    near.estimate.mean = -0.2;
    CHECK(dtk::verdict_of(near, error) == dtk::Verdict::better);
    auto more = error;
    more.better = dtk::Better::more;
    CHECK(dtk::verdict_of(near, more) == dtk::Verdict::worse);
    near.equivalence = std::pair{-0.35, -0.05};
    more.smallest = 0.36;
    CHECK(dtk::verdict_of(near, more) == dtk::Verdict::equivalent);
    near.estimate.n = 1;
    CHECK(dtk::verdict_of(near, error) == dtk::Verdict::one_seed);
    CHECK(dtk::verdict_of({}, error) == dtk::Verdict::no_pair);

    const auto text = dtk::conclusion(made.study, results, "error");
    CHECK(says(text, "By error over 3 paired seeds, cosine is worse than linear by 1 (simultaneous 95 % interval 0.9"));
    CHECK(says(text, "; sigmoid is not told apart from it. The best mean is that of linear, 1.1 ("));
    CHECK(says(text, "where true samples give 0.001 ± 0.0002 (standard deviation)."));
    CHECK(says(dtk::conclusion(made.study, results, "nll"),
               "By nll over 3 paired seeds (exploratory), cosine and sigmoid have no other number than linear with any "
               "seed."));
}

TEST_CASE("what true samples give is a mean over the seeds, of one side or of two") {
    const auto results = three().results();
    CHECK_FALSE(results.metrics.at("error").nearest());
    CHECK(results.metrics.at("nll").nearest());
    CHECK(results.metrics.at("nll").arms[1].expected == Approx(2));
    const auto text = dtk::table_text(three().study, results);
    CHECK(says(text, "true samples        0.001  ± 0.0002 (standard deviation)"));
    CHECK(says(text, "how far from 2, which true samples give; less is better"));
    CHECK(says(text, "true samples' value has a standard deviation of 0.01"));
}

TEST_CASE("where more is better, verdict, order, rank, Pareto front, bold and charts all say so") {
    const Synthetic made({"linear", "cosine"}, {10}, {1, 2, 3}, [](std::size_t arm, std::size_t seed) {
        return Made{.error = 1 + static_cast<double>(arm) + 0.01 * static_cast<double>(seed * (arm + 1)),
                    .evaluations = arm ? 20.0 : 10.0,
                    .better = "more"};
    });
    const auto results = made.results();
    const auto& error = results.metrics.at("error");
    CHECK(dtk::verdict_of(error.arms[1].difference, error) == dtk::Verdict::better);
    CHECK(error.order() == std::vector<std::size_t>{1, 0});
    CHECK(error.arms[1].rank.mean == 1);
    CHECK(says(dtk::conclusion(made.study, results, "error"), "cosine is better than linear by 1"));
    CHECK(says(dtk::conclusion(made.study, results, "error"), "The best mean is that of cosine"));
    CHECK(says(dtk::results_tex(made.study, results), "\\textbf{2.02}"));
    const auto page = made.page();
    CHECK(says(page, "<strong class=\"better\">better</strong>"));
    CHECK(says(page, "On the Pareto front: linear and cosine."));
}

TEST_CASE("cells that failed or have no finite value stay in the picture") {
    const Synthetic made({"linear", "cosine", "sigmoid"}, {10}, {1, 2, 3, 4, 5, 6, 7, 8},
                         [](std::size_t arm, std::size_t seed) {
                             Made one{.error = 1 + 0.1 * static_cast<double>(seed % 3)};
                             if (arm == 1 && seed != 2) one.error = INFINITY;
                             if (arm == 2 && seed == 0) one.error = NAN;
                             if (arm == 2 && seed == 1) one.failure = "it diverged";
                             return one;
                         });
    const auto results = made.results();
    const auto& error = results.metrics.at("error");
    CHECK_FALSE(error.arms[1].has_mean());
    CHECK(error.arms[1].count(dtk::CellScore::State::infinite) == 7);
    CHECK(dtk::verdict_of(error.arms[1].difference, error) == dtk::Verdict::worse);
    CHECK(error.order().front() == 0);
    const auto text = dtk::conclusion(made.study, results, "error");
    INFO(text);
    CHECK(says(text, "cosine is worse than linear (cosine is infinite in 7 of 8; signed-rank p = 0.03"));
    CHECK(says(text, "cosine has no mean (infinite in 7 of 8) and stands last."));
    CHECK(says(text, "sigmoid has no mean (undefined in 1 of 8 and failed in 1 of 8) and stands last."));
    const auto json = dtk::results_json(made.study, results);
    CHECK(json["arms"][1]["metrics"]["error"]["values"][0] == "inf");
    CHECK(json["arms"][2]["metrics"]["error"]["values"][0] == "nan");
    CHECK(json["arms"][2]["metrics"]["error"]["states"][1] == "failed");
    CHECK(says(dtk::results_csv(made.study, results), "cosine,1,error,less,,infinite,inf,inf\n"));
    elements(made.page());
}

TEST_CASE("arms without chance are compared without a p") {
    const Synthetic made({"linear", "cosine"}, {10}, {1, 2, 3}, [](std::size_t arm, std::size_t seed) {
        return Made{.error = 0.5 + 0.25 * static_cast<double>(arm) + 1e-16 * static_cast<double>(seed)};
    });
    const auto results = made.results();
    const auto sentence = dtk::verdicts(made.study, results, "error").front();
    CHECK(says(sentence, "cosine is worse than linear in error: by 0.25, the same with every seed"));
    CHECK(dtk::results_json(made.study, results)["arms"][1]["metrics"]["error"]["difference"]["p"].is_null());
}

TEST_CASE("all pairs are compared, and all metrics confirmed, where that is asked for") {
    auto all = three().study;
    all.confirm = "all";
    all.all_pairs = true;
    const auto results = dtk::results_of(all, three().folder.path, false);
    CHECK(results.metrics.at("error").family.comparisons == 6);
    CHECK(results.metrics.at("nll").confirmatory);
    CHECK(results.metrics.at("error").pairs.size() == 3);
    CHECK(dtk::verdicts(all, results, "error").size() == 3);
    CHECK(results.metrics.at("error").arms[1].difference.simultaneous->first <
          three().results().metrics.at("error").arms[1].difference.simultaneous->first);
}

TEST_CASE("a study's folder keeps it whole, and what was chosen after results were there") {
    const Synthetic made({"linear", "cosine"}, {10}, {1, 2}, [](std::size_t arm, std::size_t seed) {
        return Made{.error = 1 + static_cast<double>(arm + seed)};
    });
    auto study = made.study;
    dtk::keep_study(study, made.folder.path, {{"set", json::array()}}, 0);
    const auto kept = dtk::kept_study(made.folder.path);
    CHECK(dtk::study_json(kept) == dtk::study_json(study));
    CHECK(dtk::results_json(kept, dtk::results_of(kept, made.folder.path, false)) ==
          dtk::results_json(study, made.results()));
    CHECK(dtk::chosen_afterwards(made.folder.path).empty());
    CHECK(made.results().metrics.at("error").confirmatory);

    study.baseline = 1;
    dtk::keep_study(study, made.folder.path, json::object(), 4);
    const auto said = dtk::chosen_afterwards(made.folder.path);
    REQUIRE(said.size() == 1);
    CHECK(says(said.front(), "when 4 cells were done: the baseline (planned \"linear\", now \"cosine\")"));
    const auto results = dtk::results_of(study, made.folder.path, false);
    CHECK_FALSE(results.metrics.at("error").confirmatory);
    CHECK(says(dtk::conclusion(study, results, "error"), "(exploratory)"));
    dtk::keep_study(made.study, made.folder.path, json::object(), 4);
    CHECK(dtk::chosen_afterwards(made.folder.path).empty());

    for (const auto* damage : {"[]", "{\"cells\": 3}", "{"}) {
        dtk::write_atomically(made.folder / "study.json", damage);
        CHECK_THROWS(dtk::kept_study(made.folder.path));
    }
}

TEST_CASE("arms that differ in steps alone make a line, whose slope is the exponent") {
    const auto& made = of_steps();
    const auto lines = dtk::groups_by_steps(made.study);
    REQUIRE(lines.size() == 2);
    CHECK(lines[0].name == "linear");
    CHECK(lines[1].arms == std::vector<std::size_t>{4, 5, 6, 7});
    const auto results = made.results();
    for (std::size_t line = 0; line < 2; ++line) {
        const auto slope = dtk::slope_of(lines[line], results, "error", 0.95);
        CHECK(slope.estimate.mean == Approx(line ? -2.0 : -1.0));
        CHECK(slope.estimate.n == 2);
        CHECK(slope.standard_error == Approx(0).margin(1e-12));
        // The last point has nothing left to fall by.
        CHECK(slope.left_out == std::vector<std::size_t>{lines[line].arms[3]});
    }
    CHECK(dtk::groups_by_steps(three().study).size() == 3);
    const auto even =
        dtk::groups_by(made.study, [](std::size_t arm) { return std::string(arm % 4 ? "later" : "first"); });
    REQUIRE(even.size() == 2);
    CHECK(even[0].name == "sampler.steps=10");
    CHECK(even[1].arms == std::vector<std::size_t>{1, 2, 3, 5, 6, 7});

    // Seeds with the slopes −1 and −3: their mean −2, its standard error |−1 + 3|/2 = 1.
    const Synthetic apart({"linear"}, {10, 100}, {1, 2}, [](std::size_t arm, std::size_t seed) {
        const double n = arm ? 100 : 10;
        return Made{.error = 1e5 * std::pow(n, seed ? -3 : -1), .evaluations = n};
    });
    const auto slope = dtk::slope_of(dtk::groups_by_steps(apart.study).front(), apart.results(), "error", 0.95);
    CHECK(slope.estimate.mean == Approx(-2));
    CHECK(slope.standard_error == Approx(1));
}

TEST_CASE("on the Pareto front nothing costs less and is better") {
    const double nan = std::nan("");
    CHECK(dtk::pareto_front({3, 1, 2, 2, 4, nan}, {1, 5, 3, 4, 1, 0}) == std::vector<std::size_t>{1, 2, 0});
    CHECK(dtk::pareto_front({1, 1}, {2, 2}) == std::vector<std::size_t>{0});
    CHECK(dtk::pareto_front({nan}, {1}).empty());
}

TEST_CASE("the report is a page in order that needs nothing but itself") {
    for (const auto* made : {&three(), &of_steps()}) {
        const auto page = made->page();
        const auto all = elements(page);
        CHECK(count(all, "h1") == 1);
        CHECK(count(all, "main") == 1);
        CHECK(count(all, "script") == 0);
        CHECK(count(all, "table") == count(all, "caption"));
        CHECK(count(all, "details") == count(all, "summary"));
        if (has_gnuplot()) CHECK(count(all, "svg") >= 12);
        int level = 0;
        std::size_t figures_with_table = 0;
        for (const auto& one : all) {
            INFO("<" << one.name << "> " << one.text);
            for (const auto* key : {"src", "href", "xlink:href", "action", "data"})
                if (const auto link = one.attributes.find(key); link != one.attributes.end())
                    CHECK((link->second.starts_with("#") || link->second.starts_with("data:")));
            if (one.name == "html") CHECK(one.attributes.at("lang") == "en");
            if (one.name == "img") CHECK_FALSE(one.attributes.at("alt").empty());
            if (one.name == "th") CHECK((one.attributes.at("scope") == "col" || one.attributes.at("scope") == "row"));
            if (one.attributes.contains("role") && one.attributes.at("role") == "img")
                CHECK(one.attributes.at("aria-label").size() > 30);
            if (one.name == "div" && one.attributes.contains("class") && one.attributes.at("class") == "scroll")
                CHECK(one.attributes.at("tabindex") == "0");
            if (one.name == "table" && std::find(one.inside.begin(), one.inside.end(), "figure") != one.inside.end())
                ++figures_with_table;
            if (one.name.size() == 2 && one.name[0] == 'h' && std::isdigit(one.name[1])) {
                CHECK(one.name[1] - '0' <= level + 1);
                level = one.name[1] - '0';
            }
        }
        CHECK(figures_with_table ==
              static_cast<std::size_t>(
                  std::count_if(all.begin(), all.end(), [](const Element& one) { return one.name == "figcaption"; })) -
                  count(all, "img"));
        CHECK_FALSE(says(page, "url("));
        CHECK_FALSE(says(page, "@import"));
        CHECK_FALSE(says(page, "http:"));
        CHECK(says(page, "Is &lt;b&gt; &amp; &quot;c&quot; best?"));
        CHECK(says(page, "&lt;/pre&gt;&lt;script&gt;"));
        CHECK(made->page() == page);
    }
}

TEST_CASE("the report shows steps as lines with their slopes, and losses by log-SNR") {
    const auto page = of_steps().page();
    for (const auto* part : {"Error against evaluations", "Measured slopes", "<td>−1.000</td>", "<td>−2.000</td>",
                             "3 of 4", "network evaluations for each sample",
                             "Not comparable as they stand: the arms differ in network evaluations"}) {
        INFO(part);
        CHECK(says(page, part));
    }
    // Linear β from 1e-4 to 0.02, times 1000/T at T = 100; the last tenth's middle is t = 95.
    double alpha_bar = 1;
    for (int t = 0; t <= 95; ++t) alpha_bar *= 1 - 10 * (1e-4 + (0.02 - 1e-4) * t / 99);
    const auto noisiest = fmt::format("<td>−{:.4g}</td><td>1.25</td>", -std::log(alpha_bar / (1 - alpha_bar)));
    INFO(noisiest);
    CHECK(says(page, noisiest));
    CHECK_FALSE(says(three().page(), "Measured slopes"));
}

TEST_CASE("one seed, failures and what is missing are said") {
    const Synthetic made({"linear", "cosine"}, {10}, {4}, [](std::size_t arm, std::size_t) {
        return arm ? Made{.failure = "the loss is <NaN> at step 3"} : Made{};
    });
    const auto page = made.page();
    for (const auto* part :
         {"n = 1, no interval", "the loss is &lt;NaN&gt; at step 3", "1 of 2 cells failed", "dtk run ",
          "one seed: nothing is known", "of cosine and linear there is one seed in common"}) {
        INFO(part);
        CHECK(says(page, part));
    }
    elements(page);
    const auto results = json::parse(dtk::read_file(made.folder / "results.json"));
    CHECK_FALSE(results["arms"][1]["metrics"]["error"]["mean"].is_number());
    CHECK(results["arms"][1]["metrics"]["error"]["difference"]["verdict"] == "one seed");
    CHECK(results["failures"][0]["seed"] == 4);
}

TEST_CASE("CSV and LaTeX hold any name of an arm") {
    Synthetic made({"linear", "cosine"}, {10}, {1, 2}, [](std::size_t arm, std::size_t seed) {
        return Made{.error = 1 + static_cast<double>(arm + seed)};
    });
    made.study.arms[0].name = "a \"b\", c";
    made.study.arms[1].name = "50 % of α_t & {x}^2 ~ \\#";
    made.page();
    const auto csv = dtk::read_file(made.folder / "results.csv");
    CHECK(csv.starts_with(
        "arm,seed,metric,better,unit,state,value,compared\n\"a \"\"b\"\", c\",1,error,less,,finite,1,1\n"));
    const auto tex = dtk::read_file(made.folder / "results.tex");
    for (const auto* part : {"\\begin{tabular}{lrr}", "\\toprule", "\\midrule", "\\bottomrule", "\\end{tabular}",
                             "50 \\% of α\\_t \\& \\{x\\}\\textasciicircum{}2 \\textasciitilde{} \\textbackslash{}\\#",
                             "\\textbf{1.5}", "true samples (sd) & 0.001"}) {
        INFO(part);
        CHECK(says(tex, part));
    }
    std::istringstream lines(tex);
    for (std::string line; std::getline(lines, line);) {
        if (!line.ends_with("\\\\")) continue;
        std::size_t columns = 1;
        for (std::size_t i = 0; i < line.size(); ++i) columns += line[i] == '&' && (i == 0 || line[i - 1] != '\\');
        CHECK(columns == 3);
    }
}

TEST_CASE("a chart for a page has its own ids and the page's colours") {
    if (!has_gnuplot()) {
        WARN("skipped: there is no gnuplot");
        return;
    }
    const dtk::Chart chart{
        .title = "t",
        .x_label = "x",
        .series = {{.name = "a", .x = {1, 2}, .y = {1, 2}, .low = {0.5, 1.5}, .high = {1.5, 2.5}},
                   {.x = {1}, .y = {2}, .low = {0.5}, .high = {3}, .style = dtk::Series::Style::intervals}},
        .rows = {"first", "second & last"},
        .x_band = std::pair{1.0, 1.5}};
    const auto svg = dtk::svg_elements({{chart, "q7"}}).front();
    for (const auto* part :
         {"var(--chart-0, #0072b2)", "var(--chart-1, #d55e00)", "var(--chart-ink, ", "var(--chart-axis, ",
          "var(--chart-grid, ", "var(--chart-band, ", "var(--chart-paper, ", "second &amp; last"}) {
        INFO(part);
        CHECK(says(svg, part));
    }
    CHECK(svg.starts_with("<svg"));
    for (const auto* part : {"<title", "<desc", "http", "rgb("}) {
        INFO(part);
        CHECK_FALSE(says(svg, part));
    }
    const std::regex id("id=['\"]([^'\"]*)");
    for (std::sregex_iterator at(svg.begin(), svg.end(), id), none; at != none; ++at)
        CHECK((*at)[1].str().starts_with("q7"));
}

TEST_CASE("in a browser nothing sticks out, all can be read in light and dark, and nothing complains") {
    const auto program = browser();
    if (program.empty()) {
        WARN("skipped: there is no chromium");
        return;
    }
    if (!has_gnuplot()) {
        WARN("skipped: there is no gnuplot");
        return;
    }
    const Folder folder;
    auto text = json(of_steps().page()).dump();
    for (auto at = text.find("</"); at != text.npos; at = text.find("</", at + 3)) text.insert(at + 1, "\\");
    // The page in frames as wide as a phone and a desk, everything unfolded: what it says of itself is the document's
    // text.
    std::ofstream(folder / "look.html") << R"(<!DOCTYPE html><meta charset="utf-8"><body><script>
const page = )" << text << R"(, found = [];
const light = c => { const [r, g, b] = c.match(/[\d.]+/g).map(v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const contrast = (a, b) => { const [x, y] = [light(a), light(b)]; return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05); };
const look = (frame, width) => {
    const d = frame.contentDocument, w = frame.contentWindow, one = { width, inner: w.innerWidth, out: [], pale: [], paper: w.getComputedStyle(d.body).backgroundColor };
    for (const x of d.querySelectorAll('details')) x.open = true;
    one.scroll = d.documentElement.scrollWidth;
    for (const e of d.querySelectorAll('main *')) {
        if (!e.getClientRects().length || e.closest('.half') || (e.closest('.scroll') && !e.matches('.scroll')) || e.closest('pre')) continue;
        if (e.getBoundingClientRect().right > width + 1) one.out.push(e.tagName + ' ' + e.className + ' ' + e.textContent.slice(0, 40));
    }
    for (const e of d.querySelectorAll('p, li, td, th, figcaption, caption, summary, h1, h2, h3, svg text')) {
        if (!e.getClientRects().length) continue;
        const s = w.getComputedStyle(e), colour = e.matches('svg text') ? s.fill : s.color;
        if (contrast(colour, one.paper) < 4.5) one.pale.push(e.tagName + ' ' + colour + ' ' + e.textContent.slice(0, 40));
    }
    one.drawn = [...d.querySelectorAll('svg')].filter(e => e.getClientRects().length).map(e => [e.getBoundingClientRect().width, e.viewBox.baseVal.width]);
    found.push(one);
    if (found.length == 2) document.body.textContent = 'FOUND' + JSON.stringify(found) + 'END';
};
for (const width of [390, 1280]) {
    const frame = document.createElement('iframe');
    frame.width = width; frame.height = 844; frame.style.border = '0'; frame.srcdoc = page;
    frame.onload = () => look(frame, width);
    document.body.append(frame);
}
</script>)";
    for (const bool dark : {false, true}) {
        Running running(
            {program, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--user-data-dir=" + (folder / (dark ? "d" : "l")).string(), "--window-size=1400,900",
             "--enable-logging=stderr", std::string("--blink-settings=preferredColorScheme=") + (dark ? "0" : "1"),
             "--virtual-time-budget=5000", "--dump-dom", "file://" + (folder / "look.html").string()},
            folder.path);
        const auto outcome = running.wait(std::chrono::seconds(60));
        const auto begin = outcome.out.find("FOUND"), end = outcome.out.find("END", begin);
        INFO(outcome.err);
        REQUIRE(end != outcome.out.npos);
        CHECK_FALSE(says(outcome.err, "CONSOLE"));
        auto said = outcome.out.substr(begin + 5, end - begin - 5);
        for (const auto& [from, to] : {std::pair{"&lt;", "<"}, {"&gt;", ">"}, {"&amp;", "&"}})
            for (auto at = said.find(from); at != said.npos; at = said.find(from))
                said.replace(at, std::strlen(from), to);
        for (const auto& one : json::parse(said)) {
            INFO(one.dump(1));
            CHECK(one["inner"] == one["width"]);
            CHECK(one["scroll"].get<double>() <= one["width"].get<double>());
            CHECK(one["out"].empty());
            CHECK(one["pale"].empty());
            CHECK((one["paper"] == "rgb(255, 255, 255)") == !dark);
            REQUIRE(one["drawn"].size() >= 6);
            // At its own size, so that its letters are those of the text around it.
            for (const auto& chart : one["drawn"]) CHECK(chart[0].get<double>() > 0.97 * chart[1].get<double>());
        }
    }
}
