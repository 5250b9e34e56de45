// D = D_bad + s·(D_good − D_bad): away from a worse version of the network itself, a smaller or less trained one of the
// same data and process. s = 1 is no guidance.
// Karras, Aittala, Kynkäänniemi, Lehtinen, Aila & Laine, "Guiding a Diffusion Model with a Bad Version of Itself",
// 2024.
#include <dtk/guidance.hpp>
#include <dtk/model.hpp>

namespace {
struct Autoguidance final : dtk::Guidance {
    struct Config {
        dtk::Reference bad;
        double scale = 2;
        void fields(dtk::Fields& f) {
            f.required("bad", bad, "the worse network: an earlier stage, or the folder of a run");
            f("scale", scale, dtk::any_number(), "s; 1: no guidance");
        }
    } c;
    Autoguidance(const Config& config, const dtk::BuildContext& context) : c(config) {
        bad_ = context.trained(c.bad);
        if (bad_.model->predicts() == dtk::PredictionType::label)
            throw dtk::Error("`" + c.bad.name() + "` is a classifier and denoises nothing", "name another network");
    }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        if (c.scale == 1) return denoise;
        return denoise.replaced([denoise, worse = bad_.denoiser(), s = c.scale](const at::Tensor& x, const dtk::Time& t,
                                                                                const dtk::Condition& condition) {
            const auto& process = denoise.process();
            const auto good = denoise(x, t, condition);
            const auto x0 = process.convert(good, dtk::PredictionType::x0, x, t);
            const auto bad = worse.process().convert(worse(x, t, condition), dtk::PredictionType::x0, x, t);
            return dtk::Prediction{dtk::PredictionType::x0, bad + s * (x0 - bad), good.variance};
        });
    }

 private:
    dtk::TrainedNetwork bad_;
};
}  // namespace

DTK_PLUGIN(Guidance, autoguidance, Autoguidance, "away from a worse version of the network (Karras et al. 2024)")
