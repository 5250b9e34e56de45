// log p(c | x) up to a constant, for data with classes. Images: convolutions of stride 2, each with GroupNorm and SiLU,
// the mean over what is left of the image, and a linear map,
//   h_0 = x,   h_{i+1} = SiLU(GroupNorm(conv h_i)),   f = mean over pixels of h_n,   log-odds = W f + b
// with twice the channels at each level. Other data: f = the last of `levels` layers SiLU(W_i h_i + b_i).
// With `timed` the class of a noisy x_t is asked for (as guidance by a classifier does; Dhariwal & Nichol 2021): an
// embedding of 1000·t/T is added to the first layer's channels.
#include <string>
#include <vector>

#include <fmt/format.h>

#include <dtk/classifier.hpp>
#include <dtk/dataset.hpp>
#include <dtk/layers.hpp>
#include <dtk/process.hpp>

namespace {

using at::Tensor;

struct Network final : dtk::Classifier {
    struct Config {
        std::int64_t channels = 32, levels = 3, groups = 8;
        bool timed = false;
        void fields(dtk::Fields& f) {
            f("channels", channels, dtk::at_least(1),
              "channels of the first level; each further one has twice as many");
            f("levels", levels, dtk::in(1, 8), "levels; each halves the size of an image");
            f("groups", groups, dtk::at_least(1), "groups of channels that are normalised together");
            f("timed", timed, "is it told the time of a noisy x_t?");
        }
    };

    Network(const Config& c, const dtk::BuildContext& context) : shape_(context.space().shape) {
        const auto classes = context.space().classes;
        if (classes < 2)
            throw dtk::Error("a classifier needs data with two classes or more",
                             "use other data, or give the data their labels");
        const auto init = context.random("init");
        if (c.timed) {
            time_ = child(
                "time", std::make_shared<dtk::SinusoidalEmbedding>(2 * c.channels, 1000.0 / context.process().steps()));
            time_in_ = child<dtk::Linear>("time_in", init, 2 * c.channels, c.channels);
        }
        std::int64_t in = 1, out = c.channels;
        if (image())
            in = shape_[0];
        else
            for (const auto size : shape_) in *= size;
        for (std::int64_t i = 0; i < c.levels; ++i, in = out, out *= 2) {
            if (image()) {
                convolutions_.push_back(child<dtk::Conv2d>(fmt::format("conv{}", i), init, in, out, 3, 2));
                norms_.push_back(
                    child<dtk::GroupNorm>(fmt::format("norm{}", i), init, out, c.groups, dtk::GroupNorm::Then::silu));
            } else {
                layers_.push_back(child<dtk::Linear>(fmt::format("layer{}", i), init, in, out));
            }
        }
        out_ = child<dtk::Linear>("out", init, in, classes);
    }

    std::vector<std::int64_t> shape() const override { return shape_; }

    Tensor features(const Tensor& x, const dtk::Time& t) override {
        const auto shift = time_ ? (*time_in_)((*time_)(t.on(x))) : Tensor();
        auto h = image() ? dtk::to_image_layout(x.to(at::kFloat)) : x.flatten(1).to(at::kFloat);
        for (std::size_t i = 0; i < layers_.size(); ++i) {
            h = (*layers_[i])(h);
            if (i == 0 && shift.defined()) h = h + shift;
            h = at::silu(h);
        }
        for (std::size_t i = 0; i < convolutions_.size(); ++i) {
            h = (*convolutions_[i])(h);
            if (i == 0 && shift.defined()) h = h + shift.unsqueeze(2).unsqueeze(3);
            h = (*norms_[i])(h);
        }
        return image() ? h.mean({2, 3}) : h;
    }

    dtk::Prediction forward(const Tensor& x, const dtk::Time& t, const dtk::Condition&) override {
        return {predicts(), (*out_)(features(x, t)).to(x.scalar_type()), {}};
    }

 private:
    bool image() const { return shape_.size() == 3; }

    std::vector<std::int64_t> shape_;
    std::shared_ptr<dtk::SinusoidalEmbedding> time_;
    std::shared_ptr<dtk::Linear> time_in_, out_;
    std::vector<std::shared_ptr<dtk::Linear>> layers_;
    std::vector<std::shared_ptr<dtk::Conv2d>> convolutions_;
    std::vector<std::shared_ptr<dtk::GroupNorm>> norms_;
};
}  // namespace

DTK_PLUGIN(Model, classifier, Network, "tells classes apart: convolutions for images, layers for other data")
