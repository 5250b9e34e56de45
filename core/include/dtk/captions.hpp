#pragma once
// Data whose examples come with a text each, and what of such a text a picture can be held to.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <dtk/dataset.hpp>

namespace dtk {

/// A data set that knows a text of every example.
class DTK_API Captioned {
 public:
    virtual ~Captioned();
    /// Of the training examples of those numbers, and of the test examples. index: [B] int64 on the CPU
    virtual std::vector<std::string> captions(const Tensor& index) const = 0;
    virtual std::vector<std::string> test_captions(const Tensor& index) const = 0;
};

/// What captions ask of pictures, and which of it can be seen in them.
struct Attributes {
    std::vector<std::string> names = {};  ///< "colour", "place"
    Tensor asked = {};                    ///< [n, names] bool: does the caption say it?
    Tensor right = {};                    ///< [n, names] bool: does the picture show it?
    Tensor views = {};                    ///< [n, m, ...] parts of the pictures with one thing each, for a classifier
    Tensor classes = {};                  ///< [n, m] int64: what the caption says that they are; −1: there is none
};

/// A data set that reads its captions off pictures.
class DTK_API ReadsAttributes {
 public:
    virtual ~ReadsAttributes();
    /// pictures: [n, ...] shaped as its examples, on the CPU. Errors: Error for a caption that its pictures do not
    /// have.
    virtual Attributes attributes(const Tensor& pictures, const std::vector<std::string>& captions) const = 0;
};

/// Another data set with something more: what is not said otherwise is that one's.
class DTK_API DatasetAround : public Dataset {
 public:
    explicit DatasetAround(std::shared_ptr<const Dataset> inside) : inside_(std::move(inside)) {}
    const Dataset& inside() const { return *inside_; }
    std::vector<std::int64_t> shape() const override { return inside_->shape(); }
    std::int64_t size() const override { return inside_->size(); }
    Batch examples(const Tensor& index) const override { return inside_->examples(index); }
    std::int64_t test_size() const override { return inside_->test_size(); }
    Batch test_examples(const Tensor& index) const override { return inside_->test_examples(index); }
    std::int64_t classes() const override { return inside_->classes(); }
    std::vector<std::string> class_names() const override { return inside_->class_names(); }
    ConditionSpace condition_space() const override { return inside_->condition_space(); }
    std::optional<std::pair<double, double>> range() const override { return inside_->range(); }
    int levels() const override { return inside_->levels(); }
    const Density* density() const override { return inside_->density(); }
    std::string fingerprint() const override { return inside_->fingerprint(); }
    std::vector<std::int64_t> class_counts() const override { return inside_->class_counts(); }

 private:
    std::shared_ptr<const Dataset> inside_;
};

/// The data set as one that can do that, whatever stands around it; null where it cannot.
template <class Ability>
const Ability* known_as(const Dataset& data) {
    if (const auto* found = dynamic_cast<const Ability*>(&data)) return found;
    const auto* around = dynamic_cast<const DatasetAround*>(&data);
    return around ? known_as<Ability>(around->inside()) : nullptr;
}

}  // namespace dtk
