// Samplers against exact answers: with the exact denoiser what is left is the sampler's own error. Then the laws that
// every sampler of the build keeps to.
#include <array>
#include <cmath>
#include <numbers>
#include <optional>

#include <dtk/schedule.hpp>

#include "catch.hpp"
#include "line.hpp"
#include "support.hpp"

using at::Tensor;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(11, "samplers");

support::View preset(const std::string& data, const std::string& schedule, const std::string& prediction = "x0") {
    return support::exact("gaussian_mixture", fmt::format("preset = \"{}\"", data),
                          fmt::format("schedule = \"{}\"", schedule), fmt::format("prediction = \"{}\"", prediction));
}

Tensor sampled(const dtk::Sampler& sampler, const support::View& view, const Tensor& x,
               const dtk::Random& random = stream, const dtk::StepCallback& done = dtk::ignore_step) {
    at::NoGradGuard no_grad;
    return sampler.sample(support::denoiser(view, x), sampler.times(*view.chain), x, random, done);
}

/// One step t → s of a sampler as mean and standard deviation, got from what it does with two known draws.
struct Step {
    Tensor mean;
    double sd;
};
Step step(const dtk::Sampler& sampler, const support::View& view, double t, std::optional<double> s, const Tensor& x) {
    at::NoGradGuard no_grad;
    std::vector<double> times{t};
    if (s) times.push_back(*s);
    const auto after = [&](const dtk::Random& random) {
        Tensor first;
        sampler.sample(support::denoiser(view), times, x, random, [&](std::int64_t i, const Tensor& state) {
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
Tensor replayed(const dtk::Sampler& sampler, const support::View& view, Tensor x, const Tensor& noise) {
    const auto times = sampler.times(*view.chain);
    for (std::size_t i = 0; i < times.size(); ++i) {
        const auto [mean, sd] =
            step(sampler, view, times[i], i + 1 < times.size() ? std::optional(times[i + 1]) : std::nullopt, x);
        x = mean + sd * noise[static_cast<std::int64_t>(i)];
    }
    return x;
}

/// A sampler over those data, told where it has to be that the first element of them is known, exactly or nearly.
struct Fitted {
    support::View view;
    std::shared_ptr<dtk::Sampler> sampler;
};
Fitted fitted(const std::string& name, const std::string& fields, const support::View& view) {
    auto told = view;
    for (const auto* known : {"", "values = [0.3]", "values = [0.3]\nsd = 0.5"}) {
        if (*known) told.seen = make<dtk::Observation>("elements", fmt::format("coordinates = [0]\n{}", known), view);
        try {
            return {told, make<dtk::Sampler>(name, fields, told)};
        } catch (const dtk::Error&) {
        }
    }
    return {told, make<dtk::Sampler>(name, fields, told)};  // and says why not
}

/// Every sampler of the build, by its name, with the view that it is fitted to.
template <class Law>
void for_every_sampler(const support::View& view, const std::string& fields, const Law& law) {
    for (const auto& name : support::registry().names("sampler")) {
        INFO(name);
        // A sampler may refuse in words a grid that it cannot use; with the steps it has by default it may not.
        std::optional<Fitted> told;
        try {
            told = fitted(name, fields, view);
        } catch (const dtk::Error& error) {
            INFO(error.what());
            CHECK_NOTHROW(fitted(name, "", view));
            continue;
        }
        law(*told->sampler, told->view);
    }
}

}  // namespace

TEST_CASE("ddim with the exact denoiser gives the reference samples") {
    for (const char* schedule : {"linear", "cosine"})
        for (const char* data : {"gmm1d", "gmm2d"}) {
            const auto& reference = support::reference()["vp_samplers"][schedule][data];
            const auto view = preset(data, schedule);
            const auto x = support::tensor(reference["x_T"]);
            const bool linear = std::string(schedule) == "linear";
            for (const char* grid : {"leading", "trailing", "linspace"})
                for (const int n : {10, 20, 50}) {
                    INFO(schedule << ", " << data << ", " << grid << ", " << n << " steps");
                    const auto ddim =
                        make<dtk::Sampler>("ddim", fmt::format("steps = {}\ngrid = \"{}\"", n, grid), view);
                    const auto expected = support::tensor(reference[fmt::format("{}_{}", grid, n)]["ddim_eta0"]);
                    CHECK(distance(sampled(*ddim, view, x), expected) < (linear ? 1e-10 : 1e-9));
                    CHECK(distance(sampled(*ddim, view, x.to(at::kFloat)).to(at::kDouble), expected) <
                          (linear ? 1e-5 : 1e-3));
                }
            INFO(schedule << ", " << data << ", all steps");
            const auto all = sampled(*make<dtk::Sampler>("ddim", "", view), view, x);
            CHECK(distance(all, support::tensor(reference["ddim_eta0_full_T"])) < (linear ? 1e-10 : 1e-9));
        }
}

TEST_CASE("it does not matter to a sampler in which type the network answers") {
    const auto x = support::tensor(support::reference()["constants"]["x2"]);
    const auto told = [&](const char* kind) {
        const auto view = preset("gmm2d", "linear", kind);
        return sampled(*make<dtk::Sampler>("ddpm", "steps = 20", view), view, x);
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
            const auto view = preset(data, schedule);
            for (const auto& [name, fields, key] : cases) {
                INFO(schedule << ", " << data << ", " << key);
                const auto sampler = make<dtk::Sampler>(name, "steps = 10\n" + fields, view);
                CHECK(
                    distance(replayed(*sampler, view, support::tensor(all["x_T"]), support::tensor(reference["noise"])),
                             support::tensor(reference[key])) < 1e-9);
            }
        }
}

TEST_CASE("ddim with all of the noise is ddpm with the small variance") {
    const auto view = preset("gmm2d", "linear");
    const auto x = support::tensor(support::reference()["constants"]["x2"]);
    for (const int n : {3, 20, 50}) {
        const auto ddim = make<dtk::Sampler>("ddim", fmt::format("eta = 1\nsteps = {}", n), view);
        const auto ddpm = make<dtk::Sampler>("ddpm", fmt::format("steps = {}", n), view);
        CHECK(distance(sampled(*ddim, view, x), sampled(*ddpm, view, x)) < 1e-12);
    }
}

TEST_CASE("ddim converges to the exact flow with order one") {
    // Up to the last time but one: the step to no noise at all has an error of its own.
    const auto view = support::exact("gaussian_mixture", "preset = \"gmm1d\"", "steps = 4096\nschedule = \"linear\"");
    const auto x = support::tensor(support::reference()["constants"]["x1"]);
    std::vector<double> exact;
    for (std::int64_t i = 0; i < x.size(0); ++i)
        exact.push_back(line::flow(x[i].item<double>(), view.chain->levels(), 4095, 0));
    const auto truth = at::tensor(exact, at::kDouble).unsqueeze(1);
    std::vector<double> errors;
    for (const std::int64_t n : {64, 256, 1024}) {
        const auto ddim = make<dtk::Sampler>("ddim", fmt::format("steps = {}\ngrid = \"linspace\"", n + 1), view);
        sampled(*ddim, view, x, stream, [&](std::int64_t i, const Tensor& state) {
            if (i == n) errors.push_back(distance(state, truth));
        });
    }
    INFO("errors " << errors[0] << ", " << errors[1] << ", " << errors[2]);
    CHECK(std::log(errors[1] / errors[2]) / std::log(4.0) == Approx(1).margin(0.05));
    CHECK(std::log(errors[0] / errors[2]) / std::log(16.0) == Approx(1).margin(0.1));
}

TEST_CASE("every sampler does the same with the same numbers, and remembers nothing") {
    const auto view = preset("gmm2d", "linear");
    const auto x = stream.stream("x").normal({8, 2}, at::kDouble);
    for_every_sampler(view, "steps = 12", [&](const dtk::Sampler& sampler, const support::View& view) {
        const auto once = sampled(sampler, view, x);
        sampled(sampler, view, stream.stream("other").normal({3, 2}, at::kDouble), stream.stream("other"));
        CHECK(at::equal(once, sampled(sampler, view, x)));
        CHECK(once.sizes() == x.sizes());
        CHECK(once.scalar_type() == at::kDouble);
        CHECK(sampled(sampler, view, x.to(at::kFloat)).scalar_type() == at::kFloat);
    });
}

TEST_CASE("every sampler reports each step once, and ends with what it reported last") {
    const auto view = preset("gmm2d", "linear");
    const auto x = stream.stream("x").normal({4, 2}, at::kDouble);
    for_every_sampler(view, "steps = 7", [&](const dtk::Sampler& sampler, const support::View& view) {
        std::vector<std::int64_t> steps;
        Tensor last;
        const auto end = sampled(sampler, view, x, stream,
                                 [&](std::int64_t i, const Tensor& state) { steps.push_back(i), last = state; });
        CHECK(steps == std::vector<std::int64_t>{1, 2, 3, 4, 5, 6, 7});
        CHECK(at::equal(end, last));
    });
}

TEST_CASE("a sample of every sampler does not depend on the batch it is drawn in") {
    const auto view = preset("gmm2d", "cosine");
    const auto x = stream.stream("x").normal({8, 2}, at::kDouble);
    for_every_sampler(view, "steps = 12", [&](const dtk::Sampler& sampler, const support::View& view) {
        const auto parts =
            at::cat({sampled(sampler, view, x.slice(0, 0, 3)), sampled(sampler, view, x.slice(0, 3), stream.from(3))});
        CHECK(distance(sampled(sampler, view, x), parts) < 1e-12);
    });
}

TEST_CASE("every sampler stays finite with one, two or three steps") {
    for (const char* schedule : {"linear", "cosine", "cosine_log_snr"}) {
        const auto view = preset("gmm2d", schedule);
        const auto x = stream.stream("x").normal({64, 2}, at::kFloat);
        for (const int n : {1, 2, 3})
            for_every_sampler(view, fmt::format("steps = {}", n),
                              [&](const dtk::Sampler& sampler, const support::View& view) {
                                  INFO(schedule << ", " << n);
                                  CHECK(at::isfinite(sampled(sampler, view, x)).all().item<bool>());
                              });
    }
}

TEST_CASE("every sampler comes closer to the data with more steps") {
    // The last of two independent elements: what is known of the first says nothing of it.
    const std::string data = "preset = \"none\"\nmeans = [[0.3, 0.3]]\nstd = [0.5]";
    const auto view = support::exact("gaussian_mixture", data, "schedule = \"linear\"");
    const auto x = stream.stream("x").normal({1500, 2}, at::kDouble);
    for (const auto& name : support::registry().names("sampler")) {
        const auto w2 = [&](int steps) {
            // With fresh noise at each step diffpir is biased without any y; see there.
            const auto* fields = name == "diffpir" ? "\nxi = 0" : "";
            const auto [told, sampler] = fitted(name, fmt::format("steps = {}{}", steps, fields), view);
            const auto y = sampled(*sampler, told, x).select(1, -1);
            return std::hypot(y.mean().item<double>() - 0.3, y.std().item<double>() - 0.5);
        };
        const double many = w2(500);
        double few = INFINITY;  // of a sampler that refuses so few steps
        try {
            few = w2(20);
        } catch (const dtk::Error& refused) {
            INFO(refused.what());
        }
        INFO(name << ": " << few << " with 20 steps, " << many << " with 500");
        CHECK(many < few);
        CHECK(many < 0.03);
    }
}
