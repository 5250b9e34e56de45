// Samplers against exact answers: with the exact denoiser what is left is the sampler's own error. Then the product of
// samplers with what they stand on.
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numbers>
#include <optional>

#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "line.hpp"
#include "product.hpp"
#include "support.hpp"

using at::Tensor;
using product::sampled;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(11, "samplers");

support::BuildContext preset(const std::string& data, const std::string& schedule,
                             const std::string& prediction = "x0") {
    return support::exact("gaussian_mixture", fmt::format("preset = \"{}\"", data),
                          fmt::format("schedule = \"{}\"", schedule), fmt::format("prediction = \"{}\"", prediction));
}

/// One step t → s of a sampler as mean and standard deviation, got from what it does with two known draws.
struct Step {
    Tensor mean;
    double sd;
};
Step step(const dtk::Sampler& sampler, const support::BuildContext& context, double t, std::optional<double> s,
          const Tensor& x) {
    at::NoGradGuard no_grad;
    std::vector<double> times{t};
    if (s) times.push_back(*s);
    const auto after = [&](const dtk::Random& random) {
        Tensor first;
        sampler.sample(support::denoiser(context), times, x, random, [&](std::int64_t i, const Tensor& state) {
            if (i == 1) first = state;
        });
        return first;
    };
    const auto a = stream.stream("a"), b = stream.stream("b");
    const auto xa = after(a), xb = after(b);
    const auto za = a.step(0).normal(x.sizes(), x.options()), zb = b.step(0).normal(x.sizes(), x.options());
    const auto widest = (za - zb).abs().flatten().argmax();
    const double sd = ((xa - xb).flatten()[widest] / (za - zb).flatten()[widest]).item<double>();
    CHECK(distance(xa - sd * za, xb - sd * zb) < 1e-12);
    return {xa - sd * za, sd};
}

/// The sampler's answer had its draws been these. noise: [N, B, d]
Tensor replayed(const dtk::Sampler& sampler, const support::BuildContext& context, Tensor x, const Tensor& noise) {
    const auto times = sampler.times(*context.chain);
    for (std::size_t i = 0; i < times.size(); ++i) {
        const auto [mean, sd] =
            step(sampler, context, times[i], i + 1 < times.size() ? std::optional(times[i + 1]) : std::nullopt, x);
        x = mean + sd * noise[static_cast<std::int64_t>(i)];
    }
    return x;
}

/// A sampler over those data, told where it has to be that the first element of them is known, exactly or nearly.
struct Fitted {
    support::BuildContext context;
    std::shared_ptr<dtk::Sampler> sampler;
};
Fitted fitted(const std::string& name, const std::string& fields, const support::BuildContext& context) {
    auto told = context;
    for (const auto* known : {"", "values = [0.3]", "values = [0.3]\nsd = 0.5"}) {
        if (*known)
            told.seen = make<dtk::Observation>("elements", fmt::format("coordinates = [0]\n{}", known), context);
        try {
            return {told, make<dtk::Sampler>(name, fields, told)};
        } catch (const dtk::Error&) {
        }
    }
    return {told, make<dtk::Sampler>(name, fields, told)};  // and says why not
}

/// What takes x_t along the probability flow of N(mean, sd²) to where σ/α is `least`: a perfect consistency model.
dtk::Denoiser consistency_function(std::shared_ptr<dtk::Process> process, double mean, double sd, double least) {
    const auto ask = [process = process.get(), mean, sd, least](const Tensor& x, const dtk::Time& t,
                                                                const dtk::Condition&) {
        const auto& chain = dtk::gaussian(*process, "the test");
        const auto a = chain.alpha(t),
                   left = sqrt((sd * sd + least * least) / (square(a) * (sd * sd) + square(chain.sigma(t))));
        return dtk::Prediction{dtk::PredictionType::x0, left * x + (mean - left * a * mean), {}};
    };
    return {std::move(process), ask};
}

}  // namespace

