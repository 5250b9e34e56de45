#include "base/chart.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <csignal>
#include <cstring>
#include <dtk/error.hpp>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>
#include <tuple>

#include "base/files.hpp"

extern char** environ;

namespace dtk {
namespace fs = std::filesystem;

namespace {

/// UTF-8 whatever it was, on one line, without control characters.
std::string plain_text(const std::string& text) {
    using Json = nlohmann::json;
    auto plain = Json::parse(Json(text).dump(-1, ' ', false, Json::error_handler_t::replace)).get<std::string>();
    std::ranges::replace_if(
        plain, [](unsigned char c) { return c < 0x20 || c == 0x7f; }, ' ');
    return plain;
}

// Okabe and Ito's colours, which people with any colour vision can tell apart; yellow is too pale on white.
constexpr std::array<unsigned, 7> palette{0x0072b2, 0xd55e00, 0x009e73, 0xcc79a7, 0xe69f00, 0x56b4e9, 0x1a1a1a};
constexpr unsigned paper = 0xffffff, ink = 0x202020, axis_ink = 0x404040, axis_line = 0x707070, grid_line = 0xe4e4e4,
                   band_grey = 0xebebeb, series_grey = 0x8a8a8a;
// Circle, square, triangle, diamond, triangle downwards, pentagon: gnuplot's numbers of the filled ones.
constexpr std::array markers{7, 5, 9, 13, 11, 15};
constexpr int equal_width = 520;
constexpr int png_zoom = 2;
constexpr std::size_t most_line_points = 4000, few_points = 20;

/// A gnuplot string. Every byte that is not a letter is written as its octal code, so no text can end the string, the
/// line or the command. (A digit would be taken for part of the code before it.)
std::string gnuplot_text(const std::string& text) {
    std::string result = "\"";
    for (const unsigned char c : plain_text(text)) {
        const bool simple = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == ' ';
        if (simple)
            result += static_cast<char>(c);
        else
            fmt::format_to(std::back_inserter(result), "\\{:03o}", c);
    }
    return result + '"';
}

/// Beside an axis: in two lines where it would be cut at the axis' ends.
std::string text_beside(const std::string& text) {
    constexpr std::size_t room = 44;  // letters
    if (text.size() <= room) return gnuplot_text(text);
    const auto comma = text.rfind(", ");
    const auto end = comma != text.npos ? comma + 1 : text.find(' ', text.size() / 2);
    if (end == text.npos) return gnuplot_text(text);
    return gnuplot_text(text.substr(0, end)) + " . \"\\n\" . " + gnuplot_text(text.substr(end + 1));
}

/// Sums and quotients of such values, ours and gnuplot's, stay finite.
bool drawable(double value, bool logarithmic) { return std::abs(value) < 1e150 && (!logarithmic || value > 1e-150); }

void check(const Series& series) {
    const auto size = series.x.size();
    const bool band = !series.low.empty() || !series.high.empty();
    if (series.y.size() != size || (band && (series.low.size() != size || series.high.size() != size)))
        throw Error(fmt::format("the series `{}` of a chart has {} x, {} y, {} low and {} high values",
                                plain_text(series.name), size, series.y.size(), series.low.size(), series.high.size()));
}

/// Which points to draw. A line of very many keeps the least and the greatest of each short stretch: it looks the same.
std::vector<std::size_t> drawn_points(const Series& series) {
    const auto size = series.x.size();
    std::vector<std::size_t> kept;
    if (series.style == Series::Style::points || size <= most_line_points) {
        for (std::size_t i = 0; i < size; ++i) kept.push_back(i);
        return kept;
    }
    const auto stretches = most_line_points / 4;
    for (std::size_t s = 0; s < stretches; ++s) {
        const auto begin = s * size / stretches, end = (s + 1) * size / stretches;
        auto low = begin, high = begin;
        for (auto i = begin; i < end; ++i) {
            if (series.y[i] < series.y[low] || std::isnan(series.y[low])) low = i;
            if (series.y[i] > series.y[high] || std::isnan(series.y[high])) high = i;
        }
        std::array<std::size_t, 4> ends{begin, low, high, end - 1};
        std::ranges::sort(ends);
        kept.insert(kept.end(), ends.begin(), std::unique(ends.begin(), ends.end()));
    }
    return kept;
}

/// The part of an axis that is shown.
class Axis {
 public:
    Axis(bool logarithmic, const Chart::Range& wish) : logarithmic_(logarithmic) {
        if (!wish || !drawable(wish->first, logarithmic) || !drawable(wish->second, logarithmic)) return;
        std::tie(low_, high_) = std::minmax(wish->first, wish->second);
        fixed_ = true;
    }

