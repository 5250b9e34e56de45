// h_0 = [x_t, φ(t), e(c)],   h_{i+1} = SiLU(W_i h_i + b_i),   f(x_t, t) = W h_depth + b,   φ the positions of Ho et al.
// 2020 For data of few dimensions. Time is presented as 1000·t/T, so that a network does not depend on the number of
// steps. Of categories, x_t is a 1 in the place of each, and the answer is the log-odds of all of them.
#include <optional>
#include <vector>

#include <dtk/categories.hpp>
#include <dtk/dataset.hpp>
#include <dtk/dense.hpp>
#include <dtk/flow_map.hpp>
#include <dtk/learned_variance.hpp>
#include <dtk/model.hpp>
#include <dtk/noise_input.hpp>
#include <dtk/process.hpp>

namespace {
struct Mlp final : dtk::Model, dtk::ToldEnd {
    struct Config {
        std::int64_t width = 128, depth = 3, time_features = 64;
        std::string prediction = "eps", variance = "fixed", noise_label = "time";
        bool conditional = false, end_time = false;
        void fields(dtk::Fields& f) {
            f("width", width, dtk::at_least(1), "units of a hidden layer");
            f("depth", depth, dtk::at_least(1), "hidden layers");
            f("time_features", time_features, dtk::at_least(2), "sines and cosines of the time; even");
            f("prediction", prediction, {"eps", "x0", "v", "velocity", "edm", "logits"},
              "what the network answers; logits: of bits or categories, the log-odds of x_0");
            f("variance", variance, {"fixed", "range", "direct"},
              "of a reverse step: left to the sampler, learned between β̃ and β, or learned as log Σ");
            f("noise_label", noise_label, {"time", "u", "log_snr", "c_noise"},
              "how it is told the noise: 1000·t/T, u = (t+1)/T, log-SNR, or EDM's ¼ ln(σ/α)");
            f("conditional", conditional, "is the network told the class?");
            f("end_time", end_time, "is it told the time that its answer leads to, too (loss `meanflow`)?");
        }
    };
    Mlp(const Config& config, const dtk::BuildContext& context)
        : end_time_(config.end_time),
          vector_(context.condition_space().vector),
          predicts_(dtk::prediction_type(config.prediction)),
          variance_(config.variance, context.process()) {
        const auto space = context.space();
        const auto init = context.random("init");
        if (predicts_ == dtk::PredictionType::logits)
            tokens_ = dynamic_cast<const dtk::CategoricalProcess*>(&context.process());
        const auto d = space.elements();
        std::int64_t features =
            d * (tokens_ ? tokens_->states() : 1) + (config.end_time ? 2 : 1) * config.time_features;

        noise_ = child("noise", std::make_shared<dtk::NoiseInput>(predicts_, config.noise_label, config.time_features,
                                                                  context.process()));
        if (config.conditional) {
            if (space.classes == 0)
                throw dtk::Error("`conditional` needs data with classes", "use conditional = false");
            label_ = child<dtk::Embedding>("label", init, space.classes, config.width, 1.0, context.drops_conditions());
            features += config.width;
        }
        features += vector_;
        std::vector<std::shared_ptr<dtk::Linear>> layers;
        for (std::int64_t i = 0; i < config.depth; ++i)
            layers.push_back(
                child<dtk::Linear>("hidden" + std::to_string(i), init, i == 0 ? features : config.width, config.width));
        layers.push_back(child<dtk::Linear>("out", init, config.width,
                                            variance_.outputs() * d * (tokens_ ? tokens_->categories() : 1),
                                            dtk::Start::zeros));
        layers_.emplace(std::move(layers), dtk::Activation::silu, dtk::Dense::Last::linear);
    }

    dtk::PredictionType predicts() const override { return predicts_; }

    bool knows_null_condition() const override { return label_ && label_->knows_null(); }
    dtk::ConditionSpace reads() const override { return {.vector = vector_}; }
    bool knows_end() const override { return end_time_; }

    dtk::Prediction forward(const at::Tensor& x, const dtk::Time& t, const dtk::Condition& condition) override {
        const auto seen = tokens_ ? one_hot(tokens_->numbers(x)) : noise_->scaled(x, t);
        std::vector<at::Tensor> input{seen.flatten(1).to(at::kFloat), noise_->embedding(x, t)};
        if (end_time_) input.push_back(noise_->embedding(x, dtk::end_of(condition, t)));
        if (label_) input.push_back((*label_)(condition));
        if (vector_ > 0) input.push_back(condition.vector);
        const auto answer = (*layers_)(at::cat(input, 1));
        if (!tokens_) return variance_(predicts_, answer, x, t);
        auto sizes = x.sizes().vec();
        sizes.push_back(tokens_->categories());
        return {predicts_, answer.to(x.scalar_type()).view(sizes), {}};
    }

 private:
    /// [B, ...] int64 → [B, ..., states]
    at::Tensor one_hot(const at::Tensor& numbers) const {
        return numbers.unsqueeze(-1) == at::arange(tokens_->states(), numbers.options());
    }

    bool end_time_;
    std::int64_t vector_;  ///< numbers that a conditioner makes
    dtk::PredictionType predicts_;
    dtk::LearnedVariance variance_;
    const dtk::CategoricalProcess* tokens_ = nullptr;
    std::shared_ptr<dtk::NoiseInput> noise_;
    std::shared_ptr<dtk::Embedding> label_;
    std::optional<dtk::Dense> layers_;
};
}  // namespace

DTK_PLUGIN(Model, mlp, Mlp, "fully connected network, for data of few dimensions")
