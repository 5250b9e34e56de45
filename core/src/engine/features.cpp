#include <dtk/features.hpp>

#include <algorithm>
#include <limits>
#include <vector>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/classifier.hpp>

namespace dtk {

namespace {
constexpr std::int64_t examples_at_once = 256, training_at_once = 10'000, distances_at_once = std::int64_t{1} << 23;
}  // namespace

Tensor true_set(const Dataset& data, std::int64_t number, std::int64_t n, const Random& random) {
    auto index = at::arange(n, at::kLong);
    if (data.test_size() == 0) return data.test_examples(index + number * n).x;
    // Sets 2i and 2i + 1 are two parts of one permutation.
    auto* one = index.mutable_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < n; ++i)
        one[i] = permuted(number % 2 * n + i, data.test_size(), random.seed(), number / 2);
    return data.test_examples(index).x;
}

std::int64_t true_set_size(const Dataset& data, std::int64_t samples) {
    return data.test_size() == 0 ? samples : std::min(samples, data.test_size() / 2);
}

Tensor training_set(const Dataset& data, std::int64_t n, const Random& random) {
    auto index = at::empty({n}, at::kLong);
    auto* one = index.mutable_data_ptr<std::int64_t>();
    for (std::int64_t i = 0; i < n; ++i) one[i] = permuted(i, data.size(), random.seed(), 0);
    return data.examples(index).x;
}

Tensor evenly_among(const Tensor& samples, std::int64_t n) {
    const double stride = static_cast<double>(samples.size(0)) / static_cast<double>(n);
    return samples.index_select(0, (at::arange(n, at::kDouble) * stride).to(at::kLong));
}

namespace {
Floor floor_of(const std::vector<double>& all) {
    const auto values = at::tensor(all, at::kDouble);
    return {values.mean().item<double>(), values.std().item<double>()};
}
}  // namespace

Floor over_true_sets(const Dataset& data, std::int64_t sets, std::int64_t n, const Random& random,
                     const std::function<double(const Tensor&)>& value) {
    std::vector<double> all;
    for (std::int64_t i = 0; i < sets; ++i) all.push_back(value(true_set(data, i, n, random)));
    return floor_of(all);
}

Floor between_true_sets(const Dataset& data, std::int64_t pairs, std::int64_t n, const Random& random,
                        const std::function<double(const Tensor&, const Tensor&)>& distance) {
    std::vector<double> all;
    for (std::int64_t i = 1; i <= pairs; ++i)
        all.push_back(distance(true_set(data, 2 * i, n, random), true_set(data, 2 * i + 1, n, random)));
    return floor_of(all);
}

Features::Features(const Reference& reference, const BuildContext& context, const char* who) {
    const auto& of = reference.name();
    if (!reference || of == text_) return;
    const auto network = context.trained(reference);
    classifier_ = std::dynamic_pointer_cast<Classifier>(network.model);
    if (!classifier_)
        throw Error(fmt::format("{} looks through a classifier, and `{}` is another model", who, of),
                    "train model `classifier` with loss `cross_entropy`, or say features = \"pixels\"");
    if (classifier_->shape() != context.dataset().shape())
        throw Error(fmt::format("`{}` was trained with examples of shape {}, these have {}", of,
                                fmt::join(classifier_->shape(), "×"), fmt::join(context.dataset().shape(), "×")),
                    "train a classifier with these data");
    classifier_->train(false);
    text_ = "features of `" + of + "`";
    card_ = network.sha256.empty() ? of : network.sha256;
}

Tensor Features::operator()(const Tensor& x, at::Device device) const {
    if (!classifier_) return x.reshape({x.size(0), -1}).to(at::kCPU, at::kDouble);
    at::NoGradGuard no_grad;
    classifier_->to(device);
    std::vector<Tensor> all;
    for (std::int64_t first = 0; first < x.size(0); first += examples_at_once) {
        const auto part = x.slice(0, first, first + examples_at_once).to(device);
        all.push_back(classifier_->features(part, 0).to(at::kCPU, at::kDouble));
    }
    return at::cat(all);
}

Tensor squared_reach(const Tensor& x, std::int64_t k) {
    std::vector<Tensor> all;
    squared_distances(x, x, [&](std::int64_t, const Tensor& d2) {
        all.push_back(std::get<0>(d2.kthvalue(k + 1, 1)));  // nearest of all is itself
    });
    return at::cat(all);
}

namespace {
/// tr (a^{1/2} b a^{1/2})^{1/2} of symmetric matrices without negative eigenvalues.
double trace_of_root(const Tensor& a, const Tensor& b) {
    const auto [values, vectors] = at::linalg_eigh(a);
    const auto root = (vectors * values.clamp_min(0).sqrt()).mm(vectors.t());
    return at::linalg_eigvalsh(root.mm(b).mm(root)).clamp_min(0).sqrt().sum().item<double>();
}
}  // namespace

