// The network of Lin & AlQuraishi, "Generating Novel, Designable, and Diverse Protein Structures by Equivariantly
// Diffusing Oriented Residue Clouds" (Genie), 2023: an example is the trace of a chain, its Cα in ångström, [L, 3].
// Each residue gets the Frenet frame of x_t; what residues and pairs of them know begins with place, time and distance,
// triangles refine the pairs, and invariant point attention moves the frames:
//   F_0 = Frenet(x_t),   F_k = F_{k−1} ∘ update(s_k),   s_k = transition(LN(s_{k−1} + IPA(s_{k−1}, z, F_{k−1}))),
//   ε̂ = x_t − (where F_n stands)
// So ε̂ turns with x_t, and its reflection is another chain. Frames are proper rotations, [t, n, b] in place of Genie's
// [t, b, n]. What does not exist (padding) is 0 in the data, and the data's mean over what exists is 0: there ε̂ is what
// x_t itself says of it, x_t/σ_t, since nothing that is blind to moves of the whole chain could know it.
//
// `preconditioned` it answers r = x_t − (where F_n stands) of size 1 at all times as in Karras et al., "Elucidating the
// Design Space", 2022: with s² the variance of the data and v = α² s² + σ²,   ε̂ = σ x_t/v + α s/√v · r,   so that x̂_0
// is off by no more than s where r is off by 1.
#include <vector>

#include <fmt/format.h>

#include <dtk/geometry.hpp>
#include <dtk/model.hpp>
#include <dtk/noise_input.hpp>
#include <dtk/process.hpp>
#include <dtk/structure.hpp>

namespace {

using at::Tensor;
using dtk::Frames;
using dtk::Linear;
using dtk::Random;

struct Config {
    dtk::InvariantPointAttention::Sizes attention;
    std::int64_t pair_layers = 2, structure_layers = 3, reach = 32;
    double unit = 10, dropout = 0;
    std::string pairs = "distance";
    bool preconditioned = false, centred = true, conditional = false;
    void fields(dtk::Fields& f) {
        f("single", attention.single, dtk::at_least(1), "numbers that each residue knows");
        f("pair", attention.pair, dtk::at_least(1), "numbers that each pair of residues knows");
        f("pair_layers", pair_layers, dtk::at_least(0), "layers of triangles; Genie has 5");
        f("structure_layers", structure_layers, dtk::at_least(1), "layers that move the frames; Genie has 5");
        f("heads", attention.heads, dtk::at_least(1), "heads of the attention; Genie has 12");
        f("scalars", attention.scalars, dtk::at_least(1), "numbers of a query, of a key and of a value in each head");
        f("query_points", attention.query_points, dtk::at_least(1), "points of a query and of a key in each head");
        f("value_points", attention.value_points, dtk::at_least(1), "points of a value in each head");
        f("reach", reach, dtk::at_least(1), "residues along the chain beyond which all are equally far");
        f("unit", unit, dtk::above(0).measured_in("Å"), "length that points of the attention are measured in");
        f("pairs", pairs, {"distance", "local"},
          "what a pair is told of x_t: how far apart the two are, as Genie; or also where the second stands in the "
          "frame "
          "of the first, and how it is turned there");
        f("dropout", dropout, dtk::up_from(0, 1), "share of what triangles add to pairs that is dropped in training");
        f("preconditioned", preconditioned,
          "does the network answer what is left when all residues are denoised alike? Without it, as Genie, what ε̂ is "
          "off by "
          "is 600 times as much in x̂_0 where sampling begins, so that it must be trained for long");
        f("centred", centred, "is the mean of the data 0? Then ε̂ is told so, see above");
        f("conditional", conditional, "is the network told the class?");
    }
};

/// Two kinds of triangles, then each pair by itself.
struct PairLayer final : dtk::Module {
    PairLayer(const Random& init, const Config& c, const std::string& name)
        : outgoing_(child<dtk::TriangleMultiplication>("outgoing", init, c.attention.pair, c.attention.pair,
                                                       dtk::TriangleMultiplication::Edges::outgoing)),
          incoming_(child<dtk::TriangleMultiplication>("incoming", init, c.attention.pair, c.attention.pair,
                                                       dtk::TriangleMultiplication::Edges::incoming)),
          transition_(child<dtk::Transition>("transition", init, c.attention.pair, 2)),
          after_outgoing_(child("after_outgoing", std::make_shared<dtk::Dropout>(c.dropout, name + "/outgoing"))),
          after_incoming_(child("after_incoming", std::make_shared<dtk::Dropout>(c.dropout, name + "/incoming"))) {}

