// The trunk of Yim et al., "SE(3) Diffusion Model with Application to Protein Backbone Generation" (FrameDiff), 2023,
// which answers the frames at t = 0 of a chain of noisy ones, [L, 3, 4]. Small RFdiffusion (Watson et al. 2023) stands
// on it too, in place of RoseTTAFold, whose size and pretrained weights are out of reach.
//   s = MLP(place, time),   z = MLP(s_i, s_j, j − i, distances of the frames last answered),   F_0 = x_t,   and in each
//   block s ← LN(s + IPA(s, z, F)),   s ← s + W transformer(s, s_0),   s ← transition(s),   F ← F ∘ update(s),   z ←
//   edge(z, s)
// It sees nothing of how and where the whole chain stands, so what it answers turns with x_t; the mean of the places,
// which is 0 in the data, is 0 in the answer.
#include <vector>

#include <fmt/format.h>

#include <dtk/block_answers.hpp>
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
    std::int64_t blocks = 3, layers = 1, reach = 32, bins = 22;
    double unit = 10;
    bool self_condition = true, conditional = false;
    void fields(dtk::Fields& f) {
        f("single", attention.single, dtk::at_least(1), "numbers that each residue knows; FrameDiff has 256");
        f("pair", attention.pair, dtk::at_least(1), "numbers that each pair of residues knows; FrameDiff has 128");
        f("blocks", blocks, dtk::at_least(1), "blocks that move the frames; FrameDiff has 4");
        f("layers", layers, dtk::at_least(0), "of the transformer along the chain in each block; FrameDiff has 2");
        f("heads", attention.heads, dtk::at_least(1), "heads of both attentions; they divide `single`");
        f.require(attention.heads < 1 || attention.single % attention.heads == 0, "heads",
                  fmt::format("= {} does not divide `single` = {}", attention.heads, attention.single),
                  "let `heads` divide `single`");
        f("scalars", attention.scalars, dtk::at_least(1), "numbers of a query, of a key and of a value in each head");
        f("query_points", attention.query_points, dtk::at_least(1), "points of a query and of a key in each head");
        f("value_points", attention.value_points, dtk::at_least(1), "points of a value in each head");
        f("reach", reach, dtk::at_least(1), "residues along the chain beyond which all are equally far");
        f("unit", unit, dtk::above(0).measured_in("Å"), "length that places are measured in");
        f("self_condition", self_condition, "is it shown the distances of the frames that it answered last?");
        f("bins", bins, dtk::at_least(2), "of these distances, up to 20 Å");
        f("conditional", conditional, "is the network told the class?");
    }
};

/// A layer of self-attention along the chain, and a transition.
struct TransformerLayer final : dtk::Module {
    TransformerLayer(const Random& init, std::int64_t width, std::int64_t heads)
        : heads_(heads),
          norm_(child<dtk::LayerNorm>("norm", init, width)),
          qkv_(child<Linear>("qkv", init, width, 3 * width)),
          mixed_(child<Linear>("mixed", init, width, width)),
          transition_(child<dtk::Transition>("transition", init, width, 2)) {}

    /// left_out: [B, 1, 1, L] bool
    Tensor operator()(const Tensor& x, const Tensor& left_out) const {
        const auto B = x.size(0), L = x.size(1), width = x.size(2);
        const auto qkv = (*qkv_)((*norm_)(x)).view({B, L, 3, heads_, width / heads_}).permute({2, 0, 3, 1, 4}).unbind();
        const auto logits = qkv[0].matmul(qkv[1].transpose(-1, -2)) / std::sqrt(static_cast<double>(width / heads_));
        const auto seen = logits.masked_fill(left_out, -1e9).softmax(-1).matmul(qkv[2]);
        const auto h = x + (*mixed_)(seen.transpose(1, 2).reshape({B, L, width}));
        return h + (*transition_)(h);
    }

    std::int64_t heads_;
    std::shared_ptr<dtk::LayerNorm> norm_;
    std::shared_ptr<Linear> qkv_, mixed_;
    std::shared_ptr<dtk::Transition> transition_;
};