TEST_CASE("ddim with the exact denoiser gives the reference samples") {
    for (const char* schedule : {"linear", "cosine"})
        for (const char* data : {"gmm1d", "gmm2d"}) {
            const auto& reference = support::reference()["vp_samplers"][schedule][data];
            const auto context = preset(data, schedule);
            const auto x = support::tensor(reference["x_T"]);
            const bool linear = std::string(schedule) == "linear";
            for (const char* grid : {"leading", "trailing", "linspace"})
                for (const int n : {10, 20, 50}) {
                    INFO(schedule << ", " << data << ", " << grid << ", " << n << " steps");
                    const auto ddim =
                        make<dtk::Sampler>("ddim", fmt::format("steps = {}\ngrid = \"{}\"", n, grid), context);
                    const auto expected = support::tensor(reference[fmt::format("{}_{}", grid, n)]["ddim_eta0"]);
                    CHECK(distance(sampled(*ddim, context, x, stream), expected) < (linear ? 1e-10 : 1e-9));
                    CHECK(distance(sampled(*ddim, context, x.to(at::kFloat), stream).to(at::kDouble), expected) <
                          (linear ? 1e-5 : 1e-3));
                }
            INFO(schedule << ", " << data << ", all steps");
            const auto all = sampled(*make<dtk::Sampler>("ddim", "", context), context, x, stream);
            CHECK(distance(all, support::tensor(reference["ddim_eta0_full_T"])) < (linear ? 1e-10 : 1e-9));
        }
}

TEST_CASE("it does not matter to a sampler in which type the network answers") {
    const auto x = support::tensor(support::reference()["constants"]["x2"]);
    const auto told = [&](const char* kind) {
        const auto context = preset("gmm2d", "linear", kind);
        return sampled(*make<dtk::Sampler>("ddpm", "steps = 20", context), context, x, stream);
    };
    const auto x0 = told("x0");
    CHECK(distance(x0, told("eps")) < 1e-10);
    CHECK(distance(x0, told("v")) < 1e-10);
}

TEST_CASE("noisy samplers given the listed noise give the reference samples") {
    const std::vector<std::array<std::string, 3>> cases{{"ddim", "eta = 0.5", "ddim_eta0.5"},
                                                        {"ddim", "eta = 1", "ddim_eta1"},
                                                        {"ddpm", "variance = \"small\"", "ddpm_fixed_small"},
                                                        {"ddpm", "variance = \"large\"", "ddpm_fixed_large"}};
    for (const char* schedule : {"linear", "cosine"})
        for (const char* data : {"gmm1d", "gmm2d"}) {
            const auto& all = support::reference()["vp_samplers"][schedule][data];
            const auto& reference = all["trailing_10"];
            const auto context = preset(data, schedule);
            for (const auto& [name, fields, key] : cases) {
                INFO(schedule << ", " << data << ", " << key);
                const auto sampler = make<dtk::Sampler>(name, "steps = 10\n" + fields, context);
                CHECK(distance(
                          replayed(*sampler, context, support::tensor(all["x_T"]), support::tensor(reference["noise"])),
                          support::tensor(reference[key])) < 1e-9);
            }
        }
}

TEST_CASE("ddim with all of the noise is ddpm with the small variance") {
    const auto context = preset("gmm2d", "linear");
    const auto x = support::tensor(support::reference()["constants"]["x2"]);
    for (const int n : {3, 20, 50}) {
        const auto ddim = make<dtk::Sampler>("ddim", fmt::format("eta = 1\nsteps = {}", n), context);
        const auto ddpm = make<dtk::Sampler>("ddpm", fmt::format("steps = {}", n), context);
        CHECK(distance(sampled(*ddim, context, x, stream), sampled(*ddpm, context, x, stream)) < 1e-12);
    }
}

TEST_CASE("ddim converges to the exact flow with order one") {
    // Up to the last time but one: the step to no noise at all has an error of its own.
    const auto context =
        support::exact("gaussian_mixture", "preset = \"gmm1d\"", "steps = 4096\nschedule = \"linear\"");
    const auto x = support::tensor(support::reference()["constants"]["x1"]);
    std::vector<double> exact;
    for (std::int64_t i = 0; i < x.size(0); ++i)
        exact.push_back(line::flow(x[i].item<double>(), context.chain->levels(), 4095, 0));
    const auto truth = at::tensor(exact, at::kDouble).unsqueeze(1);
    std::vector<double> errors;
    for (const std::int64_t n : {64, 256, 1024}) {
        const auto ddim = make<dtk::Sampler>("ddim", fmt::format("steps = {}\ngrid = \"linspace\"", n + 1), context);
        sampled(*ddim, context, x, stream, [&](std::int64_t i, const Tensor& state) {
            if (i == n) errors.push_back(distance(state, truth));
        });
    }
    INFO("errors " << errors[0] << ", " << errors[1] << ", " << errors[2]);
    CHECK(std::log(errors[1] / errors[2]) / std::log(4.0) == Approx(1).margin(0.05));
    CHECK(std::log(errors[0] / errors[2]) / std::log(16.0) == Approx(1).margin(0.1));
}

