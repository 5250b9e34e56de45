// Can a trained classifier tell samples from true examples? The share of n samples and n true examples that a small
// network puts with their own kind, trained on the other folds of five: ½ of samples that nothing tells from true ones,
// 1 of samples that look like none.
// Lopez-Paz & Oquab, "Revisiting Classifier Two-Sample Tests", 2017; as simulation-based inference knows it (Lueckmann,
// Boelts, Greenberg, Gonçalves & Macke, "Benchmarking Simulation-Based Inference", 2021): two hidden layers of 10 d
// units, here at most 128, on features of mean 0 and variance 1.
#include <algorithm>

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>

#include <dtk/features.hpp>
#include <dtk/metric.hpp>
#include <dtk/moments.hpp>

namespace {

using at::Tensor;

constexpr std::int64_t folds = 5;

/// Log-odds that a row is a sample.
struct Network {
    dtk::Parameters parameters;
    Network(std::int64_t d, std::int64_t width, const dtk::Random& random) {
        const auto add = [&](const char* name, std::int64_t out, std::int64_t in) {
            const double reach = std::sqrt(6 / static_cast<double>(in));
            const auto weight = (2 * random.stream(name).uniform({out, in}, at::kDouble) - 1) * reach;
            for (const auto& [tensor, decays] :
                 {std::pair(weight, true), std::pair(at::zeros({out}, at::kDouble), false)}) {
                parameters.names.push_back(std::string(name) + (decays ? ".weight" : ".bias"));
                parameters.tensors.push_back(tensor.clone().requires_grad_(true));
                parameters.decays.push_back(decays);
            }
        };
        add("first", width, d);
        add("second", width, width);
        add("last", 1, width);
    }
    Tensor operator()(const Tensor& x) const {
        const auto& p = parameters.tensors;
        const auto first = at::relu(at::linear(x, p[0], p[1]));
        return at::linear(at::relu(at::linear(first, p[2], p[3])), p[4], p[5]).squeeze(1);
    }
};

struct C2st final : dtk::SetMetric {
    struct Config : dtk::SetMetric::Config {
        std::int64_t most = 2000, steps = 300;
        Config() { repeats = 4; }
        void fields(dtk::Fields& f) {
            dtk::SetMetric::Config::fields(f);
            f("most", most, dtk::in(20, 100'000), "samples that are looked at");
            f("steps", steps, dtk::in(1, 100'000), "of Adam on all of the four folds, for each of the five networks");
        }
    } c;

    C2st(const Config& config, const dtk::BuildContext& context)
        : SetMetric(config, context, "c2st", 2 * folds), c(config) {}

    dtk::MetricCard card() const override { return {dtk::Better::less, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random& random) const override {
        const auto n = size(input, c.most);
        std::int64_t done = 0;
        const auto of = [&](const Tensor& x, const Tensor& y) {
            input.progress(done++, c.repeats + 2);
            return accuracy(x, y, random.stream("networks"));
        };
        auto result = held_against_truth(input, n, random, of);
        result.expected = 0.5;
        result.note = fmt::format("share of {} samples and as many true ones that a network puts with their kind, {}",
                                  n, features().text());
        return result;
    }

 private:
    /// Of rows that the network was not trained on. [n, d], [n, d]
    double accuracy(const Tensor& x, const Tensor& y, const dtk::Random& random) const {
        const auto n = x.size(0), d = x.size(1);
        auto rows = at::cat({x, y});
        const auto sd = rows.std(0);
        rows = (rows - rows.mean(0)) / at::where(sd > 0, sd, 1);
        const auto kind = at::cat({at::ones({n}, at::kDouble), at::zeros({n}, at::kDouble)});
        const auto fold = at::arange(2 * n, at::kLong).remainder(n).remainder(folds);
        double right = 0;
        for (std::int64_t k = 0; k < folds; ++k) {
            const auto held_out = fold == k, trains = fold != k;
            const auto network = trained(rows.index({trains}), kind.index({trains}), d, random.step(k));
            const auto says = network(rows.index({held_out})) > 0;
            right += (says == (kind.index({held_out}) > 0.5)).sum().item<double>();
        }
        return right / static_cast<double>(2 * n);
    }

    Network trained(const Tensor& x, const Tensor& kind, std::int64_t d, const dtk::Random& random) const {
        const at::AutoGradMode with_gradient(true);
        Network network(d, std::min<std::int64_t>(10 * d, 128), random);
        dtk::AdamMoments adam;
        adam.begin(network.parameters);
        const auto rate = at::full({}, 0.01, at::kFloat), skip = at::zeros({}, at::kFloat);
        for (std::int64_t i = 0; i < c.steps; ++i) {
            for (auto& p : network.parameters.tensors) p.mutable_grad().reset();
            at::binary_cross_entropy_with_logits(network(x), kind).backward();
            const at::NoGradGuard no_grad;
            adam.step(rate, skip, {.weight_decay = 1e-4}, dtk::AdamMoments::Decay::of_gradient);
        }
        return network;
    }
};
}  // namespace

DTK_PLUGIN(Metric, c2st, C2st, "can a trained classifier tell samples from true examples? (five folds; C2ST, 2017)")
