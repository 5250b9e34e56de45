#pragma once
// One stage while it runs: trained, sampled and measured in a folder of its own.
#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include "base/progress.hpp"
#include "base/validated.hpp"
#include "engine/stage.hpp"
#include "engine/trainer.hpp"
#include "engine/trajectory.hpp"

namespace dtk {

class StageRun {
 public:
    /// `text`: the stage as an experiment file of its own. `processes`: those that train it together; null for this one
    /// alone.
    StageRun(Stage& stage, std::filesystem::path folder, std::string text, at::Device device, Progress::Mode progress,
             Processes* processes = nullptr)
        : stage_(stage),
          folder_(std::move(folder)),
          text_(std::move(text)),
          device_(device),
          progress_(progress),
          processes_(processes) {}

    /// From where a stage goes on or begins.
    struct From {
        bool resumed = false;
        std::optional<std::filesystem::path> checkpoint = {};  ///< of its own, to go on from
        std::optional<std::filesystem::path> init = {};        ///< of another run, to begin as
        bool chooses_threads = false;  ///< nobody has said how many: a training whose steps are small takes one
    };
    /// Trains where the stage has [train], and evaluates.
    nlohmann::json run(const From& from);

    /// The same for a process that does not lead: it helps to train and touches no file, unless the one that leads is
    /// killed.
    void help(const From& from);

    /// Draws samples where the stage has [sample], measures all that is to be measured, and writes both.
    nlohmann::json evaluate();

    /// Of training, sampling and measuring.
    const nlohmann::json& seconds() const { return seconds_; }

 private:
    template <class Work>
    void timed(const char* what, Work work);
    void train(const From& from);
    void take(const From& from);
    void use_average(Trainer& trainer);
    void save(const Checkpoint& checkpoint);
    void log(std::int64_t step, const NamedNumbers& values, const NamedLists& lists);
    void picture_at(std::int64_t step);
    void picture(const std::string& name, const Tensor& samples);
    void picture_of_trajectory(const KeptTrajectory& trajectory);

    Stage& stage_;
    std::filesystem::path folder_;
    std::string text_;
    at::Device device_;
    Progress::Mode progress_;
    Processes* processes_;
    Validations validations_;
    nlohmann::json seconds_ = nlohmann::json::object();
};

}  // namespace dtk
