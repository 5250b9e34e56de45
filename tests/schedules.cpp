// The golden values of schedules and grids that are published, their formulas, and which grid goes with which schedule.
#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <limits>
#include <numbers>
#include <optional>
#include <string>

#include <dtk/learned_schedule.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "folder.hpp"
#include "product.hpp"
#include "support.hpp"

using support::make;

namespace {

struct Golden {
    std::string key, plugin, fields;
    double tolerance;  // 1e-10 where 1 − f/f cancels, in the reference as here
};

// The reference takes ᾱ of schedules that end without signal through β, so they too lose digits.
const std::vector<Golden> golden{
    {"linear", "linear", "", 1e-12},
    {"quad", "quadratic", "", 1e-12},
    {"scaled_linear", "quadratic", "beta_start = 0.00085\nbeta_end = 0.012", 1e-12},
    {"cosine", "cosine", "", 1e-10},
    {"sigmoid_abar", "sigmoid", "", 1e-10},
    {"sigmoid_beta", "sigmoid_beta", "", 1e-12},
    {"exponential_beta", "exponential", "", 1e-12},
    {"const", "constant", "", 1e-12},
    {"jsd", "linear_alpha_bar", "", 1e-10},
    {"linear_zero_terminal_snr", "zero_terminal_snr", "of = \"linear\"", 1e-10},
    {"scaled_linear_zero_terminal_snr", "zero_terminal_snr",
     "of = {use = \"quadratic\", beta_start = 0.00085, beta_end = 0.012}", 1e-10},
    {"cosine_zero_terminal_snr", "zero_terminal_snr", "of = \"cosine\"", 1e-10},
};

bool near(double value, double expected, double relative) {
    return std::abs(value - expected) <= relative * std::abs(expected);
}

dtk::NoiseLevels levels(const std::string& schedule, std::int64_t steps, const std::string& fields = {}) {
    return make<dtk::Schedule>(schedule, fields)->levels(steps);
}

/// A file of log-SNR for the schedule `table`, falling evenly.
std::string table_file(const Folder& folder, std::int64_t steps) {
    const auto file = folder / fmt::format("{}.txt", steps);
    std::ofstream out(file);
    for (std::int64_t t = 0; t < steps; ++t)
        out << fmt::format("{}\n", 10 - 20.0 * static_cast<double>(t + 1) / static_cast<double>(steps));
    return fmt::format("file = \"{}\"\nof = \"log_snr\"", file.string());
}

/// What Sampler::times asks of a grid: as many times as asked, falling, within the process.
bool falls_within(const std::vector<double>& times, const dtk::NoiseLevels& levels, std::int64_t n) {
    bool good = static_cast<std::int64_t>(times.size()) == n;
    for (std::size_t i = 0; i < times.size(); ++i)
        good = good && times[i] > -1 && times[i] <= levels.last() && (i == 0 || times[i] < times[i - 1]);
    return good;
}

}  // namespace

TEST_CASE("1/β of the schedule of 2015 falls evenly from T to 2, but for its first step") {
    const auto l = levels("sohl_dickstein", 40, "first = 0.003");
    const auto beta = [&](std::int64_t t) { return l.added_variance(t, t - 1); };
    CHECK(near(beta(0), 0.003, 1e-12));
    CHECK(near(beta(39), 0.5, 1e-12));
    for (std::int64_t t = 1; t < 39; ++t) CHECK(near(1 / beta(t) - 1 / beta(t + 1), 38.0 / 39, 1e-10));
}

