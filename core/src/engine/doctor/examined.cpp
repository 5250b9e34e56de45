// Opening a stage of a run to look at it.
#include "engine/doctor/examined.hpp"

#include <algorithm>
#include <ctime>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include "base/json.hpp"
#include "base/words.hpp"
#include "engine/batch_queue.hpp"
#include "engine/doctor/errors.hpp"
#include "engine/init.hpp"
#include "engine/trainer.hpp"

namespace dtk::doctor {

namespace fs = std::filesystem;

namespace {
/// The whole of it on a run whose network is quick to ask.
constexpr double seconds_at_most = 50;
/// Numbers of examples that are looked at together: a few megabytes.
constexpr std::int64_t numbers_at_most = 4'000'000;

/// Seconds that this process has worked, by the clock of one of its threads: on a machine that others use as well the
/// same is looked at.
double seconds_of_work() {
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC / std::max(1, at::get_num_threads());
}
}  // namespace

Scale scale_of(const Tensor& x) {
    const auto rows = x.flatten(1).to(at::kDouble);
    const auto channels = x.dim() > 2 ? x.flatten(2).to(at::kDouble) : rows.unsqueeze(2);
    return {rows.mean().item<double>(), rows.std(/*unbiased=*/false).item<double>(),
            channels.mean(at::IntArrayRef{0, 2}), channels.std(at::IntArrayRef{0, 2}, /*unbiased=*/false)};
}

Examined::Examined(fs::path folder, nlohmann::json record, Overrides overrides)
    : folder_(std::move(folder)),
      record_(std::move(record)),
      overrides_(std::move(overrides)),
      log_(read_json_lines(folder_ / "metrics.jsonl")),
      began_(seconds_of_work()) {
    std::string notes;
    if (const auto file = newest_checkpoint(folder_ / "checkpoints", notes)) {
        checkpoint_ = load_checkpoint(*file);
        checkpoint_name_ = file->string();
    }
    if (!notes.empty()) Progress::note(notes);
    built_ = built({});
    built_->stage->to(device());
}

Examined::~Examined() = default;

namespace {
/// A command about the experiment of the run that the stage in `folder` is of; one of several stages is run with the
/// others.
std::string command(const fs::path& folder, const std::vector<std::string>& set, bool resumed) {
    const bool alone = fs::exists(folder / "run.json") || !fs::exists(folder.parent_path() / "resolved.toml");
    const auto run = alone ? folder : folder.parent_path();
    const auto file = run / (fs::exists(run / "resolved.toml") ? "resolved.toml" : "stage.toml");
    std::vector<std::string> words{"dtk", "run", file.string()};
    if (resumed) words.push_back("--resume=" + run.string());
    const auto stage = alone ? std::string() : "stage." + folder.filename().string() + ".";
    for (const auto& one : set) words.insert(words.end(), {"--set", stage + one});
    return shell_command(words);
}
}  // namespace

std::string Examined::anew(const std::vector<std::string>& set) const { return command(folder_, set, false); }

std::string Examined::longer(std::int64_t steps) const {
    return command(folder_, {fmt::format("train.steps={}", steps)}, true);
}

std::string Examined::resampled(const std::string& set) const {
    return shell_command({"dtk", "sample", folder_.string(), "--set", set});
}

std::unique_ptr<Built> Examined::built(const std::vector<std::string>& set) const {
    auto other = std::make_unique<Built>();
    auto overrides = overrides_;
    overrides.set.insert(overrides.set.end(), set.begin(), set.end());
    read(other->loaded, folder_ / "stage.toml", overrides);
    auto& mistakes = other->loaded.mistakes;
    if (mistakes.empty()) {
        const auto artefacts = [&](const std::string& name) {
            return load_artefact(folder_of_artefact(folder_, name));
        };
        const auto remembered = checkpoint_ ? std::optional(checkpoint_->data) : std::nullopt;
        other->stage = std::make_unique<Stage>(other->loaded.experiment.stages.front(), other->loaded.experiment.seed,
                                               artefacts, true, mistakes, remembered);
    }
    if (!mistakes.empty())
        throw UserError(fmt::format("{} cannot be built again:\n{}", folder_.string(), mistakes.text()));
    return other;
}

void Examined::begin(Built& other) const {
    const auto& init = other.loaded.experiment.stages.front().init;
    if (init) begin_as(*other.stage, init_checkpoint(folder_of_artefact(folder_, init->run.name())));
    other.stage->to(device());
}

const Stage& Examined::network(Weights weights) {
    auto& stage = *built_->stage;
    if (weights_ != weights && !stage.model().parameters().empty()) {
        if (!checkpoint_) throw NotLooked("the run holds no checkpoint");
        const auto& settings = stage.spec().sample;
        const auto* average = weights == Weights::raw
                                  ? nullptr
                                  : average_of(stage, *checkpoint_, settings ? settings->average : std::string());
        restore(stage, *checkpoint_, average, checkpoint_name_);
    }
    weights_ = weights;
    stage.train(false);
    return stage;
}

Examples Examined::some(std::int64_t most, bool held_out) const {
    const auto& data = stage().chain_data();
    if (!stage().missing_data().empty()) throw NotLooked("the data cannot be read: " + stage().missing_data());
    const auto elements = std::max<std::int64_t>(1, stage().space().elements());
    most = std::max<std::int64_t>(16, std::min(most, numbers_at_most / elements));
    Examples examples;
    // A finite set without any held out says so by a test set of none.
    examples.held_out = held_out && (data.size() == 0 || data.test_size() > 0);
    const auto there = examples.held_out ? data.test_size() : data.size();
    const auto n = there > 0 ? std::min(most, there) : most;
    if (!examples.held_out)
        examples.index = example_numbers(stage(), 0, n);
    else
        examples.index = there > 0 ? at::arange(n, at::kLong) * there / n : at::arange(n, at::kLong);
    examples.index = examples.index.to(at::kLong);
    const auto batch = examples.held_out ? data.test_examples(examples.index) : data.examples(examples.index);
    examples.x = batch.x;
    examples.condition = batch.condition;
    return examples;
}

const Examples& Examined::training() {
    if (!training_) training_ = some(16384, false);
    return *training_;
}

const Examples& Examined::held_out() {
    if (!held_out_) held_out_ = some(1024, true);
    return *held_out_;
}

const Scale& Examined::data_scale() {
    if (!scale_) scale_ = scale_of(training().x);
    return *scale_;
}

const GaussianProcess& Examined::gaussian() const {
    const auto* process = dynamic_cast<const GaussianProcess*>(&stage().process());
    if (!process) throw NotLooked("it is known of Gaussian noise alone");
    return *process;
}

double Examined::seconds_left() const { return seconds_at_most - (seconds_of_work() - began_); }

void Examined::afford(double rows) {
    const double needed = rows * seconds_per_row;
    if (needed > seconds_left())
        throw NotLooked(fmt::format("it would take about {:.0f} s more than a minute's look has", needed));
}

}  // namespace dtk::doctor
