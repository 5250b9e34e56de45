// Does the model copy its training examples? With d(x) the distance of x to the nearest of them, in each cell of a
// partition of the training examples the test of Mann & Whitney (1947): U = #{(q, p): d(q) > d(p)} over the m samples q
// and n held-out examples p there,
//   Z = (U − mn/2)/√(mn(m + n + 1)/12),   the value = Σ w Z/Σ w,   w the share of held-out examples in the cell.
// Of true samples it is 0 with variance Σ w²/(Σ w)²; far below 0 samples lie nearer to the training examples than new
// draws from the truth do, which is copying; far above, farther away than those.
// Meehan, Chaudhuri & Dasgupta, "A Non-Parametric Test to Detect Data-Copying in Generative Models", 2020, section 3.
// Cells are those of k-means, so that copies of one kind are seen among bad samples of another.
#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

/// The nearest centre of each row. [n, d], [k, d] → [n]
Tensor cells_of(const Tensor& x, const Tensor& centres) {
    std::vector<Tensor> all;
    dtk::squared_distances(x, centres, [&](std::int64_t, const Tensor& d2) { all.push_back(d2.argmin(1)); });
    return at::cat(all);
}

/// k-means from k of the rows (Lloyd 1982). → [k, d]
Tensor centres_of(const Tensor& x, std::int64_t k) {
    constexpr int rounds = 20;
    auto centres = x.slice(0, 0, k).clone();
    for (int i = 0; i < rounds; ++i) {
        const auto cell = cells_of(x, centres);
        const auto count = at::bincount(cell, {}, k).to(at::kDouble).unsqueeze(1);
        const auto sum = at::zeros_like(centres).index_add_(0, cell, x);
        centres = at::where(count > 0, sum / count.clamp_min(1), centres);
    }
    return centres;
}

/// Z of the samples' distances q and the held-out ones' p; ties count half.
double mann_whitney(const Tensor& q, const Tensor& p) {
    const auto sorted = std::get<0>(p.sort());
    const auto below = at::searchsorted(sorted, q), up_to = at::searchsorted(sorted, q, false, /*right=*/true);
    const double U = 0.5 * (below + up_to).sum().item<double>();
    const auto m = static_cast<double>(q.numel()), n = static_cast<double>(p.numel());
    return (U - m * n / 2) / std::sqrt(m * n * (m + n + 1) / 12);
}

struct Copying final : dtk::Metric {
    struct Config {
        dtk::Reference features{"pixels"};
        std::int64_t cells = 10, most = 2000;
        void fields(dtk::Fields& f) {
            f("features", features, "what is looked at: pixels, or a stage or run that trained a classifier");
            f("cells", cells, dtk::in(1, 1000),
              "of the partition; those with fewer than ten of either set are left out");
            f("most", most, dtk::in(20, 100'000), "samples, and held-out examples, that are looked at");
        }
    } c;

    Copying(const Config& config, const dtk::BuildContext& context)
        : c(config), features_(config.features, context, "copying") {
        dtk::needs_data_that_end(context, "copying");
    }

    dtk::MetricCard card() const override { return {dtk::Better::nearest, "standard deviations"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto& data = input.data;
        const auto found = dtk::beside_training(input, features_, c.most);
        const auto n = found.samples.size(0), held_out = found.held_out.size(0);

        // Cells of some training examples.
        const auto looked_at = std::min<std::int64_t>(data.size(), 10'000), k = std::min(c.cells, looked_at);
        const auto centres = centres_of(features_(dtk::training_set(data, looked_at, random), input.device), k);
        const auto cell_of_ours = cells_of(found.samples, centres), cell_of_theirs = cells_of(found.held_out, centres);
        double sum = 0, weights = 0, squares = 0, worst = std::numeric_limits<double>::infinity();
        for (std::int64_t cell = 0; cell < k; ++cell) {
            const auto ours = found.distance_of_samples.masked_select(cell_of_ours == cell),
                       theirs = found.distance_of_held_out.masked_select(cell_of_theirs == cell);
            if (std::min(ours.numel(), theirs.numel()) < 10) continue;
            const double Z = mann_whitney(ours, theirs);
            const double w = static_cast<double>(theirs.numel()) / static_cast<double>(held_out);
            sum += w * Z, weights += w, squares += w * w, worst = std::min(worst, Z);
        }
        if (weights == 0)
            throw dtk::Error(fmt::format("no cell holds ten samples and ten held-out examples: {} and {} in {} cells",
                                         n, held_out, k),
                             "raise `n` in [sample], or lower `cells`");
        return {
            .value = sum / weights,
            .expected = 0,
            .expected_sd = std::sqrt(squares) / weights,
            .parts = {{"of the cell with most copies", worst}, {"examples in cells that count", weights}},
            .note = fmt::format("are {} samples nearer to training examples than {} held-out ones? below 0: copied; "
                                "{}",
                                n, held_out, features_.text()),
            .n = n,
            .split = "train",
            .features = features_.card()};
    }

 private:
    dtk::Features features_;
};
}  // namespace

DTK_PLUGIN(Metric, copying, Copying,
           "are samples nearer to training examples than new true ones are? (Meehan et al. 2020)")
