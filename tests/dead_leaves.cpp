// Images of occluding discs against the exact law of one and of two of their pixels, the Gaussian that is fitted to
// them against its expected likelihood, and the network of 2015 for images.
#include <cmath>
#include <numbers>

#include <dtk/densities.hpp>
#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "support.hpp"

using at::Tensor;
using support::distance;
using support::make;

namespace {

std::shared_ptr<dtk::Dataset> leaves(const std::string& fields = {}, std::uint64_t seed = 1) {
    support::BuildContext context;
    context.seed = seed;
    return make<dtk::Dataset>("dead_leaves", fields, context);
}

/// The probability that two pixels at distance d show one disc, of radii with p(r) ∝ r⁻³ between two ends. Two discs of
/// radius r at distance d share 2r² acos(d/2r) − (d/2) √(4r² − d²).
double same_disc(double d, double r_min, double r_max) {
    if (d == 0) return 1;
    double shared = 0;
    if (const double least = std::max(r_min, d / 2); least < r_max) {
        std::vector<double> edges;
        for (int i = 0; i <= 200; ++i) edges.push_back(least * std::pow(r_max / least, i / 200.0));
        const auto [r, weight] = dtk::gauss_legendre(edges);
        const auto area = 2 * r.square() * at::acos((d / 2) / r) - (d / 2) * (4 * r.square() - d * d).sqrt();
        shared = (weight * area * r.pow(-3)).sum().item<double>();
    }
    return shared / (2 * std::numbers::pi * std::log(r_max / r_min) - shared);
}

struct Pixel {
    std::int64_t row, column;
};
double between(Pixel a, Pixel b) { return std::hypot(a.row - b.row, a.column - b.column); }

Tensor at_pixel(const Tensor& x, Pixel p) { return x.select(1, 0).select(1, p.row).select(1, p.column); }

/// Pictures of independent standard normal pixels.
struct Snow final : dtk::Dataset {
    std::vector<std::int64_t> shape() const override { return {1, 8, 8}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        return {dtk::Random(7, "train").samples(index).normal({index.numel(), 1, 8, 8}, at::kFloat), Tensor()};
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        return {dtk::Random(7, "test").samples(index).normal({index.numel(), 1, 8, 8}, at::kFloat), Tensor()};
    }
};

/// Snow, a process of `steps` steps that ends as the paper's, and the network.
support::BuildContext snow(std::int64_t steps, const std::string& model) {
    support::BuildContext context;
    context.data = std::make_shared<Snow>();
    context.chain = make<dtk::Process>(
        "gaussian", fmt::format("steps = {}\ndecoder = \"reversed\"\nschedule = \"sohl_dickstein\"", steps), context);
    context.network = make<dtk::Model>("multiscale_conv", model, context);
    return context;
}

void disturb(dtk::Model& model) {
    at::NoGradGuard no_grad;
    for (const auto& named : model.named_tensors())
        if (named.trained)
            named.tensor->add_(dtk::Random(5, named.name).normal(named.tensor->sizes(), at::kFloat), 0.1);
}

Tensor bits_of_normal(const Tensor& covariance) {  // E log₂ N(x; 0, C) of x with that covariance
    const auto d = static_cast<double>(covariance.size(0));
    return -0.5 * (d * std::log(2 * std::numbers::pi * std::numbers::e) + at::logdet(covariance)) / std::numbers::ln2;
}

dtk::MetricResult fitted(const std::shared_ptr<dtk::Dataset>& data, const std::string& fields) {
    support::BuildContext context;
    context.data = data;
    const auto metric = make<dtk::Metric>("gaussian_fit", fields, context);
    CHECK_FALSE(metric->needs_samples());
    context.chain = make<dtk::Process>("gaussian", "decoder = \"gaussian\"", context);
    return metric->evaluate(
        {.samples = {}, .data = *data, .process = *context.chain, .denoise = support::nobody(context.chain)},
        dtk::Random(1, "metric"));
}

}  // namespace

