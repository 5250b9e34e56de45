#pragma once
// What metrics share that hold a set of samples against sets of true examples.
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/metric.hpp>
#include <dtk/random.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

class Classifier;

/// Test examples of set `number`, n of them: new ones where the data never end, else n picked by a permutation, so that
/// sets 2i and 2i + 1 have no example in common (n ≤ true_set_size). → [n, ...]
DTK_API Tensor true_set(const Dataset& data, std::int64_t number, std::int64_t n, const Random& random);

/// How many of `samples` can be held against as many true examples, two sets of which must fit into data that end.
DTK_API std::int64_t true_set_size(const Dataset& data, std::int64_t samples);

/// n of the training examples, picked by a permutation, n ≤ data.size(). → [n, ...]
DTK_API Tensor training_set(const Dataset& data, std::int64_t n, const Random& random);

/// n of the samples, evenly among all: those that begin at quantiles of the prior stand in order. → [n, ...]
DTK_API Tensor evenly_among(const Tensor& samples, std::int64_t n);

/// What a number is of sets of true examples, or between them.
struct Floor {
    double mean, sd;
};

/// Of value(set i), i = 0 … sets − 1, sets of n true examples.
DTK_API Floor over_true_sets(const Dataset& data, std::int64_t sets, std::int64_t n, const Random& random,
                             const std::function<double(const Tensor&)>& value);

/// Of distance(set 2i, set 2i + 1), i = 1 … pairs, sets of n true examples. (Set 0 is what samples are held against.)
DTK_API Floor between_true_sets(const Dataset& data, std::int64_t pairs, std::int64_t n, const Random& random,
                                const std::function<double(const Tensor&, const Tensor&)>& distance);

/// Examples as vectors: as they are, or as a classifier that dtk has trained sees them.
class DTK_API Features {
 public:
    /// of: an earlier stage or a run whose model is a classifier; empty, or named "pixels": the examples themselves.
    /// Errors: Error where it is no classifier, or was made for other data; it names `who` asks.
    Features(const Reference& of, const BuildContext& context, const char* who);
    /// x: [n, ...] → [n, d] float64 on the CPU; the classifier works on `device`.
    Tensor operator()(const Tensor& x, at::Device device) const;
    /// What they are, in a few words.
    const std::string& text() const { return text_; }
    /// What they are, the same wherever they are the same: "pixels", or the SHA-256 of the classifier's checkpoint (its
    /// name where it has none).
    const std::string& card() const { return card_; }

 private:
    std::shared_ptr<Classifier> classifier_;
    std::string text_ = "pixels", card_ = text_;
};

/// The square of the distance of each row of x to its k-th nearest other row, n > k. [n, d] → [n]
DTK_API Tensor squared_reach(const Tensor& x, std::int64_t k);

/// d² = |m_1 − m_2|² + tr(C_1 + C_2 − 2 (C_1^{1/2} C_2 C_1^{1/2})^{1/2}) of the means and covariances of two sets, [n,
/// d] and [m, d], two rows or more each (Dowson & Landau, "The Fréchet Distance between Multivariate Normal
/// Distributions", 1982).
DTK_API double frechet_distance(const Tensor& x, const Tensor& y);

/// Samples and held-out examples, `most` of each or as many as there are, as features see them, and how far each is
/// from the training example that is nearest to it.
struct BesideTraining {
    Tensor samples, held_out;                          ///< [n, d], [m, d]
    Tensor distance_of_samples, distance_of_held_out;  ///< [n], [m]
};
DTK_API BesideTraining beside_training(const EvaluationInput& input, const Features& features, std::int64_t most);
/// Refuses data made anew for every step, which nobody can copy, on behalf of `who`.
DTK_API void needs_data_that_end(const BuildContext& context, const char* who);

/// A metric that holds samples against as many true examples, and both against what true sets give each other.
class DTK_API SetMetric : public Metric {
 public:
    /// The fields every such metric has; a metric's own Config derives from it and calls its fields first.
    struct DTK_API Config {
        Reference features{"pixels"};
        std::int64_t repeats = 8;
        void fields(Fields& f);
    };
    /// least: so many samples it needs, and two sets of as many test examples. Errors: Error that says that `who` needs
    /// more of these, with the cure.
    SetMetric(const Config& config, const BuildContext& context, std::string who, std::int64_t least,
              std::string cure = "use another metric");
    ~SetMetric() override;

 protected:
    /// How many samples are looked at: all, `most`, or as many as there are true examples for. Errors: Error where they
    /// are too few.
    std::int64_t size(const EvaluationInput& input, std::int64_t most = std::numeric_limits<std::int64_t>::max()) const;
    /// What it measures where that is `distance` of n samples to as many true examples, the less the nearer: its value
    /// and its floor, from `repeats` pairs of true sets. Of data that end also the distance to as many training
    /// examples; `memorised` is how much nearer those are than examples that training never saw.
    MetricResult held_against_truth(const EvaluationInput& input, std::int64_t n, const Random& random,
                                    const std::function<double(const Tensor&, const Tensor&)>& distance) const;
    const Features& features() const { return features_; }

 private:
    Features features_;
    std::int64_t repeats_, least_;
    std::string who_;
};

/// Squared distances of all rows of y to some rows of x at a time, so that memory stays bounded:
/// look(first, d²) is told those of rows first, first + 1, … of x, d² of shape [rows, m]. x: [n, d], y: [m, d] float64
DTK_API void squared_distances(const Tensor& x, const Tensor& y,
                               const std::function<void(std::int64_t first, const Tensor& d2)>& look);

}  // namespace dtk
