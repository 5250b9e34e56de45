// Metrics that hold samples against sets of true examples and of training examples: kernels, coverage, diversity,
// classifiers, copies.
#include <cmath>
#include <numbers>

#include <dtk/features.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "made_data.hpp"
#include "support.hpp"

using at::Tensor;

namespace {

Data normal_data(std::int64_t d, std::int64_t n = 0) {
    return std::make_shared<Made>(
        [d](const Tensor& index, const std::string& stream) { return normal(index, stream, {d}); }, n);
}

Tensor column(const std::vector<double>& x) { return at::tensor(x, at::kDouble).unsqueeze(1); }

}  // namespace

TEST_CASE("kid is the mean of the cubic kernel over pairs, without bias") {
    const auto data = normal_data(3);
    const MadeContext context(data);
    const auto x = 1.5 * normal(at::arange(20), "samples", {3}),
               y = dtk::true_set(*data, 0, 20, dtk::Random(1, "metric"));
    const auto kernel = [](const Tensor& a, const Tensor& b) { return std::pow(a.dot(b).item<double>() / 3 + 1, 3); };
    double within = 0, between = 0;
    for (std::int64_t i = 0; i < 20; ++i)
        for (std::int64_t j = 0; j < 20; ++j) {
            if (i != j) within += kernel(x[i], x[j]) + kernel(y[i], y[j]);
            between += kernel(x[i], y[j]);
        }
    CHECK(measured("kid", context, x).value == Approx(within / 380 - 2 * between / 400).epsilon(1e-10));

    // Sets of ten true examples in sixteen features: 0 in the mean, where the Fréchet distance is far from it.
    const auto many = normal_data(16);
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < 200; ++i) {
        const auto m =
            measured("kid", MadeContext(many), many->examples(at::arange(10 * i, 10 * i + 10)).x, "repeats = 2");
        sum += m.value, squares += m.value * m.value;
    }
    const double mean = sum / 200;
    INFO(mean);
    CHECK(std::abs(mean) < 4 * std::sqrt((squares / 200 - mean * mean) / 200) + 4 * std::sqrt(squares / 200 / 200));
    CHECK(measured("frechet", MadeContext(many), many->examples(at::arange(10)).x).value > 5);
}

TEST_CASE("the Fréchet distance is extrapolated to that of endless sets") {
    // Shrunk to 0.9 in 32 features: 32·0.1² = 0.32, which 400 samples alone do not show.
    const auto data = normal_data(32);
    const MadeContext context(data);
    const auto x = data->examples(at::arange(400)).x;
    const auto shrunk = measured("frechet_infinity", context, 0.9 * x), same = measured("frechet_infinity", context, x);
    INFO(shrunk.value << ", " << same.value << " ± " << same.expected_sd << ", " << same.standard_error);
    CHECK(measured("frechet", context, x).value > 1);
    CHECK(std::abs(same.value) < 4 * same.expected_sd + 0.1);
    CHECK(shrunk.value == Approx(0.32).margin(4 * same.expected_sd + 0.1));
    CHECK(shrunk.value > same.value);
    CHECK(same.standard_error > 0);
    CHECK(same.standard_error < 10 * same.expected_sd);
}

TEST_CASE("density and coverage of a few points by hand, and of true sets as the lemma says") {
    // Balls around 0, 1, 10, 12 reach 1, 1, 2, 2 far: 0.5 is in two, 11 in two, 3 and 20 in none.
    const auto m = measured("density_coverage", MadeContext(points({0, 1, 10, 12})), column({0.5, 3, 11, 20}), "k = 1");
    CHECK(part(m, "density") == 1);
    CHECK(m.value == 1);
    const auto one =
        measured("density_coverage", MadeContext(points({0, 1, 10, 12})), column({0.5, 0.5, 0.6, 0.7}), "k = 1");
    CHECK(part(one, "density") == 2);
    CHECK(one.value == 0.5);

    // Whatever the law: here one with atoms far apart, and a normal one.
    for (const auto& data : {normal_data(2), std::make_shared<Made>([](const Tensor&index, const std::string&stream) {
                                 return normal(index, stream, {2}) + 100 * (index % 3).unsqueeze(1);
                             })}) {
        double sum = 0;
        const MadeContext context(data);
        for (std::int64_t i = 0; i < 20; ++i) {
            const auto x = data->examples(at::arange(300 * i, 300 * i + 300)).x;
            const auto found = measured("density_coverage", context, x, "repeats = 2");
            CHECK(*found.expected == Approx(1 - 299. / 599 * 298 / 598 * 297 / 597 * 296 / 596 * 295 / 595));
            sum += found.value / 20;
        }
        CHECK(sum == Approx(1 - std::pow(0.5, 5)).margin(0.01));
    }
    // A third of the data missed is a third not covered, and all of the samples lie well.
    const auto data = std::make_shared<Made>([](const Tensor& index, const std::string& stream) {
        return normal(index, stream, {2}) + 100 * (index % 3).unsqueeze(1);
    });
    const auto all = at::arange(900);
    const auto two = data->examples(all.masked_select(all % 3 > 0)).x;
    const auto missed = measured("density_coverage", MadeContext(data), two);
    CHECK(missed.value == Approx(2. / 3 * (1 - std::pow(0.4, 5))).margin(0.03));
    CHECK(part(missed, "density") == Approx(1).margin(0.1));
    CHECK_FALSE(missed.passes().value());
}