// ---- The product of samplers, schedules, grids, predictions and numbers of steps.

namespace {

/// The samplers as declared, and what no declaration tells.
std::vector<product::Part> all_samplers() {
    auto all = product::parts("sampler");
    for (const auto* churned : {"euler", "heun", "dpm2"}) all.push_back({churned, "s_churn = 4, s_noise = 1.003"});
    all.push_back({"ddpm", "variance = \"large\""});
    all.push_back({"restart", "intervals = [[0.1, 1, 2, 2], [0.5, 2, 1, 3]]"});
    all.push_back({"sa_solver", "tau_min = 0, tau_max = 1e9"});
    all.push_back({"repaint", "jump = 2, repeats = 3, repeat_last = true"});
    all.push_back({"diffpir", "lambda = 7, xi = 1"});
    all.push_back({"twisted", "particles = 4, resample = 1, variance = \"large\""});
    return all;
}

/// What a cell of the product is built from. Undefined process: the schedule or the prediction is refused in words.
struct Chain {
    support::BuildContext context;
    std::string refusal;
};
const Chain& chain_of(const product::Part& schedule, const std::string& prediction, int T = 100) {
    static std::map<std::string, Chain> made;
    auto [found, fresh] = made.try_emplace(fmt::format("{} {} {}", schedule.toml(), prediction, T));
    auto& [context, refusal] = found->second;
    if (!fresh) return found->second;
    try {
        context.data = make<dtk::Dataset>("gaussian_mixture", "preset = \"gmm2d\"", context);
        context.chain =
            make<dtk::Process>("gaussian", fmt::format("schedule = {}\nsteps = {}", schedule.toml(), T), context);
        context.network = make<dtk::Model>("exact", "", context);
        context.chain->accept(dtk::prediction_type(prediction));
    } catch (const dtk::Error& error) {
        refusal = error.what() + std::string("\n") + error.help();
        context.chain = nullptr;
    }
    return found->second;
}

struct Cell {
    product::Part sampler, schedule, grid;
    std::string prediction;
    int n;
    std::string text() const { return fmt::format("steps = {}\ngrid = {}\n{}", n, grid.toml(), sampler.lines()); }
};

/// Is it finite, the same to the bit however the batch is split, for a second call and for a fresh object? It may be
/// refused in words by what builds it, nowhere else. → what is wrong; nothing where all is well
struct Finding {
    bool refused = false;
    std::string fault = {};
};
Finding finding_of(const Cell& cell) {
    at::NoGradGuard no_grad;
    const auto& [context, refusal] = chain_of(cell.schedule, cell.prediction);
    const auto told = [](const std::string& message) {
        return Finding{true,
                       message.size() < 30 || message.find('\n') + 5 > message.size() ? "refused in few words" : ""};
    };
    if (!context.chain) return told(refusal);
    std::optional<Fitted> made;
    std::vector<double> times;
    try {
        made = fitted(cell.sampler.name, cell.text(), context);
        times = made->sampler->times(*context.chain);
    } catch (const dtk::Error& error) {
        return told(error.what() + std::string("\n") + error.help());
    }
    const auto denoise = product::GaussianData().denoiser(context.chain, dtk::prediction_type(cell.prediction));
    const auto sampled = [&](const Tensor& x, const dtk::Random& random) {
        return made->sampler->sample(support::told(made->context, denoise, x), times, x, random);
    };
    const auto x = context.chain->prior({5, 2}, at::kDouble, stream.stream("prior"), times.front());
    const auto once = sampled(x, stream);
    if (!at::isfinite(once).all().item<bool>()) return {false, "not finite"};
    const auto apart = at::cat({sampled(x.slice(0, 0, 2), stream), sampled(x.slice(0, 2), stream.from(2))});
    if (!at::equal(once, apart)) return {false, fmt::format("depends on the split: {}", distance(once, apart))};
    if (!at::equal(once, sampled(x, stream))) return {false, "remembers"};
    const auto fresh = fitted(cell.sampler.name, cell.text(), context);
    if (!at::equal(once, fresh.sampler->sample(support::told(fresh.context, denoise, x), times, x, stream)))
        return {false, "differs from a fresh one"};
    return {};
}

/// → was it refused?
bool check(const Cell& cell) {
    Finding found;
    try {
        found = finding_of(cell);
    } catch (const std::exception& error) {
        found.fault = error.what();
    }
    INFO(cell.sampler.toml() << ", " << cell.schedule.toml() << ", " << cell.grid.toml() << ", " << cell.n << ", "
                             << cell.prediction << ": " << found.fault);
    CHECK(found.fault.empty());
    return found.refused;
}

const std::vector<std::string> predictions{"x0", "eps", "v", "score", "velocity", "edm", "mean"};
const std::array numbers_of_steps{1, 2, 3, 10};

}  // namespace

