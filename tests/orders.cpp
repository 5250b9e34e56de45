// Deterministic samplers held against the exact flow, by the order with which their error falls, and against published
// and reference values.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include <boost/numeric/odeint/integrate/integrate_adaptive.hpp>
#include <boost/numeric/odeint/stepper/generation.hpp>
#include <boost/numeric/odeint/stepper/runge_kutta_fehlberg78.hpp>

#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "line.hpp"
#include "product.hpp"
#include "support.hpp"

using at::Tensor;
using product::sampled;
using product::states;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(23, "orders");

/// σ/α at the grid's ends. From so much noise x̂_0 hardly moves at first, so that the low order of the first steps of
/// multistep methods does not show.
constexpr double least = 0.02, most = 150;

const std::map<std::string, std::string> order_schedules{{"linear", "\"linear\""},
                                                         {"cosine", "\"cosine\""},
                                                         {"edm", "{use = \"edm\", sigma_max = 200}"},
                                                         {"flow", "\"flow\""}};

const std::map<std::string, std::string> grids{
    {"karras", fmt::format("grid = {{use = \"karras\", sigma_min = {}, sigma_max = {}}}", least, most)},
    {"uniform_log_snr",
     fmt::format("grid = {{use = \"uniform_log_snr\", log_snr_min = {:.17g}, log_snr_max = {:.17g}}}",
                 -2 * std::log(most), -2 * std::log(least))}};

support::BuildContext mixture(const std::string& data, const std::string& schedule) {
    return support::exact("gaussian_mixture", fmt::format("preset = \"{}\"", data),
                          fmt::format("schedule = {}\nsteps = 1000", order_schedules.at(schedule)));
}

/// Where the probability flow takes x̃ = x/α from σ/α = `most` to `least`.
Tensor flowed(const std::string& data, const Tensor& x) {
    if (data == "gmm1d") {
        auto y = at::empty_like(x);
        for (std::int64_t i = 0; i < x.numel(); ++i) {
            const double share = line::cdf(x[i][0].item<double>(), 1, most);
            double lo = -1000, hi = 1000;
            for (int k = 0; k < 200; ++k) {
                const double middle = (lo + hi) / 2;
                (line::cdf(middle, 1, least) < share ? lo : hi) = middle;
            }
            y[i][0] = lo;
        }
        return y;
    }
    // dx̃/dλ = x̂_0 − x̃
    using State = std::vector<double>;
    namespace odeint = boost::numeric::odeint;
    const auto context = mixture(data, "edm");
    const auto& density = *context.data->density();
    State state(x.const_data_ptr<double>(), x.const_data_ptr<double>() + x.numel());
    const auto slope = [&](const State& now, State& rate, double lambda) {
        const auto y = at::from_blob(const_cast<double*>(now.data()), x.sizes(), x.options());
        const auto one = at::ones({x.size(0)}, x.options());
        at::from_blob(rate.data(), x.sizes(), x.options())
            .copy_(density.posterior_mean(y, one, std::exp(-lambda) * one) - y);
    };
    odeint::integrate_adaptive(odeint::make_controlled(1e-13, 1e-13, odeint::runge_kutta_fehlberg78<State>()), slope,
                               state, -std::log(most), -std::log(least), 1e-2);
    return at::from_blob(state.data(), x.sizes(), x.options()).clone();
}

struct Problem {
    std::string data, schedule, grid;
};

/// The largest error of x̃ at the grid's last noise level.
double error_of(const std::string& sampler, const std::string& fields, const Problem& problem, int n) {
    static std::map<std::string, std::pair<Tensor, Tensor>> known;  // start and end of the flow
    auto& [start, end] = known[problem.data];
    if (!start.defined()) {
        start = most * support::tensor(support::reference()["constants"][problem.data == "gmm1d" ? "x1" : "x2"]);
        end = flowed(problem.data, start);
    }
    const auto context = mixture(problem.data, problem.schedule);
    const auto plugin =
        make<dtk::Sampler>(sampler, fmt::format("steps = {}\n{}\n{}", n + 1, grids.at(problem.grid), fields), context);
    const auto times = plugin->times(*context.chain);
    const auto& noise = context.chain->levels();
    const auto state = states(*plugin, support::denoiser(context), noise.alpha(times.front()) * start, stream);
    return distance(state[static_cast<std::size_t>(n)] / noise.alpha(times.back()), end);
}

