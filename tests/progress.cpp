#include "base/progress.hpp"

#include <stdlib.h>

#include <cstdio>
#include <string>
#include <vector>

#include "catch.hpp"

using dtk::Progress;

namespace {

double now = 0;
double clock_of_the_test() { return now; }

/// A stream to write to and to read back.
struct Stream {
    std::FILE* file = std::tmpfile();
    ~Stream() { std::fclose(file); }
    std::string text() const {
        std::string all;
        std::rewind(file);
        for (int c = std::fgetc(file); c != EOF; c = std::fgetc(file)) all += static_cast<char>(c);
        return all;
    }
    Progress::Settings settings(Progress::Mode mode) const {
        return {.mode = mode, .start = 0, .to = file, .clock = &clock_of_the_test};
    }
};

struct Environment {
    Environment(const char* lang, const char* columns) {
        ::unsetenv("LC_ALL");
        ::unsetenv("LC_CTYPE");
        ::setenv("LANG", lang, 1);
        ::setenv("COLUMNS", columns, 1);
    }
    ~Environment() { ::unsetenv("COLUMNS"); }
};

std::string loss() { return "loss 0.0312"; }

/// The lines a bar drew one over the other.
std::vector<std::string> redrawn(const std::string& text) {
    std::vector<std::string> lines;
    for (std::size_t begin = text.find('\r'); begin != std::string::npos;) {
        const auto end = text.find('\x1b', begin);
        lines.push_back(text.substr(begin + 1, end - begin - 1));
        begin = text.find('\r', end);
    }
    return lines;
}

std::size_t cells(const std::string& line) {
    std::size_t count = 0;
    for (const char c : line) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
    return count;
}

}  // namespace

TEST_CASE("a plain report has the first line, one every ten seconds, and the last") {
    const Stream stream;
    now = 100;
    int asked = 0;
    {
        Progress progress("train", 50'000, stream.settings(Progress::Mode::plain));
        for (std::int64_t step = 1; step <= 50'000; ++step) {
            now += 0.0005;
            progress.at(step, [&] { return ++asked, loss(); });
        }
        progress.finish();
    }
    CHECK(stream.text() ==
          "train  1/50 000    0%  loss 0.0312  2 000 it/s  eta 0:25\n"
          "train  20 001/50 000   40%  loss 0.0312  2 000 it/s  eta 0:15\n"
          "train  40 001/50 000   80%  loss 0.0312  2 000 it/s  eta 0:05\n"
          "train  50 000/50 000  100%  loss 0.0312  2 000 it/s  took 0:25\n");
    CHECK(asked == 4);
}

TEST_CASE("work that ends early ends with its last state") {
    const Stream stream;
    now = 0;
    Progress progress("sample", 100, stream.settings(Progress::Mode::plain));
    for (std::int64_t step = 1; step <= 30; ++step) {
        now += 0.1;
        progress.at(step);
    }
    progress.finish();
    progress.finish();
    CHECK(stream.text() == "sample  1/100    1%  10.0 it/s  eta 0:10\nsample  30/100   30%  10.0 it/s  took 0:03\n");
}

TEST_CASE("a resumed run counts only its own steps into the rate") {
    const Stream stream;
    now = 0;
    auto settings = stream.settings(Progress::Mode::plain);
    settings.start = 41'000;
    Progress progress("train", 50'000, settings);
    now = 1;
    progress.at(41'010);
    CHECK(stream.text() == "train  41 010/50 000   82%  10.0 it/s  eta 14:59\n");
}

TEST_CASE("work of unknown length has a count and a rate") {
    const Stream stream;
    now = 0;
    Progress progress("read", 0, stream.settings(Progress::Mode::plain));
    now = 4;
    progress.at(1);
    CHECK(stream.text() == "read  1  4 s/it\n");
}

TEST_CASE("mode none writes nothing and asks for nothing") {
    const Stream stream;
    Progress progress("train", 10, stream.settings(Progress::Mode::none));
    for (int step = 1; step <= 10; ++step) progress.at(step, []() -> std::string { throw 1; });
    progress.finish();
    CHECK(stream.text().empty());
}

TEST_CASE("what is no terminal gets plain lines") {
    const Stream stream;
    now = 0;
    Progress progress("train", 10, stream.settings(Progress::Mode::automatic));
    progress.at(1);
    CHECK(stream.text() == "train  1/10   10%\n");
}

TEST_CASE("a bar never fills the line, whatever its width") {
    for (const char* lang : {"C", "C.UTF-8"})
        for (int columns = 1; columns <= 200; ++columns) {
            const Environment environment(lang, std::to_string(columns).c_str());
            const Stream stream;
            now = 0;
            Progress progress("train", 50'000, stream.settings(Progress::Mode::bar));
            for (std::int64_t step = 1; step <= 50'000; step += 997) {
                now += 3;
                progress.at(step, [] { return std::string("loss 0.0312  lr 1.0e-04  größe 1"); });
            }
            progress.finish();
            for (const auto& line : redrawn(stream.text())) {
                INFO(line);
                CHECK(cells(line) < static_cast<std::size_t>(std::max(columns, 2)));
            }
        }
}

TEST_CASE("a bar shows the part done, in ASCII where the locale is") {
    const auto last = [](const char* lang) {
        const Environment environment(lang, "100");
        const Stream stream;
        now = 0;
        Progress progress("train", 50'000, stream.settings(Progress::Mode::bar));
        now = 100;
        progress.at(12'300, loss);
        return redrawn(stream.text()).back();
    };
    CHECK(last("C") == "train  12 300/50 000  [#####                   ]   24%  loss 0.0312  123 it/s  eta 5:07");
    CHECK(last("de_DE.UTF-8") ==
          "train  12 300/50 000  ▕█████▉                  ▏   24%  loss 0.0312  123 it/s  eta 5:07");
}

TEST_CASE("on a narrow terminal fields are dropped whole, from the last on") {
    const Environment environment("C", "45");
    const Stream stream;
    now = 0;
    Progress progress("train", 3000, stream.settings(Progress::Mode::bar));
    progress.at(30, [] { return std::string("loss 0.0312  lr 1.0e-04"); });
    CHECK(redrawn(stream.text()).back() == "train  30/3 000    1%  loss 0.0312");
}

TEST_CASE("a note goes above the bar, which is drawn again") {
    const Environment environment("C", "60");
    const Stream stream;
    now = 0;
    {
        Progress progress("train", 10, stream.settings(Progress::Mode::bar));
        progress.at(1);
        progress.note("saved step 1");
        CHECK(stream.text() ==
              "\rtrain  1/10  [##                      ]   10%\x1b[K\r\x1b[Ksaved step 1\n"
              "\rtrain  1/10  [##                      ]   10%\x1b[K");
    }
    CHECK(stream.text().back() == '\n');
}

TEST_CASE("a step between two lines reads the clock once and asks for no fields") {
    const Stream stream;
    static int readings;
    readings = 0;
    Progress progress("train", 1000,
                      {.mode = Progress::Mode::bar, .to = stream.file, .clock = [] { return ++readings, 5.0; }});
    int asked = 0;
    const auto fields = [&] { return ++asked, std::string(); };
    progress.at(1, fields);
    const int before = readings;
    for (int step = 2; step <= 101; ++step) progress.at(step, fields);
    CHECK(readings - before == 100);
    CHECK(asked == 1);
}