TEST_CASE("a pairwise cover holds every pair, and few rows") {
    const std::vector<std::size_t> levels{7, 5, 3, 4};
    const auto rows = product::pairwise(levels);
    for (std::size_t j = 0; j < levels.size(); ++j)
        for (std::size_t i = 0; i < j; ++i)
            for (std::size_t a = 0; a < levels[i]; ++a)
                for (std::size_t b = 0; b < levels[j]; ++b)
                    CHECK(std::ranges::any_of(rows, [&](const auto& row) { return row[i] == a && row[j] == b; }));
    CHECK(rows.size() < 45);  // 35 at least
}

TEST_CASE(
    "any sampler, schedule, grid, prediction and number of steps is finite and forgets, or is refused: all pairs") {
    const auto names = product::parts("sampler", false), schedules = product::parts("schedule", false),
               grids = product::parts("grid", false), variants = all_samplers();
    CHECK(variants.size() > 60);
    std::size_t ran = 0;
    const auto tried = [&](Cell cell) {
        if (!check(cell)) return true;
        // What goes with anything, so that the sampler still meets the schedule.
        cell.grid = {"trailing", ""};
        cell.prediction = "x0";
        cell.n = 10;
        return !check(cell);
    };
    for (const auto& row :
         product::pairwise({names.size(), schedules.size(), grids.size(), predictions.size(), numbers_of_steps.size()}))
        ran += tried({names[row[0]], schedules[row[1]], grids[row[2]], predictions[row[3]], numbers_of_steps[row[4]]});
    CHECK(ran > names.size() * schedules.size() * 2 / 3);
    // With other fields, and the schedules in turn.
    std::size_t turn = 0;
    for (const auto& row :
         product::pairwise({variants.size(), grids.size(), predictions.size(), numbers_of_steps.size()}))
        tried({variants[row[0]], schedules[++turn % schedules.size()], grids[row[1]], predictions[row[2]],
               numbers_of_steps[row[3]]});
}

TEST_CASE("any sampler, schedule, grid, prediction and number of steps, all of them", "[slow]") {
    // An hour and a half of one core for all; a section for each sampler, so that -c runs one.
    for (const auto& sampler : all_samplers()) {
        DYNAMIC_SECTION(sampler.toml()) {
            for (const auto& schedule : product::parts("schedule", false))
                for (const auto& grid : product::parts("grid"))
                    for (const auto& prediction : predictions)
                        for (const int n : numbers_of_steps) check({sampler, schedule, grid, prediction, n});
        }
    }
}

TEST_CASE("every field of every sampler does something, if only beside one or two others") {
    at::NoGradGuard no_grad;
    const auto& context = chain_of({"linear", ""}, "x0").context;
    const auto denoise = product::GaussianData().denoiser(context.chain, dtk::PredictionType::x0);
    const auto x = stream.stream("x").normal({3, 2}, at::kDouble);
    for (const auto& name : support::registry().names("sampler")) {
        const auto samples = [&](const std::string& fields) -> std::optional<Tensor> {
            try {
                const Cell cell{{name, fields}, {}, {"trailing", ""}, "x0", 12};
                const auto sampler = make<dtk::Sampler>(name, cell.text(), context);
                return sampler->sample(denoise, sampler->times(*context.chain), x, stream);
            } catch (const dtk::Error&) {
                return {};
            }
        };
        if (!samples("")) continue;  // it has to be told what is known; posteriors.cpp looks at its fields
        std::map<std::string, std::vector<std::string>> settings;  // what to try of each field
        for (const auto& field :
             dtk::declared_fields(support::registry().load(support::registry().find("sampler", name)))) {
            auto values = product::other_values(field);
            if (field.type == "number") values.insert(values.end(), {"1e-6", "0.5", "2"});
            if (field.type == "whole number") values.insert(values.end(), {"1", "2"});
            if (field.key.ends_with("tol")) values.push_back("1e-12");
            if (field.key == "variance") values.push_back("\"large\"");
            if (field.key == "steps" || values.empty()) continue;
            for (const auto& value : values) settings[field.key].push_back(field.key + " = " + value);
        }
        std::vector<std::string> beside{""}, two;
        for (const auto& [key, each] : settings)
            for (const auto& one : each) {
                for (const auto& other : beside)
                    if (!other.empty() && !other.starts_with(key + " = ")) two.push_back(other + ", " + one);
                beside.push_back(one);
            }
        beside.insert(beside.end(), two.begin(), two.end());
        for (const auto& [key, each] : settings) {
            const bool does = std::ranges::any_of(each, [&](const std::string& one) {
                return std::ranges::any_of(beside, [&](const std::string& other) {
                    if (other.starts_with(key + " = ") || other.find(", " + key + " = ") != other.npos) return false;
                    const auto with = samples(other.empty() ? one : other + ", " + one), without = samples(other);
                    return with && without && !at::equal(*with, *without);
                });
            });
            INFO(name << ", " << key);
            CHECK(does);
        }
    }
}

