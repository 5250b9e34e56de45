// What sampling starts from: files, inversion, ways between two noises; and the states that are kept on the way.
#include <dtk/safetensors.hpp>

#include "engine/start.hpp"

#include <cmath>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "run_program.hpp"
#include "support.hpp"

using at::Tensor;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(23, "starts");

const std::string experiment = R"(name = "tiny"
seed = 5
threads = 1
[dataset]
use = "gaussian_mixture"
[process]
steps = 200
schedule = "cosine"
[model]
use = "exact"
[sampler]
use = "ddim"
steps = 20
[sample]
n = 40
batch = 16
precision = "float64"
)";

/// Runs the experiment with those settings of [sample]; its folder.
std::filesystem::path ran(const Folder& folder, const std::string& name, std::vector<std::string> settings) {
    write(folder / "tiny.toml", experiment);
    std::vector<std::string> command{"run", "tiny.toml", "--out", name, "--progress", "none"};
    for (auto& one : settings) command.insert(command.end(), {"--set", "sample." + std::move(one)});
    const auto outcome = dtk_program(command, folder.path);
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    return folder / name;
}

Tensor samples_of(const std::filesystem::path& run) {
    return dtk::load_safetensors((run / "samples.safetensors").string()).tensors.at("samples");
}

}  // namespace

TEST_CASE("between two noises along the great circle the length stays") {
    const auto a = stream.normal({4, 3, 2}, at::kDouble);
    auto b = stream.stream("b").normal({4, 3, 2}, at::kDouble);
    b[3] = 2 * a[3];  // the same direction
    const auto norm = [](const Tensor& x) { return x.flatten(1).norm(2, 1); };
    const auto all = [](double share) { return at::full({4}, share, at::kDouble); };
    CHECK(distance(dtk::spherical(a, b, all(0)), a) < 1e-12);
    CHECK(distance(dtk::spherical(a, b, all(1)), b) < 1e-12);
    CHECK(distance(dtk::spherical(a, b, all(0.25))[3], 1.25 * a[3]) < 1e-9);
    // Of two of one length all between have it, and stand at equal angles.
    const auto c = b.slice(0, 0, 3) / norm(b.slice(0, 0, 3)).view({3, 1, 1}),
               d = a.slice(0, 0, 3) / norm(a.slice(0, 0, 3)).view({3, 1, 1});
    const auto third = dtk::spherical(d, c, at::full({3}, 1.0 / 3, at::kDouble));
    CHECK(distance(norm(third), at::ones({3}, at::kDouble)) < 1e-12);
    const auto angle = [](const Tensor& x, const Tensor& y) { return (x * y).flatten(1).sum(1).acos(); };
    CHECK(distance(3 * angle(d, third), angle(d, c)) < 1e-9);
}

TEST_CASE("inverted examples are what the same DDIM steps make of the noise that was found") {
    at::NoGradGuard no_grad;
    for (const char* schedule : {"\"linear\"", "\"cosine\"", "\"flow\"", "\"edm\""}) {
        INFO(schedule);
        const auto context = support::exact("gaussian_mixture", "preset = \"gmm2d\"",
                                            fmt::format("schedule = {}\nsteps = 1000", schedule));
        const auto denoise = support::denoiser(context);
        const auto sampler = make<dtk::Sampler>("ddim", "steps = 40", context);
        const auto times = sampler->times(*context.chain);
        const auto x0 = context.data->test_examples(at::arange(20, at::kLong)).x.to(at::kDouble);
        const auto found = dtk::inverted(denoise, times, x0);
        const auto again = sampler->sample(denoise, times, found, stream);
        // From a time without signal no step leads back, only Euler's the other way.
        CHECK(distance(again, x0) < (context.chain->levels().alpha(times.front()) == 0 ? 0.3 : 1e-4));
    }
}

TEST_CASE("what is found for examples comes to the exact flow's noise as steps grow finer") {
    at::NoGradGuard no_grad;
    const auto context =
        support::exact("gaussian_mixture", "preset = \"none\"\nmeans = [[0.7]]\ncovariances = [[0.09]]",
                       "schedule = \"flow\"\nsteps = 1000");
    const auto x0 = at::linspace(0, 1.4, 7, at::kDouble).unsqueeze(1);
    const auto exact = (x0 - 0.7) / 0.3;  // N(0.7, 0.3²) to N(0, 1)
    double before = 1;
    for (const int steps : {20, 40, 80, 160}) {
        const auto sampler = make<dtk::Sampler>("ddim", fmt::format("steps = {}", steps), context);
        const double off =
            distance(dtk::inverted(support::denoiser(context), sampler->times(*context.chain), x0), exact);
        CHECK(off < 0.62 * before);  // of order one
        before = off;
    }
    CHECK(before < 0.03);
    const auto one = make<dtk::Sampler>("ddim", "steps = 1", context);
    CHECK(says(complaint_of([&] { dtk::inverted(support::denoiser(context), one->times(*context.chain), x0); }),
               "without signal"));
}

