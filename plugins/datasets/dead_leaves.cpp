// Dead leaves: discs that lie on each other, their centres anywhere, their radii of p(r) ∝ r⁻³ between r_min and r_max,
// each of one grey a ~ U(0, 1). A pixel shows the topmost disc over its centre, and a little noise, without which the
// density has no bound:
//   x = √(12/(1 + noise²)) · (a − ½ + noise·(v − ½)),  v ~ U(0, 1), which has mean 0 and variance 1 at every pixel.
// Lee, Mumford & Huang, "Occlusion Models for Natural Images", 2001; images such as Sohl-Dickstein et al. 2015 train
// on.
//
// Discs are drawn from the top down until no pixel is free, which is exactly the law of the endless heap (Kendall &
// Thönnes, "Perfect simulation in stochastic geometry", 1999). Those that may be seen have their centres in the square
// of pixel centres, L wide, blown up by r on all sides; so radii are drawn from r⁻³(L + 2r)² = L² r⁻³ + 4L r⁻² + 4 r⁻¹
// and centres evenly from that square.
//
// Two pixels at distance d show the same disc with probability γ(d)/(2γ(0) − γ(d)), γ(d) the mean area that a disc
// shares with itself moved by d: the first disc that covers either must cover both. Without noise that is their
// correlation.
#include <algorithm>
#include <cmath>
#include <vector>

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>

namespace {

using at::Tensor;

struct Disc {
    double x, y, r;  ///< pixels; a pixel's centre lies at whole numbers
    float grey;
};

/// The discs that may be seen.
class Heap {
 public:
    Heap(std::int64_t size, double r_min, double r_max)
        : side_(static_cast<double>(size - 1)),
          r_min_(r_min),
          r_max_(r_max),
          cubic_(side_ * side_ * (1 / (r_min * r_min) - 1 / (r_max * r_max)) / 2),
          square_(4 * side_ * (1 / r_min - 1 / r_max)),
          simple_(4 * std::log(r_max / r_min)) {}

    /// From four numbers in [0, 1).
    Disc disc(const double* u) const {
        const double r = radius(u[0]);
        return {(side_ + 2 * r) * u[1] - r, (side_ + 2 * r) * u[2] - r, r, static_cast<float>(u[3])};
    }

 private:
    double radius(double u) const {
        double left = u * (cubic_ + square_ + simple_);
        if (left < cubic_) return 1 / std::sqrt(1 / (r_min_ * r_min_) - 2 * left / (side_ * side_));
        left -= cubic_;
        if (left < square_) return 1 / (1 / r_min_ - left / (4 * side_));
        return std::min(r_min_ * std::exp((left - square_) / 4), r_max_);
    }

    double side_, r_min_, r_max_;
    double cubic_, square_, simple_;  ///< ∫ of the three powers of r
};

constexpr float nothing = -1;  ///< the grey of a free pixel

/// Shows the disc where nothing lies over it. pixels: [size][size] → how many it was seen on
std::int64_t show(const Disc& disc, float* pixels, std::int64_t size) {
    const auto between = [&](double low, double high) {
        return std::pair{std::max<std::int64_t>(static_cast<std::int64_t>(std::ceil(low)), 0),
                         std::min<std::int64_t>(static_cast<std::int64_t>(std::floor(high)), size - 1)};
    };
    std::int64_t seen = 0;
    const auto [top, bottom] = between(disc.y - disc.r, disc.y + disc.r);
    for (auto i = top; i <= bottom; ++i) {
        const double dy = static_cast<double>(i) - disc.y, half = std::sqrt(std::max(disc.r * disc.r - dy * dy, 0.0));
        const auto [first, last] = between(disc.x - half, disc.x + half);
        for (auto j = first; j <= last; ++j) {
            auto& pixel = pixels[i * size + j];
            if (pixel != nothing) continue;
            pixel = disc.grey;
            ++seen;
        }
    }
    return seen;
}

struct DeadLeaves final : dtk::Dataset {
    struct Config {
        std::int64_t size = 16;
        double r_min = 2, r_max = 16, noise = 1.0 / 255;
        void fields(dtk::Fields& f) {
            f("size", size, dtk::in(2, 1024), "height and width, pixels");
            f("r_min", r_min, dtk::in(0.1, 1000), "least radius of a disc, pixels");
            f("r_max", r_max, dtk::above(0), "greatest radius, pixels");
            f("noise", noise, dtk::in(0, 1),
              "width of the uniform noise on every pixel, as a share of the range of greys");
            f.require(r_min < r_max, "r_min", fmt::format("= {} is not below `r_max` = {}", r_min, r_max),
                      "radii need a range");
        }
    } c;

    DeadLeaves(const Config& config, const dtk::BuildContext& context)
        : c(config),
          random_(context.random("dataset")),
          heap_(config.size, config.r_min, config.r_max),
          scale_(std::sqrt(12 / (1 + config.noise * config.noise))) {}

    std::vector<std::int64_t> shape() const override { return {1, c.size, c.size}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override { return drawn(random_.stream("train"), index); }
    dtk::Batch test_examples(const Tensor& index) const override { return drawn(random_.stream("test"), index); }
    std::optional<std::pair<double, double>> range() const override {
        const double most = scale_ * (1 + c.noise) / 2;
        return std::pair{-most, most};
    }

 private:
    static constexpr std::int64_t portion = 64;  ///< discs drawn at a time

    dtk::Batch drawn(const dtk::Random& random, const Tensor& index) const {
        const auto n = index.numel(), pixels = c.size * c.size;
        auto x = at::full({n, 1, c.size, c.size}, nothing, at::kFloat);
        std::vector<std::int64_t> free(static_cast<std::size_t>(n), pixels), open(static_cast<std::size_t>(n));
        for (std::int64_t i = 0; i < n; ++i) open[i] = i;
        auto* image = x.mutable_data_ptr<float>();
        for (std::int64_t turn = 0; !open.empty(); ++turn) {
            const auto of_open = index.index_select(0, at::tensor(open, at::kLong));
            const auto drawn =
                random.stream("discs").step(turn).samples(of_open).uniform({of_open.numel(), 4 * portion}, at::kDouble);
            const auto* u = drawn.const_data_ptr<double>();
            at::parallel_for(0, of_open.numel(), 32, [&](std::int64_t begin, std::int64_t end) {
                for (auto k = begin; k < end; ++k)
                    for (std::int64_t d = 0; d < portion && free[open[k]] > 0; ++d)
                        free[open[k]] -= show(heap_.disc(u + 4 * (k * portion + d)), image + open[k] * pixels, c.size);
            });
            std::erase_if(open, [&](std::int64_t i) { return free[i] == 0; });
        }
        const auto v = random.stream("noise").samples(index).uniform(x.sizes(), at::kFloat);
        return {x.add_(v, c.noise).sub_((1 + c.noise) / 2).mul_(scale_), Tensor()};
    }

    dtk::Random random_;
    Heap heap_;
    double scale_;
};

}  // namespace

DTK_PLUGIN(Dataset, dead_leaves, DeadLeaves,
           "images of discs that occlude each other, without end (Lee, Mumford & Huang 2001)")
