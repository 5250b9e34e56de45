// A network with a layer whose answer is multiplied by 0: it trains, and no gradient reaches that layer.
#include <dtk/layers.hpp>
#include <dtk/model.hpp>
#include <dtk/process.hpp>

namespace {
struct HalfDead final : dtk::Model {
    struct Config {
        void fields(dtk::Fields&) {}
    };
    HalfDead(const Config&, const dtk::BuildContext& context) {
        const auto init = context.random("init");
        const auto d = context.space().elements();
        in_ = child<dtk::Linear>("in", init, d + 1, 64);
        alive_ = child<dtk::Linear>("alive", init, 64, 64);
        dead_ = child<dtk::Linear>("dead", init, 64, 64);
        out_ = child<dtk::Linear>("out", init, 64, d);
        steps_ = static_cast<double>(context.process().steps());
    }
    dtk::PredictionType predicts() const override { return dtk::PredictionType::v; }
    dtk::Prediction forward(const at::Tensor& x, const dtk::Time& t, const dtk::Condition&) override {
        const auto time = (t.on(x) / steps_).to(x.scalar_type()).unsqueeze(1);
        const auto h = at::silu((*in_)(at::cat({x.flatten(1), time}, 1)));
        return {predicts(), (*out_)(at::silu((*alive_)(h)) + 0 * (*dead_)(h)).view(x.sizes()), {}};
    }

 private:
    std::shared_ptr<dtk::Linear> in_, alive_, dead_, out_;
    double steps_;
};
}  // namespace

DTK_PLUGIN(Model, half_dead, HalfDead, "a network with a layer that no gradient reaches")