TEST_CASE("the Vendi score counts different samples") {
    const MadeContext context(normal_data(1));
    const auto score = [&](const Tensor& x) { return measured("vendi", context, x).value; };
    CHECK(score(at::zeros({50, 1}, at::kDouble)) == Approx(1).epsilon(1e-9));
    CHECK(score(column({0, 1000, 2000}).repeat({7, 1})) == Approx(3).epsilon(1e-9));
    CHECK(score(1000 * at::arange(40, at::kDouble).unsqueeze(1)) == Approx(40).epsilon(1e-9));
    // Three quarters and one quarter: exp of their entropy.
    CHECK(score(column({0, 0, 0, 1000})) ==
          Approx(std::exp(0.75 * std::log(4 / 3.) + 0.25 * std::log(4.))).epsilon(1e-9));
    // Too few kinds, and too many.
    const auto x = context.data->examples(at::arange(500)).x;
    CHECK(measured("vendi", context, x).passes().value());
    CHECK_FALSE(measured("vendi", context, 0.5 * x).passes().value());
    CHECK_FALSE(measured("vendi", context, 2 * x).passes().value());
}

TEST_CASE("a classifier is right as often as the best one can be") {
    // N(δ, 1) and N(0, 1) are told apart by the middle between them: Φ(δ/2).
    const MadeContext context(normal_data(1));
    const auto x = context.data->examples(at::arange(1500)).x;
    for (const double shift : {0.0, 1.0, 3.0, 50.0}) {
        const auto m = measured("c2st", context, x + shift, "steps = 60\nrepeats = 2\nmost = 600");
        INFO(shift << ": " << m.value << " ± " << m.expected_sd);
        CHECK(m.value == Approx(0.5 * std::erfc(-shift / 2 / std::numbers::sqrt2)).margin(0.06));
        CHECK(m.passes().value() == (shift == 0));
    }
    // Of the same mean and another width, which no line tells apart.
    CHECK_FALSE(measured("c2st", context, 3 * x, "steps = 100\nrepeats = 2\nmost = 600").passes().value());
}

TEST_CASE("copies are told from new draws, and those from samples that lie away") {
    const auto data = normal_data(2, 600);
    const MadeContext context(data);
    const auto training = data->examples(at::arange(600)).x;
    const auto fresh = [&](std::int64_t i) { return data->test_examples(at::arange(1000 * i, 1000 * i + 400)).x; };
    // All of m samples before all of n others: Z = −√(3mn/(m+n+1)), about −9.4 for the 60 of a cell.
    CHECK(measured("copying", context, training).value < -8);
    CHECK(measured("copying", context, training.slice(0, 0, 400) + 0.001 * fresh(3)).value < -8);
    CHECK(measured("copying", context, 3 * fresh(3)).value > 4);
    // Only half are copies; those alone of one cell are seen in it.
    CHECK_FALSE(measured("copying", context, at::cat({training.slice(0, 0, 300), fresh(3)})).passes().value());

    // The law of true samples: mean 0 and the variance that is said.
    double sum = 0, squares = 0, said = 0;
    constexpr int sets = 60;
    for (int i = 0; i < sets; ++i) {
        const auto m = measured("copying", context, fresh(10 + i), "cells = 4");
        sum += m.value, squares += m.value * m.value, said += m.expected_sd * m.expected_sd / sets;
    }
    // The held-out examples are the same each time, which adds to the mean what they are off, of that variance too.
    INFO(sum / sets << ", " << squares / sets << ", " << said);
    CHECK(std::abs(sum / sets) < 4 * std::sqrt(said));
    const double scatter = squares / sets - std::pow(sum / sets, 2);
    CHECK(scatter > 0.3 * said);
    CHECK(scatter < 1.7 * said);
    CHECK(says(complaint_of([] { support::make<dtk::Metric>("copying", "", MadeContext(normal_data(2))); }),
               "data that end"));
}

TEST_CASE("what is nearer to training examples than to new ones is said to be memorised") {
    const auto data = normal_data(4, 300);
    const MadeContext context(data);
    const auto training = data->examples(at::arange(150)).x, fresh = data->test_examples(at::arange(5000, 5150)).x;
    for (const std::string name : {"frechet", "frechet_infinity", "kid", "density_coverage", "one_nn"}) {
        const auto copied = measured(name, context, training), made = measured(name, context, fresh);
        INFO(name << ": " << part(copied, "memorised") << ", " << part(made, "memorised") << " ± " << made.expected_sd);
        CHECK(std::abs(part(made, "memorised")) < 6 * made.expected_sd);
        CHECK(part(copied, "memorised") > 0);
    }
    CHECK(part(measured("density_coverage", context, training), "to training examples") >
          part(measured("density_coverage", context, fresh), "to training examples"));
    for (const auto& [name, value] : measured("kid", MadeContext(normal_data(4)), fresh).parts)
        CHECK(name != "memorised");
}
