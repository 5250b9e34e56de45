#include <cmath>

#include "catch.hpp"
#include "support.hpp"

using at::Tensor;

namespace {

using DatasetPointer = std::shared_ptr<dtk::Dataset>;

DatasetPointer mixture(const std::string& preset = "gmm2d", std::uint64_t seed = 1) {
    support::View view;
    view.seed = seed;
    return support::make<dtk::Dataset>("gaussian_mixture", "preset = \"" + preset + "\"", view);
}

std::shared_ptr<dtk::Metric> metric(const std::string& name, const DatasetPointer& data) {
    support::View view;
    view.data = data;
    return support::make<dtk::Metric>(name, "", view);
}

/// A process for metrics that do not ask it anything.
const dtk::Process& chain() {
    static const auto process = support::make<dtk::Process>("gaussian", "decoder = \"gaussian\"");
    return *process;
}

dtk::Measurement measured(const std::string& name, const Tensor& samples, const DatasetPointer& data) {
    return metric(name, data)->measure({samples, *data, chain(), {}}, dtk::Random(1, "metric"));
}

/// What `work` threw, as "message | help"; empty if it went well.
std::string complaint_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const dtk::Error& error) {
        return std::string(error.what()) + " | " + error.help();
    }
    return {};
}

bool says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

/// Examples that no metric compares with: those of training.
Tensor truth(const dtk::Dataset& data, std::int64_t n, std::int64_t first = 0) {
    return data.examples(at::arange(first, first + n)).x;
}

const std::vector<std::string> all_metrics{"nll", "sliced_wasserstein", "mmd", "mode_coverage"};

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
            INFO(preset << ' ' << name << ": " << m.value << ", expected " << m.expected.value() << " ± " << m.expected_sd
                        << ", limit " << m.limit.value_or(0));
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
    CHECK_FALSE(measured("nll", x + 0.2 * dtk::Random(2, "blur").normal(x.sizes(), x.options()), data).passes().value());
    const auto modes = data->density()->posterior_mean(x, at::full({5000}, 1.0), at::full({5000}, 0.3));
    CHECK_FALSE(measured("nll", modes, data).passes().value());
}

TEST_CASE("samples that are not numbers pass no metric") {
    const auto data = mixture();
    auto x = truth(*data, 1000);
    x[17][1] = std::nan("");
    for (const auto& name : all_metrics) {
        INFO(name);
        CHECK_FALSE(measured(name, x, data).passes().value());
    }
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
    int mmd = 0, modes = 0;
    for (int i = 0; i < 1000; ++i) {
        const auto x = truth(*data, 60, 60 * i);
        // Other true samples each time, or every draw would meet the same ones.
        mmd += !measured("mmd", x, mixture("gmm2d", 100 + i)).passes().value();
        modes += !measured("mode_coverage", x, data).passes().value();
    }
    INFO(mmd << " and " << modes << " of 1000");
    CHECK(mmd <= 6);
    CHECK(modes <= 6);
}

TEST_CASE("the distances also measure pictures") {
    const auto data = std::make_shared<Pictures>(400);
    for (const auto* name : {"sliced_wasserstein", "mmd"}) {
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
}

TEST_CASE("a metric refuses data that lack what it needs when it is built") {
    const auto pictures = std::make_shared<Pictures>(400), one = std::make_shared<Pictures>(1);
    const auto refusal = [](const std::string& name, const DatasetPointer& data) {
        return complaint_of([&] { metric(name, data); });
    };
    CHECK(says(refusal("nll", pictures), "nll needs data whose density is known | "));
    CHECK(says(refusal("mode_coverage", pictures), "mode_coverage needs data whose density is known | "));
    CHECK(says(refusal("mode_coverage", support::make<dtk::Dataset>("swiss_roll", "", support::View())),
               "two modes or more"));
    CHECK(says(refusal("sliced_wasserstein", one), "two test examples or more"));
    CHECK(says(refusal("mmd", one), "ten test examples or more"));
}

TEST_CASE("a metric gives the same number twice") {
    const auto data = mixture();
    for (const auto& name : all_metrics) {
        const auto a = measured(name, truth(*data, 500), data), b = measured(name, truth(*data, 500), data);
        CHECK(a.value == b.value);
        CHECK(a.expected_sd == b.expected_sd);
    }
}