    Tensor operator()(Tensor z, const Tensor& mask, const Random* random) const {
        z = z + (*after_outgoing_)((*outgoing_)(z, mask), random);
        z = z + (*after_incoming_)((*incoming_)(z, mask), random);
        return z + (*transition_)(z);
    }

    std::shared_ptr<dtk::TriangleMultiplication> outgoing_, incoming_;
    std::shared_ptr<dtk::Transition> transition_;
    std::shared_ptr<dtk::Dropout> after_outgoing_, after_incoming_;
};

struct StructureLayer final : dtk::Module {
    StructureLayer(const Random& init, const Config& c)
        : attention_(child<dtk::InvariantPointAttention>("attention", init, c.attention)),
          attended_(child<dtk::LayerNorm>("attended", init, c.attention.single)),
          transition_(child<dtk::Transition>("transition", init, c.attention.single, 2)),
          // Moves are of the size of the noise, which is about 1 Å.
          update_(child<dtk::BackboneUpdate>("update", init, c.attention.single, 1.0)) {}

    std::shared_ptr<dtk::InvariantPointAttention> attention_;
    std::shared_ptr<dtk::LayerNorm> attended_;
    std::shared_ptr<dtk::Transition> transition_;
    std::shared_ptr<dtk::BackboneUpdate> update_;
};

struct Genie final : dtk::Model {
    using Config = ::Config;
    Genie(const Config& config, const dtk::BuildContext& context) : c(config), process_(context.process()) {
        const auto space = context.space();
        if (space.shape.size() != 2 || space.shape[1] != 3 || space.shape[0] < 4)
            throw dtk::Error("genie wants chains of at least 4 points in space, [L, 3]",
                             "use data such as `chains` with atoms = \"ca\"");
        process_.accept(dtk::PredictionType::eps);
        if (c.preconditioned) gaussian_ = &dtk::gaussian(process_, "genie with preconditioned = true");
        if (c.conditional && space.classes == 0)
            throw dtk::Error("`conditional` needs data with classes", "use conditional = false");
        const auto init = context.random("init");
        const auto single = c.attention.single, pair = c.attention.pair, waves = single + single % 2;
        time_ = child("time", std::make_shared<dtk::NoiseInput>(dtk::PredictionType::eps, "time", waves, process_));
        place_ = child("place", std::make_shared<dtk::SinusoidalEmbedding>(waves));
        single_ = child<Linear>("single", init, 2 * waves, single);
        if (c.conditional)
            label_ = child<dtk::Embedding>("label", init, space.classes, single, 1.0, context.drops_conditions());
        first_ = child<Linear>("first", init, single, pair);
        second_ = child<Linear>("second", init, single, pair);
        along_ = child<dtk::RelativePositions>("along", init, c.reach, pair);
        geometry_ = child<Linear>("geometry", init, c.pairs == "local" ? 13 : 1, pair);
        for (std::int64_t i = 0; i < c.pair_layers; ++i) {
            const auto name = fmt::format("pair{}", i);
            pair_layers_.push_back(child<PairLayer>(name, init, c, name));
        }
        for (std::int64_t i = 0; i < c.structure_layers; ++i)
            structure_layers_.push_back(child<StructureLayer>(fmt::format("structure{}", i), init, c));
    }

    dtk::PredictionType predicts() const override { return dtk::PredictionType::eps; }
    bool knows_null_condition() const override { return label_ && label_->knows_null(); }

