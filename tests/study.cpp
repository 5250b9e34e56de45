// Studies from outside: what one says, that nothing is computed twice, and that kills, failures and several hosts lose
// nothing.
#include "catch.hpp"

#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "run_program.hpp"
#include "study/memory.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

const std::string study = R"(name = "small"

[ablation]
question = "Which of <these> is best?"
baseline = "linear"
seeds = [3, 4]

[[ablation.axis]]
key = "schedule.use"
values = ["linear", "cosine"]

[dataset]
use = "gaussian_mixture"

[process]
steps = 100

[schedule]
use = "cosine"

[model]
use = "mlp"
width = 8
depth = 1

[train]
steps = 40
batch = 16
log_every = 10
checkpoint_every = 10

[sampler]
use = "ddim"
steps = 5

[sample]
n = 200

[[metric]]
use = "nll"

[[metric]]
use = "sliced_wasserstein"
)";

const std::vector<std::string> command{"run", "study.toml", "--out", "study", "--progress", "none", "--jobs", "2"};

Outcome run(const Folder& folder, const std::string& text = study, std::vector<std::string> more = {}) {
    write(folder / "study.toml", text);
    auto arguments = command;
    arguments.insert(arguments.end(), more.begin(), more.end());
    return dtk_program(arguments, folder.path);
}

/// A change that makes a study a mistaken one, and what is said of it.
struct Wrong {
    const char *from, *to, *message;
};
Outcome refused(const Folder& folder, const std::string& text, const Wrong& wrong) {
    auto outcome = run(folder, changed(text, wrong.from, wrong.to));
    INFO(wrong.to << "\n" << outcome.out << outcome.err);
    CHECK(outcome.code == 2);
    CHECK(says(outcome.err, wrong.message));
    return outcome;
}

/// What stands in the study's folder of finished work, and when it was written.
std::map<std::string, fs::file_time_type> finished(const fs::path& folder) {
    std::map<std::string, fs::file_time_type> found;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(folder / "tasks", none)) {
        if (fs::exists(entry.path() / "result.json"))
            found[entry.path().filename()] = fs::last_write_time(entry.path() / "result.json");
        std::ifstream in(entry.path() / "run.json");
        const auto record = in ? json::parse(in, nullptr, false) : json();
        if (record.is_object() && record.value("status", "") == "completed")
            found[entry.path().filename()] = fs::last_write_time(entry.path() / "run.json");
    }
    return found;
}

json results(const Folder& folder) { return json::parse(read(folder / "study" / "results.json")); }

/// The study, finished without disturbance.
const Folder& done() {
    static const Folder folder;
    if (!fs::exists(folder / "study")) {
        const auto outcome = run(folder);
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
    }
    return folder;
}

const json& undisturbed() {
    static const json found = results(done());
    return found;
}

/// A copy of it to go on with.
void copy_done(const Folder& to) { fs::copy(done().path, to.path, fs::copy_options::recursive); }

}  // namespace

TEST_CASE("a study runs every arm with every seed and says how the arms compare") {
    const Folder folder;
    const auto outcome = run(folder);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(says(outcome.out, "linear"));
    CHECK(says(outcome.out, "baseline"));

    const auto found = results(folder);
    REQUIRE(found["arms"].size() == 2);
    CHECK(found["arms"][0]["arm"] == "linear");
    const auto& cosine = found["arms"][1]["metrics"]["nll"];
    REQUIRE(cosine["compared"].size() == 2);
    double mean = 0;
    for (int seed = 0; seed < 2; ++seed) {
        CHECK(cosine["compared"][seed].get<double>() ==
              Approx(std::abs(cosine["values"][seed].get<double>() - cosine["expected"].get<double>())));
        mean += (cosine["compared"][seed].get<double>() -
                 found["arms"][0]["metrics"]["nll"]["compared"][seed].get<double>()) /
                2;
    }
    CHECK(cosine["difference"]["mean"].get<double>() == Approx(mean));
    // The verdict is what the interval says, on the terminal as in the file.
    const double low = cosine["difference"]["simultaneous"][0], high = cosine["difference"]["simultaneous"][1];
    const std::string verdict = high < 0 ? "better" : low > 0 ? "worse" : "not told apart";
    CHECK(cosine["difference"]["verdict"] == verdict);
    CHECK(says(outcome.out, verdict == "not told apart" ? "cosine cannot be told from linear in nll"
                                                        : "cosine is " + verdict + " than linear in nll"));

    // The cell is what the same experiment gives by itself.
    write(
        folder / "one.toml",
        changed(study, study.substr(study.find("[ablation]"), study.find("[dataset]") - study.find("[ablation]")), ""));
    REQUIRE(dtk_program({"run", "one.toml", "--out", "one", "--seed", "4", "--set", "threads=1", "--progress", "none"},
                        folder.path)
                .code == 0);
    const auto alone = json::parse(read(folder / "one" / "run.json"))["result"]["metrics"][0];
    CHECK(alone["metric"] == "nll");
    CHECK(alone["value"].get<double>() == cosine["values"][1].get<double>());
}

TEST_CASE("the report is one file that needs no network and takes texts as texts") {
    const Folder folder;
    copy_done(folder);
    REQUIRE(run(folder).code == 0);
    const auto page = read(folder / "study" / "report.html");
    CHECK(says(page, "Which of &lt;these&gt; is best?"));
    CHECK_FALSE(says(page, "<these>"));
    for (const auto* outside : {"src=\"http", "href=\"http", "url(http", "@import", "<script"})
        CHECK_FALSE(says(page, outside));
    for (const auto* part : {"<table>", "Holm p", "data:image/png;base64,", "Method and provenance",
                             "prefers-color-scheme", "lang=\"en\""}) {
        INFO(part);
        CHECK(says(page, part));
    }
    if (dtk_program({"doctor"}, folder.path).code == 0 && !says(page, "No picture:")) CHECK(says(page, "<svg"));
    CHECK(says(read(folder / "study" / "results.csv"), "cosine,4,nll,"));
    CHECK(says(read(folder / "study" / "results.tex"), "\\toprule"));
    // Anew from the folder alone: without the study's file, and where no plugin can be found.
    fs::remove(folder / "study" / "report.html");
    fs::remove(folder / "study.toml");
    REQUIRE(start_dtk({"report", "study"}, folder.path, {{"DTK_PLUGIN_PATH", "/nowhere"}}).wait().code == 0);
    CHECK(read(folder / "study" / "report.html") == page);
    // Without LibTorch, whose opening alone takes longer than all of it.
    const auto opened = start_dtk({"report", "study"}, folder.path, {{"LD_DEBUG", "files"}}).wait();
    CHECK(says(opened.err, "libdtk_base"));
    CHECK_FALSE(says(opened.err, "libtorch"));
}

