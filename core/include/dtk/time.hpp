#pragma once
// A time for every row of a batch, and what follows from it: numbers that stand before x, kept in float64 on the host
// until they are multiplied with a tensor.
#include <cmath>
#include <cstdint>
#include <memory>

#include <dtk/api.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// [B] float64 numbers where they were made, and one copy of them on the device where they were last needed, which all
/// copies of this value share.
class DTK_API RowValues {
 public:
    RowValues() = default;
    explicit RowValues(Tensor rows);
    bool defined() const { return rows_.defined(); }
    const Tensor& operator*() const { return rows_; }
    const Tensor* operator->() const { return &rows_; }
    /// On that device, as float64.
    Tensor on(at::Device device) const;

 private:
    Tensor rows_;
    std::shared_ptr<Tensor> copy_;
};

/// A number for every row of a batch, or one for all of them: what multiplies x in a formula. Arithmetic is float64;
/// the product with a tensor has the tensor's dtype and device.
class DTK_API Coefficient {
 public:
    Coefficient(double value) : value_(value) {}  // NOLINT: a number is a coefficient
    /// rows: [B] float64
    static Coefficient of_rows(Tensor rows);

    bool uniform() const { return !rows_.defined(); }
    /// Errors: Error where the rows differ.
    double value() const;
    /// [B] float64, on the device of x.
    Tensor rows(const Tensor& x) const;
    /// [B, 1, …], ready to stand beside x: in its dtype, on its device.
    Tensor beside(const Tensor& x) const;

    template <class Host, class Rows>
    static Coefficient apply(const Coefficient& a, Host host, Rows rows) {
        return a.uniform() ? Coefficient(host(a.value_)) : of_rows(rows(*a.rows_));
    }
    template <class Host, class Rows>
    static Coefficient apply(const Coefficient& a, const Coefficient& b, Host host, Rows rows) {
        if (a.uniform() && b.uniform()) return host(a.value_, b.value_);
        return of_rows(rows(a.tensor_like(b), b.tensor_like(a)));
    }

 private:
    Tensor tensor_like(const Coefficient& other) const;
    double value_ = 0;
    RowValues rows_;

    friend DTK_API Coefficient operator+(const Coefficient& a, const Coefficient& b);
    friend DTK_API Coefficient operator-(const Coefficient& a, const Coefficient& b);
    friend DTK_API Coefficient operator*(const Coefficient& a, const Coefficient& b);
    friend DTK_API Coefficient operator/(const Coefficient& a, const Coefficient& b);
    friend DTK_API Coefficient operator-(const Coefficient& a);
    friend DTK_API Coefficient sqrt(const Coefficient& a);
    friend DTK_API Coefficient square(const Coefficient& a);
    friend DTK_API Coefficient log(const Coefficient& a);
    friend DTK_API Coefficient exp(const Coefficient& a);
    /// a where the mask is above 0, else b.
    friend DTK_API Coefficient where(const Coefficient& mask, const Coefficient& a, const Coefficient& b);

    friend DTK_API Tensor operator*(const Coefficient& a, const Tensor& x);
    friend DTK_API Tensor operator*(const Tensor& x, const Coefficient& a);
    friend DTK_API Tensor operator/(const Tensor& x, const Coefficient& a);
    friend DTK_API Tensor operator+(const Tensor& x, const Coefficient& a);
};

/// a·x + b·y, in two operations instead of three.
DTK_API Tensor sum_of(const Coefficient& a, const Tensor& x, const Coefficient& b, const Tensor& y);

/// Real times of a batch, −1 … T−1: one for all rows or one for each. −1 is clean data.
class DTK_API Time {
 public:
    Time(double t) : value_(t) {}  // NOLINT: a number is a time
    Time(const Tensor& rows);      ///< [B], brought to float64 on the CPU // NOLINT: and so is a tensor of them

    bool uniform() const { return !rows_.defined(); }
    /// Errors: Error where the rows differ.
    double value() const;
    /// [B] float64 on the CPU.
    Tensor rows(std::int64_t batch) const;
    /// [B] float64 on the device of x, as a network is told.
    Tensor on(const Tensor& x) const;
    /// Rows first … first + n − 1; after the last row that row again.
    Time chunk(std::int64_t first, std::int64_t n) const;
    /// The times of this and then of the other: batch sizes n and m.
    static Time cat(const Time& a, std::int64_t n, const Time& b, std::int64_t m);
    Time minus(double step) const;

    /// f(t) of every row, computed on the host.
    template <class F>
    Coefficient map(F f) const {
        if (uniform()) return static_cast<double>(f(value_));
        auto out = at::empty_like(*rows_);
        const auto* t = rows_->const_data_ptr<double>();
        auto* to = out.mutable_data_ptr<double>();
        for (std::int64_t i = 0; i < rows_->numel(); ++i) to[i] = f(t[i]);
        return Coefficient::of_rows(out);
    }
    /// f(t, s) of every row.
    template <class F>
    Coefficient map(const Time& s, F f) const {
        if (uniform() && s.uniform()) return static_cast<double>(f(value_, s.value_));
        const auto n = uniform() ? s.rows_->numel() : rows_->numel();
        const auto a = rows(n), b = s.rows(n);
        auto out = at::empty_like(a);
        const auto *t = a.const_data_ptr<double>(), *u = b.const_data_ptr<double>();
        auto* to = out.mutable_data_ptr<double>();
        for (std::int64_t i = 0; i < n; ++i) to[i] = f(t[i], u[i]);
        return Coefficient::of_rows(out);
    }
    /// Does every row satisfy it?
    template <class F>
    bool all(F f) const {
        if (uniform()) return f(value_);
        for (std::int64_t i = 0; i < rows_->numel(); ++i)
            if (!f(rows_->const_data_ptr<double>()[i])) return false;
        return true;
    }

 private:
    double value_ = 0;
    RowValues rows_;
};

}  // namespace dtk
