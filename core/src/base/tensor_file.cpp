#include "base/tensor_file.hpp"

#include <bit>
#include <cmath>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dtk/error.hpp>

#include "base/files.hpp"

namespace dtk {

namespace {

constexpr std::uint64_t longest_header = 16 << 20;

std::uint64_t size_of(const std::string& dtype) {
    static const std::map<std::string, std::uint64_t> sizes{{"BOOL", 1}, {"U8", 1},   {"I8", 1},  {"I16", 2},
                                                            {"F16", 2},  {"BF16", 2}, {"I32", 4}, {"F32", 4},
                                                            {"I64", 8},  {"F64", 8}};
    const auto found = sizes.find(dtype);
    return found == sizes.end() ? 0 : found->second;
}

double half(std::uint16_t bits) {
    const int exponent = bits >> 10 & 31, fraction = bits & 1023;
    const double size = exponent == 31  ? (fraction ? NAN : INFINITY)
                        : exponent == 0 ? std::ldexp(fraction, -24)
                                        : std::ldexp(fraction + 1024, exponent - 25);
    return bits >> 15 ? -size : size;
}

template <class T>
T at(const std::string& bytes, std::size_t i) {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof value, sizeof value);
    return value;
}

}  // namespace

std::vector<double> RawTensor::numbers() const {
    const auto size = size_of(dtype);
    if (size == 0) throw Error(fmt::format("numbers of the type {} cannot be read", dtype));
    std::vector<double> all(bytes.size() / size);
    for (std::size_t i = 0; i < all.size(); ++i)
        all[i] = dtype == "F32"    ? at<float>(bytes, i)
                 : dtype == "F64"  ? at<double>(bytes, i)
                 : dtype == "I64"  ? static_cast<double>(at<std::int64_t>(bytes, i))
                 : dtype == "I32"  ? at<std::int32_t>(bytes, i)
                 : dtype == "I16"  ? at<std::int16_t>(bytes, i)
                 : dtype == "F16"  ? half(at<std::uint16_t>(bytes, i))
                 : dtype == "BF16" ? std::bit_cast<float>(static_cast<std::uint32_t>(at<std::uint16_t>(bytes, i)) << 16)
                 : dtype == "I8"   ? at<std::int8_t>(bytes, i)
                                   : at<std::uint8_t>(bytes, i);
    return all;
}

std::map<std::string, RawTensor> read_tensors(const std::filesystem::path& path) {
    const auto damaged = [&](const std::string& why) {
        return Error(fmt::format("{} is no whole safetensors file: {}", path.string(), why));
    };
    const InputFile file(path);
    std::uint64_t length = 0;
    if (file.size() < 8) throw damaged("it is too short");
    file.read(0, &length, 8);
    if (length > longest_header || length > file.size() - 8) throw damaged("its header is longer than it is");
    std::string text(length, '\0');
    file.read(8, text.data(), length);
    const auto header = nlohmann::json::parse(text, nullptr, false);
    if (!header.is_object()) throw damaged("its header cannot be read");
    const auto room = file.size() - 8 - length;
    std::map<std::string, RawTensor> all;
    for (const auto& [name, entry] : header.items()) {
        if (name == "__metadata__") continue;
        RawTensor tensor;
        std::uint64_t begin = 0, end = 0, bytes = 0;
        try {
            tensor.dtype = entry.at("dtype").get<std::string>();
            tensor.shape = entry.at("shape").get<std::vector<std::int64_t>>();
            begin = entry.at("data_offsets").at(0).get<std::uint64_t>(),
            end = entry.at("data_offsets").at(1).get<std::uint64_t>();
        } catch (const nlohmann::json::exception&) {
            throw damaged(fmt::format("`{}` is not described", name));
        }
        bool overflow = begin > end || end > room || (bytes = size_of(tensor.dtype)) == 0;
        for (const auto n : tensor.shape)
            overflow = overflow || n < 0 || __builtin_mul_overflow(bytes, static_cast<std::uint64_t>(n), &bytes);
        if (overflow || bytes != end - begin) throw damaged(fmt::format("`{}` does not lie in it", name));
        tensor.bytes.resize(bytes);
        file.read(8 + length + begin, tensor.bytes.data(), bytes);
        all.emplace(name, std::move(tensor));
    }
    return all;
}

}  // namespace dtk
