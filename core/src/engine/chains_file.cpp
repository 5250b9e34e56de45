// Chains in a safetensors file.
#include <limits>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/chains.hpp>
#include <dtk/error.hpp>
#include <dtk/safetensors.hpp>

namespace dtk {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view chains_format = "dtk chains 1";
constexpr double unit_of_file = 0.01;  // Å

[[noreturn]] void damaged(const fs::path& file, const std::string& why) {
    throw Error(fmt::format("{} is damaged: {}", file.string(), why), "make it again, dtk data import …, or fetch it");
}

Tensor part(const fs::path& file, const Safetensors& content, const std::string& name, at::ScalarType type,
            std::vector<std::int64_t> sizes) {
    const auto found = content.tensors.find(name);
    if (found == content.tensors.end()) damaged(file, fmt::format("it has no `{}`", name));
    const auto& tensor = found->second;
    if (sizes[0] < 0) sizes[0] = tensor.dim() > 0 ? tensor.size(0) : 0;
    if (tensor.scalar_type() != type || tensor.sizes() != at::IntArrayRef(sizes))
        damaged(file, fmt::format("`{}` is {} of [{}] and not {} of [{}]", name, c10::toString(tensor.scalar_type()),
                                  fmt::join(tensor.sizes(), ", "), c10::toString(type), fmt::join(sizes, ", ")));
    return tensor;
}

}  // namespace

void save_chains(const fs::path& file, const Chains& chains) {
    const auto* begin = chains.begin.const_data_ptr<std::int64_t>();
    auto atoms = at::empty(chains.atoms.sizes(), at::kShort);
    std::string names;
    for (std::int64_t i = 0; i < chains.size(); ++i) {
        const auto own = chains.atoms.slice(0, begin[i], begin[i + 1]).to(at::kDouble).div(unit_of_file).round();
        const auto least = own.amin({0, 1}), most = own.amax({0, 1});
        const auto about = own - ((least + most) / 2).round();
        const auto& name = chains.names[static_cast<std::size_t>(i)];
        if (!(about.abs().max().item<double>() <= std::numeric_limits<std::int16_t>::max()))
            throw Error(fmt::format("chain {} is {:.0f} Å wide, and the format ends at 655 Å", name,
                                    (most - least).max().item<double>() * unit_of_file),
                        "leave it out");
        atoms.slice(0, begin[i], begin[i + 1]).copy_(about);
        names += name + "\n";
    }
    const auto text = at::from_blob(names.data(), {static_cast<std::int64_t>(names.size())}, at::kByte).clone();
    Safetensors content{{{"atoms", atoms},
                         {"sequence", chains.sequence},
                         {"dssp", chains.dssp},
                         {"begin", chains.begin},
                         {"family", chains.family},
                         {"names", text}},
                        chains.about};
    content.metadata["format"] = chains_format;
    content.metadata["checksum"] = checksum_of(content);
    save_safetensors(file, content);
}

Chains load_chains(const fs::path& file) {
    const auto header = read_safetensors_header(file);
    if (const auto found = header.metadata.find("format");
        found == header.metadata.end() || found->second != chains_format)
        throw Error(fmt::format("{} is no file of chains", file.string()),
                    "make one: dtk data import promod3 --out chains.safetensors");
    const auto content = load_safetensors(file);
    if (const auto found = content.metadata.find("checksum");
        found == content.metadata.end() || found->second != checksum_of(content))
        damaged(file, "its checksum is another one");
    Chains chains;
    chains.about = content.metadata;
    chains.sequence = part(file, content, "sequence", at::kByte, {-1});
    const auto residues = chains.sequence.numel();
    chains.dssp = part(file, content, "dssp", at::kByte, {residues});
    chains.atoms = part(file, content, "atoms", at::kShort, {residues, 4, 3}).to(at::kFloat).mul_(unit_of_file);
    chains.begin = part(file, content, "begin", at::kLong, {-1});
    const auto n = chains.begin.numel() - 1;
    if (n < 0 || chains.begin[0].item<std::int64_t>() != 0 || chains.begin[n].item<std::int64_t>() != residues ||
        (n > 0 && chains.begin.diff().min().item<std::int64_t>() < 1))
        damaged(file, fmt::format("`begin` does not divide {} residues into chains", residues));
    chains.family = part(file, content, "family", at::kLong, {n});
    const auto names = part(file, content, "names", at::kByte, {-1});
    std::istringstream lines(
        {reinterpret_cast<const char*>(names.const_data_ptr<std::uint8_t>()), static_cast<std::size_t>(names.numel())});
    for (std::string line; std::getline(lines, line);) chains.names.push_back(line);
    if (chains.size() != n) damaged(file, fmt::format("{} names for {} chains", chains.size(), n));
    return chains;
}

}  // namespace dtk
