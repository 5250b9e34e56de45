// What an earlier stage's network answers, plus something of its own: a model that stands on another's.
#include <ATen/core/grad_mode.h>

#include <dtk/denoiser.hpp>
#include <dtk/layers.hpp>
#include <dtk/model.hpp>

namespace {
struct Student final : dtk::Model {
    struct Config {
        dtk::Reference teacher{"teacher"};
        void fields(dtk::Fields& f) { f("teacher", teacher, "an earlier stage, or the folder of a run"); }
    };
    Student(const Config& config, const dtk::BuildContext& context) : teacher_(context.trained(config.teacher)) {
        const auto d = context.space().shape[0];
        own_ = child<dtk::Linear>("own", context.random("init"), d, d, dtk::Start::zeros);
        const auto x = at::ones({1, d});
        const bool says_something = teacher_.denoiser()(x, 5).value.any().item<bool>();
        if (context.running() && !says_something) throw dtk::Error("the teacher has not been trained");
        if (context.running() && teacher_.sha256.size() != 64) throw dtk::Error("the teacher's file has no hash");
        if (teacher_.process->steps() != context.process().steps())
            throw dtk::Error("the teacher was trained on another process");
    }
    dtk::PredictionType predicts() const override { return teacher_.model->predicts(); }

    dtk::Prediction forward(const at::Tensor& x, const dtk::Time& t, const dtk::Condition& condition) override {
        auto prediction = [&] {
            at::NoGradGuard no_grad;
            return teacher_.model->forward(x, t, condition);
        }();
        prediction.value = prediction.value + (*own_)(x.to(at::kFloat)).to(x.scalar_type());
        return prediction;
    }

    dtk::TrainedNetwork teacher_;
    std::shared_ptr<dtk::Linear> own_;
};
}  // namespace

DTK_PLUGIN(Model, student, Student, "stands on the network of an earlier stage")
