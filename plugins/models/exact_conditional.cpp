// x̂_0 = E[x_0 | x_t, y] from the posterior p(x_0 | y) of data of which something is known: what follows is the score of
// q(x_t | y), so that any sampler draws from p(x_0 | y) up to its own error in steps. That is the h-transform,
//   ∇ log q(x_t | y) = ∇ log q(x_t) + ∇ log E[r(x_0) | x_t],   r(x_0) = p(y | x_0),
// in which r(x_t) of Sohl-Dickstein et al. 2015, section 2.5, is replaced by what y says of x_t. Where y is exact the
// known elements answer y themselves, and the law of the others is all that is asked.
#include <dtk/dataset.hpp>
#include <dtk/model.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct ExactConditional final : dtk::Model {
    explicit ExactConditional(const dtk::View& view)
        : process_(dtk::gaussian(view.process(), "exact_conditional")),
          seen_(dtk::observation(view.dataset(), "exact_conditional")) {
        if (!seen_.posterior)
            throw dtk::Error(
                "exact_conditional needs the law of the data given what is known of them, and nobody has worked it out",
                "use data that know it, such as gaussian_mixture, or sampler repaint with another model");
        left_ = &constant("left",
                          (seen_.sd > 0 ? at::ones_like(seen_.known) : 1 - seen_.known).flatten().nonzero().flatten());
        value_ = &constant("value", seen_.value.flatten());
    }

    dtk::PredictionType predicts() const override { return dtk::PredictionType::x0; }

    dtk::Prediction forward(const Tensor& xt, const dtk::Time& t, const dtk::Condition&) override {
        const auto x = xt.flatten(1).to(at::kDouble);
        const auto left = seen_.posterior->posterior_mean(x.index_select(1, *left_), process_.alpha(t).rows(x),
                                                          process_.sigma(t).rows(x));
        const auto x0 = value_->to(at::kDouble).expand_as(x).index_copy(1, *left_, left);
        return {predicts(), x0.to(xt.scalar_type()).view_as(xt), {}};
    }

 private:
    const dtk::GaussianProcess& process_;
    const dtk::Observation& seen_;
    Tensor *left_ = nullptr, *value_ = nullptr;
};
}  // namespace

DTK_PLUGIN(Model, exact_conditional, ExactConditional, "the exact denoiser of data of which something is known")
