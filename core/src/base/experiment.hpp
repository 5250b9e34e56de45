#pragma once
#include <map>
#include <optional>

#include "base/declaration.hpp"
#include "base/overlay.hpp"
#include "base/reader.hpp"

namespace dtk {

/// `[train]`: how a model is fitted.
struct TrainSettings {
    std::int64_t steps = 1000, batch = 128, accumulate = 1;
    double lr = 1e-3;
    std::int64_t warmup = 0;
    std::string precision = "float32";
    double clip = 1, drop_condition = 0;
    std::int64_t log_every = 100, checkpoint_every = 0, sample_every = 0, keep = 2, keep_every = 0;
    double checkpoint_minutes = 10;
    std::string reduction = "fast";
    std::int64_t parts = 8;
    bool recompute = false;
    std::int64_t snapshot_every = 0;
    bool is_strict() const { return reduction == "strict"; }
    void fields(Fields& f);
};

/// `[validate]`: how training is looked at by examples that it never sees.
struct ValidateSettings {
    std::int64_t every = 500, n = 2048, levels = 10, batch = 256;
    std::vector<double> log_snr;
    std::string split = "test";
    void fields(Fields& f);
};

/// `[sample]`: how many samples are drawn after training, and in what portions.
struct SampleSettings {
    std::int64_t n = 64, batch = 1024, network_batch = 0, seed = -1, trajectory = 0, interpolate = 0;
    bool clip = true, invert = false;
    double renoise = 0;
    std::string average;
    std::vector<std::string> labels;   ///< names of classes, or their numbers
    std::vector<std::string> prompts;  ///< texts of what is to be drawn
    std::string precision = "float32", start = "random";
    bool starts_from_file() const { return start != "random" && start != "quantiles"; }
    /// Reader: TomlFields or DeclaringFields, which know lists of words.
    template <class Reader>
    void fields(Reader& f);
};

/// `init = "RUN"`, or [init]: the trained network that a stage's own begins as.
struct InitSettings {
    Reference run;
    bool strict = false;
    std::string average;
    void fields(Fields& f);
};

/// A part of a stage. All that is done with parts (reading, building, moving, saving, hashing, showing) goes by this
/// table, in its order.
struct StagePart {
    enum class When { always, training, sampling };
    const char* kind;
    When when = When::always;  ///< with what the kind's default stands in where the file names none
    bool required = false;     ///< must the file name one?
    bool optional = false;     ///< is there none where the file names none?
    bool list = false;         ///< [[kind]], any number
    bool labelled = false;     ///< each of a list has a name of its own
};
inline constexpr StagePart stage_parts[] = {
    {.kind = "dataset", .required = true},
    {.kind = "tokenizer", .optional = true},
    {.kind = "codec", .optional = true},
    {.kind = "observation", .when = StagePart::When::sampling, .optional = true},
    {.kind = "process"},
    {.kind = "conditioner", .list = true, .labelled = true},
    {.kind = "model", .required = true},
    {.kind = "loss", .when = StagePart::When::training},
    {.kind = "times", .when = StagePart::When::training},
    {.kind = "weighting", .when = StagePart::When::training},
    {.kind = "optimizer", .when = StagePart::When::training},
    {.kind = "rate", .when = StagePart::When::training},
    {.kind = "average", .when = StagePart::When::training, .list = true, .labelled = true},
    {.kind = "sampler", .when = StagePart::When::sampling},
    {.kind = "guidance", .when = StagePart::When::sampling, .list = true},
    {.kind = "metric", .list = true, .labelled = true},
};

/// One stage of an experiment: what it is made of, read and checked but not built.
struct StageSpec {
    std::string name;
    std::string streams;  ///< the name that its own random numbers go by, those of a file of several stages
    std::map<std::string, std::vector<PluginSpec>> parts;  ///< by kind; those of a mistaken table are left out
    std::optional<TrainSettings> train;
    std::optional<ValidateSettings> validate;
    std::optional<SampleSettings> sample;
    std::optional<InitSettings> init;
    std::unique_ptr<ParseContext> reading;
    std::set<const PluginFile*> trained_with;   ///< the plugins that fields of the parts before the sampler name
    std::set<std::string> training_references;  ///< the trained networks that those parts and their fields name
    toml::table resolved;
    /// The part of that kind; an empty one where there is none.
    DTK_API const PluginSpec& part(const std::string& kind) const;
    DTK_API const std::vector<PluginSpec>& list(const std::string& kind) const;
};

/// An experiment file.
struct Experiment {
    std::filesystem::path file;
    std::string name;
    std::int64_t seed = 0;
    std::string device = "cpu";
    SourceLocation device_place;
    std::int64_t threads = 0;
    std::string text;                   ///< the file as given
    std::shared_ptr<toml::table> root;  ///< stays where it is when the experiment moves: stages point into it
    std::vector<std::filesystem::path> plugin_path;  ///< folders of plugins that the command line and the file add
    std::map<std::string, std::filesystem::path> artefacts;  ///< trained networks that the command line names
    std::vector<StageSpec> stages;
    std::vector<std::string> notes;  ///< what was dropped with plugins that others took the place of, a line each
    /// The experiment with every field written out; re-runs as is.
    DTK_API std::string resolved() const;
    /// One of its stages as an experiment of its own.
    DTK_API std::string resolved(const StageSpec& stage) const;
};

/// What the command line says about an experiment beside its file.
struct Overrides {
    std::vector<std::string> set;                       ///< KEY=VALUE
    std::map<std::string, SourceLocation> places = {};  ///< where those stand that nobody typed
    std::optional<std::int64_t> seed;
    std::optional<std::string> device;
    std::vector<std::filesystem::path> plugin_path;
    std::vector<std::string> artefacts;  ///< NAME=PATH: the folder of a run; while a file is only checked also the
                                         ///< experiment that will train it
    /// The folder of the run or study whose record said all this, not the user.
    std::optional<std::filesystem::path> record = {};
    /// The words of the command line that say the same.
    DTK_API std::vector<std::string> words() const;
};

/// The fields of [train], [validate], [sample], [init] and [plugins], and under "" those at the top of a file.
DTK_API std::map<std::string, std::vector<DeclaredField>> declared_settings();

/// Reads and checks everything in the file; what is wrong goes into `mistakes`. The registry must outlive the result;
/// one that is given and looks in the same folders is used again.
DTK_API Experiment read_experiment(const std::filesystem::path& file, const Overrides& overrides,
                                   std::unique_ptr<Registry>& registry, Diagnostics& mistakes);

}  // namespace dtk
