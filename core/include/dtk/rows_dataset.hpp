#pragma once
// Data that are the rows of a tensor, with labels or without, some of them held out.
#include <filesystem>
#include <string>
#include <vector>

#include <dtk/dataset.hpp>

namespace dtk {

/// What files say of examples.
struct Rows {
    Tensor x = {};                        ///< [n, ...]
    std::vector<std::string> label = {};  ///< of each row; empty: there are none
};

/// Rows for training and, where there are such, for testing.
struct RowsSource {
    Rows train, test;
    double held_out = 0;                            ///< share of each class for testing, where there are no rows for it
    std::vector<std::filesystem::path> files = {};  ///< they were read from
    bool pixels = false;  ///< uint8 images: values are spread over [−1, 1], channels brought first
    std::optional<std::pair<double, double>> range = {};  ///< of the values, where it is known
};

/// The labels that occur are the classes, whole numbers in their order and other texts after them. Of the m rows of a
/// class ⌈m·held_out⌉ are held out, evenly along the file; of a single one none. Errors: Error that says what does not
/// fit, with the cure.
class DTK_API RowsDataset : public Dataset {
 public:
    explicit RowsDataset(RowsSource source);
    std::vector<std::int64_t> shape() const override;
    std::int64_t size() const override { return training_.numel(); }
    Batch examples(const Tensor& index) const override;
    std::int64_t test_size() const override { return testing_.numel(); }
    Batch test_examples(const Tensor& index) const override;
    std::int64_t classes() const override { return static_cast<std::int64_t>(names_.size()); }
    std::vector<std::string> class_names() const override { return names_; }
    std::optional<std::pair<double, double>> range() const override { return source_.range; }
    int levels() const override { return source_.pixels ? 256 : 0; }
    std::string fingerprint() const override;
    std::vector<std::int64_t> class_counts() const override;

 private:
    Batch rows(const Tensor& x, const Tensor& label, const Tensor& place) const;

    RowsSource source_;
    std::vector<std::string> names_;  ///< of the classes
    Tensor label_, test_label_;       ///< [n] int64; undefined: none
    Tensor training_, testing_;       ///< [n] int64: rows of source_.train; of source_.test where that is there
};

/// The order of labels: whole numbers by their value, then other texts, numbers in them by their value as well: 2, 10,
/// dog2, dog10. Without doubles.
DTK_API std::vector<std::string> ordered_labels(std::vector<std::string> labels);

}  // namespace dtk
