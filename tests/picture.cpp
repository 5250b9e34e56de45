#include "base/picture.hpp"
#include "base/chart.hpp"

#include <png.h>
#include <stdlib.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <dtk/error.hpp>
#include <limits>
#include <random>

#include "base/files.hpp"
#include "catch.hpp"
#include "folder.hpp"

namespace fs = std::filesystem;
using dtk::Chart;
using dtk::Series;
using namespace std::string_literals;

namespace {

struct Picture {
    png_uint_32 width, height;
    int channels;
    std::vector<std::uint8_t> pixels;

    std::vector<int> at(std::size_t x, std::size_t y) const {
        const auto* from = pixels.data() + (y * width + x) * static_cast<std::size_t>(channels);
        return {from, from + channels};
    }
};

Picture decoded(const std::string& bytes) {
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    REQUIRE(png_image_begin_read_from_memory(&image, bytes.data(), bytes.size()));
    const bool gray = !(image.format & PNG_FORMAT_FLAG_COLOR);
    image.format = gray ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
    Picture picture{image.width, image.height, gray ? 1 : 3, {}};
    picture.pixels.resize(PNG_IMAGE_SIZE(image));
    REQUIRE(png_image_finish_read(&image, nullptr, picture.pixels.data(), 0, nullptr));
    return picture;
}

std::vector<std::uint8_t> noise(std::size_t size) {
    std::mt19937 random(7);
    std::vector<std::uint8_t> bytes(size);
    for (auto& byte : bytes) byte = static_cast<std::uint8_t>(random());
    return bytes;
}

Series line(std::string name) { return {.name = std::move(name), .x = {1, 2, 3}, .y = {3, 1, 2}}; }

std::size_t count(const std::string& text, const std::string& part) {
    std::size_t found = 0;
    for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
    return found;
}

}  // namespace

TEST_CASE("a grid read back has each pixel of each image where it belongs") {
    for (const std::int64_t channels : {1, 3}) {
        const auto pixels = noise(static_cast<std::size_t>(5 * 4 * 6 * channels));
        const auto picture =
            decoded(dtk::png_of({pixels, 5, 4, 6, channels}, {.columns = 2, .scale = 3, .gap = 2, .provenance = {}}));
        REQUIRE(picture.width == 2 * 18 + 2);
        REQUIRE(picture.height == 3 * 12 + 2 * 2);
        REQUIRE(picture.channels == channels);
        for (std::size_t i = 0; i < 5; ++i)
            for (std::size_t y = 0; y < 12; ++y)
                for (std::size_t x = 0; x < 18; ++x) {
                    const auto* from =
                        pixels.data() + ((i * 4 + y / 3) * 6 + x / 3) * static_cast<std::size_t>(channels);
                    if (picture.at(i % 2 * 20 + x, i / 2 * 14 + y) != std::vector<int>(from, from + channels))
                        FAIL("image " << i << " at " << x << ", " << y);
                }
        const std::vector<int> white(static_cast<std::size_t>(channels), 255);
        CHECK(picture.at(18, 5) == white);
        CHECK(picture.at(5, 12) == white);
        CHECK(picture.at(30, 35) == white);
    }
}

TEST_CASE("small images are enlarged and laid out in a square") {
    const auto pixels = noise(64 * 28 * 28);
    const auto picture = decoded(dtk::png_of({pixels, 64, 28, 28, 1}));
    CHECK(picture.width == 672);
    CHECK(picture.height == 672);
    const auto large = noise(4 * 512 * 512 * 3);
    CHECK(decoded(dtk::png_of({large, 4, 512, 512, 3})).width == 1024);
}

TEST_CASE("a picture says where it came from") {
    const auto pixels = noise(4);
    CHECK(
        dtk::png_of({pixels, 1, 2, 2, 1}, {.provenance = "run 7, step 10"}).find("tEXtDescription\0run 7, step 10"s) !=
        std::string::npos);
    CHECK(dtk::png_of({pixels, 1, 2, 2, 1}, {.provenance = "größe"}).find("iTXtDescription") != std::string::npos);
}