struct Block final : dtk::Module {
    Block(const Random& init, const Config& c, bool last)
        : attention_(child<dtk::InvariantPointAttention>("attention", init, c.attention)),
          attended_(child<dtk::LayerNorm>("attended", init, c.attention.single)),
          transition_(child<dtk::Transition>("transition", init, c.attention.single, 2)),
          update_(child<dtk::BackboneUpdate>("update", init, c.attention.single, 1.0)) {
        const auto single = c.attention.single, pair = c.attention.pair;
        for (std::int64_t i = 0; i < c.layers; ++i)
            layers_.push_back(
                child<TransformerLayer>(fmt::format("layer{}", i), init, 2 * single, 2 * c.attention.heads));
        if (c.layers > 0) {
            skip_ = child<Linear>("skip", init, single, single);
            along_ = child<Linear>("along", init, 2 * single, single, dtk::Start::zeros);
        }
        if (last) return;
        edge_in_ = child<Linear>("edge_in", init, pair + 2 * single, 2 * pair);
        edge_out_ = child<Linear>("edge_out", init, 2 * pair, pair, dtk::Start::zeros);
        edge_norm_ = child<dtk::LayerNorm>("edge_norm", init, pair);
    }

    /// s0: what residues knew at the start
    void operator()(Tensor& s, Tensor& z, Frames& frames, const Tensor& s0, const Tensor& mask) const {
        s = (*attended_)(s + (*attention_)(s, z, frames, mask));
        if (along_) {
            const auto left_out = (mask == 0).unsqueeze(1).unsqueeze(1);
            auto h = at::cat({s, (*skip_)(s0)}, -1);
            for (const auto& layer : layers_) h = (*layer)(h, left_out);
            s = s + (*along_)(h);
        }
        s = s + (*transition_)(s);
        frames = (*update_)(s, frames, mask);
        if (!edge_in_) return;
        const auto of_both = at::cat({z, across(s, 2), across(s, 1)}, -1);
        z = (*edge_norm_)(z + (*edge_out_)(at::relu((*edge_in_)(of_both))));
    }

    /// s of the first or the second of each pair, [B, L, L, C]
    static Tensor across(const Tensor& s, std::int64_t axis) {
        return s.unsqueeze(axis).expand({s.size(0), s.size(1), s.size(1), s.size(2)});
    }

    std::shared_ptr<dtk::InvariantPointAttention> attention_;
    std::shared_ptr<dtk::LayerNorm> attended_, edge_norm_;
    std::shared_ptr<dtk::Transition> transition_;
    std::shared_ptr<dtk::BackboneUpdate> update_;
    std::vector<std::shared_ptr<TransformerLayer>> layers_;
    std::shared_ptr<Linear> skip_, along_, edge_in_, edge_out_;
};

struct FrameIpa final : dtk::Model {
    using Config = ::Config;
    FrameIpa(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto space = context.space();
        if (space.shape.size() != 3 || space.shape[1] != 3 || space.shape[2] != 4)
            throw dtk::Error("frame_ipa wants chains of frames, [L, 3, 4]",
                             "use data of backbones, such as `chains` with atoms = \"backbone\", codec = \"backbone\", "
                             "process = \"se3\"");
        context.process().accept(dtk::PredictionType::x0);
        if (c.conditional && space.classes == 0)
            throw dtk::Error("`conditional` needs data with classes", "use conditional = false");
        const auto init = context.random("init");
        const auto single = c.attention.single, pair = c.attention.pair, waves = single + single % 2;
        time_ =
            child("time", std::make_shared<dtk::NoiseInput>(dtk::PredictionType::x0, "time", waves, context.process()));
        place_ = child("place", std::make_shared<dtk::SinusoidalEmbedding>(waves));
        single1_ = child<Linear>("single1", init, 2 * waves, single);
        single2_ = child<Linear>("single2", init, single, single);
        single3_ = child<Linear>("single3", init, single, single);
        singles_ = child<dtk::LayerNorm>("singles", init, single);
        if (c.conditional)
            label_ = child<dtk::Embedding>("label", init, space.classes, single, 1.0, context.drops_conditions());
        first_ = child<Linear>("first", init, single, pair);
        second_ = child<Linear>("second", init, single, pair);
        along_ = child<dtk::RelativePositions>("along", init, c.reach, pair);
        if (c.self_condition)
            distances_ = &parameter(
                "distances", dtk::starting_value(dtk::Start::uniform, {c.bins, pair}, pair, init.stream("distances")));
        pair2_ = child<Linear>("pair2", init, pair, pair);
        pair3_ = child<Linear>("pair3", init, pair, pair);
        pairs_ = child<dtk::LayerNorm>("pairs", init, pair);
        for (std::int64_t i = 0; i < c.blocks; ++i)
            blocks_.push_back(child<Block>(fmt::format("block{}", i), init, c, i + 1 == c.blocks));
    }

