#pragma once
// Charts, drawn by the program gnuplot as SVG or PNG.
#include <dtk/api.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dtk {

/// One line or cloud of points. Points that cannot be drawn (not finite, beyond 1e150, or ≤ 0 on a logarithmic axis)
/// are left out and break a line. All vectors that are given are of one size.
struct Series {
    enum class Style { line, points, intervals };
    static constexpr int grey = -2;
    std::string name{};  ///< for the legend; none if empty
    std::vector<double> x{}, y{};
    std::vector<double> low{},
        high{};  ///< if given, a band from low to high behind the line, in its colour; of intervals their ends along x
    Style style = Style::line;
    bool open = false;  ///< markers are outlines
    int colour =
        -1;  ///< a place in the palette, which markers and dashes go with; −1: the series' own place among the others
};

struct Chart {
    using Range = std::optional<std::pair<double, double>>;
    std::string title{}, x_label{}, y_label{};
    bool log_x = false, log_y = false;
    bool equal_axes = false;  ///< one unit is as long on both axes
    Range x_range{}, y_range{};
    std::vector<Series> series{};
    int width = 640, height = 420;  ///< without the rows of the legend after the first
    int text_size = 12;
    std::vector<std::string> rows{};  ///< if given, what stands at y = 1, 2, … from the top, in place of numbers
    Range x_band{};                   ///< a grey band over all y
};

/// Writes charts in rows of `columns`; .svg and .png by the extension. Texts are data: nothing in them is interpreted.
/// Throws Error if gnuplot is missing or fails, or the vectors of a series differ in size.
DTK_API void write_charts(const std::filesystem::path& path, const std::vector<Chart>& charts, int columns = 2);
DTK_API void write_chart(const std::filesystem::path& path, const Chart& chart);

/// Charts as <svg> elements of a page, each with what its ids begin with, drawn in one run. Their colours are the
/// page's variables --chart-paper, -ink, -axis, -grid, -band, -grey and -0 … -6, or the usual ones where the page says
/// nothing.
DTK_API std::vector<std::string> svg_elements(const std::vector<std::pair<Chart, std::string>>& charts);

}  // namespace dtk
