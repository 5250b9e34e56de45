#include "engine/pictures.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dtk/depicts.hpp>

#include "base/chart.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/picture.hpp"
#include "base/progress.hpp"
#include "study/html.hpp"

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

bool are_images(const Tensor& x) { return x.dim() == 4 && (x.size(1) == 1 || x.size(1) == 3); }

/// → uint8 [n, height, width, channels]
Tensor pixels_of(const Tensor& x, const Dataset& data) {
    const auto [lo, hi] = data.range().value_or(std::pair{-1.0, 1.0});
    return ((x - lo) * (255 / (hi - lo))).round().clamp(0, 255).to(at::kByte).permute({0, 2, 3, 1}).contiguous();
}

Images images_of(const Tensor& pixels) {
    return {{pixels.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(pixels.numel())},
            pixels.size(0),
            pixels.size(1),
            pixels.size(2),
            pixels.size(3)};
}

std::string draw_images(const std::filesystem::path& folder, const std::string& name, const Tensor& samples,
                        const Dataset& data, const std::string& provenance, const std::vector<std::string>& in_turn) {
    const auto pixels = pixels_of(samples.slice(0, 0, std::min<std::int64_t>(samples.size(0), 100)), data);
    GridLook look{.provenance = provenance};
    const auto n = static_cast<double>(pixels.size(0)), classes = static_cast<double>(in_turn.size());
    if (in_turn.size() > 1 && in_turn.size() <= 20)
        look.columns = static_cast<std::int64_t>(classes * std::max(1.0, std::round(std::sqrt(n) / classes)));
    for (std::size_t i = 0; !in_turn.empty() && i < static_cast<std::size_t>(pixels.size(0)); ++i)
        look.labels += (i > 0 ? ", " : "") + in_turn[i % in_turn.size()];
    write_image_grid(folder / (name + ".png"), images_of(pixels), look);
    return name + ".png";
}

Series density_of(const std::string& title, const Tensor& x, double lo, double hi) {
    constexpr std::int64_t bins = 80;
    const double width = (hi - lo) / bins;
    const auto counts = at::histc(x.to(at::kDouble).flatten(), bins, lo, hi) / (static_cast<double>(x.numel()) * width);
    Series series{.name = title};
    for (std::int64_t i = 0; i < bins; ++i)
        series.x.push_back(lo + (static_cast<double>(i) + 0.5) * width), series.y.push_back(counts[i].item<double>());
    return series;
}

/// The rows of a grid of images, `columns` wide, and what they are called.
struct Rows {
    std::int64_t columns = 10;
    std::vector<Tensor> images;  ///< uint8 [height, width, channels]
    std::vector<std::string> names;
};

Rows rows_of(const Tensor& pixels, const Tensor& label, const Classes& classes) {
    constexpr std::int64_t most_classes = 40;
    Rows rows;
    if (!label.defined()) {
        for (std::int64_t i = 0; i < std::min<std::int64_t>(pixels.size(0), 100); ++i) rows.images.push_back(pixels[i]);
        return rows;
    }
    const auto white = at::full_like(pixels[0], 255);
    for (std::int64_t k = 0; k < classes.count && static_cast<std::int64_t>(rows.names.size()) < most_classes; ++k) {
        const auto own = (label == k).nonzero().flatten();
        if (own.numel() == 0) continue;
        rows.names.push_back(classes.names.empty() ? std::to_string(k) : fmt::format("{} {}", k, classes.name(k)));
        for (std::int64_t i = 0; i < rows.columns; ++i)
            rows.images.push_back(i < own.numel() ? pixels[own[i].item<std::int64_t>()] : white);
    }
    return rows;
}

