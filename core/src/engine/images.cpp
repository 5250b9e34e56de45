// The images of a folder: their names, and how one becomes what a network sees.
#include <array>
#include <cstdio>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include <dtk/error.hpp>
#include <dtk/images.hpp>

namespace dtk {

namespace fs = std::filesystem;

namespace {

/// What the first bytes of a file say that it is, "PNG" or another format of images; empty where it is none of them.
std::string format_of(const fs::path& path) {
    std::array<char, 12> head{};
    const auto close = [](std::FILE* file) { std::fclose(file); };
    const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "rb"), close);
    const auto bytes = file ? std::fread(head.data(), 1, head.size(), file.get()) : 0;
    const std::string_view text(head.data(), bytes);
    using namespace std::string_view_literals;
    for (const auto& [name, begin] :
         {std::pair("PNG", "\x89PNG\r\n\x1a\n"sv), std::pair("JPEG", "\xff\xd8\xff"sv), std::pair("GIF", "GIF87a"sv),
          std::pair("GIF", "GIF89a"sv), std::pair("TIFF", "II*\0"sv), std::pair("TIFF", "MM\0*"sv),
          std::pair("JPEG XL", "\xff\x0a"sv), std::pair("JPEG XL", "\0\0\0\x0cJXL "sv),
          std::pair("JPEG 2000", "\0\0\0\x0cjP  "sv)})
        if (text.starts_with(begin)) return name;
    if (text.starts_with("RIFF") && text.ends_with("WEBP")) return "WebP";
    if (text.starts_with("BM") && bytes > 9 && text.substr(6, 4) == "\0\0\0\0"sv) return "BMP";
    if (bytes == 12 && text.substr(4, 4) == "ftyp")
        for (const char* brand : {"avif", "avis", "heic", "heix", "mif1"})
            if (text.ends_with(brand)) return "AVIF or HEIC";
    return {};
}

std::string lower(std::string text) {
    for (auto& c : text)
        if (c >= 'A' && c <= 'Z') c += 'a' - 'A';
    return text;
}

constexpr std::string_view other_endings[] = {".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
                                              ".heic", ".jxl", ".jp2", ".pgm", ".ppm",  ".pnm"};

/// Rows and columns where EXIF says they belong: 2, 4, 5, 7 are mirrored, 5 … 8 lie on their sides. v: [C, H, W]
Tensor upright(Tensor v, int orientation) {
    if (orientation > 4) v = v.transpose(1, 2);
    const auto one_of = [&](std::initializer_list<int> some) { return std::ranges::count(some, orientation) > 0; };
    if (one_of({2, 3, 6, 7})) v = v.flip(2);
    if (one_of({3, 4, 7, 8})) v = v.flip(1);
    return v;
}

}  // namespace

Tensor fitted(ImageFile& image, std::int64_t channels, std::int64_t height, std::int64_t width, bool turn) {
    auto v = image.pixels().permute({2, 0, 1});
    if (turn) v = upright(v, image.orientation);
    const auto h = v.size(1), w = v.size(2);
    const auto rounded = [](std::int64_t a, std::int64_t b) {
        return std::max<std::int64_t>(1, (2 * a + b) / (2 * b));
    };
    const auto cut_h = std::min(h, rounded(w * height, width)), cut_w = std::min(w, rounded(h * width, height));
    v = v.narrow(1, (h - cut_h) / 2, cut_h).narrow(2, (w - cut_w) / 2, cut_w);
    if (v.size(0) == channels && cut_h == height && cut_w == width) return v;
    v = v.to(at::kFloat);
    if (v.size(0) == 1)
        v = v.expand({channels, cut_h, cut_w});
    else if (channels == 1)
        v = (0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2]).unsqueeze(0);
    if (cut_h != height || cut_w != width)
        v = at::_upsample_bilinear2d_aa(v.unsqueeze(0), {height, width}, /*align_corners=*/false)[0];
    return v.round().clamp(0, 255).to(at::kByte);
}

std::vector<std::string> images_in(const fs::path& folder) {
    std::error_code error;
    if (!fs::exists(folder, error))
        throw Error(fmt::format("there is no folder {}", folder.string()), "a path counts from the experiment file");
    if (!fs::is_directory(folder, error)) throw Error(fmt::format("{} is no folder", folder.string()));
    std::vector<std::string> names, others;
    fs::recursive_directory_iterator at(folder, fs::directory_options::follow_directory_symlink, error);
    for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
        if (at.depth() > 20)
            throw Error(fmt::format("{} lies more than 20 folders deep", at->path().string()),
                        "does a link lead back to where it stands?");
        if (at->path().filename().string().starts_with('.')) {
            at.disable_recursion_pending();
            continue;
        }
        std::error_code broken;
        if (!at->is_regular_file(broken)) continue;
        // What is called an image is one, and damaged where it does not look so; of all else the content decides.
        const auto ending = lower(at->path().extension().string());
        const bool called_so = ending == ".png" || ending == ".jpg" || ending == ".jpeg";
        const auto format = called_so ? std::string("PNG") : format_of(at->path());
        const auto* const known = std::ranges::find(other_endings, ending);
        if (format == "PNG" || format == "JPEG")
            names.push_back(at->path().lexically_relative(folder).generic_string());
        else if (!format.empty() || known != std::end(other_endings))
            others.push_back(format.empty() ? at->path().string() : at->path().string() + " (" + format + ")");
    }
    if (error) throw Error(fmt::format("the folder {} cannot be read: {}", folder.string(), error.message()));
    if (!others.empty()) {
        std::ranges::sort(others);
        throw Error(fmt::format("{} is neither PNG nor JPEG{}", others.front(),
                                others.size() > 1 ? fmt::format(", nor are {} more", others.size() - 1) : ""),
                    "convert such images to PNG, or move them out of the folder");
    }
    if (names.empty())
        throw Error(fmt::format("there is no image in {}", folder.string()),
                    "images are PNG and JPEG files, whatever they are called");
    std::sort(names.begin(), names.end());
    return names;
}

void for_each_image(std::int64_t n, const std::function<void(std::int64_t)>& work) {
    std::vector<std::optional<Error>> errors(n);
    at::parallel_for(0, n, 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = begin; i < end; ++i) try {
                work(i);
            } catch (const Error& error) {
                errors[i] = error;
            }
    });
    std::erase(errors, std::nullopt);
    if (errors.empty()) return;
    if (errors.size() == 1) throw *errors.front();
    constexpr std::size_t shown = 5;
    std::string all;
    for (std::size_t i = 0; i < std::min(errors.size(), shown); ++i) all += fmt::format("\n    {}", errors[i]->what());
    if (errors.size() > shown) all += fmt::format("\n    and {} more", errors.size() - shown);
    throw Error(fmt::format("{} of {} images cannot be used:{}", errors.size(), n, all),
                "fetch them again, or move them out of the folder");
}

}  // namespace dtk
