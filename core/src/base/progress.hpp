#pragma once
#include <cstdint>
#include <cstdio>
#include <dtk/api.hpp>
#include <string>
#include <string_view>
#include <utility>

namespace dtk {

/// Seconds of a clock that never jumps.
DTK_API double monotonic_seconds();

/// How far a long work has come, on standard error: one redrawn line on a terminal, else a line every ten seconds.
///
///     train  12 300/50 000  ▕███     ▏  25%  loss 0.0312  41.2 it/s  eta 15:12
///
/// The first and the last state are always shown. Nothing is written if the work is over before it is first reported.
class DTK_API Progress {
 public:
    enum class Mode { automatic, bar, plain, none };
    struct Settings {
        Mode mode = Mode::automatic;
        std::int64_t start = 0;  ///< what was done before, by the run that is resumed
        std::FILE* to = stderr;
        double (*clock)() = &monotonic_seconds;
    };

    /// total ≤ 0: not known.
    Progress(std::string label, std::int64_t total, Settings settings);
    Progress(std::string label, std::int64_t total, Mode mode = Mode::automatic);
    /// Leaves the line as it was last drawn: after an error it must not claim more.
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    /// To be called at every step: it reads the clock and no more. Only when a line is due is `fields()` called for the
    /// text after the count ("loss 0.0312  lr 1.0e-04"), so it may be dear (a loss is fetched from the device).
    template <class Fields>
    void at(std::int64_t done, Fields&& fields) {
        done_ = done;
        if (due(done)) draw(std::forward<Fields>(fields)());
    }
    void at(std::int64_t done) {
        at(done, [] { return std::string(); });
    }

    /// Shows the last state, if it has not been shown, and ends the line.
    void finish();

    /// A line above the bar, if there is one; else on standard error. From any thread. All messages to people go this
    /// way while work is under way.
    static void note(std::string_view line);

 private:
    bool due(std::int64_t done) {
        if (mode_ == Mode::none) return false;
        now_ = clock_();
        return now_ >= next_ || (done == total_ && done != drawn_);
    }
    void draw(std::string fields);
    void measure();
    std::string line(int columns) const;
    void put(bool ended);
    void clear();

    std::string label_, fields_, text_;
    std::int64_t total_, done_, drawn_, measured_;
    Mode mode_;
    bool unicode_, open_ = false, finished_ = false, claimed_ = false;
    std::FILE* to_;
    double (*clock_)();
    double began_, now_, next_, measured_at_;
    double rate_ = 0, weight_ = 0;
    Progress* outer_ = nullptr;
};

}  // namespace dtk