TEST_CASE("published schedules have their published values") {
    for (const auto& [key, plugin, fields, tolerance] : golden) {
        const auto& expected = support::reference()["schedules"][key];
        const auto l = levels(plugin, 1000, fields);
        for (std::size_t i = 0; i < expected["t"].size(); ++i) {
            const auto t = expected["t"][i].get<std::int64_t>();
            INFO(key << " at t = " << t);
            const auto is = [&](const char* what, double value) {
                INFO(what << " = " << value);
                CHECK(near(value, expected[what][i].get<double>(), tolerance));
            };
            is("beta", l.added_variance(t, t - 1));
            is("alpha_bar", l.alpha_bar(t));
            is("one_minus_alpha_bar", l.sigma2(t));
            is("snr", l.snr(t));
            is("posterior_variance", l.posterior_variance(t, t - 1));
            is("posterior_mean_coef_x0", l.posterior_mean_x0(t, t - 1));
            is("posterior_mean_coef_xt", l.posterior_mean_xt(t, t - 1));
            if (expected["sigma_ve"][i].is_null()) {  // no signal
                CHECK(l.ratio(t) == std::numeric_limits<double>::infinity());
                CHECK(expected["log_snr"][i] == "-inf");
                CHECK(l.log_snr(t) == -std::numeric_limits<double>::infinity());
                continue;
            }
            is("sigma_ve", l.ratio(t));
            CHECK(std::abs(l.log_snr(t) - expected["log_snr"][i].get<double>()) <= 4 * tolerance);
        }
    }
}

TEST_CASE("the sums over all steps of published schedules are the published ones") {
    for (const auto& [key, plugin, fields, tolerance] : golden) {
        INFO(key);
        const auto& expected = support::reference()["schedules"][key]["checksum"];
        const auto l = levels(plugin, 1000, fields);
        double beta = 0, alpha_bar = 0, posterior = 0;
        for (std::int64_t t = 0; t < 1000; ++t) {
            beta += l.added_variance(t, t - 1);
            alpha_bar += l.alpha_bar(t);
            posterior += l.posterior_variance(t, t - 1);
        }
        CHECK(near(beta, expected["sum_beta"], tolerance));
        CHECK(near(alpha_bar, expected["sum_alpha_bar"], tolerance));
        CHECK(near(posterior, expected["sum_posterior_variance"], tolerance));
    }
}

TEST_CASE("noise that explodes geometrically has its published values") {
    const auto& expected = support::reference()["schedules"]["ve_geometric"];
    // There the first step of a thousand has σ = 0.01, here u = 0 does.
    const double before = 50 * std::pow(0.01 / 50, 1000.0 / 999);
    const auto l = levels("ve", 1000, fmt::format("sigma_min = {}\nsigma_max = 50.0", before));
    double sum = 0;
    for (std::int64_t t = 0; t < 1000; ++t) sum += l.sigma(t);
    CHECK(near(sum, expected["sum_sigma"], 1e-12));
    for (std::size_t i = 0; i < expected["t"].size(); ++i) {
        const auto t = expected["t"][i].get<double>();
        INFO("t = " << t);
        CHECK(l.alpha(t) == 1);
        CHECK(near(l.sigma(t), expected["sigma"][i], 1e-12));
        CHECK(near(l.snr(t), expected["snr"][i], 1e-12));
        CHECK(near(l.added_variance(t, t - 1), expected["step_variance"][i], 1e-11));
    }
}