TEST_CASE("every pixel of dead leaves has mean 0 and variance 1") {
    constexpr std::int64_t n = 20000;
    for (const char* fields : {"", "size = 6\nr_min = 0.5\nr_max = 50\nnoise = 0.5"}) {
        INFO(fields);
        const auto data = leaves(fields);
        const auto x = data->examples(at::arange(n)).x.to(at::kDouble);
        CHECK((x.mean(0) * std::sqrt(n)).abs().max().item<double>() < 5);
        // of a uniform variable, whose fourth moment is 9/5; with noise it is less
        CHECK(((x.square().mean(0) - 1) * std::sqrt(n / 0.8)).abs().max().item<double>() < 5);
        const auto [least, most] = data->range().value();
        CHECK(x.min().item<double>() >= least - 1e-6);
        CHECK(x.max().item<double>() <= most + 1e-6);
        CHECK(x.max().item<double>() > 0.98 * most);
    }
}

TEST_CASE("greys are even at the corner, at the edge and in the middle") {
    constexpr std::int64_t n = 20000, bins = 20;
    const auto x = leaves("noise = 0")->examples(at::arange(n)).x;
    for (const auto pixel : {Pixel{0, 0}, {15, 15}, {0, 7}, {8, 15}, {7, 8}}) {
        const auto grey = at_pixel(x, pixel) / std::sqrt(12) + 0.5;
        const auto counts = at::histc(grey, bins, 0, 1).to(at::kDouble),
                   expected = at::full({bins}, static_cast<double>(n) / bins, at::kDouble);
        CHECK(counts.sum().item<double>() == n);
        CHECK(((counts - expected).square() / expected).sum().item<double>() <
              43.8);  // the 99.9 % point of χ² with 19 degrees of freedom
    }
}

// The image is a window on an endless heap: pairs at its border follow the same law as those in the middle.
TEST_CASE("two pixels show one disc as often as they must, and are correlated as much") {
    constexpr std::int64_t n = 8000;
    const std::vector<std::pair<Pixel, Pixel>> pairs{
        {{0, 0}, {0, 1}},  {{0, 0}, {1, 1}},   {{7, 7}, {8, 7}},  {{15, 2}, {15, 5}}, {{3, 12}, {8, 2}},
        {{0, 0}, {0, 15}}, {{15, 0}, {0, 15}}, {{6, 6}, {9, 10}}, {{0, 15}, {2, 13}}, {{14, 0}, {15, 0}}};
    for (const auto& [r_min, r_max] : {std::pair{2.0, 16.0}, {0.5, 3.0}, {1.0, 200.0}, {6.0, 7.0}}) {
        const auto fields = fmt::format("r_min = {:.1f}\nr_max = {:.1f}", r_min, r_max);
        const auto bare = leaves(fields + "\nnoise = 0")->examples(at::arange(n)).x,
                   noisy = leaves(fields + "\nnoise = 0.5")->test_examples(at::arange(n)).x.to(at::kDouble);
        for (const auto& [a, b] : pairs) {
            const double d = between(a, b), p = same_disc(d, r_min, r_max);
            const double seen = (at_pixel(bare, a) == at_pixel(bare, b)).to(at::kDouble).mean().item<double>();
            INFO("radii " << r_min << " … " << r_max << ", distance " << d << ": " << seen << ", exact " << p);
            CHECK(std::abs(seen - p) < 4.5 * std::sqrt((p * (1 - p) + 1e-6) / n));
            const auto product = at_pixel(noisy, a) * at_pixel(noisy, b);
            CHECK(std::abs(product.mean().item<double>() - p / 1.25) <
                  4.5 * product.std().item<double>() / std::sqrt(n));
        }
    }
}

