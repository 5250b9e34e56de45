#pragma once
// The Gaussian process in T steps, for a process that differs from it in one thing to derive from: another prior, other
// noise, another decoder.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <dtk/build_context.hpp>
#include <dtk/learned_schedule.hpp>
#include <dtk/process.hpp>

namespace dtk {

/// q(x_t | x_0) = N(α_t x_0, σ_t² I),   p(x_T) = N(0, I),   q(x_s | x_t, x_0) = N(c_0 x_0 + c_t x_t, β̃ I)
/// Sohl-Dickstein et al. 2015; Ho, Jain & Abbeel, "Denoising Diffusion Probabilistic Models", 2020, eqs. 4–7, written
/// for any s < t (Song, Meng & Ermon 2020) and any α, σ (Kingma et al., "Variational Diffusion Models", 2021).
///
/// A schedule may be learned: then α, σ and β are functions of its tensors and so is all that is computed here
/// (Sohl-Dickstein et al. 2015, section 2.4.1). A prediction `mean` is that of p(x_{t−1} | x_t), and a variance that
/// comes with a prediction is that of the same step; over a longer step it keeps its place between β̃ and β (Nichol &
/// Dhariwal 2021, eq. 15).
///
/// The prior and the reverse steps draw by `noise`, and `reverse_step` draws from `reverse`.
class DTK_API GaussianChain : public GaussianProcess {
 public:
    struct Config {
        std::int64_t steps = 1000;
        Part<Schedule> schedule;
        std::string decoder = "auto";
        double data_sd = 0;
        void fields(Fields& f) {
            f("steps", steps, in(1, 1000000), "T, the steps of the Markov chain");
            f("schedule", schedule, "how noisy each step is");
            f("decoder", decoder, {"auto", "gaussian", "discretised", "reversed"},
              "p(x_0 | x_1): a density, the probability of x_0's bin, or the forward kernel turned around, q(x_1 | "
              "x_0) p(x_0)/p(x_1) with the prior p, as in 2015; auto: of its bin where the data come in levels");
            f("data_sd", data_sd, at_least(0),
              "standard deviation of the data's elements, for prediction = \"edm\"; 0: measured on 4096 examples");
        }
    };
    GaussianChain(const Config& config, const BuildContext& context);
    std::int64_t steps() const override;
    bool whole_steps() const override;
    const NoiseLevels& levels() const override;
    Coefficient alpha(const Time& t) const override;
    Coefficient sigma(const Time& t) const override;
    double data_sd() const override;
    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const Random& random,
                 double t) const override;
    Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const Random& random) const override;
    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override;
    Normal forward(const Tensor& xs, const Time& s, const Time& t) const override;
    Normal reverse(const Tensor& xt, const Prediction& prediction, const Time& t, const Time& s,
                   const std::string& variance) const override;
    Tensor target(PredictionType type, const Tensor& x0, const NoisySample& xt, const Time& t) const override;
    Tensor convert(const Prediction& prediction, PredictionType to, const Tensor& xt, const Time& t) const override;
    Tensor reverse_step(const Tensor& xt, const Prediction& prediction, const Time& t, const Time& s,
                        const std::string& variance, const Random& random) const override;
    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s, const Prediction& prediction,
                      const std::string& variance) const override;
    Tensor prior_term(const Tensor& x0) const override;
    std::vector<std::string> variances() const override;
    void accept(PredictionType type) const override;

 private:
    /// log ᾱ_t of a learned schedule as it is now, differentiable.
    Coefficient log_alpha_bar(const Time& t) const;
    Coefficient sigma2(const Time& t) const;
    /// The variance that is added between s and t.
    Coefficient added(const Time& t, const Time& s) const;
    /// What a step t → s needs.
    struct Step {
        Coefficient posterior = 0, added = 0, mean_x0 = 0, mean_xt = 0, decoder = 0, turned_mean = 0,
                    turned_variance = 0;
    };
    Step step(const Time& t, const Time& s) const;
    struct Rates {
        Coefficient alpha, sigma;
    };
    Rates rates(const Time& t) const;
    /// x̂_0 = skip·x_t + out·F (Karras et al. 2022, table 1, for x_t/α at σ/α).
    struct Preconditioning {
        Coefficient skip, out;
    };
    Preconditioning preconditioning(const Time& t) const;
    Tensor x0_of(const Prediction& prediction, const Tensor& xt, const Time& t) const;
    Tensor eps_of(const Prediction& prediction, const Tensor& xt, const Time& t) const;
    double measured_sd() const;
    Coefficient fixed_variance(const Step& step, const std::string& variance) const;
    /// Of the step t → s, shaped to stand beside x.
    Tensor model_variance(const Step& step, const Prediction& prediction, const Time& t, const Time& s,
                          const std::string& variance, const Tensor& x) const;
    void read_levels(const Space& space, bool needed);
    /// −log p(x_0 | x_1) of every element: a normal density around x̂_0 or, where the data come in levels, its integral
    /// over the level's bin, the outermost bins without end (Ho et al. 2020, eq. 13).
    Tensor decoder(const Tensor& x0, const Tensor& estimate, const Tensor& sigma2) const;

    std::int64_t steps_;
    bool reversed_;
    std::shared_ptr<LearnedSchedule> learned_;  ///< null where the schedule is fixed
    mutable NoiseLevels levels_;
    mutable double data_sd_;  ///< 0 until it is measured
    const Dataset& data_;
    int levels_of_data_ = 0;  ///< 0: the data are real numbers
    std::pair<double, double> range_;
};

}  // namespace dtk
