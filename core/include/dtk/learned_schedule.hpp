#pragma once
// Schedules that are trained with the network.
#include <dtk/module.hpp>
#include <dtk/schedule.hpp>

namespace dtk {

/// A variance-preserving schedule with trained tensors, exported as a Schedule: `DTK_PLUGIN(Schedule, …)`. A process
/// that takes one makes it a part of itself, and what follows from it is differentiable there (Sohl-Dickstein et al.
/// 2015, section 2.4.1: the noise ε is held fixed, and x_t moves with the schedule).
class DTK_API LearnedSchedule : public Schedule, public Module {
 public:
    ~LearnedSchedule() override;
    /// log ᾱ_t, 0 at t = −1. t: [N] float64 where the tensors are → as t, differentiable
    virtual Tensor log_alpha_bar(const Tensor& t, std::int64_t steps) const = 0;
    /// Does it know whole times alone?
    virtual bool whole_steps() const = 0;
    /// As it is now. Read from the device again only after the tensors have changed.
    NoiseLevels levels(std::int64_t steps) const final;

 protected:
    /// The same, read from the tensors.
    virtual NoiseLevels read(std::int64_t steps) const = 0;

 private:
    mutable NoiseLevels known_;
    mutable std::vector<std::pair<const void*, std::int64_t>> known_of_;  ///< tensors and their versions
};

/// A learned schedule that is a table of β.
class DTK_API LearnedBetas : public LearnedSchedule {
 public:
    /// β_1 … β_steps, each in (0, 1): [steps] float64 where the tensors are, differentiable
    virtual Tensor betas(std::int64_t steps) const = 0;
    Tensor log_alpha_bar(const Tensor& t, std::int64_t steps) const final;
    bool whole_steps() const final { return true; }

 protected:
    NoiseLevels read(std::int64_t steps) const final;
};

}  // namespace dtk
