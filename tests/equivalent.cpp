// Which experiments are one objective: what a schedule, times, a weighting and a prediction come to at each log-SNR,
// against closed forms, and the losses of configurations that are the same by algebra.
#include <cmath>
#include <numbers>
#include <utility>
#include <vector>

#include "bench.hpp"
#include "catch.hpp"
#include "engine/objective.hpp"

using at::Tensor;
using support::distance;

namespace {

struct Setting {
    std::string schedule = "{use = \"cosine\"}", prediction = "eps", loss = "{use = \"simple\"}",
                times = "{use = \"uniform\"}", weighting = "{use = \"uniform\"}", data = "preset = \"gmm2d\"";
};

std::string text_of(const Setting& of) {
    return "seed = 3\ndataset = {use = \"gaussian_mixture\", " + of.data +
           "}\nprocess = {steps = 100, data_sd = 0.5}\nschedule = " + of.schedule +
           "\nmodel = {use = \"mlp\", width = 8, prediction = \"" + of.prediction + "\"}\nloss = " + of.loss +
           "\ntimes = " + of.times + "\nweighting = " + of.weighting + "\ntrain = {steps = 4, batch = 8}\n";
}

/// Values of that log-SNR for every configuration, over those of the first.
std::vector<double> apart(const std::vector<Setting>& settings, const Tensor& log_snr) {
    std::vector<double> worst;
    Tensor first;
    for (const auto& setting : settings) {
        const Bench bench(text_of(setting));
        const auto losses = dtk::ObjectiveByNoise(*bench.stage).losses(log_snr);
        CHECK((losses > 0).all().item<bool>());
        if (!first.defined()) first = losses;
        const auto ratio = losses / first;
        worst.push_back((ratio / ratio.median() - 1).abs().max().item<double>());
    }
    return worst;
}

Tensor normal_density(const Tensor& z) { return (-z.square() / 2).exp() / std::sqrt(2 * std::numbers::pi); }

}  // namespace

TEST_CASE("the effective weight of an objective is that of its formula") {
    const auto log_snr = at::linspace(-4, 4, 17, at::kDouble);
    const auto weight = [&](const Setting& setting) {
        const Bench bench(text_of(setting));
        return dtk::ObjectiveByNoise(*bench.stage).weight(log_snr);
    };
    const auto far = [](const Tensor& a, const Tensor& b) { return (a / b - 1).abs().max().item<double>(); };

    // The straight path: λ = 2 ln((1 − u)/u), du/dλ = u (1 − u)/2.
    const auto u = 1 / (1 + (log_snr / 2).exp());
    const auto uniform = u * (1 - u) / 2;
    const Setting straight{.schedule = "{use = \"flow\"}"};
    auto velocity = straight;
    velocity.prediction = "velocity";
    // ‖Δv‖² = ‖Δx_0‖²/u² = ‖Δε‖²/(1 − u)², v = dx/du.
    CHECK(far(weight(velocity), uniform / (1 - u).square()) < 1e-8);
    auto logit_normal = velocity;
    logit_normal.times = "{use = \"logit_normal\", mean = 0.3, sd = 0.8}";
    const auto logit = (u / (1 - u)).log();
    CHECK(far(weight(logit_normal), normal_density((logit - 0.3) / 0.8) / 0.8 / 2 / (1 - u).square()) < 1e-8);
    // Weighed back to uniform times it is as if they were.
    auto back = logit_normal;
    back.times = "{use = \"logit_normal\", importance = true}";
    CHECK(far(weight(back), weight(velocity)) < 1e-12);

    // Karras et al. 2022, table 1: log σ is normal, λ(σ) = (σ² + σ_d²)/(σ σ_d)² of x_0's error, that is σ²‖Δε‖².
    const Setting edm{.schedule = "{use = \"edm\", sigma_max = 80}",
                      .prediction = "edm",
                      .loss = "{use = \"simple\", target = \"x0\"}",
                      .times = "{use = \"log_normal\", mean = -1.2, sd = 1.2}",
                      .weighting = "{use = \"edm\"}"};
    const auto sigma = (-log_snr / 2).exp();
    const auto formula = normal_density((sigma.log() + 1.2) / 1.2) / 1.2 / 2 * (sigma.square() + 0.25) /
                         (sigma.square() * 0.25) * sigma.square();
    const auto ratio = weight(edm) / formula;  // what of the normal law lies beyond the schedule is cut off
    CHECK(far(ratio, ratio.mean()) < 1e-8);
    CHECK(ratio.mean().item<double>() == Approx(1).margin(1e-3));

    // The weight does not depend on the size of the error where that is squared, and does of huber's.
    for (const auto& [loss, same] : {std::pair("simple", true), std::pair("huber", false)}) {
        const Bench bench(text_of({.loss = fmt::format("{{use = \"{}\"}}", loss)}));
        const dtk::ObjectiveByNoise objective(*bench.stage);
        CHECK((far(objective.weight(log_snr, 0.01), objective.weight(log_snr, 10)) < 1e-7) == same);
    }
    // Outside the schedule's noise nothing counts.
    auto known = straight;
    known.prediction = "v";
    const Bench bench(text_of(known));
    const dtk::ObjectiveByNoise objective(*bench.stage);
    const auto [least, most] = objective.range();
    const auto outside = objective.weight(at::tensor({least - 1, (least + most) / 2, most + 1}, at::kDouble));
    CHECK(outside[0].item<double>() == 0);
    CHECK(outside[1].item<double>() > 0);
    CHECK(outside[2].item<double>() == 0);
}

