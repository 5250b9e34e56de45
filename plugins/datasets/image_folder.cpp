// The PNG and JPEG images of a folder and of the folders in it. Each is cropped around its centre to the wanted
// proportions, scaled by bilinear interpolation with antialiasing (at::_upsample_bilinear2d_aa: where an image shrinks,
// a triangle that is two new pixels wide) and rounded to 8 bits again, as published sets of small images were made. A
// value v of 0 … 255 becomes x = 2 v/255 − 1. 16-bit values are rounded to 8 bits, what is transparent is laid on
// white, and colours become grey as 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). Photographs are turned and mirrored as
// their camera's note says (EXIF, of PNG where it stands before the pixels). Colour profiles are not followed.
#include <array>
#include <cerrno>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <jpeglib.h>

#include <jerror.h>
#include <openssl/sha.h>
#include <png.h>

#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>

#include <dtk/dataset.hpp>
#include <dtk/exif.hpp>
#include <dtk/gzip.hpp>
#include <dtk/rows_dataset.hpp>

namespace {

namespace fs = std::filesystem;
using at::Tensor;

constexpr std::int64_t most_pixels = 100'000'000;  // of one image; who claims more is damaged, or means harm
constexpr int most_scans = 100;                    // of a progressive JPEG
constexpr int exif_marker = JPEG_APP0 + 1, most_marker_bytes = 0xFFFF;
constexpr std::int64_t quick_pixels = 100'000'000;  // of all images: about a second's decoding

/// What libpng or libjpeg complained of, and where it goes on: their calls that report an error must not return.
struct Fault {
    std::jmp_buf back;
    char message[JMSG_LENGTH_MAX] = "";
    bool cut_short = false;
};

/// An image file whose header was read.
class ImageFile {
 public:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    using File = std::unique_ptr<std::FILE, Close>;

    ImageFile(fs::path path, File file) : file_(std::move(file)), path_(std::move(path)) {}
    virtual ~ImageFile() = default;
    virtual Tensor pixels() = 0;  ///< → uint8 [height, width, channels]; only once

    std::int64_t height = 0, width = 0;
    std::int64_t channels = 0;  ///< 1: grey; 3: red, green, blue
    int orientation = 1;        ///< where the first row and column belong, as EXIF numbers it; 1: where they stand

 protected:
    /// Calls the library. `work` must not own anything: an error jumps out of it.
    template <class Work>
    void guarded(Work work) {
        if (setjmp(fault_.back) == 0) return work();
        if (std::ferror(file_.get())) throw dtk::Error(fmt::format("{} cannot be read to its end", path_.string()));
        if (fault_.cut_short)
            throw dtk::Error(path_.string() + " is cut short", "fetch it again, or move it out of the folder");
        throw dtk::Error(fmt::format("{} is damaged: {}", path_.string(), fault_.message),
                         "fetch it again, or move it out of the folder");
    }
    std::string name() const { return path_.string(); }

    File file_;
    Fault fault_;

 private:
    fs::path path_;
};

class PngFile final : public ImageFile {
 public:
    PngFile(const fs::path& path, File file) : ImageFile(path, std::move(file)), library_(fault_) {
        const auto& [png, info] = library_;
        guarded([&] {
            png_init_io(png, file_.get());
            png_read_info(png, info);
        });
        height = png_get_image_height(png, info), width = png_get_image_width(png, info);
        channels = png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR ? 3 : 1;
        png_uint_32 size = 0;
        if (png_bytep exif = nullptr; png_get_eXIf_1(png, info, &size, &exif) == PNG_INFO_eXIf)
            orientation = dtk::exif_orientation(exif, size);
    }

    Tensor pixels() override {
        const auto& [png, info] = library_;
        guarded([&] {
            png_set_expand(png);  // palettes, fewer than 8 bits, and a colour that stands for transparent
            png_set_scale_16(png);
            png_set_interlace_handling(png);
            png_read_update_info(png, info);
        });
        const std::int64_t planes = png_get_channels(png, info);
        auto all = at::empty({height, width, planes}, at::kByte);
        std::vector<png_bytep> rows;
        for (std::int64_t y = 0; y < height; ++y)
            rows.push_back(all.mutable_data_ptr<unsigned char>() + y * width * planes);
        guarded([&] {
            png_read_image(png, rows.data());
            png_read_end(png, nullptr);
        });
        if (planes == channels) return all;
        const auto alpha = all.narrow(2, channels, 1).to(at::kInt), v = all.narrow(2, 0, channels).to(at::kInt);
        return (v * alpha + 255 * (255 - alpha) + 127).div_(255, "floor").to(at::kByte);
    }