namespace {

struct FlowError {
    double error;         ///< of a sampler that draws nothing, at the grid's last time, beside the spread there
    double first, last;   ///< times of the grid
    double longest_step;  ///< in log-SNR
};

/// Nothing where it draws, is refused, or goes elsewhere because of what it is told is known. So many steps in the
/// chain that a grid of whole times is nearly even, which plms believes of every grid.
std::optional<FlowError> flow_error(const product::Part& sampler, const product::Part& schedule,
                                    const product::Part& grid, int n) {
    at::NoGradGuard no_grad;
    const auto& long_chain = chain_of(schedule, "x0", 10000);
    const auto& [context, refusal] = long_chain.context.chain ? long_chain : chain_of(schedule, "x0", 1000);
    if (!context.chain) return {};
    const Cell cell{sampler, schedule, grid, "x0", n};
    std::optional<Fitted> made;
    try {
        made = fitted(sampler.name, cell.text(), context);
    } catch (const dtk::Error&) {
        return {};
    }
    if (made->context.seen) return {};
    const product::GaussianData data;
    const auto& noise = context.chain->levels();
    const auto times = made->sampler->times(*context.chain);
    const auto x = context.chain->prior({5, 2}, at::kDouble, stream.stream("prior"), times.front());
    const auto before_last = [&](const dtk::Random& random) {
        Tensor state;
        const auto denoise = support::told(made->context, data.denoiser(context.chain, dtk::PredictionType::x0), x);
        made->sampler->sample(denoise, times, x, random, [&](std::int64_t i, const Tensor& now) {
            if (i + 1 == static_cast<std::int64_t>(times.size())) state = now;
        });
        return state;
    };
    const auto there = before_last(stream);
    if (!at::equal(there, before_last(stream.stream("other")))) return {};
    const double error = distance(there, data.flow(x, noise, times.front(), times.back())) /
                         std::sqrt(noise.alpha_bar(times.back()) * data.sd * data.sd + noise.sigma2(times.back()));
    double longest = 0;
    for (std::size_t i = noise.alpha(times.front()) > 0 ? 1 : 2; i < times.size(); ++i)
        longest = std::max(longest, noise.log_snr(times[i]) - noise.log_snr(times[i - 1]));
    return FlowError{error, times.front(), times.back(), longest};
}

/// From n = 40 on, with steps an eighth as long, the error falls to half at most, or is rounding; where the grid
/// keeps its ends and its steps become shorter. A method of order one goes to an eighth, where σ grows like √u from 0
/// (sqrt) to a third. An error may change its sign at one n, hardly at two. → were there any?
bool check_falling(const product::Part& sampler, const product::Part& schedule, const product::Part& grid) {
    // Steps whose noise is left out are no steps of the flow.
    if (sampler.fields == "noise_scale = 0") return false;
    const auto few = flow_error(sampler, schedule, grid, 40);
    if (!few) return false;
    // 39 steps stand before the last one, 78 and 312.
    const auto twice = flow_error(sampler, schedule, grid, 79), more = flow_error(sampler, schedule, grid, 313);
    if (!twice || !more || few->first != more->first || std::abs(few->last - more->last) > 1e-9) return false;
    if (more->longest_step > 0.2 * few->longest_step) return false;
    INFO(sampler.toml() << ", " << schedule.toml() << ", " << grid.toml() << ": " << few->error << ", " << twice->error
                        << " → " << more->error);
    // What dopri5 leaves is of the size of its tolerances, however short the steps of the grid.
    const double rounding = sampler.fields.find("dopri5") != std::string::npos ? 1e-4 : 1e-9;
    CHECK((more->error < std::max(few->error, twice->error) / 2 || more->error < rounding));
    return true;
}

}  // namespace

