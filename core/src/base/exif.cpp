// The orientation in a block of EXIF, whoever wrote it.
#include <dtk/exif.hpp>

#include <cstdint>
#include <cstring>

namespace dtk {

int exif_orientation(const unsigned char* data, std::size_t size) {
    constexpr std::uint32_t orientation = 0x0112, short_number = 3;
    constexpr std::size_t entry_bytes = 12;
    if (size >= 6 && std::memcmp(data, "Exif\0", 5) == 0) data += 6, size -= 6;
    if (size < 8) return 1;
    const bool little = std::memcmp(data, "II*\0", 4) == 0;
    if (!little && std::memcmp(data, "MM\0*", 4) != 0) return 1;
    const auto number = [&](std::size_t at, std::size_t bytes) {  // within the block: the caller has looked
        std::uint32_t value = 0;
        for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | data[at + (little ? bytes - 1 - i : i)];
        return value;
    };
    const std::size_t directory = number(4, 4);
    if (directory > size - 2) return 1;
    const auto there = (size - directory - 2) / entry_bytes;
    for (std::size_t i = 0; i < number(directory, 2) && i < there; ++i) {
        const auto entry = directory + 2 + i * entry_bytes;
        if (number(entry, 2) != orientation) continue;
        const auto value = number(entry + 8, 2);
        const bool sound = number(entry + 2, 2) == short_number && number(entry + 4, 4) == 1;
        return sound && value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
    return 1;
}

}  // namespace dtk