/// In an .svg the names of the rows stand before them.
void draw_rows(const fs::path& file, const Tensor& x, const Tensor& label, const Dataset& data,
               const Classes& classes) {
    const auto rows = rows_of(pixels_of(x, data), label, classes);
    const auto pixels = at::stack(rows.images).contiguous();
    const auto images = images_of(pixels);
    constexpr std::int64_t wanted = 56, gap = 2;
    const auto scale = std::max<std::int64_t>(1, wanted / std::max(images.height, images.width));
    const GridLook look{.columns = rows.columns, .scale = scale, .gap = gap};
    if (file.extension() == ".png") return write_image_grid(file, images, look);
    const auto columns = std::min(rows.columns, images.count), lines = (images.count + columns - 1) / columns;
    const auto width = columns * (images.width * scale + gap) - gap, step = images.height * scale + gap;
    std::size_t longest = 0;
    for (const auto& name : rows.names) longest = std::max(longest, name.size());
    const auto before = rows.names.empty() ? 0 : static_cast<std::int64_t>(8 * longest) + 16;
    auto svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} {1}\" "
        "font-family=\"sans-serif\" font-size=\"14\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        "<image x=\"{2}\" width=\"{3}\" height=\"{1}\" href=\"{4}\"/>\n",
        before + width, lines * step - gap, before, width, page::data_url("image/png", png_of(images, look)));
    for (std::size_t i = 0; i < rows.names.size(); ++i)
        svg += fmt::format("<text x=\"4\" y=\"{}\">{}</text>\n",
                           static_cast<std::int64_t>(i) * step + (images.height * scale) / 2 + 5,
                           page::escaped(rows.names[i]));
    write_atomically(file, svg + "</svg>\n");
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
    write_chart(folder / (name + ".svg"),
                {.title = "density",
                 .x_label = "x",
                 .series = {density_of("data", truth, lo, hi), density_of("samples", samples.slice(0, 0, n), lo, hi)}});
    return name + ".svg";
}
}  // namespace

std::string draw_picture(const std::filesystem::path& folder, const std::string& name, const Tensor& samples,
                         const Dataset& data, const std::string& provenance, const std::vector<std::string>& in_turn) {
    if (const auto* own = dynamic_cast<const Depicts*>(&data)) {
        own->depict(folder, name, samples, true_examples(data, samples.size(0)));
        return name + ".svg";
    }
    if (are_images(samples)) return draw_images(folder, name, samples, data, provenance, in_turn);
    if (samples.dim() == 2 && samples.size(1) == 2) return draw_points(folder, name, samples, data);
    if (samples.dim() == 2 && samples.size(1) == 1) return draw_line(folder, name, samples, data);
    return {};
}

bool draw_data(const fs::path& file, const Tensor& x, const Tensor& label, const Dataset& data,
               const Classes& classes) {
    if (const auto* own = dynamic_cast<const Depicts*>(&data)) {
        if (file.extension() != ".svg")
            throw Error(fmt::format("pictures of such data are .svg, not {}", file.extension().string()));
        own->depict(file.parent_path().empty() ? "." : file.parent_path(), file.stem().string(), x, {});
        return true;
    }
    if (are_images(x)) {
        draw_rows(file, x, label, data, classes);
        return true;
    }
    if (x.dim() != 2) return false;
    if (x.size(1) == 1) {
        const double lo = x.min().item<double>(), hi = x.max().item<double>();
        write_chart(file,
                    {.title = "density", .x_label = "x", .series = {density_of("data", x, lo, hi > lo ? hi : lo + 1)}});
        return true;
    }
    Chart chart{.title = "data", .x_label = "element 0", .y_label = "element 1", .equal_axes = x.size(1) == 2};
    constexpr std::int64_t most_classes = 7;  // colours that can be told apart
    if (!label.defined() || classes.count > most_classes)
        chart.series.push_back({.x = column(x, 0), .y = column(x, 1), .style = Series::Style::points});
    else
        for (std::int64_t k = 0; k < classes.count; ++k) {
            const auto own = x.index_select(0, (label == k).nonzero().flatten());
            chart.series.push_back(
                {.name = classes.name(k), .x = column(own, 0), .y = column(own, 1), .style = Series::Style::points});
        }
    write_chart(file, chart);
    return true;
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
