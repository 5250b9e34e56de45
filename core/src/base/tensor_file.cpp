#include "base/tensor_file.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <dtk/error.hpp>

namespace dtk {
namespace fs = std::filesystem;

std::string quoted_name(const std::string& name) {
    auto text = nlohmann::json(name).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    if (text.size() > 120) text = text.substr(0, 116) + "...\"";
    return text;
}

namespace {

struct Complaint {
    const fs::path& path;

    [[noreturn]] void file(const std::string& reason) const {
        throw Error(fmt::format("{} is no usable safetensors file: {}", path.string(), reason),
                    "it may be damaged or of another format: write or fetch it again");
    }
    [[noreturn]] void cut_short(std::uint64_t bytes, std::uint64_t expected) const {
        throw Error(fmt::format("{} is cut short: {} bytes, {} expected", path.string(), bytes, expected),
                    "the copy or the write of it did not finish: write or fetch it again");
    }
    [[noreturn]] void tensor(const std::string& name, const std::string& reason) const {
        file(fmt::format("tensor {}: {}", quoted_name(name), reason));
    }
};

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

using Json = nlohmann::json;

/// Refuses what the parser of JSON would let pass: a key given twice, nesting no valid header has, endless tensors.
class HeaderCheck final : public Json::json_sax_t {
 public:
    explicit HeaderCheck(const Complaint& complaint) : complaint_(complaint) {}

    bool null() override { return true; }
    bool boolean(bool) override { return true; }
    bool number_integer(Json::number_integer_t) override { return true; }
    bool number_unsigned(Json::number_unsigned_t) override { return true; }
    bool number_float(Json::number_float_t, const std::string&) override { return true; }
    bool string(std::string&) override { return true; }
    bool binary(Json::binary_t&) override { return true; }
    bool start_object(std::size_t) override {
        keys_.emplace_back();
        return deeper();
    }
    bool end_object() override {
        keys_.pop_back();
        return --depth_, true;
    }
    bool start_array(std::size_t) override { return deeper(); }
    bool end_array() override { return --depth_, true; }
    bool key(std::string& name) override {
        if (!keys_.back().insert(name).second)
            complaint_.file(fmt::format("its header has {} twice", quoted_name(name)));
        if (keys_.size() == 1 && keys_.back().size() > tensor_header::most_tensors + 1)
            complaint_.file(fmt::format("it has more than {} tensors", tensor_header::most_tensors));
        return true;
    }
    bool parse_error(std::size_t position, const std::string&, const Json::exception&) override {
        complaint_.file(fmt::format("its header is not JSON at byte {}", position));
    }

 private:
    bool deeper() {
        if (++depth_ > 3) complaint_.file("its header is nested too deeply");
        return true;
    }

