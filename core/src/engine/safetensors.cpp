#include "engine/safetensors.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <dtk/error.hpp>
#include <limits>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/files.hpp"

namespace dtk {
namespace fs = std::filesystem;
static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

namespace {

constexpr std::uint64_t length_bytes = 8, most_header_bytes = 16'000'000;
constexpr std::size_t most_tensors = 100'000, most_dimensions = 8;
constexpr const char* metadata_key = "__metadata__";

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

/// A name from a file we do not trust, fit for one line of a terminal.
std::string in_quotes(const std::string& name) {
    auto text = nlohmann::json(name).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
    if (text.size() > 120) text = text.substr(0, 116) + "...\"";
    return text;
}

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
        file(fmt::format("tensor {}: {}", in_quotes(name), reason));
    }
};

std::size_t layout_rank(at::ScalarType type) {
    return static_cast<std::size_t>(std::ranges::find(named_types, type, &NamedType::type) - named_types.begin());
}

using Item = std::pair<std::string, at::Tensor>;

std::vector<Item> laid_out(const fs::path& path, const Safetensors& content) {
    const auto refuse = [&](const std::string& name, const std::string& reason) {
        throw Error(fmt::format("cannot write {}: tensor {}: {}", path.string(), in_quotes(name), reason));
    };
    std::vector<Item> items(content.tensors.begin(), content.tensors.end());
    for (const auto& [name, tensor] : items) {
        if (name.empty() || name == metadata_key || name.find('\0') != std::string::npos)
            refuse(name, "this name cannot be used");
        if (!tensor.defined()) refuse(name, "it has no value");
        if (tensor.layout() != at::kStrided) refuse(name, "it is not dense");
        if (layout_rank(tensor.scalar_type()) == named_types.size())
            refuse(name, fmt::format("the format has no {}", c10::toString(tensor.scalar_type())));
        if (static_cast<std::size_t>(tensor.dim()) > most_dimensions)
            refuse(name, fmt::format("{} dimensions, {} at most", tensor.dim(), most_dimensions));
    }
    std::ranges::stable_sort(items, {}, [](const Item& item) { return layout_rank(item.second.scalar_type()); });
    return items;
}

std::string header_of(const fs::path& path, const Safetensors& content, const std::vector<Item>& items) {
    nlohmann::ordered_json header = nlohmann::ordered_json::object();
    if (!content.metadata.empty()) header[metadata_key] = content.metadata;
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
    text.append((length_bytes - text.size() % length_bytes) % length_bytes, ' ');
    if (text.size() > most_header_bytes || items.size() > most_tensors)
        throw Error(fmt::format("cannot write {}: {} tensors and a header of {} bytes are too many", path.string(),
                                items.size(), text.size()));
    return text;
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
        if (!keys_.back().insert(name).second) complaint_.file(fmt::format("its header has {} twice", in_quotes(name)));
        if (keys_.size() == 1 && keys_.back().size() > most_tensors + 1)
            complaint_.file(fmt::format("it has more than {} tensors", most_tensors));
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
        if (!text.is_string()) complaint.file(fmt::format("__metadata__ {} is not a text", in_quotes(key)));
        metadata.emplace(key, text.get<std::string>());
    }
    return metadata;
}

/// Bytes of a tensor, all of shape's dimensions multiplied with care (zeros apart, or [0, 2^62, 2^62] would pass).
std::uint64_t byte_count(const Complaint& complaint, const std::string& name, const SafetensorsEntry& entry) {
    std::uint64_t bytes = c10::elementSize(entry.dtype);
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

SafetensorsEntry entry_in(const Complaint& complaint, const std::string& name, const Json& value) {
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
    SafetensorsEntry entry{};

    const auto& dtype = part("dtype");
    if (!dtype.is_string()) complaint.tensor(name, "its dtype is not a text");
    const auto type = std::ranges::find_if(named_types, [&](const auto& known) { return dtype == known.name; });
    if (type == named_types.end())
        complaint.tensor(name, fmt::format("its dtype {} is not known", in_quotes(dtype.get<std::string>())));
    entry.dtype = type->type;

    const auto& shape = part("shape");
    if (!shape.is_array() || shape.size() > most_dimensions || !std::ranges::all_of(shape, whole))
        complaint.tensor(name, fmt::format("its shape is not a list of at most {} sizes", most_dimensions));
    entry.shape = shape.get<std::vector<std::int64_t>>();

    const auto& offsets = part("data_offsets");
    if (!offsets.is_array() || offsets.size() != 2 || !std::ranges::all_of(offsets, whole) || offsets[0] > offsets[1])
        complaint.tensor(name, "its data_offsets are not a begin and an end");
    entry.offset = offsets[0].get<std::uint64_t>();
    entry.bytes = offsets[1].get<std::uint64_t>() - entry.offset;

    if (const auto needed = byte_count(complaint, name, entry); needed != entry.bytes)
        complaint.tensor(name, fmt::format("{} of shape [{}] takes {} bytes, its data_offsets hold {}", type->name,
                                           fmt::join(entry.shape, ", "), needed, entry.bytes));
    return entry;
}

/// Each tensor must begin where the one before it ends. → the end of the last.
std::uint64_t covered(const Complaint& complaint, const std::map<std::string, SafetensorsEntry>& entries) {
    std::vector<const std::pair<const std::string, SafetensorsEntry>*> order;
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

SafetensorsHeader checked_header(const InputFile& file, const fs::path& path) {
    const Complaint complaint{path};
    if (file.size() < length_bytes) complaint.cut_short(file.size(), length_bytes);
    std::uint64_t length = 0;
    file.read(0, &length, length_bytes);
    if (length > most_header_bytes)
        complaint.file(fmt::format("its header is said to have {} bytes, {} at most", length, most_header_bytes));
    const auto data = length_bytes + length;
    if (file.size() < data) complaint.cut_short(file.size(), data);
    std::string text(length, '\0');
    file.read(length_bytes, text.data(), text.size());

    SafetensorsHeader header;
    const auto json = parse_header(complaint, text);
    for (const auto& [name, value] : json.items()) {
        if (name == metadata_key)
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

}  // namespace

void save_safetensors(const fs::path& path, const Safetensors& content) {
    const auto items = laid_out(path, content);
    const auto header = header_of(path, content, items);
    write_atomically(path, [&](OutputFile& file) {
        const std::uint64_t length = header.size();
        file.write(&length, length_bytes);
        file.write(header);
        for (const auto& [name, tensor] : items) {
            const auto plain = tensor.detach().cpu().contiguous().resolve_neg();
            file.write(plain.const_data_ptr(), plain.nbytes());
        }
    });
}

SafetensorsHeader read_safetensors_header(const fs::path& path) { return checked_header(InputFile(path), path); }

Safetensors load_safetensors(const fs::path& path) {
    const InputFile file(path);
    auto header = checked_header(file, path);
    Safetensors content;
    content.metadata = std::move(header.metadata);
    for (const auto& [name, entry] : header.entries) {
        auto tensor = at::empty(entry.shape, at::TensorOptions(entry.dtype));
        file.read(entry.offset, tensor.mutable_data_ptr(), entry.bytes);
        // A bool that is neither 0 nor 1 is undefined behaviour for all who read it.
        if (entry.dtype == at::kBool && entry.bytes > 0 && (tensor.view(at::kByte) > 1).any().item<bool>())
            Complaint{path}.tensor(name, "a BOOL in it is neither 0 nor 1");
        content.tensors.emplace(name, std::move(tensor));
    }
    return content;
}

}  // namespace dtk
