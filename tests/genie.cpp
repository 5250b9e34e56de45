// Genie's network and loss: what turns and moves with the chain, what padding must not change, and samplers between
// them and a Gaussian polymer, whose law is known.
#include <cmath>

#include <dtk/observation.hpp>
#include <dtk/polymer.hpp>
#include <dtk/rotations.hpp>

#include "catch.hpp"
#include "complaint.hpp"
#include "support.hpp"
#include "turned.hpp"

using at::Tensor;
using dtk::PredictionType;
using support::distance;
using support::make;

namespace {

const dtk::Random stream(11, "genie");

Tensor turn() { return dtk::uniform_rotations(stream.stream("turn"), {1, 3, 3}, at::kCPU)[0]; }

/// A polymer of 12 residues, Genie's schedule and a small network away from the zeros that it starts with, in float64.
support::BuildContext chains(const std::string& model = {}, at::ScalarType type = at::kDouble,
                             const std::string& data = "length = 12") {
    support::BuildContext context;
    context.data = make<dtk::Dataset>("polymer", data, context);
    context.chain = make<dtk::Process>("gaussian", "steps = 100\nschedule = {use = \"cosine\", s = 0.0}", context);
    context.network = make<dtk::Model>(
        "genie", "single = 16\npair = 8\nheads = 2\nscalars = 4\nquery_points = 2\nvalue_points = 3\n" + model,
        context);
    support::leave_start(*context.network, type, stream);
    return context;
}

/// x_t of four chains, and a time for each.
struct Asked {
    dtk::Time t = at::tensor({3.0, 30.0, 60.0, 95.0}, at::kDouble);
    Tensor x;
    explicit Asked(const support::BuildContext& context, at::ScalarType type = at::kDouble)
        : x(context.chain->noised(context.data->examples(at::arange(4)).x.to(type), t, stream.stream("noise")).x) {}
};

Tensor eps(const support::BuildContext& context, const Tensor& x, const dtk::Time& t, const dtk::Condition& told = {}) {
    at::NoGradGuard no_grad;
    return context.network->forward(x, t, told).value;
}

/// Σ over coordinates of second moments, [L, L], of chains [n, L, 3]; and the largest sum of squares that one could be
/// off.
Tensor second_moments(const Tensor& x) {
    return at::einsum("nic,njc->ij", {x, x}) / static_cast<double>(3 * x.size(0));
}

/// The greatest difference of second moments from what they should be, in standard errors.
double off_moments(const Tensor& x, const Tensor& covariance) {
    const auto n = static_cast<double>(3 * x.size(0));
    const auto v = covariance.diagonal().unsqueeze(1);
    const auto error = ((v * covariance.diagonal().unsqueeze(0) + covariance.square()) / n).sqrt();
    return ((second_moments(x) - covariance) / error).abs().max().item<double>();
}

}  // namespace

TEST_CASE("what genie answers turns with the chain, and its reflection is another chain") {
    const auto Q = turn();
    for (const std::string fields : {"", "pairs = \"local\"", "preconditioned = true"})
        for (const auto type : {at::kDouble, at::kFloat}) {
            const auto context = chains(fields, type);
            const Asked asked(context, type);
            const auto answer = eps(context, asked.x, asked.t);
            const auto scale = answer.abs().max().item<double>();
            const auto turned = eps(context, asked.x.matmul(Q.t().to(type)), asked.t);
            INFO(fields << ", off by " << distance(turned, answer.matmul(Q.t().to(type))) / scale);
            CHECK(distance(turned, answer.matmul(Q.t().to(type))) < (type == at::kDouble ? 1e-10 : 1e-4) * scale);
            const auto mirror = at::tensor({1.0, 1.0, -1.0}, at::kDouble).to(type);
            CHECK(distance(eps(context, asked.x * mirror, asked.t), answer * mirror) > 1e-3 * scale);
        }
}

TEST_CASE("genie is blind to where the chain stands, and told so it knows that its mean is 0") {
    const auto shift = at::tensor({40.0, -7.0, 12.0}, at::kDouble);
    const auto blind = chains("centred = false");
    const Asked asked(blind);
    CHECK(distance(eps(blind, asked.x + shift, asked.t), eps(blind, asked.x, asked.t)) < 1e-10);
    const auto context = chains();
    for (const auto& x : {asked.x, asked.x + shift}) {
        const auto x0 =
            context.chain->convert({PredictionType::eps, eps(context, x, asked.t), {}}, PredictionType::x0, x, asked.t);
        CHECK(x0.mean(1).abs().max().item<double>() < 1e-8);
        CHECK(x0.abs().max().item<double>() > 1);
    }
}

