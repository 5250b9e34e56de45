// Which schedule is best with an exact denoiser, without a network and without chance: whole experiments against the
// distances of the reference, to the last digits, and the laws that Gaussian data are turned into against their closed
// forms.
#include <cmath>
#include <map>
#include <tuple>

#include "base/engine.hpp"
#include "base/experiment.hpp"
#include "base/files.hpp"
#include "catch.hpp"
#include "engine/sampling.hpp"
#include "folder.hpp"
#include "support.hpp"

using at::Tensor;
using support::make;

namespace {

/// The schedules of the reference as fields of a process.
const std::map<std::string, std::string> schedules{
    {"linear", "{use = \"linear\"}"},
    {"quad", "{use = \"quadratic\"}"},
    {"scaled_linear", "{use = \"quadratic\", beta_start = 0.00085, beta_end = 0.012}"},
    {"cosine", "{use = \"cosine\"}"},
    {"sigmoid_abar", "{use = \"sigmoid\"}"},
    {"exponential_beta", "{use = \"exponential\"}"}};

/// An experiment without training is sampled, and shown to `use`.
template <class Use>
auto sampled(const std::string& text, const Use& use) {
    const Folder folder;
    dtk::write_atomically(folder / "experiment.toml", text);
    std::unique_ptr<dtk::Registry> registry;
    dtk::Diagnostics mistakes;
    dtk::Overrides overrides;
    overrides.plugin_path = {DTK_PLUGINS};
    auto experiment = dtk::read_experiment(folder / "experiment.toml", overrides, registry, mistakes);
    INFO(mistakes.text());
    REQUIRE(mistakes.empty());
    const auto no_artefacts = [](const std::string&) -> dtk::TrainedNetwork {
        throw dtk::Error("there are no artefacts here");
    };
    auto& spec = experiment.stages.front();
    dtk::Stage stage(spec, experiment.seed, no_artefacts, true, mistakes);
    REQUIRE(mistakes.empty());
    stage.train(false);
    return use(stage, dtk::draw_samples(stage, *spec.sample, at::kCPU, dtk::Progress::Mode::none));
}

/// The values of its metrics.
std::vector<double> outcome_of(const std::string& text) {
    return sampled(text, [](const dtk::Stage& stage, const dtk::Drawn& drawn) {
        const dtk::EvaluationInput outcome{drawn.samples,      stage.dataset(), stage.process(),
                                           stage.denoiser({}), at::kCPU,        drawn.start};
        std::vector<double> values;
        for (const auto& metric : stage.list<dtk::Metric>())
            values.push_back(metric->evaluate(outcome, stage.random("metric")).value);
        return values;
    });
}

/// Mean and variance of what a sampler makes of N(0, 1) where every step is x ← A·x + B + sd·z. A, B and sd are read
/// off one call with a few rows: the noise of each is known.
std::pair<double, double> output_law(const dtk::Sampler& sampler, const support::BuildContext& context) {
    const dtk::Random stream(11, "ranking");
    at::NoGradGuard no_grad;
    auto before = at::linspace(-2, 2, 9, at::kDouble).unsqueeze(1);
    double mean = 0, variance = 1, worst = 0;
    sampler.sample(support::denoiser(context), sampler.times(*context.chain), before, stream,
                   [&](std::int64_t i, const Tensor& after) {
                       const auto z = stream.step(i - 1).normal(before.sizes(), before.options());
                       const auto rows = at::cat({before, at::ones_like(before), z}, 1);
                       const auto fit = std::get<0>(at::linalg_lstsq(rows, after));
                       worst = std::max(worst, support::distance(rows.matmul(fit), after));
                       const double a = fit[0].item<double>(), b = fit[1].item<double>(), sd = fit[2].item<double>();
                       mean = a * mean + b;
                       variance = a * a * variance + sd * sd;
                       before = after;
                   });
    CHECK(worst < 1e-11);
    return {mean, variance};
}

}  // namespace

TEST_CASE("six schedules rank on a mixture as the reference says, with 5 to 100 steps of ddim") {
    for (const auto& [key, schedule] : schedules)
        for (const int n : {5, 10, 20, 50, 100}) {
            const auto values = outcome_of(fmt::format(
                "seed = 1\ndataset = {{use = \"gaussian_mixture\", preset = \"gmm1d\"}}\nprocess = {{steps = 1000, "
                "schedule = {}}}\nmodel = {{use = \"exact\"}}\n"
                "sampler = {{use = \"ddim\", steps = {}}}\nsample = {{n = 20000, batch = 20000, start = \"quantiles\", "
                "precision = \"float64\"}}\n"
                "metric = [{{use = \"wasserstein\", repeats = 4}}, {{use = \"wasserstein\", name = \"W_2\", p = 2, "
                "repeats = 4}}]\n",
                schedule, n));
            const auto& expected = support::reference()["schedule_ranking"]["gmm1d_ddim"][fmt::format("N={}", n)][key];
            INFO(key << ", " << n << " steps: " << values[0] << ", " << values[1]);
            CHECK(std::abs(values[0] - expected["W1"].get<double>()) < 1e-6);
            CHECK(std::abs(values[1] - expected["W2"].get<double>()) < 1e-6);
        }
}