    void include(double value) {
        if (fixed_ || !drawable(value, logarithmic_)) return;
        low_ = std::min(low_, value);
        high_ = std::max(high_, value);
    }
    bool shows(double value) const { return !fixed_ || (value >= low_ && value <= high_); }

    /// Adds `margin` of its length at both ends, and a length to what has none.
    void settle(double margin) {
        if (low_ > high_) std::tie(low_, high_) = logarithmic_ ? std::pair(1.0, 10.0) : std::pair(0.0, 1.0);
        if (high_ - low_ <= 1e-9 * std::max(std::abs(low_), std::abs(high_))) {
            const double half = logarithmic_ ? low_ / 2 : low_ == 0 ? 0.5 : std::abs(low_) / 10;
            low_ -= half;
            high_ += half;
        } else if (!fixed_ && logarithmic_) {
            const double factor = std::pow(high_ / low_, margin);
            low_ /= factor;
            high_ *= factor;
        } else if (!fixed_) {
            const double pad = margin * (high_ - low_);
            low_ = low_ >= 0 ? std::max(0.0, low_ - pad) : low_ - pad;
            high_ += pad;
        }
    }
    double length() const { return high_ - low_; }
    /// Where a chart is too narrow for as many labels as gnuplot would set.
    std::string few_ticks(char name, int pixels) const {
        return logarithmic_ || pixels >= 500 ? "" : fmt::format("set {}tics {:.9g}\n", name, tick_step(pixels / 70));
    }
    std::pair<double, double> clipped(const std::pair<double, double>& range) const {
        return {std::clamp(range.first, low_, high_), std::clamp(range.second, low_, high_)};
    }

    std::string commands(char name) const {
        auto text = fmt::format("set {}range [{}:{}]\n", name, low_, high_);
        if (!logarithmic_) return text;
        // Powers of ten alone would label less than two decades too thinly.
        return text + (std::log10(high_ / low_) > 2.2
                           ? fmt::format("set logscale {0}\nset {0}tics ({1})\n", name, fmt::join(decades(), ", "))
                           : fmt::format("set logscale {0}\nset format {0} '%g'\nset {0}tics ({1:.9g})\n", name,
                                         fmt::join(few_decades(), ", ")));
    }

 private:
    /// Powers of ten, eight at most, each with its label.
    std::vector<std::string> decades() const {
        static constexpr std::array<std::string_view, 10> raised{"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
        const auto first = static_cast<int>(std::ceil(std::log10(low_)));
        const auto last = static_cast<int>(std::floor(std::log10(high_)));
        const int stride = 1 + (last - first) / 8;
        std::vector<std::string> ticks;
        for (int power = first; power <= last; ++power) {
            if (power % stride != 0) continue;
            std::string label = power < 0 ? "10⁻" : "10";
            for (const char digit : fmt::format("{}", std::abs(power)))
                label += raised[static_cast<std::size_t>(digit - '0')];
            ticks.push_back(fmt::format("{} 1e{}", gnuplot_text(label), power));
        }
        return ticks;
    }

    std::vector<double> few_decades() const {
        std::vector<double> ticks;
        for (double decade = std::pow(10, std::floor(std::log10(low_))); decade <= high_; decade *= 10)
            for (const double digit : {1, 2, 5})
                if (digit * decade >= low_ && digit * decade <= high_) ticks.push_back(digit * decade);
        if (ticks.size() > 2) return ticks;
        const double step = tick_step(5);
        ticks.clear();
        for (double tick = std::ceil(low_ / step); tick * step <= high_; ++tick) ticks.push_back(tick * step);
        return ticks;
    }

    /// A round number that goes into the length so often at most.
    double tick_step(int most) const {
        const double rough = length() / most, power = std::pow(10, std::floor(std::log10(rough)));
        return power * (rough < 2 * power ? 2 : rough < 5 * power ? 5 : 10);
    }

    bool logarithmic_, fixed_ = false;
    double low_ = std::numeric_limits<double>::infinity(), high_ = -low_;
};

/// The commands that draw one chart; data goes into named blocks before them.
class ChartScript {
 public:
    ChartScript(const Chart& chart, int number)
        : chart_(chart), number_(number), x_(chart.log_x, chart.x_range), y_(chart.log_y, chart.y_range) {
        for (std::size_t i = 0; i < chart.series.size(); ++i) add(chart.series[i], i);
        if (chart.x_band) x_.include(chart.x_band->first), x_.include(chart.x_band->second);
        const bool lines =
            std::ranges::any_of(chart.series, [](const auto& s) { return s.style == Series::Style::line; });
        x_.settle(lines && !chart.equal_axes ? 0.015 : 0.04);
        y_.settle(0.05);
        if (plots_.empty()) plots_ = {"NaN notitle"};
        plots_.insert(plots_.end(), keys_.begin(), keys_.end());
    }

