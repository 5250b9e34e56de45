#pragma once
// Blocks of a network whose inner values are not kept for the gradient but computed again when it is due: memory for
// time. Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016.
#include <functional>
#include <vector>

#include <dtk/module.hpp>
#include <dtk/random.hpp>
#include <dtk/tensor.hpp>

namespace dtk {

/// block(inputs), with the gradients of inputs and parameters that it would have: bit for bit, if an input that the
/// block uses twice is given twice, the use that stands last in it first. The block is called again under the same
/// autocast, so what it draws must come from addressed numbers (dtk::Random) that it holds itself. Where nothing is
/// differentiated, or in forward mode, it is just called.
DTK_API Tensor recomputed(std::function<Tensor(const std::vector<Tensor>& inputs)> block, std::vector<Tensor> inputs,
                          std::vector<Tensor> parameters);

}  // namespace dtk