TEST_CASE("schedules that are functions of u have α and σ of their papers, not ᾱ for α or σ² for σ") {
    using std::exp, std::sqrt, std::tan, std::atan;
    struct Formula {
        std::string plugin, fields;
        std::function<double(double u)> alpha, sigma;
    };
    const auto one = [](double) { return 1.0; };
    /// α² + σ² = 1 of that SNR.
    const auto of_snr = [](const std::string& plugin, const std::string& fields, std::function<double(double)> snr) {
        return Formula{plugin, fields, [=](double u) { return sqrt(snr(u) / (1 + snr(u))); },
                       [=](double u) { return sqrt(1 / (1 + snr(u))); }};
    };
    // ᾱ(1) of the first is e^(−10.05); others that are called VP have other ends.
    const auto vp = [](double u, double least, double most) { return exp(-(least * u + (most - least) / 2 * u * u)); };
    const double near_0 = atan(exp(-7.5)), near_1 = atan(exp(7.5));
    const auto angle = [=](double u) { return near_0 + u * (near_1 - near_0); };
    for (const auto& [plugin, fields, alpha, sigma] : {
             Formula{"vp", "", [=](double u) { return sqrt(vp(u, 0.1, 20)); },
                     [=](double u) { return sqrt(1 - vp(u, 0.1, 20)); }},
             {"vp", "beta_min = 0.5\nbeta_max = 3", [=](double u) { return sqrt(vp(u, 0.5, 3)); },
              [=](double u) { return sqrt(1 - vp(u, 0.5, 3)); }},
             {"edm", "sigma_max = 50", one, [](double u) { return 50 * u; }},
             {"flow", "", [](double u) { return 1 - u; }, [](double u) { return u; }},
             {"flow", "shift = 3", [](double u) { return (1 - u) / (1 + 2 * u); },
              [](double u) { return 3 * u / (1 + 2 * u); }},
             {"interpolant", "path = \"linear\"", [](double u) { return 1 - u; }, [](double u) { return u; }},
             {"interpolant", "", [](double u) { return std::cos(std::numbers::pi / 2 * u); },
              [](double u) { return std::sin(std::numbers::pi / 2 * u); }},
             {"interpolant", "path = \"polynomial\"\npower = 3", [](double u) { return 1 - u * u * u; },
              [](double u) { return u * u * u; }},
             {"cosine_log_snr", "", [=](double u) { return std::cos(angle(u)); },
              [=](double u) { return std::sin(angle(u)); }},
             of_snr("cosine_log_snr", "shift = -2",
                    [=](double u) { return exp(-2) / (tan(angle(u)) * tan(angle(u))); }),
             of_snr("log_linear", "", [](double u) { return exp(13.3 - 18.3 * u); }),
             of_snr("shifted", "of = \"log_linear\"\nshift = -2", [](double u) { return exp(11.3 - 18.3 * u); }),
             // Where α² + σ² = 1 does not hold, the noise alone is moved, at the end without signal, too.
             {"shifted", "of = {use = \"edm\", sigma_max = 50}\nshift = -2", one,
              [](double u) { return exp(1) * 50 * u; }},
             {"shifted", "of = \"flow\"\nshift = -2", [](double u) { return 1 - u; },
              [](double u) { return exp(1) * u; }},
             of_snr("interpolated", "of = \"log_linear\"\nlow = 1\nhigh = -3",
                    [](double u) { return exp(13.3 - 18.3 * u + u - 3 * (1 - u)); }),
             {"rotation", "", one, [](double u) { return 0.02 + 1.5 * u + 0.5 * u * u; }},
             {"rotation", "growth = \"logarithmic\"\nsigma_min = 0.1\nsigma_max = 1.5", one,
              [](double u) { return std::log(u * exp(1.5) + (1 - u) * exp(0.1)); }},
         })
        for (const double u : {0.01, 0.1, 0.137, 0.5, 0.7775, 0.99, 1.0}) {
            const auto l = levels(plugin, 100, fields);
            INFO(plugin << ", " << fields << ", u = " << u);
            CHECK(std::abs(l.alpha(100 * u - 1) - alpha(u)) < 1e-12);
            CHECK(near(l.sigma(100 * u - 1), sigma(u), 1e-10));
        }
}

TEST_CASE("log-SNR of `laplace` and `cauchy` has the density of that name") {
    // A share of log-SNR above each of them, of uniform u between the cuts.
    const auto laplace = [](double x) { return x > 0 ? std::exp(-x) / 2 : 1 - std::exp(x) / 2; };
    const auto cauchy = [](double x) { return 0.5 - std::atan(x) / std::numbers::pi; };
    for (std::int64_t t = 0; t < 100; ++t) {
        const double u = static_cast<double>(t + 1) / 100;
        const auto log_snr = [&](const char* name, const std::string& fields) {
            const double alpha_bar = levels(name, 100, fields).alpha_bar(t);
            return std::log(alpha_bar / (1 - alpha_bar));
        };
        INFO("u = " << u);
        CHECK(std::abs(laplace(log_snr("laplace", "") / 0.5) - (1e-6 + (1 - 2e-6) * u)) < 1e-9);
        CHECK(std::abs(laplace((log_snr("laplace", "mu = -1\nb = 2\nfloor = 0.01") + 1) / 2) - (0.01 + 0.98 * u)) <
              1e-9);
        CHECK(std::abs(cauchy(log_snr("cauchy", "")) - (0.02 + 0.96 * u)) < 1e-9);
        CHECK(std::abs(cauchy((log_snr("cauchy", "mu = 1\ngamma = 0.5\nfloor = 0.1") - 1) / 0.5) - (0.1 + 0.8 * u)) <
              1e-9);
    }
}

