// Studies that choose: how many seeds, each arm's own best value, and the best of many arms.
#include "catch.hpp"

#include "small_study.hpp"
#include "study/statistics.hpp"

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
    const auto& difference = found["arms"][1]["metrics"]["nll"]["difference"];
    if (at_once) CHECK(difference["verdict"] != "not told apart");
    // The interval of the difference alone is Student's at 95 %, that of the verdict wider: a look may err less.
    std::vector<double> pairs;
    for (std::size_t seed = 0; seed < found["seeds"].size(); ++seed)
        pairs.push_back(found["arms"][1]["metrics"]["nll"]["compared"][seed].get<double>() -
                        found["arms"][0]["metrics"]["nll"]["compared"][seed].get<double>());
    const auto alone = dtk::estimate(pairs, 0.95);
    CHECK(difference["interval"][0].get<double>() == Approx(alone.interval->first));
    CHECK(difference["simultaneous"][0].get<double>() < difference["interval"][0].get<double>());
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
    // What chooses is drawn with the seed of [ablation.tune], and measures that metric alone; what is reported is not.
    std::size_t choosing = 0;
    for (const auto& [task, time] : before) {
        const auto at = folder / "study" / "tasks" / task;
        const bool chooses = says(read(at / "resolved.toml"), "seed = 77\n");
        choosing += chooses;
        CHECK(json::parse(read(at / "run.json"))["result"]["metrics"].size() == (chooses ? 1 : 2));
    }
    CHECK(choosing == 8);
    const auto page = read(folder / "study" / "report.html");
    REQUIRE(dtk_program({"report", "study"}, folder.path).code == 0);
    CHECK(read(folder / "study" / "report.html") == page);

    // What is reported is what those arms give by themselves with that value.
    write(folder / "one.toml",
          changed(tuned, tuned.substr(tuned.find("[ablation]"), tuned.find("[model]") - tuned.find("[ablation]")), ""));
    for (const auto& [arm, schedule] : {std::pair{0, "linear"}, std::pair{1, "cosine"}}) {
        REQUIRE(dtk_program({"run", "one.toml", "--out", schedule, "--seed", "1", "--set", "sampler.steps=20", "--set",
                             std::string("schedule.use=") + schedule, "--progress", "none"},
                            folder.path)
                    .code == 0);
        CHECK(json::parse(read(folder / schedule / "run.json"))["result"]["metrics"][0]["value"] ==
              found["arms"][arm]["metrics"]["wasserstein"]["values"][1]);
    }

    // A metric that is not of samples is chosen by the numbers that are reported; that is said.
    const auto bound = run(folder, changed(changed(changed(tuned, "seed = 77", "seed = 77\nmetric = \"bound\""),
                                                   "use = \"nll\"\n", "use = \"bound\"\nexamples = 200\n"),
                                           "seeds = [0, 1]", "seeds = [0]"));
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
    write(folder / "one.toml", without_ablation(text));
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
