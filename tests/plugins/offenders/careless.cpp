// A loss that is careless of where its numbers lie, in the way its field says; accelerator.cpp says what must come of
// each.
#include <dtk/loss.hpp>
#include <dtk/model.hpp>

namespace {
struct Careless final : dtk::Loss {
    struct Config {
        std::string offence = "none";
        void fields(dtk::Fields& f) {
            f("offence", offence,
              {"none", "host tensor", "host tensor in a list", "item", "copy to the host", "blocking copy",
               "shape from numbers"},
              "what it does wrong");
        }
    } c;
    explicit Careless(const Config& config) : c(config) {}

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time&,
                               const dtk::Random&) const override {
        const auto error = (denoise(batch.x, 0).value - batch.x).square().flatten(1).mean(1);
        return {{{.value = wronged(error)}}};
    }

    at::Tensor wronged(const at::Tensor& error) const {
        const auto one = at::ones(error.sizes());
        if (c.offence == "host tensor") return error * one;
        if (c.offence == "host tensor in a list") return at::cat({error, one}).slice(0, 0, error.size(0));
        if (c.offence == "item") return error * (error.sum().item<float>() < 0 ? 0 : 1);
        if (c.offence == "copy to the host")
            return error * error.detach().cpu().sign().to(error.device(), /*non_blocking=*/true);
        if (c.offence == "blocking copy") return error * one.to(error.device());
        if (c.offence == "shape from numbers") return error.masked_select(error >= 0);
        return error;
    }
};
}  // namespace

DTK_PLUGIN(Loss, careless, Careless, "does one thing that does not belong on a device")
