#pragma once
#include <dtk/module.hpp>
#include <dtk/schedule.hpp>

namespace dtk {

/// A schedule with trained tensors, exported as a Schedule: `DTK_PLUGIN(Schedule, …)`. A process that takes one makes
/// it a part of itself, and what follows from β is differentiable there (Sohl-Dickstein et al. 2015, section 2.4.1: the
/// noise ε is held fixed, and x_t moves with β).
class DTK_API LearnedSchedule : public Schedule, public Module {
 public:
    ~LearnedSchedule() override;
    /// β_1 … β_steps, each in (0, 1): [steps] float64 where the tensors are, differentiable
    virtual Tensor betas(std::int64_t steps) const = 0;
    /// Those of β as it is now. Read from the device again only after the tensors have changed.
    NoiseLevels levels(std::int64_t steps) const final;

 private:
    mutable NoiseLevels known_;
    mutable std::vector<std::pair<const void*, std::int64_t>> known_of_;  ///< tensors and their versions
};

}  // namespace dtk
