// Studies from outside: what one runs and says, that nothing is computed twice, and what its cells stand on.
#include "catch.hpp"

#include <fstream>
#include <iterator>

#include "small_study.hpp"

TEST_CASE("a study runs every arm with every seed and says how the arms compare") {
    const auto& [folder, outcome, found] = done();
    INFO(outcome.out << outcome.err);
    CHECK(says(outcome.out, "linear"));
    CHECK(says(outcome.out, "baseline"));
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
    write(folder / "one.toml", without_ablation(study));
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
    if (!says(page, "No picture:")) CHECK(says(page, "<svg"));
    CHECK(says(read(folder / "study" / "results.csv"), "cosine,4,nll,"));
    CHECK(says(read(folder / "study" / "results.tex"), "\\toprule"));
    // Anew from the folder alone: without the study's file, where no plugin can be found, and without LibTorch, whose
    // opening alone takes longer than all of it.
    fs::remove(folder / "study" / "report.html");
    fs::remove(folder / "study.toml");
    const auto opened =
        start_dtk({"report", "study"}, folder.path, {{"DTK_PLUGIN_PATH", "/nowhere"}, {"LD_DEBUG", "files"}}).wait();
    REQUIRE(opened.code == 0);
    CHECK(read(folder / "study" / "report.html") == page);
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
    write(folder / "study.toml", "# a comment\n" + changed(study, "Which of", "Which, of"));
    CHECK(says(dtk_program({"run", "study.toml", "--out", "study", "-n"}, folder.path).out, "8 of 8 tasks done"));
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
         })
        refused(folder, study, wrong);
    // The last of them, as the program says it.
    const auto mistaken = read(folder / "study.toml");
    for (const auto& outcome : {run(folder, mistaken), dtk_program({"check", "study.toml"}, folder.path)}) {
        INFO(outcome.out << outcome.err);
        CHECK(outcome.code == 2);
        CHECK(says(outcome.err, "did you mean `mlp`?"));
        CHECK_FALSE(fs::exists(folder / "study"));
    }
    CHECK(run(folder, study, {"--resume=study"}).code == 2);
    CHECK(run(folder, study, {"--seed", "3"}).code == 2);
    CHECK(run(folder, study, {"--artefact", "teacher=."}).code == 2);
    CHECK(run(folder, study, {"--cell", "3/2"}).code == 2);
    CHECK(dtk_program({"report", "nowhere"}, folder.path).code == 2);
    write(folder / "study.toml", study);
    CHECK(dtk_program({"check", "study.toml"}, folder.path).code == 0);
}

TEST_CASE("a study that has begun says how many seeds a difference takes") {
    const auto outcome = dtk_program({"study", "power", "study", "--difference", "5%"}, done().folder.path);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(says(outcome.out, "cosine"));
    CHECK(says(outcome.out, "worth of pairing"));
    CHECK(dtk_program({"study", "power", "study", "--difference", "much"}, done().folder.path).code == 2);
    CHECK(dtk_program({"study", "power", "nowhere", "--difference", "5%"}, done().folder.path).code == 2);
}

TEST_CASE("shares of a study make the whole of it") {
    const Folder folder;
    for (const auto* share : {"1/3", "2/3", "3/3"}) CHECK(run(folder, study, {"--cell", share}).code == 0);
    CHECK(finished(folder / "study").size() == 8);
    CHECK(results(folder) == done().results);
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
    write(folder / "one.toml", without_ablation(text));
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
    // A network that is named by its folder is a part of what a cell is, too.
    const auto by_folder =
        changed(changed(standing_on("known"), "seeds = [3, 4]", "seeds = [3]"), "\"linear\", \"cosine\"", "\"linear\"");
    const auto done_of_two = [&] {
        const auto shown = dtk_program({"run", "study.toml", "--out", "by folder", "-n"}, folder.path).out;
        return says(shown, "2 of 2 tasks done") ? 2 : says(shown, "0 of 2 tasks done") ? 0 : -1;
    };
    write(folder / "study.toml", by_folder);
    REQUIRE(dtk_program({"run", "study.toml", "--out", "by folder", "--jobs", "1", "--progress", "none"}, folder.path)
                .code == 0);
    CHECK(done_of_two() == 2);
    fs::remove_all(folder / "known");
    REQUIRE(dtk_program({"run", "teacher.toml", "--out", "known", "--seed", "10", "--progress", "none"}, folder.path)
                .code == 0);
    CHECK(done_of_two() == 0);
    write(folder / "study.toml", with_first());

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
    const auto whole = without_ablation(text);
    // What varies is a key of the file as a whole, so that the stages must leave it open.
    arms = changed(arms, "model = {use = \"student\", teacher = \"teacher\"}\ntrain = {steps = 30, batch = 16}",
                   "model = {use = \"student\", teacher = \"teacher\"}");
    arms = changed(arms, "[sampler]", "[train]\nsteps = 30\nbatch = 16\n\n[sampler]");
    const auto outcome = run(folder, arms);
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(parts_done(folder) == 2 + 4 + 4);  // a teacher for each seed
    // A stage is not asked for because some field holds its name as a word.
    for (const std::string name : {"mlp", "linear", "gaussian_mixture"}) {
        write(folder / "study.toml", changed(arms, "\"never_asked\"", '"' + name + '"'));
        CHECK(says(dtk_program({"run", "study.toml", "--out", "other", "-n"}, folder.path).out, "0 of 10 tasks done"));
    }

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
