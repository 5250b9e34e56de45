#include "base/tensorboard.hpp"

#include <array>
#include <bit>

namespace dtk {

namespace {

constexpr auto crc_table = [] {
    std::array<std::uint32_t, 256> all{};
    for (std::uint32_t i = 0; i < 256; ++i) {
        std::uint32_t crc = i;
        for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
        all[i] = crc;
    }
    return all;
}();

/// A CRC of bytes that hold CRCs themselves is of little use, so TensorFlow turns and shifts them.
std::uint32_t masked_crc(std::string_view bytes) { return std::rotr(crc32c(bytes), 15) + 0xA282EAD8u; }

std::string fixed(std::uint64_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
    return text;
}

std::string varint(std::uint64_t value) {
    std::string text;
    for (; value >= 128; value >>= 7) text += static_cast<char>(value | 128);
    return text + static_cast<char>(value);
}

// Fields of a message: the number and the kind (0 varint, 1 eight bytes, 2 with a length, 5 four bytes), then the
// value.
std::string whole(int field, std::uint64_t value) {
    return varint(static_cast<std::uint64_t>(field) << 3) + varint(value);
}
std::string number64(int field, double value) {
    return varint(static_cast<std::uint64_t>(field) << 3 | 1) + fixed(std::bit_cast<std::uint64_t>(value), 8);
}
std::string number32(int field, float value) {
    return varint(static_cast<std::uint64_t>(field) << 3 | 5) + fixed(std::bit_cast<std::uint32_t>(value), 4);
}
std::string text(int field, std::string_view bytes) {
    return varint(static_cast<std::uint64_t>(field) << 3 | 2) + varint(bytes.size()) + std::string(bytes);
}

/// Event{1: wall_time, 2: step, 5: Summary{1: Value}}
std::string event(double wall_time, std::int64_t step, const std::string& value) {
    return number64(1, wall_time) + whole(2, static_cast<std::uint64_t>(step)) + text(5, text(1, value));
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
    std::uint32_t crc = ~0u;
    for (const char c : bytes) crc = crc >> 8 ^ crc_table[(crc ^ static_cast<unsigned char>(c)) & 255];
    return ~crc;
}

EventFile::EventFile(double wall_time) { record(number64(1, wall_time) + text(3, "brain.Event:2")); }

void EventFile::scalar(std::string_view tag, std::int64_t step, double wall_time, double value) {
    record(event(wall_time, step, text(1, tag) + number32(2, static_cast<float>(value))));
}

void EventFile::image(std::string_view tag, std::int64_t step, double wall_time, std::string_view png,
                      std::int64_t width, std::int64_t height, int colours) {
    const auto image = whole(1, static_cast<std::uint64_t>(height)) + whole(2, static_cast<std::uint64_t>(width)) +
                       whole(3, static_cast<std::uint64_t>(colours)) + text(4, png);
    record(event(wall_time, step, text(1, tag) + text(4, image)));
}

void EventFile::record(std::string_view data) {
    const auto length = fixed(data.size(), 8);
    bytes_ += length + fixed(masked_crc(length), 4);
    bytes_ += data;
    bytes_ += fixed(masked_crc(data), 4);
}

}  // namespace dtk
