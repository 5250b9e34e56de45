#pragma once
// What is known beforehand of what is drawn: an operator with an error.
#include <cstdint>
#include <memory>
#include <vector>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/fields.hpp>
#include <dtk/plugin.hpp>

#define DTK_Observation_VERSION 2_0

namespace dtk {

/// y = A(x) + sd·z, z ~ N(0, I), of what is drawn. The plugin is A. y is a condition of every row, Condition::observed,
/// for samplers, guidance and metrics; networks know nothing of it.
class DTK_API Observation {
 public:
    static constexpr const char* kind = "observation";

    /// The fields every observation has; a plugin's own Config derives from it and calls its fields first.
    struct DTK_API Config {
        std::vector<double> values;
        std::int64_t example = 0, draws = 0;
        double sd = 0;
        void fields(Fields& f);
    };
    /// size: m, how many numbers y has.
    Observation(const Config& config, const BuildContext& context, std::int64_t size);
    virtual ~Observation();

    /// A(x), differentiable, in the dtype and on the device of x. x: [B, ...] → [B, m]
    virtual Tensor of(const Tensor& x) const = 0;
    /// Is A a matrix?
    virtual bool linear() const { return true; }
    /// Where y is some elements of x, their places in the flattened example, [m] int64 on the CPU; undefined elsewhere.
    virtual Tensor elements() const { return {}; }

    std::int64_t size() const { return size_; }
    double sd() const { return c_.sd; }
    /// How many rows in turn have the same y, measured of one test example x* after the other; 0: all rows have one y.
    std::int64_t draws() const { return c_.draws; }
    /// y of rows first … first + rows − 1. → [rows, m] float64 on the CPU
    Tensor y(std::int64_t first, std::int64_t rows) const;
    /// p(x | y), where A is a matrix and the density of the data can tell it, else null. y: [n, m], as Density::given
    std::shared_ptr<Density> posterior(const Tensor& y) const;

 private:
    Config c_;
    const Dataset& data_;
    Random random_;
    std::int64_t size_;
};

/// What is known of what is drawn. Errors: Error that says that `who` needs it.
DTK_API const Observation& observation(const BuildContext& context, const char* who);
/// The same where y is elements of x. Errors: Error that says that `who` needs that.
DTK_API const Observation& observed_elements(const BuildContext& context, const char* who);
/// y of the rows, [B, m]. Errors: Error where the condition holds none.
DTK_API const Tensor& observed(const Condition& condition);

/// Elements that are known, beside x.
struct KnownElements {
    Tensor mask;   ///< bool, [1, ...]: is the element known?
    Tensor value;  ///< y at its places and 0 elsewhere, [B, ...]
};
/// Of an observation that has elements(). y: [B, m], x: [B, ...]
DTK_API KnownElements known_elements(const Observation& seen, const Tensor& y, const Tensor& x);

}  // namespace dtk