TEST_CASE("what is done is not done again, and an added seed or arm costs only itself") {
    const Folder folder;
    copy_done(folder);
    const auto before = finished(folder / "study");
    CHECK(before.size() == 8);
    REQUIRE(run(folder).code == 0);
    CHECK(finished(folder / "study") == before);

    auto more =
        changed(changed(study, "seeds = [3, 4]", "seeds = [3, 4, 5]"), "\"cosine\"]", "\"cosine\", \"quadratic\"]");
    REQUIRE(run(folder, more).code == 0);
    const auto after = finished(folder / "study");
    CHECK(after.size() == 18);
    for (const auto& [task, time] : before) CHECK(after.at(task) == time);

    // A comment or the question changes nothing that was computed; a parameter does.
    REQUIRE(run(folder, changed(study, "Which of", "# Which of")).code == 0);
    CHECK(finished(folder / "study").size() == 18);
    const auto plan = dtk_program({"run", "study.toml", "--out", "study", "-n", "--set", "train.lr=1e-4"}, folder.path);
    CHECK(says(plan.out, "0 of 8 tasks done"));
    CHECK(plan.code == 0);
}

TEST_CASE("results of another build count where that is said") {
    const Folder folder;
    copy_done(folder);
    // The same network under another hash.
    fs::create_directories(folder / "plugins");
    fs::copy_file(fs::path(DTK_PLUGINS) / "models" / "mlp.so", folder / "plugins" / "mlp.so");
    std::ofstream(folder / "plugins" / "mlp.so", std::ios::binary | std::ios::app) << "rebuilt";
    const auto plan = [&](std::vector<std::string> more) {
        std::vector<std::string> arguments{"run", "study.toml", "--out", "study", "-n"};
        arguments.insert(arguments.end(), more.begin(), more.end());
        return start_dtk(arguments, folder.path, {{"DTK_PLUGIN_PATH", (folder / "plugins").string()}}).wait().out;
    };
    const auto anew = plan({});
    INFO(anew);
    CHECK(says(anew, "0 of 8 tasks done"));
    CHECK(says(anew, "how long it takes is known once"));
    const auto accepted = plan({"--accept-rebuilt"});
    INFO(accepted);
    CHECK(says(accepted, "8 of 8 tasks done"));
    CHECK(says(accepted, "nothing is left to do"));
    const auto more = plan({"--accept-rebuilt", "--set", "ablation.seeds=[3,4,5]"});
    INFO(more);
    CHECK(says(more, "8 of 12 tasks done"));
    CHECK(says(more, "seconds to go"));
    // The number of jobs is no part of what a cell is.
    CHECK(says(dtk_program({"run", "study.toml", "--out", "study", "-n", "--jobs", "1"}, folder.path).out,
               "8 of 8 tasks done"));
}

TEST_CASE("arms that differ in sampling alone share their training") {
    const Folder folder;
    const auto text = changed(study, "key = \"schedule.use\"\nvalues = [\"linear\", \"cosine\"]",
                              "keys = [\"sampler.use\", \"sampler.steps\"]\nvalues = [[\"ddim\", 5], [\"ddim\", 10], "
                              "[\"ddpm\", 10]]\nnames = [\"a\", \"b\", \"c\"]");
    const auto outcome = run(folder, changed(text, "baseline = \"linear\"", "baseline = \"b\""));
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(finished(folder / "study").size() == 2 + 3 * 2);
    CHECK(says(outcome.out, "a cannot be told from b") + says(outcome.out, "a is worse than b") +
              says(outcome.out, "a is better than b") ==
          1);
    CHECK(says(outcome.out, "not of equal cost: they differ in network evaluations"));
}

TEST_CASE("axes make every combination but the excluded ones") {
    const Folder folder;
    write(folder / "study.toml",
          changed(study, "[dataset]", "[[ablation.axis]]\nkey = \"sampler.steps\"\nvalues = [5, 10]\n\n[dataset]"));
    const auto all =
        dtk_program({"run", "study.toml", "-n", "--set", "ablation.baseline=\"linear, sampler.steps=5\""}, folder.path);
    INFO(all.out << all.err);
    CHECK(all.code == 0);
    CHECK(says(all.out, "4 arms × 2 seeds = 8 cells; 0 of 12 tasks done"));
    const auto fewer =
        dtk_program({"run", "study.toml", "-n", "--set", "ablation.baseline=\"linear, sampler.steps=5\"", "--set",
                     "ablation.exclude=[{\"schedule.use\" = \"cosine\", \"sampler.steps\" = 10}]"},
                    folder.path);
    INFO(fewer.out << fewer.err);
    CHECK(says(fewer.out, "3 arms × 2 seeds = 6 cells"));
    CHECK_FALSE(fs::exists(folder / "runs"));
}

TEST_CASE("mistakes in a study are found before anything runs") {
    const Folder folder;
    for (const auto& wrong : std::vector<Wrong>{
             {"baseline = \"linear\"", "baseline = \"lineer\"", "`baseline` = \"lineer\" is no arm"},
             {"baseline = \"linear\"", "basline = \"linear\"", "did you mean `baseline`?"},
             {"seeds = [3, 4]", "seeds = []", "`seeds` is empty"},
             {"seeds = [3, 4]", "seeds = [3, 3]", "twice"},
             {"seeds = [3, 4]", "seeds = \"all\"", "must be a list of whole numbers"},
             {"seeds = [3, 4]", "seeds = [3, 4]\nmetrics = [\"fid\"]", "`fid` is no metric of the experiment"},
             {"\"linear\", \"cosine\"]", "\"linear\", \"cosin\"]", "did you mean `cosine`?"},
             {"\"linear\", \"cosine\"]", "\"linear\", \"linear\"]", "two arms are called `linear`"},
             {"\"linear\", \"cosine\"]", "\"linear\", \"linear\"]\nnames = [\"linear\", \"again\"]",
              "the arms `linear` and `again` are one and the same experiment"},
             {"seeds = [3, 4]", "seeds = [3, 4]\nsmallest = \"much\"", "neither a share nor a number"},
             {"seeds = [3, 4]", "seeds = [3, 4]\nuntil = \"decided\"\nlimit = 1", "is outside"},
             {"seeds = [3, 4]", "seeds = [3, 4]\nvary = [\"inits\"]", "did you mean `init`?"},
             {"seeds = [3, 4]", "seeds = [3, 4]\nvary = [\"data\", \"data\"]", "a stream stands in `vary` twice"},
             {"seeds = [3, 4]", "seeds = [3, 4]\nvary = [\"data\"]\none_at_a_time = true", "takes two streams"},
             {"seeds = [3, 4]", "seeds = {train = [3, 4], sample = [1, 1]}", "twice"},
             {"use = \"sliced_wasserstein\"", "use = \"nll\"", "two metrics are called `nll`"},
             {"key = \"schedule.use\"", "key = \"schedule.us\"", "no key `us`"},
             {"key = \"schedule.use\"", "kee = \"schedule.use\"", "an axis has no key `kee`"},
             {"key = \"schedule.use\"", "keys = [\"schedule.use\", \"process.steps\"]",
              "a value of this axis is a list of 2"},
             {"values = [\"linear\", \"cosine\"]", "values = []", "needs a list of `values`"},
             {"seeds = [3, 4]", "seeds = [3, 4]\nexclude = [{\"schedule.use\" = \"sigmoid\"}]",
              "no axis gives `schedule.use` the value"},
             {"[[ablation.axis]]", "[[ablation.axes]]", "did you mean `axis`?"},
             {"use = \"mlp\"", "use = \"mlpp\"", "did you mean `mlp`?"},
         }) {
        const auto outcome = refused(folder, study, wrong);
        INFO(wrong.to << "\n" << outcome.out << outcome.err);
        CHECK(says(outcome.err, "-->"));
        CHECK_FALSE(fs::exists(folder / "study"));
        CHECK(dtk_program({"check", "study.toml"}, folder.path).code == 2);
    }
    CHECK(run(folder, study, {"--resume=study"}).code == 2);
    CHECK(run(folder, study, {"--seed", "3"}).code == 2);
    CHECK(run(folder, study, {"--artefact", "teacher=."}).code == 2);
    CHECK(run(folder, study, {"--cell", "3/2"}).code == 2);
    CHECK(dtk_program({"report", "nowhere"}, folder.path).code == 2);
    write(folder / "study.toml", study);
    CHECK(dtk_program({"check", "study.toml"}, folder.path).code == 0);
}

