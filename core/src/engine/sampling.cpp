#include "engine/sampling.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/stop.hpp"

namespace dtk {

namespace {
/// The middles of n equal shares of N(0, 1), rows first … first + rows − 1. → [rows, 1]
Tensor normal_quantiles(std::int64_t first, std::int64_t rows, std::int64_t n, const at::TensorOptions& options) {
    const auto share = (at::arange(first, first + rows, at::kDouble) + 0.5) / static_cast<double>(n);
    return at::special_ndtri(share.clamp_max(1 - 0.5 / static_cast<double>(n))).unsqueeze(1).to(options);
}
}  // namespace

Tensor classes_in_turn(const Stage& stage, const SampleSettings& settings) {
    if (!settings.labels.empty()) return at::tensor(settings.labels, at::kLong);
    const auto classes = stage.space().classes;
    return classes > 0 ? at::arange(classes, at::kLong) : Tensor();
}

double draw_samples(const Stage& stage, const SampleSettings& settings, at::Device device, Progress::Mode progress_mode,
                    const TakeSamples& take) {
    at::NoGradGuard no_grad;
    const auto& process = stage.process();
    const auto sampler = stage.part<Sampler>();
    const auto space = stage.space();
    const auto times = sampler->times(process);
    const auto steps = static_cast<std::int64_t>(times.size());
    const auto chunk = std::min(settings.batch, settings.n), chunks = (settings.n + chunk - 1) / chunk;
    const auto options = at::TensorOptions(device).dtype(settings.precision == "float64" ? at::kDouble : at::kFloat);
    auto sizes = space.shape;
    sizes.insert(sizes.begin(), chunk);

    const auto classes = classes_in_turn(stage, settings);
    DenoiserOptions asked{.bf16 = settings.precision == "bf16", .rows = settings.network_batch, .guided = true};
    if (settings.clip) asked.clip = space.range;
    const auto denoise = stage.denoiser(asked);
    const bool remembers = stage.model().self_conditions();

    const auto drawn_with =
        settings.seed < 0 ? stage.random("sample") : Random(static_cast<std::uint64_t>(settings.seed), "sample");
    const auto rows_before = stage.rows_asked();
    Progress progress("sample", chunks * steps, progress_mode);
    for (std::int64_t i = 0; i < chunks; ++i) {
        const auto random = drawn_with.from(i * chunk);
        Condition condition;
        if (classes.defined()) {  // as many of each class
            const auto turn = at::arange(i * chunk, (i + 1) * chunk, at::kLong).remainder(classes.numel());
            condition.label = classes.index_select(0, turn).to(device, /*non_blocking=*/true);
        }
        auto trajectory = denoise.with(std::move(condition));
        if (remembers) trajectory = trajectory.begin();
        const auto done = [&](std::int64_t step, const Tensor&) {
            end_if_asked("while samples were drawn");
            trajectory.advance();
            progress.at(i * steps + step);
        };
        const auto x = settings.start == "quantiles"
                           ? normal_quantiles(i * chunk, chunk, settings.n, options)
                           : process.prior(sizes, options, random.stream("prior"), times.front());
        const auto samples = sampler->sample(trajectory, times, x, random.stream("steps"), done);
        if (samples.sizes() != x.sizes())
            throw PluginError(fmt::format("sampler `{}` answers samples of shape {} for x_T of shape {}",
                                          stage.spec().part("sampler").name, fmt::join(samples.sizes(), "×"),
                                          fmt::join(x.sizes(), "×")));
        const auto both = at::stack({samples, x}).cpu();  // one wait for both
        const auto rows = std::min(chunk, settings.n - i * chunk);
        take(both[0].slice(0, 0, rows), both[1].slice(0, 0, rows));
    }
    progress.finish();
    return static_cast<double>(stage.rows_asked() - rows_before) / static_cast<double>(chunks * chunk);
}

Drawn draw_samples(const Stage& stage, const SampleSettings& settings, at::Device device,
                   Progress::Mode progress_mode) {
    std::vector<Tensor> samples, starts;
    const auto evaluations =
        draw_samples(stage, settings, device, progress_mode, [&](const Tensor& some, const Tensor& start) {
            samples.push_back(some);
            starts.push_back(start);
        });
    return {at::cat(samples), at::cat(starts), evaluations};
}

}  // namespace dtk
