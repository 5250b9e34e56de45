// What a sampler itself costs: microseconds a step for one sample of two numbers, on one thread, where the network
// answers at once. `sampler_cost [NAME…]` prints all samplers or those named, as a table.
#include <algorithm>
#include <chrono>
#include <optional>

#include <ATen/Parallel.h>
#include <fmt/ranges.h>

#include "support.hpp"

namespace {

constexpr int steps = 100, rounds = 41;

struct Cost {
    double evaluations, microseconds;  ///< of a step
};

Cost cost_of(const dtk::Sampler& sampler, const support::BuildContext& context) {
    const auto times = sampler.times(*context.chain);
    const dtk::Random random(1, "cost");
    const auto x = random.normal({1, 2}, at::kFloat);
    std::int64_t asked = 0;
    const dtk::Denoiser network(context.chain, [&](const at::Tensor&, const dtk::Time&, const dtk::Condition&) {
        ++asked;
        return dtk::Prediction{dtk::PredictionType::eps, x, {}};
    });
    const auto denoise = support::told(context, network, x);
    std::vector<double> seconds;
    for (int round = 0; round < rounds; ++round) {
        asked = 0;
        const auto before = std::chrono::steady_clock::now();
        sampler.sample(denoise, times, x, random);
        seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count());
    }
    return {static_cast<double>(asked) / steps, std::ranges::min(seconds) / steps * 1e6};  // others' work only adds
}

}  // namespace

int main(int count, char** arguments) {
    at::set_num_threads(1);
    at::NoGradGuard no_grad;
    support::BuildContext context;
    context.data = support::make<dtk::Dataset>("gaussian_mixture", "preset = \"gmm2d\"", context);
    context.chain = support::make<dtk::Process>("gaussian", "schedule = \"linear\"", context);
    context.network = support::make<dtk::Model>("exact", "prediction = \"eps\"", context);
    std::vector<std::string> names(arguments + 1, arguments + count);
    if (names.empty()) names = support::registry().names("sampler");
    fmt::print("{:20} {:>12} {:>10}\n", "sampler", "evaluations", "µs a step");
    for (const auto& name : names) {
        const auto fields = fmt::format("steps = {}", steps);
        std::shared_ptr<dtk::Sampler> sampler;
        auto told = context;
        // Some have to be told what is known, of these some that it is exact and some with what error.
        const std::string known = "coordinates = [0]\nvalues = [0.3]";
        for (const auto& seen : {std::string(), known, known + "\nsd = 0.5"}) {
            if (!seen.empty()) told.seen = support::make<dtk::Observation>("elements", seen, context);
            try {
                sampler = support::make<dtk::Sampler>(name, fields, told);
                break;
            } catch (const dtk::Error&) {
            }
        }
        if (!sampler) continue;
        const auto [evaluations, microseconds] = cost_of(*sampler, told);
        fmt::print("{:20} {:12.2f} {:10.1f}\n", name, evaluations, microseconds);
    }
}
