// PNG by libpng and JPEG by libjpeg: damage and claims are refused before they cost anything.
#include <array>
#include <cerrno>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <jpeglib.h>

#include <jerror.h>
#include <png.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/error.hpp>
#include <dtk/exif.hpp>
#include <dtk/images.hpp>

namespace dtk {

ImageFile::~ImageFile() = default;

namespace {

namespace fs = std::filesystem;

constexpr std::int64_t most_pixels = 100'000'000;  // of one image; who claims more is damaged, or means harm
constexpr int most_scans = 100;                    // of a progressive JPEG
constexpr int exif_marker = JPEG_APP0 + 1, most_marker_bytes = 0xFFFF;

/// What libpng or libjpeg complained of, and where it goes on: their calls that report an error must not return.
struct Fault {
    std::jmp_buf back;
    char message[JMSG_LENGTH_MAX] = "";
    bool cut_short = false;
};

/// A file that libpng or libjpeg reads.
class OpenFile : public ImageFile {
 public:
    struct Close {
        void operator()(std::FILE* file) const { std::fclose(file); }
    };
    using File = std::unique_ptr<std::FILE, Close>;
    OpenFile(fs::path path, File file) : file_(std::move(file)), path_(std::move(path)) {}

 protected:
    /// Calls the library. `work` must not own anything: an error jumps out of it.
    template <class Work>
    void guarded(Work work) {
        if (setjmp(fault_.back) == 0) return work();
        if (std::ferror(file_.get())) throw Error(fmt::format("{} cannot be read to its end", path_.string()));
        if (fault_.cut_short)
            throw Error(path_.string() + " is cut short", "fetch it again, or move it out of the folder");
        throw Error(fmt::format("{} is damaged: {}", path_.string(), fault_.message),
                    "fetch it again, or move it out of the folder");
    }
    std::string name() const { return path_.string(); }

    File file_;
    Fault fault_;

 private:
    fs::path path_;
};

class PngFile final : public OpenFile {
 public:
    PngFile(const fs::path& path, File file) : OpenFile(path, std::move(file)), library_(fault_) {
        const auto& [png, info] = library_;
        guarded([&] {
            png_init_io(png, file_.get());
            png_read_info(png, info);
        });
        height = png_get_image_height(png, info), width = png_get_image_width(png, info);
        channels = png_get_color_type(png, info) & PNG_COLOR_MASK_COLOR ? 3 : 1;
        png_uint_32 size = 0;
        if (png_bytep exif = nullptr; png_get_eXIf_1(png, info, &size, &exif) == PNG_INFO_eXIf)
            orientation = exif_orientation(exif, size);
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

class JpegFile final : public OpenFile {
 public:
    JpegFile(const fs::path& path, File file) : OpenFile(path, std::move(file)), library_(fault_) {
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
            throw Error(fmt::format("{} has {} channels{}, neither grey nor RGB", name(), jpeg.num_components,
                                    jpeg.num_components == 4 ? " (CMYK)" : ""),
                        "convert it to RGB, or move it out of the folder");
        for (auto* marker = jpeg.marker_list; marker; marker = marker->next)
            if (marker->data_length > 6 && std::memcmp(marker->data, "Exif\0", 6) == 0) {
                orientation = exif_orientation(marker->data, marker->data_length);
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

}  // namespace

std::unique_ptr<ImageFile> open_image(const std::filesystem::path& path) {
    OpenFile::File file(std::fopen(path.c_str(), "rb"));
    if (!file) throw Error(fmt::format("{} cannot be opened: {}", path.string(), std::strerror(errno)));
    std::array<unsigned char, 8> head{};
    const auto bytes = std::fread(head.data(), 1, head.size(), file.get());
    std::rewind(file.get());
    std::unique_ptr<ImageFile> image;
    if (bytes == head.size() && png_sig_cmp(head.data(), 0, head.size()) == 0)
        image = std::make_unique<PngFile>(path, std::move(file));
    else if (head[0] == 0xff && head[1] == 0xd8 && head[2] == 0xff)
        image = std::make_unique<JpegFile>(path, std::move(file));
    else if (bytes == 0)
        throw Error(path.string() + " is empty", "fetch it again, or move it out of the folder");
    else
        throw Error(fmt::format("{} is neither PNG nor JPEG: it begins with {:02x}", path.string(),
                                fmt::join(head.begin(), head.begin() + bytes, " ")),
                    "convert it to PNG, or move it out of the folder");
    if (image->height * image->width > most_pixels)
        throw Error(fmt::format("{} says that it has {} × {} pixels, more than {}", path.string(), image->height,
                                image->width, most_pixels),
                    "scale it down, or move it out of the folder");
    return image;
}

}  // namespace dtk