TEST_CASE("preconditioned, genie begins as the best denoiser that treats all numbers alike") {
    auto context = chains();
    context.network = make<dtk::Model>("genie", "preconditioned = true", context);
    context.network->train(false);
    const Asked asked(context, at::kFloat);
    const auto& levels = context.chain->levels();
    const auto answered = eps(context, asked.x, asked.t);
    const double s = dynamic_cast<const dtk::GaussianProcess&>(*context.chain).data_sd();
    for (std::int64_t b = 0; b < 4; ++b) {
        const double t = asked.t.rows(4)[b].item<double>(), a = levels.alpha(t), sigma = levels.sigma(t);
        const auto x = asked.x[b] - asked.x[b].mean(0);
        const auto x0 = (asked.x[b] - sigma * answered[b]) / a;
        CHECK(distance(x0, a * s * s / (a * a * s * s + sigma * sigma) * x) < 1e-3);
    }
}

TEST_CASE("padding changes nothing, and comes to 0") {
    for (const std::string fields : {"", "pairs = \"local\"", "preconditioned = true"}) {
        const auto context = chains(fields);
        const Asked asked(context);
        const auto answer = eps(context, asked.x, asked.t);
        const auto beyond = 30 * stream.stream("beyond").normal(asked.x.sizes(), at::kDouble);
        dtk::Condition told;
        told.mask = at::cat({at::ones({4, 12}), at::zeros({4, 12})}, 1);
        const auto x = at::cat({asked.x, beyond}, 1);
        const auto padded = eps(context, x, asked.t, told);
        CHECK(distance(padded.slice(1, 0, 12), answer) < 1e-6);
        const auto x0 = context.chain->convert({PredictionType::eps, padded, {}}, PredictionType::x0, x, asked.t);
        CHECK(x0.slice(1, 12).abs().max().item<double>() < 1e-9);
        // A mask of coordinates says the same as one of residues.
        auto wide = told;
        wide.mask = told.mask.unsqueeze(-1).expand({4, 24, 3});
        CHECK(distance(eps(context, x, asked.t, wide), padded) == 0);
    }
}

TEST_CASE("the mean distance is that of the residues that exist") {
    auto context = chains();
    const auto loss = make<dtk::Loss>("mean_distance", "", context);
    auto batch = context.data->examples(at::arange(3));
    batch.x = batch.x.to(at::kDouble);
    const dtk::Time t = at::tensor({5.0, 40.0, 90.0}, at::kDouble);
    const auto answer = stream.stream("answer").normal(batch.x.sizes(), at::kDouble);
    const dtk::Denoiser denoise(context.chain, [&](const Tensor&, const dtk::Time&, const dtk::Condition&) {
        return dtk::Prediction{PredictionType::eps, answer, {}};
    });
    const auto noise = context.chain->noise(batch.x.sizes(), batch.x.options(), stream.stream("noise"));
    const std::vector<std::int64_t> lengths{12, 7, 4};
    batch.condition.mask = at::zeros({3, 12});
    auto expected = at::zeros({3}, at::kDouble), all = at::zeros({3}, at::kDouble);
    for (std::int64_t b = 0; b < 3; ++b)
        for (std::int64_t i = 0; i < 12; ++i) {
            const auto length = (noise[b][i] - answer[b][i]).norm();
            all[b] += length / 12;
            if (i >= lengths[b]) continue;
            batch.condition.mask[b][i] = 1;
            expected[b] += length / lengths[b];
        }
    const auto value = [&] { return (*loss)(denoise, batch, t, stream).objectives.front().value; };
    CHECK(distance(value(), expected) < 1e-12);
    batch.condition.mask = batch.condition.mask.unsqueeze(-1).expand({3, 12, 3});
    CHECK(distance(value(), expected) < 1e-12);
    batch.condition.mask = Tensor();
    CHECK(distance(value(), all) < 1e-12);
}

