// Tensors of the archives of torch.save.
#include <dtk/error.hpp>
#include <dtk/torch_file.hpp>

#include "base/torch_archive.hpp"

namespace dtk {

namespace {

at::ScalarType dtype_of(const std::string& name) {
    static const std::map<std::string, at::ScalarType> types{
        {"F32", at::kFloat}, {"F64", at::kDouble}, {"F16", at::kHalf},         {"BF16", at::kBFloat16},
        {"I64", at::kLong},  {"I32", at::kInt},    {"I16", at::kShort},        {"I8", at::kChar},
        {"U8", at::kByte},   {"BOOL", at::kBool},  {"C64", at::kComplexFloat}, {"C128", at::kComplexDouble}};
    return types.at(name);
}

}  // namespace

TorchFile load_torch_file(const std::filesystem::path& path) {
    const TorchArchive archive(path);
    std::map<std::string, Tensor> storages;
    TorchFile file{.tensors = {}, .settings = archive.settings(), .others = archive.others()};
    for (const auto& [name, tensor] : archive.tensors()) {
        auto& bytes = storages[tensor.storage];
        if (!bytes.defined()) {
            bytes = at::empty({static_cast<std::int64_t>(archive.bytes_of(tensor.storage))}, at::kByte);
            archive.read(tensor.storage, bytes.mutable_data_ptr());
        }
        const auto dtype = dtype_of(tensor.dtype);
        const auto size = static_cast<std::int64_t>(c10::elementSize(dtype));
        const auto whole = bytes.narrow(0, 0, bytes.numel() / size * size).view(dtype);
        file.tensors[name] = whole.as_strided(tensor.shape, tensor.stride, tensor.offset);
    }
    return file;
}

}  // namespace dtk
