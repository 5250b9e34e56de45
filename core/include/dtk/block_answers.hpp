#pragma once
// What a network would answer after each of its blocks, for losses that look at all of them (deep supervision). It goes
// along with the condition and not with the answer, so that only those who ask for it have it.
#include <vector>

#include <fmt/format.h>

#include <dtk/denoiser.hpp>

namespace dtk {

/// An answer, and those of the blocks before it where the network told them, the first one first.
struct BlockAnswers {
    Prediction last;
    std::vector<Tensor> before;
};

namespace detail {
constexpr const char* asked_for_blocks = "blocks";
inline std::string name_of_block(std::size_t block) { return fmt::format("block {}", block); }
}  // namespace detail

/// Of a network: what it would answer after that block, 0 for the first, which is kept if anybody asks.
inline void tell_block(const Condition& condition, std::size_t block, const Tensor& answer) {
    if (condition.trajectory && condition.trajectory->before.contains(detail::asked_for_blocks))
        condition.trajectory->now[detail::name_of_block(block)] = answer;
}

/// Of a loss. → answers in the network's own type
inline BlockAnswers all_blocks(const Denoiser& denoise, const Tensor& x, const Time& t) {
    Trajectory told;
    told.before[detail::asked_for_blocks] = Tensor();
    auto condition = denoise.condition();
    condition.trajectory = &told;
    BlockAnswers all{denoise(x, t, condition), {}};
    for (std::size_t block = 0;; ++block) {
        const auto found = told.now.find(detail::name_of_block(block));
        if (found == told.now.end()) return all;
        all.before.push_back(found->second);
    }
}

}  // namespace dtk
