//! guidance=[{use="my_guidance"}]
// x̂_0 ← largest·tanh(x̂_0/largest): a function around the denoiser.
#include <dtk/guidance.hpp>

namespace {
struct MyGuidance final : dtk::Guidance {
    struct Config {
        double largest = 3;
        void fields(dtk::Fields& f) { f("largest", largest, dtk::above(0), "what no element of x̂_0 comes to"); }
    } c;
    explicit MyGuidance(const Config& config) : c(config) {}

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        return denoise.replaced(
            [denoise, largest = c.largest](const at::Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
                const auto told = denoise.with(condition);
                const auto x0 = told.x0(x, t);
                return dtk::Prediction{dtk::PredictionType::x0, largest * at::tanh(x0 / largest), {}};
            });
    }
};
}  // namespace

DTK_PLUGIN(Guidance, my_guidance, MyGuidance, "the estimate of x_0 is kept from becoming large")