TEST_CASE("errors of residues that do not exist count in no loss") {
    const auto context = chains();
    auto batch = context.data->examples(at::arange(2));
    batch.x = batch.x.to(at::kDouble);
    auto longer = batch;
    longer.x = at::cat({batch.x, at::zeros_like(batch.x)}, 1);
    longer.condition.mask = at::cat({at::ones({2, 12}), at::zeros({2, 12})}, 1);
    const dtk::Time t = at::tensor({20.0, 70.0}, at::kDouble);
    for (const std::string name : {"simple", "huber", "flow_matching", "mean_distance"}) {
        const auto loss = make<dtk::Loss>(name, "", context);
        const auto of = [&](const dtk::Batch& batch, const Tensor& off) {
            const dtk::Denoiser denoise(context.chain, [&](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
                // What is perfect but for `off`, whatever the noise is.
                const auto eps = context.chain->convert({PredictionType::x0, batch.x, {}}, PredictionType::eps, x, t);
                return dtk::Prediction{PredictionType::eps, eps + off, {}};
            });
            return (*loss)(denoise, batch, t, stream).objectives.front().value;
        };
        const auto off = stream.stream("off").normal(batch.x.sizes(), at::kDouble);
        const auto beyond = at::cat({off, 100 * at::ones_like(off)}, 1);
        INFO(name);
        CHECK(distance(of(longer, beyond), of(batch, off)) < 1e-6 * of(batch, off).abs().max().item<double>());
        CHECK(of(batch, off).min().item<double>() > 0.01);
    }
}

TEST_CASE("samples turn with their start and their noise, through a whole trajectory") {
    at::NoGradGuard no_grad;
    auto context = chains("pairs = \"local\"");
    const auto Q = turn();
    const std::shared_ptr<const dtk::Process> turned = std::make_shared<support::Turned>(context.chain, Q);
    const auto network = [&](const Tensor& x, const dtk::Time& t, const dtk::Condition& told) {
        return context.network->forward(x, t, told);
    };
    const auto x = context.chain->prior({3, 12, 3}, at::kDouble, stream.stream("prior"), 99);
    for (const std::string name : {"ddpm", "ddim", "heun", "dpm_solver_pp", "unipc"}) {
        const auto sampler = make<dtk::Sampler>(name, "steps = 40", context);
        const auto times = sampler->times(*context.chain);
        const auto samples = sampler->sample(support::denoiser(context), times, x, stream);
        const bool draws = name == "ddpm";
        const auto of_turned =
            sampler->sample(dtk::Denoiser(draws ? turned : context.chain, network), times, x.matmul(Q.t()), stream);
        INFO(name << ", off by " << distance(of_turned, samples.matmul(Q.t())));
        CHECK(distance(of_turned, samples.matmul(Q.t())) < 1e-9 * samples.abs().max().item<double>());
        CHECK(samples.abs().max().item<double>() > 1);
    }
}

TEST_CASE("a Gaussian polymer has the bonds and the size that it is asked for") {
    for (const std::int64_t L : {3, 9, 40, 64}) {
        dtk::Polymer chain;
        chain.radius = L == 40 ? 7 : 0;
        const auto R = chain.map(L), C = R.matmul(R.t());
        double radius2 = 0;
        for (std::int64_t i = 0; i < L; ++i) {
            if (i > 0) {
                const auto bond2 = 3 * (C[i][i] + C[i - 1][i - 1] - 2 * C[i][i - 1]).item<double>();
                CHECK(bond2 == Approx(3.8 * 3.8).epsilon(1e-9));
            }
            for (std::int64_t j = 0; j < L; ++j)
                radius2 += 1.5 * (C[i][i] + C[j][j] - 2 * C[i][j]).item<double>() / static_cast<double>(L * L);
        }
        if (L == 64) CHECK(std::sqrt(radius2) == Approx(2 * std::pow(64, 0.4)).epsilon(1e-9));
        if (L == 40) CHECK(std::sqrt(radius2) == Approx(7).epsilon(1e-9));
        if (L == 9)  // shorter than proteins that an ideal chain is as large as
            CHECK(std::sqrt(radius2) == Approx(0.9 * 3.8 * std::sqrt(80.0 / 54)).epsilon(1e-5));
    }
    CHECK_THROWS_WITH(make<dtk::Dataset>("polymer", "radius = 100.0", support::BuildContext{}),
                      Catch::Matchers::Contains("no Gaussian chain"));
}