/// A study with exact denoisers: nothing is trained.
std::string exact_study(const std::string& ablation, const std::string& experiment) {
    return "name = \"exact\"\nthreads = 1\n[ablation]\n" + ablation +
           "\n[model]\nuse = \"exact\"\n[dataset]\nuse = \"gaussian_mixture\"\npreset = \"gmm1d\"\n" + experiment;
}

TEST_CASE("of exact denoisers the one with more steps is better by a bound that is to be large") {
    const Folder folder;
    const auto outcome =
        run(folder, exact_study("baseline = \"process.steps=20\"\nseeds = [0, 1, 2]\n[[ablation.axis]]\n"
                                "key = \"process.steps\"\nvalues = [20, 100]",
                                "[process]\nsteps = 20\n[schedule]\nuse = \"cosine\"\n"
                                "[[metric]]\nuse = \"bound\"\nexamples = 1000\n"));
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(says(outcome.out, "process.steps=100 is better than process.steps=20 in bound: by 0."));
    CHECK(says(outcome.out, "more is better"));
    const auto found = results(folder);
    CHECK(found["metrics"][0]["better"] == "more");
    CHECK(found["metrics"][0]["order"][0] == "process.steps=100");
}

TEST_CASE("two metrics of one plugin stay two, arms without chance have no p, and rows that fill up cost nothing") {
    const Folder folder;
    const auto outcome = run(
        folder, exact_study("seeds = [0, 1, 2]\n[[ablation.axis]]\nkey = \"sampler.steps\"\nvalues = [10, 50]\n"
                            "[[ablation.axis]]\nkey = \"sample.batch\"\nvalues = [1000, 333]",
                            "[process]\nsteps = 1000\n[sampler]\nuse = \"ddim\"\nsteps = 10\n[sample]\nn = 1000\n"
                            "start = \"quantiles\"\nprecision = \"float64\"\n[[metric]]\nuse = \"wasserstein\"\np = 1\n"
                            "repeats = 4\nname = \"W1\"\n[[metric]]\nuse = \"wasserstein\"\np = 2\nrepeats = 4\n"
                            "name = \"W2\"\n"));
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    const auto found = results(folder);
    for (const auto& arm : found["arms"]) {
        CHECK(arm["metrics"]["W1"]["mean"].get<double>() < arm["metrics"]["W2"]["mean"].get<double>());
        CHECK(arm["metrics"]["W1"]["constant"] == true);
    }
    const auto& first = found["arms"][0];
    const auto& padded = found["arms"][1];
    CHECK(first["network_evaluations"].get<double>() == padded["network_evaluations"].get<double>());
    CHECK(padded["metrics"]["W1"]["difference"]["verdict"] == "the same");
    CHECK(found["arms"][2]["metrics"]["W1"]["difference"]["p"].is_null());
    CHECK(found["arms"][2]["metrics"]["W1"]["difference"]["verdict"] == "better");
    CHECK(says(outcome.out, "the same with every seed: neither depends on it"));
}

TEST_CASE("arms whose truth is known come out in its order by every metric, in every place that shows them") {
    // What ddim makes of N(0.7, 0.1²) with the exact denoiser is normal; its distance W2 to the truth is known exactly.
    const json reference = json::parse(read(fs::path(DTK_TEST_DATA) / "reference_values.json"));
    const auto& known = reference["schedule_ranking"]["gaussian"];
    struct Truth {
        const char *arm, *at, *schedule;
    };
    const Truth truths[] = {{"fine", "s2=0.01,N=100,ddim", "cosine"},
                            {"coarse", "s2=0.01,N=10,ddim", "cosine"},
                            {"coarse linear", "s2=0.01,N=10,ddim", "linear"}};
    const std::vector<std::string> metrics{"W2",  "energy_distance",  "frechet",    "mmd", "kl",
                                           "nll", "density_coverage", "wasserstein"};
    auto text = exact_study(
        "seeds = [0, 1, 2]\nbaseline = \"fine\"\n[[ablation.axis]]\nkeys = [\"schedule.use\", "
        "\"sampler.steps\"]\n"
        "values = [[\"linear\", 10], [\"cosine\", 100], [\"cosine\", 10]]\nnames = [\"coarse linear\", \"fine\", "
        "\"coarse\"]\n",
        "means = [[0.7]]\nstd = [0.1]\n[process]\nsteps = 1000\n[sampler]\nuse = \"ddim\"\n[sample]\nn = 1000\n"
        "[[metric]]\nuse = \"wasserstein\"\np = 2\nname = \"W2\"\n");
    text = changed(text, "preset = \"gmm1d\"", "preset = \"none\"");
    for (std::size_t i = 1; i < metrics.size(); ++i) text += "[[metric]]\nuse = \"" + metrics[i] + "\"\n";
    const Folder folder;
    const auto outcome = run(folder, text);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    const auto found = results(folder);
    const auto score_of = [&](const std::string& arm, const std::string& metric) {
        for (const auto& one : found["arms"])
            if (one["arm"] == arm) return one["metrics"][metric];
        return json();
    };
    const json order{"fine", "coarse", "coarse linear"};
    std::size_t more = 0;
    for (const auto& metric : found["metrics"]) {
        const auto name = metric["metric"].get<std::string>();
        INFO(name << ": " << score_of("fine", name)["mean"] << ", " << score_of("coarse", name)["mean"] << ", "
                  << score_of("coarse linear", name)["mean"]);
        more += metric["better"] == "more";
        CHECK(metric["order"] == order);
        for (const std::string arm : {"coarse", "coarse linear"})
            CHECK(score_of(arm, name)["difference"]["verdict"] == "worse");
        CHECK(score_of("fine", name)["rank"].get<double>() == Approx(1));
    }
    CHECK(more == 1);
    for (const auto& truth : truths)
        CHECK(score_of(truth.arm, "W2")["mean"].get<double>() ==
              Approx(known[truth.at][truth.schedule]["W2"].get<double>()).margin(0.006));

    // The best of every column is bold, and so of LaTeX's first arm none.
    std::istringstream tex(read(folder / "study" / "results.tex"));
    for (std::string line; std::getline(tex, line);) {
        std::size_t bold = 0;
        for (auto at = line.find("textbf"); at != line.npos; at = line.find("textbf", at + 1)) ++bold;
        CHECK(bold == (line.starts_with("fine &") ? metrics.size() : 0));
    }
    const auto page = read(folder / "study" / "report.html");
    CHECK(says(page, "On the Pareto front: coarse and fine."));
    CHECK_FALSE(says(page, "<strong class=\"better\">"));
    CHECK(says(found["conclusion"].get<std::string>(), "2 arms are worse than fine") +
              says(found["conclusion"].get<std::string>(), "coarse linear and coarse are worse than fine") ==
          1);
    const auto compared =
        dtk_program({"compare", "study/tasks", "--baseline", "sampler.steps=100", "--json"}, folder.path);
    INFO(compared.err);
    REQUIRE(compared.code == 0);
    const auto groups = json::parse(compared.out)["groups"];
    CHECK(groups.size() == 3);
    for (const auto& group : groups)
        for (const auto& name : metrics)
            if (group["baseline"] == false) CHECK(group["metrics"][name]["difference"]["verdict"] == "worse");
}

