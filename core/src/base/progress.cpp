#include "base/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <mutex>
#include <string>

#include "base/child.hpp"
#include "base/words.hpp"

namespace dtk {

namespace {

constexpr double bar_seconds = 0.2, plain_seconds = 10, memory_seconds = 15;
constexpr auto never = std::numeric_limits<std::int64_t>::min();
constexpr int widest_bar = 24, narrowest_bar = 6;

// The one owner of the terminal, and what guards it. Never destroyed: notes may come until the very end.
std::recursive_mutex& terminal() {
    static auto* mutex = new std::recursive_mutex;
    return *mutex;
}
Progress* active = nullptr;

bool speaks_utf8() {
    for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
        auto value = environment(name);
        if (value.empty()) continue;
        std::ranges::transform(value, value.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
        return value.find("utf-8") != std::string::npos || value.find("utf8") != std::string::npos;
    }
    return false;
}

/// The narrower of what the terminal and COLUMNS say.
int columns_of(std::FILE* stream) {
    int columns = 0;
    winsize size{};
    if (::ioctl(::fileno(stream), TIOCGWINSZ, &size) == 0) columns = size.ws_col;
    const auto wish = environment("COLUMNS");
    int wished = 0;
    std::from_chars(wish.data(), wish.data() + wish.size(), wished);
    if (wished > 0 && (columns == 0 || wished < columns)) columns = wished;
    return columns > 0 ? columns : 80;
}

bool is_continuation(char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

int cells(std::string_view text) {
    return static_cast<int>(std::ranges::count_if(text, [](char c) { return !is_continuation(c); }));
}

std::string_view first_cells(std::string_view text, int most) {
    std::size_t end = 0;
    for (int seen = 0; end < text.size(); ++end)
        if (!is_continuation(text[end]) && ++seen > most) break;
    return text.substr(0, end);
}

std::string grouped(std::int64_t value) {
    auto digits = fmt::format("{}", value);
    for (auto place = static_cast<std::int64_t>(digits.size()) - 3; place > (value < 0 ? 1 : 0); place -= 3)
        digits.insert(static_cast<std::size_t>(place), 1, ' ');
    return digits;
}

std::string rate_text(double per_second) {
    if (per_second >= 999.5) return grouped(std::llround(per_second)) + " it/s";
    if (per_second >= 99.95) return fmt::format("{:.0f} it/s", per_second);
    if (per_second >= 9.995) return fmt::format("{:.1f} it/s", per_second);
    if (per_second >= 1) return fmt::format("{:.2f} it/s", per_second);
    return fmt::format("{:.3g} s/it", 1 / per_second);
}

std::string duration_text(double seconds) {
    if (!(seconds < 1e9)) return "?";
    const auto whole = std::llround(seconds);
    const auto days = whole / 86400, hours = whole / 3600 % 24, minutes = whole / 60 % 60, rest = whole % 60;
    if (days > 0) return fmt::format("{}d {:02}:{:02}", days, hours, minutes);
    if (hours > 0) return fmt::format("{}:{:02}:{:02}", hours, minutes, rest);
    return fmt::format("{}:{:02}", minutes, rest);
}

std::string bar_text(double part, int width, bool unicode) {
    static constexpr std::array<std::string_view, 8> eighths{"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    const int steps = static_cast<int>(part * width * 8), full = steps / 8;
    std::string text = unicode ? "▕" : "[";
    for (int i = 0; i < full; ++i) text += unicode ? "█" : "#";
    int used = full;
    if (unicode && full < width && steps % 8 > 0) {
        text += eighths[static_cast<std::size_t>(steps % 8)];
        ++used;
    }
    text.append(static_cast<std::size_t>(width - used), ' ');
    return text + (unicode ? "▏" : "]");
}

Progress::Mode chosen(Progress::Mode wish, std::FILE* to) {
    if (wish != Progress::Mode::automatic) return wish;
    return ::isatty(::fileno(to)) && environment("TERM") != "dumb" ? Progress::Mode::bar : Progress::Mode::plain;
}

}  // namespace

double monotonic_seconds() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

Progress::Progress(std::string label, std::int64_t total, Settings settings)
    : label_(std::move(label)),
      total_(total),
      done_(settings.start),
      drawn_(never),
      measured_(settings.start),
      mode_(chosen(settings.mode, settings.to)),
      unicode_(speaks_utf8()),
      to_(settings.to),
      clock_(settings.clock),
      began_(clock_()),
      now_(began_),
      next_(began_),
      measured_at_(began_) {
    if (mode_ == Mode::none) return;
    const std::lock_guard lock(terminal());
    outer_ = active;
    if (outer_) outer_->clear();
    active = this;
    claimed_ = true;
}

Progress::Progress(std::string label, std::int64_t total, Mode mode)
    : Progress(std::move(label), total, Settings{.mode = mode}) {}

Progress::~Progress() {
    const std::lock_guard lock(terminal());
    if (open_) {
        std::fputc('\n', to_);
        std::fflush(to_);
    }
    if (claimed_) active = outer_;
}

void Progress::draw(std::string fields) {
    const std::lock_guard lock(terminal());
    fields_ = std::move(fields);
    measure();
    next_ = now_ + (mode_ == Mode::bar ? bar_seconds : plain_seconds);
    put(false);
}

/// The rate, smoothed over the last quarter of a minute; divided by its weight so that the first figures are right too.
void Progress::measure() {
    const double seconds = now_ - measured_at_;
    if (seconds <= 0 || done_ == measured_) return;
    const double old = std::exp(-seconds / memory_seconds);
    rate_ = old * rate_ + (1 - old) * static_cast<double>(done_ - measured_) / seconds;
    weight_ = old * weight_ + (1 - old);
    measured_ = done_;
    measured_at_ = now_;
}

std::string Progress::line(int columns) const {
    const bool counted = total_ > 0, over = counted && done_ >= total_;
    const double part = counted ? std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0) : 0;
    const double rate = weight_ > 0 ? rate_ / weight_ : 0;

    const auto head = fmt::format("{}  {}{}", label_, grouped(done_), counted ? "/" + grouped(total_) : "");
    const auto percent = counted ? fmt::format("  {:3d}%", static_cast<int>(part * 100)) : "";
    const std::string fields = fields_.empty() ? "" : "  " + fields_;
    const auto speed = rate > 0 ? "  " + rate_text(rate) : "";
    std::string end;
    if (over || finished_)
        end = "  took " + duration_text(now_ - began_);
    else if (counted && rate > 0)
        end = "  eta " + duration_text(static_cast<double>(total_ - done_) / rate);

    // On a narrow terminal first the bar goes, then the rate, then the fields from the last on.
    auto room = columns - cells(head) - cells(percent) - cells(fields) - cells(end);
    const bool with_speed = room >= cells(speed);
    if (with_speed) room -= cells(speed);
    const int width = std::min(widest_bar, room - 4);
    const bool with_bar = mode_ == Mode::bar && counted && width >= narrowest_bar;
    auto shown = fields;
    while (!shown.empty() && room + cells(fields) - cells(shown) < 0) shown.erase(shown.rfind("  "));
    auto text = fmt::format("{}{}{}{}{}{}", head, with_bar ? "  " + bar_text(part, width, unicode_) : "", percent,
                            shown, with_speed ? speed : "", end);
    return std::string(first_cells(text, columns));
}

void Progress::put(bool ended) {
    if (mode_ == Mode::plain) {
        text_ = line(std::numeric_limits<int>::max() / 2) + '\n';
    } else {
        // One column stays free: a full last one makes some terminals wrap.
        text_ = "\r" + line(std::max(1, columns_of(to_) - 1)) + "\x1b[K" + (ended ? "\n" : "");
        open_ = !ended;
    }
    drawn_ = done_;
    std::fwrite(text_.data(), 1, text_.size(), to_);
    std::fflush(to_);
}

void Progress::clear() {
    if (!open_) return;
    std::fputs("\r\x1b[K", to_);
    std::fflush(to_);
    open_ = false;
}

void Progress::finish() {
    const std::lock_guard lock(terminal());
    if (finished_ || drawn_ == never) return;
    finished_ = true;
    now_ = clock_();
    const bool shown = drawn_ == done_;
    if (!shown) measure();
    if (mode_ == Mode::bar || !shown) put(true);
}

void begin_progress() { active = nullptr; }

void Progress::note(std::string_view line) {
    const std::lock_guard lock(terminal());
    auto* to = active ? active->to_ : stderr;
    const bool redraw = active && active->open_;
    if (redraw) active->clear();
    std::fwrite(line.data(), 1, line.size(), to);
    std::fputc('\n', to);
    // The line as it was: its numbers may be changing in another thread.
    if (redraw) std::fwrite(active->text_.data(), 1, active->text_.size(), to);
    std::fflush(to);
    if (redraw) active->open_ = true;
}

}  // namespace dtk
