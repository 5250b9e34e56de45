// The variance of a reverse step from a network's second output.
#include <dtk/learned_variance.hpp>

#include <dtk/distillation.hpp>

namespace dtk {

LearnedVariance::LearnedVariance(const std::string& how, const Process& process)
    : how_(how == "range"    ? How::range
           : how == "direct" ? How::direct
                             : How::fixed) {
    if (how_ == How::fixed) return;
    process_ = &gaussian(process, "a learned variance");
    if (process.steps() < 2) throw Error("with one step there is no variance to learn", "use variance = \"fixed\"");
}

Prediction LearnedVariance::operator()(PredictionType type, const Tensor& output, const Tensor& x,
                                       const Time& t) const {
    const auto answer = output.to(x.scalar_type());
    if (how_ == How::fixed) {
        const auto value = answer.contiguous();
        return {type, value.sizes() == x.sizes() ? value : value.view_as(x), {}};
    }
    const auto parts = answer.chunk(outputs(), 1);
    const auto value = parts[0].contiguous().view_as(x);
    const auto v = parts[1].contiguous().view_as(x);
    if (how_ == How::direct) return {type, value, v.exp()};

    const auto later = not_before(1, t), before = later.minus(1);
    const auto log_beta = process_->forward(x, not_before(-1, t.minus(1)), t).variance.log();
    const auto log_posterior = process_->forward(x, before, later).variance.log() +
                               (2 * log(process_->sigma(before) / process_->sigma(later))).beside(x);
    const auto f = (v + 1) / 2;
    return {type, value, (f * log_beta + (1 - f) * log_posterior).exp()};
}

}  // namespace dtk
