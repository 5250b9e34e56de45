#pragma once
// Weights that PyTorch's torch.save wrote (.pt, .pth, .ckpt), read as data: no code in the file is run or imported.
#include <filesystem>
#include <map>
#include <string>

#include <dtk/tensor.hpp>

namespace dtk {

struct TorchFile {
    std::map<std::string, Tensor> tensors;        ///< by the keys that lead to them, as "model.conv.weight"; on the CPU
    std::map<std::string, std::string> settings;  ///< numbers and texts, by the keys that lead to them
    std::map<std::string, std::string> others;    ///< what was left alone: keys, and the name of its class
};

/// Tensors that shared their storage share it. Errors: Error for what PyTorch before 1.6 wrote, a pickle that carries
/// code, TorchScript, another format, damage; with the cure.
DTK_API TorchFile load_torch_file(const std::filesystem::path& path);

}  // namespace dtk