    const Complaint& complaint_;
    std::vector<std::unordered_set<std::string>> keys_;
    int depth_ = 0;
};

Json parse_header(const Complaint& complaint, const std::string& text) {
    // To the parser a NUL is the end of the text, whatever follows.
    if (const auto nul = text.find('\0'); nul != std::string::npos)
        complaint.file(fmt::format("its header is not JSON at byte {}", nul + 1));
    if (!text.starts_with('{')) complaint.file("its header does not begin with {");
    HeaderCheck check(complaint);
    Json::sax_parse(text, &check);
    return Json::parse(text);
}

std::map<std::string, std::string> metadata_in(const Complaint& complaint, const Json& value) {
    if (!value.is_object()) complaint.file("__metadata__ is not a table of texts");
    std::map<std::string, std::string> metadata;
    for (const auto& [key, text] : value.items()) {
        if (!text.is_string()) complaint.file(fmt::format("__metadata__ {} is not a text", quoted_name(key)));
        metadata.emplace(key, text.get<std::string>());
    }
    return metadata;
}

/// Bytes of a tensor, all of shape's dimensions multiplied with care (zeros apart, or [0, 2^62, 2^62] would pass).
std::uint64_t byte_count(const Complaint& complaint, const std::string& name, const TensorEntry& entry) {
    std::uint64_t bytes = size_of(entry.dtype);
    bool empty = false;
    for (const auto size : entry.shape) {
        if (size == 0) {
            empty = true;
        } else if (bytes > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max() / size)) {
            complaint.tensor(name, fmt::format("its shape [{}] is too large", fmt::join(entry.shape, ", ")));
        } else {
            bytes *= static_cast<std::uint64_t>(size);
        }
    }
    return empty ? 0 : bytes;
}

TensorEntry entry_in(const Complaint& complaint, const std::string& name, const Json& value) {
    if (name.empty() || name.find('\0') != std::string::npos) complaint.tensor(name, "this name cannot be used");
    if (!value.is_object()) complaint.tensor(name, "it is not described by a table");
    const auto part = [&](const char* key) -> const Json& {
        const auto found = value.find(key);
        if (found == value.end()) complaint.tensor(name, fmt::format("it has no {}", key));
        return *found;
    };
    const auto whole = [](const Json& number) {
        return number.is_number_unsigned() &&
               number.get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    };
    TensorEntry entry{};

    const auto& dtype = part("dtype");
    if (!dtype.is_string()) complaint.tensor(name, "its dtype is not a text");
    entry.dtype = dtype.get<std::string>();
    if (size_of(entry.dtype) == 0)
        complaint.tensor(name, fmt::format("its dtype {} is not known", quoted_name(entry.dtype)));

    const auto& shape = part("shape");
    if (!shape.is_array() || shape.size() > tensor_header::most_dimensions || !std::ranges::all_of(shape, whole))
        complaint.tensor(name,
                         fmt::format("its shape is not a list of at most {} sizes", tensor_header::most_dimensions));
    entry.shape = shape.get<std::vector<std::int64_t>>();

    const auto& offsets = part("data_offsets");
    if (!offsets.is_array() || offsets.size() != 2 || !std::ranges::all_of(offsets, whole) || offsets[0] > offsets[1])
        complaint.tensor(name, "its data_offsets are not a begin and an end");
    entry.offset = offsets[0].get<std::uint64_t>();
    entry.bytes = offsets[1].get<std::uint64_t>() - entry.offset;

    if (const auto needed = byte_count(complaint, name, entry); needed != entry.bytes)
        complaint.tensor(name, fmt::format("{} of shape [{}] takes {} bytes, its data_offsets hold {}", entry.dtype,
                                           fmt::join(entry.shape, ", "), needed, entry.bytes));
    return entry;
}

/// Each tensor must begin where the one before it ends. → the end of the last.
std::uint64_t covered(const Complaint& complaint, const std::map<std::string, TensorEntry>& entries) {
    std::vector<const std::pair<const std::string, TensorEntry>*> order;
    for (const auto& entry : entries) order.push_back(&entry);
    std::ranges::sort(order, {}, [](const auto* entry) {
        return std::pair(entry->second.offset, entry->second.offset + entry->second.bytes);
    });
    std::uint64_t end = 0;
    for (const auto* entry : order) {
        const auto begin = entry->second.offset;
        if (begin != end)
            complaint.tensor(
                entry->first,
                fmt::format("it begins at byte {} of the data, {} byte {}", begin,
                            begin < end ? "inside another tensor that ends at" : "leaving a hole from", end));
        end += entry->second.bytes;
    }
    return end;
}

}  // namespace

void refuse_tensor(const fs::path& path, const std::string& name, const std::string& reason) {
    Complaint{path}.tensor(name, reason);
}

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

TensorHeader read_tensor_header(const InputFile& file, const fs::path& path) {
    const Complaint complaint{path};
    if (file.size() < tensor_header::length_bytes) complaint.cut_short(file.size(), tensor_header::length_bytes);
    std::uint64_t length = 0;
    file.read(0, &length, tensor_header::length_bytes);
    if (length > tensor_header::most_bytes)
        complaint.file(
            fmt::format("its header is said to have {} bytes, {} at most", length, tensor_header::most_bytes));
    const auto data = tensor_header::length_bytes + length;
    if (file.size() < data) complaint.cut_short(file.size(), data);
    std::string text(length, '\0');
    file.read(tensor_header::length_bytes, text.data(), text.size());

    TensorHeader header;
    const auto json = parse_header(complaint, text);
    for (const auto& [name, value] : json.items()) {
        if (name == tensor_header::metadata_key)
            header.metadata = metadata_in(complaint, value);
        else
            header.entries.emplace(name, entry_in(complaint, name, value));
    }
    const auto end = data + covered(complaint, header.entries);
    if (file.size() < end) complaint.cut_short(file.size(), end);
    if (file.size() > end) complaint.file(fmt::format("{} bytes follow its last tensor", file.size() - end));
    for (auto& [name, entry] : header.entries) entry.offset += data;
    return header;
}

std::map<std::string, RawTensor> read_tensors(const fs::path& path) {
    const InputFile file(path);
    std::map<std::string, RawTensor> all;
    for (auto& [name, entry] : read_tensor_header(file, path).entries) {
        RawTensor tensor{entry.dtype, entry.shape, std::string(entry.bytes, '\0')};
        file.read(entry.offset, tensor.bytes.data(), entry.bytes);
        all.emplace(name, std::move(tensor));
    }
    return all;
}

}  // namespace dtk