TEST_CASE("an arm whose metric is infinite stands last, and the study says so") {
    const Folder folder;
    const auto outcome =
        run(folder,
            "name = \"infinite\"\nthreads = 1\n[ablation]\nbaseline = \"process.steps=400\"\n"
            "seeds = [0, 1, 2, 3, 4, 5, 6, 7]\n[[ablation.axis]]\nkey = \"process.steps\"\nvalues = [4, 400]\n"
            "[dataset]\nuse = \"heartbeat\"\n[process]\nuse = \"bernoulli\"\nsteps = 30\nrate = 0.2\n"
            "[schedule]\nuse = \"linear_alpha_bar\"\n[model]\nuse = \"exact\"\n[sample]\nn = 4\n"
            "[[metric]]\nuse = \"nll\"\n");
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    const auto found = results(folder);
    const auto& few = found["arms"][0]["metrics"]["nll"];
    std::size_t infinite = 0;
    for (const auto& state : few["states"]) infinite += state == "infinite";
    CHECK(infinite > 0);
    CHECK(few["mean"] == "inf");
    CHECK(found["metrics"][0]["order"].back() == "process.steps=4");
    CHECK(says(outcome.out, "process.steps=4 is infinite in"));
    CHECK(says(found["conclusion"].get<std::string>(), "process.steps=4 has no mean (infinite in"));
}

TEST_CASE("trainings are drawn from with several seeds at no cost, and the scatter is split") {
    const Folder folder;
    const auto outcome = run(folder, changed(study, "seeds = [3, 4]", "seeds = {train = [3, 4], sample = [0, 1, 2]}"));
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(finished(folder / "study").size() == 4 + 12);
    const auto found = results(folder);
    const auto& values = found["arms"][0]["metrics"]["nll"]["values"];
    REQUIRE(values.size() == 6);
    CHECK(values[0] != values[1]);
    CHECK(found["arms"][0]["metrics"]["nll"]["n"] == 2);
    CHECK(says(read(folder / "study" / "report.html"), "Variance by training and drawing"));
    CHECK(says(read(folder / "study" / "results.csv"), "cosine,4,2,nll,nearest,nats,finite,"));
}

namespace {
/// The losses that a run logged.
std::vector<double> losses(const fs::path& run) {
    std::vector<double> all;
    std::istringstream lines(read(run / "metrics.jsonl"));
    for (std::string line; std::getline(lines, line);)
        if (const auto one = json::parse(line); one.contains("train/loss")) all.push_back(one["train/loss"]);
    return all;
}
}  // namespace

TEST_CASE("training draws from four streams, each with a seed of its own, and from nothing else") {
    const Folder folder;
    std::ofstream table(folder / "data.csv");
    std::mt19937 random(1);
    table << "a,b\n";
    for (int i = 0; i < 50; ++i) table << random() % 100 << "," << random() % 100 << "\n";
    table.close();
    const auto text =
        "name = \"streams\"\nthreads = 1\n[dataset]\nuse = \"csv\"\nfile = \"data.csv\"\n[process]\nsteps = "
        "100\n[model]\nuse = "
        "\"mlp\"\nwidth = 8\ndepth = 1\n[train]\nsteps = 40\nbatch = 16\nlog_every = 10\n";
    write(folder / "run.toml", text);
    const auto losses_with = [&](const std::string& name, const std::vector<std::string>& sets, const char* seed) {
        std::vector<std::string> words{"run", "run.toml", "--out", name, "--progress", "none", "--seed", seed};
        for (const auto& set : sets) words.insert(words.end(), {"--set", set});
        const auto outcome = dtk_program(words, folder.path);
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
        return losses(folder / name);
    };
    const auto four = losses_with("four", {}, "4"), five = losses_with("five", {}, "5");
    CHECK(four.size() == 4);
    CHECK(four != five);
    // All of them, and the seed does not matter any more; one alone changes what comes out, and no two the same.
    std::vector<std::string> all;
    std::set<std::vector<double>> different{four, five};
    for (const std::string stream : {"init", "data", "noise", "times"}) {
        all.push_back("seeds." + stream + "=5");
        CHECK(different.insert(losses_with(stream, {all.back()}, "4")).second);
    }
    CHECK(losses_with("all", all, "4") == five);
    CHECK(losses_with("own", {"seeds.init=4", "seeds.times=4"}, "4") == four);
    CHECK_FALSE(says(read(folder / "own" / "resolved.toml"), "[seeds]"));
    CHECK(says(read(folder / "all" / "resolved.toml"), "[seeds]"));
    // Of data without end another seed means other examples.
    write(folder / "run.toml", changed(text, "use = \"csv\"\nfile = \"data.csv\"", "use = \"gaussian_mixture\""));
    const auto endless = losses_with("endless", {}, "4");
    CHECK(losses_with("other examples", {"seeds.data=5"}, "4") != endless);
    CHECK(says(dtk_program({"run", "run.toml", "-n", "--set", "seeds.inits=5"}, folder.path).err,
               "did you mean `init`?"));
    // A run keeps to its streams.
    CHECK(dtk_program({"run", "run.toml", "--resume=endless", "--seed", "4", "--set", "seeds.noise=5"}, folder.path)
              .code == 2);
}

