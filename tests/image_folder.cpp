// The data set `image_folder`, on images that libpng and libjpeg write here.
#include <cstdio>

#include <jpeglib.h>
#include <png.h>
#include <zlib.h>

#include <cmath>
#include <fstream>
#include <functional>
#include <set>

#include "catch.hpp"
#include "complaint.hpp"
#include "run_program.hpp"
#include "support.hpp"

#include <dtk/exif.hpp>

namespace fs = std::filesystem;
using at::Tensor;

namespace {

using Bytes = std::vector<unsigned char>;

struct Png {
    png_uint_32 height = 1, width = 1;
    int colour = PNG_COLOR_TYPE_GRAY, depth = 8, interlace = PNG_INTERLACE_NONE;
    Bytes rows;  // as they stand in the file
    std::vector<png_color> palette = {};
    Bytes palette_alpha = {};
    std::optional<png_color_16> transparent = {};
    Bytes exif = {};
};

void write_png(const fs::path& path, Png image) {
    fs::create_directories(path.parent_path());
    auto* file = std::fopen(path.c_str(), "wb");
    auto* png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
    auto* info = png_create_info_struct(png);
    png_init_io(png, file);
    png_set_compression_level(png, 1);
    png_set_IHDR(png, info, image.width, image.height, image.depth, image.colour, image.interlace,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (!image.palette.empty()) png_set_PLTE(png, info, image.palette.data(), static_cast<int>(image.palette.size()));
    if (!image.palette_alpha.empty())
        png_set_tRNS(png, info, image.palette_alpha.data(), static_cast<int>(image.palette_alpha.size()), nullptr);
    if (image.transparent) png_set_tRNS(png, info, nullptr, 0, &*image.transparent);
    if (!image.exif.empty()) png_set_eXIf_1(png, info, static_cast<png_uint_32>(image.exif.size()), image.exif.data());
    png_write_info(png, info);
    std::vector<png_bytep> rows;
    for (png_uint_32 y = 0; y < image.height; ++y)
        rows.push_back(image.rows.data() + y * image.rows.size() / image.height);
    png_write_image(png, rows.data());
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    std::fclose(file);
}

/// uint8 [C, H, W], of 1 or 3 channels
void write_png(const fs::path& path, const Tensor& v, const Bytes& exif = {}) {
    const auto rows = v.permute({1, 2, 0}).contiguous();
    const auto* bytes = rows.const_data_ptr<unsigned char>();
    write_png(path, {.height = static_cast<png_uint_32>(v.size(1)),
                     .width = static_cast<png_uint_32>(v.size(2)),
                     .colour = v.size(0) == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
                     .rows = Bytes(bytes, bytes + rows.numel()),
                     .exif = exif});
}

/// uint8 [C, H, W], of 1, 3 or (CMYK) 4 channels, almost without loss
void write_jpeg(const fs::path& path, const Tensor& v, const std::vector<Bytes>& markers = {}) {
    fs::create_directories(path.parent_path());
    auto rows = v.permute({1, 2, 0}).contiguous();
    auto* file = std::fopen(path.c_str(), "wb");
    jpeg_error_mgr errors;
    jpeg_compress_struct jpeg;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_height = static_cast<JDIMENSION>(v.size(1)), jpeg.image_width = static_cast<JDIMENSION>(v.size(2));
    jpeg.input_components = static_cast<int>(v.size(0));
    jpeg.in_color_space = v.size(0) == 1 ? JCS_GRAYSCALE : v.size(0) == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, 100, TRUE);
    jpeg_start_compress(&jpeg, TRUE);
    for (const auto& marker : markers)
        jpeg_write_marker(&jpeg, JPEG_APP0 + 1, marker.data(), static_cast<unsigned>(marker.size()));
    for (std::int64_t y = 0; y < v.size(1); ++y) {
        auto* row = rows[y].mutable_data_ptr<unsigned char>();
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    std::fclose(file);
}

/// The 8-bit values that an example stands for. x: [C, H, W] or a batch of them
Tensor values(const Tensor& x) { return (x.to(at::kDouble) + 1) * 127.5; }

Tensor noise(at::IntArrayRef shape, std::int64_t seed) {
    return (dtk::Random(static_cast<std::uint64_t>(seed), "image").uniform(shape, at::kFloat) * 256).to(at::kByte);
}
Tensor plain(std::int64_t value, at::IntArrayRef shape = {1, 4, 4}) { return at::full(shape, value, at::kByte); }
Tensor numbers(const std::vector<std::int64_t>& n) { return at::tensor(n, at::kLong); }

std::shared_ptr<dtk::Dataset> dataset(const std::string& fields) {
    return support::make<dtk::Dataset>("image_folder", fields);
}

struct Images {
    Folder folder;
    fs::path operator/(const std::string& name) const { return folder / name; }
    std::shared_ptr<dtk::Dataset> open(const std::string& more = {}) const {
        return dataset(fmt::format("folder = \"{}\"\n{}", folder.path.string(), more));
    }
    std::string complaint(const std::string& more = {}) const {
        return complaint_of([&] { open(more); });
    }
    void text(const std::string& name, const std::string& content) const { std::ofstream(folder / name) << content; }
    void cut(const std::string& name, std::uintmax_t bytes) const {
        fs::resize_file(folder / name, fs::file_size(folder / name) - bytes);
    }
    /// The values of the only training image beside one for testing.
    Tensor only(const std::string& more = {}) const { return values(open(more)->examples(numbers({0})).x[0]); }
};

/// A block of EXIF as a camera writes it: two entries, the second the orientation.
Bytes exif(int orientation, bool little = true, int type = 3) {
    Bytes block;
    const auto put = [&](std::uint32_t value, int bytes) {
        for (int i = 0; i < bytes; ++i)
            block.push_back(static_cast<unsigned char>(value >> 8 * (little ? i : bytes - 1 - i)));
    };
    block = little ? Bytes{'I', 'I'} : Bytes{'M', 'M'};
    put(42, 2), put(8, 4), put(2, 2);
    put(0x0100, 2), put(4, 2), put(1, 4), put(640, 4);  // ImageWidth
    put(0x0112, 2), put(static_cast<std::uint32_t>(type), 2), put(1, 4),
        put(static_cast<std::uint32_t>(orientation), 2);
    put(0, 2), put(0, 4);
    return block;
}

Bytes exif_marker(const Bytes& block) {
    Bytes marker{'E', 'x', 'i', 'f', 0, 0};
    marker.insert(marker.end(), block.begin(), block.end());
    return marker;
}

/// What a viewer shows of a stored image: where its first row and its first column belong, CP-3451 4.6.4 A.
Tensor displayed(const Tensor& v, int orientation) {
    const auto H = v.size(1), W = v.size(2);
    auto shown = orientation > 4 ? at::empty({v.size(0), W, H}, v.options()) : at::empty_like(v);
    for (std::int64_t y = 0; y < H; ++y)
        for (std::int64_t x = 0; x < W; ++x) {
            const std::pair<std::int64_t, std::int64_t> places[] = {{y, x},                  // row 0 top, column 0 left
                                                                    {y, W - 1 - x},          // top, right
                                                                    {H - 1 - y, W - 1 - x},  // bottom, right
                                                                    {H - 1 - y, x},          // bottom, left
                                                                    {x, y},                  // left, top
                                                                    {x, H - 1 - y},          // right, top
                                                                    {W - 1 - x, H - 1 - y},  // right, bottom
                                                                    {W - 1 - x, y}};         // left, bottom
            const auto [row, column] = places[orientation - 1];
            shown.select(1, row).select(1, column).copy_(v.select(1, y).select(1, x));
        }
    return shown;
}

/// The triangle filter in double precision. v: [H, W] → [height, width]
Tensor triangle(const Tensor& v, std::int64_t height, std::int64_t width) {
    const auto along = [](std::int64_t from, std::int64_t to) {
        const double scale = static_cast<double>(from) / static_cast<double>(to), reach = std::max(1.0, scale);
        auto weights = at::zeros({to, from}, at::kDouble);
        for (std::int64_t i = 0; i < to; ++i) {
            for (std::int64_t j = 0; j < from; ++j)
                weights[i][j] = std::max(
                    0.0, 1 - std::abs((static_cast<double>(j) + 0.5) - (static_cast<double>(i) + 0.5) * scale) / reach);
            weights[i] /= weights[i].sum();
        }
        return weights;
    };
    return at::matmul(at::matmul(along(v.size(0), height), v.to(at::kDouble)), along(v.size(1), width).t());
}

}  // namespace

TEST_CASE("grey and coloured PNG images are read to the last bit") {
    for (const std::int64_t channels : {1, 3}) {
        const Images files;
        const auto v = noise({channels, 5, 7}, channels);
        write_png(files / "a.png", v);
        write_png(files / "b.PNG", v);
        const auto data = files.open();
        CHECK(data->shape() == std::vector<std::int64_t>{channels, 5, 7});
        CHECK(data->size() == 1);
        CHECK(data->test_size() == 1);
        CHECK(data->classes() == 0);
        CHECK(data->levels() == 256);
        const auto batch = data->examples(numbers({0}));
        CHECK(batch.x.scalar_type() == at::kFloat);
        CHECK_FALSE(batch.condition.label.defined());
        CHECK(support::distance(values(batch.x[0]), v.to(at::kDouble)) < 1e-4);
        CHECK(support::distance(values(data->test_examples(numbers({0})).x[0]), v.to(at::kDouble)) < 1e-4);
    }
}

TEST_CASE("black is −1 and white is 1") {
    const Images files;
    write_png(files / "a.png", at::cat({plain(0), plain(255)}, 2));
    write_png(files / "b.png", at::cat({plain(0), plain(255)}, 2));
    const auto x = files.open()->examples(numbers({0})).x;
    CHECK(x.min().item<float>() == -1.0f);
    CHECK(x.max().item<float>() == 1.0f);
}

TEST_CASE("every sort of PNG becomes 8-bit grey or RGB") {
    const auto only = [](const Png& image) {
        const Images files;
        write_png(files / "a.png", image), write_png(files / "b.png", image);
        return files.only();
    };
    const auto expected = [](const std::vector<std::int64_t>& v, at::IntArrayRef shape) {
        return at::tensor(v, at::kDouble).view(shape);
    };
    const auto same = [](const Tensor& a, const Tensor& b) {
        return a.sizes() == b.sizes() && support::distance(a, b) < 1e-4;
    };

    // 1 bit: 0b1010'0000 are four pixels
    CHECK(same(only({.width = 4, .depth = 1, .rows = {0xa0}}), expected({255, 0, 255, 0}, {1, 1, 4})));
    // 16 bits, big-endian: v/257 to the nearest, so 0x00ff is 1 and 0x7f10 is 127
    CHECK(same(only({.width = 4, .depth = 16, .rows = {0, 0, 0xff, 0xff, 0x00, 0xff, 0x7f, 0x10}}),
               expected({0, 255, 1, 127}, {1, 1, 4})));
    // a palette of two colours
    const std::vector<png_color> two{{10, 20, 30}, {200, 100, 0}};
    CHECK(same(only({.width = 3, .colour = PNG_COLOR_TYPE_PALETTE, .rows = {1, 0, 1}, .palette = two}),
               expected({200, 10, 200, 100, 20, 100, 0, 30, 0}, {3, 1, 3})));
    // … the second a fifth transparent (204/255 = 0.8): 0.8 v + 0.2·255
    CHECK(same(only({.width = 2,
                     .colour = PNG_COLOR_TYPE_PALETTE,
                     .rows = {0, 1},
                     .palette = two,
                     .palette_alpha = {255, 204}}),
               expected({10, 211, 20, 131, 30, 51}, {3, 1, 2})));
    // alpha: opaque, transparent, three fifths
    CHECK(same(only({.width = 3, .colour = PNG_COLOR_TYPE_GRAY_ALPHA, .rows = {7, 255, 7, 0, 100, 153}}),
               expected({7, 255, 162}, {1, 1, 3})));
    CHECK(same(only({.colour = PNG_COLOR_TYPE_RGB_ALPHA, .rows = {0, 100, 200, 51}}),
               expected({204, 224, 244}, {3, 1, 1})));
    // one grey value that means transparent
    CHECK(same(only({.width = 2, .rows = {9, 10}, .transparent = png_color_16{0, 0, 0, 0, 9}}),
               expected({255, 10}, {1, 1, 2})));
    // Adam7
    const auto v = noise({1, 9, 11}, 3);
    CHECK(same(only({.height = 9,
                     .width = 11,
                     .interlace = PNG_INTERLACE_ADAM7,
                     .rows = Bytes(v.const_data_ptr<unsigned char>(), v.const_data_ptr<unsigned char>() + v.numel())}),
               v.to(at::kDouble)));
}

TEST_CASE("JPEG images are read, whatever they are called") {
    const auto ramp = at::arange(64, at::kLong).mul(3).add(20).view({1, 1, 64}).expand({1, 16, 64}).to(at::kByte);
    const Images grey, coloured;
    write_jpeg(grey / "a.jpg", ramp), write_jpeg(grey / "b.JPEG", ramp);
    CHECK(support::distance(grey.only(), ramp.to(at::kDouble)) <= 1.0001);
    const auto colours = at::cat({ramp, ramp.flip(2), plain(60, {1, 16, 64})});
    write_jpeg(coloured / "a.png", colours), write_jpeg(coloured / "b.png", colours);
    const auto seen = coloured.only();
    REQUIRE(seen.sizes() == colours.sizes());
    CHECK(support::distance(seen, colours.to(at::kDouble)) <= 8);  // colour is stored at half the resolution
    CHECK((seen - colours.to(at::kDouble)).abs().mean().item<double>() < 1.5);
}

TEST_CASE("photographs are turned and mirrored as EXIF says, all eight ways") {
    const auto v = noise({3, 4, 6}, 1);
    const auto ramp = (at::arange(16, at::kLong).view({1, 16, 1}) * 7 + at::arange(24, at::kLong) * 4).to(at::kByte);
    for (int orientation = 1; orientation <= 8; ++orientation)
        for (const bool little : {true, false}) {
            INFO("orientation " << orientation << (little ? ", little-endian" : ", big-endian"));
            const Images png, jpeg;
            for (const char* name : {"a.png", "b.png"}) write_png(png / name, v, exif(orientation, little));
            const auto expected = displayed(v, orientation).to(at::kDouble);
            REQUIRE(png.only().sizes() == expected.sizes());
            CHECK(support::distance(png.only(), expected) < 1e-4);
            CHECK(support::distance(png.only("exif = false"), v.to(at::kDouble)) < 1e-4);
            // Another note that stands before it, of the kind that is XMP, is passed over.
            const Bytes xmp{'h', 't', 't', 'p', ':', '/', '/', 'n', 's'};
            for (const char* name : {"a.jpg", "b.jpg"})
                write_jpeg(jpeg / name, ramp, {xmp, exif_marker(exif(orientation, little))});
            const auto turned = displayed(ramp, orientation).to(at::kDouble);
            REQUIRE(jpeg.only().sizes() == turned.sizes());
            CHECK(support::distance(jpeg.only(), turned) <= 2.0001);
            CHECK(jpeg.only("exif = false").sizes() == ramp.sizes());
        }
    // Photographs held in two ways are of one size once they stand upright.
    const Images both;
    write_png(both / "a.png", noise({1, 4, 6}, 1), exif(6)), write_png(both / "b.png", noise({1, 6, 4}, 2));
    CHECK(both.open()->shape() == std::vector<std::int64_t>{1, 6, 4});
    CHECK(says(both.complaint("exif = false"), "give the `size`"));
}

TEST_CASE("a damaged block of EXIF leaves an image as it is stored, and nothing outside the block is read") {
    const auto orientation = [](const Bytes& block) {
        const auto exact = std::make_unique<unsigned char[]>(block.size());  // so that a sanitizer sees its end
        std::copy(block.begin(), block.end(), exact.get());
        return dtk::exif_orientation(exact.get(), block.size());
    };
    const auto whole = exif(6);
    CHECK(orientation(whole) == 6);
    CHECK(orientation(exif_marker(exif(7, false))) == 7);
    for (std::size_t size = 0; size < whole.size(); ++size) {
        INFO(size);
        const auto seen = orientation(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
        CHECK(seen == (size < 10 + 24 ? 1 : 6));
    }
    for (const int odd : {0, 9, 255, 65535}) CHECK(orientation(exif(odd)) == 1);
    for (const int type : {0, 1, 4, 7}) CHECK(orientation(exif(6, true, type)) == 1);
    for (std::size_t at = 0; at < whole.size(); ++at)
        for (const int byte : {0x00, 0x7f, 0xff}) {
            auto changed = whole;
            changed[at] = static_cast<unsigned char>(byte);
            const auto seen = orientation(changed);
            CHECK((seen >= 1 && seen <= 8));
        }
    const Images files;
    for (const char* name : {"a.png", "b.png"}) write_png(files / name, noise({1, 4, 6}, 1), exif(9));
    CHECK(files.open()->shape() == std::vector<std::int64_t>{1, 4, 6});
    for (const char* name : {"c.png", "d.png"})
        write_jpeg(files / name, noise({1, 4, 6}, 1), {Bytes{'E', 'x', 'i', 'f'}});
    CHECK(files.open()->shape() == std::vector<std::int64_t>{1, 4, 6});
}

TEST_CASE("a block of EXIF that claims 1.3 GB is refused before memory is sought for it") {
    const Images files;
    for (const char* name : {"a.png", "b.png"}) write_png(files / name, noise({1, 4, 6}, 1), exif(1));
    std::ifstream file(files / "a.png", std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), {}};
    const auto chunk = bytes.find("eXIf");
    REQUIRE(chunk != bytes.npos);
    bytes.replace(chunk - 4, 4, std::string{'\x4e', '\0', '\0', '\0'});
    files.text("a.png", bytes);
    // Where the memory was there, it would be the file that ends too soon.
    CHECK(says(files.complaint(), "a.png is damaged: Out of memory | fetch it again, or move it out of the folder"));
}

TEST_CASE("images are cropped around their centre and scaled by the triangle filter") {
    for (const auto& [h, w] :
         {std::pair<std::int64_t, std::int64_t>{24, 24}, {24, 40}, {41, 24}, {17, 17}, {5, 9}, {8, 8}}) {
        INFO(h << " × " << w);
        const Images files;
        const auto v = noise({3, h, w}, h * w);
        write_png(files / "a.png", v), write_png(files / "b.png", v);
        const auto side = std::min(h, w);
        const auto seen = files.only("size = 8");
        for (std::int64_t c = 0; c < 3; ++c) {
            const auto cropped =
                v[c].slice(0, (h - side) / 2, (h - side) / 2 + side).slice(1, (w - side) / 2, (w - side) / 2 + side);
            CHECK(support::distance(seen[c], triangle(cropped, 8, 8)) < 0.501);
            CHECK(support::distance(seen[c], seen[c].round()) < 1e-4);
        }
    }
    const Images wide;
    const auto v = noise({1, 20, 20}, 1);
    write_png(wide / "a.png", v), write_png(wide / "b.png", v);
    const auto seen = wide.only("size = 5\nwidth = 10");
    CHECK(seen.sizes() == at::IntArrayRef{1, 5, 10});
    CHECK(support::distance(seen[0], triangle(v[0].slice(0, 5, 15), 5, 10)) < 0.501);
}

TEST_CASE("colours become grey, and grey becomes RGB") {
    const Images files;
    const auto v = noise({3, 6, 6}, 1);
    write_png(files / "a.png", v), write_png(files / "b.png", v[0].unsqueeze(0));
    const auto grey = files.open("channels = 1"), rgb = files.open("channels = 3");
    const auto d = v.to(at::kDouble);
    CHECK(grey->shape() == std::vector<std::int64_t>{1, 6, 6});
    CHECK(support::distance(values(grey->examples(numbers({0})).x[0][0]), 0.299 * d[0] + 0.587 * d[1] + 0.114 * d[2]) <
          0.501);
    CHECK(support::distance(values(grey->test_examples(numbers({0})).x[0][0]), d[0]) < 1e-4);
    CHECK(support::distance(values(rgb->examples(numbers({0})).x[0]), d) < 1e-4);
    CHECK(support::distance(values(rgb->test_examples(numbers({0})).x[0]), d[0].expand({3, 6, 6})) < 1e-4);
    CHECK(says(files.complaint(), "a.png is in colour, "));
    CHECK(says(files.complaint(), "b.png is grey | write channels = 3 for RGB or channels = 1 for grey"));
    CHECK(says(files.complaint("channels = 2"),
               "`channels` of dataset `image_folder` = 2 | write 1 for grey or 3 for RGB"));
}

TEST_CASE("folders are classes, in the order of their names, and each gives its share for testing") {
    const Images files;
    // class 0 is "ant" with values 0 … 19, class 1 is "bee" with 100 … 104, class 2 is "cow" with 200
    for (int i = 0; i < 20; ++i) write_png(files / fmt::format("ant/{:02}.png", i), plain(i));
    for (int i = 0; i < 5; ++i) write_png(files / fmt::format("bee/deeper/{}.png", i), plain(100 + i));
    write_png(files / "cow/x.png", plain(200));
    write_png(files / ".hidden/x.png", plain(250)), write_png(files / "ant/._00.png", plain(250));
    files.text("ant/notes.txt", "these are ants");
    const auto data = files.open();
    CHECK(data->classes() == 3);
    CHECK(data->size() == 18 + 4 + 1);
    CHECK(data->test_size() == 2 + 1);
    std::set<std::int64_t> seen;
    const auto look = [&](const dtk::Batch& batch) {
        std::vector<std::int64_t> first;
        for (std::int64_t i = 0; i < batch.x.size(0); ++i) {
            first.push_back(std::llround(values(batch.x[i]).mean().item<double>()));
            CHECK(batch.condition.label[i].item<std::int64_t>() == first.back() / 100);
            CHECK(seen.insert(first.back()).second);
        }
        return first;
    };
    look(data->examples(at::arange(data->size())));
    CHECK(look(data->test_examples(at::arange(3))) == std::vector<std::int64_t>{9, 19, 104});
    CHECK(seen.size() == 26);

    CHECK(data->class_names() == std::vector<std::string>{"ant", "bee", "cow"});
    CHECK(data->class_counts() == std::vector<std::int64_t>{18, 4, 1});
    CHECK(files.open("flip = true")->class_counts() == std::vector<std::int64_t>{36, 8, 2});

    const auto unlabelled = files.open("labels = false\ntest = 0.5");
    CHECK(unlabelled->class_names().empty());
    CHECK(unlabelled->class_counts().empty());
    CHECK(unlabelled->classes() == 0);
    CHECK(unlabelled->test_size() == 13);
    CHECK_FALSE(unlabelled->examples(numbers({0})).condition.label.defined());
    CHECK(files.open("test = 1e-9")->test_size() == 2);
}

TEST_CASE("folders are numbered as people count: 2 before 10, and numbers before words") {
    const Images files;
    for (const char* name : {"10", "2", "cat10", "cat9", "cat", "dog"}) write_png(files / name / "x.png", plain(1));
    write_png(files / "2/y.png", plain(2));
    const auto data = files.open();
    CHECK(data->class_names() == std::vector<std::string>{"2", "10", "cat", "cat9", "cat10", "dog"});
    CHECK(values(data->test_examples(numbers({0})).x).mean().item<double>() == Approx(2).margin(1e-4));
    CHECK(data->test_examples(numbers({0})).condition.label.item<std::int64_t>() == 0);
}

TEST_CASE("a file is an image by its content, whatever it is called, and images that cannot be read are named") {
    const Images files;
    const auto v = noise({1, 4, 4}, 1);
    for (const char* name : {"a.png", "b.jfif", "c.JPE", "d", "e.txt"}) write_jpeg(files / name, v);
    write_png(files / "f.dat", v);
    files.text("notes.md", "no image"), files.text("BM", "BMW"), files.text("empty", "");
    const auto data = files.open();
    CHECK(data->size() + data->test_size() == 6);
    files.text("g", "GIF89a…");
    CHECK(says(files.complaint(), "g (GIF) is neither PNG nor JPEG | convert"));
    files.text("h.webp", "");
    CHECK(says(files.complaint(), "g (GIF) is neither PNG nor JPEG, nor are 1 more"));
}

TEST_CASE("images for testing may have a folder of their own") {
    const Images files;
    write_png(files / "train/a/1.png", plain(1)), write_png(files / "train/b/1.png", plain(2)),
        write_png(files / "test/b/1.png", plain(3));
    const auto fields = [&](const std::string& train, const std::string& test) {
        return fmt::format("folder = \"{}\"\ntest_folder = \"{}\"", (files / train).string(), (files / test).string());
    };
    const auto data = dataset(fields("train", "test"));
    CHECK(data->size() == 2);
    const auto test = data->test_examples(numbers({0}));
    CHECK(test.condition.label.item<std::int64_t>() == 1);
    CHECK(values(test.x).mean().item<double>() == Approx(3).margin(1e-4));
    CHECK(says(complaint_of([&] { dataset(fields("train", "train/b")); }), "one lies in the other"));
    write_png(files / "test/c/1.png", plain(3));
    CHECK(says(complaint_of([&] { dataset(fields("train", "test")); }), "c/1.png is in none of the classes of"));
}

TEST_CASE("with flip the second half of the examples are mirror images") {
    const Images files;
    for (int i = 0; i < 4; ++i) write_png(files / fmt::format("{}.png", i), noise({3, 4, 6}, i));
    const auto data = files.open("flip = true"), bare = files.open();
    REQUIRE(bare->size() == 3);
    REQUIRE(data->size() == 6);
    CHECK(data->test_size() == 1);
    const auto x = bare->examples(at::arange(3)).x;
    CHECK(data->examples(at::arange(6)).x.equal(at::cat({x, x.flip(3)})));
    CHECK(data->examples(numbers({4, 1})).x.equal(at::stack({x[1].flip(2), x[1]})));
    CHECK(data->test_examples(numbers({0})).x.equal(bare->test_examples(numbers({0})).x));
}

TEST_CASE("an example does not depend on what was asked for before, nor on what is kept") {
    const Images files;
    for (int i = 0; i < 6; ++i) write_png(files / fmt::format("{}.png", i), noise({1, 9, 9}, i));
    const auto kept = files.open("size = 5"), read_again = files.open("size = 5\nmemory = 0");
    const auto all = kept->examples(at::arange(5)).x;
    CHECK(read_again->examples(at::arange(5)).x.equal(all));
    CHECK(read_again->examples(numbers({3, 0, 3})).x.equal(all.index_select(0, numbers({3, 0, 3}))));
    CHECK(read_again->test_examples(numbers({0})).x.equal(kept->test_examples(numbers({0})).x));
    CHECK(kept->examples(at::empty({0}, at::kLong)).x.size(0) == 0);
    CHECK(says(complaint_of([&] { kept->examples(numbers({5})); }), "examples 5 … 5 were asked for, but there are 5"));
    CHECK(says(complaint_of([&] { kept->test_examples(numbers({-1})); }), "but there are 1"));
}

// 11 images of 3200 × 3200 are more than are read at once.
TEST_CASE("of many large images only the headers are read at first, and damage is told when an image is asked for") {
    const Images files;
    for (int i = 0; i < 11; ++i) write_png(files / fmt::format("{:02}.png", i), plain(20 * i + 10, {1, 3200, 3200}));
    files.cut("03.png", 100);
    for (const char* memory : {"memory = 1024", "memory = 0"}) {
        INFO(memory);
        const auto data = files.open(std::string("size = 2\ntest = 0.05\n") + memory);
        const auto x = values(data->examples(numbers({1, 4, 1})).x);
        CHECK(support::distance(x.mean({1, 2, 3}), at::tensor({30, 90, 30}, at::kDouble)) < 1e-4);
        for (int again = 0; again < 2; ++again)
            CHECK(says(complaint_of([&] { data->examples(numbers({2, 3})); }), "03.png is cut short"));
        CHECK(values(data->examples(numbers({2})).x).mean().item<double>() == Approx(50));
        CHECK(values(data->examples(numbers({0})).x).mean().item<double>() == Approx(10));
        CHECK(values(data->test_examples(numbers({0})).x).mean().item<double>() == Approx(210));
    }
}

TEST_CASE("the fingerprint is of names and contents") {
    const Images files;
    write_png(files / "a/1.png", plain(1)), write_png(files / "a/2.png", plain(2)),
        write_png(files / "b/3.png", plain(3));
    const auto before = files.open()->fingerprint();
    CHECK(before.size() == 64);
    CHECK(files.open("size = 2\ntest = 0.7")->fingerprint().size() == 64);
    CHECK(files.open()->fingerprint() == before);
    fs::rename(files / "b", files / "c");
    CHECK(files.open()->fingerprint() != before);
    fs::rename(files / "c", files / "b");
    CHECK(files.open()->fingerprint() == before);
    write_png(files / "b/3.png", plain(4));
    CHECK(files.open()->fingerprint() != before);
}

TEST_CASE("a folder that holds no usable images is refused with the cure") {
    const Images files;
    const auto complaint = [](const std::string& fields) { return complaint_of([&] { dataset(fields); }); };
    CHECK(says(complaint(""), "dataset `image_folder` needs `folder`"));
    CHECK(says(complaint("folder = \"/nowhere/at/all\""), "there is no folder /nowhere/at/all"));
    CHECK(says(files.complaint(), "there is no image in "));
    files.text("notes.txt", "hello");
    CHECK(says(files.complaint(), "images are PNG and JPEG files, whatever they are called"));
    CHECK(says(complaint(fmt::format("folder = \"{}\"", (files / "notes.txt").string())), "notes.txt is no folder"));
    write_png(files / "a.png", plain(1));
    CHECK(says(files.complaint(), "of 1 images none is left for testing | add images, or give a `test_folder`"));
    write_png(files / "b.png", plain(1));
    CHECK(files.complaint().empty());
    CHECK(says(files.complaint("width = 5"), "`width` of dataset `image_folder` is set without `size`"));
    files.text("c.webp", "RIFF");
    CHECK(says(files.complaint(), "c.webp is neither PNG nor JPEG | convert"));
    fs::remove(files / "c.webp");
    write_png(files / "sub/c.png", plain(1));
    CHECK(says(files.complaint(), "a.png lies in no folder of a class, but others lie in `sub` | move"));
    CHECK(says(files.complaint(), "labels = false"));
    CHECK(files.complaint("labels = false").empty());
    fs::create_directory_symlink(files.folder.path, files / "sub/loop");
    CHECK(says(files.complaint("labels = false"), "does a link lead back"));
}

TEST_CASE("images of several sizes need to be told a size") {
    const Images files;
    write_png(files / "a.png", plain(1, {1, 4, 6})), write_png(files / "b.png", plain(1, {1, 4, 6})),
        write_png(files / "c.png", plain(1, {1, 5, 6}));
    const auto complaint = files.complaint();
    CHECK(says(complaint, "a.png has 4 × 6 pixels, "));
    CHECK(says(complaint, "c.png has 5 × 6 (height × width) | give the `size`"));
    CHECK(files.complaint("size = 4").empty());
}

TEST_CASE("a broken image among good ones is named, and so are all of them") {
    const Images files;
    const auto v = noise({3, 40, 40}, 1);
    for (const char* name : {"a.png", "b.png"}) write_png(files / name, v);
    write_png(files / "bad.png", v);
    const auto size = fs::file_size(files / "bad.png");
    const auto refused = [&](const std::string& what) {
        const auto complaint = files.complaint();
        INFO(complaint);
        CHECK(says(complaint, (files / "bad.png").string() + what));
        CHECK(says(complaint, "move it out of the folder"));
    };
    for (const std::uintmax_t left : {size - 1, size - 12, size / 2, std::uintmax_t{40}, std::uintmax_t{20}}) {
        INFO(left << " of " << size << " bytes");
        write_png(files / "bad.png", v);
        files.cut("bad.png", size - left);
        refused(" is cut short");
    }
    files.cut("bad.png", fs::file_size(files / "bad.png"));
    refused(" is empty");
    files.text("bad.png", "hello");
    refused(" is neither PNG nor JPEG: it begins with 68 65 6c 6c 6f");

    const auto flipped = [&](std::streamoff at) {
        std::fstream file(files / "bad.png", std::ios::in | std::ios::out | std::ios::binary);
        file.seekg(at);
        const auto byte = static_cast<char>(file.get() ^ 0x55);
        file.seekp(at);
        file.put(byte);
    };
    write_png(files / "bad.png", v), flipped(18);  // in the width
    refused(" is damaged: ");
    write_png(files / "bad.png", v), flipped(static_cast<std::streamoff>(size / 2));
    refused(" is damaged: ");

    write_jpeg(files / "bad.png", v);
    const auto jpeg_size = fs::file_size(files / "bad.png");
    CHECK(files.complaint().empty());
    for (const std::uintmax_t left : {jpeg_size - 2, jpeg_size / 2, std::uintmax_t{100}, std::uintmax_t{3}}) {
        INFO(left << " of " << jpeg_size << " bytes");
        write_jpeg(files / "bad.png", v);
        files.cut("bad.png", jpeg_size - left);
        refused(" is cut short");
    }
    write_jpeg(files / "bad.png", noise({4, 40, 40}, 2));
    refused(" has 4 channels (CMYK), neither grey nor RGB");

    for (int i = 0; i < 7; ++i) files.text(fmt::format("bad{}.png", i), "hello");
    const auto complaint = files.complaint();
    INFO(complaint);
    CHECK(says(complaint, "8 of 10 images cannot be used:"));
    for (const char* name : {"bad.png has 4", "bad0.png is neither", "bad3.png is neither"})
        CHECK(says(complaint, name));
    CHECK(says(complaint, "and 3 more | "));
}

TEST_CASE("a PNG whose damage libpng only warns of is damaged, unless it is in what is not followed") {
    const auto chunk = [](const std::string& kind, const std::string& data, bool sound) {
        const auto number = [](std::uint32_t n) {
            return std::string{static_cast<char>(n >> 24), static_cast<char>(n >> 16), static_cast<char>(n >> 8),
                               static_cast<char>(n)};
        };
        const auto body = kind + data;
        const auto crc = crc32(0, reinterpret_cast<const Bytef*>(body.data()), static_cast<uInt>(body.size()));
        return number(static_cast<std::uint32_t>(data.size())) + body +
               number(static_cast<std::uint32_t>(sound ? crc : ~crc));
    };
    const auto opened = [](const std::string& extra) {
        const Images images;
        for (const auto* name : {"a.png", "b.png"}) write_png(images / name, noise({1, 4, 4}, 1));
        auto bytes = read(images / "a.png");
        write(images / "a.png", bytes.insert(8 + 25, extra));  // between IHDR and the rest
        return images.complaint();
    };
    const std::string key("\0\7", 2);
    CHECK(opened(chunk("tRNS", key, true)).empty());
    CHECK(says(opened(chunk("tRNS", key, false)), "a.png is damaged"));
    CHECK(says(opened(chunk("tRNS", key + key, true)), "a.png is damaged"));
    CHECK(says(opened(chunk("tRNS", "", true)), "a.png is damaged"));
    for (const auto* kind : {"tIME", "gAMA", "iCCP", "prVt"}) CHECK(opened(chunk(kind, "odd", false)).empty());
}

TEST_CASE("an image that claims to be enormous is refused before memory is asked for") {
    const Images files;
    write_png(files / "a.png", plain(1)), write_png(files / "b.png", plain(1));
    {
        auto* file = std::fopen((files / "b.png").c_str(), "wb");
        auto* png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
        auto* info = png_create_info_struct(png);
        png_init_io(png, file);
        png_set_IHDR(png, info, 900'000, 900'000, 8, PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
                     PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
        png_write_info(png, info);
        unsigned char data[] = {0};
        png_write_chunk(png, reinterpret_cast<png_const_bytep>("IDAT"), data, 1);
        png_destroy_write_struct(&png, &info);
        std::fclose(file);
    }
    CHECK(says(files.complaint("size = 4"), "b.png says that it has 900000 × 900000 pixels"));
}

TEST_CASE("dtk check reads the images, and a run learns from them with their classes") {
    const Images files;
    for (int i = 0; i < 8; ++i) write_png(files / fmt::format("data/ant/{}.png", i), noise({3, 8 + i, 8}, i));
    for (int i = 0; i < 8; ++i) write_jpeg(files / fmt::format("data/bee/{}.jpg", i), noise({3, 16, 24 + i}, i));
    files.text(
        "run.toml",
        "seed = 1\nthreads = 1\n[dataset]\nuse = \"image_folder\"\nfolder = \"data\"\nsize = 8\nflip = "
        "true\n[process]\nsteps = 50\n"
        "[model]\nuse = \"unet\"\nchannels = 8\nmultipliers = [1, 2]\nblocks = 1\nattention = []\nconditional = true\n"
        "[train]\nsteps = 4\nbatch = 4\n[sampler]\nuse = \"ddim\"\nsteps = 2\n[sample]\nn = 2\n");
    const auto run = dtk_program({"run", "run.toml", "--out", "run"}, files.folder.path);
    INFO(run.err);
    CHECK(run.code == 0);
    CHECK(fs::exists(files / "run/samples.png"));
    CHECK(dtk_program({"check", "run.toml"}, files.folder.path).code == 0);

    files.cut("data/bee/3.jpg", 40);
    const auto check = dtk_program({"check", "run.toml"}, files.folder.path);
    INFO(check.err);
    CHECK(check.code == 2);
    CHECK(says(check.err, "data/bee/3.jpg is cut short"));
    CHECK(says(check.err, "run.toml:4:"));
}