    dtk::Prediction forward(const Tensor& given, const dtk::Time& t, const dtk::Condition& condition) override {
        const auto L = given.size(1);
        const auto x = given.to(type());
        const auto mask = dtk::residue_mask(condition, given, x), there = mask.unsqueeze(-1);
        const auto centred = dtk::centred(x, mask);
        auto frames = dtk::frenet_frames(centred, mask);

        // What residues and pairs know at the start.
        const auto time = time_->embedding(x, t).to(x.scalar_type()).unsqueeze(1);
        const auto place = (*place_)(at::arange(L, x.options())).to(x.scalar_type()).unsqueeze(0);
        auto s = (*single_)(at::cat({time.expand({x.size(0), L, -1}), place.expand({x.size(0), L, -1})}, -1));
        if (label_) s = s + (*label_)(condition).to(x.scalar_type()).unsqueeze(1);
        auto z = (*first_)(s).unsqueeze(2) + (*second_)(s).unsqueeze(1) + (*along_)(L) + (*geometry_)(seen(frames));

        const auto both = there * mask.unsqueeze(1);
        for (const auto& layer : pair_layers_) z = (*layer)(z, both, condition.random);
        for (const auto& layer : structure_layers_) {
            s = (*layer->attended_)(s + (*layer->attention_)(s, z, frames, mask));
            s = s + (*layer->transition_)(s);
            frames = (*layer->update_)(s, frames, mask);
        }
        return {predicts(),
                told(unscaled(centred - frames.translation, centred, t), x, mask, t).to(given.scalar_type()),
                {}};
    }

 private:
    at::ScalarType type() const { return parameters().front().scalar_type(); }

    /// What is seen of each pair, [B, L, L, 1 or 13]: the distance, near 0 as it is and far away as its logarithm; and
    /// in the frame of the first the place of the second, drawn together likewise, and its turn.
    Tensor seen(const Frames& frames) const {
        const auto B = frames.translation.size(0), L = frames.translation.size(1);
        const auto apart = frames.translation.unsqueeze(1) - frames.translation.unsqueeze(2);
        const auto distance = (apart.square().sum(-1, true) + 1e-8).sqrt();
        const auto near = (distance / nearby).log1p() * nearby;
        if (c.pairs == "distance") return near;
        const auto local = apart.matmul(frames.rotation) * (near / distance);
        const auto turn =
            frames.rotation.transpose(-1, -2).unsqueeze(2).matmul(frames.rotation.unsqueeze(1)).reshape({B, L, L, 9});
        return at::cat({near, local, turn}, -1);
    }

    /// ε̂ of what the frames have moved by.
    Tensor unscaled(const Tensor& moved, const Tensor& centred, const dtk::Time& t) const {
        if (!gaussian_) return moved;
        const auto signal = gaussian_->alpha(t) * gaussian_->data_sd(), noise = gaussian_->sigma(t);
        const auto all = square(signal) + square(noise);
        return sum_of(noise / all, centred, signal / sqrt(all), moved);
    }

    /// What x_t alone says where the network is blind.
    Tensor told(Tensor eps, const Tensor& x, const Tensor& mask, const dtk::Time& t) const {
        const auto there = mask.unsqueeze(-1);
        const auto alone =
            process_.convert({dtk::PredictionType::x0, at::zeros_like(x), {}}, dtk::PredictionType::eps, x, t);
        if (c.centred) eps = eps - dtk::masked_mean(eps, mask) + dtk::masked_mean(alone, mask);
        return there * eps + (1 - there) * alone;
    }

    static constexpr double nearby = 8;  // Å
    Config c;
    const dtk::Process& process_;
    const dtk::GaussianProcess* gaussian_ = nullptr;
    std::shared_ptr<dtk::NoiseInput> time_;
    std::shared_ptr<dtk::SinusoidalEmbedding> place_;
    std::shared_ptr<Linear> single_, first_, second_, geometry_;
    std::shared_ptr<dtk::Embedding> label_;
    std::shared_ptr<dtk::RelativePositions> along_;
    std::vector<std::shared_ptr<PairLayer>> pair_layers_;
    std::vector<std::shared_ptr<StructureLayer>> structure_layers_;
};
}  // namespace

DTK_PLUGIN(Model, genie, Genie,
           "traces of chains by Frenet frames and invariant point attention (Lin & AlQuraishi 2023)")
