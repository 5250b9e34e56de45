#include <cmath>

#include "catch.hpp"
#include "complaint.hpp"
#include "support.hpp"

using at::Tensor;

namespace {

using DatasetPointer = std::shared_ptr<dtk::Dataset>;

DatasetPointer mixture(const std::string& preset = "gmm2d", std::uint64_t seed = 1) {
    support::BuildContext context;
    context.seed = seed;
    return support::make<dtk::Dataset>("gaussian_mixture", "preset = \"" + preset + "\"", context);
}

std::shared_ptr<dtk::Metric> metric(const std::string& name, const DatasetPointer& data,
                                    const std::string& fields = {}) {
    support::BuildContext context;
    context.data = data;
    return support::make<dtk::Metric>(name, fields, context);
}

/// A process for metrics that do not ask it anything.
const std::shared_ptr<dtk::Process>& chain() {
    static const auto process = [] {
        support::BuildContext context;
        context.data = support::make<dtk::Dataset>("moons", "", context);
        static const auto kept = context.data;
        return support::make<dtk::Process>("gaussian", "decoder = \"gaussian\"", context);
    }();
    return process;
}

dtk::MetricResult measured(const std::string& name, const Tensor& samples, const DatasetPointer& data,
                           const std::string& fields = {}) {
    return metric(name, data, fields)
        ->evaluate({samples, *data, *chain(), support::nobody(chain())}, dtk::Random(1, "metric"));
}

/// Examples that no metric compares with: those of training.
Tensor truth(const dtk::Dataset& data, std::int64_t n, std::int64_t first = 0) {
    return data.examples(at::arange(first, first + n)).x;
}

const std::vector<std::string> all_metrics{"nll",           "sliced_wasserstein", "mmd",
                                           "mode_coverage", "energy_distance",    "kl"};

/// A set of few examples, their shape that of a picture, and nothing known of their density.
struct Pictures final : dtk::Dataset {
    std::int64_t count;
    explicit Pictures(std::int64_t n) : count(n) {}
    std::vector<std::int64_t> shape() const override { return {1, 4, 4}; }
    std::int64_t size() const override { return count; }
    dtk::Batch examples(const Tensor& index) const override { return drawn("train", index); }
    dtk::Batch test_examples(const Tensor& index) const override { return drawn("test", index); }
    dtk::Batch drawn(std::string_view stream, const Tensor& index) const {
        if (index.max().item<std::int64_t>() >= count) throw dtk::Error("there are not so many");
        return {dtk::Random(5, stream).samples(index).uniform({index.numel(), 1, 4, 4}, at::kFloat), Tensor()};
    }
};

}  // namespace

TEST_CASE("true samples pass every metric") {
    for (const auto* preset : {"gmm2d", "ring8", "grid25"})
        for (const auto& name : all_metrics) {
            const auto data = mixture(preset);
            const auto m = measured(name, truth(*data, 2000), data);
            INFO(preset << ' ' << name << ": " << m.value << ", expected " << m.expected.value() << " ± "
                        << m.expected_sd << ", limit " << m.limit.value_or(0));
            CHECK(m.passes().value());
            CHECK_FALSE(m.note.empty());
        }
}

TEST_CASE("samples that miss a mode fail every metric but the likelihood") {
    const auto data = mixture("ring8");
    const auto x = truth(*data, 6000);
    const auto kept = x.index_select(0, (data->density()->nearest_mode(x) != 3).nonzero().flatten()).slice(0, 0, 5000);
    for (const auto& name : all_metrics) {
        INFO(name);
        CHECK(measured(name, kept, data).passes().value() == (name == "nll"));
    }
}

TEST_CASE("samples that are a little too wide, or too narrow, fail the likelihood") {
    const auto data = mixture();
    const auto x = truth(*data, 5000);
    CHECK_FALSE(
        measured("nll", x + 0.2 * dtk::Random(2, "blur").normal(x.sizes(), x.options()), data).passes().value());
    const auto modes = data->density()->posterior_mean(x, at::full({5000}, 1.0), at::full({5000}, 0.3));
    CHECK_FALSE(measured("nll", modes, data).passes().value());
}

