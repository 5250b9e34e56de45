// How alike samples are: the mean TM-score of their pairs, residue i with residue i (Zhang & Skolnick 2004), the length
// that of the shorter one. Beside it the share of samples that stand for all, when those with a score of 0.6 and more
// are taken together one after the other, with the first of each set (Lin & AlQuraishi 2023 count clusters so), and the
// same with 0.5.
#include <algorithm>

#include <fmt/format.h>

#include <dtk/chain_metric.hpp>

namespace {

/// The share of rows that are like none before them that is.
double share_of_clusters(const at::Tensor& scores, double alike) {
    const auto near = (scores >= alike).contiguous();
    const auto n = near.size(0);
    std::vector<std::int64_t> first;
    for (std::int64_t i = 0; i < n; ++i)
        if (std::ranges::none_of(first, [&](auto k) { return near.const_data_ptr<bool>()[i * n + k]; }))
            first.push_back(i);
    return static_cast<double>(first.size()) / static_cast<double>(n);
}

struct TmDiversity final : dtk::ChainMetric {
    struct Config : dtk::ChainMetric::Config {
        std::int64_t most = 60;
        Config() { repeats = 4; }
        void fields(dtk::Fields& f) {
            dtk::ChainMetric::Config::fields(f);
            f("most", most, dtk::at_least(2), "samples that are looked at; time grows with the square");
        }
    } c;
    TmDiversity(const Config& config, const dtk::BuildContext& context)
        : ChainMetric(config, context, "tm_diversity"), c(config) {}

    dtk::MetricCard card() const override { return {dtk::Better::nearest, "TM-score"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        if (input.samples.size(0) < 2) throw dtk::Error("tm_diversity needs two samples", "draw more");
        auto some = input;
        const auto n = std::min({c.most, input.samples.size(0), dtk::true_set_size(input.data, c.most)});
        some.samples = dtk::evenly_among(input.samples, std::max<std::int64_t>(n, 2));
        auto result = as_true_chains(some, random, [&](const at::Tensor& samples) -> Value {
            const auto [x, mask] = dtk::traces_of(samples);
            const auto pairs = at::triu_indices(x.size(0), x.size(0), 1);
            const auto i = pairs[0], j = pairs[1];
            const auto of = dtk::tm_score(x.index_select(0, i), x.index_select(0, j),
                                          mask.index_select(0, i) * mask.index_select(0, j));
            auto scores = at::zeros({x.size(0), x.size(0)}, at::kDouble);
            scores.index_put_({i, j}, of), scores.index_put_({j, i}, of);
            return {of.mean().item<double>(),
                    {{"clusters at 0.6", share_of_clusters(scores, 0.6)},
                     {"clusters at 0.5", share_of_clusters(scores, 0.5)}}};
        });
        result.note = fmt::format("mean TM-score of the pairs of {} samples", some.samples.size(0));
        return result;
    }
};
}  // namespace

DTK_PLUGIN(Metric, tm_diversity, TmDiversity, "how alike samples are by TM-score, and how many clusters they form")