    /// Height over width of what is drawn, if both axes are to have one unit.
    double aspect() const { return y_.length() / x_.length(); }

    /// With room for every row of the legend.
    int height() const {
        const int entry = 45 + letter_width() * static_cast<int>(longest_key_),
                  across = std::max(1, (chart_.width - 60) / entry);
        const auto entries = static_cast<int>(keys_.size());
        return chart_.height + chart_.text_size * 3 / 2 * std::max(0, (entries + across - 1) / across - 1);
    }

    std::string text() const {
        std::string out = data_;
        out += fmt::format(R"(reset
set minussign
set border 3 lc rgb '#{2:06x}' lw 1
set tics nomirror out scale 0.6 textcolor rgb '#{1:06x}'
set grid lc rgb '#{3:06x}' lw 1 lt 1
set style fill noborder
set rmargin 4
)",
                           ink, axis_ink, axis_line, grid_line);
        out += keys_.empty()
                   ? "unset key\n"
                   : fmt::format(
                         "set key below center horizontal Left reverse samplen 1.6 spacing 1.15 width 1 height "
                         "0.5 textcolor rgb '#{:06x}'\n",
                         ink);
        out += fmt::format("set title {} textcolor rgb '#{:06x}' offset 0,-0.3\n", gnuplot_text(chart_.title), ink);
        out += fmt::format("set xlabel {} textcolor rgb '#{:06x}'\n", gnuplot_text(chart_.x_label), axis_ink);
        out += fmt::format("set ylabel {} textcolor rgb '#{:06x}'\n", text_beside(chart_.y_label), axis_ink);
        out +=
            x_.commands('x') + x_.few_ticks('x', chart_.width) + (chart_.rows.empty() ? y_.commands('y') : row_names());
        if (chart_.x_band) {
            const auto [low, high] = x_.clipped(*chart_.x_band);
            out += fmt::format(
                "set object rectangle from {:.9g}, graph 0 to {:.9g}, graph 1 behind fc rgb '#{:06x}' fs solid "
                "noborder\n",
                low, high, band_grey);
        }
        if (chart_.equal_axes) out += "set size ratio -1\n";
        return out + fmt::format("plot {}\n", fmt::join(plots_, ", \\\n     "));
    }

 private:
    /// Nearly.
    int letter_width() const { return chart_.text_size * 6 / 10; }

    /// Names to the left, or above their rows where they are too long for that.
    std::string row_names() const {
        const auto& rows = chart_.rows;
        std::size_t longest = 0;
        for (const auto& row : rows) longest = std::max(longest, letters(row));
        const bool left = letter_width() * static_cast<int>(longest) < chart_.width * 3 / 10;
        auto text = fmt::format("set yrange [{}:{}]\n", static_cast<double>(rows.size()) + 0.6, left ? 0.4 : 0.2);
        text += left ? "set ytics (" : "set ytics format ''\nset ytics (";
        for (std::size_t i = 0; i < rows.size(); ++i)
            text += fmt::format("{}{} {}", i ? ", " : "", gnuplot_text(left ? rows[i] : ""), i + 1);
        text += ") scale 0\n";
        for (std::size_t i = 0; !left && i < rows.size(); ++i)
            text += fmt::format("set label {} at graph 0.01, first {} left front textcolor rgb '#{:06x}'\n",
                                gnuplot_text(rows[i]), static_cast<double>(i) + 0.62, axis_ink);
        return text;
    }

