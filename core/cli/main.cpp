// The command line. Results go to standard output, everything else to standard error.
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#include <charconv>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <limits>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <CLI/CLI.hpp>

#include "base/build.hpp"
#include "base/toml.hpp"
#include "base/trust.hpp"
#include "base/words.hpp"
#include "cli/commands.hpp"
#include "cli/completion.hpp"
#include "cli/runs.hpp"
#include "study/exports.hpp"

namespace {

const char* const footer =
    "Exit codes: 0 done, 1 the experiment failed, 2 usage or a mistake in a file, 3 a plugin, 85 stopped by a queue's\n"
    "signal (SIGTERM, SIGHUP, SIGUSR1), 130 interrupted.\n"
    "Start with: dtk run experiments/quickstart.toml";

/// What an option takes that is a whole number.
CLI::Validator whole_number(std::int64_t least, std::int64_t most = std::numeric_limits<std::int64_t>::max()) {
    return CLI::Validator(
        [=](std::string& text) {
            std::int64_t value = 0;
            const auto end = text.data() + text.size();
            const auto [at, error] = std::from_chars(text.data(), end, value);
            if (error == std::errc() && at == end && value >= least && value <= most) return std::string();
            return fmt::format("{} is not a whole number from {} to {}", dtk::harmless(text, true), least, most);
        },
        "");
}

void add_overrides(CLI::App* command, dtk::Overrides& overrides) {
    command->add_option("--set", overrides.set, "lay KEY=VALUE over the file, the value in TOML: --set train.lr=1e-3")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    command->add_option("--seed", overrides.seed, "the seed, in place of the file's")
        ->type_name("N")
        ->check(whole_number(0));
    command->add_option("--device", overrides.device, "cpu, cuda or cuda:N, in place of the file's")
        ->type_name("DEVICE");
    command->add_option("--artefact", overrides.artefacts, "the run whose network a plugin's field calls NAME")
        ->type_name("NAME=RUN")
        ->allow_extra_args(false);
}

void add_plugin_path(CLI::App* command, std::vector<std::filesystem::path>& folders) {
    command->add_option("--plugin-path", folders, "look for plugins here first")
        ->type_name("DIR")
        ->allow_extra_args(false);
    command
        ->add_option_function<std::vector<std::string>>(
            "--trust",
            [](const auto& trusted) {
                for (const auto& one : trusted) dtk::trust(one);
            },
            "plugins of this folder may be loaded though a run's own files name it, or others can write there")
        ->type_name("DIR")
        ->allow_extra_args(false);
}

void add_progress(CLI::App* command, dtk::Progress::Mode& mode) {
    using Mode = dtk::Progress::Mode;
    static const std::map<std::string, Mode> modes{
        {"auto", Mode::automatic}, {"bar", Mode::bar}, {"plain", Mode::plain}, {"none", Mode::none}};
    command->add_option("--progress", mode, "auto, bar, plain or none")
        ->type_name("MODE")
        ->transform(CLI::CheckedTransformer(modes).description(""));
}

/// The commands about runs and studies that have begun.
void add_run_commands(CLI::App& app, int& code) {
    namespace cli = dtk::cli;
    static std::filesystem::path folder = "runs";
    static std::string run, other;
    static bool json = false;
    static cli::CompareRequest compare;
    static cli::ReproduceRequest reproduce;
    static cli::ExportRequest exported;
    const char* const which =
        "a folder, the name of an experiment (its latest run), the beginning of a run's name, or `latest`";
    const auto add_json = [](CLI::App* command, bool& flag) { command->add_flag("--json", flag, "as JSON"); };

    auto* ls = app.add_subcommand("ls", "the runs and studies there are, newest first");
    ls->add_option("folder", folder, "where to look; runs/ if left out")->type_name("FOLDER");
    add_json(ls, json);
    ls->footer("Example: dtk ls runs/quickstart");
    ls->callback([&code] { code = cli::list_runs(folder, json); });

    auto* show =
        app.add_subcommand("show", "what a run or a study was, how it stands, what it measured and what made it");
    show->add_option("run", run, which)->required()->type_name("RUN|STUDY");
    add_json(show, json);
    show->footer("Example: dtk show latest");
    show->callback([&code] { code = cli::show_run(run, json); });

    auto* diff =
        app.add_subcommand("diff", "what differs between two runs: experiment, plugins, versions, machine, results");
    diff->add_option("before", run, which)->required()->type_name("RUN");
    diff->add_option("after", other, "the other")->required()->type_name("RUN");
    add_json(diff, json);
    diff->footer(
        "The exit code is 0 whether they differ or not.\nExample: dtk diff runs/quickstart/20261128-080510 quickstart");
    diff->callback([&code] { code = cli::diff_runs(run, other, json); });

    auto* compared = app.add_subcommand(
        "compare", "several runs in a table; those of one experiment with several seeds as a mean with its interval");
    compared->add_option("run", compare.runs, "runs, patterns in quotes, or folders that hold runs")
        ->required()
        ->type_name("RUN");
    compared
        ->add_option("--baseline", compare.baseline,
                     "a run, or a KEY=VALUE of its experiment: the others are held against it, paired by seed")
        ->type_name("RUN|KEY=VALUE");
    compared->add_option("--level", compare.level, "of the intervals")
        ->type_name("LEVEL")
        ->check(CLI::Range(0.5, 0.9999))
        ->capture_default_str();
    compared->add_flag(
        "--other-cards", compare.other_cards,
        "compare numbers that were not measured alike (other n, features, split, fields …) nevertheless");
    add_json(compared, compare.json);
    compared->footer("Example: dtk compare runs/linear runs/cosine --baseline schedule.use=linear");
    compared->callback([&code] { code = cli::compare_runs(compare); });

    auto* again = app.add_subcommand("reproduce", "run it again, and say whether the bits are the same");
    again->add_option("run", reproduce.run, which)->required()->type_name("RUN");
    again->add_option("--out", reproduce.out, "where the new run goes; otherwise RUN/reproduced/TIME")
        ->type_name("DIR");
    add_progress(again, reproduce.progress);
    again->footer(
        "The exit code is 0 where checkpoint, samples and metrics have the same bits, and 1 where they "
        "differ.\nExample: dtk reproduce latest");
    again->callback([&code] { code = cli::reproduce_run(reproduce); });

    auto* exporting = app.add_subcommand("export", "a run or a study for other tools");
    exporting->add_option("run", exported.run, which)->required()->type_name("RUN|STUDY");
    std::vector<std::string> formats, words;
    for (const auto& exporter : dtk::exporters()) {
        formats.emplace_back(exporter.name);
        words.push_back(std::string(exporter.name) + " (" + exporter.what + ")");
    }
    exporting->add_option("--to", exported.to, dtk::listed(words, "or"))
        ->required()
        ->check(CLI::IsMember(formats))
        ->type_name("FORMAT");
    exporting->add_option("--out", exported.out, "the file, for tensorboard the folder; otherwise in the run's folder")
        ->type_name("PATH");
    exporting->footer("Example: dtk export latest --to npz --out numbers.npz");
    exporting->callback([&code] { code = cli::export_run(exported); });
}

/// What was typed and not understood, with the nearest thing that would have been.
int usage(const CLI::App& app, const CLI::ParseError& error) {
    if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success))
        return app.exit(error, std::cout, std::cerr);
    fmt::print(stderr, "error: {}\n", dtk::harmless(error.what()));
    const CLI::App* command = &app;
    while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
    std::vector<std::string> known;
    for (const auto* sub : command->get_subcommands([](const CLI::App*) { return true; }))
        known.push_back(sub->get_name());
    for (const auto* option : command->get_options())
        for (const auto& name : option->get_lnames()) known.push_back("--" + name);
    for (const auto& word : app.remaining(true))
        if (const auto near = dtk::nearest(word.substr(0, word.find('=')), known); !near.empty())
            fmt::print(stderr, "  = help: did you mean `{}`?\n", near);
    std::string path;
    for (const auto* at = command; at; at = at->get_parent()) path = at->get_name() + (path.empty() ? "" : " ") + path;
    fmt::print(stderr, "  = help: {} --help\n", path);
    return dtk::mistaken;
}

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGPIPE, SIG_DFL);
    // Before LibTorch is there: its threads would otherwise burn a core each while they wait.
    ::setenv("OMP_WAIT_POLICY", "PASSIVE", 0);
