// Sequences of bits with a 1 at every `period`-th place, from a first place that is drawn: x_i = [i ≡ j (mod period)],
// j ~ U{0 … period−1}. Sohl-Dickstein et al., "Deep Unsupervised Learning using Nonequilibrium Thermodynamics", 2015,
// appendix D.1.2: length 20, period 5, five sequences of log₂ 5 = 2.32193 bits.
#include <cmath>

#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>

namespace {

using at::Tensor;

/// Some vectors, each as likely as any other.
class EqualAtoms final : public dtk::Density {
 public:
    explicit EqualAtoms(Tensor atoms) : atoms_(std::move(atoms)) {}  // [K, d] float64

    Tensor log_prob(const Tensor& x) const override {
        const auto is_one = (x.unsqueeze(1) == atoms_.to(x.options(), /*non_blocking=*/true)).all(2).any(1);
        return (is_one.to(at::kDouble).log() - entropy()).to(x.options());
    }
    Tensor posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override {
        const auto atoms = atoms_.to(x.options(), /*non_blocking=*/true);
        const auto a = alpha.unsqueeze(1).to(x.options()), s2 = sigma.unsqueeze(1).to(x.options()).square();
        const auto logit = (a * x.matmul(atoms.t()) - 0.5 * a.square() * atoms.square().sum(1)) / s2;
        return logit.softmax(1).matmul(atoms);
    }
    double entropy() const override { return std::log(static_cast<double>(atoms_.size(0))); }
    double log_prob_sd() const override { return 0; }
    std::vector<double> mode_weights() const override {
        return std::vector<double>(static_cast<std::size_t>(atoms_.size(0)), 1 / static_cast<double>(atoms_.size(0)));
    }
    Tensor nearest_mode(const Tensor& x) const override {
        return (x.unsqueeze(1) - atoms_.to(x.options(), /*non_blocking=*/true)).square().sum(2).argmin(1);
    }

 private:
    Tensor atoms_;
};

struct Heartbeat final : dtk::Dataset {
    struct Config {
        std::int64_t length = 20, period = 5;
        void fields(dtk::Fields& f) {
            f("length", length, dtk::at_least(1), "bits of a sequence");
            f("period", period, dtk::at_least(1), "places from one 1 to the next");
        }
    } c;
    Heartbeat(const Config& config, const dtk::BuildContext& context)
        : c(config), random_(context.random("dataset")), density_(beats(at::arange(c.period)).to(at::kDouble)) {
        if (c.period > c.length)
            throw dtk::Error(
                fmt::format("a `period` of {} leaves some sequences of `length` {} without a 1", c.period, c.length),
                "make `length` a multiple of `period`");
    }

    std::vector<std::int64_t> shape() const override { return {c.length}; }
    std::int64_t size() const override { return 0; }
    dtk::Batch examples(const Tensor& index) const override { return drawn(random_.stream("train"), index); }
    dtk::Batch test_examples(const Tensor& index) const override { return drawn(random_.stream("test"), index); }
    const dtk::Density* density() const override { return &density_; }

 private:
    Tensor beats(const Tensor& first) const {
        return (at::arange(c.length).remainder(c.period) == first.unsqueeze(1)).to(at::kFloat);
    }
    dtk::Batch drawn(const dtk::Random& random, const Tensor& index) const {
        return {beats(random.samples(index).integers(c.period, {index.numel()})), Tensor()};
    }

    dtk::Random random_;
    EqualAtoms density_;
};
}  // namespace

DTK_PLUGIN(Dataset, heartbeat, Heartbeat,
           "bits with a 1 at every fifth place, five sequences in all (Sohl-Dickstein et al. 2015)")