TEST_CASE("the exact denoiser of a polymer ends at its law, by the same sampler as genie's") {
    at::NoGradGuard no_grad;
    const auto context =
        support::exact("polymer", "length = 8", "steps = 1000\nschedule = {use = \"cosine\", s = 0.0}");
    const auto R = dtk::Polymer{}.map(8);
    for (const std::string fields : {"variance = \"small\"", "variance = \"large\""}) {
        const auto sampler = make<dtk::Sampler>("ddpm", fields, context);
        const auto x = context.chain->prior({2000, 8, 3}, at::kDouble, stream.stream("start"), 999);
        const auto samples =
            sampler->sample(support::denoiser(context), sampler->times(*context.chain), x, stream.stream(fields));
        INFO(fields);
        CHECK(off_moments(samples, R.matmul(R.t())) < 4.5);
    }
    // Without noise the steps follow no flow and contract; half of it is between the two.
    double size = 0;
    for (const std::string fields : {"0.0", "0.5", "1.0"}) {
        const auto sampler = make<dtk::Sampler>("ddpm", "noise_scale = " + fields, context);
        const auto x = context.chain->prior({500, 8, 3}, at::kDouble, stream.stream("start"), 999);
        const auto samples = sampler->sample(support::denoiser(context), sampler->times(*context.chain), x, stream);
        const auto now = samples.square().mean().item<double>();
        CHECK(now > size);
        size = now;
    }
}

TEST_CASE("a motif of a polymer leaves the rest its exact conditional law") {
    at::NoGradGuard no_grad;
    auto context = support::exact("polymer", "length = 8", "steps = 400\nschedule = {use = \"cosine\", s = 0.0}");
    context.seen = make<dtk::Observation>("motif", "residues = \"2-3, 6\"\nexample = 4", context);
    context.network = make<dtk::Model>("exact_conditional", "", context);
    const auto sampler = make<dtk::Sampler>("ddpm", "", context);
    constexpr std::int64_t n = 3000;
    const auto x = context.chain->prior({n, 8, 3}, at::kDouble, stream.stream("start"), 399);
    const auto samples = sampler->sample(support::denoiser(context, x), sampler->times(*context.chain), x, stream);
    // By blocks of the covariance, in which the coordinates are alike.
    const auto R = dtk::Polymer{}.map(8), C = R.matmul(R.t());
    const auto known = at::tensor({1, 2, 5}, at::kLong), rest = at::tensor({0, 3, 4, 6, 7}, at::kLong);
    const auto block = [&](const Tensor& i, const Tensor& j) { return C.index_select(0, i).index_select(1, j); };
    const auto y = context.data->test_examples(at::full({1}, 4, at::kLong)).x[0].to(at::kDouble).index_select(0, known);
    const auto gain = block(rest, known).matmul(at::linalg_inv(block(known, known)));
    const auto mean = gain.matmul(y), covariance = block(rest, rest) - gain.matmul(block(known, rest));
    CHECK(distance(samples.index_select(1, known), y.expand({n, 3, 3})) < 1e-5);
    const auto off = samples.index_select(1, rest) - mean;
    const auto error = (covariance.diagonal() / n).sqrt().unsqueeze(1);
    CHECK((off.mean(0) / error).abs().max().item<double>() < 4.5);
    CHECK(off_moments(off, covariance) < 4.5);
}

TEST_CASE("a motif that names no residues is refused in words") {
    auto context = support::exact("polymer", "length = 8", "");
    const auto of = [&](const std::string& residues) {
        return complaint_of([&] { make<dtk::Observation>("motif", "residues = \"" + residues + "\"", context); });
    };
    CHECK_THAT(of("3-x"), Catch::Matchers::Contains("names no residues"));
    CHECK_THAT(of(" "), Catch::Matchers::Contains("names no residues"));
    CHECK_THAT(of("7-9"), Catch::Matchers::Contains("no residues 7-9 of a chain of 8"));
    CHECK_THAT(of("2-4, 3"), Catch::Matchers::Contains("named twice"));
    CHECK_THAT(of("1-8"), Catch::Matchers::Contains("nothing is left"));
}

