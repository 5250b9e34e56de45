// Averages of the parameters by a power of the time, and those of other widths that are made of them afterwards:
// against closed forms, the least-squares solution in fifty digits, and what such an average is while training goes on.
#include <cmath>

#include <boost/math/quadrature/gauss.hpp>
#include <boost/multiprecision/cpp_bin_float.hpp>
#include <dtk/optimizer.hpp>
#include <dtk/power_average.hpp>
#include <dtk/safetensors.hpp>

#include "catch.hpp"
#include "compared_runs.hpp"
#include "complaint.hpp"
#include "engine/snapshots.hpp"
#include "folder.hpp"
#include "run_program.hpp"
#include "small_experiment.hpp"
#include "support.hpp"

namespace {

namespace fs = std::filesystem;
using at::Tensor;
using Digits = boost::multiprecision::cpp_bin_float_50;

/// What the plugin's average of that width is after each of so many steps, of parameters that are the middle of each
/// step's time: θ(t) = t but for the steps.
std::vector<double> average_along_a_line(double width, std::int64_t steps) {
    const auto law = support::make<dtk::Average>("power", fmt::format("width = {}", width));
    std::vector<double> all;
    double average = 0;
    for (std::int64_t k = 0; k < steps; ++k) {
        const double keep = law->keep(k);
        average = keep * average + (1 - keep) * (static_cast<double>(k) + 0.5);
        all.push_back(average);
    }
    return all;
}

/// So many copies of each width, evenly over the time up to 1.
std::vector<dtk::PowerProfile> profiles(std::int64_t copies) {
    std::vector<dtk::PowerProfile> all;
    for (const double width : {0.05, 0.1})
        for (std::int64_t i = 1; i <= copies; ++i)
            all.push_back({dtk::power_of_width(width), static_cast<double>(i) / static_cast<double>(copies)});
    return all;
}

Tensor samples_in(const fs::path& run) {
    return dtk::load_safetensors(run / "samples.safetensors").tensors.at("samples");
}

Digits density(const dtk::PowerProfile& p, const Digits& t) {
    if (t > p.end) return 0;
    const Digits power = p.power;
    return (power + 1) * pow(t / Digits(p.end), power) / Digits(p.end);
}

/// ∫ p q dt by its formula, in fifty digits.
Digits product(const dtk::PowerProfile& p, const dtk::PowerProfile& q) {
    if (p.end > q.end) return product(q, p);
    const Digits a = p.power, b = q.power;
    return (a + 1) * (b + 1) / (a + b + 1) * pow(Digits(p.end) / Digits(q.end), b) / Digits(q.end);
}

/// The solution of the normal equations, by elimination in fifty digits.
std::vector<double> solution(const std::vector<dtk::PowerProfile>& of, const dtk::PowerProfile& wanted) {
    const auto n = of.size();
    std::vector<std::vector<Digits>> rows(n);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) rows[i].push_back(product(of[i], of[j]));
        rows[i].push_back(product(of[i], wanted));
    }
    for (std::size_t k = 0; k < n; ++k)
        for (std::size_t i = k + 1; i < n; ++i) {
            const Digits factor = rows[i][k] / rows[k][k];
            for (std::size_t j = k; j <= n; ++j) rows[i][j] -= factor * rows[k][j];
        }
    std::vector<Digits> x(n);
    for (std::size_t i = n; i-- > 0;) {
        x[i] = rows[i][n];
        for (std::size_t j = i + 1; j < n; ++j) x[i] -= rows[i][j] * x[j];
        x[i] /= rows[i][i];
    }
    std::vector<double> all;
    for (const auto& one : x) all.push_back(static_cast<double>(one));
    return all;
}

}  // namespace

TEST_CASE("a width has the power of EDM2's table, and an average along a line lags as its profile says") {
    CHECK(dtk::power_of_width(0.05) == Approx(16.9722).margin(5e-5));
    CHECK(dtk::power_of_width(0.10) == Approx(6.9372).margin(5e-5));
    for (const double width : {0.01, 0.05, 0.1, 0.2, 0.28}) {
        const double g = dtk::power_of_width(width);
        CHECK(std::sqrt((g + 1) / ((g + 2) * (g + 2) * (g + 3))) == Approx(width).epsilon(1e-12));
    }
    for (const double width : {0.0, -0.1, 0.29})
        CHECK(says(complaint_of([&] { dtk::power_of_width(width); }), "below 0.288"));

    constexpr std::int64_t steps = 20000;
    const auto share = [](double width) { return average_along_a_line(width, steps).back() / steps; };
    CHECK(share(0.05) == Approx(0.947291).margin(1e-6));
    CHECK(share(0.10) == Approx(0.888108).margin(1e-6));
}