TEST_CASE("schedules that are tables of β have the β of their papers") {
    // Computed beside dtk, from the code of Ho et al. 2020.
    const auto warm = levels("warmup", 1000);
    for (const auto& [t, alpha_bar] : {std::pair(0, 0.9999),
                                       {249, 0.01755865835},
                                       {499, 1.124631521e-4},
                                       {749, 7.203261394e-7},
                                       {999, 4.613686682e-9}})
        CHECK(near(warm.alpha_bar(t), alpha_bar, 1e-9));
    CHECK(near(warm.posterior_variance(1, 0), 7.506861e-5, 1e-6));
    const auto half = levels("warmup", 10, "share = 0.5\nrescale = false\nbeta_start = 0.01\nbeta_end = 0.05");
    const auto root = levels("sqrt", 5, "beta_start = 0.01\nbeta_end = 0.05");
    for (std::int64_t t = 0; t < 10; ++t)
        CHECK(near(half.added_variance(t, t - 1), 0.01 * static_cast<double>(std::min<std::int64_t>(t + 1, 5)), 1e-12));
    for (std::int64_t t = 0; t < 5; ++t)
        CHECK(near(std::pow(root.added_variance(t, t - 1), 2), 0.01 * static_cast<double>(t + 1), 1e-12));
}

TEST_CASE("a file lists β, ᾱ or log-SNR from the clean end on") {
    const Folder folder;
    const auto file = folder / "levels.txt";
    std::ofstream(file) << "# clean\n0.125\n0.25\n\n0.5\n";
    const auto fields = [&](const char* of) { return fmt::format("file = \"{}\"\nof = \"{}\"", file.string(), of); };
    const auto betas = levels("table", 3, fields("beta"));
    for (std::int64_t t = 0; t < 3; ++t) CHECK(near(betas.added_variance(t, t - 1), std::pow(2, t - 3), 1e-12));
    std::ofstream(file) << "0.5\n0.25\n0.125\n";
    const auto alpha_bars = levels("table", 3, fields("alpha_bar")), log_snrs = levels("table", 3, fields("log_snr"));
    for (std::int64_t t = 0; t < 3; ++t) {
        CHECK(near(alpha_bars.alpha_bar(t), std::pow(0.5, t + 1), 1e-12));
        CHECK(near(log_snrs.log_snr(t), std::pow(0.5, t + 1), 1e-12));
    }
    CHECK(says(complaint_of([&] { levels("table", 4, fields("beta")); }), "lists 3 numbers"));
}

TEST_CASE("every field of every schedule and grid does something") {
    const auto of_schedule = [](const std::string& name, const std::string& fields) -> std::optional<at::Tensor> {
        const auto schedule = make<dtk::Schedule>(name, fields);
        // A learned one starts from another, and its own fields are of what it learns.
        if (dynamic_cast<const dtk::LearnedSchedule*>(schedule.get())) return {};
        const auto l = schedule->levels(100);
        std::vector<double> shown;
        for (std::int64_t t = 0; t < 100; ++t) shown.insert(shown.end(), {l.alpha(t), l.sigma(t)});
        return at::tensor(shown, at::kDouble);
    };
    const auto of_grid = [](const std::string& name, const std::string& fields) {
        return at::tensor(make<dtk::Grid>(name, fields)->times(levels("edm", 100), 10), at::kDouble);
    };
    CHECK(product::idle_fields("schedule", of_schedule) == std::vector<std::string>{});
    CHECK(product::idle_fields("grid", of_grid) == std::vector<std::string>{});
}