TEST_CASE("the scatter is split by random stream, one varied at a time") {
    const Folder folder;
    const auto text =
        changed(study, "seeds = [3, 4]", "seeds = [3, 4, 5]\nvary = [\"init\", \"noise\"]\none_at_a_time = true");
    const auto outcome = run(folder, changed(text, "name = \"small\"", "name = \"small\"\nseed = 3"));
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    // Seed 3 is the experiment's: there all three are one training.
    CHECK(finished(folder / "study").size() == 2 * 2 * (3 + 2 + 2));
    const auto found = results(folder);
    CHECK(found["vary"] == json{"init", "noise"});
    for (const auto& arm : found["arms"]) {
        const auto& score = arm["metrics"]["nll"];
        CHECK(score["of_stream"]["init"][0] == score["compared"][0]);
        CHECK(score["of_stream"]["noise"][0] == score["compared"][0]);
        CHECK(score["of_stream"]["init"][1] != score["of_stream"]["noise"][1]);
        // The variances are those of what stands beside them.
        std::vector<double> alone = score["of_stream"]["init"];
        const double mean = (alone[0] + alone[1] + alone[2]) / 3;
        double variance = 0;
        for (const double value : alone) variance += std::pow(value - mean, 2) / 2;
        CHECK(score["scatter"][1]["stream"] == "init");
        CHECK(score["scatter"][1]["variance"].get<double>() == Approx(variance));
        CHECK(score["scatter"].size() == (arm["baseline"] == true ? 3 : 6));
    }
    const auto page = read(folder / "study" / "report.html");
    CHECK(says(page, "Variance by random stream"));
    CHECK(says(page, "init alone"));
    CHECK(says(page, "init and noise followed the training"));
    CHECK(says(dtk_program({"show", "study"}, folder.path).out, "4 of init alone"));
    // A report from the folder alone says the same.
    REQUIRE(dtk_program({"report", "study"}, folder.path).code == 0);
    CHECK(read(folder / "study" / "report.html") == page);
}

TEST_CASE("seeds are added until the comparison is decided, and no further than the limit") {
    const Folder folder;
    const auto text = changed(study, "seeds = [3, 4]", "seeds = [3, 4]\nuntil = \"decided\"\nlimit = 3");
    const auto outcome = run(folder, text);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    const auto found = results(folder);
    const bool at_once = found["seeds"] == json{3, 4};
    CHECK((at_once || found["seeds"] == json{3, 4, 5}));
    CHECK(says(outcome.err, "the next look is after 3") == !at_once);
    if (at_once) CHECK(found["arms"][1]["metrics"]["nll"]["difference"]["verdict"] != "not told apart");
}

TEST_CASE("each arm chooses its own best by samples that are not reported") {
    const Folder folder;
    const auto tuned = exact_study(
        "seeds = [0, 1]\n[[ablation.axis]]\nkey = \"schedule.use\"\nvalues = [\"linear\", \"cosine\"]\n"
        "[ablation.tune]\nkey = \"sampler.steps\"\nvalues = [2, 20]\nseed = 77\n",
        "[process]\nsteps = 1000\n[sampler]\nuse = \"ddim\"\n[sample]\nn = 500\n[[metric]]\nuse = \"wasserstein\"\n"
        "[[metric]]\nuse = \"nll\"\n");
    write(folder / "study.toml", tuned);
    const auto plan = dtk_program({"run", "study.toml", "--out", "study", "-n"}, folder.path);
    INFO(plan.out << plan.err);
    CHECK(says(plan.out, "0 of 12 tasks done"));
    const auto outcome = run(folder, tuned);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(finished(folder / "study").size() == 12);  // 2 arms × 2 seeds × (2 values, and the better one reported)
    const auto found = results(folder);
    REQUIRE(found["tune"]["chosen"].size() == 4);
    for (const auto& one : found["tune"]["chosen"]) CHECK(one["value"] == "20");
    CHECK(says(read(folder / "study" / "report.html"), "Each arm at its own best"));
    const auto before = finished(folder / "study");
    REQUIRE(run(folder, tuned).code == 0);
    CHECK(finished(folder / "study") == before);
    const auto page = read(folder / "study" / "report.html");
    REQUIRE(dtk_program({"report", "study"}, folder.path).code == 0);
    CHECK(read(folder / "study" / "report.html") == page);

    // What is reported is what those arms give by themselves with that value.
    const Folder plain;
    REQUIRE(run(plain, changed(changed(tuned,
                                       tuned.substr(tuned.find("[ablation.tune]"),
                                                    tuned.find("\n[model]") - tuned.find("[ablation.tune]")),
                                       ""),
                               "use = \"ddim\"", "use = \"ddim\"\nsteps = 20"))
                .code == 0);
    for (const std::size_t arm : {0, 1})
        CHECK(results(plain)["arms"][arm]["metrics"]["wasserstein"]["values"] ==
              found["arms"][arm]["metrics"]["wasserstein"]["values"]);

    // A metric that is not of samples is chosen by the numbers that are reported; that is said.
    const auto bound = run(folder, changed(changed(tuned, "seed = 77", "seed = 77\nmetric = \"bound\""),
                                           "use = \"nll\"\n", "use = \"bound\"\nexamples = 200\n"));
    INFO(bound.out << bound.err);
    CHECK(says(bound.out, "bound does not depend on what is drawn"));
    for (const auto& wrong : std::vector<Wrong>{
             {"seed = 77", "seed = 1", "chosen by the samples that are reported"},
             {"seeds = [0, 1]", "seeds = {train = [0, 1], sample = [5, 77]}",
              "chosen by the samples that are reported"},
             {"values = [2, 20]", "values = [2]", "two different `values`"},
             {"key = \"sampler.steps\"", "key = \"schedule.use\"", "an axis gives `schedule.use` its values already"},
             {"seed = 77", "seed = 77\nmetric = \"fid\"", "`fid`, which [ablation.tune] chooses by, is no metric"},
             {"seed = 77", "sead = 77", "did you mean `seed`?"},
             {"values = [2, 20]", "values = [2, -20]", "is outside"}})
        refused(folder, tuned, wrong);
}

