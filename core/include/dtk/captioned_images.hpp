#pragma once
// Pictures in files with a text each, read once and kept.
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <dtk/captions.hpp>
#include <dtk/fields.hpp>

namespace dtk {

/// A picture's file and what is said of it.
struct CaptionedImage {
    std::filesystem::path path;
    std::string caption;
    std::string kind = {};  ///< what class it is of; of all or of none
};

/// As dtk::fitted brings them to one size; a value v of 0 … 255 becomes x = 2 v/255 − 1. Kinds are classes in the order
/// of their names.
class DTK_API CaptionedImages : public Dataset, public Captioned {
 public:
    /// The fields that every such data set has.
    struct DTK_API Config {
        std::int64_t size = 32, channels = 3;
        double test = 0.1;
        void fields(Fields& f);
    };
    /// Errors: Error where there are too few, or one cannot be read.
    CaptionedImages(std::vector<CaptionedImage> images, const Config& config);
    std::vector<std::int64_t> shape() const override;
    std::int64_t size() const override { return training_.numel(); }
    Batch examples(const Tensor& index) const override { return rows(training_, index); }
    std::int64_t test_size() const override { return testing_.numel(); }
    Batch test_examples(const Tensor& index) const override { return rows(testing_, index); }
    std::int64_t classes() const override { return static_cast<std::int64_t>(kinds_.size()); }
    std::vector<std::string> class_names() const override { return kinds_; }
    std::vector<std::int64_t> class_counts() const override;
    std::optional<std::pair<double, double>> range() const override { return std::pair{-1.0, 1.0}; }
    int levels() const override { return 256; }
    /// Of all files and what is said of them.
    std::string fingerprint() const override;
    std::vector<std::string> captions(const Tensor& index) const override { return said(training_, index); }
    std::vector<std::string> test_captions(const Tensor& index) const override { return said(testing_, index); }

 private:
    Batch rows(const Tensor& part, const Tensor& index) const;
    std::vector<std::string> said(const Tensor& part, const Tensor& index) const;

    std::vector<CaptionedImage> images_;
    std::vector<std::string> kinds_;
    Tensor pixels_;              ///< [n, channels, size, size] uint8
    Tensor label_;               ///< [n] int64; undefined: they are of no kind
    Tensor training_, testing_;  ///< which of them, int64
};

}  // namespace dtk