TEST_CASE("a table is interpolated in log-SNR, in α/σ to an end without signal, and in σ²/α² before its first step") {
    const double infinity = std::numeric_limits<double>::infinity();
    const auto signal_lost = dtk::noise_level(0, 1);
    CHECK(signal_lost.log_snr == -infinity);
    for (const bool preserving : {true, false}) {
        INFO("α² + σ² = 1: " << preserving);
        const auto l = dtk::NoiseLevels::from_table(
            preserving ? std::vector{dtk::variance_preserving(4), dtk::variance_preserving(1.5), signal_lost}
                       : std::vector{dtk::noise_level(0.9, 0.1), dtk::noise_level(0.6, 0.8), dtk::noise_level(0, 2)});
        CHECK(l.is_variance_preserving() == preserving);
        CHECK_FALSE(l.continuous());
        CHECK(near(l.log_snr(0.25), 0.75 * l.log_snr(0) + 0.25 * l.log_snr(1), 1e-13));
        CHECK(near(1 / l.ratio(1.75), 0.25 / l.ratio(1), 1e-13));
        CHECK(near(std::pow(l.ratio(-0.3), 2), 0.7 * std::pow(l.ratio(0), 2), 1e-13));
        CHECK((l.alpha(2) == 0 && l.log_snr(2) == -infinity && l.snr(2) == 0));
        for (std::int64_t i = 1; i < 300; ++i) {
            const double t = static_cast<double>(i) / 100 - 1;
            INFO("t = " << t);
            CHECK(l.at(t).log_snr < l.at(t - 0.01).log_snr);
            CHECK(std::abs(l.time(l.log_snr(t)) - t) < 1e-12);
            CHECK((std::isfinite(l.alpha(t)) && l.sigma(t) > 0));
            // α and σ themselves have no jumps.
            CHECK(std::abs(l.alpha(t) - l.alpha(t - 0.01)) < 0.05);
            CHECK(std::abs(l.sigma(t) - l.sigma(t - 0.01)) < 0.11);
        }
    }
    // One step from all to nothing.
    for (const double sigma : {1.0, 3.0}) {
        const auto l = dtk::NoiseLevels::from_table({dtk::noise_level(0, sigma)});
        for (const double t : {-0.999, -0.5, 0.0}) {
            const auto [alpha, noise, log_snr] = l.at(t);
            INFO("σ = " << sigma << ", t = " << t << ": α = " << alpha << ", σ = " << noise << ", " << log_snr);
            CHECK((alpha >= 0 && alpha < 1 && noise > 0 && noise <= sigma && !std::isnan(log_snr)));
            CHECK(std::abs(l.time(log_snr) - t) < 1e-12);
            if (t == 0) continue;
            CHECK(near(l.rates(t).alpha, (l.alpha(t + 1e-6) - l.alpha(t - 1e-6)) / 2e-6, 1e-6));
            CHECK(near(l.rates(t).sigma, (l.sigma(t + 1e-6) - l.sigma(t - 1e-6)) / 2e-6, 1e-6));
        }
    }
}

TEST_CASE("levels that cannot be are refused with their step") {
    const auto complaint = [](const std::vector<dtk::NoiseLevel>& table) {
        return complaint_of([&] { dtk::NoiseLevels::from_table(table); });
    };
    const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
    CHECK(says(complaint({}), "no noise levels"));
    const auto first = dtk::variance_preserving(2);
    CHECK(says(complaint({first, first}), "does not fall from step 1 to 2"));
    CHECK(says(complaint({first, dtk::variance_preserving(3)}), "does not fall"));
    CHECK(says(complaint({first, {nan, 1, 0}}), "at step 2 of 2"));
    CHECK(says(complaint({first, {-0.1, 1, 0}}), "at step 2 of 2"));
    CHECK(says(complaint({first, {1, infinity, -1}}), "at step 2 of 2"));
    CHECK(says(complaint({dtk::noise_level(1, 0)}), "at step 1 of 1"));
    CHECK(says(complaint({{0.5, 0.5, nan}}), "at step 1 of 1"));
    CHECK(says(complaint({dtk::noise_level(0, 1), dtk::noise_level(0, 2)}), "does not fall"));
    CHECK(says(complaint({first, dtk::variance_preserving(-700)}), "so little signal cannot be told from none"));
    CHECK(says(complaint_of([] { dtk::NoiseLevels::from_betas({0.1, 1, 0.5}); }), "only the last β may be 1"));
    CHECK(says(complaint_of([] { dtk::NoiseLevels::from_betas({0.1, 0}); }), "at step 2 of 2"));
    CHECK(says(complaint_of([] { dtk::NoiseLevels::from_betas({0.1, std::nan("")}); }), "at step 2 of 2"));
    CHECK(
        says(complaint_of([] { dtk::NoiseLevels::from_betas(std::vector<double>(400, 0.95)); }), "at step 223 of 400"));
    CHECK(says(complaint_of([] { dtk::NoiseLevels::from_betas({}); }), "no noise levels"));
}

