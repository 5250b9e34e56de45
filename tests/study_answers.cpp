// What studies conclude: the order of arms whose truth is known, infinite values, and whose the scatter is.
#include "catch.hpp"

#include <fstream>
#include <random>
#include <set>
#include <sstream>

#include "small_study.hpp"

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
        folder, exact_study("seeds = [0, 1]\n[[ablation.axis]]\nkey = \"sampler.steps\"\nvalues = [10, 50]\n"
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
    const auto outcome = run(folder,
                             "name = \"infinite\"\nthreads = 1\n[ablation]\nbaseline = \"process.steps=400\"\n"
                             "seeds = [0, 1, 2, 3, 4]\n[[ablation.axis]]\nkey = \"process.steps\"\nvalues = [4, 400]\n"
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
    const auto outcome = run(folder, changed(study, "seeds = [3, 4]", "seeds = {train = [3, 4], sample = [0, 1]}"));
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    CHECK(finished(folder / "study").size() == 4 + 8);
    const auto found = results(folder);
    const auto& values = found["arms"][0]["metrics"]["nll"]["values"];
    REQUIRE(values.size() == 4);
    CHECK(values[0] != values[1]);
    CHECK(found["arms"][0]["metrics"]["nll"]["n"] == 2);
    CHECK(says(read(folder / "study" / "report.html"), "Variance by training and drawing"));
    CHECK(says(read(folder / "study" / "results.csv"), "cosine,4,1,nll,nearest,nats,finite,"));
}

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
        changed(study, "seeds = [3, 4]", "seeds = [3, 4]\nvary = [\"init\", \"noise\"]\none_at_a_time = true");
    const auto outcome = run(folder, changed(text, "name = \"small\"", "name = \"small\"\nseed = 3"));
    INFO(outcome.out << outcome.err);
    REQUIRE(outcome.code == 0);
    // Seed 3 is the experiment's: there all three are one training.
    CHECK(finished(folder / "study").size() == 2 * 2 * (2 + 1 + 1));
    const auto found = results(folder);
    CHECK(found["vary"] == json{"init", "noise"});
    for (const auto& arm : found["arms"]) {
        const auto& score = arm["metrics"]["nll"];
        CHECK(score["of_stream"]["init"][0] == score["compared"][0]);
        CHECK(score["of_stream"]["noise"][0] == score["compared"][0]);
        CHECK(score["of_stream"]["init"][1] != score["of_stream"]["noise"][1]);
        // The variances are those of what stands beside them.
        std::vector<double> alone = score["of_stream"]["init"];
        const double variance = std::pow(alone[0] - alone[1], 2) / 2;
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
