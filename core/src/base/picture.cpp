#include "base/picture.hpp"

#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <csetjmp>
#include <dtk/error.hpp>
#include <vector>

#include "base/files.hpp"

namespace dtk {
namespace fs = std::filesystem;

namespace {

struct GridPlan {
    std::int64_t columns, rows, scale, gap, width, height;
};

constexpr std::int64_t wanted_width = 600, most_pixels_a_side = 32768;

GridPlan plan_of(const Images& images, const GridLook& look) {
    const auto fits = [](std::int64_t value, std::int64_t least) {
        return value >= least && value <= most_pixels_a_side;
    };
    if (!fits(images.height, 1) || !fits(images.width, 1) || !(images.channels == 1 || images.channels == 3) ||
        images.count < 1 || images.count > std::int64_t{1} << 30 || !fits(look.columns, 0) || !fits(look.scale, 0) ||
        !fits(look.gap, 0) ||
        images.pixels.size() / static_cast<std::uint64_t>(images.height * images.width * images.channels) !=
            static_cast<std::uint64_t>(images.count) ||
        images.pixels.size() % static_cast<std::uint64_t>(images.count) != 0)
        throw Error(fmt::format("{} bytes are not {} images of {} × {} pixels and {} channels", images.pixels.size(),
                                images.count, images.height, images.width, images.channels));
    GridPlan plan{};
    plan.gap = look.gap;
    plan.columns = look.columns > 0
                       ? std::min(look.columns, images.count)
                       : static_cast<std::int64_t>(std::ceil(std::sqrt(static_cast<double>(images.count))));
    plan.rows = (images.count + plan.columns - 1) / plan.columns;
    const auto bare = plan.columns * images.width;
    plan.scale = look.scale > 0 ? look.scale : (wanted_width + bare - 1) / bare;
    // A narrow grid of many rows need not become a tower.
    if (look.scale == 0)
        plan.scale = std::clamp<std::int64_t>(4 * wanted_width / (plan.rows * images.height), 1, plan.scale);
    plan.width = plan.columns * images.width * plan.scale + (plan.columns - 1) * plan.gap;
    plan.height = plan.rows * images.height * plan.scale + (plan.rows - 1) * plan.gap;
    if (!fits(plan.width, 1) || !fits(plan.height, 1))
        throw Error(fmt::format("a picture of {} × {} pixels is too large", plan.width, plan.height),
                    "draw fewer images, or set another scale or number of columns");
    return plan;
}

/// One row of pixels of grid row `row`, `line` pixels below its top (before scaling).
void draw_line(const Images& images, const GridPlan& plan, std::int64_t row, std::int64_t line,
               std::vector<std::uint8_t>& out) {
    std::ranges::fill(out, std::uint8_t{255});
    const auto channels = images.channels;
    for (std::int64_t column = 0; column < plan.columns; ++column) {
        const auto index = row * plan.columns + column;
        if (index >= images.count) break;
        const auto* from = images.pixels.data() + (index * images.height + line) * images.width * channels;
        auto* to = out.data() + column * (images.width * plan.scale + plan.gap) * channels;
        for (std::int64_t x = 0; x < images.width; ++x, from += channels)
            for (std::int64_t copy = 0; copy < plan.scale; ++copy) to = std::copy_n(from, channels, to);
    }
}

struct PngState {
    std::string bytes;
    std::string reason;
};

void png_append(png_structp png, png_bytep data, std::size_t size) {
    static_cast<PngState*>(png_get_io_ptr(png))->bytes.append(reinterpret_cast<const char*>(data), size);
}
void png_flush_nothing(png_structp) {}
void png_remember(png_structp png, png_const_charp reason) {
    static_cast<PngState*>(png_get_error_ptr(png))->reason = reason;
    png_longjmp(png, 1);
}
void png_silent(png_structp, png_const_charp) {}

/// A text of the file. tEXt is Latin-1; anything more takes iTXt, which is UTF-8.
png_text text_of(char* key, std::string& value) {
    png_text text{};
    const bool ascii = std::ranges::all_of(value, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
    text.compression = ascii ? PNG_TEXT_COMPRESSION_NONE : PNG_ITXT_COMPRESSION_NONE;
    text.key = key;
    text.text = value.data();
    return text;
}

/// libpng reports by longjmp, so nothing with a destructor may be born in here.
bool encode(PngState& state, const Images& images, const GridPlan& plan, std::vector<png_text>& texts,
            std::vector<std::uint8_t>& line, std::vector<std::uint8_t>& white) {
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &state, png_remember, png_silent);
    png_infop info = png ? png_create_info_struct(png) : nullptr;
    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return false;
    }
    png_set_write_fn(png, &state, png_append, png_flush_nothing);
    png_set_IHDR(png, info, static_cast<png_uint_32>(plan.width), static_cast<png_uint_32>(plan.height), 8,
                 images.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (!texts.empty()) png_set_text(png, info, texts.data(), static_cast<int>(texts.size()));
    png_write_info(png, info);
    for (std::int64_t row = 0; row < plan.rows; ++row) {
        for (std::int64_t y = 0; row > 0 && y < plan.gap; ++y) png_write_row(png, white.data());
        for (std::int64_t y = 0; y < images.height; ++y) {
            draw_line(images, plan, row, y, line);
            for (std::int64_t copy = 0; copy < plan.scale; ++copy) png_write_row(png, line.data());
        }
    }
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return true;
}

}  // namespace

std::string png_of(const Images& images, const GridLook& look) {
    const auto plan = plan_of(images, look);
    std::vector<std::uint8_t> line(static_cast<std::size_t>(plan.width * images.channels)), white(line.size(), 255);
    auto provenance = look.provenance, labels = look.labels;
    char description[] = "Description", labels_key[] = "Labels";
    std::vector<png_text> texts;
    if (!provenance.empty()) texts.push_back(text_of(description, provenance));
    if (!labels.empty()) texts.push_back(text_of(labels_key, labels));
    PngState state;
    if (!encode(state, images, plan, texts, line, white))
        throw Error(fmt::format("libpng cannot draw this picture: {}", state.reason));
    return std::move(state.bytes);
}

void write_image_grid(const fs::path& path, const Images& images, const GridLook& look) {
    write_atomically(path, png_of(images, look));
}

}  // namespace dtk
