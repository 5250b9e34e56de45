// L = E ‖u(x_t, t) − (α̇ x_0 + σ̇ z)‖²/d,   x_t = α x_0 + σ z,   (x_0, z) paired by `coupling`
// Lipman et al., "Flow Matching for Generative Modeling", 2023; on the straight path of schedule `flow` the velocity is
// z − x_0. Pairs of least cost, in minibatches: Tong et al., "Improving and Generalizing Flow-Based Generative Models
// with Minibatch Optimal Transport", 2024. Under a condition the pairs of all classes together are biased, since which
// z a class sees then depends on the class: `class` pairs within each (Cheng & Schwing, "The Curse of Conditions",
// 2025).
#include <fmt/format.h>

#include <dtk/assignment.hpp>
#include <dtk/compared.hpp>

namespace {

using at::Tensor;

/// ‖x_i − z_j‖² of rows. → [n, n] float64
Tensor squared_distances(const Tensor& x, const Tensor& z) {
    const auto a = x.flatten(1).to(at::kDouble), b = z.flatten(1).to(at::kDouble);
    return a.square().sum(1, true) + b.square().sum(1).unsqueeze(0) - 2 * at::mm(a, b.t());
}

struct FlowMatching final : dtk::Loss {
    struct Config {
        std::string coupling = "independent";
        std::int64_t group = 0, iterations = 100;
        double entropy = 0.05;
        void fields(dtk::Fields& f) {
            f("coupling", coupling, {"independent", "optimal", "sinkhorn", "class"},
              "of data and noise: none, the cheapest pairs, drawn from the plan of least cost with entropy, the "
              "cheapest within each class");
            f("group", group, dtk::at_least(0),
              "so many examples in a row are paired among themselves; 0: the whole batch, which then comes in one "
              "part");
            f("entropy", entropy, dtk::above(0), "of sinkhorn: ε, as a share of the mean cost");
            f("iterations", iterations, dtk::at_least(1), "of sinkhorn");
        }
    } c;
    FlowMatching(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto& process = dtk::gaussian(context.process(), "loss `flow_matching`");
        process.accept(context.model().predicts());
        process.accept(dtk::PredictionType::velocity);
        if (c.coupling == "class" && context.space().classes == 0)
            throw dtk::Error("`coupling` = \"class\" needs data with classes", "use coupling = \"optimal\"");
    }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto& process = denoise.process();
        const auto z = coupled(batch, process.noise(batch.x.sizes(), batch.x.options(), random.stream("noise")),
                               random.stream("coupling"));
        const dtk::NoisySample xt{process.mix(batch.x, z, t), z};
        constexpr auto velocity = dtk::PredictionType::velocity;
        const auto error = dtk::error_as(velocity, denoise(xt.x, t), process, batch.x, xt, t);
        return {{{.value = dtk::mean_squares(error, batch.condition.mask), .error_of = velocity}}};
    }

 private:
    /// The noise in the order of the examples that it is paired with.
    Tensor coupled(const dtk::Batch& batch, const Tensor& noise, const dtk::Random& random) const {
        if (c.coupling == "independent") return noise;
        const auto rows = noise.size(0), n = c.group > 0 ? c.group : batch.of > 0 ? batch.of : rows;
        if (rows % n != 0 || batch.first % n != 0)
            throw dtk::Error(
                fmt::format("examples are paired among {}, and a part of the batch has {} of them", n, rows),
                "let `group` divide the parts: [train] batch over accumulate");
        std::vector<Tensor> order;
        for (std::int64_t first = 0; first < rows; first += n) {
            const auto x = batch.x.slice(0, first, first + n), z = noise.slice(0, first, first + n);
            const auto cost = squared_distances(x, z);
            const auto label = c.coupling == "class" ? batch.condition.label.slice(0, first, first + n) : Tensor();
            order.push_back(first + (c.coupling == "sinkhorn" ? drawn(cost, random.from(batch.first + first))
                                                              : cheapest(cost, label)));
        }
        return noise.index_select(0, at::cat(order).to(noise.device()));
    }

    /// Waits for the device. label: [n] pairs within each class, undefined: among all. → [n] int64
    static Tensor cheapest(const Tensor& cost, const Tensor& label) {
        const auto here = cost.cpu();
        const auto order = at::arange(cost.size(0));
        const auto pair = [&](const Tensor& members) {
            const auto among = dtk::cheapest_pairs(here.index_select(0, members).index_select(1, members));
            order.index_put_({members}, members.index_select(0, at::tensor(among)));
        };
        if (!label.defined()) {
            pair(at::arange(cost.size(0)));
            return order;
        }
        const auto labels = label.cpu();
        for (std::int64_t k = 0, last = labels.max().item<std::int64_t>(); k <= last; ++k)
            if (const auto members = (labels == k).nonzero().flatten(); members.numel() > 0) pair(members);
        return order;
    }

    /// For every example a noise by the plan's probabilities. → [n] int64
    Tensor drawn(const Tensor& cost, const dtk::Random& random) const {
        const auto plan = dtk::sinkhorn_plan(cost, c.entropy * cost.mean(), c.iterations);
        const auto upto = plan.cumsum(1);
        const auto u = random.uniform({cost.size(0), 1}, cost.options()) * upto.select(1, -1).unsqueeze(1);
        return (upto <= u).sum(1).clamp_max(cost.size(0) - 1);
    }
};
}  // namespace

DTK_PLUGIN(Loss, flow_matching, FlowMatching,
           "mean squared error of the velocity, data and noise paired (Lipman et al. 2023)")