 private:
    struct Library {
        explicit Library(Fault& fault)
            : png(png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &fault, on_error, on_warning, nullptr, some_memory,
                                           give_back)) {
            info = png ? png_create_info_struct(png) : nullptr;
            if (!info) throw std::bad_alloc();
        }
        ~Library() { png_destroy_read_struct(&png, &info, nullptr); }
        Library(const Library&) = delete;
        /// For a chunk beside the image a file may claim 2 GB that it has not.
        static png_voidp some_memory(png_structp, png_alloc_size_t bytes) {
            constexpr png_alloc_size_t most = 64 << 20;
            return bytes > most ? nullptr : std::malloc(bytes);
        }
        static void give_back(png_structp, png_voidp memory) { std::free(memory); }
        static void on_error(png_structp png, png_const_charp message) {
            auto& fault = *static_cast<Fault*>(png_get_error_ptr(png));
            fault.cut_short = std::strcmp(message, "Read Error") == 0;
            std::snprintf(fault.message, sizeof fault.message, "%s", message);
            std::longjmp(fault.back, 1);
        }
        /// libpng only warns of most damage and makes up what is missing. Of what is not followed, which is all chunks
        /// that begin with a small letter but the one about what is transparent, it may say what it likes.
        static void on_warning(png_structp png, png_const_charp message) {
            const std::string_view text(message);
            const bool is_of_chunk = text.size() > 4 && text[4] == ':';
            if (!is_of_chunk || text[0] < 'a' || text[0] > 'z' || text.starts_with("tRNS")) on_error(png, message);
        }
        png_structp png;
        png_infop info;
    };
    Library library_;
};

class JpegFile final : public ImageFile {
 public:
    JpegFile(const fs::path& path, File file) : ImageFile(path, std::move(file)), library_(fault_) {
        auto& jpeg = library_.jpeg;
        guarded([&] {
            jpeg_create_decompress(&jpeg);
            jpeg.progress = &library_.progress;
            jpeg_stdio_src(&jpeg, file_.get());
            jpeg_save_markers(&jpeg, exif_marker, most_marker_bytes);
            jpeg_read_header(&jpeg, TRUE);
        });
        height = jpeg.image_height, width = jpeg.image_width;
        channels = jpeg.jpeg_color_space == JCS_GRAYSCALE ? 1 : 3;
        if (jpeg.num_components != channels)
            throw dtk::Error(fmt::format("{} has {} channels{}, neither grey nor RGB", name(), jpeg.num_components,
                                         jpeg.num_components == 4 ? " (CMYK)" : ""),
                             "convert it to RGB, or move it out of the folder");
        for (auto* marker = jpeg.marker_list; marker; marker = marker->next)
            if (marker->data_length > 6 && std::memcmp(marker->data, "Exif\0", 6) == 0) {
                orientation = dtk::exif_orientation(marker->data, marker->data_length);
                break;
            }
    }

    Tensor pixels() override {
        auto& jpeg = library_.jpeg;
        auto all = at::empty({height, width, channels}, at::kByte);
        auto* row = all.mutable_data_ptr<unsigned char>();
        guarded([&] {
            jpeg.out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
            jpeg_start_decompress(&jpeg);
            while (jpeg.output_scanline < jpeg.output_height) {
                auto* here = row + jpeg.output_scanline * width * channels;
                jpeg_read_scanlines(&jpeg, &here, 1);
            }
            jpeg_finish_decompress(&jpeg);
        });
        return all;
    }

 private:
    struct Library {
        explicit Library(Fault& fault) {
            jpeg.err = jpeg_std_error(&errors);
            errors.error_exit = on_error;
            errors.emit_message = on_message;
            jpeg.client_data = &fault;
            progress.progress_monitor = on_scan;
        }
        ~Library() { jpeg_destroy_decompress(&jpeg); }
        Library(const Library&) = delete;
        static void on_error(j_common_ptr jpeg) {
            auto& fault = *static_cast<Fault*>(jpeg->client_data);
            fault.cut_short = jpeg->err->msg_code == JWRN_JPEG_EOF;
            jpeg->err->format_message(jpeg, fault.message);
            std::longjmp(fault.back, 1);
        }
        /// libjpeg only warns of damaged pixels and makes them up. Three of its warnings are about what stands between
        /// them.
        static void on_message(j_common_ptr jpeg, int level) {
            const auto code = jpeg->err->msg_code;
            if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_ADOBE_XFORM && code != JWRN_JFIF_MAJOR)
                on_error(jpeg);
        }
        /// A few bytes are a scan over all pixels: thousands of them would take hours, and no encoder makes so many.
        static void on_scan(j_common_ptr jpeg) {
            if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= most_scans) return;
            auto& fault = *static_cast<Fault*>(jpeg->client_data);
            std::snprintf(fault.message, sizeof fault.message, "it has more than %d scans", most_scans);
            std::longjmp(fault.back, 1);
        }
        jpeg_decompress_struct jpeg{};
        jpeg_progress_mgr progress{};
        jpeg_error_mgr errors{};
    };
    Library library_;
};

