#include "engine/trajectory.hpp"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/dataset.hpp>
#include <dtk/depicts.hpp>
#include <dtk/safetensors.hpp>

#include "base/chart.hpp"
#include "base/picture.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

std::vector<double> numbers(const Tensor& x) {
    const auto c = x.to(at::kDouble).contiguous();
    return {c.const_data_ptr<double>(), c.const_data_ptr<double>() + c.numel()};
}

/// Two rows for each of the first samples: x_t and below it x̂_0.
void draw_strips(const fs::path& file, const Tensor& x, const Tensor& x0, std::pair<double, double> range,
                 const std::string& provenance) {
    const auto [lo, hi] = range;
    const auto shown = std::min<std::int64_t>(x.size(1), 4);
    const auto rows =
        at::stack({x.slice(1, 0, shown), x0.slice(1, 0, shown)}, 2).permute({1, 2, 0, 3, 4, 5}).flatten(0, 2);
    const auto pixels = ((rows - lo) * (255 / (hi - lo)))
                            .nan_to_num()
                            .round()
                            .clamp(0, 255)
                            .to(at::kByte)
                            .permute({0, 2, 3, 1})
                            .contiguous();
    write_image_grid(file,
                     {{pixels.const_data_ptr<std::uint8_t>(), static_cast<std::size_t>(pixels.numel())},
                      pixels.size(0),
                      pixels.size(1),
                      pixels.size(2),
                      pixels.size(3)},
                     {.columns = x.size(0), .provenance = provenance});
}

/// A fan of paths: in the plane, or of numbers over the steps.
void draw_paths(const fs::path& file, const Tensor& x, const Tensor& x0, const Tensor& t) {
    const bool plane = x.size(2) == 2;
    const auto panel = [&](const char* title, const Tensor& paths) {
        Chart chart{.title = title, .equal_axes = plane};
        if (!plane) chart.x_label = "t", chart.y_label = "x";
        for (std::int64_t row = 0; row < paths.size(1); ++row) {
            const auto path = paths.select(1, row);
            chart.series.push_back({.x = plane ? numbers(path.select(1, 0)) : numbers(t),
                                    .y = numbers(path.select(1, plane ? 1 : 0)),
                                    .colour = Series::grey});
        }
        if (plane) {
            const auto ends = paths[-1];
            chart.series.push_back(
                {.x = numbers(ends.select(1, 0)), .y = numbers(ends.select(1, 1)), .style = Series::Style::points});
        }
        return chart;
    };
    write_charts(file, {panel("x_t", x), panel("estimate of x_0", x0)});
}

}  // namespace

KeptTrajectory::KeptTrajectory(std::int64_t states, std::vector<double> times) : times_(std::move(times)) {
    const auto steps = static_cast<std::int64_t>(times_.size());
    for (std::int64_t i = 0; i < std::min(states, steps + 1); ++i)
        wanted_.push_back(states == 1 ? steps
                                      : std::llround(static_cast<double>(i * steps) /
                                                     static_cast<double>(std::min(states, steps + 1) - 1)));
    times_.push_back(-1);
}

void KeptTrajectory::see(std::int64_t step, const Tensor& x, const Tensor& x0) {
    if (x_.size() == wanted_.size() || step != wanted_[x_.size()]) return;
    const auto kept = [](const Tensor& all) { return all.slice(0, 0, std::min(all.size(0), rows)).detach().clone(); };
    x_.push_back(kept(x));
    x0_.push_back(x0.defined() ? kept(x0).to(x.options()) : at::full_like(x_.back(), std::nan("")));
    t_.push_back(times_[static_cast<std::size_t>(step)]);
}

std::string KeptTrajectory::save(const fs::path& folder, const Dataset& data, const std::string& provenance) const {
    const auto x = at::stack(x_).cpu(), x0 = at::stack(x0_).cpu(), t = at::tensor(t_, at::kDouble);
    save_safetensors(folder / "trajectory.safetensors",
                     {{{"x", x}, {"x0", x0}, {"t", t}}, {{"experiment", provenance}}});
    if (const auto* own = dynamic_cast<const Depicts*>(&data)) {
        own->depict_way(folder, "trajectory", x);
        return "trajectory.svg";
    }
    if (x.dim() == 5 && (x.size(2) == 1 || x.size(2) == 3)) {
        draw_strips(folder / "trajectory.png", x, x0, data.range().value_or(std::pair{-1.0, 1.0}), provenance);
        return "trajectory.png";
    }
    if (x.dim() != 3 || x.size(2) > 2) return {};
    draw_paths(folder / "trajectory.svg", x, x0, t);
    return "trajectory.svg";
}

}  // namespace dtk
