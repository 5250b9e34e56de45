// Frames of the residues of a chain, T = (R, x): places diffused as x_t = α x_0 + σ ε, and rotations on SO(3), each by
// a process and a schedule of its own. Yim et al., "SE(3) Diffusion Model with Application to Protein Backbone
// Generation" (FrameDiff), 2023; Watson et al., "De novo design of protein structure and function with RFdiffusion",
// 2023. A state is [L, 3, 4], for each residue the three axes of its frame and then its place in ångström; so is a
// prediction: of type x0 the frames that are expected, of type score or eps the tangent of R as its antisymmetric
// matrix (see `so3`) beside that of x. Places are diffused in units of 1/`scale` Å, for the chain is about as large as
// its noise then.
#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/frame_process.hpp>
#include <dtk/noise_scale.hpp>
#include <dtk/rotations.hpp>
#include <dtk/schedule.hpp>

namespace {

using at::Tensor;
using dtk::PredictionType;
using dtk::Time;

/// One part of every frame, as data.
class PartOfFrames final : public dtk::Dataset {
 public:
    using Take = Tensor (*)(const Tensor& frames);
    PartOfFrames(const dtk::Dataset& frames, Take take, std::vector<std::int64_t> shape)
        : frames_(frames), take_(take), shape_(std::move(shape)) {}
    std::vector<std::int64_t> shape() const override { return shape_; }
    std::int64_t size() const override { return frames_.size(); }
    std::int64_t test_size() const override { return frames_.test_size(); }
    dtk::Batch examples(const Tensor& index) const override { return part(frames_.examples(index)); }
    dtk::Batch test_examples(const Tensor& index) const override { return part(frames_.test_examples(index)); }

 private:
    dtk::Batch part(dtk::Batch batch) const {
        batch.x = take_(batch.x).contiguous();
        return batch;
    }
    const dtk::Dataset& frames_;
    Take take_;
    std::vector<std::int64_t> shape_;
};

/// What a process of that part sees of the experiment.
class ContextOfPart final : public dtk::BuildContext {
 public:
    ContextOfPart(const dtk::BuildContext& of, const dtk::Dataset& data) : of_(of), data_(data) {}
    const dtk::Dataset& dataset() const override { return data_; }
    dtk::Space space() const override { return {data_.shape()}; }
    const dtk::Process& process() const override { return of_.process(); }
    const dtk::Model& model() const override { return of_.model(); }
    dtk::Random random(std::string_view stream) const override { return of_.random(stream); }
    dtk::TrainedNetwork trained(const dtk::Reference& reference) const override { return of_.trained(reference); }
    bool running() const override { return of_.running(); }

 private:
    const dtk::BuildContext& of_;
    const dtk::Dataset& data_;
};

Tensor rotation_of(const Tensor& frames) { return frames.slice(-1, 0, 3); }
Tensor place_of(const Tensor& frames) { return frames.select(-1, 3); }
Tensor frames_of(const Tensor& rotation, const Tensor& place) { return at::cat({rotation, place.unsqueeze(-1)}, -1); }

struct Se3 final : dtk::FrameDiffusion, dtk::ScaledNoise {
    struct Config {
        dtk::Part<dtk::Process> translations{"gaussian"}, rotations{"so3"};
        double scale = 0.1;
        void fields(dtk::Fields& f) {
            f("translations", translations, "the process of the places, a Gaussian one");
            f("rotations", rotations, "that of the rotations, with as many steps");
            f("scale", scale, dtk::above(0),
              "of places, per Å, before their process sees them; FrameDiff 0.1, RFdiffusion 0.25");
        }
    };
    Se3(const Config& config, const dtk::BuildContext& context) : scale_(config.scale) {
        const auto shape = context.space().shape;
        if (shape.size() != 3 || shape[1] != 3 || shape[2] != 4)
            throw dtk::Error(
                "se3 needs chains of frames, [L, 3, 4]",
                "use data of backbones, such as `chains` with atoms = \"backbone\", and codec = \"backbone\"");
        const auto& data = context.chain_data();
        of_rotations_ = std::make_unique<PartOfFrames>(data, rotation_of, std::vector<std::int64_t>{shape[0], 3, 3});
        of_places_ = std::make_unique<PartOfFrames>(data, place_of, std::vector<std::int64_t>{shape[0], 3});
        rotations_ = config.rotations.make(ContextOfPart(context, *of_rotations_));
        places_ = config.translations.make(ContextOfPart(context, *of_places_));
        child("rotations", rotations_);
        child("translations", places_);
        dtk::gaussian(*places_, "se3.translations");
        turning_ = dynamic_cast<const dtk::RotationProcess*>(rotations_.get());
        if (!turning_ || !dynamic_cast<const dtk::ScaledNoise*>(rotations_.get()))
            throw dtk::Error("`rotations` is no process of rotations", "use rotations = {use = \"so3\"}");
        if (rotations_->steps() != places_->steps())
            throw dtk::Error(
                fmt::format("places have {} steps and rotations {}", places_->steps(), rotations_->steps()),
                "give both as many `steps`");
    }

