// Layers keep the memory layout of images they are given, on devices that have LibTorch's kernels alone too.
#include <dtk/layers.hpp>

#include "catch.hpp"
#include "pretend.hpp"
#include "support.hpp"

TEST_CASE("layers of images keep the layout of their input") {
    const dtk::Random random(4, "init");
    for (const at::Device where : {at::Device(at::kCPU), pretend::device()})
        for (const auto layout : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
            INFO(where.str() << ", " << layout);
            dtk::GroupNorm norm(random, 24, 8), with_silu(random, 24, 8, dtk::GroupNorm::Then::silu);
            dtk::Conv2d convolution(random, 24, 16, 3);
            for (dtk::Module* layer : std::initializer_list<dtk::Module*>{&norm, &with_silu, &convolution}) layer->to(where);
            const auto x = random.normal({3, 24, 5, 4}, at::TensorOptions(where).dtype(at::kFloat)).contiguous(layout);
            CHECK(norm(x).is_contiguous(layout));
            CHECK(with_silu(x).is_contiguous(layout));
            CHECK(convolution(x).is_contiguous(layout));
            CHECK(dtk::to_image_layout(x).is_contiguous(where.is_cpu() ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous));
        }
}