TEST_CASE("samples start from a file, from what was found for examples, and between two noises") {
    const Folder folder;
    const auto plain = samples_of(ran(folder, "plain", {}));
    // The noise that leads to them, and from that noise they again.
    const auto found = ran(folder, "found", {"start=\"plain/samples.safetensors\"", "invert=true"});
    const auto start = dtk::load_safetensors((found / "start.safetensors").string()).tensors.at("start");
    CHECK(start.sizes() == plain.sizes());
    CHECK(distance(samples_of(found), plain) < 1e-3);
    const auto again = ran(folder, "again", {"start=\"found/start.safetensors\""});
    CHECK(distance(samples_of(again), samples_of(found)) < 1e-12);
    // Five for each pair, whatever the batch; the ends are what their noises give alone.
    const auto between = samples_of(ran(folder, "between", {"interpolate=5"}));
    CHECK(distance(between[0], plain[0]) < 1e-9);
    CHECK(distance(between[4], plain[1]) < 1e-9);
    CHECK(distance(between[5], plain[2]) < 1e-9);
    CHECK(distance(between[39], plain[15]) < 1e-9);
    CHECK(distance(between[2], plain[0]) > 1e-3);
    CHECK(distance(samples_of(ran(folder, "portions", {"interpolate=5", "batch=7"})), between) < 1e-9);
}

TEST_CASE("the flow that samples are held against begins where the sampler's grid does") {
    const Folder folder;
    const auto sampler = changed(experiment, "use = \"ddim\"\nsteps = 20", R"(use = "heun"
steps = 60
grid = {use = "karras", sigma_min = 1e-3, sigma_max = 5})");
    write(folder / "tiny.toml", sampler + "[[metric]]\nuse = \"ode_error\"\n");
    for (const std::string schedule : {"cosine", "edm"}) {
        const auto outcome =
            dtk_program({"run", "tiny.toml", "--out", schedule, "--progress", "none", "--set", "schedule=" + schedule},
                        folder.path);
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
        const auto record = nlohmann::json::parse(read(folder / schedule / "run.json"));
        CHECK(record["result"]["metrics"][0]["value"] < 0.02);
    }
}

TEST_CASE("examples with noise up to some time are started from, and a part of them is kept") {
    const Folder folder;
    // Of N(0, s²) the flow scales by √(α²s² + σ²): from x_0 = a to α a + σ ε and on to s (α a + σ ε)/√(α²s² + σ²).
    const auto gaussian = changed(experiment, "use = \"gaussian_mixture\"",
                                  "use = \"gaussian_mixture\"\npreset = \"none\"\nmeans = [[0, 0]]\nstd = [2]");
    write(folder / "tiny.toml", changed(gaussian, "steps = 20\n[sample]", "steps = 100\n[sample]"));
    const auto a = 3.0 * at::ones({2, 2}, at::kDouble);
    a[1].fill_(-1);
    dtk::save_safetensors(folder / "examples.safetensors", {{{"samples", a}}, {}});
    const auto run = [&](const std::string& name, const std::string& share) {
        const auto outcome = dtk_program(
            {"run", "tiny.toml", "--out", name, "--progress", "none", "--set", "sample.start=\"examples.safetensors\"",
             "--set", "sample.renoise=" + share, "--set", "sample.n=4000", "--set", "sample.trajectory=2"},
            folder.path);
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
        return folder / name;
    };
    for (const std::string share : {"0.3", "0.6", "1.0"}) {
        INFO(share);
        const auto folder_of = run("renoised" + share, share);
        const auto x = samples_of(folder_of);
        const auto first = dtk::load_safetensors((folder_of / "trajectory.safetensors").string()).tensors.at("t");
        const double t = first[0].item<double>();
        CHECK(t == Approx(share == "1.0" ? 199 : 199 * std::stod(share)).margin(3));
        const auto levels = make<dtk::Schedule>("cosine")->levels(200);
        const double alpha = levels.alpha(t), sigma = levels.sigma(t),
                     all = std::sqrt(4 * alpha * alpha + sigma * sigma);
        for (const int row : {0, 1}) {  // taken in turn
            const auto of_row = x.slice(0, row, 4000, 2).flatten();
            const double kept = 2 * alpha * a[row][0].item<double>() / all, spread = 2 * sigma / all;
            CHECK(of_row.mean().item<double>() == Approx(kept).margin(4 * spread / 63 + 0.02));
            CHECK(of_row.std().item<double>() == Approx(spread).epsilon(0.06));
        }
    }
}