    std::int64_t steps() const override { return places_->steps(); }
    dtk::Coefficient rotation_sigma(const Time& t) const override { return turning_->sigma(t); }
    double scale() const override { return scale_; }
    /// Of the places; those of the rotations are their own.
    const dtk::NoiseLevels& levels() const override { return places_->levels(); }
    std::vector<std::string> variances() const override { return {"small", "large"}; }
    void accept(PredictionType type) const override {
        rotations_->accept(type);
        places_->accept(type);
    }

    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random,
                 double t) const override {
        return frames_of(rotations_->prior(sizes_of_rotations(sizes), options, random.stream("rotations"), t),
                         places_->prior(sizes_of_places(sizes), options, random.stream("translations"), t) / scale_);
    }

    /// [B, L, 4 + 3] float64: what a rotation is made from, and ε of the place.
    Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const dtk::Random& random) const override {
        const auto of_places = sizes_of_places(sizes);
        const auto turn = rotations_->noise(sizes_of_rotations(sizes), options, random.stream("rotations"));
        const auto move = places_->noise(of_places, options, random.stream("translations"));
        return at::cat({turn.view({sizes[0], -1, 4}), move.to(turn.scalar_type())}, -1);
    }

    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override {
        return frames_of(rotations_->mix(rotation_of(x0), turns(noise), t),
                         places_->mix(scale_ * place_of(x0), moves(noise, x0), t) / scale_);
    }

    Tensor target(PredictionType type, const Tensor& x0, const dtk::NoisySample& xt, const Time& t) const override {
        return frames_of(rotations_->target(type, rotation_of(x0), {rotation_of(xt.x), turns(xt.noise)}, t),
                         outward(type, places_->target(type, scale_ * place_of(x0),
                                                       {scale_ * place_of(xt.x), moves(xt.noise, x0)}, t)));
    }

    Tensor convert(const dtk::Prediction& prediction, PredictionType to, const Tensor& xt,
                   const Time& t) const override {
        return frames_of(rotations_->convert(turn(prediction), to, rotation_of(xt), t),
                         outward(to, places_->convert(move(prediction), to, scale_ * place_of(xt), t)));
    }

    Tensor reverse_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                        const std::string& variance, const dtk::Random& random) const override {
        return scaled_step(xt, prediction, t, s, variance, random, 1);
    }

    Tensor scaled_step(const Tensor& xt, const dtk::Prediction& prediction, const Time& t, const Time& s,
                       const std::string& variance, const dtk::Random& random, double noise_scale) const override {
        const auto& turning = dynamic_cast<const dtk::ScaledNoise&>(*rotations_);
        const auto step =
            dtk::gaussian(*places_, "se3").reverse(scale_ * place_of(xt), move(prediction), t, s, variance);
        const auto z = random.stream("translations").normal(step.mean.sizes(), step.mean.options());
        return frames_of(turning.scaled_step(rotation_of(xt), turn(prediction), t, s, variance,
                                             random.stream("rotations"), noise_scale),
                         (step.mean + noise_scale * step.variance.sqrt() * z) / scale_);
    }

    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s,
                      const dtk::Prediction& prediction, const std::string& variance) const override {
        return rotations_->bound_term(rotation_of(x0), rotation_of(xt), t, s, turn(prediction), variance);
    }

    Tensor prior_term(const Tensor& x0) const override {
        return rotations_->prior_term(rotation_of(x0)) + places_->prior_term(scale_ * place_of(x0));
    }

 private:
    static std::vector<std::int64_t> sizes_of_rotations(at::IntArrayRef sizes) {
        auto of = sizes.vec();
        of.back() = 3;
        return of;
    }
    static std::vector<std::int64_t> sizes_of_places(at::IntArrayRef sizes) {
        return sizes.slice(0, sizes.size() - 1).vec();
    }
    static Tensor turns(const Tensor& noise) { return noise.slice(-1, 0, 4); }
    static Tensor moves(const Tensor& noise, const Tensor& x0) { return noise.slice(-1, 4).to(x0.scalar_type()); }

    static dtk::Prediction turn(const dtk::Prediction& of) { return {of.type, rotation_of(of.value), {}}; }
    /// Of places in the units of their process, and what it answers in Å.
    dtk::Prediction move(const dtk::Prediction& of) const { return {of.type, place_of(of.value) / unit(of.type), {}}; }
    Tensor outward(PredictionType type, const Tensor& value) const { return value * unit(type); }
    double unit(PredictionType type) const {
        return type == PredictionType::x0 ? 1 / scale_ : type == PredictionType::score ? scale_ : 1;
    }

    double scale_;
    std::unique_ptr<PartOfFrames> of_rotations_, of_places_;
    std::shared_ptr<dtk::Process> rotations_, places_;
    const dtk::RotationProcess* turning_;
};
}  // namespace

DTK_PLUGIN(Process, se3, Se3, "frames of residues, places and rotations diffused (Yim et al. 2023, Watson et al. 2023)")