    static std::size_t letters(const std::string& text) {
        return static_cast<std::size_t>(
            std::ranges::count_if(text, [](unsigned char c) { return (c & 0xc0) != 0x80; }));
    }

    void add(const Series& series, std::size_t number) {
        check(series);
        const auto index = series.colour < 0 ? number : static_cast<std::size_t>(series.colour);
        const auto colour = series.colour == Series::grey ? series_grey : palette[index % palette.size()];
        const auto dash = series.colour == Series::grey ? 2 : 1 + index / palette.size() % 5;
        // An outline's number is one less than that of what it encloses.
        const auto marker =
            (series.colour == Series::grey ? 7 : markers[index % markers.size()]) - (series.open ? 1 : 0);
        const bool line = series.style == Series::Style::line;
        const bool marked = series.x.size() <= few_points && series.colour != Series::grey;
        longest_key_ = std::max(longest_key_, letters(series.name));
        const auto block = fmt::format("$d{}_{}", number_, number);
        if (const auto points = write_data(series, block); points > 0) {
            if (series.style == Series::Style::intervals)
                plots_.push_back(
                    fmt::format("{} using 1:2:3:4 with xerrorbars pt {} ps 1.2 lw 2.2 lc rgb '#{:06x}' notitle", block,
                                marker, colour));
            else if (!series.low.empty())
                plots_.push_back(
                    fmt::format("{} using 1:3:4 with filledcurves fc rgb '#c8{:06x}' notitle", block, colour));
            if (line && points > 1)
                plots_.push_back(fmt::format("{} using 1:2 with {} dt {} lw 1.8 lc rgb '#{:06x}' notitle", block,
                                             marked ? fmt::format("linespoints pt {} ps 0.7", marker) : "lines", dash,
                                             colour));
            else if (series.style != Series::Style::intervals)
                plots_.push_back(series.open
                                     ? fmt::format("{} using 1:2 with points pt {} ps 1 lw 2 lc rgb '#{:06x}' notitle",
                                                   block, marker, colour)
                                     : points_plot(block, points, colour, marker));
        }
        // The legend has samples of its own: those of thin transparent points could not be seen.
        if (!series.name.empty())
            keys_.push_back(line ? fmt::format("NaN with {} lw 2.5 dt {} lc rgb '#{:06x}' title {}",
                                               marked ? fmt::format("linespoints pt {} ps 0.8", marker) : "lines", dash,
                                               colour, gnuplot_text(series.name))
                                 : fmt::format("NaN with points pt {} ps 1.1 lw 2 lc rgb '#{:06x}' title {}", marker,
                                               colour, gnuplot_text(series.name)));
    }

    static std::string points_plot(const std::string& block, std::size_t count, unsigned colour, int marker) {
        // Smaller and paler the more there are, from ten to ten thousand.
        const auto crowd = std::clamp((std::log10(static_cast<double>(count)) - 1) / 3, 0.0, 1.0);
        const auto transparency = static_cast<unsigned>(std::lround(255 * (0.25 + 0.5 * crowd)));
        return fmt::format("{} using 1:2 with points pt {} ps {:.2f} lc rgb '#{:02x}{:06x}' notitle", block, marker,
                           1 - 0.77 * crowd, transparency, colour);
    }

    /// → how many points can be drawn.
    std::size_t write_data(const Series& series, const std::string& block) {
        auto out = std::back_inserter(data_);
        fmt::format_to(out, "{} << END\n", block);
        std::size_t points = 0;
        bool gap = true;
        for (const auto i : drawn_points(series)) {
            if (!drawable(series.x[i], chart_.log_x) || !drawable(series.y[i], chart_.log_y)) {
                if (!std::exchange(gap, true)) data_ += '\n';
                continue;
            }
            fmt::format_to(out, "{:.9g} {:.9g}", series.x[i], series.y[i]);
            const bool shown = x_.shows(series.x[i]);
            x_.include(series.x[i]);
            if (shown) y_.include(series.y[i]);
            if (!series.low.empty()) {
                const bool across = series.style == Series::Style::intervals,
                           logarithmic = across ? chart_.log_x : chart_.log_y;
                const bool band = drawable(series.low[i], logarithmic) && drawable(series.high[i], logarithmic);
                for (const auto* edge : {&series.low, &series.high}) {
                    const double value = band ? (*edge)[i] : across ? series.x[i] : series.y[i];
                    fmt::format_to(out, " {:.9g}", value);
                    if (across)
                        x_.include(value);
                    else if (shown)
                        y_.include(value);
                }
            }
            data_ += '\n';
            gap = false;
            ++points;
        }
        data_ += "END\n";
        return points;
    }

