#pragma once
// From examples to what the chain lives in, and back: latents.
#include <functional>
#include <memory>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/model.hpp>
#include <dtk/module.hpp>
#include <dtk/plugin.hpp>
#include <dtk/tensor.hpp>

#define DTK_Codec_VERSION 2_0

namespace dtk {

/// N(mean, variance) of every element.
struct Latents {
    Tensor mean;           ///< [B, ...]
    Tensor variance = {};  ///< shaped as mean; undefined: 0
};

/// Nothing in it is trained where it is used; what it measures of the data is a buffer, kept with the network.
class DTK_API Codec : public Module {
 public:
    static constexpr const char* kind = "codec";
    ~Codec() override;
    /// Of the latents; classes are the data's and need not be said.
    virtual Space space() const = 0;
    /// x: [B, ...] examples, on its device
    virtual Latents encode(const Tensor& x) const = 0;
    /// z: [B, ...] latents → examples
    virtual Tensor decode(const Tensor& z) const = 0;
    /// Are latents the examples themselves? Then what is known of the data's law holds of them.
    virtual bool is_identity() const { return false; }
};

/// A model that a codec can be made of, trained in an earlier stage: it predicts x_0, its own input gone through the
/// latents.
class DTK_API Autoencoder : public Model {
 public:
    ~Autoencoder() override;
    PredictionType predicts() const final { return PredictionType::x0; }
    /// Of the examples that it was made for.
    virtual std::vector<std::int64_t> shape() const = 0;
    virtual std::vector<std::int64_t> latent_shape() const = 0;
    virtual Latents encode(const Tensor& x) const = 0;
    virtual Tensor decode(const Tensor& z) const = 0;
    Prediction forward(const Tensor& x, const Time& t, const Condition& condition) final;
};

/// Mean and standard deviation of each channel (the first axis of an example), measured once on training examples and
/// kept: z = (x − mean)/sd. Variances count into the sd.
class DTK_API ChannelScale : public Module {
 public:
    /// `latents` of a batch of examples are what is measured, `n` of those of `data`.
    ChannelScale(const std::vector<std::int64_t>& shape, const Dataset& data, std::int64_t n,
                 std::function<Latents(const Tensor& x)> latents);
    Latents scaled(Latents latents) const;
    Tensor unscaled(const Tensor& z) const;

 private:
    void measure() const;
    const Dataset& data_;
    std::int64_t n_;
    std::function<Latents(const Tensor& x)> latents_;
    Tensor *mean_, *sd_;  ///< [C, 1, ...]; sd is 0 until it has been measured
    struct Once;
    std::shared_ptr<Once> once_;
};

}  // namespace dtk