TEST_CASE("a search trains few arms for long, and confirms the winner with fresh seeds") {
    const Folder folder;
    const auto text = changed(
        changed(changed(study, "key = \"schedule.use\"\nvalues = [\"linear\", \"cosine\"]",
                        "key = \"train.lr\"\nvalues = [1e-6, 1e-5, 1e-3, 1e-2, 1e30]\nnames = [\"linear\", \"b\", "
                        "\"c\", \"d\", \"wild\"]"),
                "seeds = [3, 4]", "seeds = [3]\nsearch = \"halving\"\nrungs = 2\nfresh = [7, 8]"),
        "batch = 16", "batch = 16\nclip = 0");
    write(folder / "study.toml", text);
    const auto plan = dtk_program({"run", "study.toml", "--out", "study", "-n"}, folder.path);
    INFO(plan.out << plan.err);
    CHECK(says(plan.out, "5 arms for 20 steps, then 3 arms for 40 steps"));
    const auto outcome = run(folder, text);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(says(outcome.err, "rung 1 of 2, 20 steps, is done (failed: 1); kept: "));
    const auto found = results(folder);
    REQUIRE(found["search"]["rungs"].size() == 2);
    const auto& first = found["search"]["rungs"][0];
    CHECK(first["arms"].size() == 5);
    CHECK(first["means"][4] != first["means"][3]);
    REQUIRE(first["kept"].size() == 2);
    for (const auto& arm : first["kept"]) CHECK((arm != "wild" && arm != "linear"));
    REQUIRE(found["arms"].size() == 2);
    CHECK(found["arms"][0]["arm"] == "linear");
    const auto winner = found["search"]["rungs"][1]["kept"][0];
    CHECK(found["arms"][1]["arm"] == winner);
    CHECK(found["seeds"] == json{7, 8});
    CHECK(found["metrics"][0]["confirmatory"] == true);
    CHECK(says(read(folder / "study" / "report.html"), "The search"));
    // wild fails; each of the others is measured: 4 + 3 of the rungs, 4 of the confirmation, each with its training.
    const auto before = finished(folder / "study");
    CHECK(before.size() == 2 * (4 + 3 + 4));
    // A longer rung went on with the shorter one.
    std::size_t gone_on = 0;
    for (const auto& [task, time] : before) {
        const auto record = folder / "study" / "tasks" / task / "run.json";
        if (!fs::exists(record)) continue;
        const auto all = json::parse(read(record));
        if (!all.contains("history")) continue;
        ++gone_on;
        CHECK(all["history"][0]["from"]["run"]["step"] == 20);
        CHECK(losses(folder / "study" / "tasks" / task).size() == 4);
    }
    CHECK(gone_on == 3);
    // The same command does nothing again.
    REQUIRE(run(folder, text).code == 0);
    CHECK(finished(folder / "study") == before);
    const auto page = read(folder / "study" / "report.html");
    REQUIRE(dtk_program({"report", "study"}, folder.path).code == 0);
    CHECK(read(folder / "study" / "report.html") == page);
    // What confirms is what the arm gives by itself.
    const auto rate = winner == "c" ? "1e-3" : winner == "d" ? "1e-2" : "1e-5";
    write(folder / "one.toml",
          changed(text, text.substr(text.find("[ablation]"), text.find("[dataset]") - text.find("[ablation]")), ""));
    REQUIRE(dtk_program({"run", "one.toml", "--out", "one", "--seed", "8", "--set", "threads=1", "--set",
                         std::string("train.lr=") + rate, "--progress", "none"},
                        folder.path)
                .code == 0);
    CHECK(json::parse(read(folder / "one" / "run.json"))["result"]["metrics"][0]["value"] ==
          found["arms"][1]["metrics"]["nll"]["values"][1]);

    CHECK(run(folder, text, {"--cell", "1/2"}).code == 2);
    for (const auto& wrong :
         std::vector<Wrong>{{"fresh = [7, 8]", "fresh = [3, 8]", "the seed 3, which had a part in choosing it"},
                            {"fresh = [7, 8]", "", "nothing confirms what the search finds"},
                            {"rungs = 2", "rungs = 8", "leave the first one no step"},
                            {"search = \"halving\"", "", "there is none"},
                            {"search = \"halving\"", "search = \"halfing\"", "halving"},
                            {"key = \"train.lr\"", "key = \"train.steps\"", "the rungs of a search do so, too"}})
        refused(folder, text, wrong);
}

TEST_CASE("a study that has begun says how many seeds a difference takes") {
    const auto outcome = dtk_program({"study", "power", "study", "--difference", "5%"}, done().path);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(says(outcome.out, "cosine"));
    CHECK(says(outcome.out, "worth of pairing"));
    CHECK(dtk_program({"study", "power", "study", "--difference", "much"}, done().path).code == 2);
    CHECK(dtk_program({"study", "power", "nowhere", "--difference", "5%"}, done().path).code == 2);
}

TEST_CASE("a cell that fails is shown with its reason, and the rest is complete") {
    const Folder folder;
    const auto text = changed(changed(study, "key = \"schedule.use\"\nvalues = [\"linear\", \"cosine\"]",
                                      "key = \"train.lr\"\nvalues = [1e-3, 1e30]\nnames = [\"linear\", \"wild\"]"),
                              "batch = 16", "batch = 16\nclip = 0");
    const auto outcome = run(folder, text);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == 1);
    CHECK(says(outcome.err, "failed: wild, seed 3: the loss or its gradient is not finite at step"));
    CHECK(says(outcome.err, "= help: dtk run /"));
    const auto found = results(folder);
    CHECK(found["failures"].size() == 2);
    CHECK(found["arms"][0]["metrics"]["nll"]["n"] == 2);
    CHECK_FALSE(found["arms"][1]["metrics"]["nll"]["mean"].is_number());
    const auto page = read(folder / "study" / "report.html");
    CHECK(says(page, "is not finite at step"));
    // The command that the page shows fails in the same way.
    const auto at = page.find("dtk run /");
    REQUIRE(at != page.npos);
    const auto file = page.substr(at + 8, page.find(".toml", at) + 5 - (at + 8));
    const auto again = dtk_program({"run", file, "--out", "again", "--progress", "none"}, folder.path);
    INFO(again.err);
    CHECK(again.code == 1);
    CHECK(says(again.err, "the loss or its gradient is not finite at step"));
}

TEST_CASE("a study that is killed at any moment ends with the same results, and finished cells stay as they are") {
    const Folder folder;
    write(folder / "study.toml", study);
    std::mt19937 random(1);
    std::map<std::string, fs::file_time_type> before;
    for (int kill = 0; kill < 3; ++kill) {
        auto running = start_dtk(command, folder.path);
        std::this_thread::sleep_for(std::chrono::milliseconds(600 + random() % 2500));
        running.send(SIGKILL);
        running.wait();
        const auto now = finished(folder / "study");
        for (const auto& [task, time] : before) CHECK(now.at(task) == time);
        before = now;
    }
    const auto outcome = run(folder);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    const auto after = finished(folder / "study");
    CHECK(after.size() == 8);
    for (const auto& [task, time] : before) CHECK(after.at(task) == time);
    CHECK(results(folder) == undisturbed());
}

TEST_CASE("an interrupted study says how to go on") {
    const Folder folder;
    write(folder / "study.toml", changed(study, "steps = 40", "steps = 400000"));
    auto running = start_dtk(command, folder.path);
    while (!fs::exists(folder / "study" / "tasks") && !running.ended())
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::this_thread::sleep_for(std::chrono::seconds(1));
    running.send(SIGINT);
    const auto outcome = running.wait();
    INFO(outcome.err);
    CHECK(outcome.code == 130);
    CHECK(says(outcome.err, "the same command goes on"));
    for (const auto& entry : fs::directory_iterator(folder / "study" / "tasks"))
        CHECK(entry.path().extension() != ".lease");
}

/// The hosts that hold leases of a study.
std::set<std::string> holders(const fs::path& folder) {
    std::set<std::string> found;
    std::error_code none;
    for (const auto& entry : fs::directory_iterator(folder / "tasks", none))
        if (entry.path().extension() == ".lease" && entry.path().filename().string()[0] != '.') {
            std::ifstream in(entry.path());
            std::string host;
            if (in >> host) found.insert(host);
        }
    return found;
}