#ifdef __GLIBC__
    // Every step asks for the tensors that the last one freed. Given back to the system in between, their pages would
    // be cleared anew each time. 32 MiB is the most that malloc takes from its own heap.
    ::mallopt(M_MMAP_THRESHOLD, 32 << 20);
    ::mallopt(M_TRIM_THRESHOLD, -1);
#endif

    std::error_code gone;
    [[maybe_unused]] const auto here = std::filesystem::current_path(gone);
    if (gone) {
        fmt::print(stderr, "error: the folder that dtk was started in is not there: {}\n  = help: cd to one that is\n",
                   gone.message());
        return dtk::mistaken;
    }

    CLI::App app("A plugin-based research toolkit for diffusion models.", "dtk");
    app.set_version_flag(
        "--version", std::string("dtk ") + std::string(dtk::version()) + "\n" + std::string(dtk::torch_build_text()));
    app.footer(footer);
    app.require_subcommand(1);
    app.fallthrough();
    int code = 0;

    dtk::RunRequest run;
    auto* run_command = app.add_subcommand("run", "train, sample and measure as an experiment file says");
    run_command->add_option("experiment", run.file, "the experiment file")->required()->type_name("EXPERIMENT.toml");
    add_overrides(run_command, run.overrides);
    add_plugin_path(run_command, run.overrides.plugin_path);
    add_progress(run_command, run.progress);
    run_command->add_option("--out", run.out, "the run's folder; otherwise a fresh one, runs/NAME/TIME")
        ->type_name("DIR");
    run_command
        ->add_option("--resume", run.resume,
                     "go on with the latest run of this experiment, or with that one; with --out DIR go on in DIR, or "
                     "begin there where no run is yet")
        ->type_name("RUN")
        ->expected(0, 1)
        ->default_str("latest");
    run_command->add_flag("--accept-changed", run.accept_changed,
                          "with --resume: go on though data or plugins are not those that the run was trained with");
    run_command->add_flag(
        "-n,--dry-run", run.dry_run,
        "check everything, print the experiment with every field (of a study what there is to do), and stop");
    run_command
        ->add_option("--replay", run.replay,
                     "run nothing, and look at step N of this experiment's latest run, or of the one that --out names: "
                     "its loss, gradients and what is not finite")
        ->type_name("[STAGE/]N");
    dtk::cli::StudyOptions study;
    run_command
        ->add_option("--jobs", study.jobs,
                     "of a study: cells at a time; otherwise one for each core, as far as memory goes")
        ->type_name("N")
        ->check(whole_number(1));
    run_command->add_option("--cell", study.part, "of a study: the i-th of n shares, for array jobs")->type_name("I/N");
    run_command->add_flag("--accept-rebuilt", study.accept_rebuilt,
                          "of a study: results of another build of dtk or its plugins still count");
    run_command->callback([&] { code = dtk::cli::run(run, run_command->count("--resume") > 0, study); });

    std::filesystem::path reported;
    auto* report_command = app.add_subcommand("report", "write the report of a study anew");
    report_command->add_option("study", reported, "the study's folder")->required()->type_name("STUDY");
    report_command->callback([&] { code = dtk::cli::report(reported); });

    dtk::cli::PowerRequest power;
    auto* study_command = app.add_subcommand("study", "what a study can show");
    study_command->require_subcommand(1);
    auto* power_command =
        study_command->add_subcommand("power", "the seeds that a difference takes, going by a study that has begun");
    power_command->add_option("study", power.study, "the study's folder, or its name")->required()->type_name("STUDY");
    power_command
        ->add_option("--difference", power.difference, "that is to be found: 1% of the baseline's mean, or a number")
        ->required()
        ->type_name("D");
    power_command->add_option("--chance", power.chance, "to find it")
        ->type_name("P")
        ->check(CLI::Range(0.5, 0.999))
        ->capture_default_str();
    power_command->footer("Example: dtk study power runs/schedule_ablation/study --difference 5%");
    power_command->callback([&] { code = dtk::cli::study_power(power); });

    dtk::cli::VerifyRequest verified;
    auto* verify_command =
        app.add_subcommand("verify", "which of the claims of experiments, [expect], hold; runs what has not run yet");
    verify_command
        ->add_option("experiment", verified.paths, "experiment files, folders that hold some, or runs that are there")
        ->required()
        ->type_name("FILE|FOLDER");
    verify_command->add_option("--out", verified.out, "where runs go, and are found again; otherwise runs/verify")
        ->type_name("DIR");
    verify_command->add_option("--jobs", verified.jobs, "experiments at a time; otherwise one for each core")
        ->type_name("N")
        ->check(whole_number(1));
    verify_command->add_flag("-n,--dry-run", verified.dry_run, "say what there is to run, and stop");
    verify_command->add_flag("--json", verified.json, "as JSON");
    add_progress(verify_command, verified.progress);
    verify_command->footer(
        "The exit code is 0 where every claim holds, and 1 where one does not.\nExample: dtk verify "
        "experiments/quickstart.toml");
    verify_command->callback([&] { code = dtk::cli::verify(verified); });

    std::filesystem::path checked;
    dtk::Overrides check_overrides;
    auto* check_command =
        app.add_subcommand("check", "check an experiment file and everything in it, without running it");
    check_command->add_option("experiment", checked, "the experiment file")->required()->type_name("EXPERIMENT.toml");
    add_overrides(check_command, check_overrides);
    add_plugin_path(check_command, check_overrides.plugin_path);
    check_command->callback([&] { code = dtk::cli::check(checked, check_overrides); });

    dtk::SampleRequest sample;
    std::optional<std::int64_t> how_many;
    std::vector<std::string> labels, prompts;
    auto* sample_command = app.add_subcommand("sample", "draw samples from a run that has trained");
    sample_command
        ->add_option("run", sample.run, "the run's folder, that of one of its stages, or one of its checkpoints")
        ->required()
        ->type_name("RUN");
    sample_command->add_option("--n", how_many, "how many samples")->type_name("N")->check(whole_number(1));
    sample_command
        ->add_option("--label", labels, "a class to draw, by its name or number; given several times, those in turn")
        ->type_name("CLASS")
        ->allow_extra_args(false);
    sample_command->add_option("--prompt", prompts, "a text to draw, \"a red bag\"; given several times, those in turn")
        ->type_name("TEXT")
        ->allow_extra_args(false);
    std::string step;
    sample_command
        ->add_option("--step", step,
                     "the checkpoint of that step, or `best`: that with the least held-out error; otherwise the newest")
        ->type_name("N|best")
        ->check(whole_number(0) | CLI::IsMember({"best"}));
    add_overrides(sample_command, sample.overrides);
    add_plugin_path(sample_command, sample.overrides.plugin_path);
    add_progress(sample_command, sample.progress);
    sample_command->add_option("--out", sample.out, "where they go; otherwise RUN/sampled/TIME")->type_name("DIR");
    sample_command->callback([&] {
        if (how_many) sample.overrides.set.push_back(fmt::format("sample.n={}", *how_many));
        const auto set_list = [&](const char* field, const std::string& option, const auto& words) {
            if (words.empty()) return;
            std::string list;
            for (const auto& word : words) list += (list.empty() ? "" : ", ") + dtk::toml_string(word);
            sample.overrides.set.push_back(fmt::format("sample.{}=[{}]", field, list));
            sample.overrides.places[sample.overrides.set.back()] = {
                fmt::format("{}{}", option, fmt::join(words, " " + option))};
        };
        set_list("labels", "--label ", labels);
        set_list("prompts", "--prompt ", prompts);
        sample.best = step == "best";
        if (!step.empty() && !sample.best) sample.step = std::stoll(step);
        code = dtk::cli::sample(sample);
    });

    dtk::AverageRequest average;
    auto* average_command = app.add_subcommand("ema", "make averages of other widths of those that a run has kept");
    average_command->add_option("run", average.run, "the run's folder, or that of one of its stages")
        ->required()
        ->type_name("RUN");
    average_command
        ->add_option("--width", average.widths,
                     "standard deviation of its profile as a share of the training; several "
                     "times: several averages")
        ->required()
        ->type_name("W")
        ->allow_extra_args(false)
        ->check(CLI::Range(1e-4, 0.288));
    average_command->add_option("--step", average.step, "at which step; otherwise that of the newest copy")
        ->type_name("N")
        ->check(whole_number(1));
    add_plugin_path(average_command, average.overrides.plugin_path);
    average_command->callback([&] { code = dtk::cli::ema(average); });

    add_run_commands(app, code);

    dtk::DataRequest data;
    auto* data_command = app.add_subcommand("data", "look at data, import them");
    data_command->require_subcommand(1);
    auto* data_show_command = data_command->add_subcommand(
        "show", "what the data of an experiment hold, their classes, the noise that suits them, and a picture");
    data_show_command->add_option("experiment", data.file, "the experiment file; its [dataset] is enough")
        ->required()
        ->type_name("EXPERIMENT.toml");
    add_overrides(data_show_command, data.overrides);
    add_plugin_path(data_show_command, data.overrides.plugin_path);
    add_progress(data_show_command, data.progress);
    data_show_command->add_option("--out", data.out, "the picture, .svg or .png; otherwise NAME-data.svg here")
        ->type_name("FILE");
    data_show_command->footer("Example: dtk data show experiments/fashion_mnist.toml");
    data_show_command->callback([&] { code = dtk::cli::engine().data(data); });

    dtk::ImportRequest import;
    auto* data_import_command = data_command->add_subcommand(
        "import", "make one file of dtk's own of what others publish, by a data set that reads it");
    data_import_command->add_option("dataset", import.dataset, "the data set")->required()->type_name("DATASET");
    data_import_command->add_option("--file", import.file, "its field `file`: what it reads")->type_name("FILE");
    data_import_command->add_option("--set", import.set, "another field of it: --set most=256")->type_name("KEY=VALUE");
    data_import_command->add_option("--out", import.out, "the file to write")->required()->type_name("FILE");
    add_plugin_path(data_import_command, import.plugin_path);
    data_import_command->footer("Example: dtk data import promod3 --out chains.safetensors");
    data_import_command->callback([&] { code = dtk::cli::engine().import(import); });

    dtk::cli::PluginsRequest plugins;
    auto* plugins_command = app.add_subcommand("plugins", "what plugins there are and what they take");
    plugins_command->require_subcommand(1);
    auto* list_command = plugins_command->add_subcommand("list", "every plugin: kind, name, what it is");
    list_command->add_option("kind", plugins.kind, "only this kind")->type_name("KIND");
    list_command->add_flag("--json", plugins.json, "as JSON");
    list_command->add_flag("-v,--verbose", plugins.verbose, "with files, and what was skipped and why");
    add_plugin_path(list_command, plugins.folders);
    list_command->callback([&] { code = dtk::cli::plugins_list(plugins); });
    auto* describe_command =
        plugins_command->add_subcommand("describe", "what a plugin is and its fields: type, default, range, meaning");
    describe_command
        ->add_option("name", plugins.names, "a plugin, or KIND NAME where a name is used twice; all if left out")
        ->expected(0, 2)
        ->type_name("[KIND] NAME");
    describe_command->add_flag("--json", plugins.json, "as JSON");
    describe_command
        ->add_option("--format", plugins.format,
                     "text, json, md, html (with a picture and the verdicts of its laws), or man")
        ->check(CLI::IsMember({"text", "json", "md", "html", "man"}))
        ->capture_default_str();
    describe_command
        ->add_option("--out", plugins.out, "write a reference into that folder, a page for each plugin or kind")
        ->type_name("DIR");
    describe_command->footer("Example: dtk plugins describe --format html --out reference");
    add_plugin_path(describe_command, plugins.folders);
    describe_command->callback([&] { code = dtk::cli::plugins_describe(plugins); });
    auto* path_command = plugins_command->add_subcommand("path", "the folders that are searched, in order");
    add_plugin_path(path_command, plugins.folders);
    path_command->callback([&] { code = dtk::cli::plugins_path(plugins); });

    dtk::cli::BuildRequest build;
    auto* build_command = plugins_command->add_subcommand(
        "build", "build a plugin's file against this dtk, into build/plugins beside it");
    build_command->add_option("file", build.sources, "C++ files, each a plugin")->required()->type_name("FILE.cpp");
    build_command->callback([&] { code = dtk::cli::plugins_build(build); });
    auto* watch_command =
        plugins_command->add_subcommand("watch", "build it whenever it is saved, and then run a command");
    std::filesystem::path watched;
    watch_command->add_option("file", watched, "the plugin's C++ file")->required()->type_name("FILE.cpp");
    watch_command->add_option("command", build.command, "what is run after each build")->type_name("[-- COMMAND ...]");
    watch_command->footer("Example: dtk plugins watch mine.cpp -- dtk run mine.toml");
    watch_command->callback([&] {
        build.sources = {watched};
        code = dtk::cli::plugins_watch(build);
    });

    dtk::cli::CheckRequest trial;
    auto* laws_command = plugins_command->add_subcommand(
        "check", "whether a plugin keeps the laws of its kind, each tried in a process of its own");
    laws_command
        ->add_option(
            "plugin", trial.plugins,
            "a plugin's name, KIND/NAME, its C++ file, what was built of it, or a folder of such; all if left out")
        ->type_name("NAME|FILE|FOLDER");
    laws_command
        ->add_option("--set", trial.set,
                     "a field of the plugin, width=8, or of what it is tried with, dataset.preset=ring")
        ->type_name("KEY=VALUE");
    laws_command->add_option("--jobs", trial.jobs, "so many at a time; otherwise one for each core")->type_name("N");
    laws_command->add_option("--law", trial.law, "only laws that have these words in them, \"asked twice\"")
        ->type_name("WORDS");
    laws_command->add_option("--picture", trial.picture, "of one plugin: draw what it does")
        ->type_name("FILE.svg|FILE.png");
    laws_command->add_flag("-v,--verbose", trial.verbose, "every law with its figures");
    laws_command->add_flag("--json", trial.json, "as JSON");
    add_plugin_path(laws_command, trial.folders);
    laws_command->footer(
        "A plugin that needs data, a network or fields names them in [check] of NAME.check.toml beside its file.\n"
        "The exit code is 0 where every law holds, else 3.\nExample: dtk plugins check mine.cpp");
    laws_command->callback([&] { code = dtk::cli::plugins_check(trial); });

    dtk::cli::NewRequest fresh;
    auto* new_command = app.add_subcommand("new", "write the smallest right plugin of a kind, to begin from");
    new_command->add_option("kind", fresh.kind, "what it is to be: schedule, sampler, loss, …")
        ->required()
        ->type_name("KIND");
    new_command->add_option("name", fresh.name, "what it is to be called")->required()->type_name("NAME");
    new_command
        ->add_option("--in", fresh.folder,
                     "where; otherwise plugins/ in dtk's checkout, and elsewhere the current folder, with an "
                     "experiment that uses it and a CMake project")
        ->type_name("DIR");
    new_command->footer("Example: dtk new sampler mine && dtk plugins build mine.cpp && dtk run mine.toml");
    new_command->callback([&] { code = dtk::cli::new_plugin(fresh); });

    auto* schema_command =
        app.add_subcommand("schema", "what an experiment file may hold, as a JSON schema for editors");
    add_plugin_path(schema_command, plugins.folders);
    schema_command->footer(
        "Example: dtk schema > dtk.schema.json, and as the first line of an experiment: #:schema ./dtk.schema.json");
    schema_command->callback([&] { code = dtk::cli::schema(plugins); });

    std::string shell;
    auto* completion_command =
        app.add_subcommand("completion", "what makes a shell complete commands, plugins, fields");
    completion_command->add_option("shell", shell, "bash, zsh or fish")
        ->required()
        ->check(CLI::IsMember({"bash", "zsh", "fish"}))
        ->type_name("SHELL");
    completion_command->footer("Example: eval \"$(dtk completion bash)\"");
    completion_command->callback([&] { fmt::print("{}", dtk::cli::completion_script(shell)); });

    dtk::cli::ScheduleRequest schedule;
    auto* schedule_command = app.add_subcommand("schedule", "look at schedules");
    schedule_command->require_subcommand(1);
    auto* show_command =
        schedule_command->add_subcommand("show", "β, ᾱ, SNR and posterior variance, as a table and a picture");
    show_command
        ->add_option(
            "name", schedule.names,
            "schedules; folders of runs and stages: what their process was trained with; experiments (FILE.toml, "
            "FILE.toml:STAGE): also how much their objective makes each noise level count")
        ->required()
        ->type_name("NAME|RUN|FILE");
    show_command->add_option("--steps", schedule.steps, "T, of schedules; a run has its own")
        ->type_name("T")
        ->check(whole_number(1, 1000000))
        ->capture_default_str();
    show_command->add_option("--rows", schedule.rows, "rows of the table, evenly spread; 0: every step")
        ->type_name("N")
        ->check(whole_number(0))
        ->capture_default_str();
    show_command->add_option("--format", schedule.format, "text, csv or json (csv and json hold every step)")
        ->check(CLI::IsMember({"text", "csv", "json"}))
        ->type_name("FORMAT")
        ->capture_default_str();
    show_command->add_option("--set", schedule.set, "a field of the schedule: --set s=0.01, or --set cosine.s=0.01")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    show_command->add_option("--picture", schedule.picture, "draw the curves into this file, .svg or .png")
        ->type_name("FILE");
    add_plugin_path(show_command, schedule.folders);
    show_command->callback([&] { code = dtk::cli::schedule_show(schedule); });

    dtk::EquivalenceRequest equivalence;
    auto* equivalent_command = schedule_command->add_subcommand(
        "equivalent", "do two experiments minimise the same? schedule, times, weighting and prediction taken together");
    equivalent_command
        ->add_option("a", equivalence.a, "an experiment (FILE, FILE:STAGE), or the folder of a run or of its stage")
        ->required()
        ->type_name("A");
    equivalent_command->add_option("b", equivalence.b, "another; left out: the same one, with what --b changes")
        ->type_name("B");
    for (const auto& [name, list, what] : {std::tuple("--set", &equivalence.set, "lay a value over both"),
                                           std::tuple("--a", &equivalence.set_a, "lay a value over A"),
                                           std::tuple("--b", &equivalence.set_b, "lay a value over B")})
        equivalent_command->add_option(name, *list, what)->type_name("KEY=VALUE")->allow_extra_args(false);
    add_plugin_path(equivalent_command, equivalence.folders);
    equivalent_command->footer(
        "Example: dtk schedule equivalent experiments/quickstart.toml --b loss.target=x0 --b weighting=snr");
    equivalent_command->callback([&] {
        if (equivalence.b.empty()) equivalence.b = equivalence.a;
        code = dtk::cli::engine().equivalent(equivalence);
    });

    dtk::DiagnoseRequest diagnosis;
    std::string patient;
    auto* doctor_command =
        app.add_subcommand("doctor", "what is wrong with a run; without one, what this machine and this build can do");
    doctor_command
        ->add_option("run", patient, "a folder, the name of an experiment, the beginning of a run's name, or `latest`")
        ->type_name("RUN");
    add_plugin_path(doctor_command, diagnosis.overrides.plugin_path);
    add_progress(doctor_command, diagnosis.progress);
    doctor_command->footer(
        "Looks for causes, tries cures in memory, and names the most likely first. Nothing is written into the run.\n"
        "The exit code is 0 where nothing is found and 1 where something is.\nExample: dtk doctor latest");
    doctor_command->callback([&] {
        code = patient.empty() ? dtk::cli::doctor({.folders = diagnosis.overrides.plugin_path})
                               : dtk::cli::diagnose(patient, diagnosis);
    });

    if (argc > 1 && std::string_view(argv[1]) == "--complete") {
        for (const auto& word : dtk::cli::completions(app, {argv + 2, argv + argc})) fmt::print("{}\n", word);
        return dtk::done;
    }
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return usage(app, error);
    } catch (const dtk::Error& error) {
        fmt::print(stderr, "error: {}\n", dtk::harmless(error.what()));
        if (!error.help().empty()) fmt::print(stderr, "  = help: {}\n", dtk::harmless(error.help()));
        return dynamic_cast<const dtk::PluginError*>(&error) ? dtk::plugin_fault : dtk::mistaken;
    } catch (const std::exception& error) {
        fmt::print(stderr, "error: {}\n", dtk::harmless(dtk::without_stack(error.what())));
        return dtk::failed;
    }
    // All is written, and taking LibTorch's tables down would take longer than most commands.
    std::fflush(nullptr);
    std::cout.flush();
    ::_exit(code);
}
