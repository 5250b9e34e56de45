// z = (x − m_c)/s_c, m and s mean and standard deviation of each channel of training examples, kept with the network:
// the chain lives where every channel has variance 1, and samples come out in the data's own units.
#include <dtk/codec.hpp>

namespace {
struct Standardised final : dtk::Codec {
    struct Config {
        std::int64_t measure = 10000;
        void fields(dtk::Fields& f) {
            f("measure", measure, dtk::at_least(2),
              "training examples that mean and standard deviation are taken from, if there are as many");
        }
    };
    Standardised(const Config& config, const dtk::BuildContext& context)
        : shape_(context.dataset().shape()),
          scale_(child("scale",
                       std::make_shared<dtk::ChannelScale>(shape_, context.dataset(), config.measure,
                                                           [](const at::Tensor& x) -> dtk::Latents { return {x}; }))) {}
    dtk::Space space() const override { return {shape_}; }
    dtk::Latents encode(const at::Tensor& x) const override { return scale_->scaled({x}); }
    at::Tensor decode(const at::Tensor& z) const override { return scale_->unscaled(z); }

 private:
    std::vector<std::int64_t> shape_;
    std::shared_ptr<dtk::ChannelScale> scale_;
};
}  // namespace

DTK_PLUGIN(Codec, standardised, Standardised, "each channel at mean 0 and variance 1, as measured on training examples")
