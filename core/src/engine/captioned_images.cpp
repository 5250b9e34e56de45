#include <dtk/captioned_images.hpp>

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include <dtk/error.hpp>
#include <dtk/gzip.hpp>
#include <dtk/images.hpp>
#include <dtk/rows_dataset.hpp>

#include "base/files.hpp"

namespace dtk {

void CaptionedImages::Config::fields(Fields& f) {
    f("size", size, in(1, 4096), "height and width that all are cropped and scaled to");
    f("channels", channels, in(1, 3), "1: grey, 3: RGB");
    f("test", test, inside(0, 1), "the share that training never sees, evenly along the names");
    f.require(channels != 2, "channels", "= 2", "write 1 for grey or 3 for RGB");
}

CaptionedImages::CaptionedImages(std::vector<CaptionedImage> images, const Config& config)
    : images_(std::move(images)) {
    const auto n = static_cast<std::int64_t>(images_.size());
    const auto held_out = std::min(n - 1, static_cast<std::int64_t>(std::ceil(config.test * static_cast<double>(n))));
    if (held_out < 1)
        throw Error(fmt::format("{} pictures with captions leave none for testing", n),
                    "add pictures, and their texts");
    std::vector<std::int64_t> training, testing, labels;
    for (std::int64_t i = 0; i < n; ++i) ((i + 1) * held_out / n > i * held_out / n ? testing : training).push_back(i);
    training_ = at::tensor(training, at::kLong);
    testing_ = at::tensor(testing, at::kLong);
    for (const auto& image : images_)
        if (!image.kind.empty()) kinds_.push_back(image.kind);
    kinds_ = ordered_labels(std::move(kinds_));
    for (const auto& image : images_)
        if (!kinds_.empty()) labels.push_back(std::ranges::find(kinds_, image.kind) - kinds_.begin());
    if (!labels.empty()) label_ = at::tensor(labels, at::kLong);
    pixels_ = at::empty({n, config.channels, config.size, config.size}, at::kByte);
    for_each_image(n, [&](std::int64_t i) {
        const auto image = open_image(images_[static_cast<std::size_t>(i)].path);
        pixels_[i].copy_(fitted(*image, config.channels, config.size, config.size));
    });
}

std::vector<std::int64_t> CaptionedImages::shape() const { return pixels_.sizes().slice(1).vec(); }

std::vector<std::int64_t> CaptionedImages::class_counts() const {
    if (!label_.defined()) return {};
    const auto counts = at::bincount(label_.index_select(0, training_), {}, classes());
    return {counts.const_data_ptr<std::int64_t>(), counts.const_data_ptr<std::int64_t>() + counts.numel()};
}

std::string CaptionedImages::fingerprint() const {
    std::string all;
    for (const auto& image : images_)
        all += fmt::format("{}\n{}\n{}\n", sha256_of_files({image.path}), image.caption, image.kind);
    return sha256(all);
}

Batch CaptionedImages::rows(const Tensor& part, const Tensor& index) const {
    if (index.numel() > 0 && (index.min().item<std::int64_t>() < 0 || index.max().item<std::int64_t>() >= part.numel()))
        throw Error(fmt::format("examples {} … {} were asked for, but there are {}", index.min().item<std::int64_t>(),
                                index.max().item<std::int64_t>(), part.numel()));
    const auto numbers = part.index_select(0, index);
    Batch batch{.x = pixels_.index_select(0, numbers).to(at::kFloat).mul_(2).sub_(255).div_(255)};
    if (label_.defined()) batch.condition.label = label_.index_select(0, numbers);
    return batch;
}

std::vector<std::string> CaptionedImages::said(const Tensor& part, const Tensor& index) const {
    std::vector<std::string> captions;
    for (std::int64_t i = 0; i < index.numel(); ++i)
        captions.push_back(
            images_.at(static_cast<std::size_t>(part[index[i].item<std::int64_t>()].item<std::int64_t>())).caption);
    return captions;
}

}  // namespace dtk
