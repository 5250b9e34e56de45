// L = E Σ_i m_i |target_i − prediction_i| / Σ_i m_i:  the lengths of vectors, those along the last axis, over the
// residues that a mask says exist. What it is least for is no posterior mean but a spatial median.
//
// Lin & AlQuraishi, "Generating Novel, Designable, and Diverse Protein Structures by Equivariantly Diffusing Oriented
// Residue Clouds", 2023, whose code calls it rmsd.
#include <dtk/compared.hpp>

namespace {
struct MeanDistance final : dtk::Loss {
    using Config = dtk::Compared::Config;
    MeanDistance(const Config& config, const dtk::BuildContext& context) : compared_(config, context) {}

    dtk::LossValues operator()(const dtk::Denoiser& denoise, const dtk::Batch& batch, const dtk::Time& t,
                               const dtk::Random& random) const override {
        const auto error = compared_(denoise, batch.x, t, random.stream("noise")).value;
        // A row of one vector is one length.
        const auto distance = error.norm(2, -1).reshape({error.size(0), -1});
        return {{{.value = dtk::mean_of_existing(distance, batch.condition.mask)}}};
    }

    dtk::Compared compared_;
};
}  // namespace

DTK_PLUGIN(Loss, mean_distance, MeanDistance, "mean length of the error's vectors (Lin & AlQuraishi 2023)")
