// The linear assignment problem, exactly and with entropy.
#include <dtk/assignment.hpp>

#include <cmath>
#include <limits>

namespace dtk {

std::vector<std::int64_t> cheapest_pairs(const Tensor& cost) {
    const auto n = cost.size(0);
    const auto costs = cost.contiguous();
    const auto* c = costs.const_data_ptr<double>();
    constexpr double endless = std::numeric_limits<double>::infinity();
    constexpr std::int64_t none = -1;
    std::vector<double> row_price(n, 0), column_price(n, 0);  // c − row − column ≥ 0, and 0 on every pair
    std::vector<std::int64_t> row_of(n, none);

    for (std::int64_t start = 0; start < n; ++start) {
        // The shortest way from the row to a column that is free, going back along pairs (Dijkstra).
        std::vector<double> distance(n, endless);
        std::vector<std::int64_t> came_from(n, none);  // the column before on the way, none at its start
        std::vector<bool> reached(n, false);
        std::vector<std::int64_t> tree;
        std::int64_t row = start, last = none, free = none;
        double length = 0;
        while (free == none) {
            std::int64_t nearest = none;
            for (std::int64_t j = 0; j < n; ++j) {
                if (reached[j]) continue;
                const double there = length + c[row * n + j] - row_price[row] - column_price[j];
                if (there < distance[j]) distance[j] = there, came_from[j] = last;
                if (nearest == none || distance[j] < distance[nearest]) nearest = j;
            }
            length = distance[nearest];
            reached[nearest] = true;
            if (row_of[nearest] == none) {
                free = nearest;
            } else {
                tree.push_back(nearest);
                last = nearest, row = row_of[nearest];
            }
        }

        row_price[start] += length;
        for (const auto j : tree) {
            row_price[row_of[j]] += length - distance[j];
            column_price[j] -= length - distance[j];
        }
        while (came_from[free] != none) {
            row_of[free] = row_of[came_from[free]];
            free = came_from[free];
        }
        row_of[free] = start;
    }
    std::vector<std::int64_t> column_of(n);
    for (std::int64_t j = 0; j < n; ++j) column_of[row_of[j]] = j;
    return column_of;
}

Tensor sinkhorn_plan(const Tensor& cost, const Tensor& epsilon, std::int64_t iterations) {
    const auto log_n = std::log(static_cast<double>(cost.size(0)));
    const auto kernel = -cost / epsilon;
    auto u = at::zeros({cost.size(0), 1}, cost.options()), v = at::zeros({1, cost.size(1)}, cost.options());
    for (std::int64_t i = 0; i < iterations; ++i) {
        v = -log_n - (kernel + u).logsumexp(0, true);
        u = -log_n - (kernel + v).logsumexp(1, true);
    }
    return (kernel + u + v).exp();
}

}  // namespace dtk