TEST_CASE("a rescaled ramp of too few steps is refused with the cure") {
    for (const std::int64_t T : {1, 10, 20}) {
        CHECK_THROWS_AS(levels("linear", T), dtk::Error);
        CHECK_THROWS_AS(levels("quadratic", T), dtk::Error);
        CHECK_NOTHROW(levels("linear", T, "rescale = false"));
    }
    CHECK_NOTHROW(levels("linear", 21));
}

TEST_CASE("the end of a rescaled ramp hardly depends on the number of steps") {
    for (const char* name : {"linear", "quadratic"}) {
        INFO(name);
        const double end = levels(name, 1000).log_snr(999);
        for (const std::int64_t T : {250, 500, 2000, 4000})
            CHECK(levels(name, T).log_snr(T - 1) == Approx(end).margin(0.4));
    }
}

TEST_CASE("a straight path of one step preserves the variance at its end alone") {
    CHECK_FALSE(levels("flow", 1).is_variance_preserving());
    CHECK(near(levels("flow", 1).alpha(-0.25), 0.25, 1e-12));
    CHECK(levels("vp", 1).is_variance_preserving());
}

TEST_CASE("the levels of a continuous schedule outlive it") {
    const auto l = levels("log_linear", 100);
    const auto schedule = make<dtk::Schedule>("log_linear");
    CHECK(l.log_snr(10.5) == dynamic_cast<const dtk::ContinuousSchedule&>(*schedule).level(0.115).log_snr);
}

TEST_CASE("every grid goes with every schedule, or says why not") {
    const Folder folder;
    for (const std::int64_t T : {25, 1000}) {
        const auto table = table_file(folder, T);
        for (const auto& schedule : support::registry().names("schedule")) {
            support::BuildContext context;
            context.data = make<dtk::Dataset>("moons", "", context);
            std::string named = fmt::format("{{use = \"{}\"", schedule);
            if (schedule == "table")
                named += fmt::format(", file = \"{}\", of = \"log_snr\"", (folder / fmt::format("{}.txt", T)).string());
            context.chain =
                make<dtk::Process>("gaussian", fmt::format("steps = {}\nschedule = {}}}", T, named), context);
            const auto& l = context.chain->levels();
            for (const auto& grid : support::registry().names("grid"))
                for (const std::int64_t n : {1, 2, 3, 10, 100}) {
                    INFO(grid << " over " << schedule << ", T = " << T << ", n = " << n);
                    std::vector<double> times;
                    try {
                        times = make<dtk::Sampler>("ddim", fmt::format("steps = {}\ngrid = \"{}\"", n, grid), context)
                                    ->times(*context.chain);
                    } catch (const dtk::Error& error) {
                        INFO(error.what());
                        CHECK(std::string(error.what()).size() > 20);
                        CHECK(!error.help().empty());
                        // Where the schedule keeps some signal to the end, only those refuse that must.
                        CHECK((grid == "custom" || grid == "leading" || l.alpha(l.last()) == 0 || n > T ||
                               context.chain->whole_steps()));
                        continue;
                    }
                    CHECK(falls_within(times, l, n));
                    if (context.chain->whole_steps())
                        CHECK(std::all_of(times.begin(), times.end(), [](double t) { return t == std::floor(t); }));
                }
        }
    }
}

TEST_CASE("grids of σ/α visit the published ones") {
    const auto& expected = support::reference()["schedules"]["karras"];
    const auto l = levels("edm", 1000);
    for (const std::int64_t n : {10, 18, 1000}) {
        const auto times = make<dtk::Grid>("karras", "sigma_min = 0.002\nsigma_max = 80.0")->times(l, n);
        REQUIRE(falls_within(times, l, n));
        const auto& all = n == 1000 ? expected["n1000_at_i"]["sigma"] : expected[fmt::format("n{}", n)];
        for (std::size_t k = 0; k < all.size(); ++k) {
            const auto i = n == 1000 ? expected["n1000_at_i"]["i"][k].get<std::size_t>() : k;
            INFO("n = " << n << ", i = " << i);
            CHECK(near(l.ratio(times[i]), all[k], 1e-10));
        }
    }
}