TEST_CASE("averages are combined as least squares has it, to twelve digits") {
    for (const std::int64_t copies : {8, 64}) {
        const auto of = profiles(copies);
        for (const double width : {0.03, 0.075, 0.08, 0.15}) {
            const dtk::PowerProfile wanted{dtk::power_of_width(width), 1};
            const auto x = dtk::nearest_combination(of, wanted), exact = solution(of, wanted);
            double most = 0;
            for (std::size_t i = 0; i < x.size(); ++i) most = std::max(most, std::abs(x[i] - exact[i]));
            CHECK(most < 1e-12);
        }
    }
    // One of them is that one and none of the others, and two that are the same say nothing.
    const auto of = profiles(8);
    const auto own = dtk::nearest_combination(of, of.back());
    for (std::size_t i = 0; i < own.size(); ++i) CHECK(std::abs(own[i] - (i + 1 == own.size() ? 1 : 0)) < 1e-13);
    CHECK(dtk::relative_distance(of, own, of.back()) < 1e-9);
    CHECK(says(complaint_of([&] { dtk::nearest_combination({of[0], of[0]}, of[1]); }), "are the same"));
}

TEST_CASE("the products of profiles are what integration gives") {
    using Gauss = boost::math::quadrature::gauss<Digits, 40>;
    const auto of = profiles(3);
    for (const auto& p : of)
        for (const auto& q : of) {
            const Digits end = std::min(p.end, q.end);
            const Digits found =
                Gauss::integrate([&](const Digits& t) { return density(p, t) * density(q, t); }, Digits(0), end);
            CHECK(static_cast<double>(abs(found / product(p, q) - 1)) < 1e-15);
        }
    // And |p̂ − p|/|p| of a combination that is not the best.
    const std::vector<double> x{0.2, -0.1, 0.3, 0.1, 0.4, 0.2};
    const dtk::PowerProfile wanted{dtk::power_of_width(0.08), 1};
    Digits square = 0;
    for (const auto& [from, to] : {std::pair{0.0, of[0].end}, {of[0].end, of[1].end}, {of[1].end, 1.0}})
        square += Gauss::integrate(
            [&](const Digits& t) {
                Digits off = -density(wanted, t);
                for (std::size_t i = 0; i < x.size(); ++i) off += x[i] * density(of[i], t);
                return Digits(off * off);
            },
            Digits(from), Digits(to));
    CHECK(dtk::relative_distance(of, x, wanted) ==
          Approx(static_cast<double>(sqrt(square / product(wanted, wanted)))).epsilon(1e-8));
}

TEST_CASE("made of copies, an average along a line is what it would have been") {
    constexpr std::int64_t steps = 6400;
    const auto narrow = average_along_a_line(0.05, steps), wide = average_along_a_line(0.1, steps);
    for (const auto& [copies, bar] : {std::pair{8, 1e-3}, {64, 1e-6}}) {
        const Folder folder;
        for (std::int64_t i = 1; i <= copies; ++i) {
            const auto step = i * steps / copies;
            const auto at = [&](const std::vector<double>& all) {
                return dtk::NamedTensors{
                    {"model.w", at::full({2}, all[static_cast<std::size_t>(step - 1)], at::kDouble)}};
            };
            dtk::save_snapshot(
                folder.path, step,
                {{"narrow", dtk::power_of_width(0.05), at(narrow)}, {"wide", dtk::power_of_width(0.1), at(wide)}});
        }
        const auto made = dtk::made_averages(folder.path, steps, {0.075, 0.08, 0.05});
        for (const auto& one : made) {
            const auto& tensor = one.tensors.at("model.w");
            REQUIRE(tensor.sizes() == at::IntArrayRef{2});
            const double truth = average_along_a_line(one.width, steps).back();
            CHECK(one.copies == 2 * copies);
            CHECK(std::abs(tensor[0].item<double>() - truth) / truth < bar);
        }
        CHECK(made[2].off < 1e-8);
        CHECK(made[0].off > 1e-5);
        // Kept, and read again.
        CHECK(fs::exists(folder / fmt::format("averages/{:08}/width=0.08.safetensors", steps)));
        const auto again = dtk::made_averages(folder.path, steps, {0.08});
        CHECK(again[0].off == made[1].off);
        CHECK(at::equal(again[0].tensors.at("model.w"), made[1].tensors.at("model.w")));
    }
}