TEST_CASE("what a metric expects of true samples is the published floor") {
    for (const auto* preset : {"gmm2d", "ring8", "grid25"}) {
        INFO(preset);
        const auto data = mixture(preset);
        const auto& at_5000 = support::reference()["metric_noise_floor"][preset]["n=5000"];
        const auto x = truth(*data, 5000);

        const auto nll = measured("nll", x, data);
        CHECK(nll.expected_sd == Approx(at_5000["NLL_sd_formula"].get<double>()).epsilon(1e-6));

        const auto mmd = measured("mmd", x, data);
        CHECK(mmd.expected.value() == 0);
        CHECK(mmd.expected_sd == Approx(at_5000["MMD2_unbiased_sd_formula"].get<double>()).epsilon(0.05));

        const auto energy = measured("energy_distance", x, data);
        CHECK(energy.expected.value() == Approx(at_5000["energy_formula_mean"].get<double>()).epsilon(0.03));
        CHECK(energy.expected_sd / energy.expected.value() == Approx(0.65).margin(0.1));

        const auto modes = measured("mode_coverage", x, data);
        CHECK(modes.expected.value() == at_5000["mode_chi2_dof"].get<double>());

        const auto sw = measured("sliced_wasserstein", x, data);
        CHECK(sw.expected.value() == Approx(at_5000["SW1_formula_mean"].get<double>()).epsilon(0.2));
        CHECK(sw.expected_sd / sw.expected.value() == Approx(0.3).margin(0.12));
    }
}

TEST_CASE("mode coverage is limited by the 99.9 % point of the chi-square law") {
    // Abramowitz & Stegun, table 26.8.
    const std::vector<std::pair<std::string, double>> published{
        {"gmm2d", 13.816}, {"ring8", 24.322}, {"grid25", 51.179}};
    for (const auto& [preset, limit] : published) {
        const auto data = mixture(preset);
        CHECK(*measured("mode_coverage", truth(*data, 2000), data).limit == Approx(limit).epsilon(1e-4));
    }
}

TEST_CASE("modes too rare to count are counted together") {
    const auto data = mixture("grid25");
    CHECK(measured("mode_coverage", truth(*data, 100), data).expected.value() < 24);
    CHECK(says(complaint_of([&] { measured("mode_coverage", truth(*data, 5), data); }), "5 samples are too few"));
}

TEST_CASE("true samples fail a one-sided metric about once in a thousand times") {
    const auto data = mixture();
    int mmd = 0, modes = 0, energy = 0;
    for (int i = 0; i < 1000; ++i) {
        const auto x = truth(*data, 60, 60 * i);
        // Other true samples each time, or every draw would meet the same ones.
        mmd += !measured("mmd", x, mixture("gmm2d", 100 + i)).passes().value();
        energy += !measured("energy_distance", x, mixture("gmm2d", 100 + i)).passes().value();
        modes += !measured("mode_coverage", x, data).passes().value();
    }
    INFO(mmd << ", " << modes << " and " << energy << " of 1000");
    CHECK(mmd <= 6);
    CHECK(modes <= 6);
    CHECK(energy <= 6);
}

TEST_CASE("the distances also measure pictures") {
    const auto data = std::make_shared<Pictures>(400);
    for (const auto* name : {"sliced_wasserstein", "mmd", "energy_distance"}) {
        INFO(name);
        CHECK(measured(name, data->examples(at::arange(300)).x, data).passes().value());
        CHECK_FALSE(measured(name, data->examples(at::arange(300)).x + 0.2, data).passes().value());
        CHECK_FALSE(measured(name, at::zeros({300, 1, 4, 4}), data).passes().value());
    }
}

