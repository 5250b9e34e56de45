#include "engine/pictures.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/chart.hpp"
#include "base/json.hpp"
#include "base/picture.hpp"
#include "base/progress.hpp"

namespace dtk {

namespace fs = std::filesystem;
using json = nlohmann::json;

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
    const auto n = std::min<std::int64_t>(samples.size(0), 1'000'000);
    const auto truth = true_examples(data, n).to(at::kDouble).flatten();
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
    write_chart(folder / (name + ".svg"), {.title = "density",
                                           .x_label = "x",
                                           .series = {curve("data", truth), curve("samples", samples.slice(0, 0, n))}});
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

namespace {
/// A curve through what each line has of both.
struct Curve {
    Series series;
    void add(const json& x, const json& y) {
        if (!x.is_number() || !y.is_number()) return;
        series.x.push_back(x);
        series.y.push_back(y);
    }
    void add_all(const json& x, const json& y) {
        for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) add(x[i], y[i]);
    }
};

/// A logarithmic axis where everything can stand on one.
Chart chart_of(Chart chart, std::vector<Curve> curves) {
    chart.log_y = true;
    for (auto& curve : curves) {
        for (const double y : curve.series.y) chart.log_y = chart.log_y && y > 0;
        if (!curve.series.x.empty()) chart.series.push_back(std::move(curve.series));
    }
    return chart;
}
}  // namespace

void draw_loss(const fs::path& folder) {
    Curve loss{{.name = "train", .colour = 0}}, by_noise = loss;
    Curve held_out{{.name = "held out", .colour = 1}}, average{{.name = "held out, average", .colour = 2}};
    auto by_level = held_out, average_by_level = average;
    auto last_training = json::object(), last_validation = json::object();
    for (const auto& line : read_json_lines(folder / "metrics.jsonl")) {
        const auto get = [&](const char* key) { return line.value(key, json()); };
        loss.add(get("step"), get("train/loss"));
        held_out.add(get("step"), get("validate/error"));
        average.add(get("step"), get("validate/average_error"));
        if (line.contains("train/loss")) last_training = line;
        if (line.contains("validate/error")) last_validation = line;
    }
    const auto tenths = last_training.value("train/loss_by_noise", json::array());
    for (std::size_t i = 0; i < tenths.size(); ++i)
        by_noise.add((static_cast<double>(i) + 0.5) / static_cast<double>(tenths.size()), tenths[i]);
    std::vector<Chart> charts{
        chart_of({.title = "loss", .x_label = "step", .y_label = "loss"}, {loss, held_out, average}),
        chart_of({.title = "loss by noise level, last interval", .x_label = "t / T (0 least noisy)", .y_label = "loss"},
                 {by_noise})};
    if (last_validation.contains("validate/log_snr")) {
        const auto& levels = last_validation["validate/log_snr"];
        by_level.add_all(levels, last_validation.value("validate/error_by_level", json::array()));
        average_by_level.add_all(levels, last_validation.value("validate/average_error_by_level", json::array()));
        charts.push_back(chart_of({.title = "held-out error by noise level, the last",
                                   .x_label = "log-SNR (noise to the left)",
                                   .y_label = "error"},
                                  {by_level, average_by_level}));
    }
    try {
        write_charts(folder / "loss.svg", charts);
    } catch (const Error& error) {
        Progress::note(fmt::format("no picture of the loss: {}; {}", error.what(), error.help()));
    }
}

}  // namespace dtk
