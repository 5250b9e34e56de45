#include "base/npz.hpp"

#include <algorithm>
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

std::u32string code_points(const std::string& text) {
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

constexpr std::uint64_t most32 = 0xFFFFFFFF;  // a number that stands in ZIP64's extra field instead

std::uint64_t short_of(std::uint64_t value) { return std::min(value, most32); }

/// ZIP64's extra field with those of the numbers that the usual places cannot hold.
std::string extra_of(const std::vector<std::uint64_t>& numbers) {
    std::string field, values;
    for (const auto number : numbers)
        if (number >= most32) put(values, number, 8);
    if (!values.empty()) put(field, 1, 2), put(field, values.size(), 2);
    return field + values;
}

/// What the local header and the directory say alike of a file.
std::string about(const std::string& name, std::uint32_t crc, std::uint64_t size, std::size_t extra) {
    std::string text;
    put(text, size < most32 ? 20 : 45, 2), put(text, 0x0800, 2), put(text, 0, 2);  // names in UTF-8, stored
    put(text, 0, 2), put(text, the_day, 2), put(text, crc, 4), put(text, short_of(size), 4),
        put(text, short_of(size), 4);
    put(text, name.size(), 2), put(text, extra, 2);
    return text;
}

void each_piece(const NumpyArray& array, const std::function<void(std::string_view)>& take) {
    if (array.pieces)
        array.pieces(take);
    else
        take(array.bytes);
}

/// The record that stands before the usual end where an offset or the directory is beyond 4 GiB.
std::string zip64_end(std::uint64_t files, std::uint64_t directory_bytes, std::uint64_t offset) {
    std::string end = "PK\x06\x06";
    put(end, 44, 8), put(end, 45, 2), put(end, 45, 2), put(end, 0, 4), put(end, 0, 4);
    put(end, files, 8), put(end, files, 8), put(end, directory_bytes, 8), put(end, offset, 8);
    end += "PK\x06\x07";
    put(end, 0, 4), put(end, offset + directory_bytes, 8), put(end, 1, 4);
    return end;
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
    for (const auto& value : values) longest = std::max(longest, all.emplace_back(code_points(value)).size());
    NumpyArray array{std::move(name), fmt::format("<U{}", longest), {static_cast<std::int64_t>(values.size())}, {}};
    for (auto& text : all) {
        text.resize(longest);
        for (const auto c : text) put(array.bytes, c, 4);
    }
    return array;
}

void write_npz(const std::filesystem::path& path, const std::vector<NumpyArray>& arrays) {
    std::set<std::string> names;
    for (const auto& array : arrays)
        if (!names.insert(array.name).second) throw Error(fmt::format("two arrays are called `{}`", array.name));
    write_atomically(path, [&](OutputFile& file) {
        std::string directory;
        std::uint64_t offset = 0;
        for (const auto& array : arrays) {
            const auto name = array.name + ".npy", header = npy_header(array);
            auto crc = ::crc32_z(0, reinterpret_cast<const Bytef*>(header.data()), header.size());
            std::uint64_t size = header.size();
            each_piece(array, [&](std::string_view piece) {
                crc = ::crc32_z(crc, reinterpret_cast<const Bytef*>(piece.data()), piece.size());
                size += piece.size();
            });
            const auto sum = static_cast<std::uint32_t>(crc);
            const auto extra = extra_of({size, size});
            const auto local = "PK\x03\x04" + about(name, sum, size, extra.size()) + name + extra;
            file.write(local), file.write(header);
            each_piece(array, [&](std::string_view piece) { file.write(piece); });
            const auto far = extra_of({size, size, offset});
            directory += "PK\x01\x02";
            put(directory, 20, 2), directory += about(name, sum, size, far.size());
            put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 2), put(directory, 0, 4),
                put(directory, short_of(offset), 4);
            directory += name + far;
            offset += local.size() + size;
        }
        file.write(directory);
        if (offset >= most32) file.write(zip64_end(arrays.size(), directory.size(), offset));
        std::string end = "PK\x05\x06";
        put(end, 0, 4), put(end, arrays.size(), 2), put(end, arrays.size(), 2), put(end, directory.size(), 4),
            put(end, short_of(offset), 4), put(end, 0, 2);
        file.write(end);
    });
}

}  // namespace dtk