TEST_CASE("the distances see samples that keep every axis but not their dependence") {
    const auto data = mixture();
    auto x = truth(*data, 5000).clone();
    x.select(1, 1).copy_(x.select(1, 1).roll(1));
    CHECK_FALSE(measured("sliced_wasserstein", x, data).passes().value());
    CHECK_FALSE(measured("mmd", x, data).passes().value());
    CHECK_FALSE(measured("energy_distance", x, data).passes().value());
    CHECK_FALSE(measured("kl", x, data).passes().value());
}

namespace {
/// F of gmm1d.
double cdf(double x) {
    constexpr double w[] = {0.3, 0.5, 0.2}, mu[] = {-2, 0.5, 3}, var[] = {0.25, 0.09, 0.5};
    double sum = 0;
    for (int k = 0; k < 3; ++k) sum += w[k] / 2 * std::erfc((mu[k] - x) / std::sqrt(2 * var[k]));
    return sum;
}

/// F⁻¹((i + ½)/n), i = 0 … n−1: [n, 1]
Tensor quantiles_of_gmm1d(std::int64_t n) {
    auto x = at::empty({n, 1}, at::kDouble);
    for (std::int64_t i = 0; i < n; ++i) {
        double low = -20, high = 20;
        for (int k = 0; k < 80; ++k) {
            const double middle = (low + high) / 2;
            (cdf(middle) < (static_cast<double>(i) + 0.5) / static_cast<double>(n) ? low : high) = middle;
        }
        x[i] = low;
    }
    return x;
}

DatasetPointer gaussian(const std::string& means, const std::string& covariances) {
    return support::make<dtk::Dataset>("gaussian_mixture",
                                       "preset = \"none\"\nmeans = " + means + "\ncovariances = " + covariances,
                                       support::BuildContext());
}

struct MeanAndSd {
    double mean, sd;
};
MeanAndSd over(const std::vector<double>& values) {
    const auto x = at::tensor(values, at::kDouble);
    return {x.mean().item<double>(), x.std().item<double>()};
}
}  // namespace

TEST_CASE("wasserstein is the distance from the exact quantiles, in any order") {
    const auto data = mixture("gmm1d");
    const std::int64_t n = 4000;
    const auto exact = quantiles_of_gmm1d(n);
    const auto shuffled = exact.index_select(0, (at::arange(n) * 1237).remainder(n));
    const auto off = 0.1 * at::sin(at::arange(n, at::kDouble)).unsqueeze(1).abs();
    for (const auto* p : {"p = 1", "p = 2"}) {
        INFO(p);
        CHECK(measured("wasserstein", shuffled, data, p).value < 1e-9);
        CHECK(measured("wasserstein", shuffled + 0.3, data, p).value == Approx(0.3).margin(1e-9));
    }
    // The quantiles of an affine image of N(0, 1).
    const auto normal = gaussian("[[0.7]]", "[[0.25]]");
    const auto z = at::special_ndtri((at::arange(n, at::kDouble) + 0.5) / static_cast<double>(n)).unsqueeze(1);
    CHECK(measured("wasserstein", 0.7 + 0.5 * z, normal).value < 1e-9);
    CHECK(measured("wasserstein", 0.7 + 0.8 * z, normal).value ==
          Approx(0.3 * z.abs().mean().item<double>()).margin(1e-9));
    CHECK(measured("wasserstein", 0.7 + 0.8 * z, normal, "p = 2").value ==
          Approx(0.3 * z.square().mean().sqrt().item<double>()).margin(1e-9));
    // Modes that share nothing, one of them narrow, one of them rare.
    const auto apart = support::make<dtk::Dataset>(
        "gaussian_mixture", "preset = \"none\"\nmeans = [[0], [50]]\nstd = [1, 0.001]\nweights = [0.75, 0.25]",
        support::BuildContext());
    const auto share = (at::arange(n, at::kDouble) + 0.5) / static_cast<double>(n);
    const auto left = at::special_ndtri((share / 0.75).clamp_max(0.99999)),
               right = 50 + 0.001 * at::special_ndtri(((share - 0.75) / 0.25).clamp_min(1e-5));
    CHECK(measured("wasserstein", at::where(share < 0.75, left, right).unsqueeze(1), apart).value < 1e-8);
}

