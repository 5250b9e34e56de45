#pragma once
// A stage of a run under examination: what its folder holds, and its parts built again. Nothing in the folder is
// written.
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/engine.hpp"
#include "engine/artefacts.hpp"
#include "engine/checkpoint.hpp"
#include "engine/doctor/finding.hpp"

namespace dtk::doctor {

/// A stage and what it was read from.
struct Built {
    Loaded loaded;
    std::unique_ptr<Stage> stage;
};

/// Some examples of the data.
struct Examples {
    Tensor x;               ///< [n, ...] float32 on the CPU
    Condition condition;    ///< theirs
    Tensor index;           ///< their numbers
    bool held_out = false;  ///< has training never seen them?
    std::int64_t n() const { return x.size(0); }
};

struct ErrorsAt;

/// Mean and standard deviation of the data, over all elements and by channel: the elements of a vector, the channels of
/// an image.
struct Scale {
    double mean = 0, sd = 0;
    Tensor channel_mean, channel_sd;  ///< [C] float64
};
Scale scale_of(const Tensor& x);

/// Which parameters a network is asked with.
enum class Weights { sampled, raw };  ///< the average that [sample] names; those that training moves

class Examined {
 public:
    /// Errors: UserError where the stage cannot be built again.
    Examined(std::filesystem::path folder, nlohmann::json record, Overrides overrides);
    ~Examined();

    const std::filesystem::path& folder() const { return folder_; }
    const nlohmann::json& record() const { return record_; }
    const std::vector<nlohmann::json>& log() const { return log_; }
    const std::optional<Checkpoint>& checkpoint() const { return checkpoint_; }
    const Stage& stage() const { return *built_->stage; }
    at::Device device() const { return built_->loaded.device; }
    /// The sampled weights unless others were put there. Errors: NotLooked where the run holds no network.
    const Stage& network(Weights weights = Weights::sampled);
    bool has_network() const { return checkpoint_ || stage().model().parameters().empty(); }
    /// Steps that were trained.
    std::int64_t steps() const { return checkpoint_ ? checkpoint_->step : 0; }

    const Examples& training();
    const Examples& held_out();
    const Scale& data_scale();
    /// Errors: NotLooked where it is another.
    const GaussianProcess& gaussian() const;

    /// The commands that do it again with settings laid over, KEY=VALUE, as they are typed: train anew, train on,
    /// sample.
    std::string anew(const std::vector<std::string>& set) const;
    std::string longer(std::int64_t steps) const;
    std::string resampled(const std::string& set) const;

    /// The stage with these settings laid over, as it is before training. Errors: UserError.
    std::unique_ptr<Built> built(const std::vector<std::string>& set) const;
    /// Begins as the run's did.
    void begin(Built& other) const;

    /// Errors: NotLooked where so many rows of the network, there and back, would take longer than is left.
    void afford(double rows);
    /// What asking the network costs, once it was measured.
    double seconds_per_row = 0;
    double seconds_left() const;
    /// Kept by held_out_errors.
    std::vector<ErrorsAt> errors[2];
    /// Kept by sampling_cures.
    std::optional<Findings> sampling;

 private:
    Examples some(std::int64_t most, bool held_out) const;

    std::filesystem::path folder_;
    nlohmann::json record_;
    Overrides overrides_;
    std::vector<nlohmann::json> log_;
    std::optional<Checkpoint> checkpoint_;
    std::string checkpoint_name_;
    std::unique_ptr<Built> built_;
    std::optional<Weights> weights_;
    std::optional<Examples> training_, held_out_;
    std::optional<Scale> scale_;
    double began_;
};

}  // namespace dtk::doctor