TEST_CASE("configurations that are one objective by algebra have equal losses to 1e-10, example by example") {
    const auto of = [](const std::string& schedule, const std::string& prediction, const std::string& target,
                       const std::string& weighting, const std::string& times = "{use = \"uniform\"}") {
        return Setting{.schedule = schedule,
                       .prediction = prediction,
                       .loss = "{use = \"simple\", target = \"" + target + "\"}",
                       .times = times,
                       .weighting = weighting};
    };
    const std::string snr = "{use = \"snr\"}", none = "{use = \"uniform\"}", min_snr = "{use = \"min_snr\"}",
                      edm = "{use = \"edm\"}", cosine = "{use = \"cosine\"}", vp = "{use = \"vp\"}",
                      flow = "{use = \"flow\"}", log_normal = "{use = \"log_normal\", mean = 0.0, sd = 1.0}",
                      ve = "{use = \"edm\", sigma_max = 80}";
    auto matching = of(flow, "velocity", "velocity", none);
    matching.loss = "{use = \"flow_matching\"}";
    auto path = of("{use = \"interpolant\", path = \"linear\"}", "x0", "velocity", none,
                   "{use = \"logit_normal\", importance = true}");
    const std::vector<std::vector<Setting>> same{
        {of(cosine, "eps", "model", none), of(cosine, "v", "eps", none), of(cosine, "v", "x0", snr),
         of(cosine, "eps", "v", snr, "{use = \"stratified\"}")},
        {of(vp, "eps", "model", min_snr), of(vp, "x0", "model", min_snr), of(vp, "v", "model", min_snr)},
        {of(vp, "x0", "x0", edm), of(vp, "edm", "model", none), of(vp, "eps", "eps", edm)},
        {of(flow, "velocity", "velocity", none), matching, path},
        // With noise levels drawn by themselves the schedule is of no account, where it has them all: to 1e-8, as the
        // time of a log-SNR is found.
        {of(ve, "edm", "model", none, log_normal), of(vp, "v", "x0", edm, log_normal),
         of(flow, "velocity", "x0", edm, log_normal), of(cosine, "v", "x0", edm, log_normal)}};
    const auto log_snr = at::linspace(-4, 4, 200, at::kDouble);
    for (const auto& group : same)
        for (const double worst : apart(group, log_snr)) CHECK(worst < (&group == &same.back() ? 1e-8 : 1e-10));

    // And what is not the same is not: another target, another schedule, another coupling of the same weight.
    auto coupled = matching;
    coupled.loss = "{use = \"flow_matching\", coupling = \"optimal\"}";
    for (const auto& [a, b] :
         {std::pair(of(cosine, "eps", "model", none), of(cosine, "v", "model", none)),
          std::pair(of(cosine, "eps", "model", none), of(vp, "eps", "model", none)),
          std::pair(of(vp, "eps", "model", min_snr), of(vp, "x0", "model", none)), std::pair(matching, coupled)})
        CHECK(apart({a, b}, log_snr).back() > 1e-3);
}

TEST_CASE("dtk schedule equivalent says whether two experiments are one objective, and where they differ") {
    const Folder folder;
    write(folder / "a.toml", text_of({}));
    write(folder / "b.toml",
          text_of({.prediction = "v", .loss = "{use = \"simple\", target = \"x0\"}", .weighting = "{use = \"snr\"}"}));
    const auto ask = [&](std::vector<std::string> words, int code) {
        std::vector<std::string> all{"schedule", "equivalent"};
        all.insert(all.end(), words.begin(), words.end());
        const auto outcome = dtk_program(all, folder.path);
        INFO(outcome.out << outcome.err);
        CHECK(outcome.code == code);
        return outcome.out + outcome.err;
    };
    CHECK(says(ask({"a.toml", "b.toml"}, 0), "the same objective: B is 1 times A"));
    const auto other = ask({"a.toml", "--b", "weighting=min_snr"}, 1);
    CHECK(says(other, "not the same objective"));
    CHECK(says(other, "weighting.use"));
    CHECK(says(ask({"a.toml", "--b", "dataset.preset=gmm1d"}, 1), "the data differ"));
    CHECK(says(ask({"a.toml", "--set", "loss=consistency", "--set", "model.prediction=x0"}, 2), "weighs nothing"));
    CHECK(says(ask({"a.toml", "--set", "loss=vae"}, 2), "does not stand for one drawn time"));
    CHECK(says(ask({"a.toml", "--set", "schedule=flow", "--set", "model.prediction=velocity", "--a",
                    "loss=flow_matching", "--b", "loss={use = \"flow_matching\", coupling = \"optimal\"}"},
                   1),
               "each noise level has the same weight"));
    CHECK(says(ask({"a.toml", "gone.toml"}, 2), "gone.toml"));
    CHECK(says(ask({"a.toml", "--b", "schedule.s=2"}, 2), "outside"));

    const auto shown =
        dtk_program({"schedule", "show", "a.toml", "linear", "--format", "json", "--picture", "w.svg"}, folder.path);
    INFO(shown.err);
    REQUIRE(shown.code == 0);
    const auto json = nlohmann::json::parse(shown.out);
    REQUIRE(json.size() == 2);
    CHECK(json[0]["weight"].size() == 100);
    CHECK_FALSE(json[1].contains("weight"));
    // ε's error under uniform times counts as often as they meet a log-SNR.
    for (const std::size_t t : {10, 50, 90})
        CHECK(json[0]["weight"][t].get<double>() == Approx(json[0]["log_snr_density"][t].get<double>()).epsilon(1e-9));
    CHECK(says(read(folder / "w.svg"), "effective weight"));
}