/// What a file is, its first bytes say: names are often wrong.
std::unique_ptr<ImageFile> opened(const fs::path& path) {
    ImageFile::File file(std::fopen(path.c_str(), "rb"));
    if (!file) throw dtk::Error(fmt::format("{} cannot be opened: {}", path.string(), std::strerror(errno)));
    std::array<unsigned char, 8> head{};
    const auto bytes = std::fread(head.data(), 1, head.size(), file.get());
    std::rewind(file.get());
    std::unique_ptr<ImageFile> image;
    if (bytes == head.size() && png_sig_cmp(head.data(), 0, head.size()) == 0)
        image = std::make_unique<PngFile>(path, std::move(file));
    else if (head[0] == 0xff && head[1] == 0xd8 && head[2] == 0xff)
        image = std::make_unique<JpegFile>(path, std::move(file));
    else if (bytes == 0)
        throw dtk::Error(path.string() + " is empty", "fetch it again, or move it out of the folder");
    else
        throw dtk::Error(fmt::format("{} is neither PNG nor JPEG: it begins with {:02x}", path.string(),
                                     fmt::join(head.begin(), head.begin() + bytes, " ")),
                         "convert it to PNG, or move it out of the folder");
    if (image->height * image->width > most_pixels)
        throw dtk::Error(fmt::format("{} says that it has {} × {} pixels, more than {}", path.string(), image->height,
                                     image->width, most_pixels),
                         "scale it down, or move it out of the folder");
    return image;
}