TEST_CASE("an image of dead leaves depends on its number and the seed alone") {
    for (const char* fields : {"", "size = 5\nr_min = 0.1\nr_max = 900"}) {
        INFO(fields);
        const auto data = leaves(fields);
        const auto all = data->examples(at::arange(40)).x, some = at::tensor({33, 4}, at::kLong);
        CHECK(all.sizes().slice(1) == at::IntArrayRef(data->shape()));
        CHECK(all.scalar_type() == at::kFloat);
        CHECK(data->examples(some).x.equal(all.index_select(0, some)));
        CHECK(leaves(fields)->examples(at::arange(40)).x.equal(all));
        CHECK_FALSE(leaves(fields, 2)->examples(at::arange(40)).x.equal(all));
        CHECK_FALSE(data->test_examples(at::arange(40)).x.equal(all));
        CHECK(data->examples(at::empty({0}, at::kLong)).x.size(0) == 0);
    }
    CHECK(says(complaint_of([] { leaves("r_min = 16"); }),
               "`r_min` of dataset `dead_leaves` = 16 is not below `r_max` = 16"));
}

// log|Σ̂| and Σ̂⁻¹ of N normal examples have known means (Wishart): with S = N Σ̂ of N − 1 degrees of freedom,
//   E log|S| = log|Σ| + d log 2 + Σ_i ψ((N − i)/2),   E (x − μ̂)ᵀ Σ̂⁻¹ (x − μ̂) = d (N + 1)/(N − d − 2)
TEST_CASE("the likelihood under a fitted Gaussian is the expected one, the cost of fitting it included") {
    constexpr double log_det = 0.5596157879354227;  // of the covariance below, 1.75
    constexpr int N = 30, d = 3, seeds = 150;
    const auto i = at::arange(1, d + 1, at::kDouble);
    const double of_root =
        log_det + d * std::log(2.0) + at::digamma((N - i) / 2).sum().item<double>() - d * std::log(N);
    const double expected =
        -0.5 * (d * std::log(2 * std::numbers::pi) + of_root + d * (N + 1.0) / (N - d - 2)) / std::numbers::ln2;
    std::vector<double> values;
    for (std::uint64_t seed = 0; seed < seeds; ++seed) {
        support::BuildContext context;
        context.seed = seed;
        const auto data = make<dtk::Dataset>(
            "gaussian_mixture",
            "preset = \"none\"\nmeans = [[1, 2, 3]]\ncovariances = [[2, 0.5, 0, 0.5, 1, 0, 0, 0, 1]]", context);
        const auto m = fitted(data, fmt::format("fit = {}\nn = 2000", N));
        values.push_back(m.value);
        if (seed > 0) continue;
        const auto each = fitted(data, fmt::format("fit = {}\nn = 2000\nper = \"element\"", N));
        CHECK(each.value == Approx(m.value / d));
        CHECK(each.standard_error == Approx(m.standard_error / d));
        const auto large = fitted(data, "fit = 100000\nn = 20000");
        const double best = -0.5 * (d * (1 + std::log(2 * std::numbers::pi)) + log_det) / std::numbers::ln2;
        CHECK(std::abs(large.value - best) < 4 * large.standard_error);
        CHECK(large.standard_error == Approx(std::sqrt(d / 2.0 / 20000) / std::numbers::ln2).epsilon(0.05));
    }
    const auto v = at::tensor(values, at::kDouble);
    INFO(v.mean().item<double>() << ", expected " << expected);
    CHECK(std::abs(v.mean().item<double>() - expected) < 4 * v.std().item<double>() / std::sqrt(seeds));
}

TEST_CASE("a Gaussian fitted to dead leaves is worth what their exact covariance says") {
    constexpr std::int64_t size = 6, d = size * size, N = 20000;
    constexpr double noise = 0.1;
    auto covariance = at::eye(d, at::kDouble);
    for (std::int64_t a = 0; a < d; ++a)
        for (std::int64_t b = 0; b < d; ++b)
            if (a != b)
                covariance[a][b] =
                    same_disc(between({a / size, a % size}, {b / size, b % size}), 1, 16) / (1 + noise * noise);
    const double best = bits_of_normal(covariance).item<double>() / d, cost = (d + 3) / (4.0 * N * std::numbers::ln2);
    const auto m =
        fitted(leaves("size = 6\nr_min = 1\nnoise = 0.1"), fmt::format("fit = {}\nn = {}\nper = \"element\"", N, N));
    INFO(m.value << " ± " << m.standard_error << ", exact " << best);
    CHECK(std::abs(m.value + cost - best) < 4 * m.standard_error);
    CHECK(m.standard_error < 0.01);
}

