#include "base/npz.hpp"

#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <zlib.h>

#include <dtk/error.hpp>

#include "base/files.hpp"

namespace dtk {

namespace {

void put(std::string& to, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) to += static_cast<char>(value >> (8 * i));
}

template <class T>
NumpyArray row_of(std::string name, const char* descr, const std::vector<T>& values, std::vector<std::int64_t> shape) {
    if (shape.empty()) shape = {static_cast<std::int64_t>(values.size())};
    return {std::move(name), descr, std::move(shape),
            std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T))};
}

std::u32string characters(const std::string& text) {
    std::u32string all;
    for (std::size_t i = 0; i < text.size();) {
        const auto first = static_cast<unsigned char>(text[i++]);
        const int more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0xC0 ? 1 : 0;
        char32_t c = more == 0 ? first : first & (0x3F >> more);
        for (int k = 0; k < more && i < text.size(); ++k) c = c << 6 | (static_cast<unsigned char>(text[i++]) & 0x3F);
        all += c;
    }
    return all;
}

/// Magic, version 1.0, the length of the description, and the description, padded to a multiple of 64 bytes.
std::string npy_header(const NumpyArray& array) {
    auto description = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}{}), }}", array.descr,
                                   fmt::join(array.shape, ", "), array.shape.size() == 1 ? "," : "");
    description.resize((10 + description.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
    std::string header = "\x93NUMPY";
    put(header, 1, 2), put(header, description.size() + 1, 2);
    return header + description + "\n";
}

constexpr std::uint32_t the_day = 1 << 5 | 1;  // 1 January 1980: when it was written is no part of what was written

/// What the local header and the directory say alike of a file.
std::string about(const std::string& name, std::uint32_t crc, std::uint64_t size) {
    std::string text;
    put(text, 20, 2), put(text, 0x0800, 2), put(text, 0, 2);  // version 2.0, names in UTF-8, stored
    put(text, 0, 2), put(text, the_day, 2), put(text, crc, 4), put(text, size, 4), put(text, size, 4);
    put(text, name.size(), 2), put(text, 0, 2);
    return text;
}

}  // namespace

NumpyArray NumpyArray::of(std::string name, const std::vector<double>& values, std::vector<std::int64_t> shape) {
    return row_of(std::move(name), "<f8", values, std::move(shape));
}
NumpyArray NumpyArray::of(std::string name, const std::vector<std::int64_t>& values) {
    return row_of(std::move(name), "<i8", values, {});
}

NumpyArray NumpyArray::of(std::string name, const std::vector<std::string>& values) {
    std::vector<std::u32string> all;
    std::size_t longest = 1;
    for (const auto& value : values) longest = std::max(longest, all.emplace_back(characters(value)).size());
    NumpyArray array{std::move(name), fmt::format("<U{}", longest), {static_cast<std::int64_t>(values.size())}, {}};
    for (auto& text : all) {
        text.resize(longest);
        for (const auto c : text) put(array.bytes, c, 4);
    }
    return array;
}

void write_npz(const std::filesystem::path& path, const std::vector<NumpyArray>& arrays) {
    std::uint64_t total = 0;
    std::set<std::string> names;
    for (const auto& array : arrays) {
        total += array.bytes.size() + 1024 + 2 * array.name.size();
        if (!names.insert(array.name).second) throw Error(fmt::format("two arrays are called `{}`", array.name));
    }
    if (total >= UINT32_MAX) throw Error(fmt::format("{} would be larger than 4 GiB", path.string()));
    write_atomically(path, [&](OutputFile& file) {
        std::string directory;
        std::uint64_t offset = 0;
        for (const auto& array : arrays) {
            const auto name = array.name + ".npy", header = npy_header(array);
            auto crc = ::crc32_z(0, reinterpret_cast<const Bytef*>(header.data()), header.size());
            crc = ::crc32_z(crc, reinterpret_cast<const Bytef*>(array.bytes.data()), array.bytes.size());
            const auto same = about(name, static_cast<std::uint32_t>(crc), header.size() + array.bytes.size());
            const auto local = "PK\x03\x04" + same + name;
            for (const std::string_view part :
                 {std::string_view(local), std::string_view(header), std::string_view(array.bytes)})
                file.write(part);
            directory += "PK\x01\x02";
            put(directory, 20, 2), directory += same;
            put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 4),
                put(directory, offset, 4);
            directory += name;
            offset += local.size() + header.size() + array.bytes.size();
        }
        std::string end = "PK\x05\x06";
        put(end, 0, 4), put(end, arrays.size(), 2), put(end, arrays.size(), 2), put(end, directory.size(), 4),
            put(end, offset, 4), put(end, 0, 2);
        file.write(directory);
        file.write(end);
    });
}

}  // namespace dtk
