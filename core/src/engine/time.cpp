// Times of a batch and the coefficients that follow from them.
#include <dtk/time.hpp>

#include <dtk/error.hpp>

namespace dtk {

RowValues::RowValues(Tensor rows) : rows_(std::move(rows)), copy_(std::make_shared<Tensor>()) {}

Tensor RowValues::on(at::Device device) const {
    if (rows_.device() == device) return rows_;
    if (!copy_->defined() || copy_->device() != device) *copy_ = rows_.to(device, /*non_blocking=*/true);
    return *copy_;
}

Coefficient Coefficient::of_rows(Tensor rows) {
    Coefficient c(0);
    c.rows_ = RowValues(std::move(rows));
    return c;
}

double Coefficient::value() const {
    if (!uniform()) throw Error("a coefficient that differs from row to row was asked for one value");
    return value_;
}

Tensor Coefficient::tensor_like(const Coefficient& other) const {
    if (!uniform()) return other.uniform() ? *rows_ : rows_.on(other.rows_->device());
    return at::full({}, value_, other.rows_->options());
}

Tensor Coefficient::rows(const Tensor& x) const {
    if (uniform()) return at::full({x.size(0)}, value_, x.options().dtype(at::kDouble));
    return rows_.on(x.device());
}

Tensor Coefficient::beside(const Tensor& x) const {
    if (uniform()) return at::full({}, value_, x.options());
    std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
    sizes[0] = -1;
    return rows_.on(x.device()).to(x.scalar_type()).view(sizes);
}

Coefficient operator+(const Coefficient& a, const Coefficient& b) {
    return Coefficient::apply(
        a, b, [](double x, double y) { return x + y; }, [](const Tensor& x, const Tensor& y) { return x + y; });
}
Coefficient operator-(const Coefficient& a, const Coefficient& b) {
    return Coefficient::apply(
        a, b, [](double x, double y) { return x - y; }, [](const Tensor& x, const Tensor& y) { return x - y; });
}
Coefficient operator*(const Coefficient& a, const Coefficient& b) {
    return Coefficient::apply(
        a, b, [](double x, double y) { return x * y; }, [](const Tensor& x, const Tensor& y) { return x * y; });
}
Coefficient operator/(const Coefficient& a, const Coefficient& b) {
    return Coefficient::apply(
        a, b, [](double x, double y) { return x / y; }, [](const Tensor& x, const Tensor& y) { return x / y; });
}
Coefficient operator-(const Coefficient& a) {
    return Coefficient::apply(
        a, [](double x) { return -x; }, [](const Tensor& x) { return -x; });
}
Coefficient sqrt(const Coefficient& a) {
    return Coefficient::apply(
        a, [](double x) { return std::sqrt(x); }, [](const Tensor& x) { return x.sqrt(); });
}
Coefficient square(const Coefficient& a) { return a * a; }
Coefficient log(const Coefficient& a) {
    return Coefficient::apply(
        a, [](double x) { return std::log(x); }, [](const Tensor& x) { return x.log(); });
}
Coefficient exp(const Coefficient& a) {
    return Coefficient::apply(
        a, [](double x) { return std::exp(x); }, [](const Tensor& x) { return x.exp(); });
}

Coefficient where(const Coefficient& mask, const Coefficient& a, const Coefficient& b) {
    if (mask.uniform()) return mask.value_ > 0 ? a : b;
    if (a.uniform() && b.uniform() && a.value_ == b.value_) return a;
    const auto& other = a.uniform() ? (b.uniform() ? mask : b) : a;
    const auto chosen = mask.rows_.on(other.rows_->device()) > 0;
    return Coefficient::of_rows(at::where(chosen, a.tensor_like(other), b.tensor_like(other)));
}

Tensor operator*(const Coefficient& a, const Tensor& x) { return a.uniform() ? x * a.value() : a.beside(x) * x; }
Tensor operator*(const Tensor& x, const Coefficient& a) { return a * x; }
Tensor operator/(const Tensor& x, const Coefficient& a) {
    return a.uniform() ? at::div(x, at::Scalar(a.value())) : at::div(x, a.beside(x));
}
Tensor operator+(const Tensor& x, const Coefficient& a) {
    return a.uniform() ? at::add(x, a.value()) : at::add(x, a.beside(x));
}

namespace {
template <class T>
Tensor mixed(const Tensor& a, const Tensor& x, const Tensor& b, const Tensor& y) {
    auto out = at::empty_like(x);
    const auto rows = x.size(0), n = rows > 0 ? x.numel() / rows : 0;
    const auto *of_x = a.const_data_ptr<double>(), *of_y = b.const_data_ptr<double>();
    const auto *from_x = x.const_data_ptr<T>(), *from_y = y.const_data_ptr<T>();
    auto* to = out.mutable_data_ptr<T>();
    for (std::int64_t row = 0; row < rows; ++row) {
        const auto s = static_cast<T>(of_x[row]), t = static_cast<T>(of_y[row]);
        for (auto i = row * n; i < (row + 1) * n; ++i) to[i] = s * from_x[i] + t * from_y[i];
    }
    return out;
}

/// Numbers on the host that nobody differentiates.
bool is_plain(const Tensor& x, at::ScalarType type) {
    return x.is_cpu() && x.layout() == at::kStrided && x.scalar_type() == type && x.is_contiguous() &&
           !x._fw_grad(/*level=*/0).defined() && !(at::GradMode::is_enabled() && x.requires_grad());
}
}  // namespace

Tensor sum_of(const Coefficient& a, const Tensor& x, const Coefficient& b, const Tensor& y) {
    if (!a.uniform() && !b.uniform() && (x.scalar_type() == at::kFloat || x.scalar_type() == at::kDouble) &&
        x.dim() > 0 && x.sizes() == y.sizes() && is_plain(x, x.scalar_type()) && is_plain(y, x.scalar_type())) {
        const auto of_x = a.rows(x), of_y = b.rows(y);
        if (is_plain(of_x, at::kDouble) && is_plain(of_y, at::kDouble) && of_x.size(0) == x.size(0) &&
            of_y.size(0) == x.size(0))
            return x.scalar_type() == at::kFloat ? mixed<float>(of_x, x, of_y, y) : mixed<double>(of_x, x, of_y, y);
    }
    return b.uniform() ? at::add(a * x, y, b.value()) : a * x + b * y;
}

Time::Time(const Tensor& rows) : rows_(rows.to(at::TensorOptions(at::kCPU).dtype(at::kDouble)).contiguous()) {}

double Time::value() const {
    if (!uniform()) throw Error("times that differ from row to row were asked for one value");
    return value_;
}

Tensor Time::rows(std::int64_t batch) const { return uniform() ? at::full({batch}, value_, at::kDouble) : *rows_; }

Tensor Time::on(const Tensor& x) const {
    if (uniform()) return at::full({x.size(0)}, value_, x.options().dtype(at::kDouble));
    return rows_.on(x.device());
}

Time Time::chunk(std::int64_t first, std::int64_t n) const {
    if (uniform()) return *this;
    const auto last = rows_->numel() - 1;
    return Time(rows_->index_select(0, at::arange(first, first + n, at::kLong).clamp_max(last)));
}

Time Time::cat(const Time& a, std::int64_t n, const Time& b, std::int64_t m) {
    if (a.uniform() && b.uniform() && a.value_ == b.value_) return a;
    return Time(at::cat({a.rows(n), b.rows(m)}));
}

Time Time::minus(double step) const { return uniform() ? Time(value_ - step) : Time(*rows_ - step); }

}  // namespace dtk