    dtk::PredictionType predicts() const override { return dtk::PredictionType::x0; }
    bool self_conditions() const override { return c.self_condition; }
    bool knows_null_condition() const override { return label_ && label_->knows_null(); }

    dtk::Prediction forward(const Tensor& given, const dtk::Time& t, const dtk::Condition& condition) override {
        const auto L = given.size(1);
        const auto x = given.to(parameters().front().scalar_type());
        const auto mask = dtk::residue_mask(condition, given, x);
        // Attention measures in units, and updates are of that size.
        Frames frames{x.slice(-1, 0, 3).contiguous(), dtk::centred(x.select(-1, 3), mask) / c.unit};

        // What residues and pairs know at the start.
        const auto time = time_->embedding(x, t).to(x.scalar_type()).unsqueeze(1);
        const auto place = (*place_)(at::arange(L, x.options())).to(x.scalar_type()).unsqueeze(0);
        auto s = (*single1_)(at::cat({time.expand({x.size(0), L, -1}), place.expand({x.size(0), L, -1})}, -1));
        if (label_) s = s + (*label_)(condition).to(x.scalar_type()).unsqueeze(1);
        s = (*singles_)((*single3_)(at::relu((*single2_)(at::relu(s)))));
        auto z = (*first_)(s).unsqueeze(2) + (*second_)(s).unsqueeze(1) + (*along_)(L);
        if (distances_) z = z + distances(condition, x);
        z = (*pairs_)((*pair3_)(at::relu((*pair2_)(at::relu(z)))));

        const auto s0 = s;
        for (std::size_t i = 0; i < blocks_.size(); ++i) {
            (*blocks_[i])(s, z, frames, s0, mask);
            if (i + 1 < blocks_.size()) dtk::tell_block(condition, i, answer(frames, mask, given));
        }
        return {predicts(), answer(frames, mask, given), {}};
    }

 private:
    /// As a state, what does not exist as the data have it.
    Tensor answer(const Frames& frames, const Tensor& mask, const Tensor& given) const {
        const auto there = mask.unsqueeze(-1).unsqueeze(-1);
        const auto R = there * frames.rotation + (1 - there) * at::eye(3, mask.options());
        const auto place = c.unit * dtk::centred(frames.translation, mask);
        return at::cat({R, place.unsqueeze(-1)}, -1).to(given.scalar_type());
    }

    /// A vector for how far apart the residues of the last answer are, up to 20 Å; nothing where there was none.
    Tensor distances(const dtk::Condition& condition, const Tensor& x) const {
        constexpr double furthest = 20;
        const auto before =
            condition.self_condition.defined() ? condition.self_condition.to(x.scalar_type()) : at::zeros_like(x);
        const auto place = before.select(-1, 3).detach();
        const auto apart = (place.unsqueeze(1) - place.unsqueeze(2)).square().sum(-1).sqrt();
        const auto bin =
            (apart * (static_cast<double>(c.bins - 1) / furthest)).clamp_max(static_cast<double>(c.bins - 1));
        // A rotation of no length says that nothing was answered.
        const auto said = (before.slice(-1, 0, 3).square().sum({2, 3}) > 0).to(x.scalar_type());
        return at::embedding(*distances_, bin.to(at::kLong)) * (said.unsqueeze(1) * said.unsqueeze(2)).unsqueeze(-1);
    }

    Config c;
    std::shared_ptr<dtk::NoiseInput> time_;
    std::shared_ptr<dtk::SinusoidalEmbedding> place_;
    std::shared_ptr<Linear> single1_, single2_, single3_, first_, second_, pair2_, pair3_;
    std::shared_ptr<dtk::LayerNorm> singles_, pairs_;
    std::shared_ptr<dtk::Embedding> label_;
    std::shared_ptr<dtk::RelativePositions> along_;
    Tensor* distances_ = nullptr;
    std::vector<std::shared_ptr<Block>> blocks_;
};
}  // namespace

DTK_PLUGIN(Model, frame_ipa, FrameIpa, "frames of residues by invariant point attention (Yim et al. 2023)")