/// Does work(i) for i = 0 … n−1 on all threads. What goes wrong is told of all of them at once.
void for_each_image(std::int64_t n, const std::function<void(std::int64_t)>& work) {
    std::vector<std::optional<dtk::Error>> errors(n);
    at::parallel_for(0, n, 1, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = begin; i < end; ++i) try {
                work(i);
            } catch (const dtk::Error& error) {
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
    throw dtk::Error(fmt::format("{} of {} images cannot be used:{}", errors.size(), n, all),
                     "fetch them again, or move them out of the folder");
}

/// What the first bytes of a file say that it is, "PNG" or another format of images; empty where it is none of them.
std::string format_of(const fs::path& path) {
    std::array<char, 12> head{};
    const ImageFile::File file(std::fopen(path.c_str(), "rb"));
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

/// The images under a folder, named from there, in the order of their names. Hidden files and folders do not count.
std::vector<std::string> images_in(const fs::path& folder) {
    std::error_code error;
    if (!fs::exists(folder, error))
        throw dtk::Error(fmt::format("there is no folder {}", folder.string()),
                         "a path counts from the experiment file");
    if (!fs::is_directory(folder, error)) throw dtk::Error(fmt::format("{} is no folder", folder.string()));
    std::vector<std::string> names, others;
    fs::recursive_directory_iterator at(folder, fs::directory_options::follow_directory_symlink, error);
    for (; !error && at != fs::recursive_directory_iterator(); at.increment(error)) {
        if (at.depth() > 20)
            throw dtk::Error(fmt::format("{} lies more than 20 folders deep", at->path().string()),
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
    if (error) throw dtk::Error(fmt::format("the folder {} cannot be read: {}", folder.string(), error.message()));
    if (!others.empty()) {
        std::ranges::sort(others);
        throw dtk::Error(fmt::format("{} is neither PNG nor JPEG{}", others.front(),
                                     others.size() > 1 ? fmt::format(", nor are {} more", others.size() - 1) : ""),
                         "convert such images to PNG, or move them out of the folder");
    }
    if (names.empty())
        throw dtk::Error(fmt::format("there is no image in {}", folder.string()),
                         "images are PNG and JPEG files, whatever they are called");
    std::sort(names.begin(), names.end());
    return names;
}

/// Rows and columns where EXIF says they belong: 2, 4, 5, 7 are mirrored, 5 … 8 lie on their sides. v: [C, H, W]
Tensor upright(Tensor v, int orientation) {
    if (orientation > 4) v = v.transpose(1, 2);
    const auto one_of = [&](std::initializer_list<int> some) { return std::ranges::count(some, orientation) > 0; };
    if (one_of({2, 3, 6, 7})) v = v.flip(2);
    if (one_of({3, 4, 7, 8})) v = v.flip(1);
    return v;
}

/// Its first folder; empty if it lies in none.
std::string class_of(const std::string& name) {
    return name.substr(0, name.find('/') == name.npos ? 0 : name.find('/'));
}

struct ImageFolder final : dtk::Dataset {
    struct Config {
        fs::path folder, test_folder;
        double test = 0.1;
        std::int64_t size = 0, width = 0, channels = 0, memory = 1024;
        bool labels = true, flip = false, exif = true;
        void fields(dtk::Fields& f) {
            f.required("folder", folder, "PNG and JPEG images, also in folders below");
            f("size", size, dtk::in(0, 16384),
              "height and width that all images are cropped and scaled to; 0: all are of one size already");
            f("width", width, dtk::in(0, 16384), "the width, where it is not the height; 0: it is");
            f("channels", channels, dtk::in(0, 3), "1: grey, 3: RGB, 0: as all of them are");
            f("labels", labels,
              "the folders in `folder` are classes, numbered in the order of their names, 2 before 10");
            f("exif", exif, "photographs are turned and mirrored as the camera's note (EXIF) says");
            f("flip", flip, "train with the mirror image of each, too: twice as many examples");
            f("test", test, dtk::inside(0, 1),
              "the share of each class that training never sees, evenly along the names");
            f("test_folder", test_folder,
              "where those lie, if they have a folder of their own; then training sees all of `folder`");
            f("memory", memory, dtk::in(0, 1e9),
              "images are kept once they were read if all of them, cropped and scaled, fit into so many MiB");
            f.require(width == 0 || size > 0, "width", "is set without `size`", "give the height, too: `size`");
            f.require(channels != 2, "channels", "= 2", "write 1 for grey or 3 for RGB");
        }
    } c;

    explicit ImageFolder(const Config& config) : c(config) {
        find_images();
        read_headers();
        const auto n = static_cast<std::int64_t>(paths_.size());
        if (channels_ * height_ * width_ <= (c.memory << 20) / n) {
            kept_ = at::empty({n, channels_, height_, width_}, at::kByte);
            is_kept_.resize(n);
        }
        if (source_pixels_ > quick_pixels) return;
        for_each_image(n, [&](std::int64_t i) {  // so that damage is found before anything is trained
            const auto v = decoded(paths_[i]);
            if (kept_.defined()) kept_[i].copy_(v);
        });
        is_kept_.assign(is_kept_.size(), true);
    }

    std::vector<std::int64_t> shape() const override { return {channels_, height_, width_}; }
    std::int64_t size() const override { return c.flip ? 2 * training_ : training_; }
    std::int64_t test_size() const override { return static_cast<std::int64_t>(paths_.size()) - training_; }
    std::int64_t classes() const override { return static_cast<std::int64_t>(class_names_.size()); }
    std::vector<std::string> class_names() const override { return class_names_; }
    std::vector<std::int64_t> class_counts() const override {
        if (!labels_.defined()) return {};
        const auto counts = at::bincount(labels_.slice(0, 0, training_), {}, classes()) * (c.flip ? 2 : 1);
        return {counts.const_data_ptr<std::int64_t>(), counts.const_data_ptr<std::int64_t>() + counts.numel()};
    }
    std::optional<std::pair<double, double>> range() const override { return std::pair(-1.0, 1.0); }
    int levels() const override { return 256; }

    /// The second half of them are the first half's mirror images where there is `flip`.
    dtk::Batch examples(const Tensor& index) const override {
        check(index, size());
        auto batch = images(index.remainder(training_));
        if (c.flip) batch.x = at::where((index >= training_).view({-1, 1, 1, 1}), batch.x.flip(3), batch.x);
        return batch;
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        check(index, test_size());
        return images(index + training_);
    }

    /// Of all names and contents.
    std::string fingerprint() const override {
        std::string all;
        for (std::size_t i = 0; i < paths_.size(); ++i)
            all += fmt::format("{}\n{}\n", names_[i], dtk::sha256_of_files({paths_[i]}));
        std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
        SHA256(reinterpret_cast<const unsigned char*>(all.data()), all.size(), digest.data());
        return fmt::format("{:02x}", fmt::join(digest, ""));
    }

 private:
    /// Sets paths, names and labels, those of training first.
    void find_images() {
        auto train = images_in(c.folder);
        std::vector<std::string> test;
        if (c.labels) name_classes(train);
        if (c.test_folder.empty())
            std::tie(train, test) = divided(train);
        else
            test = images_in(c.test_folder), check_apart();
        training_ = static_cast<std::int64_t>(train.size());
        std::vector<std::int64_t> labels;
        for (const auto& [folder, names] :
             {std::tie(c.folder, train), std::tie(c.test_folder.empty() ? c.folder : c.test_folder, test)})
            for (const auto& name : names) {
                paths_.push_back(folder / name), names_.push_back(name);
                if (!classes_.empty()) labels.push_back(label_of(folder, name));
            }
        if (!labels.empty()) labels_ = at::tensor(labels, at::kLong);
    }

    void check_apart() const {
        const auto within = [](const fs::path& inner, const fs::path& outer) {
            return *fs::canonical(inner).lexically_relative(fs::canonical(outer)).begin() != "..";
        };
        if (within(c.test_folder, c.folder) || within(c.folder, c.test_folder))
            throw dtk::Error(
                fmt::format("of {} and {} one lies in the other", c.folder.string(), c.test_folder.string()),
                "training would see the images for testing: name two folders that lie side by side");
    }

    void name_classes(const std::vector<std::string>& names) {
        for (const auto& name : names) classes_.emplace(class_of(name), 0);
        if (classes_.contains("")) {
            if (classes_.size() > 1) {
                const auto bare =
                    std::find_if(names.begin(), names.end(), [](const auto& name) { return class_of(name).empty(); });
                throw dtk::Error(fmt::format("{} lies in no folder of a class, but others lie in `{}`",
                                             (c.folder / *bare).string(), classes_.rbegin()->first),
                                 "move every image into the folder of its class, or set labels = false");
            }
            classes_.clear();
        }
        for (const auto& [name, number] : classes_) class_names_.push_back(name);
        class_names_ = dtk::ordered_labels(std::move(class_names_));
        std::int64_t label = 0;
        for (const auto& name : class_names_) classes_[name] = label++;
    }

    std::int64_t label_of(const fs::path& folder, const std::string& name) const {
        const auto found = classes_.find(class_of(name));
        if (found == classes_.end())
            throw dtk::Error(
                fmt::format("{} is in none of the classes of {}", (folder / name).string(), c.folder.string()),
                "name its folder as that of the class, or set labels = false");
        return found->second;
    }

    /// Of the m images of a class ⌈m·test⌉ for testing, evenly along their names; of a single one none.
    std::pair<std::vector<std::string>, std::vector<std::string>> divided(const std::vector<std::string>& names) const {
        std::map<std::string, std::vector<std::string>> by_class;
        for (const auto& name : names) by_class[classes_.empty() ? "" : class_of(name)].push_back(name);
        std::vector<std::string> train, test;
        for (const auto& [ignored, members] : by_class) {
            const auto m = members.size(),
                       held_out = std::min(m - 1, static_cast<std::size_t>(std::ceil(static_cast<double>(m) * c.test)));
            for (std::size_t k = 0; k < m; ++k)
                ((k + 1) * held_out / m > k * held_out / m ? test : train).push_back(members[k]);
        }
        if (test.empty())
            throw dtk::Error(fmt::format("of {} images none is left for testing", names.size()),
                             "add images, or give a `test_folder`");
        return {train, test};
    }

    /// Sets the shape of an example. Nothing is decoded yet.
    void read_headers() {
        struct Header {
            std::int64_t height, width, channels;
        };
        std::vector<Header> headers(paths_.size());
        for_each_image(static_cast<std::int64_t>(paths_.size()), [&](std::int64_t i) {
            const auto image = opened(paths_[i]);
            headers[i] = {image->height, image->width, image->channels};
            if (c.exif && image->orientation > 4) std::swap(headers[i].height, headers[i].width);
        });
        const auto& first = headers.front();
        for (std::size_t i = 0; i < headers.size(); ++i) {
            const auto& here = headers[i];
            source_pixels_ += here.height * here.width;
            if (c.size == 0 && (here.height != first.height || here.width != first.width))
                throw dtk::Error(
                    fmt::format("{} has {} × {} pixels, {} has {} × {} (height × width)", paths_.front().string(),
                                first.height, first.width, paths_[i].string(), here.height, here.width),
                    "give the `size` that all are to be cropped and scaled to, as in size = 64");
            if (c.channels == 0 && here.channels != first.channels)
                throw dtk::Error(fmt::format("{} is {}, {} is {}", paths_.front().string(),
                                             first.channels == 1 ? "grey" : "in colour", paths_[i].string(),
                                             here.channels == 1 ? "grey" : "in colour"),
                                 "write channels = 3 for RGB or channels = 1 for grey");
        }
        height_ = c.size > 0 ? c.size : first.height;
        width_ = c.width > 0 ? c.width : c.size > 0 ? c.size : first.width;
        channels_ = c.channels > 0 ? c.channels : first.channels;
    }

    static void check(const Tensor& index, std::int64_t size) {
        if (index.numel() > 0 && (index.min().item<std::int64_t>() < 0 || index.max().item<std::int64_t>() >= size))
            throw dtk::Error(fmt::format("examples {} … {} were asked for, but there are {}",
                                         index.min().item<std::int64_t>(), index.max().item<std::int64_t>(), size));
    }

    dtk::Batch images(const Tensor& numbers) const {
        const auto x = pixels(numbers.contiguous()).to(at::kFloat).mul_(2).sub_(255).div_(255);
        return {x, labels_.defined() ? labels_.index_select(0, numbers) : Tensor()};
    }

    /// → uint8 [B, channels, height, width]
    Tensor pixels(const Tensor& numbers) const {
        const auto* number = numbers.const_data_ptr<std::int64_t>();
        if (!kept_.defined()) {
            auto all = at::empty({numbers.numel(), channels_, height_, width_}, at::kByte);
            for_each_image(numbers.numel(), [&](std::int64_t i) { all[i].copy_(decoded(paths_[number[i]])); });
            return all;
        }
        const std::lock_guard lock(keeping_);
        std::vector<std::int64_t> missing;
        std::copy_if(number, number + numbers.numel(), std::back_inserter(missing),
                     [&](auto n) { return !is_kept_[n]; });
        std::sort(missing.begin(), missing.end());
        missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
        for_each_image(static_cast<std::int64_t>(missing.size()),
                       [&](std::int64_t i) { kept_[missing[i]].copy_(decoded(paths_[missing[i]])); });
        for (const auto n : missing) is_kept_[n] = true;
        return kept_.index_select(0, numbers);
    }

    /// → uint8 [channels, height, width]
    Tensor decoded(const fs::path& path) const {
        const auto image = opened(path);
        auto v = image->pixels().permute({2, 0, 1});
        if (c.exif) v = upright(v, image->orientation);
        const auto h = v.size(1), w = v.size(2);
        const auto rounded = [](std::int64_t a, std::int64_t b) {
            return std::max<std::int64_t>(1, (2 * a + b) / (2 * b));
        };
        const auto cut_h = std::min(h, rounded(w * height_, width_)), cut_w = std::min(w, rounded(h * width_, height_));
        v = v.narrow(1, (h - cut_h) / 2, cut_h).narrow(2, (w - cut_w) / 2, cut_w);
        if (v.size(0) == channels_ && cut_h == height_ && cut_w == width_) return v;
        v = v.to(at::kFloat);
        if (v.size(0) == 1)
            v = v.expand({channels_, cut_h, cut_w});
        else if (channels_ == 1)
            v = (0.299 * v[0] + 0.587 * v[1] + 0.114 * v[2]).unsqueeze(0);
        if (cut_h != height_ || cut_w != width_)
            v = at::_upsample_bilinear2d_aa(v.unsqueeze(0), {height_, width_}, /*align_corners=*/false)[0];
        return v.round().clamp(0, 255).to(at::kByte);
    }

    std::vector<fs::path> paths_;     // of all images, those of training first
    std::vector<std::string> names_;  // from the folder on
    std::map<std::string, std::int64_t> classes_;
    std::vector<std::string> class_names_;
    Tensor labels_;
    std::int64_t training_ = 0, height_ = 0, width_ = 0, channels_ = 0, source_pixels_ = 0;
    mutable std::mutex keeping_;
    mutable Tensor kept_;  // [all images, channels, height, width], filled as they are asked for
    mutable std::vector<bool> is_kept_;
};

}  // namespace

DTK_PLUGIN(Dataset, image_folder, ImageFolder,
           "PNG and JPEG images of a folder, brought to one size; its folders are classes")
