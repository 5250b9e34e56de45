// L = E Σ_i m_i |target_i − prediction_i| / Σ_i m_i:  the lengths of vectors, those along the last axis, over what a
// mask says that exists Lin & AlQuraishi, "Generating Novel, Designable, and Diverse Protein Structures by
// Equivariantly Diffusing Oriented Residue Clouds", 2023, whose code calls it rmsd. What it is least for is no
// posterior mean but a spatial median.
#include <dtk/compared.hpp>

namespace {
struct MeanDistance final : dtk::Loss {
    using Config = dtk::Compared::Config;
    MeanDistance(const Config& config, const dtk::BuildContext& context) : compared_(config, context) {}

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto error = compared_(denoise, batch.x, t, random.stream("noise")).value;
        const auto B = error.size(0);
        const auto distance = error.norm(2, -1).view({B, -1});
        const auto& mask = batch.condition.mask;
        if (!mask.defined()) return {{{.value = distance.mean(1)}}};
        const auto there = of_vectors(mask, error).to(distance.options());
        return {{{.value = (distance * there).sum(1) / there.sum(1).clamp_min(1)}}};
    }

 private:
    /// [B, ...] or [B, ..., n] → [B, vectors]
    static at::Tensor of_vectors(const at::Tensor& mask, const at::Tensor& error) {
        return (mask.dim() == error.dim() ? mask.select(-1, 0) : mask).reshape({error.size(0), -1});
    }

    dtk::Compared compared_;
};
}  // namespace

DTK_PLUGIN(Loss, mean_distance, MeanDistance, "mean length of the error's vectors (Lin & AlQuraishi 2023)")
