#pragma once
// Laws of what runs on an accelerator, on one that is pretended, which every machine has.
#include <functional>
#include <vector>

#include <dtk/tensor.hpp>

#include "laws/law.hpp"

namespace dtk::laws {

/// What a loop does again and again, everything that it needs made on the device beforehand. → its results
using Loop = std::function<std::vector<Tensor>()>;

/// Broken where loop(device) mixes tensors of two devices, answers on another device or with other numbers than on the
/// CPU, or has the host wait for the device; what is done once, in the first turn, may wait.
void on_pretend(Findings& found, const std::function<Loop(at::Device device)>& loop);

/// The law of every kind whose plugins work on tensors: codec, conditioner, model, sampler, guidance, loss.
Law stays_on_its_device();

}  // namespace dtk::laws
