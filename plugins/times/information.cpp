// P(t) ∝ I_{t−1} − I_t,  I = ½ log(1 + SNR): what a step of the bound is worth where the data are normal with variance
// 1 (Guo, Shamai & Verdú, "Mutual Information and MMSE in Gaussian Channels", 2005). Of the thousand steps of a chain a
// few, next to the data, hold most of the bound; drawn evenly they are rarely met and weigh much. A tenth is drawn
// evenly, so that no weight is above ten, and a step counts as at most half a nat, so that the first ones do not take
// all. Stratified like `stratified`: row i of a batch of n gets part (i + k) mod n.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include <dtk/build_context.hpp>
#include <dtk/schedule.hpp>
#include <dtk/times.hpp>

namespace {
struct Information final : dtk::Times {
    explicit Information(const dtk::BuildContext& context) {
        const auto& levels = context.process().levels();  // of a learned schedule those it starts with
        const auto T = levels.steps();
        for (std::int64_t t = 0; t < T; ++t) {
            const auto of = [&](std::int64_t step) { return 0.5 * std::log1p(levels.snr(step)); };
            probability_.push_back(t == 0 ? 0.5 : std::clamp(of(t - 1) - of(t), 0.0, 0.5));
        }
        const double all = std::accumulate(probability_.begin(), probability_.end(), 0.0);
        for (auto& p : probability_) p = 0.9 * p / all + 0.1 / static_cast<double>(T);
        upto_.resize(probability_.size());
        std::partial_sum(probability_.begin(), probability_.end(), upto_.begin());
    }

    dtk::SampledTimes draw(const dtk::Batch& batch, const dtk::Process&, const dtk::Random& random) const override {
        const auto rows = batch.x.size(0), n = batch.of > 0 ? batch.of : rows;
        const auto k = random.stream("turn").from(0).integers(n, {1}).item<std::int64_t>();
        const auto r = random.uniform({rows}, at::kDouble);
        const auto times = at::empty({rows}, at::kDouble), weight = at::empty({rows}, at::kDouble);
        for (std::int64_t i = 0; i < rows; ++i) {
            const auto part = static_cast<double>((batch.first + i + k) % n) + r.const_data_ptr<double>()[i];
            const auto above =
                std::upper_bound(upto_.begin(), upto_.end() - 1, part / static_cast<double>(n) * upto_.back());
            const auto t = static_cast<std::size_t>(above - upto_.begin());
            times.mutable_data_ptr<double>()[i] = static_cast<double>(t);
            weight.mutable_data_ptr<double>()[i] = 1 / (static_cast<double>(upto_.size()) * probability_[t]);
        }
        return {dtk::Time(times), dtk::Coefficient::of_rows(weight)};
    }

 private:
    std::vector<double> probability_, upto_;
};
}  // namespace

DTK_PLUGIN(Times, information, Information, "times as often as their steps weigh in the bound, for `elbo`")
