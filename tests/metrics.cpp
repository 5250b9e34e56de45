#include <dtk/metric.hpp>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "support.hpp"

using at::Tensor;
using nlohmann::json;

namespace {

const json& floors(const std::string& preset) {
    static const json values = json::parse(std::ifstream(std::filesystem::path(DTK_TEST_DATA) / "reference_values.json"));
    return values["metric_noise_floor"][preset];
}

std::shared_ptr<dtk::Dataset> mixture(const std::string& preset = "gmm2d") {
    return make<dtk::Dataset>("gaussian_mixture", "preset = \"" + preset + "\"", TestView(1));
}

dtk::Measurement measured(const std::string& metric, const Tensor& samples, const dtk::Dataset& data, const std::string& fields = {}) {
    return make<dtk::Metric>(metric, fields, TestView(1, &data))->measure(samples, data, dtk::Random(1, "metric"));
}

/// Examples that no metric compares with: those of training.
Tensor truth(const dtk::Dataset& data, std::int64_t n, std::int64_t first = 0) { return data.examples(at::arange(first, first + n)).x; }

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
            const auto m = measured(name, truth(*data, 2000), *data);
            INFO(preset << ' ' << name << ": " << m.value << ", expected " << m.expected << " ± " << m.expected_sd << ", limit " << m.limit.value_or(0));
            CHECK(m.passes());
            CHECK_FALSE(m.note.empty());
        }
}

TEST_CASE("samples that miss a mode fail every metric but the likelihood") {
    const auto data = mixture("ring8");
    const auto x = truth(*data, 6000);
    const auto kept = x.index_select(0, (data->density()->nearest_mode(x) != 3).nonzero().flatten()).slice(0, 0, 5000);
    for (const auto& name : all_metrics) {
        INFO(name);
        CHECK(measured(name, kept, *data).passes() == (name == "nll"));
    }
}

TEST_CASE("samples that are a little too wide, or too narrow, fail the likelihood") {
    const auto data = mixture();
    const auto x = truth(*data, 5000);
    CHECK_FALSE(measured("nll", x + 0.2 * dtk::Random(2, "blur").normal(x.sizes(), x.options()), *data).passes());
    const auto modes = data->density()->posterior_mean(x, at::full({5000}, 1.0), at::full({5000}, 0.3));
    CHECK_FALSE(measured("nll", modes, *data).passes());
}

TEST_CASE("samples that are not numbers pass no metric") {
    const auto data = mixture();
    auto x = truth(*data, 1000);
    x[17][1] = std::nan("");
    for (const auto& name : all_metrics) {
        INFO(name);
        CHECK_FALSE(measured(name, x, *data).passes());
    }
}

TEST_CASE("what a metric expects of true samples is the published floor") {
    for (const auto* preset : {"gmm2d", "ring8", "grid25"}) {
        INFO(preset);
        const auto data = mixture(preset);
        const auto& published = floors(preset);
        const auto& at_5000 = published["n=5000"];
        const auto x = truth(*data, 5000);

        const auto nll = measured("nll", x, *data);
        CHECK(nll.expected_sd == Approx(at_5000["NLL_sd_formula"].get<double>()).epsilon(1e-6));

        const auto mmd = measured("mmd", x, *data);
        CHECK(mmd.expected == 0);
        CHECK(mmd.expected_sd == Approx(at_5000["MMD2_unbiased_sd_formula"].get<double>()).epsilon(0.05));

        const auto modes = measured("mode_coverage", x, *data);
        CHECK(modes.expected == at_5000["mode_chi2_dof"].get<double>());

        const auto sw = measured("sliced_wasserstein", x, *data);
        CHECK(sw.expected == Approx(at_5000["SW1_formula_mean"].get<double>()).epsilon(0.2));
        CHECK(sw.expected_sd / sw.expected == Approx(0.3).margin(0.12));
    }
}

TEST_CASE("mode coverage is limited by the 99.9 % point of the chi-square law") {
    // Abramowitz & Stegun, table 26.8.
    const std::vector<std::pair<std::string, double>> published{{"gmm2d", 13.816}, {"ring8", 24.322}, {"grid25", 51.179}};
    for (const auto& [preset, limit] : published) {
        const auto data = mixture(preset);
        CHECK(*measured("mode_coverage", truth(*data, 2000), *data).limit == Approx(limit).epsilon(1e-4));
    }
}

TEST_CASE("modes too rare to count are counted together") {
    const auto data = mixture("grid25");
    CHECK(measured("mode_coverage", truth(*data, 100), *data).expected < 24);
    CHECK(complaint_of([&] { measured("mode_coverage", truth(*data, 5), *data); }).starts_with("5 samples are too few"));
}

TEST_CASE("true samples fail a one-sided metric about once in a thousand times") {
    const auto data = mixture();
    int mmd = 0, modes = 0;
    for (int i = 0; i < 1000; ++i) {
        const auto x = truth(*data, 60, 60 * i);
        // Other true samples each time, or every draw would meet the same ones.
        const auto fresh = make<dtk::Dataset>("gaussian_mixture", "", TestView(100 + i));
        mmd += !measured("mmd", x, *fresh).passes();
        modes += !measured("mode_coverage", x, *data).passes();
    }
    INFO(mmd << " and " << modes << " of 1000");
    CHECK(mmd <= 6);
    CHECK(modes <= 6);
}

TEST_CASE("the distances also measure pictures") {
    const Pictures data(400);
    for (const auto* name : {"sliced_wasserstein", "mmd"}) {
        INFO(name);
        CHECK(measured(name, data.examples(at::arange(300)).x, data).passes());
        CHECK_FALSE(measured(name, data.examples(at::arange(300)).x + 0.2, data).passes());
        CHECK_FALSE(measured(name, at::zeros({300, 1, 4, 4}), data).passes());
    }
}

TEST_CASE("the distances see samples that keep every axis but not their dependence") {
    const auto data = mixture();
    auto x = truth(*data, 5000).clone();
    x.select(1, 1).copy_(x.select(1, 1).roll(1));
    CHECK_FALSE(measured("sliced_wasserstein", x, *data).passes());
    CHECK_FALSE(measured("mmd", x, *data).passes());
}

TEST_CASE("a metric refuses data that lack what it needs when it is built") {
    const Pictures pictures(400);
    for (const auto* name : {"nll", "mode_coverage"})
        CHECK(complaint_of([&] { make<dtk::Metric>(name, "", TestView(1, &pictures)); })
                  .starts_with(fmt::format("the metric {} needs data whose density is known | ", name)));
    const auto roll = make<dtk::Dataset>("swiss_roll", "", TestView(1));
    CHECK(complaint_of([&] { make<dtk::Metric>("mode_coverage", "", TestView(1, roll.get())); }).find("two modes or more") != std::string::npos);
    const Pictures one(1);
    CHECK_FALSE(complaint_of([&] { make<dtk::Metric>("sliced_wasserstein", "", TestView(1, &one)); }).empty());
    CHECK_FALSE(complaint_of([&] { make<dtk::Metric>("mmd", "", TestView(1, &one)); }).empty());
}

TEST_CASE("a metric gives the same number twice") {
    const auto data = mixture();
    for (const auto& name : all_metrics) {
        const auto a = measured(name, truth(*data, 500), *data), b = measured(name, truth(*data, 500), *data);
        CHECK(a.value == b.value);
        CHECK(a.expected_sd == b.expected_sd);
    }
}