TEST_CASE("the error of a sampler without noise to the exact flow falls from forty steps on") {
    const auto samplers = all_samplers(), schedules = product::parts("schedule", false),
               grids = product::parts("grid", false);
    std::size_t turn = 0, ran = 0;
    for (const auto& sampler : samplers)
        for (std::size_t k = 0; k < 2; ++k, ++turn)
            ran += check_falling(sampler, schedules[turn % schedules.size()], grids[turn % grids.size()]);
    CHECK(ran > 20);
}

TEST_CASE("the error of a sampler without noise to the exact flow falls: any schedule and grid", "[slow]") {
    for (const auto& sampler : all_samplers()) {
        DYNAMIC_SECTION(sampler.toml()) {
            for (const auto& schedule : product::parts("schedule", false))
                for (const auto& grid : product::parts("grid", false)) check_falling(sampler, schedule, grid);
        }
    }
}

// ---- What a consistency model does.

TEST_CASE("with a perfect consistency model one step and many have the law of the data") {
    at::NoGradGuard no_grad;
    constexpr double mean = 0.7, sd = 0.5;
    const auto x = stream.stream("x").normal({4, 2}, at::kDouble);
    for (const char* schedule : {"\"linear\"", "{use = \"edm\", sigma_max = 80}", "\"flow\""})
        for (const double least : {0.0, 0.3})
            for (const int n : {1, 2, 5}) {
                INFO(schedule << ", least " << least << ", " << n << " steps");
                const auto context =
                    support::exact("gaussian_mixture", "preset = \"gmm2d\"", fmt::format("schedule = {}", schedule));
                const auto sampler = make<dtk::Sampler>(
                    "consistency",
                    fmt::format(
                        "steps = {}\nsigma_min = {}\ngrid = {{use = \"karras\", sigma_min = 0.5, sigma_max = 10}}", n,
                        least),
                    context);
                const auto times = sampler->times(*context.chain);
                const auto& noise = context.chain->levels();
                const auto start =
                    noise.alpha(times.front()) * mean +
                    std::sqrt(noise.alpha_bar(times.front()) * sd * sd + noise.sigma2(times.front())) * x;
                // Song et al. 2023, algorithm 1, in x/α, with what f leaves of a standard normal number at each level.
                const double whole = std::sqrt(sd * sd + least * least);
                Tensor expected = mean + whole * x;
                double variance = whole * whole;
                for (int i = 1; i < n; ++i) {
                    const double tau = noise.ratio(times[static_cast<std::size_t>(i)]),
                                 f = whole / std::sqrt(sd * sd + tau * tau), up = std::sqrt(tau * tau - least * least);
                    expected = mean + f * (expected - mean + up * stream.step(i - 1).normal(x.sizes(), x.options()));
                    variance = f * f * (variance + up * up);
                }
                CHECK(variance == Approx(whole * whole).epsilon(1e-14));
                CHECK(distance(
                          sampler->sample(consistency_function(context.chain, mean, sd, least), times, start, stream),
                          expected) < 1e-10);
            }
}

TEST_CASE("adaptive steps begin where α is next to nothing and two times cannot be told apart") {
    for (const char* schedule : {"flow", "interpolant"})
        for (const char* prediction : {"v", "x0"})
            for (const int n : {2, 3})
                CHECK_FALSE(check({{"dpm_solver", "form = \"adaptive\""},
                                   {schedule, ""},
                                   {"uniform_log_snr", "log_snr_min = -100"},
                                   prediction,
                                   n}));
}

TEST_CASE("a sampler by the name of another toolkit is refused with the name it has here") {
    const auto context = preset("gmm2d", "linear");
    for (const auto& [theirs, ours] : {std::pair{"dpmpp_2m", "dpm_solver_pp"},
                                       {"dpmpp_2m_sde", "sde_dpm_solver_pp"},
                                       {"dpm_2_ancestral", "dpm2_ancestral"},
                                       {"euler_a", "euler_ancestral"},
                                       {"pndm", "plms"},
                                       {"dpm_adaptive", "dpm_solver"},
                                       {"tds", "twisted"}})
        CHECK(says(complaint_of([&] { make<dtk::Sampler>(theirs, "", context); }),
                   fmt::format("called `{}` here", ours)));
}
