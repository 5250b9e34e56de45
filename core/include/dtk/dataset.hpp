#pragma once
// Examples by number, and what is exactly known of their law.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dtk/plugin.hpp>
#include <dtk/prediction.hpp>
#include <dtk/random.hpp>
#include <dtk/tensor.hpp>

#define DTK_Dataset_VERSION 8_0

namespace dtk {

/// Examples and what they are conditioned on.
struct Batch {
    Tensor x = {};             ///< [B, ...] float32
    Condition condition = {};  ///< what is known of them: a class, a text
    std::int64_t first = 0;    ///< these are rows first … first+B−1 …
    std::int64_t of = 0;       ///< … of a batch of that many; 0: they are all of it
};

/// A known density and what follows from it. All in the dtype of x; rows are independent.
class DTK_API Density {
 public:
    virtual ~Density();
    /// log p(x) in nats. x: [n, d] → [n]
    virtual Tensor log_prob(const Tensor& x) const = 0;
    /// E[x_0 | α·x_0 + σ·ε = x]: the exact denoiser. x: [n, d], alpha and sigma: [n] → [n, d]
    virtual Tensor posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const = 0;
    /// −E log p in nats and the standard deviation of log p.
    virtual double entropy() const = 0;
    virtual double log_prob_sd() const = 0;
    /// Which mode does each x belong to, and the weight of each mode; empty where there are no modes. → [n] int64
    virtual std::vector<double> mode_weights() const { return {}; }
    virtual Tensor nearest_mode(const Tensor& x) const;
    /// Var[x_0 | α·x_0 + σ·ε = x] of each element, the diagonal of the covariance. As posterior_mean. Errors: Error
    /// where nobody has worked it out.
    virtual Tensor posterior_variance(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const;
    /// The law of x given y = A x + sd·z, z ~ N(0, I). A: [m, d] float64 on the CPU, of rank m; y: [n, m], the law of
    /// row i is that given y_i, or one y for all rows. With sd = 0 it is a law on the x that agree with y, and log_prob
    /// its density among them. Null where nobody has worked it out.
    virtual std::shared_ptr<Density> given(const Tensor& A, const Tensor& y, double sd) const;
};

/// Examples by number, so that the order, the batch size and the number of workers change nothing. Synthetic ones make
/// example i from random numbers of their own; there are then as many as anybody asks for.
class DTK_API Dataset {
 public:
    static constexpr const char* kind = "dataset";
    virtual ~Dataset();

    virtual std::vector<std::int64_t> shape() const = 0;  ///< of one example: {2} or {channels, height, width}
    virtual std::int64_t size() const = 0;                ///< examples for training; 0: without end
    /// The training examples of those numbers. index: [B] int64 on the CPU
    virtual Batch examples(const Tensor& index) const = 0;
    virtual std::int64_t test_size() const { return size(); }  ///< 0: without end
    /// Examples that training never sees; those of a synthetic set come from another stream.
    virtual Batch test_examples(const Tensor& index) const = 0;
    virtual std::int64_t classes() const { return 0; }                   ///< labels are 0 … classes−1; 0: no labels
    virtual std::vector<std::string> class_names() const { return {}; }  ///< of label 0, 1, …; empty: they are numbers
    /// What is known of each example; what a data set has beside classes it says here.
    virtual ConditionSpace condition_space() const { return {.classes = classes()}; }
    virtual std::optional<std::pair<double, double>> range() const {
        return std::nullopt;
    }                                         ///< least and greatest value
    virtual int levels() const { return 0; }  ///< 256 for 8-bit values spread evenly over range()
    virtual const Density* density() const { return nullptr; }
    virtual std::string fingerprint() const { return {}; }  ///< hash of the files it was read from
    /// Training examples of label 0, 1, …; empty: nobody has counted them, as where there is no end of them.
    virtual std::vector<std::int64_t> class_counts() const { return {}; }
};

}  // namespace dtk