TEST_CASE("grids are even in what they say they are even in") {
    const auto l = levels("cosine_log_snr", 1000);
    const auto shown = [&](const char* name, const std::string& fields, auto value) {
        std::vector<double> of;
        for (const double t : make<dtk::Grid>(name, fields)->times(l, 12)) of.push_back(value(t));
        return of;
    };
    const auto even = [](const std::vector<double>& x) {
        const double step = (x.back() - x.front()) / static_cast<double>(x.size() - 1);
        for (std::size_t i = 1; i < x.size(); ++i)
            if (std::abs(x[i] - x[i - 1] - step) > 1e-8 * std::abs(step)) return false;
        return step != 0;
    };
    const auto log_snr = [&](double t) { return l.log_snr(t); };
    CHECK(even(shown("uniform_log_snr", "", log_snr)));
    CHECK(even(shown("exponential", "", log_snr)));
    CHECK(even(shown("polyexponential", "", log_snr)));
    CHECK(even(shown("karras", "rho = 3.0", [&](double t) { return std::pow(l.ratio(t), 1.0 / 3); })));
    CHECK(even(shown("kl_optimal", "", [&](double t) { return std::atan(l.ratio(t)); })));
    CHECK(even(shown("quadratic", "", [](double t) { return std::sqrt(t + 1); })));
    CHECK(even(shown("beta", "a = 1.0\nb = 1.0", [](double t) { return t; })));
    CHECK_FALSE(even(shown("polyexponential", "rho = 2.0", log_snr)));
    for (const char* name : {"exponential", "karras", "kl_optimal", "polyexponential", "uniform_log_snr"}) {
        INFO(name);
        const auto ends = make<dtk::Grid>(name)->times(l, 5);
        CHECK(std::abs(ends.front() - l.last()) < 1e-9);
        CHECK(std::abs(ends.back()) < 1e-9);
    }
    CHECK(make<dtk::Grid>("custom", "at = [900, 20.5, 3]")->times(l, 3) == std::vector<double>{900, 20.5, 3});
    const auto by_ratio = make<dtk::Grid>("custom", "at = [10, 1]\nin = \"ratio\"")->times(l, 2);
    CHECK(near(l.ratio(by_ratio[0]), 10, 1e-9));
    CHECK(near(l.ratio(by_ratio[1]), 1, 1e-9));
}

TEST_CASE("leading steps begin near the noisy end, or are refused") {
    const auto l = levels("linear", 1000);
    int refused = 0;
    for (std::int64_t n = 1; n <= 1000; ++n) {
        INFO(n << " steps");
        const auto grid = make<dtk::Grid>("leading");
        const std::int64_t first = (n - 1) * (1000 / n), used = n * (1000 / n);
        if (used < 900 || first < 499) {  // 501 steps would begin at 500, one at 0
            ++refused;
            CHECK(says(complaint_of([&] { grid->times(l, n); }), "far from the noisy end"));
        } else {
            CHECK(grid->times(l, n).front() == static_cast<double>(first));
            CHECK(grid->times(l, n).back() == 0);
        }
    }
    CHECK(refused > 500);
    CHECK(make<dtk::Grid>("leading", "offset = 1")->times(l, 4) == std::vector<double>{751, 501, 251, 1});
    CHECK(says(complaint_of([&] { make<dtk::Grid>("leading", "offset = 250")->times(l, 4); }), "at most 249"));
}

TEST_CASE("grids in time begin at the last time, and are dense where they say") {
    const auto l = levels("linear", 1000);
    for (const char* name : {"quadratic", "beta", "trailing", "linspace"})
        for (const std::int64_t n : {1, 2, 7, 100}) {
            INFO(name << ", " << n);
            CHECK(make<dtk::Grid>(name)->times(l, n).front() == Approx(999).epsilon(1e-12));
        }
    CHECK(make<dtk::Grid>("linspace")->times(l, 7).back() == 0);
    for (std::int64_t i = 0; i < 10; ++i) {
        const auto k = static_cast<std::size_t>(i);
        const double left = 1 - static_cast<double>(i) / 10;
        // u² and 1 − (1 − u)³ are distribution functions of beta laws.
        CHECK(near(make<dtk::Grid>("quadratic")->times(l, 10)[k] + 1, 1000 * left * left, 1e-12));
        CHECK(near(make<dtk::Grid>("beta", "a = 2.0\nb = 1.0")->times(l, 10)[k] + 1, 1000 * std::sqrt(left), 1e-10));
        CHECK(near(make<dtk::Grid>("beta", "a = 1.0\nb = 3.0")->times(l, 10)[k] + 1, 1000 * (1 - std::cbrt(1 - left)),
                   1e-10));
    }
}