TEST_CASE("sizes that do not fit the pixels are refused") {
    const auto pixels = noise(48);
    CHECK_THROWS_AS(dtk::png_of({pixels, 3, 4, 4, 3}), dtk::Error);
    CHECK_THROWS_AS(dtk::png_of({pixels, 0, 4, 4, 3}), dtk::Error);
    CHECK_THROWS_AS(dtk::png_of({pixels, 12, 2, 1, 2}), dtk::Error);
    CHECK_THROWS_AS(dtk::png_of({pixels, -3, 4, -4, 1}), dtk::Error);
    CHECK_THROWS_AS(dtk::png_of({pixels, 3, std::int64_t{1} << 62, 16, 1}), dtk::Error);
    CHECK_THROWS_AS(dtk::png_of({pixels, 1, 4, 4, 3}, {.scale = 100'000}), dtk::Error);
}

TEST_CASE("a chart is an SVG or a PNG as its name says") {
    const Folder folder;
    dtk::write_chart(folder / "a.svg", {.title = "loss", .series = {line("linear"), line("cosine")}});
    const auto svg = dtk::read_file(folder / "a.svg");
    CHECK(svg.starts_with("<?xml"));
    CHECK(svg.find("</svg>") != std::string::npos);
    CHECK(svg.find("cosine") != std::string::npos);
    dtk::write_charts(folder / "a.png",
                      {{.title = "one", .series = {line("")}}, {.title = "two", .series = {line("")}}});
    CHECK(decoded(dtk::read_file(folder / "a.png")).width == 2560);
    CHECK_THROWS_AS(dtk::write_chart(folder / "a.pdf", {.series = {line("")}}), dtk::Error);
    CHECK_THROWS_AS(dtk::write_charts(folder / "a.svg", {}), dtk::Error);
    CHECK_THROWS_AS(dtk::write_chart(folder / "a.svg", {.series = {{.x = {1, 2}, .y = {1}}}}), dtk::Error);
    CHECK(dtk::read_file(folder / "a.svg") == svg);
}

TEST_CASE("a text in a chart is never a command") {
    const Folder folder;
    const auto touched = (folder / "touched").string();
    std::vector<std::string> texts;
    dtk::write_chart(folder / "c.svg", {.title = "(3 seeds, 50 %)", .series = {line("a(1)")}});
    CHECK(count(dtk::read_file(folder / "c.svg"), ">(3 seeds, 50 %)<") == 1);
    for (const std::string quote : {"'", "\"", "`", "", "\\\"", "''", "\\", "{", "}", "@", "END\n"}) {
        texts.push_back(quote + "\nsystem(\"touch " + touched + "\")\n#");
        texts.push_back(quote + "; set output '" + touched + "' ; replot #" + quote);
        texts.push_back("`touch " + touched + "`" + quote);
    }
    texts.push_back(std::string("a\0b\x1b[31m", 9));
    texts.push_back("<script>alert(1)</script> & a_b^c {/Bold d} größe ε \xff");
    for (const auto& text : texts) {
        INFO(text);
        const auto path = folder / "a.svg";
        CHECK_NOTHROW(dtk::write_charts(
            path, {{.title = text, .x_label = text, .y_label = text, .series = {line(text), line(text)}},
                   {.series = {line("after")}}}));
        const auto svg = dtk::read_file(path);
        CHECK(svg.find("after") != std::string::npos);
        CHECK(svg.find("<script>") == std::string::npos);
        CHECK_FALSE(fs::exists(touched));
        fs::remove(path);
    }
    dtk::write_chart(folder / "b.svg", {.title = texts.back(), .series = {line("")}});
    CHECK(count(dtk::read_file(folder / "b.svg"), "a_b^c {/Bold d} größe ε") == 1);
}

TEST_CASE("a long text beside an axis stands in two lines") {
    const Folder folder;
    const auto drawn = [&](const char* label) {
        dtk::write_chart(folder / "a.svg", {.y_label = label, .series = {line("a")}});
        return dtk::read_file(folder / "a.svg");
    };
    const auto broken = drawn("sliced_wasserstein in units of the data, less is better");
    CHECK(count(broken, ">sliced_wasserstein in units of the data,<") == 1);
    CHECK(count(broken, ">less is better<") == 1);
    CHECK(count(drawn("sliced_wasserstein, less is better"), ">sliced_wasserstein, less is better<") == 1);
}

TEST_CASE("numbers that cannot be drawn are left out") {
    const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
    const Folder folder;
    const auto draws = [&](const Chart& chart) { CHECK_NOTHROW(dtk::write_chart(folder / "a.svg", chart)); };
    draws({.series = {{.name = "holes", .x = {0, 1, 2, 3, 4}, .y = {1, nan, 2, inf, 3}}}});
    draws({.log_x = true, .log_y = true, .series = {{.name = "zero", .x = {0, 1, 2, 3}, .y = {1, 0, -2, 1e-300}}}});
    draws({.series = {{.name = "nothing", .x = {nan}, .y = {1}}}});
    draws({.log_x = true, .log_y = true, .series = {{.name = "nothing", .x = {0}, .y = {0}}}});
    draws({.series = {}});
    draws({.series = {{.name = "one", .x = {1}, .y = {1}}}});
    draws({.series = {{.name = "constant", .x = {1, 2}, .y = {5, 5}}}});
    draws({.log_x = true, .log_y = true, .series = {{.name = "wide", .x = {1e-149, 1e149}, .y = {1e-149, 1e149}}}});
    draws({.series = {{.name = "huge", .x = {1, 2}, .y = {-1e308, 1e308}}}});
    draws({.log_y = true, .series = {{.name = "band", .x = {1, 2}, .y = {1, 2}, .low = {-1, 1}, .high = {2, nan}}}});
    draws({.x_range = {{10, 20}}, .series = {line("elsewhere")}});
    draws({.x_range = {{1, 1}}, .y_range = {{2, 2}}, .series = {line("no width")}});
    draws({.x_range = {{nan, 1}}, .y_range = {{0, 2}}, .series = {line("range")}});
}

TEST_CASE("ten thousand points are drawn within a second, and a long line stays small") {
    const Folder folder;
    std::mt19937 random(7);
    std::normal_distribution<double> normal;
    Series cloud{.name = "cloud", .style = Series::Style::points}, curve{.name = "curve"};
    for (int i = 0; i < 10'000; ++i) {
        cloud.x.push_back(normal(random));
        cloud.y.push_back(normal(random));
    }
    for (int i = 0; i < 1'000'000; ++i) {
        curve.x.push_back(i);
        curve.y.push_back(i == 123'456 ? 1e6 : normal(random));
    }
    const auto begin = std::chrono::steady_clock::now();
    dtk::write_chart(folder / "cloud.png", {.equal_axes = true, .series = {cloud}});
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    CHECK(seconds.count() < 5);  // under a second on an idle machine
    dtk::write_chart(folder / "curve.svg", {.series = {curve}});
    CHECK(fs::file_size(folder / "curve.svg") < 200'000);
    CHECK(dtk::read_file(folder / "curve.svg").find("1e+06<") != std::string::npos);  // the axis reaches the one spike
}

TEST_CASE("a machine without gnuplot is told how to get it") {
    const Folder folder;
    const std::string path = ::getenv("PATH");
    ::setenv("PATH", folder.path.c_str(), 1);
    std::string help;
    try {
        dtk::write_chart(folder / "a.svg", {.series = {line("")}});
    } catch (const dtk::Error& error) {
        help = error.help();
    }
    ::setenv("PATH", path.c_str(), 1);
    CHECK(help.find("apt-get install gnuplot-nox") != std::string::npos);
    CHECK_FALSE(fs::exists(folder / "a.svg"));
}