TEST_CASE("gaussian_fit refuses what no covariance can be fitted to") {
    struct Levels final : dtk::Dataset {
        bool come_in_levels;
        explicit Levels(bool levels) : come_in_levels(levels) {}
        std::vector<std::int64_t> shape() const override { return {2}; }
        std::int64_t size() const override { return 0; }
        dtk::Batch examples(const Tensor& index) const override {
            return {(index % 5).to(at::kFloat).unsqueeze(1).expand({-1, 2}), Tensor()};
        }
        dtk::Batch test_examples(const Tensor& index) const override { return examples(index); }
        int levels() const override { return come_in_levels ? 5 : 0; }
    };
    CHECK(says(complaint_of([] { fitted(std::make_shared<Levels>(true), ""); }), "these data come in levels"));
    CHECK(says(complaint_of([] { fitted(std::make_shared<Levels>(false), "fit = 2"); }),
               "2 examples do not determine the covariance of 2 elements"));
    CHECK(says(complaint_of([] { fitted(std::make_shared<Levels>(false), "fit = 50"); }), "singular"));
}

TEST_CASE("the network of 2015 starts as the forward process turned around") {
    at::NoGradGuard no_grad;
    for (const char* fields : {"", "dense = 8\nscales = 1\nkernel = 5"}) {
        const auto context = snow(50, fields);
        const auto& l = context.chain->levels();
        const auto x = dtk::Random(2, "x").normal({1, 1, 8, 8}, at::kFloat);
        for (const std::int64_t t : {0, 1, 20, 49}) {
            const auto p = context.network->forward(x, at::full({1}, static_cast<double>(t), at::kDouble), {});
            const double beta = l.added_variance(t, t - 1);
            CHECK(p.type == dtk::PredictionType::mean);
            CHECK(distance(p.value, std::sqrt(1 - beta) * x) < 1e-6);
            CHECK(distance(p.variance.value() / beta, at::ones_like(x)) < 1e-6);
        }
    }
}

TEST_CASE("on unit normal pixels the network is at its start the null model, and the bound says so") {
    at::NoGradGuard no_grad;
    const auto context = snow(50, "maps = 4\nlayers = 1");
    const auto bound = [&](const std::string& per) {
        return make<dtk::Metric>("bound", "examples = 200\nper = \"" + per + "\"", context)
            ->evaluate({.samples = {},
                        .data = *context.data,
                        .process = *context.chain,
                        .denoise = support::denoiser(context)},
                       dtk::Random(1, "metric"));
    };
    const auto whole = bound("example"), pixel = bound("element");
    const double null = -0.5 * std::log2(2 * std::numbers::pi * std::numbers::e);
    INFO(pixel.value << " ± " << pixel.standard_error << ", null model " << null);
    CHECK(std::abs(pixel.value - null) < 4 * pixel.standard_error);
    CHECK(pixel.standard_error < 0.02);
    CHECK(whole.value == Approx(64 * pixel.value));
    CHECK(whole.standard_error == Approx(64 * pixel.standard_error));
    CHECK(whole.parts[1].second == Approx(64 * pixel.parts[1].second));
    CHECK(says(pixel.note, "bits per element, K − L_null = "));
}

