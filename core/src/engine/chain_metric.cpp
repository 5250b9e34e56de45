#include <dtk/chain_metric.hpp>

#include <algorithm>
#include <map>
#include <numbers>

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace dtk {

namespace {

constexpr std::int64_t least_chains = 2;

Tensor sorted(const Tensor& x) { return std::get<0>(x.to(at::kDouble).flatten().sort()); }

/// Where two distribution functions are what, between all places where one of them steps.
struct Steps {
    Tensor width, difference;  ///< of each stretch; F − G there
    Steps(const Tensor& a, const Tensor& b) {
        const auto x = sorted(a), y = sorted(b), all = sorted(at::cat({x, y}));
        const auto share = [&](const Tensor& of) {
            return at::searchsorted(of, all.slice(0, 0, -1), false, /*right=*/true).to(at::kDouble) /
                   static_cast<double>(of.numel());
        };
        width = all.diff(), difference = share(x) - share(y);
    }
};

}  // namespace

Traces traces_of(const Tensor& samples) {
    if (!samples.isfinite().all().item<bool>())
        throw Error("a sample has a coordinate that is no finite number", "look at the sampler, and at the training");
    const auto x = samples.detach().to(at::kCPU, at::kDouble);
    return {x.dim() == 4 ? x.select(2, 1).contiguous() : x, residues_of(x).to(at::kDouble)};
}

Tensor where_whole(const Tensor& value, const Tensor& mask, std::int64_t of) {
    return value.masked_select((mask > 0).unfold(1, of, 1).all(-1));
}

double wasserstein_1(const Tensor& a, const Tensor& b) {
    const Steps steps(a, b);
    return (steps.width * steps.difference.abs()).sum().item<double>();
}

// The best c is the median of F − G, weighted by the widths; the stretch over the seam counts, too, where F = G.
double wasserstein_of_angles(const Tensor& a, const Tensor& b) {
    const Steps steps(a, b);
    const auto seam = (2 * std::numbers::pi - steps.width.sum()).view({1});
    const auto width = at::cat({steps.width, seam}), difference = at::cat({steps.difference, at::zeros_like(seam)});
    const auto order = difference.argsort();
    const auto upto = width.index_select(0, order).cumsum(0);
    const auto middle = (upto < upto[-1] / 2).sum().clamp_max(order.numel() - 1).view({1});
    const auto c = difference.index_select(0, order).index_select(0, middle);
    return (width * (difference - c).abs()).sum().item<double>();
}

void ChainMetric::Config::fields(Fields& f) {
    f("repeats", repeats, in(2, 1024), "sets of held-out chains that say what to expect");
}

ChainMetric::ChainMetric(const Config& config, const BuildContext& context, std::string who, bool backbone)
    : repeats_(config.repeats), who_(std::move(who)) {
    const auto& data = context.dataset();
    const auto shape = data.shape();
    const bool trace = shape.size() == 2 && shape[1] == 3, whole = shape.size() == 3 && shape[1] == 4 && shape[2] == 3;
    if (backbone ? !whole : !trace && !whole)
        throw Error(
            fmt::format("{} is for {}, and an example is {}", who_,
                        backbone ? "backbones, [residues, 4, 3]"
                                 : "chains, [residues, 3] of Cα or [residues, 4, 3] of N, CA, C and O",
                        fmt::join(shape, "×")),
            backbone ? "use data set `chains` with atoms = \"backbone\"" : "use data set `chains`, or another metric");
    if (data.test_size() > 0 && data.test_size() < 2 * least_chains)
        throw Error(
            fmt::format("{} needs {} held-out chains, and there are {}", who_, 2 * least_chains, data.test_size()),
            "hold more of them out: the data set's `test`");
}

ChainMetric::~ChainMetric() = default;

MetricResult ChainMetric::as_true_chains(const EvaluationInput& input, const Random& random,
                                         const std::function<Value(const Tensor&)>& of) const {
    const auto n = true_set_size(input.data, input.samples.size(0));
    std::map<std::string, double> true_parts;
    const auto floor = over_true_sets(input.data, repeats_, n, random, [&](const Tensor& truth) {
        const auto found = of(truth);
        for (const auto& [name, value] : found.parts) true_parts[name] += value / static_cast<double>(repeats_);
        return found.value;
    });
    const auto found = of(input.samples);
    MetricResult result{.value = found.value, .expected = floor.mean, .expected_sd = floor.sd};
    for (const auto& [name, value] : found.parts) {
        result.parts.emplace_back(name, value);
        result.parts.emplace_back("true " + name, true_parts[name]);
    }
    result.n = input.samples.size(0);
    return result;
}

MetricResult ChainMetric::from_true_chains(const EvaluationInput& input, const Random& random, std::int64_t most,
                                           const std::function<Value(const Tensor&, const Tensor&)>& distance) const {
    auto n = true_set_size(input.data, input.samples.size(0));
    if (most > 0) n = std::min(n, most);
    if (n < least_chains)
        throw Error(fmt::format("{} needs {} samples and as many held-out chains", who_, least_chains),
                    "draw more samples");
    const auto floor = between_true_sets(input.data, repeats_, n, random,
                                         [&](const Tensor& a, const Tensor& b) { return distance(a, b).value; });
    auto found = distance(evenly_among(input.samples, n), true_set(input.data, 0, n, random));
    return {
        .value = found.value, .expected = floor.mean, .expected_sd = floor.sd, .parts = std::move(found.parts), .n = n};
}

}  // namespace dtk