TEST_CASE("several hosts share a study, and what a killed one held is taken over") {
    const Folder folder;
    write(folder / "study.toml", changed(study, "seeds = [3, 4]", "seeds = [3, 4, 5, 6]"));
    std::vector<Running> hosts;
    auto one_at_a_time = command;
    one_at_a_time.back() = "1";
    for (const auto* name : {"a", "b", "c", "d"})
        hosts.push_back(start_dtk(one_at_a_time, folder.path, {{"DTK_HOST", name}, {"DTK_LEASE_SECONDS", "3"}}));
    // Two are killed while they hold a cell, which they then go on holding.
    for (const auto& [number, name] : {std::pair{1, "b"}, std::pair{3, "d"}}) {
        while (!holders(folder / "study").contains(name) && !hosts[number].ended())
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        hosts[number].send(SIGKILL);
        hosts[number].wait();
        CHECK(holders(folder / "study").contains(name));
    }
    const auto before = finished(folder / "study");
    CHECK(before.size() < 16);
    for (const std::size_t alive : {0, 2}) {
        const auto outcome = hosts[alive].wait();
        INFO(outcome.out << outcome.err);
        CHECK(outcome.code == 0);
    }
    const auto after = finished(folder / "study");
    CHECK(after.size() == 16);
    for (const auto& [task, time] : before) CHECK(after.at(task) == time);
    // What was finished and not yet given back when its owner was killed is swept up later.
    std::this_thread::sleep_for(std::chrono::seconds(3));
    CHECK(start_dtk(one_at_a_time, folder.path, {{"DTK_HOST", "a"}, {"DTK_LEASE_SECONDS", "3"}}).wait().code == 0);
    CHECK(finished(folder / "study") == after);
    CHECK(holders(folder / "study").empty());
    // Each cell stands in the results once.
    std::multiset<std::string> cells;
    std::istringstream lines(read(folder / "study" / "results.csv"));
    for (std::string line; std::getline(lines, line);)
        if (says(line, ",nll,")) cells.insert(line.substr(0, line.find(",nll,")));
    CHECK(cells == std::multiset<std::string>{"linear,3", "linear,4", "linear,5", "linear,6", "cosine,3", "cosine,4",
                                              "cosine,5", "cosine,6"});
    const auto shared = results(folder);
    CHECK(shared["failures"].empty());
    for (std::size_t arm = 0; arm < 2; ++arm)
        for (std::size_t seed = 0; seed < 2; ++seed)
            CHECK(shared["arms"][arm]["metrics"]["nll"]["values"][seed] ==
                  undisturbed()["arms"][arm]["metrics"]["nll"]["values"][seed]);
}

TEST_CASE("shares of a study make the whole of it") {
    const Folder folder;
    for (const auto* share : {"1/3", "2/3", "3/3"}) CHECK(run(folder, study, {"--cell", share}).code == 0);
    CHECK(finished(folder / "study").size() == 8);
    CHECK(results(folder) == undisturbed());
}

namespace {

const std::string seams = std::string("plugins = {path = [\"") + DTK_SEAMS + "\"]}\n";

/// A network that others stand on.
const std::string teacher = R"(name = "old_hand"
seed = 9
[dataset]
use = "gaussian_mixture"
[process]
steps = 100
[schedule]
use = "linear"
[model]
use = "mlp"
width = 8
depth = 1
[train]
steps = 30
batch = 16
)";

/// The study with a network that stands on another's.
std::string standing_on(const std::string& name) {
    return seams +
           changed(study, "use = \"mlp\"\nwidth = 8\ndepth = 1", "use = \"student\"\nteacher = \"" + name + "\"");
}

std::string with_first(const std::string& list = "[\"teacher.toml\"]") {
    return changed(standing_on("old_hand"), "seeds = [3, 4]", "seeds = [3, 4]\nfirst = " + list);
}

std::size_t parts_done(const Folder& folder) { return finished(folder / "study").size(); }

}  // namespace

TEST_CASE("what all arms stand on is trained once, before them") {
    const Folder folder;
    write(folder / "teacher.toml", teacher);
    write(folder / "study.toml", with_first());
    const auto plan = dtk_program({"run", "study.toml", "--out", "study", "-n"}, folder.path);
    INFO(plan.out << plan.err);
    CHECK(plan.code == 0);
    CHECK(says(plan.out, "0 of 9 tasks done"));
    CHECK(says(plan.out, "to do     first      old_hand"));

    // A share trains what it stands on, and the others find it.
    REQUIRE(run(folder, with_first(), {"--cell", "2/2"}).code == 0);
    CHECK(parts_done(folder) == 5);
    const auto before = finished(folder / "study");
    const auto outcome = run(folder, with_first());
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(parts_done(folder) == 9);
    for (const auto& [task, time] : before) CHECK(finished(folder / "study").at(task) == time);

    // A cell is what the same experiment gives by itself on the same network.
    const auto text = standing_on("old_hand");
    write(folder / "one.toml",
          changed(text, text.substr(text.find("[ablation]"), text.find("[dataset]") - text.find("[ablation]")), ""));
    REQUIRE(
        dtk_program({"run", "teacher.toml", "--out", "known", "--set", "threads=1", "--progress", "none"}, folder.path)
            .code == 0);
    const std::vector<std::string> alone{"run",   "one.toml",  "--out",      "one",  "--seed",    "4",
                                         "--set", "threads=1", "--progress", "none", "--artefact"};
    auto named = alone;
    named.emplace_back("old_hand=known");
    const auto one = dtk_program(named, folder.path);
    INFO(one.err);
    REQUIRE(one.code == 0);
    const auto record = json::parse(read(folder / "one" / "run.json"));
    CHECK(record["result"]["metrics"][0]["value"].get<double>() ==
          results(folder)["arms"][1]["metrics"]["nll"]["values"][1].get<double>());
    CHECK(record["artefacts"]["old_hand"] == (folder / "known").string());
    // The run knows it again.
    const auto sampled = dtk_program({"sample", "one", "--out", "sampled", "--progress", "none"}, folder.path);
    INFO(sampled.err);
    CHECK(sampled.code == 0);

    CHECK(dtk_program({"report", "study"}, folder.path).code == 0);
    // With another teacher everything is another's.
    write(folder / "teacher.toml", changed(teacher, "seed = 9", "seed = 10"));
    CHECK(says(dtk_program({"run", "study.toml", "--out", "study", "-n"}, folder.path).out, "0 of 9 tasks done"));
}

TEST_CASE("mistakes in what comes first, and its failure") {
    const Folder folder;
    const auto refused = [&](const std::string& text, const char* message) {
        const auto outcome = run(folder, text);
        INFO(message << "\n" << outcome.out << outcome.err);
        CHECK(outcome.code == 2);
        CHECK(says(outcome.err, message));
        CHECK_FALSE(fs::exists(folder / "study"));
    };
    write(folder / "teacher.toml", teacher);
    refused(with_first("[\"nowhere.toml\"]"), "there is no file");
    refused(with_first("[]"), "neither an earlier stage");
    refused(with_first("[\"teacher.toml\", \"teacher.toml\"]"), "two experiments of `first` have the name `old_hand`");
    refused(changed(study, "seeds = [3, 4]", "seeds = [3, 4]\nfirst = [\"teacher.toml\"]"),
            "no arm asks for the network of `old_hand`");
    write(folder / "teacher.toml", changed(teacher, "steps = 100", "steps = 90"));
    refused(with_first(), "the teacher was trained on another process");
    write(folder / "teacher.toml", changed(teacher, "mlp", "mlpp"));
    refused(with_first(), "did you mean `mlp`?");
    write(folder / "teacher.toml", study);
    refused(with_first(), "trains one network");
    CHECK(dtk_program({"check", "study.toml", "--artefact", "old_hand"}, folder.path).code == 2);

    write(folder / "teacher.toml", changed(teacher, "batch = 16", "batch = 16\nlr = 1e30\nclip = 0"));
    const auto outcome = run(folder, with_first());
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == 1);
    CHECK(says(outcome.err,
               "failed: linear, seed 3: `old_hand`, on which it stands, failed: the loss or its gradient is not finite "
               "at step"));
    CHECK(results(folder)["failures"].size() == 4);
    CHECK(parts_done(folder) == 0);
}

