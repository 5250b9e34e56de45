//! model="my_model"
// f(x_t, t) = W_2 SiLU(W_1 [x_t, φ(t)]): a network that predicts ε.
#include <dtk/layers.hpp>
#include <dtk/model.hpp>
#include <dtk/process.hpp>

namespace {
struct MyModel final : dtk::Model {
    struct Config {
        std::int64_t width = 64, time_features = 16;
        void fields(dtk::Fields& f) {
            f("width", width, dtk::at_least(1), "hidden units");
            f("time_features", time_features, dtk::at_least(2), "sines and cosines of the time; even");
        }
    };
    MyModel(const Config& config, const dtk::BuildContext& context) : process_(context.process()) {
        const auto init = context.random("init");  // initial values come from here, so that a seed means something
        const auto d = context.space().elements();
        time_ = child("time", std::make_shared<dtk::SinusoidalEmbedding>(config.time_features));
        in_ = child<dtk::Linear>("in", init, d + config.time_features, config.width);
        out_ = child<dtk::Linear>("out", init, config.width, d, dtk::Start::zeros);
    }

    dtk::PredictionType predicts() const override { return dtk::PredictionType::eps; }

    // x: [B, ...], t: one time or one for each row → as x
    dtk::Prediction forward(const at::Tensor& x, const dtk::Time& t, const dtk::Condition&) override {
        const auto thousandths = (t.on(x) + 1) * (1000.0 / static_cast<double>(process_.steps()));
        const auto seen = at::cat({x.flatten(1).to(at::kFloat), (*time_)(thousandths)}, 1);
        return {predicts(), (*out_)(at::silu((*in_)(seen))).to(x.scalar_type()).view_as(x), {}};
    }

 private:
    const dtk::Process& process_;
    std::shared_ptr<dtk::SinusoidalEmbedding> time_;
    std::shared_ptr<dtk::Linear> in_, out_;
};
}  // namespace

DTK_PLUGIN(Model, my_model, MyModel, "one hidden layer, for data of few dimensions")
