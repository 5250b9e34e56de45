// Grids of 4×4 numbers, 0 … 3, whose rows, columns and 2×2 boxes hold each number once: a small sudoku, of which there
// are 288, each as likely as another. A sequence of 16 tokens of four categories, row by row, with log₂ 288 = 8.169925
// bits; a network that unmasks tokens one by one has to keep all three rules, and every mistake is seen.
#include <array>
#include <vector>

#include <dtk/build_context.hpp>
#include <dtk/categories.hpp>

namespace {

using at::Tensor;
using Grid = std::array<double, 16>;

/// May cell `at` hold `number`, as far as the cells before it are filled?
bool fits(const Grid& grid, std::size_t at, double number) {
    for (std::size_t cell = 0; cell < at; ++cell) {
        const bool row = cell / 4 == at / 4, column = cell % 4 == at % 4,
                   box = cell / 8 == at / 8 && cell % 4 / 2 == at % 4 / 2;
        if ((row || column || box) && grid[cell] == number) return false;
    }
    return true;
}

/// Every way to fill the grid from cell `at` on.
void fill(Grid& grid, std::size_t at, std::vector<double>& found) {
    if (at == grid.size()) {
        found.insert(found.end(), grid.begin(), grid.end());
        return;
    }
    for (int number = 0; number < 4; ++number)
        if (fits(grid, at, number)) {
            grid[at] = number;
            fill(grid, at + 1, found);
        }
}

/// → [288, 16]
Tensor all_grids() {
    Grid grid{};
    std::vector<double> found;
    fill(grid, 0, found);
    return at::tensor(found, at::kDouble).view({-1, static_cast<std::int64_t>(grid.size())});
}

struct Latin final : dtk::Dataset {
    explicit Latin(const dtk::BuildContext& context)
        : random_(context.random("dataset")), density_(all_grids()), grids_(density_.atoms().to(at::kFloat)) {}

    std::vector<std::int64_t> shape() const override { return {grids_.size(1)}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override { return drawn(random_.stream("train"), index); }
    dtk::Batch test_examples(const Tensor& index) const override { return drawn(random_.stream("test"), index); }
    std::optional<std::pair<double, double>> range() const override { return std::pair{0.0, 3.0}; }
    int levels() const override { return 4; }
    const dtk::Density* density() const override { return &density_; }

 private:
    dtk::Batch drawn(const dtk::Random& random, const Tensor& index) const {
        const auto which = random.samples(index).integers(grids_.size(0), {index.numel()});
        return {.x = grids_.index_select(0, which)};
    }

    dtk::Random random_;
    dtk::FiniteDensity density_;
    Tensor grids_;
};
}  // namespace

DTK_PLUGIN(Dataset, latin, Latin, "the 288 grids of 4×4 numbers whose rows, columns and boxes hold each number once")
