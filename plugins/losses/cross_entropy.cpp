// −log p(c | x),   log p(c | x) = f_c − log Σ_k e^{f_k},   f the log-odds that a classifier answers
// Of the examples as they are; with `noised` of x_t at times that `times` draws, for a classifier that guides
// (Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis", 2021, section 4).
#include <dtk/loss.hpp>
#include <dtk/model.hpp>

namespace {

using at::Tensor;

struct CrossEntropy final : dtk::Loss {
    struct Config {
        bool noised = false;
        void fields(dtk::Fields& f) { f("noised", noised, "classify x_t instead of x_0"); }
    } c;

    CrossEntropy(const Config& config, const dtk::BuildContext& context) : c(config) {
        if (context.space().classes == 0)
            throw dtk::Error("cross_entropy needs data with classes", "use other data, or give the data their labels");
        if (context.model().predicts() != dtk::PredictionType::label)
            throw dtk::Error("cross_entropy trains a classifier", "use model `classifier`, or another loss");
    }

    bool draws_times() const override { return c.noised; }

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& drawn,
                               const dtk::Random& random) const override {
        const auto t = c.noised ? drawn : dtk::Time(0);
        const auto x = c.noised ? denoise.process().noised(batch.x, t, random.stream("noise")).x : batch.x;
        const auto log_p = denoise(x, t, {}).value.to(at::kFloat).log_softmax(1);
        const auto& label = batch.condition.label;
        const auto right = log_p.argmax(1) == label;
        return {{{.value = -log_p.gather(1, label.unsqueeze(1)).squeeze(1)}},
                {{"accuracy", right.to(x.scalar_type())}}};
    }
};
}  // namespace

DTK_PLUGIN(Loss, cross_entropy, CrossEntropy, "negative log probability of the right class, for classifiers")