TEST_CASE("a kept trajectory goes from x_T to the sample, and its picture is drawn") {
    const Folder folder;
    const auto run = ran(folder, "kept", {"trajectory=6"});
    const auto kept = dtk::load_safetensors((run / "trajectory.safetensors").string()).tensors;
    const auto x = kept.at("x"), x0 = kept.at("x0"), t = kept.at("t");
    CHECK(x.sizes() == at::IntArrayRef({6, 16, 2}));  // those of the first portion
    CHECK(x0.sizes() == x.sizes());
    CHECK(t[0].item<double>() == 199);
    CHECK(t[5].item<double>() == -1);
    CHECK(distance(x[5], samples_of(run).slice(0, 0, 16)) == 0);
    CHECK(x0[0].isnan().all().item<bool>());
    CHECK(distance(x0[5], x[5]) < 1e-12);  // the last step of DDIM takes the estimate
    CHECK(read(run / "trajectory.svg").find("<svg") != std::string::npos);
    // It changes no sample.
    CHECK(distance(samples_of(ran(folder, "bare", {})), samples_of(run)) == 0);
}

TEST_CASE("quantiles are of the law that sampling starts from, whatever its spread and its grid's beginning") {
    const Folder folder;
    for (const std::string schedule : {"cosine", "ve", "{use = \"edm\", sigma_max = 30.0}"}) {
        INFO(schedule);
        const auto name = "from_" + schedule.substr(0, 5);
        write(folder / "tiny.toml", experiment);
        const auto outcome =
            dtk_program({"run", "tiny.toml", "--out", name, "--progress", "none", "--set", "dataset.preset=gmm1d",
                         "--set", "process.schedule=" + schedule, "--set", "sample.start=quantiles", "--set",
                         "sample.batch=40", "--set", "sample.trajectory=3"},
                        folder.path);
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
        const auto kept = dtk::load_safetensors((folder / name / "trajectory.safetensors").string()).tensors;
        const auto first = kept.at("x").select(0, 0).flatten(),
                   shares = (at::arange(first.numel(), at::kDouble) + 0.5) / 40;
        const double sd = schedule == "cosine" ? 1 : schedule == "ve" ? 100 : 30;
        CHECK(distance(first, sd * at::special_ndtri(shares)) < 1e-9);
    }
}

TEST_CASE("what cannot be started from is refused before anything is drawn") {
    const Folder folder;
    write(folder / "tiny.toml", experiment);
    dtk::save_safetensors(folder / "short.safetensors", {{{"start", at::zeros({3, 2})}}, {}});
    dtk::save_safetensors(folder / "shape.safetensors", {{{"start", at::zeros({50, 3})}}, {}});
    dtk::save_safetensors(folder / "two.safetensors", {{{"a", at::zeros({50, 2})}, {"b", at::zeros({50, 2})}}, {}});
    dtk::save_safetensors(folder / "nan.safetensors", {{{"start", at::full({50, 2}, std::nan(""))}}, {}});
    const auto refused = [&](std::vector<std::string> settings, const char* reason) {
        std::vector<std::string> command{"check", "tiny.toml"};
        for (auto& one : settings) command.insert(command.end(), {"--set", "sample." + std::move(one)});
        const auto outcome = dtk_program(command, folder.path);
        INFO(outcome.err);
        CHECK(outcome.code == 2);
        CHECK(says(outcome.err, reason));
    };
    refused({"start=\"short.safetensors\""}, "3 rows, and 40 samples need 40");
    refused({"start=\"shape.safetensors\""}, "of shape 50×3, but samples are 2");
    refused({"start=\"two.safetensors\""}, "2 tensors and none called `start`");
    refused({"start=\"nan.safetensors\""}, "no finite number");
    refused({"start=\"nowhere.safetensors\""}, "nowhere.safetensors");
    refused({"invert=true"}, "`invert` needs examples");
    refused({"start=\"quantiles\""}, "data of one number");
    refused({"start=\"plain.safetensors\"", "invert=true", "interpolate=3"}, "two steps");
    refused({"renoise=0.5"}, "`renoise` needs examples");
    refused({"start=\"short.safetensors\"", "renoise=0.5", "invert=true"}, "remove one of them");
}
