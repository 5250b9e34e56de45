#include "engine/sampling.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/chart.hpp"
#include "base/picture.hpp"
#include "engine/start.hpp"

namespace dtk {

Drawn draw_samples(const Stage& stage, const SampleSettings& settings, at::Device device,
                   Progress::Mode progress_mode) {
    at::NoGradGuard no_grad;
    const auto& process = stage.process();
    const auto sampler = stage.part<Sampler>();
    const auto space = stage.space();
    const auto times = sampler->times(process);
    const auto steps = static_cast<std::int64_t>(times.size());
    const auto chunk = std::min(settings.batch, settings.n), chunks = (settings.n + chunk - 1) / chunk;
    const auto options = at::TensorOptions(device).dtype(settings.precision == "float64" ? at::kDouble : at::kFloat);

    Tensor classes;
    if (!settings.labels.empty())
        classes = at::tensor(settings.labels, at::kLong);
    else if (space.classes > 0)
        classes = at::arange(space.classes, at::kLong);
    DenoiserOptions asked{.bf16 = settings.precision == "bf16", .rows = settings.network_batch, .guided = true};
    if (settings.clip) asked.clip = space.range;
    const auto denoise = stage.denoiser(asked);
    const bool remembers = stage.model().self_conditions();

    const auto drawn_with =
        settings.seed < 0 ? stage.random("sample") : Random(static_cast<std::uint64_t>(settings.seed), "sample");
    const auto rows_before = stage.rows_asked();
    Progress progress("sample", chunks * steps, progress_mode);
    const Start start(stage, settings, times);
    KeptTrajectory kept(settings.trajectory, times);
    std::vector<Tensor> all;
    for (std::int64_t i = 0; i < chunks; ++i) {
        const auto random = drawn_with.from(i * chunk);
        Condition condition;
        if (classes.defined()) {  // as many of each class
            const auto turn = at::arange(i * chunk, (i + 1) * chunk, at::kLong).remainder(classes.numel());
            condition.label = classes.index_select(0, turn).to(device, /*non_blocking=*/true);
        }
        if (const auto seen = stage.part<Observation>())
            condition.observed = seen->y(i * chunk, chunk).to(options, /*non_blocking=*/true);
        auto trajectory = denoise.with(std::move(condition));
        const bool keeps = i == 0 && !kept.empty();
        const auto x = start.rows(i * chunk, chunk, options, drawn_with.stream("prior"), trajectory);
        if (keeps) kept.see(0, x, {});
        if (remembers || keeps) trajectory = trajectory.begin();
        const auto done = [&](std::int64_t step, const Tensor& x) {
            if (keeps) kept.see(step, x, trajectory.latest_x0());
            trajectory.advance();
            progress.at(i * steps + step);
        };
        const auto samples = sampler->sample(trajectory, times, x, random.stream("steps"), done);
        if (samples.sizes() != x.sizes())
            throw PluginError(fmt::format("sampler `{}` answers samples of shape {} for x_T of shape {}",
                                          stage.spec().part("sampler").name, fmt::join(samples.sizes(), "×"),
                                          fmt::join(x.sizes(), "×")));
        all.push_back(at::stack({samples, x}).cpu());  // one wait for both
    }
    progress.finish();
    const auto drawn = at::cat(all, 1).slice(1, 0, settings.n);
    return {drawn[0], drawn[1],
            static_cast<double>(stage.rows_asked() - rows_before) / static_cast<double>(chunks * chunk),
            std::move(kept)};
}

Tensor true_examples(const Dataset& data, std::int64_t n) {
    const auto there = data.test_size() > 0 ? std::min(n, data.test_size()) : n;
    return data.test_examples(at::arange(there, at::kLong)).x;
}

namespace {
std::vector<double> column(const Tensor& x, std::int64_t i) {
    const auto c = x.select(1, i).to(at::kDouble).contiguous();
    return {c.const_data_ptr<double>(), c.const_data_ptr<double>() + c.numel()};
}

std::string draw_images(const std::filesystem::path& folder, const std::string& name, const Tensor& samples,
                        const Dataset& data, const std::string& provenance) {
    const auto [lo, hi] = data.range().value_or(std::pair{-1.0, 1.0});
    const auto shown = samples.slice(0, 0, std::min<std::int64_t>(samples.size(0), 100));
    const auto pixels =
        ((shown - lo) * (255 / (hi - lo))).round().clamp(0, 255).to(at::kByte).permute({0, 2, 3, 1}).contiguous();
    const Images images{{pixels.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(pixels.numel())},
                        pixels.size(0),
                        pixels.size(1),
                        pixels.size(2),
                        pixels.size(3)};
    write_image_grid(folder / (name + ".png"), images, {.provenance = provenance});
    return name + ".png";
}

std::string draw_points(const std::filesystem::path& folder, const std::string& name, const Tensor& samples,
                        const Dataset& data) {
    const auto n = std::min<std::int64_t>(samples.size(0), 5000);
    const auto truth = true_examples(data, n), shown = samples.slice(0, 0, n);
    // Both panels show the truth's frame, a little wider, so that they can be laid over each other.
    const auto lo = truth.amin(0).to(at::kDouble), hi = truth.amax(0).to(at::kDouble);
    const auto frame = [&](std::int64_t i) {
        const double a = lo[i].item<double>(), b = hi[i].item<double>(), room = 0.15 * (b - a) + 1e-9;
        return std::pair{a - room, b + room};
    };
    const auto panel = [&](const char* title, const Tensor& x) {
        return Chart{.title = title,
                     .equal_axes = true,
                     .x_range = frame(0),
                     .y_range = frame(1),
                     .series = {{.x = column(x, 0), .y = column(x, 1), .style = Series::Style::points}}};
    };
    write_charts(folder / (name + ".png"), {panel("data", truth), panel("samples", shown)});
    return name + ".png";
}

std::string draw_line(const std::filesystem::path& folder, const std::string& name, const Tensor& samples,
                      const Dataset& data) {
    const auto truth = true_examples(data, samples.size(0)).to(at::kDouble).flatten();
    const double lo = truth.min().item<double>(), hi = truth.max().item<double>();
    constexpr std::int64_t bins = 80;
    const double width = (hi - lo) / bins;
    const auto curve = [&](const char* title, const Tensor& x) {
        const auto counts =
            at::histc(x.to(at::kDouble).flatten(), bins, lo, hi) / (static_cast<double>(x.numel()) * width);
        Series series{.name = title};
        for (std::int64_t i = 0; i < bins; ++i)
            series.x.push_back(lo + (static_cast<double>(i) + 0.5) * width),
                series.y.push_back(counts[i].item<double>());
        return series;
    };
    write_chart(folder / (name + ".svg"),
                {.title = "density", .x_label = "x", .series = {curve("data", truth), curve("samples", samples)}});
    return name + ".svg";
}
}  // namespace

std::string draw_picture(const std::filesystem::path& folder, const std::string& name, const Tensor& samples,
                         const Dataset& data, const std::string& provenance) {
    if (samples.dim() == 4 && (samples.size(1) == 1 || samples.size(1) == 3))
        return draw_images(folder, name, samples, data, provenance);
    if (samples.dim() == 2 && samples.size(1) == 2) return draw_points(folder, name, samples, data);
    if (samples.dim() == 2 && samples.size(1) == 1) return draw_line(folder, name, samples, data);
    return {};
}

}  // namespace dtk