TEST_CASE("of several stages those that the arms have in common are trained once, and the last one is measured") {
    const Folder folder;
    auto text = seams + study;
    const auto cut = [&](const std::string& from, const std::string& to) {
        text = changed(text, text.substr(text.find(from), text.find(to) - text.find(from)), "");
    };
    cut("[schedule]\n", "[model]");
    cut("[model]\n", "[sampler]");
    text += R"(
[[stage]]
name = "teacher"
schedule = {use = "linear"}
model = {use = "mlp", width = 8, depth = 1}
train = {steps = 30, batch = 16, lr = 1e-3}

[[stage]]
name = "never_asked"
schedule = {use = "linear"}
model = {use = "mlp", width = 8, depth = 1}
train = {steps = 30, batch = 16, lr = 1e-3}

[[stage]]
name = "student"
schedule = {use = "linear"}
model = {use = "student", teacher = "teacher"}
train = {steps = 30, batch = 16}
)";
    auto arms = changed(text, "key = \"schedule.use\"\nvalues = [\"linear\", \"cosine\"]",
                        "key = \"train.lr\"\nvalues = [1e-3, 1e-2]\nnames = [\"linear\", \"fast\"]");
    const auto whole =
        changed(text, text.substr(text.find("[ablation]"), text.find("[dataset]") - text.find("[ablation]")), "");
    // What varies is a key of the file as a whole, so that the stages must leave it open.
    arms = changed(arms, "model = {use = \"student\", teacher = \"teacher\"}\ntrain = {steps = 30, batch = 16}",
                   "model = {use = \"student\", teacher = \"teacher\"}");
    arms = changed(arms, "[sampler]", "[train]\nsteps = 30\nbatch = 16\n\n[sampler]");
    const auto outcome = run(folder, arms);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(parts_done(folder) == 2 + 4 + 4);  // a teacher for each seed

    write(folder / "whole.toml", whole);
    const auto one =
        dtk_program({"run", "whole.toml", "--out", "whole", "--seed", "4", "--set", "threads=1", "--progress", "none"},
                    folder.path);
    INFO(one.err);
    REQUIRE(one.code == 0);
    CHECK(json::parse(read(folder / "whole" / "run.json"))["result"]["student"]["metrics"][0]["value"] ==
          results(folder)["arms"][0]["metrics"]["nll"]["values"][1]);
    const auto sampled =
        dtk_program({"sample", "whole/student", "--out", "sampled", "--progress", "none"}, folder.path);
    INFO(sampled.err);
    CHECK(sampled.code == 0);
}

TEST_CASE("a job is started where memory holds what one of its kind has taken") {
    constexpr std::uint64_t gigabyte = 1 << 30;
    using dtk::memory_holds_another;
    CHECK(memory_holds_another(0, 4 * gigabyte, {}));  // one is always tried
    CHECK(memory_holds_another(4 * gigabyte, 4 * gigabyte, {4 * gigabyte}));
    CHECK_FALSE(memory_holds_another(4 * gigabyte - 1, 4 * gigabyte, {4 * gigabyte}));
    // Those at work have not taken yet what they will.
    CHECK_FALSE(memory_holds_another(4 * gigabyte, 4 * gigabyte, {3 * gigabyte}));
    CHECK(memory_holds_another(5 * gigabyte, 4 * gigabyte, {3 * gigabyte}));
    CHECK(memory_holds_another(9 * gigabyte, 4 * gigabyte, {3 * gigabyte, 0}));
    CHECK_FALSE(memory_holds_another(9 * gigabyte - 1, 4 * gigabyte, {3 * gigabyte, 0}));
    CHECK(memory_holds_another(4 * gigabyte, 4 * gigabyte, {5 * gigabyte}));
}

TEST_CASE("memory that is left is the system's or what a control group allows") {
    const Folder root;
    const auto put = [&](const char* file, const std::string& text) {
        fs::create_directories((root / file).parent_path());
        write(root / file, text);
    };
    CHECK_FALSE(dtk::memory_left(root.path));
    put("proc/meminfo", "MemTotal:       100 kB\nMemFree:        10 kB\nMemAvailable:   50 kB\n");
    CHECK(dtk::memory_left(root.path) == 50u * 1024);
    // Version 2: the innermost group has no limit of its own, the one around it has; cached files count as free.
    put("proc/self/cgroup", "0::/jobs/7\n");
    put("sys/fs/cgroup/jobs/7/memory.max", "max\n");
    put("sys/fs/cgroup/jobs/7/memory.current", "20000\n");
    put("sys/fs/cgroup/jobs/memory.max", "40000\n");
    put("sys/fs/cgroup/jobs/memory.current", "30000\n");
    put("sys/fs/cgroup/jobs/memory.stat", "anon 25000\ninactive_file 5000\n");
    CHECK(dtk::memory_left(root.path) == 15000u);
    put("sys/fs/cgroup/jobs/memory.current", "90000\n");
    CHECK(dtk::memory_left(root.path) == 0u);
    // Version 1, seen from inside a container: the group's path is the host's, the limit lies at the root.
    put("proc/self/cgroup", "9:cpuset:/\n4:memory,hugetlb:/host/path\n0::/\n");
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "30000\n");
    put("sys/fs/cgroup/memory/memory.usage_in_bytes", "20000\n");
    put("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 1000\n");
    CHECK(dtk::memory_left(root.path) == 11000u);
    put("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK(dtk::memory_left(root.path) == 50u * 1024);
}

TEST_CASE("GPUs are those of the machine or those that one may use") {
    const Folder root;
    ::unsetenv("CUDA_VISIBLE_DEVICES");
    CHECK(dtk::visible_gpus(root.path).empty());
    fs::create_directories(root / "dev");
    for (const auto* file : {"nvidia0", "nvidia1", "nvidiactl"}) write(root / "dev" / file, "");
    CHECK(dtk::visible_gpus(root.path) == std::vector<std::string>{"0", "1"});
    ::setenv("CUDA_VISIBLE_DEVICES", "3,GPU-5f", 1);
    CHECK(dtk::visible_gpus(root.path) == std::vector<std::string>{"3", "GPU-5f"});
    ::setenv("CUDA_VISIBLE_DEVICES", "", 1);
    CHECK(dtk::visible_gpus(root.path).empty());
    ::unsetenv("CUDA_VISIBLE_DEVICES");
}