    const Chart& chart_;
    int number_;
    Axis x_, y_;
    std::string data_;
    std::vector<std::string> plots_, keys_;
    std::size_t longest_key_ = 0;
};

std::string script_of(const std::vector<Chart>& charts, int columns, bool svg) {
    std::vector<ChartScript> scripts;
    for (const auto& chart : charts) scripts.emplace_back(chart, static_cast<int>(scripts.size()));
    const int rows = (static_cast<int>(charts.size()) + columns - 1) / columns;
    int width = 0, height = 0;
    for (const auto& chart : charts) width = std::max(width, chart.width);
    for (const auto& script : scripts) height = std::max(height, script.height());
    if (std::ranges::all_of(charts, &Chart::equal_axes)) {
        // Of the width some 90 go to the vertical axis; of the height some 110 to title, axis and legend.
        double aspect = 0.4;
        for (const auto& script : scripts) aspect = std::max(aspect, script.aspect());
        width = equal_width;
        height = 110 + static_cast<int>((width - 90) * std::min(aspect, 1.5));
    }
    width *= columns;
    height *= rows;

    std::string text = "set encoding utf8\n";
    if (svg)
        text += fmt::format("set terminal svg size {},{} noenhanced font 'sans-serif,{}' background '#ffffff'\n", width,
                            height, charts.front().text_size);
    else
        text += fmt::format(
            "set terminal pngcairo size {},{} noenhanced font 'Sans,12' fontscale {} linewidth {} pointscale {} "
            "background '#ffffff'\n",
            width * png_zoom, height * png_zoom, 0.85 * png_zoom, png_zoom, png_zoom);
    if (charts.size() > 1) text += fmt::format("set multiplot layout {},{}\n", rows, columns);
    for (const auto& script : scripts) text += script.text();
    if (charts.size() > 1) text += "unset multiplot\n";
    return text;
}

/// A file in memory that a child can have as one of its standard streams.
class MemoryFile {
 public:
    MemoryFile() : descriptor_(::memfd_create("dtk", MFD_CLOEXEC)) {
        if (descriptor_ < 0) throw Error(fmt::format("cannot make a file in memory: {}", std::strerror(errno)));
    }
    ~MemoryFile() { ::close(descriptor_); }
    MemoryFile(const MemoryFile&) = delete;
    MemoryFile& operator=(const MemoryFile&) = delete;
    int descriptor() const { return descriptor_; }
    fs::path path() const { return fmt::format("/proc/self/fd/{}", descriptor_); }

