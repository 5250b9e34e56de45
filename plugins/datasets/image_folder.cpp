// The PNG and JPEG images of a folder and of the folders in it. Each is cropped around its centre to the wanted
// proportions, scaled by bilinear interpolation with antialiasing (at::_upsample_bilinear2d_aa: where an image shrinks,
// a triangle that is two new pixels wide) and rounded to 8 bits again, as published sets of small images were made. A
// value v of 0 … 255 becomes x = 2 v/255 − 1. 16-bit values are rounded to 8 bits, what is transparent is laid on
// white, and colours become grey as 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601). Photographs are turned and mirrored as
// their camera's note says (EXIF, of PNG where it stands before the pixels). Colour profiles are not followed.
#include <array>
#include <cmath>

#include <openssl/sha.h>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <mutex>

#include <dtk/gzip.hpp>
#include <dtk/images.hpp>
#include <dtk/rows_dataset.hpp>

namespace {

namespace fs = std::filesystem;
using at::Tensor;

constexpr std::int64_t quick_pixels = 100'000'000;  // of all images: about a second's decoding

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
        dtk::for_each_image(n, [&](std::int64_t i) {  // so that damage is found before anything is trained
            const auto v = decoded(i);
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
        auto train = dtk::images_in(c.folder);
        std::vector<std::string> test;
        if (c.labels) name_classes(train);
        if (c.test_folder.empty())
            std::tie(train, test) = divided(train);
        else
            test = dtk::images_in(c.test_folder), check_apart();
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
        dtk::for_each_image(static_cast<std::int64_t>(paths_.size()), [&](std::int64_t i) {
            const auto image = dtk::open_image(paths_[i]);
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
            dtk::for_each_image(numbers.numel(), [&](std::int64_t i) { all[i].copy_(decoded(number[i])); });
            return all;
        }
        const std::lock_guard lock(keeping_);
        std::vector<std::int64_t> missing;
        std::copy_if(number, number + numbers.numel(), std::back_inserter(missing),
                     [&](auto n) { return !is_kept_[n]; });
        std::sort(missing.begin(), missing.end());
        missing.erase(std::unique(missing.begin(), missing.end()), missing.end());
        dtk::for_each_image(static_cast<std::int64_t>(missing.size()),
                            [&](std::int64_t i) { kept_[missing[i]].copy_(decoded(missing[i])); });
        for (const auto n : missing) is_kept_[n] = true;
        return kept_.index_select(0, numbers);
    }

    /// → uint8 [channels, height, width]
    Tensor decoded(std::int64_t i) const {
        return dtk::fitted(*dtk::open_image(paths_[i]), channels_, height_, width_, c.exif);
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