double frechet_distance(const Tensor& x, const Tensor& y) {
    if (x.size(1) > std::max(x.size(0), y.size(0))) {
        // Of more dimensions than there are rows, without a matrix of d × d: the eigenvalues of C_1 C_2 that are not 0
        // are the squares of the singular values of A Bᵀ, A and B the centred sets over the roots of their freedom.
        const auto centred = [](const Tensor& set) {
            return (set - set.mean(0, true)) / std::sqrt(static_cast<double>(set.size(0) - 1));
        };
        const auto a = centred(x), b = centred(y);
        return ((x.mean(0) - y.mean(0)).square().sum() + a.square().sum() + b.square().sum() -
                2 * at::linalg_svdvals(a.mm(b.t())).sum())
            .item<double>();
    }
    const auto a = x.t().cov().reshape({x.size(1), x.size(1)}), b = y.t().cov().reshape({y.size(1), y.size(1)});
    return ((x.mean(0) - y.mean(0)).square().sum() + a.trace() + b.trace()).item<double>() - 2 * trace_of_root(a, b);
}

void SetMetric::Config::fields(Fields& f) {
    f("features", features, "what is looked at: pixels, or a stage or run that trained a classifier");
    f("repeats", repeats, in(2, 1024), "sets of true examples, or pairs of them, that it is measured of for the floor");
}

SetMetric::SetMetric(const Config& config, const BuildContext& context, std::string who, std::int64_t least,
                     std::string cure)
    : features_(config.features, context, who.c_str()), repeats_(config.repeats), least_(least), who_(std::move(who)) {
    if (const auto size = context.dataset().test_size(); size > 0 && size < 2 * least_)
        throw Error(fmt::format("{} needs {} test examples or more", who_, 2 * least_), std::move(cure));
}
SetMetric::~SetMetric() = default;

std::int64_t SetMetric::size(const EvaluationInput& input, std::int64_t most) const {
    const auto n = true_set_size(input.data, std::min(most, input.samples.size(0)));
    if (n < least_)
        throw Error(fmt::format("{} needs {} samples or more, not {}", who_, least_, n), "raise `n` in [sample]");
    return n;
}

MetricResult SetMetric::held_against_truth(const EvaluationInput& input, std::int64_t n, const Random& random,
                                           const std::function<double(const Tensor&, const Tensor&)>& distance) const {
    const auto& data = input.data;
    const auto seen = [&](const Tensor& x) { return features_(x, input.device); };
    const auto samples = seen(evenly_among(input.samples, n));
    const auto floor = between_true_sets(data, repeats_, n, random,
                                         [&](const Tensor& x, const Tensor& y) { return distance(seen(x), seen(y)); });
    MetricResult result{.value = distance(samples, seen(true_set(data, 0, n, random))),
                        .expected = floor.mean,
                        .expected_sd = floor.sd,
                        .n = n,
                        .split = "test",
                        .features = features_.card()};
    if (data.size() >= n) {
        const double learned = distance(samples, seen(training_set(data, n, random)));
        result.parts = {{"to training examples", learned}, {"memorised", result.value - learned}};
    }
    return result;
}

namespace {
/// The distance of each row of x to the nearest training example. x: [n, d] → [n]
Tensor nearest_training_example(const Tensor& x, const EvaluationInput& input, const Features& features) {
    auto best = at::full({x.size(0)}, std::numeric_limits<double>::infinity(), x.options());
    const auto size = input.data.size();
    for (std::int64_t first = 0; first < size; first += training_at_once) {
        const auto rows = at::arange(first, std::min(size, first + training_at_once), at::kLong);
        const auto y = features(input.data.examples(rows).x, input.device);
        squared_distances(x, y, [&](std::int64_t row, const Tensor& d2) {
            // Once more without the difference of squares, which cannot tell a copy.
            const auto some = x.slice(0, row, row + d2.size(0));
            auto known = best.slice(0, row, row + d2.size(0));
            known.copy_(at::minimum(known, (some - y.index_select(0, d2.argmin(1))).norm(2, 1)));
        });
        input.progress(std::min(size, first + training_at_once), size);
    }
    return best;
}
}  // namespace

BesideTraining beside_training(const EvaluationInput& input, const Features& features, std::int64_t most) {
    const auto n = std::min(most, input.samples.size(0));
    const auto m = input.data.test_size() == 0 ? most : std::min(most, input.data.test_size());
    const auto samples = features(evenly_among(input.samples, n), input.device);
    const auto held_out = features(input.data.test_examples(at::arange(m, at::kLong)).x, input.device);
    const auto distance = nearest_training_example(at::cat({samples, held_out}), input, features);
    return {samples, held_out, distance.slice(0, 0, n), distance.slice(0, n)};
}

void needs_data_that_end(const BuildContext& context, const char* who) {
    if (context.dataset().size() == 0)
        throw Error(fmt::format("{} needs data that end", who),
                    "data made anew for every step cannot be copied; use another metric");
}

void squared_distances(const Tensor& x, const Tensor& y,
                       const std::function<void(std::int64_t first, const Tensor& d2)>& look) {
    // Around a common centre fewer digits are lost in the difference.
    const auto centre = y.mean(0);
    const auto a = x - centre, b = y - centre;
    const auto a2 = a.square().sum(1, true), b2 = b.square().sum(1);
    const auto rows = std::max<std::int64_t>(1, distances_at_once / y.size(0));
    for (std::int64_t first = 0; first < x.size(0); first += rows)
        look(first, at::addmm(b2, a.slice(0, first, first + rows), b.t(), 1, -2)
                        .add_(a2.slice(0, first, first + rows))
                        .clamp_min_(0));
}

}  // namespace dtk