TEST_CASE("the time is seen by the read-out alone, through bumps that add up to 1") {
    at::NoGradGuard no_grad;
    const auto context = snow(41, "maps = 4\nlayers = 1\nbasis = 3");
    disturb(*context.network);
    const auto& l = context.chain->levels();
    const auto x = dtk::Random(2, "x").normal({1, 1, 8, 8}, at::kDouble);
    // f_μ and f_Σ of a step, from what is predicted
    const auto f = [&](std::int64_t t) {
        const double beta = l.added_variance(t, t - 1);
        const auto p = context.network->forward(x, at::full({1}, static_cast<double>(t), at::kDouble), {});
        return at::stack({(p.value - std::sqrt(1 - beta) * x) / std::sqrt(beta),
                          (p.variance.value().logit() - std::log(beta / (1 - beta))) * std::sqrt(41)});
    };
    // Centres −1, 0, 1, half a unit wide.
    const auto g = [](std::int64_t t) {
        const double u = static_cast<double>(t) / 20 - 1;
        const auto w = (-2 * (at::tensor({-1.0, 0.0, 1.0}, at::kDouble) - u).square()).exp();
        return w / w.sum();
    };
    const std::vector<std::int64_t> known{1, 17, 40};
    std::vector<Tensor> bumps, values;
    for (const auto t : known) bumps.push_back(g(t)), values.push_back(f(t).flatten());
    const auto y = at::linalg_solve(at::stack(bumps), at::stack(values));
    for (const std::int64_t t : {5, 20, 30, 39})
        CHECK(distance(f(t).flatten(), g(t).matmul(y)) < 1e-4 * f(t).abs().max().item<double>());
    CHECK(distance(f(5), f(30)) > 0.01);
}

TEST_CASE("a pixel sees its block of each scale by its mean, and the whole image through the dense part") {
    at::NoGradGuard no_grad;
    const auto x = dtk::Random(2, "x").normal({1, 1, 8, 8}, at::kFloat);
    const auto change_of = [&](const support::BuildContext& context, const Tensor& change) {
        const auto t = at::full({1}, 20.0, at::kDouble);
        const auto value = [&](const Tensor& xt) {
            return context.network->forward(xt, t, {}).value[0][0][1][2].item<double>();
        };
        return std::abs(value(x + change) - value(x));
    };
    const auto change = [](std::initializer_list<std::pair<Pixel, double>> pixels) {
        auto all = at::zeros({1, 1, 8, 8}, at::kFloat);
        for (const auto& [p, by] : pixels) all[0][0][p.row][p.column] = by;
        return all;
    };
    // The pixel (1, 2) lies in the blocks of rows 0 … 1 and columns 2 … 3, and of rows 0 … 3 and columns 0 … 3.
    const auto context = snow(41, "layers = 1\nkernel = 1\npixel_layers = 0");
    disturb(*context.network);
    CHECK(change_of(context, change({{{0, 3}, 1}})) > 1e-4);
    CHECK(change_of(context, change({{{0, 3}, 1}, {{1, 3}, -1}})) < 1e-6);
    CHECK(change_of(context, change({{{3, 0}, 1}})) > 1e-4);
    CHECK(change_of(context, change({{{3, 0}, 1}, {{0, 1}, -1}})) < 1e-6);
    CHECK(change_of(context, change({{{4, 2}, 1}, {{1, 4}, 1}, {{7, 7}, 1}})) == 0);

    const auto dense = snow(41, "layers = 1\nkernel = 1\npixel_layers = 0\ndense = 16\ndense_layers = 1");
    disturb(*dense.network);
    CHECK(change_of(dense, change({{{7, 7}, 1}})) > 1e-5);
}

TEST_CASE("with its dense part a gradient of the bound reaches every parameter of the network of 2015") {
    const auto context = snow(41, "dense = 8");
    disturb(*context.network);
    const auto batch = context.data->examples(at::arange(16));
    support::loss_of(*make<dtk::Loss>("elbo", "", context), support::denoiser(context), batch, dtk::Random(1, "loss"),
                     "stratified")
        .mean()
        .backward();
    for (const auto& named : context.network->named_tensors()) {
        INFO(named.name);
        REQUIRE(named.tensor->grad().defined());
        CHECK(at::isfinite(named.tensor->grad()).all().item<bool>());
        CHECK(named.tensor->grad().abs().max().item<float>() > 0);
    }
    CHECK(says(complaint_of([&] { make<dtk::Model>("multiscale_conv", "kernel = 4", context); }),
               "`kernel` of model `multiscale_conv` = 4 is even"));
    CHECK(says(complaint_of([&] { make<dtk::Model>("multiscale_conv", "scales = 5", context); }),
               "images of 8×8 pixels cannot be halved 4 times"));
}