TEST_CASE("correlated noise is plain noise in whitened coordinates") {
    auto context = chains();
    const auto plain = make<dtk::Process>("gaussian", "steps = 100\nschedule = \"cosine\"", context);
    const auto correlated =
        make<dtk::Process>("correlated", "of = {use = \"gaussian\", steps = 100, schedule = \"cosine\"}", context);
    const auto R = dtk::Polymer{}.map(12), W = at::linalg_inv(R);
    const auto white = [&](const Tensor& x) { return W.matmul(x); };
    const auto x0 = context.data->examples(at::arange(4)).x.to(at::kDouble), y0 = white(x0);
    const dtk::Time t = at::tensor({3.0, 30.0, 60.0, 95.0}, at::kDouble),
                    s = at::tensor({-1.0, 10.0, 59.0, 20.0}, at::kDouble);
    const auto xt = correlated->noised(x0, t, stream.stream("noise")),
               yt = plain->noised(y0, t, stream.stream("noise"));
    CHECK(distance(white(xt.x), yt.x) < 1e-12);
    const auto guess = x0 + stream.stream("guess").normal(x0.sizes(), at::kDouble);
    const dtk::Prediction of_x{PredictionType::x0, guess, {}}, of_y{PredictionType::x0, white(guess), {}};
    for (const auto type : {PredictionType::eps, PredictionType::v, PredictionType::velocity, PredictionType::mean}) {
        INFO(dtk::name_of(type));
        CHECK(distance(white(correlated->convert(of_x, type, xt.x, t)), plain->convert(of_y, type, yt.x, t)) < 1e-10);
        CHECK(distance(white(correlated->target(type, x0, xt, t)), plain->target(type, y0, yt, t)) < 1e-10);
    }
    const double log_det = 3 * R.diagonal().log().sum().item<double>();
    for (const auto& variance : plain->variances()) {
        CHECK(distance(white(correlated->reverse_step(xt.x, of_x, t, s, variance, stream)),
                       plain->reverse_step(yt.x, of_y, t, s, variance, stream)) < 1e-12);
        const auto terms =
            correlated->bound_term(x0, xt.x, t, s, of_x, variance) - plain->bound_term(y0, yt.x, t, s, of_y, variance);
        CHECK(std::abs(terms[0].item<double>() - log_det) < 1e-8);  // the one that ends at the data is a density
        CHECK(terms.slice(0, 1).abs().max().item<double>() < 1e-8);
    }
    CHECK(distance(correlated->prior_term(x0), plain->prior_term(y0)) < 1e-12);
    CHECK(distance(white(correlated->prior(x0.sizes(), at::kDouble, stream, 99)),
                   plain->prior(x0.sizes(), at::kDouble, stream, 99)) < 1e-12);
    CHECK_THROWS_WITH(correlated->accept(PredictionType::score), Catch::Matchers::Contains("correlated"));
    CHECK_THROWS_WITH(make<dtk::Process>("correlated", "map = \"file\"", context),
                      Catch::Matchers::Contains("not given"));
}

TEST_CASE("the bound of correlated noise is −log p of the polymer that the noise is of") {
    // Of data x = R z under noise R z the variance "large" is that of x_s given x_t, so that all the bound gives away
    // is the last step's: its decoder has β̃ of the step after it, where x_0 given x_1 has σ_1².
    at::NoGradGuard no_grad;
    auto context = support::exact("polymer", "length = 6", "");
    context.chain =
        make<dtk::Process>("correlated", "of = {use = \"gaussian\", steps = 200, schedule = \"cosine\"}", context);
    constexpr std::int64_t n = 2000;
    const auto x0 = context.data->examples(at::arange(n)).x.to(at::kDouble);
    auto bound = context.chain->prior_term(x0);
    const auto& levels = context.chain->levels();
    for (std::int64_t i = 199; i >= 0; --i) {
        const auto t = static_cast<double>(i);
        const auto xt = context.chain->noised(x0, t, stream.stream("path").step(i)).x;
        bound = bound +
                context.chain->bound_term(x0, xt, t, t - 1, {PredictionType::x0, levels.alpha(t) * xt, {}}, "large");
    }
    const auto gap = bound + context.data->density()->log_prob(x0.flatten(1));
    const double error = gap.std().item<double>() / std::sqrt(static_cast<double>(n));
    const double wide = levels.sigma2(0) / levels.posterior_variance(1, 0);
    const double expected = 18 * 0.5 * (wide - 1 - std::log(wide));
    INFO(gap.mean().item<double>() << " ± " << error << ", expected " << expected);
    CHECK(std::abs(gap.mean().item<double>() - expected) < 4 * error);
    CHECK(expected > 8 * error);
}
