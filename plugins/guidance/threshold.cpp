// x̂_0 is kept inside the data's range:
//   static:   each element between the least and the greatest value
//   dynamic:  as far as the p-quantile s of |x̂_0 − middle| of the example reaches beyond half the range r, the example
//   is
//             clamped to s and divided by s/r
// Saharia et al., "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding" (Imagen), 2022,
// section 2.3.
#include <string>

#include <dtk/guidance.hpp>

namespace {

using at::Tensor;

struct Threshold final : dtk::Guidance {
    struct Config {
        std::string form = "dynamic";
        double quantile = 0.995;
        void fields(dtk::Fields& f) {
            f("form", form, {"dynamic", "static"}, "rescale what leaves the range, or cut it");
            f("quantile", quantile, dtk::in(0, 1), "p, of the absolute values of an example; for `dynamic`");
        }
    } c;
    Threshold(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto range = context.space().range;
        if (!range)
            throw dtk::Error("guidance `threshold` keeps x_0 in the data's range, and these data have none",
                             "use it with data that have one, such as images");
        range_ = *range;
    }

    dtk::Denoiser around(dtk::Denoiser denoise) const override {
        return denoise.replaced([this, denoise](const Tensor& x, const dtk::Time& t, const dtk::Condition& condition) {
            const auto prediction = denoise(x, t, condition);
            const auto x0 = denoise.process().convert(prediction, dtk::PredictionType::x0, x, t);
            const auto [least, most] = range_;
            if (c.form == "static")
                return dtk::Prediction{dtk::PredictionType::x0, x0.clamp(least, most), prediction.variance};
            const double middle = (least + most) / 2, half = (most - least) / 2;
            std::vector<std::int64_t> sizes(static_cast<std::size_t>(x.dim()), 1);
            sizes[0] = -1;
            const auto away = x0 - middle;
            const auto reach = away.abs()
                                   .flatten(1)
                                   .to(at::kFloat)
                                   .quantile(c.quantile, 1)
                                   .clamp_min(half)
                                   .view(sizes)
                                   .to(x.scalar_type());
            return dtk::Prediction{dtk::PredictionType::x0,
                                   at::minimum(at::maximum(away, -reach), reach) * (half / reach) + middle,
                                   prediction.variance};
        });
    }

 private:
    std::pair<double, double> range_;
};
}  // namespace

DTK_PLUGIN(Guidance, threshold, Threshold, "keeps x_0 in the data's range, by cutting or by rescaling (Imagen 2022)")