TEST_CASE("grids between two noise levels that are named visit them, and between them what their formula says") {
    const auto l = levels("edm", 1000, "sigma_max = 100");
    const double low = 0.5, high = 32, n = 7;
    const std::string ends = "sigma_min = 0.5\nsigma_max = 32\n";
    const auto mixed = [&](double along, auto up, auto down) { return down(up(high) + along * (up(low) - up(high))); };
    const auto log = [](double x) { return std::log(x); };
    const auto exp = [](double x) { return std::exp(x); };
    for (std::size_t i = 0; i < 7; ++i) {
        const double along = static_cast<double>(i) / (n - 1);
        const auto ratio = [&](const char* grid, const std::string& fields) {
            return l.ratio(make<dtk::Grid>(grid, fields)->times(l, 7)[i]);
        };
        INFO("i = " << i);
        CHECK(near(ratio("exponential", ends), mixed(along, log, exp), 1e-9));
        CHECK(near(ratio("polyexponential", ends + "rho = 2"), 0.5 * std::pow(64, (1 - along) * (1 - along)), 1e-9));
        CHECK(near(ratio("karras", ends),
                   mixed(
                       along, [](double x) { return std::pow(x, 1. / 7); }, [](double x) { return std::pow(x, 7); }),
                   1e-9));
        CHECK(near(ratio("kl_optimal", ends),
                   mixed(
                       along, [](double x) { return std::atan(x); }, [](double x) { return std::tan(x); }),
                   1e-9));
        CHECK(near(ratio("uniform_log_snr", fmt::format("log_snr_min = {:.17g}\nlog_snr_max = {:.17g}",
                                                        -2 * std::log(high), -2 * std::log(low))),
                   mixed(along, log, exp), 1e-9));
    }
    const auto by_log_snr = make<dtk::Grid>("custom", "at = [-4, 2]\nin = \"log_snr\"")->times(l, 2);
    CHECK(l.log_snr(by_log_snr[0]) == Approx(-4));
    CHECK(l.log_snr(by_log_snr[1]) == Approx(2));
}

TEST_CASE("trailing steps are as many as asked where rounding of a stride would lose or add one") {
    const auto grid = make<dtk::Grid>("trailing");
    for (const std::int64_t n : {61, 103, 121, 122, 201}) {
        const auto times = grid->times(levels("linear", 1000), n);
        CHECK(static_cast<std::int64_t>(times.size()) == n);
        CHECK(times.front() == 999);
    }
}

TEST_CASE("grids are the published ones") {
    const auto& reference = support::reference()["vp_samplers"]["linear"]["gmm1d"];
    const auto l = levels("linear", 1000);
    for (const char* name : {"leading", "trailing", "linspace"})
        for (const int n : {10, 20, 50}) {
            INFO(name << " " << n);
            CHECK(make<dtk::Grid>(name)->times(l, n) ==
                  reference[fmt::format("{}_{}", name, n)]["timesteps"].get<std::vector<double>>());
        }
}

TEST_CASE("what other toolkits call a schedule is refused with its name here") {
    for (const auto& [theirs, ours] : {std::pair{"squaredcos_cap_v2", "cosine"},
                                       {"scaled_linear", "quadratic"},
                                       {"quad", "quadratic"},
                                       {"jsd", "linear_alpha_bar"},
                                       {"vpsde", "vp"},
                                       {"rectified_flow", "flow"},
                                       {"vdm", "monotone"}}) {
        INFO(theirs);
        CHECK(says(complaint_of([&] { make<dtk::Schedule>(theirs); }), fmt::format("called `{}` here", ours)));
    }
    CHECK_FALSE(says(complaint_of([] { make<dtk::Schedule>("squaredcos"); }), "called"));
}
