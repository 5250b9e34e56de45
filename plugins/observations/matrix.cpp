// y = A x + sd·z, A a matrix that is written out, x flattened.
#include <fmt/format.h>

#include <dtk/observation.hpp>

namespace {

using at::Tensor;

struct Matrix final : dtk::Observation {
    struct Config : dtk::Observation::Config {
        std::vector<dtk::Row> rows;
        void fields(dtk::Fields& f) {
            f.required("rows", rows, dtk::any_number(),
                       "A, a list for each number that is known, as in [[1, 1], [0, 2]]");
            dtk::Observation::Config::fields(f);
        }
    };
    Matrix(const Config& config, const dtk::BuildContext& context)
        : Matrix(config, context, checked(config, context)) {}

    Tensor of(const Tensor& x) const override {
        return x.flatten(1).matmul(A_.to(x.options(), /*non_blocking=*/true).t());
    }

 private:
    Matrix(const Config& config, const dtk::BuildContext& context, const Tensor& A)
        : Observation(config, context, A.size(0)), A_(A) {}

    static Tensor checked(const Config& c, const dtk::BuildContext& context) {
        const auto d = context.space().elements();
        std::vector<double> flat;
        for (std::size_t i = 0; i < c.rows.size(); ++i) {
            if (static_cast<std::int64_t>(c.rows[i].size()) != d)
                throw dtk::Error(
                    fmt::format("row {} of `rows` has {} numbers, and the data {}", i + 1, c.rows[i].size(), d),
                    "give one number for each element of the data");
            flat.insert(flat.end(), c.rows[i].begin(), c.rows[i].end());
        }
        const auto A = at::tensor(flat, at::kDouble).view({-1, d});
        const auto m = A.size(0),
                   rank = at::linalg_matrix_rank(A, 1e-10 * A.abs().max().item<double>()).item<std::int64_t>();
        if (c.sd == 0 && rank < m)
            throw dtk::Error(fmt::format("`rows` has {} rows of rank {}, so that exact values contradict each other or "
                                         "say a thing twice",
                                         m, rank),
                             "leave out rows that follow from others, or say in `sd` what error they have");
        if (c.sd == 0 && rank == d)
            throw dtk::Error("all of x follows from exact values of as many rows, so that nothing is left to be drawn",
                             "leave some rows out, or say in `sd` what error they have");
        return A;
    }

    Tensor A_;  ///< [m, d] float64
};
}  // namespace

DTK_PLUGIN(Observation, matrix, Matrix, "sums of the elements, a matrix times x")
