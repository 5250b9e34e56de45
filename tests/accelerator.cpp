// Training, resuming, sampling and measuring with every plugin on a pretend accelerator: all of it lives there, comes
// to the CPU's numbers, and the host never waits for it inside a loop.
#include <algorithm>
#include <csignal>
#include <regex>
#include <sstream>

#include <sys/wait.h>
#include <unistd.h>

#include <ATen/Parallel.h>

#include "base/declaration.hpp"
#include "base/engine.hpp"
#include "base/experiment.hpp"
#include "catch.hpp"
#include "engine/checkpoint.hpp"
#include "engine/sampling.hpp"
#include "engine/trainer.hpp"
#include "folder.hpp"
#include "laws/pretend.hpp"
#include "support.hpp"

using at::Tensor;
using pretend::device;

namespace {

const bool has_device = (pretend::begin(), true);

constexpr std::int64_t train_steps = 4;
constexpr double learning_rate = 1e-3;  // [train] lr, where nothing else is said

/// A plugin of each kind that was chosen: kind → table.
using Tables = std::map<std::string, std::string>;

/// What a plugin declares that a test may choose.
struct Declared {
    std::string small;                     ///< every size that is more than need be, made small
    std::vector<std::string> options{""};  ///< nothing, or one field with a word that is not its default
    std::vector<std::string> switches;     ///< one field that is off, on
    bool has_eps = false;                  ///< a field `eps`

    Declared(const std::string& kind, const std::string& name) {
        constexpr std::int64_t enough = 24;  // the β of fewer steps is more than 1 in some schedules
        const auto& plugins = support::registry();
        for (const auto& field : dtk::declared_fields(plugins.load(plugins.find(kind, name)))) {
            if (field.type == "whole number" && std::stoll(field.default_value) > enough) {
                const auto least = field.accepts.find_first_of("0123456789");  // of "≥ 100" or "[10, 1000]"
                small += fmt::format(", {} = {}", field.key,
                                     least == std::string::npos
                                         ? enough
                                         : std::max<std::int64_t>(enough, std::stoll(field.accepts.substr(least))));
            }
            has_eps = has_eps || field.key == "eps";
            if (field.type == "truth" && field.default_value == "false")
                switches.push_back(fmt::format(", {} = true", field.key));
            if (field.type != "text" || field.accepts.empty()) continue;
            for (auto words = std::istringstream(field.accepts + ", "); words.good();) {
                std::string word;
                std::getline(words, word, ',');
                words.get();
                if (!word.empty() && field.default_value != '"' + word + '"')
                    options.push_back(fmt::format(", {} = \"{}\"", field.key, word));
            }
        }
    }
};

/// A handful of 4×8 pictures in three classes, in the files of MNIST.
std::string pictures() {
    static const Folder folder;
    const auto write = [](const char* name, const std::vector<int>& sizes, const auto& value) {
        std::string bytes{'\0', '\0', '\x08', static_cast<char>(sizes.size())};
        int count = 1;
        for (const int size : sizes) bytes += std::string{'\0', '\0', '\0', static_cast<char>(size)}, count *= size;
        for (int i = 0; i < count; ++i) bytes += static_cast<char>(value(i));
        dtk::write_atomically(folder / name, bytes);
    };
    for (const auto& [name, n] : {std::pair("train", 32), std::pair("t10k", 64)}) {
        write(fmt::format("{}-images-idx3-ubyte", name).c_str(), {n, 4, 8}, [](int i) { return i * i * 7 % 256; });
        write(fmt::format("{}-labels-idx1-ubyte", name).c_str(), {n}, [](int i) { return i % 3; });
    }
    return fmt::format("{{use = \"idx\", folder = \"{}\"}}", folder.path.string());
}

/// Data of which something is known: the text of two tables.
std::string observed(const std::string& observation, const std::string& data = "{use = \"gaussian_mixture\"}") {
    return fmt::format("{}\nobservation = {}", data, observation);
}

/// Data of several kinds, the simplest first; then whatever else there is.
std::vector<std::string> all_data() {
    std::vector<std::string> all{"{use = \"gaussian_mixture\"}", "{use = \"gaussian_mixture\", labels = true}",
                                 pictures()};
    for (const auto* known : {"values = [0.5]", "values = [0.5], sd = 0.5", "draws = 5, sd = 0.5"})
        all.push_back(observed(fmt::format("{{use = \"elements\", coordinates = [0], {}}}", known)));
    for (const auto& name : support::registry().names("dataset"))
        if (name != "idx") all.push_back(fmt::format("{{use = \"{}\"}}", name));  // pictures() are
    all.push_back("{use = \"gaussian_mixture\", preset = \"gmm1d\"}");            // what some metrics ask for
    const auto backbones = fmt::format("{{use = \"chains\", file = \"{}\", atoms = \"backbone\", length = 16}}",
                                       DTK_TEST_DATA "/chains.safetensors");
    all.push_back(backbones);
    all.push_back(backbones + "\ncodec = {use = \"backbone\"}");
    return all;
}

/// Further fields of [train] and [sample], and whether there is [sample] at all.
struct Settings {
    std::string train = "", sample = "", average = "{use = \"ema\", decay = 0.5}";
    bool samples = true;
};

/// An experiment, read, and its stage as often as it is wanted.
class Bench {
 public:
    Bench(const Tables& tables, bool training, const Settings& settings = {},
          const std::vector<std::filesystem::path>& more_plugins = {}) {
        std::string text = "seed = 7\n";
        if (settings.samples) text += fmt::format("sample = {{n = 50, batch = 32{}}}\n", settings.sample);
        if (training)
            text += fmt::format("train = {{steps = {}, batch = 8, log_every = 1000, keep = 9{}}}\n", train_steps,
                                settings.train);
        if (training && !tables.contains("average")) text += fmt::format("average = {}\n", settings.average);
        if (training && !tables.contains("optimizer")) text += "optimizer = {use = \"adamw\", eps = 1e-3}\n";
        for (const auto& [kind, table] : tables) text += fmt::format("{} = {}\n", kind, table);
        dtk::write_atomically(file("experiment.toml"), text);
        dtk::Overrides overrides;
        overrides.plugin_path = more_plugins;
        overrides.plugin_path.emplace_back(DTK_PLUGINS);
        experiment_ =
            dtk::read_experiment(file("experiment.toml"), overrides, registry_of(overrides.plugin_path), mistakes_);
        if (!mistakes_.empty()) return;
        const auto stage = build();
        model_ = !stage->part<dtk::Model>()                                ? Model::none
                 : stage->model().predicts() == dtk::PredictionType::label ? Model::classifies
                 : stage->model().parameters().empty()                     ? Model::fixed
                                                                           : Model::learns;
        metric_refused_ = stage->list<dtk::Metric>().size() < spec().list("metric").size();
    }

