#pragma once
// Samples drawn anew, as the run draws them or otherwise, and how far they lie from the data.
#include <functional>
#include <optional>

#include "engine/doctor/examined.hpp"

namespace dtk::doctor {

/// How samples are drawn.
struct Drawing {
    std::int64_t n = 0;
    const Stage* stage = nullptr;                          ///< whose sampler and network
    bool clip = true, bf16 = false;                        ///< as [sample] says
    std::function<Denoiser(const Denoiser&)> around = {};  ///< another answer in place of the network's
    bool from_data = false;                                ///< from noised examples in place of the prior
};

/// Like the run's own draws: Drawing with its settings. Errors: NotLooked where the run draws no samples, or such that
/// are not to be like the data.
Drawing as_the_run(Examined& run, std::int64_t n);

/// → [n, ...] on the CPU; all drawings begin from the same noise.
Tensor drawn(Examined& run, const Drawing& drawing);

/// Rows of the network that a drawing costs.
double rows_of(const Drawing& drawing);

/// Examples like those that samples should be: the same classes in turn.
Tensor examples_like_samples(Examined& run, std::int64_t n);

/// Energy distance between two sets, in units of the data's standard deviation, and what chance makes of it: mean and
/// standard deviation over random exchanges of the members.
struct Distance {
    double value = 0, by_chance = 0, sd = 0;
    double cross = 1;  ///< 2 mean |x − y|
    double excess() const { return value - by_chance; }
    double share() const { return excess() / cross; }
    double z() const { return sd > 0 ? excess() / sd : 0; }
};
/// Not finite where a sample is not.
Distance distance_between(const Tensor& samples, const Tensor& examples, double data_sd);

}  // namespace dtk::doctor