TEST_CASE("true samples are as far from the law as the Brownian bridge says") {
    const auto data = mixture("gmm1d");
    const std::int64_t n = 3000;
    double integral = 0;  // of √(F(1 − F))
    for (double x = -8; x < 10; x += 1e-3) integral += 1e-3 * std::sqrt(cdf(x) * (1 - cdf(x)));
    const double mean = std::sqrt(2 / (3.14159265358979 * static_cast<double>(n))) * integral;
    const auto m = measured("wasserstein", truth(*data, n), data, "repeats = 200");
    INFO(m.expected.value() << " ± " << m.expected_sd << ", " << mean);
    CHECK(std::abs(m.expected.value() - mean) < 4 * m.expected_sd / std::sqrt(200));
    CHECK(m.passes().value());
    CHECK_FALSE(measured("wasserstein", truth(*data, n) + 0.15, data).passes().value());
    auto x = truth(*data, 1000);
    x[17][0] = std::nan("");
    CHECK_FALSE(measured("wasserstein", x, data).passes().value());
}

TEST_CASE("the energy distance of true samples has the mean and the deviation that are expected") {
    for (const auto* preset : {"gmm2d", "ring8"}) {
        std::vector<double> values;
        dtk::MetricResult last;
        for (int i = 0; i < 400; ++i) {
            last = measured("energy_distance", truth(*mixture(preset), 100, 100 * i), mixture(preset, 100 + i));
            values.push_back(last.value);
        }
        const auto [mean, sd] = over(values);
        const auto expected = measured("energy_distance", truth(*mixture(preset), 2000), mixture(preset));
        INFO(preset << ": " << mean << " ± " << sd << ", expected " << 20 * expected.expected.value() << " ± "
                    << 20 * expected.expected_sd);
        CHECK(std::abs(mean - 20 * expected.expected.value()) < 4 * sd / 20 + 0.02 * mean);
        CHECK(sd == Approx(20 * expected.expected_sd).epsilon(0.25));
    }
    // Of two single points, by hand.
    const auto data = mixture();
    const auto y = data->test_examples(at::arange(4)).x.to(at::kDouble), x = y + at::tensor({3.0, 4.0}, at::kDouble);
    const auto between = [](const Tensor& a, const Tensor& b) { return at::cdist(a, b).mean().item<double>(); };
    CHECK(measured("energy_distance", x, data).value ==
          Approx(2 * between(x, y) - between(x, x) - between(y, y)).epsilon(1e-6));
}

TEST_CASE("kl is the divergence between Gaussians, and of true samples nothing") {
    // KL(N(μ, S) ‖ N(0, C)) = ½ (tr C⁻¹S + μᵀC⁻¹μ − d − log |S|/|C|)
    struct Case {
        DatasetPointer samples, data;
        double divergence;
    };
    const std::vector<Case> cases{
        {gaussian("[[0]]", "[[1]]"), gaussian("[[0]]", "[[1]]"), 0},
        {gaussian("[[0.5]]", "[[1.44]]"), gaussian("[[0]]", "[[1]]"), 0.5 * (1.44 + 0.25 - 1 - std::log(1.44))},
        {gaussian("[[0, 0]]", "[[1, 0.5, 0.5, 1]]"), gaussian("[[0, 0]]", "[[1, 0, 0, 1]]"), -0.5 * std::log(0.75)},
        {gaussian("[[1, 0]]", "[[0.5, 0, 0, 0.5]]"), gaussian("[[0, 0]]", "[[1, 0, 0, 1]]"),
         0.5 * (1 + 1 - 2 - std::log(0.25))},
        {gaussian("[[0, 0, 0]]", "[[1, 0, 0, 0, 1, 0, 0, 0, 1]]"),
         gaussian("[[0, 0, 0]]", "[[1, 0, 0, 0, 1, 0, 0, 0, 1]]"), 0},
    };
    for (const auto& [samples, data, divergence] : cases) {
        std::vector<double> values;
        for (int i = 0; i < 24; ++i)
            values.push_back(measured("kl", truth(*samples, 2000, 2000 * i), data, "repeats = 4").value);
        const auto [mean, sd] = over(values);
        INFO(divergence << ": " << mean << " ± " << sd);
        // Of what is smooth the estimator's bias is of the order (k/n)^(2/d).
        const auto d = static_cast<double>(data->shape()[0]);
        CHECK(std::abs(mean - divergence) < 4 * sd / std::sqrt(24) + 2 * std::pow(5.0 / 2000, 2 / d));
        const auto m = measured("kl", truth(*samples, 2000), data);
        CHECK(m.passes().value() == (divergence == 0));
        CHECK(m.expected_sd == Approx(sd).epsilon(0.6));
    }
}

