// Categories: their draws, and laws of finitely many vectors.
#include <dtk/categories.hpp>

#include <cmath>
#include <limits>
#include <numeric>

#include <fmt/format.h>

namespace dtk {

CategoricalProcess::~CategoricalProcess() = default;
FiniteDensity::~FiniteDensity() = default;

Tensor category_at(const Tensor& weights, const Tensor& u) {
    const auto upto = weights.cumsum(-1);
    const auto place = (u * upto.select(-1, -1)).unsqueeze(-1).contiguous();
    return at::searchsorted(upto, place, /*out_int32=*/false, /*right=*/true)
        .squeeze(-1)
        .clamp_max_(weights.size(-1) - 1);
}

const CategoricalProcess& categorical(const Process& process, const char* who) {
    if (const auto* found = dynamic_cast<const CategoricalProcess*>(&process)) return *found;
    throw Error(fmt::format("{} needs a process of categories", who),
                "use process `categorical` with data that come in levels, such as latin, text or heartbeat");
}

FiniteDensity::FiniteDensity(Tensor atoms, std::vector<double> weights)
    : atoms_(std::move(atoms)), weights_(std::move(weights)) {
    if (weights_.empty()) weights_.assign(static_cast<std::size_t>(atoms_.size(0)), 1);
    const double sum = std::accumulate(weights_.begin(), weights_.end(), 0.0);
    for (auto& weight : weights_) {
        if (!(weight > 0)) throw Error(fmt::format("a weight of {} is not above 0", weight), "leave that vector out");
        weight /= sum;
    }
    log_weights_ = at::tensor(weights_, at::kDouble).log();
}

Tensor FiniteDensity::nearest_mode(const Tensor& x) const {
    const auto atoms = atoms_.to(x.options(), /*non_blocking=*/true);
    return (atoms.square().sum(1) - 2 * x.matmul(atoms.t())).argmin(1);
}

Tensor FiniteDensity::log_prob(const Tensor& x) const {
    const auto nearest = nearest_mode(x);
    const auto alike = (x == atoms_.to(x.options(), /*non_blocking=*/true).index_select(0, nearest)).all(1);
    const auto log_weight = log_weights_.to(x.options(), /*non_blocking=*/true).index_select(0, nearest);
    return at::where(alike, log_weight, -std::numeric_limits<double>::infinity()).to(x.scalar_type());
}

Tensor FiniteDensity::posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
    const auto atoms = atoms_.to(x.options(), /*non_blocking=*/true);
    const auto a = alpha.unsqueeze(1).to(x.options()), s2 = sigma.unsqueeze(1).to(x.options()).square();
    const auto energy = a * x.matmul(atoms.t()) - 0.5 * a.square() * atoms.square().sum(1);
    // Without noise all that is left is the nearest vector.
    const double least =
        x.scalar_type() == at::kDouble ? std::numeric_limits<double>::min() : double{std::numeric_limits<float>::min()};
    const auto logit = (energy - energy.amax(1, /*keepdim=*/true)) / s2.clamp_min(least) +
                       log_weights_.to(x.options(), /*non_blocking=*/true);
    return logit.softmax(1).matmul(atoms);
}

double FiniteDensity::entropy() const { return -(log_weights_.exp() * log_weights_).sum().item<double>(); }

double FiniteDensity::log_prob_sd() const {
    return std::sqrt((log_weights_.exp() * (log_weights_ + entropy()).square()).sum().item<double>());
}

}  // namespace dtk