TEST_CASE("a run keeps copies of its averages, and dtk makes others of them that are drawn with") {
    const auto experiment =
        changed(small_experiment, "checkpoint_every = 10\n", "checkpoint_every = 10\nkeep = 9\nsnapshot_every = 5\n") +
        "average = \"none\"\n[[average]]\nuse = \"power\"\nname = \"narrow\"\nwidth = 0.05\n"
        "[[average]]\nuse = \"power\"\nname = \"wide\"\nwidth = 0.1\n"
        "[validate]\nn = 64\nlevels = 4\n";
    const Folder folder;
    write(folder / "small.toml", experiment);
    const auto call = [&](std::vector<std::string> words, int code = 0) {
        const auto outcome = dtk_program(words, folder.path);
        INFO(outcome.out << outcome.err);
        CHECK(outcome.code == code);
        return outcome.out + outcome.err;
    };
    call({"run", "small.toml", "--out", "run", "--progress", "none"});
    for (const auto* step : {"05", "10", "15", "20", "25", "30"})
        CHECK(fs::exists(folder / "run/snapshots" / (std::string("000000") + step + ".safetensors")));

    const auto said = call({"ema", "run", "--width", "0.08", "--width", "0.05"});
    CHECK(says(said, "each of 12 copies"));
    CHECK(says(said, "held out"));
    CHECK(fs::exists(folder / "run/averages/00000030/width=0.08.safetensors"));

    // Drawn with, a width that there was gives what that average gives.
    const auto drawn = [&](const std::string& average) {
        const auto out = "drawn-" + average;
        call({"sample", "run", "--set", "sample.average=" + average, "--out", out, "--progress", "none"});
        return samples_in(folder / out);
    };
    const auto narrow = drawn("narrow"), made = drawn("width=0.05"), other = drawn("width=0.08"), raw = drawn("none");
    CHECK(support::distance(narrow, made) < 1e-5);
    CHECK(support::distance(narrow, other) > 1e-4);
    CHECK(support::distance(raw, other) > 1e-4);
    CHECK(says(call({"sample", "run", "--set", "sample.average=widest", "--out", "no"}, 2), "width=0.08"));

    // In the experiment itself, it is made when training has ended.
    write(folder / "own.toml", changed(experiment, "average = \"none\"", "average = \"width=0.08\""));
    call({"run", "own.toml", "--out", "own", "--progress", "none"});
    CHECK(support::distance(samples_in(folder / "own"), other) < 1e-6);

    // Gone on with from an earlier checkpoint, copies of the steps after it are made again.
    const auto before = bits_of(folder / "run/snapshots/00000030.safetensors");
    for (const auto* gone : {"run/checkpoints/00000030.safetensors", "run/checkpoints/00000020.safetensors"})
        fs::remove(folder / gone);
    write(folder / "run/snapshots/00000035.safetensors", "of another training");
    call({"run", "small.toml", "--resume=run", "--progress", "none"});
    CHECK((bits_of(folder / "run/snapshots/00000030.safetensors") == before));
    CHECK_FALSE(fs::exists(folder / "run/snapshots/00000035.safetensors"));
    CHECK_FALSE(fs::exists(folder / "run/averages/00000030/width=0.05.safetensors"));
}

TEST_CASE("averages that cannot be made are refused in words") {
    const Folder folder;
    write(folder / "small.toml", changed(small_experiment, "batch = 8", "batch = 8\nsnapshot_every = 10"));
    auto outcome = dtk_program({"check", "small.toml"}, folder.path);
    CHECK(outcome.code == 2);
    CHECK(says(outcome.err, "`snapshot_every` keeps copies"));
    write(folder / "small.toml", small_experiment);
    outcome = dtk_program({"run", "small.toml", "--out", "run", "--progress", "none"}, folder.path);
    REQUIRE(outcome.code == 0);
    outcome = dtk_program({"ema", "run", "--width", "0.08"}, folder.path);
    CHECK(outcome.code == 2);
    CHECK(says(outcome.err, "snapshot_every in [train]"));
    dtk::save_snapshot(folder / "run", 30, {{"narrow", 17.0, {{"model.w", at::ones({4})}}}});
    outcome = dtk_program({"ema", "run", "--width", "0.08", "--step", "20"}, folder.path);
    CHECK(outcome.code == 2);
    CHECK(says(outcome.err, "ask for a later step, such as 30"));
    const auto file = folder / "run/snapshots/00000030.safetensors";
    auto bytes = read(file);
    bytes.back() ^= 1;
    write(file, bytes);
    CHECK(says(complaint_of([&] { dtk::made_averages(folder / "run", 30, {0.08}); }), "is damaged"));
}