/// A deterministic sampler, the order that its paper gives it, and what it comes to from n = 40 to 320 with correct
/// code: methods of order four start with orders one to three, which is still seen there.
struct Method {
    std::string sampler, fields;
    double paper, measured;
};
const std::vector<Method> methods{
    {"ddim", "", 1, 1},
    {"euler", "", 1, 1},
    {"euler_ancestral", "eta = 0", 1, 1},
    {"heun", "", 2, 2},
    {"dpm2", "", 2, 2},
    {"dpm2_ancestral", "eta = 0", 2, 2},
    {"lms", "order = 1", 1, 1},
    {"lms", "order = 2", 2, 2},
    {"lms", "order = 3", 3, 3},
    {"lms", "order = 4", 4, 3.7},
    {"plms", "", 2, 2},
    {"dpm_solver", "form = \"1\"", 1, 1},
    {"dpm_solver", "form = \"2\"", 2, 2},
    {"dpm_solver", "form = \"3\"", 3, 3},
    {"dpm_solver", "form = \"fast\"", 3, 3},
    {"dpm_solver_pp", "form = \"1\"", 1, 1},
    {"dpm_solver_pp", "form = \"2s\"", 2, 2},
    {"dpm_solver_pp", "form = \"2m\"", 2, 2},
    {"dpm_solver_pp", "form = \"3m\"", 3, 3},
    {"sde_dpm_solver_pp", "form = \"1\"\neta = 0", 1, 1},
    {"sde_dpm_solver_pp", "form = \"2m\"\neta = 0", 2, 2},
    {"sde_dpm_solver_pp", "form = \"3m\"\neta = 0", 3, 3},
    {"unipc", "order = 1\nform = \"bh1\"", 2, 2},
    {"unipc", "order = 1\nform = \"bh2\"", 2, 2},
    {"unipc", "order = 2\nform = \"bh1\"", 3, 3},
    {"unipc", "order = 2\nform = \"bh2\"", 3, 3},
    {"unipc", "order = 3", 4, 3.4},
    {"deis", "order = 1", 1, 1},
    {"deis", "order = 2", 2, 2},
    {"deis", "order = 3", 3, 3},
    {"exponential_adams", "order = 1", 1, 1},
    {"exponential_adams", "order = 2", 2, 2},
    {"exponential_adams", "order = 3", 3, 3},
    {"exponential_adams", "order = 4", 4, 3.5},
    {"er_sde", "order = 1\nform = \"ode\"", 1, 1},
    {"er_sde", "order = 2\nform = \"ode\"", 2, 2},
    {"er_sde", "order = 3\nform = \"ode\"", 3, 3},
    {"sa_solver", "predictor = 2\ncorrector = 0\ntau = 0", 2, 2},
    {"sa_solver", "predictor = 2\ncorrector = 2\ntau = 0", 3, 3},
    {"sa_solver", "predictor = 3\ncorrector = 3\ntau = 0", 4, 3.4},
    {"langevin", "corrections = 0", 1, 1},
};

/// By a clock of their own, u or the angle.
const std::vector<Method> methods_by_clock{
    {"flow_ode", "method = \"euler\"", 1, 1},
    {"flow_ode", "method = \"midpoint\"", 2, 2},
    {"flow_ode", "method = \"rk4\"", 4, 4},
    {"flow_sde", "scale = 0", 1, 1},
};

const std::array<int, 4> numbers{40, 80, 160, 320};

void check_order(const Method& method, const Problem& problem) {
    const double order = std::log2(error_of(method.sampler, method.fields, problem, numbers.front()) /
                                   error_of(method.sampler, method.fields, problem, numbers.back())) /
                         std::log2(numbers.back() / numbers.front());
    INFO(method.sampler << ", " << method.fields << ", " << problem.data << ", " << problem.schedule << ", "
                        << problem.grid << ": order " << order);
    CHECK(order > method.measured - 0.2);
    if (method.paper <= 2) CHECK(order < method.paper + 0.2);
}

}  // namespace

TEST_CASE("deterministic samplers have the order of their papers") {
    std::size_t turn = 0;
    const std::array<const char*, 4> schedules{"linear", "cosine", "edm", "flow"};
    for (const auto& method : methods) {
        for (const auto* grid : {"karras", "uniform_log_snr"}) {
            check_order(method, {turn % 2 ? "gmm1d" : "gmm2d", schedules[turn % 4], grid});
            ++turn;
        }
        turn += 1 + turn / 8 % 2;
    }
    for (const auto& method : methods_by_clock) {
        check_order(method, {"gmm1d", "flow", "karras"});
        check_order(method, {"gmm2d", "edm", "karras"});
        check_order(method, {"gmm1d", "linear", "uniform_log_snr"});
        check_order(method, {"gmm2d", "cosine", "karras"});
    }
}

TEST_CASE("deterministic samplers have the order of their papers: all mixtures, schedules and grids", "[slow]") {
    for (const std::string data : {"gmm1d", "gmm2d"})
        for (const auto& [schedule, text] : order_schedules)
            for (const auto& [grid, fields] : grids) {
                for (const auto& method : methods) check_order(method, {data, schedule, grid});
                for (const auto& method : methods_by_clock) check_order(method, {data, schedule, grid});
            }
}

