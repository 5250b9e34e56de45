// A mixture of Gaussians, given component by component or by the name of a ready-made one. Its density and best
// denoiser stand in dtk/normal_mixture.hpp.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <dtk/build_context.hpp>
#include <dtk/normal_mixture.hpp>
#include <numbers>

namespace {

using at::Tensor;

/// What a file says of a mixture, or what a preset says in its stead.
struct Components {
    std::vector<double> weights = {};
    std::vector<dtk::Row> means = {}, covariances = {};
    std::vector<double> std = {};
};

Components ring8() {
    Components ring{.std = {0.2}};
    for (int k = 0; k < 8; ++k) {
        const double angle = 2 * std::numbers::pi * k / 8;
        ring.means.push_back({2 * std::cos(angle), 2 * std::sin(angle)});
    }
    return ring;
}

Components grid25() {
    Components grid{.std = {0.1}};
    for (const double x : {-2, -1, 0, 1, 2})
        for (const double y : {-2, -1, 0, 1, 2}) grid.means.push_back({x, y});
    return grid;
}

Components preset_of(const std::string& name) {
    if (name == "ring8") return ring8();
    if (name == "grid25") return grid25();
    if (name == "gmm1d")
        return {.weights = {0.3, 0.5, 0.2}, .means = {{-2}, {0.5}, {3}}, .covariances = {{0.25}, {0.09}, {0.5}}};
    return {.weights = {0.5, 0.3, 0.2},
            .means = {{-1.5, 0}, {1, 1.5}, {1.5, -1.5}},
            .covariances = {{0.2, 0.12, 0.12, 0.3}, {0.1, -0.05, -0.05, 0.15}, {0.4, 0, 0, 0.05}}};
}

Tensor weights_of(const Components& c) {
    const auto k = c.means.size();
    if (c.weights.empty()) return at::full({static_cast<std::int64_t>(k)}, 1.0 / static_cast<double>(k), at::kDouble);
    if (c.weights.size() != k)
        throw dtk::Error(fmt::format("{} `weights` for {} `means`", c.weights.size(), k),
                         "give one weight per row of `means`");
    const auto weights = at::tensor(c.weights, at::kDouble);
    const double sum = weights.sum().item<double>();
    if (std::abs(sum - 1) > 1e-6)
        throw dtk::Error(fmt::format("the `weights` sum to {}, not to 1", sum), "divide each by that sum");
    return weights / sum;
}

Tensor means_of(const Components& c) {
    if (c.means.empty())
        throw dtk::Error("`means` is empty",
                         "give one row per component, as in means = [[-1, 0], [1, 0]], or name a `preset`");
    std::vector<double> flat;
    const auto d = c.means.front().size();
    for (std::size_t k = 0; k < c.means.size(); ++k) {
        if (c.means[k].size() != d || d == 0)
            throw dtk::Error(
                fmt::format("row {} of `means` has {} numbers, the first has {}", k + 1, c.means[k].size(), d),
                "give every mean as many numbers as the data have dimensions");
        flat.insert(flat.end(), c.means[k].begin(), c.means[k].end());
    }
    return at::tensor(flat, at::kDouble).reshape({-1, static_cast<std::int64_t>(d)});
}

void check_count(const char* field, std::size_t given, std::int64_t components) {
    if (given != 1 && static_cast<std::int64_t>(given) != components)
        throw dtk::Error(fmt::format("{} `{}` for {} `means`", given, field, components),
                         "give one per component, or a single one for all");
}

/// The covariance of one component. Errors: Error unless it is symmetric and positive definite.
Tensor covariance_of(const dtk::Row& row, std::size_t number, std::int64_t d) {
    if (static_cast<std::int64_t>(row.size()) != d * d)
        throw dtk::Error(fmt::format("row {} of `covariances` has {} numbers, not {}", number, row.size(), d * d),
                         fmt::format("a covariance in {} dimensions is {}·{} numbers, row after row", d, d, d));
    const auto c = at::tensor(row, at::kDouble).reshape({d, d});
    if ((c - c.t()).abs().max().item<double>() > 1e-9 * c.abs().max().item<double>())
        throw dtk::Error(fmt::format("row {} of `covariances` is not symmetric", number),
                         "entry i, j must equal entry j, i");
    const double least = at::linalg_eigvalsh(c).min().item<double>();
    if (!(least > 0))
        throw dtk::Error(fmt::format("row {} of `covariances` is not positive definite: its least eigenvalue is {:.6g}",
                                     number, least),
                         "shrink its entries off the diagonal");
    return c;
}

Tensor covariances_of(const Components& c, std::int64_t components, std::int64_t d) {
    if (c.covariances.empty() == c.std.empty())
        throw dtk::Error(
            c.std.empty() ? "neither `covariances` nor `std` is given" : "both `covariances` and `std` are given",
            "give one of them, as in std = [0.2]");
    std::vector<Tensor> all;
    for (std::size_t k = 0; k < c.covariances.size(); ++k) all.push_back(covariance_of(c.covariances[k], k + 1, d));
    for (const double s : c.std) all.push_back(at::eye(d, at::kDouble) * (s * s));
    check_count(c.std.empty() ? "covariances" : "std", all.size(), components);
    return at::stack(all).expand({components, d, d}).contiguous();
}

struct GaussianMixture final : dtk::Dataset {
    struct Config : Components {
        std::string preset = "gmm2d";
        bool labels = false;
        void fields(dtk::Fields& f) {
            f("preset", preset, {"gmm2d", "gmm1d", "ring8", "grid25", "none"},
              "a ready-made mixture; none: the fields below");
            f("weights", weights, dtk::above(0), "of the components, with sum 1; empty: all equal");
            f("means", means, dtk::any_number(), "one row per component");
            f("covariances", covariances, dtk::any_number(), "one row of d·d numbers per component, or one for all");
            f("std", std, dtk::above(0), "instead of covariances: one number per component, or one for all");
            f("labels", labels, "label each example with its component");
        }
    };

