#include <dtk/power_average.hpp>

#include <cmath>

#include <fmt/format.h>
#include <boost/math/tools/toms748_solve.hpp>
#include <boost/numeric/ublas/lu.hpp>

#include <dtk/error.hpp>

namespace dtk {

namespace {
// The profiles of many snapshots are nearly dependent: with 64 of two widths the matrix has condition 1.6e6.
using Real = long double;

/// ∫ p q dt
Real product(const PowerProfile& p, const PowerProfile& q) {
    if (p.end > q.end) return product(q, p);
    const Real a = p.power, b = q.power;
    return (a + 1) * (b + 1) / (a + b + 1) * std::pow(Real(p.end) / Real(q.end), b) / Real(q.end);
}
}  // namespace

double power_of_width(double width) {
    const double variance = width * width;
    if (!(width > 0 && variance < 1.0 / 12))
        throw Error(fmt::format("no power of the time has a profile of width {:g}", width),
                    "widths are shares of the training, above 0 and below 0.288");
    const auto off = [&](double g) { return (g + 1) / ((g + 2) * (g + 2) * (g + 3)) - variance; };
    boost::uintmax_t most = 200;
    const auto [a, b] =
        boost::math::tools::toms748_solve(off, 0.0, 1e9, boost::math::tools::eps_tolerance<double>(50), most);
    return (a + b) / 2;
}

std::vector<double> nearest_combination(const std::vector<PowerProfile>& of, const PowerProfile& wanted) {
    namespace ublas = boost::numeric::ublas;
    const auto n = of.size();
    ublas::matrix<Real> products(n, n);
    ublas::vector<Real> x(n);
    for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < n; ++j) products(i, j) = product(of[i], of[j]);
        x(i) = product(of[i], wanted);
    }
    ublas::permutation_matrix<std::size_t> order(n);
    if (ublas::lu_factorize(products, order) != 0)
        throw Error("two of the averages to be combined are the same", "leave one of them out");
    ublas::lu_substitute(products, order, x);
    return {x.begin(), x.end()};
}

double relative_distance(const std::vector<PowerProfile>& of, const std::vector<double>& x,
                         const PowerProfile& wanted) {
    const Real whole = product(wanted, wanted);
    Real square = whole;
    for (std::size_t i = 0; i < of.size(); ++i) {
        square -= 2 * x[i] * product(of[i], wanted);
        for (std::size_t j = 0; j < of.size(); ++j) square += Real(x[i]) * x[j] * product(of[i], of[j]);
    }
    return static_cast<double>(std::sqrt(std::max<Real>(0, square) / whole));
}

}  // namespace dtk
