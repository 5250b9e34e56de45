#pragma once
// What metrics of protein chains share: traces of Cα out of samples, and what real chains give beside them.
#include <functional>
#include <string>

#include <dtk/features.hpp>
#include <dtk/geometry.hpp>
#include <dtk/metric.hpp>

namespace dtk {

/// Cα of chains, float64.
struct Traces {
    Tensor x;     ///< [n, L, 3], 0 where no residue is
    Tensor mask;  ///< [n, L] float64 of 0 and 1
    Tensor lengths() const { return mask.sum(1); }
};
/// samples: [n, L, 3], or [n, L, 4, 3] of N, CA, C and O. Errors: Error where a coordinate is no finite number.
DTK_API Traces traces_of(const Tensor& samples);

/// Those values, in one row, at whose places all `of` residues exist that follow one another from there. value: [n, L −
/// of
/// + 1] → [m]
DTK_API Tensor where_whole(const Tensor& value, const Tensor& mask, std::int64_t of);

/// W_1 of two sets of numbers, ∫ |F − G| dx. [n], [m], neither empty
DTK_API double wasserstein_1(const Tensor& a, const Tensor& b);
/// The same of angles in radians on the circle, for the best way round: min over c of ∫ |F − G − c| dx.
DTK_API double wasserstein_of_angles(const Tensor& a, const Tensor& b);

/// A metric of chains.
class DTK_API ChainMetric : public Metric {
 public:
    /// A metric's own Config derives from it and calls its fields first.
    struct DTK_API Config {
        std::int64_t repeats = 8;
        void fields(Fields& f);
    };
    /// Errors: Error where the data are no chains, no backbones where `backbone` wants such, or too few to be held out.
    ChainMetric(const Config& config, const BuildContext& context, std::string who, bool backbone = false);
    ~ChainMetric() override;

 protected:
    /// A number of chains and those beside it.
    struct Value {
        double value;
        std::vector<std::pair<std::string, double>> parts = {};
    };
    /// What `of` is of the samples, and of `repeats` sets of as many held-out chains: mean and deviation of these are
    /// what is expected, the means of its parts stand beside those of the samples as "true …".
    MetricResult as_true_chains(const EvaluationInput& input, const Random& random,
                                const std::function<Value(const Tensor& samples)>& of) const;
    /// How far the samples are from as many held-out chains, and such from each other. n: so many of both, 0: as many
    /// as there are.
    MetricResult from_true_chains(
        const EvaluationInput& input, const Random& random, std::int64_t n,
        const std::function<Value(const Tensor& samples, const Tensor& truth)>& distance) const;
    const std::string& who() const { return who_; }

 private:
    std::int64_t repeats_;
    std::string who_;
};

}  // namespace dtk