    std::string mistakes() const { return mistakes_.text(); }
    enum class Model { unknown, none, fixed, learns, classifies };
    Model model() const { return model_; }
    bool metric_refused() const { return metric_refused_; }
    const dtk::StageSpec& spec() const { return experiment_.stages.front(); }
    const std::string& text() const { return experiment_.text; }
    std::filesystem::path file(const std::string& name) const { return folder_ / name; }

    std::unique_ptr<dtk::Stage> stage(at::Device where) {
        auto stage = build();
        stage->to(where);
        return stage;
    }

 private:
    std::unique_ptr<dtk::Stage> build() {
        const auto no_artefacts = [](const std::string&) -> dtk::TrainedNetwork {
            throw dtk::Error("there are no artefacts here");
        };
        return std::make_unique<dtk::Stage>(experiment_.stages.front(), experiment_.seed, no_artefacts, true,
                                            mistakes_);
    }

    /// The plugins of these folders, read once for all experiments.
    static std::unique_ptr<dtk::Registry>& registry_of(const std::vector<std::filesystem::path>& folders) {
        static std::map<std::vector<std::filesystem::path>, std::unique_ptr<dtk::Registry>> all;
        return all[folders];
    }

    Folder folder_;
    dtk::Diagnostics mistakes_;
    dtk::Experiment experiment_;
    Model model_ = Model::unknown;
    bool metric_refused_ = false;
};

struct Trained {
    dtk::Checkpoint last;
    double loss = 0;
    pretend::Counts counts;  ///< from the start to the end of the last step, its metrics and checkpoint left out
};

/// Trains until so many steps are done, all of them one logging interval. The checkpoint has been in a file.
Trained trained(const Bench& bench, dtk::Stage& stage, at::Device where, std::int64_t until = train_steps,
                const dtk::Checkpoint* from = nullptr) {
    Trained result;
    auto done = from ? from->step : 0;
    const auto before = pretend::counts();
    const dtk::TrainingLog log{
        .metrics = [&](auto, const auto& values, const auto&) { result.loss = values.front().second; },
        .save =
            [&](const auto& checkpoint) {
                dtk::save_checkpoint(bench.file("checkpoint.safetensors"), checkpoint, stage);
                result.last = dtk::load_checkpoint(bench.file("checkpoint.safetensors"));
            },
        .sample = [](auto) {},
        .stop =
            [&] {
                result.counts = pretend::counts() - before;
                return ++done == until;
            }};
    try {
        dtk::Trainer trainer(stage, where);
        if (from) trainer.restore(*from);
        trainer.run(bench.text(), dtk::Progress::Mode::none, log);
    } catch (const dtk::Interrupted&) {
    }
    return result;
}

/// What a whole run comes to.
struct Run {
    Trained training;
    Tensor samples;
    std::int64_t portions = 0, sampling_steps = 0;
    std::int64_t asked = 0;  ///< how often the network was, while sampling
    pretend::Counts sampling;
    std::vector<double> metrics;
};

Run run(Bench& bench, at::Device where) {
    Run result;
    const auto& settings = bench.spec().sample;
    const auto stage = bench.stage(where);
    if (bench.spec().train) {
        result.training = trained(bench, *stage, where);
        const auto& last = result.training.last;
        const auto* average = dtk::average_of(*stage, last, settings ? settings->average : "");
        dtk::restore(*stage, last, average, "the checkpoint");
    }
    stage->train(false);

    dtk::Drawn drawn;
    if (settings) {
        result.portions = (settings->n + settings->batch - 1) / settings->batch;
        result.sampling_steps = static_cast<std::int64_t>(stage->part<dtk::Sampler>()->times(stage->process()).size());
        const auto before = pretend::counts();
        const auto rows = stage->rows_asked();
        drawn = dtk::draw_samples(*stage, *settings, where, dtk::Progress::Mode::none);
        result.asked = (stage->rows_asked() - rows) / std::min(settings->n, settings->batch);
        result.samples = drawn.samples;
        result.sampling = pretend::counts() - before;
    }

    dtk::EvaluationInput outcome{result.samples, stage->dataset(), stage->process(), stage->denoiser({}),
                                 where,          drawn.start};
    outcome.observation = stage->part<dtk::Observation>().get();
    const auto metrics = stage->list<dtk::Metric>();
    for (std::size_t i = 0; i < metrics.size(); ++i) {
        const auto random = stage->random("metric").stream(bench.spec().list("metric")[i].name);
        result.metrics.push_back(metrics[i]->evaluate(outcome, random).value);
    }
    for (const auto& named : stage->named_tensors()) REQUIRE(named.tensor->device() == where);
    return result;
}

/// The data, codec, process and model that a plugin's author says it is tried with (NAME.check.toml).
Tables said_by_author(const std::string& kind, const std::string& name) {
    const auto built = support::registry().find(kind, name).file;
    const auto file =
        std::filesystem::path(DTK_SOURCE) / "plugins" / built.parent_path().filename() / (name + ".check.toml");
    if (!std::filesystem::exists(file)) return {};
    Tables tables;
    const auto said = toml::parse_file(file.string());
    for (const auto* part : {"dataset", "codec", "process", "model"})
        if (const auto* table = said["check"][part].as_table()) {
            auto fields = *table;
            if (const auto path = fields["file"].value<std::string>())
                fields.insert_or_assign("file", (file.parent_path() / *path).lexically_normal().string());
            tables[part] = dtk::toml_value(fields);
        }
    tables.erase(kind);
    return tables;
}

/// An experiment that can be run, and what it comes to on the CPU.
struct Found {
    std::unique_ptr<Bench> bench;  ///< null where there is none
    Run here;
    std::string complaint;  ///< about the last one that was tried
};

/// Looks for an experiment with those plugins, the rest chosen so that it fits them: the data, what the model answers,
/// and the other plugins where the default is not wanted. It trains, unless the model that is wanted has nothing to
/// learn. It samples, unless the model is a classifier, which shows nothing of processes, samplers and what belongs to
/// them. fixed: what is not chosen, but is as it is.
Found fitting(const std::map<std::string, std::string>& wanted, const std::string& model_fields = {},
              const Tables& fixed = {}) {
    const auto& plugins = support::registry();
    if (wanted.size() == 1 && fixed.empty())
        if (const auto said = said_by_author(wanted.begin()->first, wanted.begin()->second); !said.empty())
            if (auto found = fitting(wanted, model_fields, said); found.bench) return found;
    const auto candidates = [&](const std::string& kind) {
        if (fixed.contains(kind)) return std::vector<std::string>{""};
        if (const auto one = wanted.find(kind); one != wanted.end()) return std::vector{one->second};
        auto names = plugins.names(kind);
        std::ranges::stable_partition(names, [&](const auto& name) { return plugins.find(kind, name).is_default; });
        return names;
    };
    Found found;
    const bool training_wanted = !wanted.contains("model") || wanted.contains("loss");
    const bool sampling_wanted = wanted.contains("sampler") ||
                                 !(wanted.contains("model") || wanted.contains("loss") || wanted.contains("metric"));
    const auto fits = [&](Tables tables) {
        found.bench = std::make_unique<Bench>(tables, true);
        if (found.bench->model() == Bench::Model::fixed && !training_wanted) {
            tables.erase("loss");
            found.bench = std::make_unique<Bench>(tables, false);
        } else if (found.bench->model() == Bench::Model::classifies && !sampling_wanted) {
            found.bench = std::make_unique<Bench>(tables, true, Settings{.samples = false});
        }
        found.complaint = found.bench->mistakes();
        if (found.complaint.empty()) try {
                found.here = run(*found.bench, at::kCPU);
                if (!found.here.samples.defined() || found.here.samples.isfinite().all().item<bool>()) return true;
                found.complaint = "samples are not finite";  // which ends a run, and there is nothing to compare
            } catch (const dtk::Error& error) {
                found.complaint = error.what();
            }
        return false;
    };
    // Does a wanted plugin lack what only its author has? Nothing else can mend that.
    const auto lacks = [&] {
        return std::ranges::any_of(wanted, [&](const auto& one) {
            const auto said = found.complaint.find(fmt::format("{} `{}` ", one.first, one.second));
            return said != std::string::npos && found.complaint.find("needs `", said) != std::string::npos;
        });
    };
    // Is a wanted plugin one of another process? No model or sampler mends that.
    const auto of_another_process = [&] {
        return (found.complaint.find("needs a process of") != std::string::npos ||
                found.complaint.find("needs a Gaussian process") != std::string::npos) &&
               std::ranges::any_of(
                   wanted, [&](const auto& one) { return found.complaint.find(one.second) != std::string::npos; });
    };
    // Do the data not fit the process, or are there none? No model mends that. Nor does a loss or a sampler mend a
    // model whose answer means nothing to the process.
    const auto data_refused = [&] {
        return found.complaint.find("error: process `") != std::string::npos ||
               found.complaint.find("error: dataset `") != std::string::npos;
    };
    const auto model_refused = [&] {
        static const std::regex no_meaning(R"(error: a [^\n]*process[^\n]* has no meaning for a prediction)");
        return std::regex_search(found.complaint, no_meaning);
    };
    // Is it the loss that is wanted which finds fault? No sampler mends that.
    const auto loss_refuses = [&](const std::string& loss) {
        return wanted.contains("loss") && found.complaint.find(fmt::format("loss `{}`", loss)) != std::string::npos;
    };
    for (const bool small : {true, false}) {
        const auto table = [&](const std::string& kind, const std::string& name, const std::string& more = {}) {
            if (const auto is = fixed.find(kind); is != fixed.end()) return is->second;
            return fmt::format("{{use = \"{}\"{}{}{}{}}}", name, small ? Declared(kind, name).small : "",
                               kind == "sampler" ? ", steps = 6" : "",
                               kind == "optimizer" && Declared(kind, name).has_eps ? ", eps = 1e-3" : "", more);
        };
        Tables tables = fixed;
        for (const auto& [kind, name] : wanted) tables[kind] = table(kind, name);
        const auto has_partners = [&] {
            for (const auto& loss : candidates("loss"))
                for (const auto& sampler : candidates("sampler")) {
                    tables["loss"] = table("loss", loss), tables["sampler"] = table("sampler", sampler);
                    if (fits(tables)) return true;
                    if (lacks()) return false;
                    const auto model = found.bench->model();
                    // None of these is mended by another loss or sampler.
                    if (model == Bench::Model::none || (model == Bench::Model::fixed && training_wanted) ||
                        (model == Bench::Model::classifies && sampling_wanted))
                        return false;
                    if (found.bench->metric_refused() || of_another_process() || loss_refuses(loss)) return false;
                    if (data_refused() || model_refused()) return false;
                }
            return false;
        };
        // Nothing is told of these data that would have to be told, whatever the others are.
        const auto untold = [&] {
            return std::ranges::any_of(wanted, [&](const auto& one) {
                return found.complaint.find(one.second + " needs to be told") != std::string::npos;
            });
        };
        const auto has_model = [&] {
            for (const auto& model : candidates("model"))
                for (const auto& option :
                     model.empty() ? std::vector<std::string>{""} : Declared("model", model).options) {
                    tables["model"] = table("model", model, option + model_fields);
                    if (has_partners()) return true;
                    if (lacks() || untold() || of_another_process() || data_refused()) return false;
                    // With the fields that the complaint asks for
                    static const std::regex cure(R"(set ([^\n]*) in \[model\])");
                    if (std::smatch asked; std::regex_search(found.complaint, asked, cure)) {
                        const auto fields = std::regex_replace(asked[1].str(), std::regex(" and "), ", ");
                        tables["model"] = table("model", model, ", " + fields + model_fields);
                        if (has_partners()) return true;
                    }
                }
            return false;
        };
        const auto has_chain_and_model = [&] {
            for (const auto& process : candidates("process")) {
                tables["process"] = table("process", process);
                if (has_model()) return true;
                if (lacks() || untold()) return false;
            }
            return false;
        };
        for (const auto& data : fixed.contains("dataset") ? std::vector{fixed.at("dataset")} : all_data()) {
            tables["dataset"] = data;
            if (has_chain_and_model()) return found;
            if (lacks()) break;
        }
    }
    found.bench.reset();
    return found;
}

/// Guidance that asks the network with and without its class.
Found guided(const std::string& name) {
    Found found;
    const Tables tables{{"dataset", "{use = \"gaussian_mixture\", labels = true}"},
                        {"model", "{use = \"mlp\", conditional = true}"},
                        {"sampler", "{use = \"ddpm\", steps = 6}"},
                        {"guidance", fmt::format("{{use = \"{}\"}}", name)}};
    found.bench = std::make_unique<Bench>(tables, true, Settings{.train = ", drop_condition = 0.3"});
    found.complaint = found.bench->mistakes();
    if (found.complaint.empty())
        found.here = run(*found.bench, at::kCPU);
    else
        found.bench.reset();
    return found;
}

/// An observation of data that it is of.
Found observing(const std::string& name) {
    Found found;
    for (const auto& data : {std::string("{use = \"gaussian_mixture\"}"), pictures()})
        for (const auto* fields : {"", ", coordinates = [0]", ", rows = [[1, 1]]", ", hidden = [0, 0, 2, 2]"}) {
            const Tables tables{{"dataset", observed(fmt::format("{{use = \"{}\", sd = 0.5{}}}", name, fields), data)},
                                {"model", "{use = \"exact\"}"},
                                {"sampler", "{use = \"ddim\", steps = 6}"},
                                {"guidance", "{use = \"pigdm\"}"}};
            found.bench = std::make_unique<Bench>(tables, false);
            found.complaint = found.bench->mistakes();
            if (!found.complaint.empty()) continue;
            found.here = run(*found.bench, at::kCPU);
            return found;
        }
    found.bench.reset();
    return found;
}

/// ‖a − b‖ / ‖b‖
double off(const Tensor& a, const Tensor& b) {
    const auto size = b.to(at::kDouble).norm().item<double>();
    return (a.to(at::kDouble) - b.to(at::kDouble)).norm().item<double>() / (size > 0 ? size : 1);
}

/// The CPU has kernels of its own for some layers and for the optimiser, which add in another order.
constexpr double another_order = 1e-5;
/// Batch, labels, times, weights and what follows from the times for each row, in each accumulated part; dropout and
/// constants of the data's density. 16 do for every loss but `hybrid`, which needs the coefficients of two; of frames
/// places and rotations have coefficients of their own.
std::int64_t most_crossings_a_step(const Bench& bench) {
    return bench.spec().part("process").name.starts_with("se3") ? 24 : 18;
}

/// The same run on the device, and one that stops half way and goes on.
void holds_on_device(Found& found) {
    auto& bench = *found.bench;
    INFO(bench.text());
    const auto there = run(bench, device());

    if (bench.spec().train) {
        const auto& whole = there.training;
        const auto half = trained(bench, *bench.stage(device()), device(), train_steps / 2);
        REQUIRE(half.last.step == train_steps / 2);
        const auto stage = bench.stage(device());
        dtk::restore(*stage, half.last, nullptr, "the checkpoint");
        const auto resumed = trained(bench, *stage, device(), train_steps, &half.last);
        for (const auto& [name, tensor] : found.here.training.last.tensors) {
            INFO(name);
            CHECK(at::equal(resumed.last.tensors.at(name), whole.last.tensors.at(name)));
            // A tensor that began at zero has moved by less than the steps were long where its gradient nearly cancels.
            const auto far = learning_rate * train_steps * std::sqrt(static_cast<double>(tensor.numel()));
            const auto size = std::max(tensor.to(at::kDouble).norm().item<double>(), far);
            CHECK((whole.last.tensors.at(name).to(at::kDouble) - tensor.to(at::kDouble)).norm().item<double>() <=
                  another_order * size);
        }
        CHECK(whole.loss == Approx(found.here.training.loss).epsilon(another_order));

        INFO("an interval of " << train_steps << " steps\n" << whole.counts.text());
        INFO("an interval of " << train_steps / 2 << " steps\n" << half.counts.text());
        CHECK(whole.counts.waited() == half.counts.waited());
        CHECK(whole.counts.crossed() - half.counts.crossed() <=
              most_crossings_a_step(bench) * (train_steps - train_steps / 2));
    }

    if (bench.spec().sample) {
        CHECK(off(there.samples, found.here.samples) <= another_order);
        INFO("sampling in " << there.portions << " portions of " << there.sampling_steps << " steps, the network asked "
                            << there.asked << " times\n"
                            << there.sampling.text());
        CHECK(there.sampling_steps > there.portions);
        // What a codec decodes is shaped otherwise than its start, and each comes to the host by itself.
        const bool decoded = bench.spec().part("codec").name != "" && bench.spec().part("codec").name != "identity";
        CHECK(there.sampling.waited() == (decoded ? 2 : 1) * there.portions);
        CHECK(there.sampling.crossed() <=
              most_crossings_a_step(bench) * std::max(there.asked, there.sampling_steps * there.portions));
    }
    for (std::size_t i = 0; i < there.metrics.size(); ++i)
        CHECK(there.metrics[i] == Approx(found.here.metrics[i]).epsilon(another_order));
}

bool dies_of(int signal, const std::function<void()>& action) {
    const auto child = ::fork();
    if (child == 0) {
        std::signal(signal, SIG_DFL);
        action();
        ::_exit(0);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFSIGNALED(status) && WTERMSIG(status) == signal;
}

/// What the host waited for while the action ran.
std::int64_t waits_of(const std::function<void()>& action) {
    const auto before = pretend::counts();
    action();
    return (pretend::counts() - before).waited();
}

/// Training with the test's careless loss.
Trained carelessly(const std::string& offence, std::int64_t steps) {
    const auto loss = fmt::format("{{use = \"careless\", offence = \"{}\"}}", offence);
    Bench bench({{"dataset", "{use = \"gaussian_mixture\"}"}, {"model", "{use = \"mlp\"}"}, {"loss", loss}}, true, {},
                {std::filesystem::path(DTK_OFFENDERS) / "careless"});
    REQUIRE(bench.mistakes().empty());
    return trained(bench, *bench.stage(device()), device(), steps);
}

}  // namespace

TEST_CASE("the device computes as the CPU does") {
    const dtk::Random random(1, "test");
    const auto result = [&](at::Device where) {
        const auto normal = [&](const char* name, at::IntArrayRef sizes) {
            return random.stream(name).normal(sizes, at::kFloat).to(where).requires_grad_(true);
        };
        const auto x = normal("x", {2, 4, 6, 6}), w = normal("w", {8, 4, 3, 3}), b = normal("b", {8}),
                   z = normal("z", {2, 8});
        auto y = at::silu(at::group_norm(at::conv2d(x, w, b, 1, 1), 2)) + z.unsqueeze(2).unsqueeze(3);
        y = y.flatten(2).transpose(1, 2).matmul(z.t()).cumsum(1);
        auto scratch = at::zeros({3}, y.options());
        scratch.resize_({2, 2}).fill_(2).slice(1, 0, 1).mul_(3).t_();
        (at::stack({y.logsumexp(1).sum(), y.square().mean()}) * scratch.diagonal()).sum().backward();
        return at::cat({x.grad().flatten(), w.grad().flatten(), b.grad(), z.grad().flatten(), scratch.flatten()}).cpu();
    };
    CHECK(at::equal(result(device()), result(at::kCPU)));
}

TEST_CASE("the device refuses what CUDA refuses") {
    const auto ours = at::ones({3}, at::TensorOptions(device())), host = at::ones({3});
    CHECK_THROWS_WITH(ours + host,
                      Catch::Matchers::Contains("tensors of two devices: `other` of aten::add, Float [3], is on cpu"));
    CHECK_THROWS(host + ours);
    CHECK_THROWS(host.clone().add_(ours));
    CHECK_THROWS(at::zeros({}).add_(ours.sum()));
    CHECK_THROWS_WITH(at::cat({ours, host}),
                      Catch::Matchers::Contains("tensors of two devices: `tensors` of aten::cat"));
    CHECK_THROWS(at::stack({host, ours}));
    CHECK_THROWS(ours.index_select(0, at::zeros({2}, at::kLong)));
    CHECK_THROWS(at::_foreach_add_(std::vector{ours.clone()}, std::vector{host}));
    CHECK_THROWS(ours.dot(host));
    CHECK(dies_of(SIGSEGV, [&] { std::exit(ours.const_data_ptr<float>()[0] > 0); }));

    CHECK((ours * at::scalar_tensor(2) + 1).sum().item<float>() == 9);
    CHECK((at::where(ours > 0, 2.0, ours) / 2).sum().item<float>() == 3);
}

TEST_CASE("the device counts what the host waits for and what it sends") {
    const auto ours = at::ones({3}, at::TensorOptions(device())), host = at::ones({3});
    CHECK(waits_of([&] { (ours * 2).exp_().sum().clamp_min(1).to(at::kDouble).expand({4}).clone(); }) == 0);
    CHECK(waits_of([&] { ours.sum().item<float>(); }) == 1);
    CHECK(waits_of([&] { ours.cpu(); }) == 1);
    CHECK(waits_of([&] { host.clone().copy_(ours); }) == 1);
    CHECK(waits_of([&] { host.to(device()); }) == 1);
    CHECK(waits_of([&] { host.to(device(), /*non_blocking=*/true); }) == 0);
    CHECK(waits_of([&] { ours.nonzero(); }) == 1);
    CHECK(waits_of([&] { ours.index({ours > 0}); }) == 1);
    CHECK(waits_of([&] { ours.index({at::zeros({1}, ours.options().dtype(at::kLong))}); }) == 0);
    CHECK(waits_of([&] { at::equal(ours, ours); }) == 1);

    const auto before = pretend::counts();
    host.to(device(), true), ours.clone().copy_(host);
    CHECK((pretend::counts() - before).crossings == std::map<std::string, std::int64_t>{{"Float [3]", 2}});
}

TEST_CASE("what does not belong on a device is caught in the training loop") {
    const auto waits_of_two_steps = [](const std::string& offence) {
        return carelessly(offence, 4).counts.waited() - carelessly(offence, 2).counts.waited();
    };
    CHECK(waits_of_two_steps("none") == 0);
    for (const std::string offence : {"item", "copy to the host", "blocking copy", "shape from numbers"}) {
        INFO(offence);
        CHECK(waits_of_two_steps(offence) == 2);
    }
    CHECK_THROWS_WITH(carelessly("host tensor", 2),
                      Catch::Matchers::Contains("tensors of two devices: `other` of aten::mul"));
    CHECK_THROWS_WITH(carelessly("host tensor in a list", 2),
                      Catch::Matchers::Contains("tensors of two devices: `tensors` of aten::cat"));
}

TEST_CASE("what does not belong on a device is caught in the sampling loop") {
    Bench bench({{"dataset", "{use = \"gaussian_mixture\"}"},
                 {"model", "{use = \"mlp\"}"},
                 {"sampler", "{use = \"ddpm\", steps = 6}"}},
                true);
    const auto stage = bench.stage(device());
    const auto sampled = [&](const std::function<Tensor(const Tensor& value)>& spoilt) {
        at::NoGradGuard no_grad;
        const auto asked = stage->denoiser({});
        const auto denoise = asked.replaced([&](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            auto prediction = asked(x, t, condition);
            prediction.value = spoilt(prediction.value);
            return prediction;
        });
        const auto sampler = stage->part<dtk::Sampler>();
        const auto times = sampler->times(stage->process());
        const auto x = stage->process().prior({4, 2}, at::TensorOptions(device()).dtype(at::kFloat),
                                              dtk::Random(1, "prior"), times.front());
        sampler->sample(denoise, times, x, dtk::Random(1, "steps"));
    };
    CHECK(waits_of([&] { sampled([](const Tensor& value) { return value; }); }) == 0);
    CHECK(waits_of([&] { sampled([](const Tensor& value) { return value * value.abs().max().item<float>(); }); }) == 6);
    CHECK_THROWS_WITH(sampled([](const Tensor& value) {
                          return value + at::ones({4, 2});
                      }),
                      Catch::Matchers::Contains("tensors of two devices"));
}

/// What plugins of that kind come to on the device.
void kind_holds_on_device(const std::string& kind) {
    at::set_num_threads(1);
    for (const auto& name : support::registry().names(kind)) {
        INFO(kind << " " << name);
        // Forward-mode differentiation makes zeros without memory, which this device cannot lend to the CPU.
        if (kind == "loss" && name == "meanflow") continue;
        auto found = kind == "observation" ? observing(name) : fitting({{kind, name}});
        if (!found.bench && kind == "guidance") found = guided(name);
        INFO(found.complaint);
        // A plugin that needs a file or a trained network of its author's is tried where that is.
        if (found.complaint.find("needs `") != std::string::npos) continue;
        CHECK(found.bench);
        if (found.bench) holds_on_device(found);
    }
}

TEST_CASE("every process, loss and optimiser trains, resumes, samples and measures on the device as on the CPU") {
    for (const auto* kind : {"process", "loss", "optimizer"}) kind_holds_on_device(kind);
}

TEST_CASE("every plugin of every kind trains, resumes, samples and measures on the device as on the CPU", "[slow]") {
    for (const auto& kind : support::registry().kinds())
        if (kind != "dataset") kind_holds_on_device(kind);  // data come from the host
}

TEST_CASE("every switch of a model holds on the device as on the CPU", "[slow]") {
    at::set_num_threads(1);
    for (const auto& name : support::registry().names("model"))
        for (const auto& on : Declared("model", name).switches) {
            INFO(name << on);
            auto found = fitting({{"model", name}}, on);
            INFO(found.complaint);
            CHECK(found.bench);
            if (found.bench) holds_on_device(found);
        }
}

TEST_CASE("every way to train and to sample comes to what the CPU comes to") {
    at::set_num_threads(1);
    const Tables tables{{"dataset", "{use = \"gaussian_mixture\", labels = true}"},
                        {"model", "{use = \"mlp\", conditional = true}"},
                        {"sampler", "{use = \"ddim\", steps = 6, eta = 0.5}"}};
    for (const auto& settings : {Settings{.sample = ", precision = \"float64\"", .average = "{use = \"none\"}"},
                                 Settings{.train = ", accumulate = 2", .sample = ", network_batch = 7"},
                                 Settings{.train = ", clip = 0, warmup = 2", .sample = ", average = \"none\""}}) {
        auto all = tables;
        if (settings.train.find("warmup") != std::string::npos) {
            all["optimizer"] = "{use = \"adam\", weight_decay = 0.1, eps = 1e-3}";
            all["rate"] = "{use = \"cosine\"}";
        }
        Found found{std::make_unique<Bench>(all, true, settings), {}, {}};
        INFO(found.bench->mistakes());
        REQUIRE(found.bench->mistakes().empty());
        found.here = run(*found.bench, at::kCPU);
        holds_on_device(found);
    }
}

TEST_CASE("all that can be combined trains and samples on the device as on the CPU", "[slow]") {
    at::set_num_threads(1);
    const auto all = [](const char* kind) { return support::registry().names(kind); };
    const auto holds = [](const std::map<std::string, std::string>& wanted) {
        auto found = fitting(wanted);
        if (found.bench) holds_on_device(found);
        return found.bench != nullptr;
    };
    int trained = 0, sampled = 0;
    for (const auto& process : all("process"))
        for (const auto& model : all("model")) {
            for (const auto& loss : all("loss"))
                for (const auto& times : all("times"))
                    trained += holds({{"process", process}, {"model", model}, {"loss", loss}, {"times", times}});
            for (const auto& sampler : all("sampler"))
                for (const auto& grid : all("grid"))
                    sampled += holds({{"process", process}, {"model", model}, {"sampler", sampler}, {"grid", grid}});
        }
    INFO(trained << " combinations were trained, " << sampled << " sampled");
    CHECK(trained > 0);
    CHECK(sampled > 0);
}
