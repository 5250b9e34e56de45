#pragma once
// A network that says a few numbers of an example: what losses own that judge examples or read them.
#include <memory>
#include <vector>

#include <dtk/fields.hpp>
#include <dtk/layers.hpp>

namespace dtk {

/// Images: convolutions of stride 2, each with SiLU and twice the channels of the one before; other data: layers with
/// SiLU. A linear map comes last. Nothing is normalised, and all of it can be differentiated twice.
class DTK_API Encoder : public Module {
 public:
    /// The fields of a loss that owns one.
    struct DTK_API Config {
        std::int64_t channels = 128, levels = 3;
        void fields(Fields& f);
    };
    /// shape: of an example. Errors: Error where an image cannot be halved so often.
    Encoder(const Random& random, const Config& config, const std::vector<std::int64_t>& shape, std::int64_t outputs);
    /// x: [B, ...] → [B, outputs]
    Tensor operator()(const Tensor& x) const;

 private:
    bool image_;
    std::vector<std::shared_ptr<Conv2d>> convolutions_;
    std::vector<std::shared_ptr<Linear>> layers_;
    std::shared_ptr<Linear> out_;
};

}  // namespace dtk