    GaussianMixture(const Config& config, const dtk::BuildContext& context)
        : labels_(config.labels), random_(context.random("dataset")) {
        const auto c = config.preset == "none" ? Components(config) : preset_of(config.preset);
        if (config.preset != "none" &&
            !(config.weights.empty() && config.means.empty() && config.covariances.empty() && config.std.empty()))
            throw dtk::Error(
                fmt::format("preset = \"{}\" already says which components the mixture has", config.preset),
                "write preset = \"none\" to give weights, means, covariances or std");
        means_ = means_of(c);
        const auto weights = weights_of(c), covariances = covariances_of(c, means_.size(0), means_.size(1));
        cumulative_ = weights.cumsum(0);
        factor_ = at::linalg_cholesky(covariances).contiguous();  // lower triangles
        density_ = dtk::normal_mixture(weights, means_, covariances);
    }

    std::vector<std::int64_t> shape() const override { return {means_.size(1)}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override {
        return drawn(random_.stream("train").samples(index), index.numel());
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        return drawn(random_.stream("test").samples(index), index.numel());
    }
    std::int64_t classes() const override { return labels_ ? means_.size(0) : 0; }
    const dtk::Density* density() const override { return density_.get(); }

 private:
    dtk::Batch drawn(const dtk::Random& random, std::int64_t n) const {
        const auto d = means_.size(1), last = means_.size(0) - 1;
        const auto u = random.uniform({n}, at::kDouble), z = random.normal({n, d}, at::kDouble);
        auto x = at::empty({n, d}, at::kFloat), k = at::empty({n}, at::kLong);
        const auto *share = u.const_data_ptr<double>(), *upto = cumulative_.const_data_ptr<double>(),
                   *mean = means_.const_data_ptr<double>(), *factor = factor_.const_data_ptr<double>();
        auto* component = k.mutable_data_ptr<std::int64_t>();
        auto* to = x.mutable_data_ptr<float>();
        for (std::int64_t row = 0; row < n; ++row) {
            const auto c = std::min<std::int64_t>(std::upper_bound(upto, upto + last + 1, share[row]) - upto, last);
            component[row] = c;
            const auto* normal = z.const_data_ptr<double>() + row * d;
            for (std::int64_t i = 0; i < d; ++i) {
                double place = mean[c * d + i];
                for (std::int64_t j = 0; j <= i; ++j) place += factor[(c * d + i) * d + j] * normal[j];
                *to++ = static_cast<float>(place);
            }
        }
        return {x, labels_ ? k : Tensor()};
    }

    bool labels_;
    dtk::Random random_;
    Tensor means_, cumulative_, factor_;
    std::shared_ptr<dtk::Density> density_;
};

}  // namespace

DTK_PLUGIN(Dataset, gaussian_mixture, GaussianMixture,
           "a mixture of Gaussians, whose density and best denoiser are known")