 private:
    int descriptor_;
};

struct Finished {
    int status;
    std::string output, complaints;
};

/// Runs gnuplot on the script. In a process group of its own, so that an interrupt at the keyboard is left to us.
Finished run_gnuplot(const std::string& script) {
    const MemoryFile in, out, err;
    OutputFile(in.descriptor(), "gnuplot's script").write(script);
    ::lseek(in.descriptor(), 0, SEEK_SET);

    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    const std::array streams{in.descriptor(), out.descriptor(), err.descriptor()};
    for (int i = 0; i < 3; ++i) posix_spawn_file_actions_adddup2(&actions, streams[static_cast<std::size_t>(i)], i);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t none, pipe;
    sigemptyset(&none);
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &pipe);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
    std::array<char, 8> name{"gnuplot"};
    std::array<char, 19> defaults{"--default-settings"};
    std::array<char*, 3> arguments{name.data(), defaults.data(), nullptr};
    pid_t child = 0;
    const int reason = posix_spawnp(&child, "gnuplot", &actions, &attributes, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    if (reason != 0)
        throw Error(
            fmt::format("cannot draw charts with the program gnuplot: {}", std::generic_category().message(reason)),
            "install it: apt-get install gnuplot-nox");
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    return {status, read_file(out.path()), read_file(err.path())};
}

/// What gnuplot makes of the script.
std::string drawn(const std::string& script, bool svg, const std::string& what) {
    const auto [status, output, complaints] = run_gnuplot(script);
    const bool whole = svg ? output.find("</svg>") != std::string::npos : output.starts_with("\x89PNG");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 || !whole)
        throw Error(fmt::format("gnuplot could not draw {}: {}", what,
                                complaints.empty() ? "it said nothing" : plain_text(complaints)),
                    "if it lacks the terminal svg or pngcairo: apt-get install gnuplot-nox");
    return output;
}

void replace_all(std::string& text, const std::string& from, const std::string& to) {
    for (auto at = text.find(from); at != text.npos; at = text.find(from, at + to.size()))
        text.replace(at, from.size(), to);
}

/// Removes elements of that name, which hold no others.
void remove_elements(std::string& text, const std::string& name) {
    const auto end = "</" + name + ">";
    for (auto at = text.find("<" + name + ">"); at != text.npos; at = text.find("<" + name + ">", at))
        text.erase(at, text.find(end, at) + end.size() - at);
}

/// As gnuplot writes the colour of a line, and that of a text.
std::array<std::string, 2> rgb_texts(unsigned colour) {
    const auto red = colour >> 16, green = colour >> 8 & 0xff, blue = colour & 0xff;
    return {fmt::format("rgb({:3d}, {:3d}, {:3d})", red, green, blue), fmt::format("rgb({},{},{})", red, green, blue)};
}

/// gnuplot's <svg> as an element of a page, with ids and colours of the page.
std::string element_of(std::string svg, const std::string& id) {
    for (const auto* name : {"title", "desc"}) remove_elements(svg, name);
    // What an element of an HTML page neither needs nor has.
    for (const auto* name :
         {" xmlns=\"http://www.w3.org/2000/svg\"\n", " xmlns:xlink=\"http://www.w3.org/1999/xlink\"\n"})
        replace_all(svg, name, "");
    replace_all(svg, "xlink:href", "href");
    for (const auto* name : {"gpDot", "gpPt", "textbox", "greybox", "gnuplot_"}) {
        replace_all(svg, fmt::format("id='{}", name), fmt::format("id='{}{}", id, name));
        replace_all(svg, fmt::format("id=\"{}", name), fmt::format("id=\"{}{}", id, name));
        replace_all(svg, fmt::format("href='#{}", name), fmt::format("href='#{}{}", id, name));
    }
    std::vector<std::pair<unsigned, std::string>> colours{{ink, "ink"},        {axis_ink, "axis"},
                                                          {axis_line, "axis"}, {grid_line, "grid"},
                                                          {band_grey, "band"}, {series_grey, "grey"}};
    for (std::size_t i = 0; i < palette.size(); ++i) colours.emplace_back(palette[i], std::to_string(i));
    for (const auto& [colour, name] : colours)
        for (const auto& text : rgb_texts(colour))
            replace_all(svg, text, fmt::format("var(--chart-{}, #{:06x})", name, colour));
    replace_all(svg, fmt::format("fill=\"#{:06x}\"", paper),
                fmt::format("fill=\"var(--chart-paper, #{:06x})\"", paper));
    return svg;
}

}  // namespace

void write_charts(const fs::path& path, const std::vector<Chart>& charts, int columns) {
    const bool svg = path.extension() == ".svg";
    if (!svg && path.extension() != ".png")
        throw Error(fmt::format("cannot draw {}: charts are .svg or .png", path.string()), "change the extension");
    if (charts.empty()) throw Error(fmt::format("there is no chart to draw in {}", path.string()));
    columns = std::clamp(columns, 1, static_cast<int>(charts.size()));
    write_atomically(path, drawn(script_of(charts, columns, svg), svg, path.string()));
}

void write_chart(const fs::path& path, const Chart& chart) { write_charts(path, {chart}, 1); }

std::vector<std::string> svg_elements(const std::vector<std::pair<Chart, std::string>>& charts) {
    if (charts.empty()) return {};
    std::string script;
    for (const auto& [chart, id] : charts) script += script_of({chart}, 1, true);
    const auto all = drawn(script, true, "the charts of a page");
    std::vector<std::string> elements;
    std::size_t end = 0;
    for (const auto& [chart, id] : charts) {
        const auto begin = all.find("<svg", end);
        end = all.find("</svg>", begin);
        if (end == all.npos) throw Error("gnuplot stopped before the last chart of a page");
        end += std::string_view("</svg>").size();
        elements.push_back(element_of(all.substr(begin, end - begin), id));
    }
    return elements;
}

}  // namespace dtk
