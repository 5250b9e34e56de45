// What every schedule and every grid of the build must keep to, and the golden values of those that are published.
#include <cmath>
#include <optional>
#include <string>

#include "catch.hpp"
#include "support.hpp"

using support::make;

namespace {

struct Golden {
    std::string key, plugin, fields;
    double tolerance;  // 1e-10 where 1 − f/f cancels, in the reference as here
};

const std::vector<Golden> golden{
    {"linear", "linear", "", 1e-12},
    {"quad", "quadratic", "", 1e-12},
    {"scaled_linear", "quadratic", "beta_start = 0.00085\nbeta_end = 0.012", 1e-12},
    {"cosine", "cosine", "", 1e-10},
    {"sigmoid_abar", "sigmoid", "", 1e-10},
    {"exponential_beta", "exponential", "", 1e-12},
};

bool near(double value, double expected, double relative) {
    return std::abs(value - expected) <= relative * std::abs(expected);
}

dtk::NoiseLevels levels(const std::string& schedule, std::int64_t steps, const std::string& fields = {}) {
    return make<dtk::Schedule>(schedule, fields)->levels(steps);
}

/// α² + σ² = 1 at every step
bool preserves_variance(const dtk::NoiseLevels& levels) {
    for (std::int64_t t = 0; t < levels.steps(); ++t)
        if (std::abs(levels.alpha_bar(t) + levels.sigma2(t) - 1) > 1e-9) return false;
    return true;
}

void check_step(const dtk::NoiseLevels& l, std::int64_t t, std::int64_t s) {
    INFO("t = " << t << ", s = " << s);
    CHECK(l.snr(t) < l.snr(s));
    CHECK(l.added_variance(t, s) > 0);
    CHECK(l.posterior_variance(t, s) >= 0);
    CHECK(l.posterior_variance(t, s) <= l.added_variance(t, s) * (1 + 1e-12));
    // E[x_s | x_t = α_t x_0, x_0] = α_s x_0, whatever x_0
    CHECK(near(l.posterior_mean_x0(t, s) + l.posterior_mean_xt(t, s) * l.alpha(t), l.alpha(s), 1e-9));
}

void check_grid(const dtk::Grid& grid, const dtk::NoiseLevels& levels, std::int64_t n) {
    const auto T = static_cast<double>(levels.steps());
    const auto times = grid.times(levels, n);
    bool good = static_cast<std::int64_t>(times.size()) == n;
    for (std::size_t i = 0; i < times.size(); ++i)
        good = good && times[i] == std::floor(times[i]) && times[i] >= 0 && times[i] <= T - 1 &&
               (i == 0 || times[i] < times[i - 1]);
    CHECK(good);
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
            is("sigma_ve", l.sigma(t) / l.alpha(t));
            is("posterior_variance", l.posterior_variance(t, t - 1));
            is("posterior_mean_coef_x0", l.posterior_mean_x0(t, t - 1));
            is("posterior_mean_coef_xt", l.posterior_mean_xt(t, t - 1));
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

TEST_CASE("every schedule gets noisier at every step, for any number of steps, or says that it has none for so few") {
    for (const auto& name : support::registry().names("schedule"))
        for (const std::int64_t T : {1, 2, 10, 25, 1000}) {
            INFO(name << ", T = " << T);
            std::optional<dtk::NoiseLevels> l;
            try {
                l = levels(name, T);
            } catch (const dtk::Error& error) {
                CHECK(T <= 20);
                CHECK(std::string(error.what()).size() > 20);
                CHECK(!error.help().empty());
                continue;
            }
            REQUIRE(l->steps() == T);
            CHECK((l->alpha(-1) == 1 && l->alpha_bar(-1) == 1 && l->sigma2(-1) == 0 && std::isinf(l->snr(-1))));
            CHECK(l->posterior_variance(0, -1) == 0);
            CHECK(near(l->posterior_mean_x0(0, -1), 1, 1e-12));
            const bool preserving = preserves_variance(*l);
            for (std::int64_t t = 0; t < T; ++t) {
                check_step(*l, t, t - 1);
                if (t > 1) check_step(*l, t, t / 2);
                CHECK((l->alpha_bar(t) > 0 || (t == T - 1 && l->alpha_bar(t) == 0)));
                if (preserving) {
                    CHECK(l->alpha_bar(t) < l->alpha_bar(t - 1));
                    CHECK(std::abs(l->alpha_bar(t) + l->sigma2(t) - 1) < 1e-12);
                }
            }
        }
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

TEST_CASE("a continuous schedule's table is its function at (t + 1)/T") {
    for (const auto& name : support::registry().names("schedule")) {
        const auto schedule = make<dtk::Schedule>(name);
        const auto* continuous = dynamic_cast<const dtk::ContinuousSchedule*>(schedule.get());
        if (!continuous) continue;
        INFO(name);
        const auto l = continuous->levels(1000);
        for (std::int64_t t = 0; t < 1000; ++t) {
            const double u = static_cast<double>(t + 1) / 1000;
            CHECK(std::abs(l.log_snr(t) - continuous->log_snr(u)) <
                  1e-12 * std::max(1.0, std::abs(continuous->log_snr(u))));
            CHECK(near(l.alpha(t), std::exp(continuous->log_alpha(u)), 1e-12));
            CHECK(near(l.sigma(t), std::exp(continuous->log_alpha(u) - continuous->log_snr(u) / 2), 1e-12));
        }
    }
}

TEST_CASE("every grid visits exactly as many times as asked, falling, or refuses") {
    for (const auto& name : support::registry().names("grid")) {
        const auto grid = make<dtk::Grid>(name);
        int refused = 0, asked = 0;
        for (const auto& l : {levels("linear", 1000), levels("cosine", 7), levels("cosine", 10)})
            for (std::int64_t n = 1; n <= l.steps(); ++n) {
                INFO(name << ", T = " << l.steps() << ", n = " << n);
                ++asked;
                try {
                    check_grid(*grid, l, n);
                } catch (const dtk::Error& error) {
                    ++refused;
                    CHECK(!error.help().empty());
                }
            }
        INFO(name << " refused " << refused << " of " << asked);
        CHECK(refused <= (name == "leading" ? asked : 0));
    }
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
