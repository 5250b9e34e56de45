#pragma once
// Adaptive steps, a length for every row, so that a sample is the same whatever others are drawn with it.
#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include <dtk/error.hpp>
#include <dtk/tensor.hpp>
#include <dtk/time.hpp>

namespace dtk {

/// Steps of a pair of methods, whose difference has to stay below atol + rtol·|x| in every row (root mean square of its
/// elements). Waits for the device once a step. Hairer, Nørsett & Wanner, "Solving Ordinary Differential Equations I",
/// 1993, section II.4.
class RowSteps {
 public:
    using Attempt = std::function<std::pair<Tensor, Tensor>(const Tensor& x, const Time& a, const Time& b)>;
    /// order: the difference of a step of length h is of order h^order.
    RowSteps(double rtol, double atol, double first, double order)
        : rtol_(rtol), atol_(atol), first_(first), order_(order) {}

    /// x at `from` → at `to`, all rows. `attempt(x, a, b)` answers both methods' x for steps a → b, one for each row:
    /// the one to go on with, then the other. Lengths are kept for the next call. Errors: Error where a step is not
    /// finite or has to be shorter than the numbers can tell.
    Tensor along(Tensor x, double from, double to, const Attempt& attempt) {
        const auto rows = static_cast<std::size_t>(x.size(0));
        if (length_.empty()) length_.assign(rows, first_);
        std::vector<double> start(rows, from), end(rows);
        std::vector<bool> active(rows, true);
        while (std::find(active.begin(), active.end(), true) != active.end()) {
            // A row that has arrived takes a step along that does not count.
            for (std::size_t k = 0; k < rows; ++k) {
                const double left = to - start[k];
                const bool whole = !active[k] || length_[k] >= std::abs(left) * (1 - 1e-9);
                end[k] = whole ? to : start[k] + std::copysign(length_[k], left);
                if (!active[k]) start[k] = from;
            }
            const auto [next, other] = attempt(x, times(start), times(end));
            const auto allowed = atol_ + rtol_ * at::maximum(x.abs(), next.abs());
            const auto error =
                ((next - other) / allowed).flatten(1).square().mean(1).sqrt().to(at::kCPU, at::kDouble).contiguous();

            // Accept, row by row, and choose the next length.
            std::vector<std::int64_t> accepted(rows);
            for (std::size_t k = 0; k < rows; ++k) {
                if (!active[k]) continue;
                const double e = error.const_data_ptr<double>()[k], step = std::abs(end[k] - start[k]);
                if (!std::isfinite(e)) throw Error("an adaptive step is not finite", "look at the network's answers");
                const double wished = step * std::clamp(0.9 * std::pow(e, -1 / order_), 0.2, 5.0);
                accepted[k] = e <= 1;
                if (accepted[k]) {
                    active[k] = end[k] != to;
                    start[k] = end[k];
                    length_[k] = active[k] ? wished : std::max(wished, length_[k]);
                } else {
                    length_[k] = wished;
                }
                if (length_[k] < 1e-12 * std::abs(to - from))
                    throw Error("no step is short enough for the tolerances",
                                "raise `rtol` and `atol`, or sample in float64");
            }
            auto sizes = std::vector<std::int64_t>(static_cast<std::size_t>(x.dim()), 1);
            sizes[0] = x.size(0);
            x = at::where(at::tensor(accepted, at::kLong).to(x.device()).to(at::kBool).view(sizes), next, x);
        }
        return x;
    }

 private:
    static Time times(const std::vector<double>& values) { return Time(at::tensor(values, at::kDouble)); }

    double rtol_, atol_, first_, order_;
    std::vector<double> length_;  ///< of each row's next step
};

}  // namespace dtk
