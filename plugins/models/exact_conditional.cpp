// x̂_0 = E[x_0 | x_t, y] from the posterior p(x_0 | y) of data of which something is known: what follows is the score of
// q(x_t | y), so that any sampler draws from p(x_0 | y) up to its own error in steps. That is the h-transform,
//   ∇ log q(x_t | y) = ∇ log q(x_t) + ∇ log E[r(x_0) | x_t],   r(x_0) = p(y | x_0),
// in which r(x_t) of Sohl-Dickstein et al. 2015, section 2.5, is replaced by what y says of x_t. The one model that is
// told y: it stands in for a network that was trained for this observation.
#include <dtk/model.hpp>
#include <dtk/observation.hpp>
#include <dtk/sampler.hpp>

namespace {

using at::Tensor;

struct ExactConditional final : dtk::Model {
    explicit ExactConditional(const dtk::BuildContext& context)
        : process_(dtk::gaussian(context.process(), "exact_conditional")),
          seen_(dtk::observation(context, "exact_conditional")) {
        if (!seen_.posterior(at::zeros({1, seen_.size()}, at::kDouble)))
            throw dtk::Error(
                "exact_conditional needs the law of the data given what is known of them, and nobody has worked it out",
                "use data that know it, such as gaussian_mixture, or guidance such as tmpd with another model");
    }

    dtk::PredictionType predicts() const override { return dtk::PredictionType::x0; }

    dtk::Prediction forward(const Tensor& xt, const dtk::Time& t, const dtk::Condition& condition) override {
        const auto x = xt.flatten(1).to(at::kDouble);
        const auto x0 = seen_.posterior(dtk::observed(condition))
                            ->posterior_mean(x, process_.alpha(t).rows(x), process_.sigma(t).rows(x));
        return {predicts(), x0.to(xt.scalar_type()).view_as(xt), {}};
    }

 private:
    const dtk::GaussianProcess& process_;
    const dtk::Observation& seen_;
};
}  // namespace

DTK_PLUGIN(Model, exact_conditional, ExactConditional, "the exact denoiser of data of which something is known")