TEST_CASE("to a sampler in σ/α or log-SNR it does not matter how signal and noise are scaled") {
    for (const auto& method : methods) {
        std::optional<double> first;
        for (const auto& [schedule, text] : order_schedules) {
            INFO(method.sampler << ", " << method.fields << ", " << schedule);
            const double error = error_of(method.sampler, method.fields, {"gmm2d", schedule, "karras"}, 9);
            if (!first) first = error;
            CHECK(error == Approx(*first).epsilon(1e-8));
        }
    }
}

TEST_CASE("the error of adaptive samplers falls with their tolerance") {
    for (const auto& [sampler, form] :
         {std::pair{"dpm_solver", "form = \"adaptive\""}, {"flow_ode", "method = \"dopri5\""}})
        for (const auto& problem : {Problem{"gmm1d", "flow", "karras"}, Problem{"gmm2d", "edm", "uniform_log_snr"},
                                    Problem{"gmm2d", "cosine", "karras"}}) {
            double before = 1;
            for (const double tolerance : {1e-3, 1e-5, 1e-7}) {
                const double error =
                    error_of(sampler, fmt::format("{}\nrtol = {}\natol = {}", form, tolerance, tolerance), problem, 1);
                INFO(sampler << ", " << problem.data << ", tolerance " << tolerance << ": " << error);
                CHECK(error < 100 * tolerance);
                CHECK(error < before / 10);
                before = error;
            }
        }
}

TEST_CASE("sampler × schedule × n × error × order, as in docs/samplers.md", "[.figures]") {
    const auto line = [](const Method& method, const Problem& problem) {
        std::vector<double> errors;
        for (const int n : numbers) errors.push_back(error_of(method.sampler, method.fields, problem, n));
        auto text = method.fields;
        std::replace(text.begin(), text.end(), '\n', ',');
        fmt::print("{:18} {:34} {} {:7} {:16}", method.sampler, text, problem.data, problem.schedule, problem.grid);
        for (const double e : errors) fmt::print(" {:.2e}", e);
        fmt::print("  {:.2f} ({})\n", std::log2(errors.front() / errors.back()) / 3, method.paper);
    };
    for (const auto& method : methods)
        for (const auto& problem : {Problem{"gmm1d", "linear", "karras"}, Problem{"gmm1d", "edm", "uniform_log_snr"},
                                    Problem{"gmm2d", "cosine", "karras"}, Problem{"gmm2d", "flow", "uniform_log_snr"}})
            line(method, problem);
    for (const auto& method : methods_by_clock)
        for (const auto& problem :
             {Problem{"gmm1d", "edm", "karras"}, Problem{"gmm2d", "flow", "karras"},
              Problem{"gmm1d", "linear", "uniform_log_snr"}, Problem{"gmm2d", "cosine", "karras"}})
            line(method, problem);
}

// ---- Published and reference values.

TEST_CASE("ddim and dpm_solver_pp give the reference samples of processes that keep the variance") {
    for (const std::string schedule : {"linear", "cosine"})
        for (const std::string data : {"gmm1d", "gmm2d"}) {
            const auto& all = support::reference()["vp_samplers"][schedule][data];
            const auto context = mixture(data, schedule);
            for (const int n : {10, 20, 50})
                for (const auto& [sampler, key] : {std::pair{"dpm_solver_pp", "dpmpp_2m"}, {"ddim", "ddim_eta0"}}) {
                    INFO(schedule << ", " << data << ", " << sampler << ", " << n << " steps");
                    const auto plugin =
                        make<dtk::Sampler>(sampler, fmt::format("steps = {}\ngrid = \"trailing\"", n), context);
                    CHECK(distance(sampled(*plugin, context, support::tensor(all["x_T"]), stream),
                                   support::tensor(all[fmt::format("trailing_{}", n)][key])) < 1e-9);
                }
        }
}

TEST_CASE("euler, heun and dpm_solver_pp give the reference samples where α = 1") {
    for (const std::string data : {"gmm1d", "gmm2d"}) {
        const auto& all = support::reference()["ve_samplers"][data];
        const auto context = mixture(data, "edm");
        for (const int n : {10, 20, 50})
            for (const auto& [sampler, key] :
                 {std::pair{"euler", "euler"}, {"heun", "heun"}, {"dpm_solver_pp", "dpmpp_2m"}, {"ddim", "euler"}}) {
                INFO(data << ", " << sampler << ", " << n << " steps");
                const auto plugin = make<dtk::Sampler>(
                    sampler,
                    fmt::format("steps = {}\ngrid = {{use = \"karras\", sigma_min = 0.002, sigma_max = 80}}", n),
                    context);
                CHECK(distance(sampled(*plugin, context, 80 * support::tensor(all["z"]), stream),
                               support::tensor(all[fmt::format("n{}", n)][key])) < 1e-9);
            }
    }
}