TEST_CASE("what samplers make of Gaussian data has the closed forms' mean, variance, distance and divergence") {
    const std::map<std::string, std::pair<std::string, std::string>> samplers{
        {"ddim", {"ddim", ""}},
        {"ddpm_small", {"ddpm", "variance = \"small\"\n"}},
        {"ddpm_large", {"ddpm", "variance = \"large\"\n"}}};
    for (const auto& [key, schedule] : schedules)
        for (const double s2 : {0.01, 0.25, 1.0}) {
            const double m = 0.7, s = std::sqrt(s2);
            const auto context =
                support::exact("gaussian_mixture", fmt::format("preset = \"none\"\nmeans = [[{}]]\nstd = [{}]", m, s),
                               "schedule = " + schedule);
            for (const int n : {10, 20, 50, 100, 1000})
                for (const auto& [kind, sampler] : samplers) {
                    if (n == 1000 && s2 != 0.25) continue;  // all steps: once is enough
                    const auto name = fmt::format("s2={:g},N={},{}", s2, n, kind);
                    INFO(name << ", " << key);
                    const auto& expected = support::reference()["schedule_ranking"]["gaussian"][name][key];
                    const auto [mean, variance] = output_law(
                        *make<dtk::Sampler>(sampler.first, fmt::format("{}steps = {}", sampler.second, n), context),
                        context);
                    const double off = mean - m;
                    CHECK(std::abs(mean - expected["mean"].get<double>()) < 1e-9);
                    CHECK(std::abs(variance - expected["var"].get<double>()) < 1e-9);
                    CHECK(std::abs(std::hypot(off, std::sqrt(variance) - s) - expected["W2"].get<double>()) < 1e-9);
                    CHECK(std::abs(0.5 * (variance / s2 + off * off / s2 - 1 - std::log(variance / s2)) -
                                   expected["KL_out_true"].get<double>()) < 1e-7);
                }
        }
}

TEST_CASE("samples start from as much noise as there is where the grid begins") {
    for (const auto& [schedule, grid, sd] :
         {std::tuple("{use = \"edm\", sigma_max = 80}", "{use = \"trailing\"}", 80.0),
          {"{use = \"edm\", sigma_max = 80}", "{use = \"karras\", sigma_max = 5}", 5.0},
          {"{use = \"linear\"}", "{use = \"karras\", sigma_max = 5}", 1.0}})
        for (const char* start : {"random", "quantiles"}) {
            INFO(schedule << ", " << grid << ", " << start);
            const auto text = fmt::format(R"(
dataset = {{use = "gaussian_mixture", preset = "gmm1d"}}
process = {{steps = 100}}
schedule = {}
model = {{use = "exact"}}
sampler = {{use = "euler", steps = 2, grid = {}}}
sample = {{n = 20000, batch = 20000, start = "{}"}}
)",
                                          schedule, grid, start);
            CHECK(sampled(text, [](const dtk::Stage&, const dtk::Drawn& drawn) {
                      return drawn.start.std().item<double>();
                  }) == Approx(sd).epsilon(0.02));
        }
}

TEST_CASE("clipped estimates lie in the data's range, and ε̂ goes with them") {
    const auto text = R"(
dataset = {use = "dead_leaves", size = 4}
process = {steps = 100}
schedule = {use = "linear"}
model = {use = "mlp", width = 8, depth = 1}
train = {steps = 1, batch = 4}
sampler = {use = "ddim", steps = 4}
sample = {n = 20, batch = 20, clip = true}
)";
    sampled(text, [](const dtk::Stage& stage, const dtk::Drawn& drawn) {
        const auto range = stage.space().range;
        REQUIRE(range);
        const auto [least, most] = *range;
        CHECK((drawn.samples >= least).logical_and(drawn.samples <= most).all().item<bool>());
        // A network that has learned nothing says ε̂ = 0, x̂_0 = x/α.
        at::NoGradGuard no_grad;
        const auto x = dtk::Random(1, "x").normal({3, 1, 4, 4}, at::kDouble);
        const auto& levels = stage.process().levels();
        const auto x0 = (x / levels.alpha(80)).clamp(least, most);
        const auto [estimate, eps] = stage.denoiser({.clip = range}).estimate(x, 80);
        CHECK(support::distance(estimate, x0) < 1e-5);
        CHECK(support::distance(eps, (x - levels.alpha(80) * x0) / levels.sigma(80)) < 1e-5);
        return 0;
    });
}
