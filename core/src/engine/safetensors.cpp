#include <dtk/safetensors.hpp>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <dtk/error.hpp>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/files.hpp"
#include "base/tensor_file.hpp"

namespace dtk {
namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

namespace {

struct NamedType {
    at::ScalarType type;
    const char* name;
};
// In the order in which the reference writer lays tensors out, so that each begins at a multiple of its element's size.
constexpr std::array<NamedType, 10> named_types{{{at::kLong, "I64"},
                                                 {at::kDouble, "F64"},
                                                 {at::kFloat, "F32"},
                                                 {at::kInt, "I32"},
                                                 {at::kBFloat16, "BF16"},
                                                 {at::kHalf, "F16"},
                                                 {at::kShort, "I16"},
                                                 {at::kChar, "I8"},
                                                 {at::kByte, "U8"},
                                                 {at::kBool, "BOOL"}}};

at::ScalarType type_called(const std::string& dtype) {
    const auto found = std::ranges::find_if(named_types, [&](const auto& known) { return dtype == known.name; });
    if (found == named_types.end()) throw Error(fmt::format("tensors of the type {} cannot be loaded", dtype));
    return found->type;
}

std::size_t layout_rank(at::ScalarType type) {
    return static_cast<std::size_t>(std::ranges::find(named_types, type, &NamedType::type) - named_types.begin());
}

using Item = std::pair<std::string, at::Tensor>;

std::vector<Item> laid_out(const fs::path& path, const Safetensors& content) {
    const auto refuse = [&](const std::string& name, const std::string& reason) {
        throw Error(fmt::format("cannot write {}: tensor {}: {}", path.string(), quoted_name(name), reason));
    };
    std::vector<Item> items(content.tensors.begin(), content.tensors.end());
    for (const auto& [name, tensor] : items) {
        if (name.empty() || name == tensor_header::metadata_key || name.find('\0') != std::string::npos)
            refuse(name, "this name cannot be used");
        if (!tensor.defined()) refuse(name, "it has no value");
        if (tensor.layout() != at::kStrided) refuse(name, "it is not dense");
        if (layout_rank(tensor.scalar_type()) == named_types.size())
            refuse(name, fmt::format("the format has no {}", c10::toString(tensor.scalar_type())));
        if (static_cast<std::size_t>(tensor.dim()) > tensor_header::most_dimensions)
            refuse(name, fmt::format("{} dimensions, {} at most", tensor.dim(), tensor_header::most_dimensions));
    }
    std::ranges::stable_sort(items, {}, [](const Item& item) { return layout_rank(item.second.scalar_type()); });
    return items;
}

/// The length of the header and the header.
std::string header_of(const fs::path& path, const Safetensors& content, const std::vector<Item>& items) {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!content.metadata.empty()) header[tensor_header::metadata_key] = content.metadata;
    std::uint64_t end = 0;
    for (const auto& [name, tensor] : items) {
        const auto begin = std::exchange(end, end + tensor.nbytes());
        // ordered_json looks a key up one by one; these are known to be new.
        header.get_ref<nlohmann::ordered_json::object_t&>().push_back(
            {name,
             {{"dtype", named_types[layout_rank(tensor.scalar_type())].name},
              {"shape", tensor.sizes().vec()},
              {"data_offsets", {begin, end}}}});
    }
    std::string text;
    try {
        text = header.dump();
    } catch (const nlohmann::json::exception&) {
        throw Error(fmt::format("cannot write {}: a name in it is not UTF-8", path.string()));
    }
    text.append((tensor_header::length_bytes - text.size() % tensor_header::length_bytes) % tensor_header::length_bytes,
                ' ');
    if (text.size() > tensor_header::most_bytes || items.size() > tensor_header::most_tensors)
        throw Error(fmt::format("cannot write {}: {} tensors and a header of {} bytes are too many", path.string(),
                                items.size(), text.size()));
    const std::uint64_t length = text.size();
    return std::string(reinterpret_cast<const char*>(&length), tensor_header::length_bytes) + text;
}

}  // namespace

std::string safetensors_start(const fs::path& path, const Safetensors& content) {
    return header_of(path, content, laid_out(path, content));
}

void save_safetensors(const fs::path& path, const Safetensors& content) {
    const auto items = laid_out(path, content);
    const auto start = header_of(path, content, items);
    write_atomically(path, [&](OutputFile& file) {
        file.write(start);
        for (const auto& [name, tensor] : items) {
            const auto plain = tensor.detach().cpu().contiguous().resolve_neg();
            file.write(plain.const_data_ptr(), plain.nbytes());
        }
    });
}

std::string checksum_of(const Safetensors& content) {
    Sha256 digest;
    // Each part after its length, so that no two contents read alike.
    const auto add = [&](std::string_view part) {
        const std::uint64_t length = part.size();
        digest.add(&length, sizeof length);
        digest.add(part);
    };
    for (const auto& [key, value] : content.metadata) {
        if (key == "checksum") continue;
        add(key);
        add(value);
    }
    for (const auto& [name, tensor] : content.tensors) {
        const auto plain = tensor.detach().cpu().contiguous().resolve_neg();
        add(name);
        add(named_types.at(layout_rank(plain.scalar_type())).name);
        add(fmt::format("{}", fmt::join(plain.sizes(), " ")));
        add({static_cast<const char*>(plain.const_data_ptr()), plain.nbytes()});
    }
    return digest.hex();
}

SafetensorsHeader read_safetensors_header(const fs::path& path) {
    SafetensorsHeader header;
    auto found = read_tensor_header(InputFile(path), path);
    header.metadata = std::move(found.metadata);
    for (auto& [name, entry] : found.entries)
        header.entries.emplace(
            name, SafetensorsEntry{type_called(entry.dtype), std::move(entry.shape), entry.offset, entry.bytes});
    return header;
}

Safetensors load_safetensors(const fs::path& path) {
    const InputFile file(path);
    auto header = read_tensor_header(file, path);
    Safetensors content;
    content.metadata = std::move(header.metadata);
    for (const auto& [name, entry] : header.entries) {
        auto tensor = at::empty(entry.shape, at::TensorOptions(type_called(entry.dtype)));
        file.read(entry.offset, tensor.mutable_data_ptr(), entry.bytes);
        // A bool that is neither 0 nor 1 is undefined behaviour for all who read it.
        if (tensor.scalar_type() == at::kBool && entry.bytes > 0 && (tensor.view(at::kByte) > 1).any().item<bool>())
            refuse_tensor(path, name, "a BOOL in it is neither 0 nor 1");
        content.tensors.emplace(name, std::move(tensor));
    }
    return content;
}

}  // namespace dtk
