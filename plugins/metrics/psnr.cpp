// PSNR = 10 log₁₀(w²/‖x − x̂‖²·d), w the width of the data's range, x̂ what an autoencoder makes of x, kept inside that
// range: the mean over test examples, in decibels. Beside it the mean of the structural similarity of Wang, Bovik,
// Sheikh & Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity", 2004, of images of
// 11 pixels at least,
//   SSIM = mean over places of (2 m_x m_y + C₁)(2 s_xy + C₂)/((m_x² + m_y² + C₁)(s_x² + s_y² + C₂)),
// moments under a Gaussian window of 11×11 pixels and deviation 1.5, C₁ = (0.01 w)², C₂ = (0.03 w)², channel by
// channel.
#include <cmath>

#include <fmt/format.h>

#include <dtk/codec.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

constexpr std::int64_t window = 11, portion = 128;

Tensor gaussian_window(const at::TensorOptions& options) {
    const auto at = at::arange(window, options) - (window - 1) / 2;
    const auto line = (-at.square() / (2 * 1.5 * 1.5)).exp();
    return at::outer(line, line).view({1, 1, window, window}) / line.sum().square();
}

/// x, y: [n, C, H, W] float64 → [n]
Tensor structural_similarity(const Tensor& x, const Tensor& y, double width) {
    const auto weights = gaussian_window(x.options());
    const auto mean = [&](const Tensor& of) {
        return at::conv2d(of.reshape({-1, 1, of.size(2), of.size(3)}), weights).view({of.size(0), -1});
    };
    const double c1 = std::pow(0.01 * width, 2), c2 = std::pow(0.03 * width, 2);
    const auto mx = mean(x), my = mean(y);
    const auto vx = mean(x * x) - mx * mx, vy = mean(y * y) - my * my, cov = mean(x * y) - mx * my;
    return ((2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))).mean(1);
}

struct Psnr final : dtk::Metric {
    struct Config {
        dtk::Reference of;
        std::int64_t most = 1024;
        void fields(dtk::Fields& f) {
            f("of", of, "the earlier stage or the run whose autoencoder is measured; empty: the model of this stage");
            f("most", most, dtk::at_least(2), "test examples that are looked at");
        }
    } c;
    Psnr(const Config& config, const dtk::BuildContext& context)
        : c(config),
          network_(c.of ? std::dynamic_pointer_cast<dtk::Autoencoder>(context.trained(c.of).model) : nullptr) {
        const auto* model = c.of ? network_.get() : dynamic_cast<const dtk::Autoencoder*>(&context.model());
        if (!model)
            throw dtk::Error("psnr measures an autoencoder, and there is none",
                             "use a model such as autoencoder_kl, or name the stage that trained one: of = \"…\"");
        if (!context.dataset().range())
            throw dtk::Error("psnr needs data with a range, and these have none", "use images");
    }
    dtk::MetricCard card() const override { return {dtk::Better::more, "dB"}; }
    bool needs_samples() const override { return false; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        const at::NoGradGuard no_grad;
        const auto n = input.data.test_size() == 0 ? c.most : std::min(c.most, input.data.test_size());
        const auto [least, most] = *input.data.range();
        std::vector<Tensor> decibels, similar;
        for (std::int64_t first = 0; first < n; first += portion) {
            const auto x = input.data.test_examples(at::arange(first, std::min(n, first + portion), at::kLong)).x;
            const auto on = x.to(input.device);
            const auto answer = network_ ? network_->decode(network_->encode(on).mean) : input.denoise.x0(on, -1.0);
            const auto made = answer.cpu().to(at::kDouble).clamp(least, most), wanted = x.to(at::kDouble);
            const auto error = (made - wanted).square().flatten(1).mean(1);
            decibels.push_back(10 * (std::pow(most - least, 2) / error).log10());
            if (x.dim() == 4 && std::min(x.size(2), x.size(3)) >= window)
                similar.push_back(structural_similarity(wanted, made, most - least));
            input.progress(std::min(n, first + portion), n);
        }
        const auto all = at::cat(decibels);
        dtk::MetricResult result{.value = all.mean().item<double>(),
                                 .standard_error = all.std().item<double>() / std::sqrt(static_cast<double>(n)),
                                 .note = fmt::format("decibels, mean over {} test examples", n),
                                 .n = n,
                                 .split = "test"};
        if (!similar.empty()) result.parts.emplace_back("ssim", at::cat(similar).mean().item<double>());
        return result;
    }

 private:
    std::shared_ptr<dtk::Autoencoder> network_;
};
}  // namespace

DTK_PLUGIN(Metric, psnr, Psnr, "how near an autoencoder's answer comes to what it was shown, with SSIM beside it")