TEST_CASE("kl finds the nearest neighbours that all pairs give") {
    const auto data = mixture();
    const auto x = truth(*data, 300).to(at::kDouble);
    const auto nearest =
        std::get<0>(at::cdist(x, x, 2, 2).topk(4, 1, /*largest=*/false)).select(1, 3);  // the row itself is the first
    const double entropy = (std::log(3.14159265358979) + 2 * nearest.log().mean().item<double>());
    // ψ(300) − ψ(3)
    double harmonic = 0;
    for (int i = 3; i < 300; ++i) harmonic += 1.0 / i;
    const double expected = -(harmonic + entropy) - data->density()->log_prob(x).mean().item<double>();
    CHECK(measured("kl", x, data, "k = 3").value == Approx(expected).margin(1e-9));
}

TEST_CASE("kl is without end where samples coincide, and knows edges") {
    const auto data = mixture();
    CHECK(std::isinf(measured("kl", at::cat({truth(*data, 1000), at::zeros({6, 2})}), data).value));
    CHECK_FALSE(std::isinf(measured("kl", at::cat({truth(*data, 1000), at::zeros({5, 2})}), data).value));
    const auto board = support::make<dtk::Dataset>("checkerboard", "noise = 0.01", support::BuildContext());
    CHECK(measured("kl", truth(*board, 1000), board).passes().value());
    CHECK(measured("kl", truth(*board, 1000) + 0.5, board).value > 1);
}

TEST_CASE("a metric refuses data that lack what it needs when it is built") {
    const auto pictures = std::make_shared<Pictures>(400), one = std::make_shared<Pictures>(1);
    const auto refusal = [](const std::string& name, const DatasetPointer& data) {
        return complaint_of([&] { metric(name, data); });
    };
    CHECK(says(refusal("nll", pictures), "nll needs data whose density is known | "));
    CHECK(says(refusal("mode_coverage", pictures), "mode_coverage needs data whose density is known | "));
    CHECK(says(refusal("mode_coverage", support::make<dtk::Dataset>("swiss_roll", "", support::BuildContext())),
               "two modes or more"));
    CHECK(says(refusal("sliced_wasserstein", one), "two test examples or more"));
    CHECK(says(refusal("mmd", one), "ten test examples or more"));
    CHECK(says(refusal("energy_distance", one), "ten test examples or more"));
    CHECK(says(refusal("kl", pictures), "kl needs data whose density is known | "));
    CHECK(says(refusal("kl", support::make<dtk::Dataset>("heartbeat", "", support::BuildContext())), "exactly alike"));
    CHECK(says(refusal("kl", support::make<dtk::Dataset>("rotation_mixture", "", support::BuildContext())),
               "not for rotations"));
    CHECK(says(refusal("wasserstein", pictures), "wasserstein needs data whose density is known | "));
    CHECK(says(refusal("wasserstein", mixture()), "data of one number"));
}
