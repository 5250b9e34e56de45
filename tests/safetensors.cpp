#include <cstring>
#include <dtk/error.hpp>
#include <dtk/safetensors.hpp>
#include <fstream>
#include <string>
#include <vector>

#include "base/files.hpp"
#include "catch.hpp"
#include "folder.hpp"

using namespace std::string_literals;
using dtk::Safetensors;

namespace {

/// The bytes of a file with this header and this much data.
std::string file_of(const std::string& header, std::size_t data) {
    const std::uint64_t length = header.size();
    std::string bytes(8, '\0');
    std::memcpy(bytes.data(), &length, 8);
    return bytes + header + std::string(data, '\1');
}

std::string refusal_of(const std::string& bytes) {
    const Folder folder;
    std::ofstream(folder / "model.safetensors", std::ios::binary) << bytes;
    try {
        dtk::load_safetensors(folder / "model.safetensors");
    } catch (const dtk::Error& error) {
        return error.what();
    }
    return {};
}

std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
    return '"' + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + '}';
}

bool same(const at::Tensor& a, const at::Tensor& b) {
    return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && at::equal(a, b);
}

Safetensors every_kind() {
    Safetensors content;
    for (const auto type : {at::kDouble, at::kFloat, at::kHalf, at::kBFloat16, at::kLong, at::kInt, at::kShort,
                            at::kChar, at::kByte, at::kBool}) {
        const std::string name = c10::toString(type);
        content.tensors[name] = at::arange(6, at::kLong).remainder(3).reshape({2, 3}).to(type);
        content.tensors[name + ".scalar"] = at::ones({}, at::TensorOptions(type));
        content.tensors[name + ".empty"] = at::empty({0, 3}, at::TensorOptions(type));
    }
    content.metadata = {{"format", "pt"}, {"text", "a \"quote\", größe\n"}};
    return content;
}

}  // namespace

TEST_CASE("what is saved is loaded, of every dtype and shape") {
    const Folder folder;
    const auto saved = every_kind();
    dtk::save_safetensors(folder / "a.safetensors", saved);
    const auto loaded = dtk::load_safetensors(folder / "a.safetensors");
    CHECK(loaded.metadata == saved.metadata);
    REQUIRE(loaded.tensors.size() == saved.tensors.size());
    for (const auto& [name, tensor] : saved.tensors) {
        INFO(name);
        CHECK(same(loaded.tensors.at(name), tensor));
    }
    const auto header = dtk::read_safetensors_header(folder / "a.safetensors");
    CHECK(header.metadata == saved.metadata);
    CHECK(header.entries.at("Float").dtype == at::kFloat);
    CHECK(header.entries.at("Float").shape == std::vector<std::int64_t>{2, 3});
    CHECK(header.entries.at("Float").bytes == 24);
}

TEST_CASE("every tensor lies at a multiple of its element's size") {
    const Folder folder;
    dtk::save_safetensors(folder / "a.safetensors", every_kind());
    for (const auto& [name, entry] : dtk::read_safetensors_header(folder / "a.safetensors").entries) {
        INFO(name);
        CHECK(entry.offset % c10::elementSize(entry.dtype) == 0);
    }
}

TEST_CASE("special values keep their bits") {
    const Folder folder;
    const std::vector<std::int32_t> bits{0x7fc00001, -1, 0x7f800000, 1, static_cast<std::int32_t>(0x80000000)};
    const auto whole = at::tensor(at::ArrayRef<std::int32_t>(bits), at::kInt);
    dtk::save_safetensors(folder / "a.safetensors", {.tensors = {{"x", whole.view(at::kFloat)}}, .metadata = {}});
    CHECK(at::equal(dtk::load_safetensors(folder / "a.safetensors").tensors.at("x").view(at::kInt), whole));
}

TEST_CASE("a tensor is saved as it reads, however it lies in memory") {
    const Folder folder;
    const auto x = at::arange(24, at::kFloat).reshape({2, 3, 4});
    const Safetensors views{.tensors = {{"transposed", x.transpose(0, 2)},
                                        {"expanded", x.select(0, 0).expand({5, 3, 4})},
                                        {"part", x.narrow(1, 1, 2)},
                                        {"grad", x.clone().set_requires_grad(true)}},
                            .metadata = {}};
    dtk::save_safetensors(folder / "a.safetensors", views);
    const auto loaded = dtk::load_safetensors(folder / "a.safetensors");
    for (const auto& [name, tensor] : views.tensors) CHECK(same(loaded.tensors.at(name), tensor.detach()));
}

TEST_CASE("nothing at all is a file too") {
    const Folder folder;
    dtk::save_safetensors(folder / "a.safetensors", {});
    CHECK(dtk::load_safetensors(folder / "a.safetensors").tensors.empty());
}

TEST_CASE("the bytes are those of the format") {
    const Folder folder;
    dtk::save_safetensors(folder / "a.safetensors",
                          {.tensors = {{"b", at::tensor({1.0f}, at::kFloat)}, {"c", at::tensor({7L}, at::kLong)}},
                           .metadata = {{"k", "v"}}});
    const auto header =
        R"({"__metadata__":{"k":"v"},"c":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})"s;
    const auto padded = header + std::string((8 - header.size() % 8) % 8, ' ');
    CHECK(dtk::read_file(folder / "a.safetensors") == file_of(padded, 0) + "\7\0\0\0\0\0\0\0\0\0\x80\x3f"s);
}

TEST_CASE("what the format cannot hold is not written") {
    const Folder folder;
    const auto path = folder / "a.safetensors";
    const auto x = at::ones({1});
    const auto refuses = [&](const std::string& name, const at::Tensor& tensor) {
        CHECK_THROWS_AS(dtk::save_safetensors(path, {.tensors = {{name, tensor}}, .metadata = {}}), dtk::Error);
    };
    refuses("", x);
    refuses("__metadata__", x);
    refuses("a\0b"s, x);
    refuses("\xff", x);
    refuses("undefined", {});
    refuses("complex", at::ones({1}, at::kComplexFloat));
    refuses("sparse", x.to_sparse());
    refuses("deep", at::ones({1, 1, 1, 1, 1, 1, 1, 1, 1}));
    CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("a file cut short at any length is refused") {
    const Folder folder;
    dtk::save_safetensors(folder / "a.safetensors", {.tensors = {{"a", at::ones({3})}, {"b", at::ones({2}, at::kHalf)}},
                                                     .metadata = {{"k", "v"}}});
    const auto bytes = dtk::read_file(folder / "a.safetensors");
    for (std::size_t length = 0; length < bytes.size(); ++length) {
        const auto refusal = refusal_of(bytes.substr(0, length));
        INFO(refusal);
        CHECK(refusal.find("is cut short: " + std::to_string(length) + " bytes, ") != std::string::npos);
    }
    CHECK(refusal_of(bytes.substr(0, bytes.size() - 1)).find(std::to_string(bytes.size()) + " expected") !=
          std::string::npos);
    CHECK(refusal_of(bytes + "x").find("1 bytes follow") != std::string::npos);
    CHECK(refusal_of(bytes).empty());
}

TEST_CASE("a damaged byte never does more than an error or other numbers") {
    const Folder folder;
    dtk::save_safetensors(folder / "a.safetensors", {.tensors = {{"a", at::ones({3})}, {"b", at::ones({2}, at::kBool)}},
                                                     .metadata = {{"k", "v"}}});
    const auto bytes = dtk::read_file(folder / "a.safetensors");
    for (std::size_t place = 0; place < bytes.size(); ++place)
        for (const char flip : {'\x01', '\x10', '\x80', '\xff'}) {
            auto damaged = bytes;
            damaged[place] = static_cast<char>(damaged[place] ^ flip);
            CHECK_NOTHROW(refusal_of(damaged));
        }
}

TEST_CASE("hostile files are refused with the reason") {
    const auto good = entry("a", "F32", "[1]", "[0,4]");
    std::string many = "{" + good;
    for (int i = 0; i < 100'001; ++i) many += R"(,")" + std::to_string(i) + R"(":0)";
    many += "}";
    const struct {
        std::string bytes, reason;
    } table[] = {
        {"\xff\xff\xff\xff\xff\xff\xff\xff{}", "its header is said to have 18446744073709551615 bytes"},
        {"\x01\x24\xf4\0\0\0\0\0{}"s, "its header is said to have 16000001 bytes"},
        {"PK\3\4 a zip file, or what Python pickles", "its header is said to have"},
        {file_of("", 0), "does not begin with {"},
        {file_of(" {}", 0), "does not begin with {"},
        {file_of("[]", 0), "does not begin with {"},
        {file_of("{", 0), "not JSON at byte"},
        {file_of("{}x", 0), "not JSON at byte"},
        {file_of("{}\0"s, 0), "not JSON at byte"},
        {file_of("{\"a\0b\":0}"s, 0), "not JSON at byte"},
        {file_of("{\"\xff\":0}", 0), "not JSON at byte"},
        {file_of("{" + good + ",}", 4), "not JSON at byte"},
        {file_of("{\"a\":" + std::string(1'000'000, '['), 0), "nested too deeply"},
        {file_of("{\"a\":{\"b\":{\"c\":{\"d\":{}}}}}", 0), "nested too deeply"},
        {file_of("{" + good + "," + good + "}", 4), R"(its header has "a" twice)"},
        {file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4), R"("dtype" twice)"},
        {file_of(R"({"__metadata__":{},"__metadata__":{}})", 0), R"("__metadata__" twice)"},
        {file_of(R"({"__metadata__":{"k":1}})", 0), R"(__metadata__ "k" is not a text)"},
        {file_of(R"({"__metadata__":["k"]})", 0), "__metadata__ is not a table"},
        {file_of(many, 4), "more than 100000 tensors"},
        {file_of(R"({"a":7})", 0), R"(tensor "a": it is not described by a table)"},
        {file_of(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4), R"(tensor "a": it has no dtype)"},
        {file_of(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4), R"(tensor "a": it has no shape)"},
        {file_of(R"({"a":{"dtype":"F32","shape":[1]}})", 4), R"(tensor "a": it has no data_offsets)"},
        {file_of(R"({"a":{"dtype":5,"shape":[1],"data_offsets":[0,4]}})", 4), "its dtype is not a text"},
        {file_of("{" + entry("a", "F8_E4M3", "[4]", "[0,4]") + "}", 4), R"(its dtype "F8_E4M3" is not known)"},
        {file_of("{" + entry("a", "F32", "[1.0]", "[0,4]") + "}", 4), "its shape is not a list"},
        {file_of("{" + entry("a", "F32", "[-1]", "[0,4]") + "}", 4), "its shape is not a list"},
        {file_of("{" + entry("a", "F32", "[9223372036854775808]", "[0,4]") + "}", 4), "its shape is not a list"},
        {file_of("{" + entry("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") + "}", 4), "at most 8 sizes"},
        {file_of("{" + entry("a", "F32", "{}", "[0,4]") + "}", 4), "its shape is not a list"},
        {file_of("{" + entry("a", "F32", "[4611686018427387904]", "[0,0]") + "}", 0), "is too large"},
        {file_of("{" + entry("a", "U8", "[4294967296,4294967296]", "[0,0]") + "}", 0), "is too large"},
        {file_of("{" + entry("a", "U8", "[0,4294967296,4294967296]", "[0,0]") + "}", 0), "is too large"},
        {file_of("{" + entry("a", "F32", "[1]", "[0,8]") + "}", 8),
         "F32 of shape [1] takes 4 bytes, its data_offsets hold 8"},
        {file_of("{" + entry("a", "F32", "[1]", "[4,0]") + "}", 4), "not a begin and an end"},
        {file_of("{" + entry("a", "F32", "[1]", "[0]") + "}", 4), "not a begin and an end"},
        {file_of("{" + entry("a", "F32", "[1]", "[-4,0]") + "}", 4), "not a begin and an end"},
        {file_of("{" + entry("a", "F32", "[1]", "[18446744073709551612,18446744073709551616]") + "}", 4),
         "begin and an end"},
        {file_of("{" + entry("a", "F32", "[1000000]", "[0,4000000]") + "}", 4), "is cut short: "},
        {file_of("{" + entry("a", "U8", "[9223372036854775807]", "[0,9223372036854775807]") + "}", 4),
         "is cut short: "},
        {file_of("{" + entry("a", "U8", "[9223372036854775807]", "[0,9223372036854775807]") + "," +
                     entry("b", "U8", "[1]", "[9223372036854775806,9223372036854775807]") + "}",
                 4),
         "inside another tensor"},
        {file_of("{" + entry("a", "F32", "[1]", "[4,8]") + "}", 8), "leaving a hole from byte 0"},
        {file_of("{" + good + "," + entry("b", "F32", "[1]", "[8,12]") + "}", 12), "leaving a hole"},
        {file_of("{" + good + "," + entry("b", "F32", "[1]", "[2,6]") + "}", 6), R"(tensor "b": it begins at byte 2)"},
        {file_of("{" + good + "," + entry("b", "F32", "[1]", "[0,4]") + "}", 4), "inside another tensor"},
        {file_of("{" + good + "," + entry("b", "F32", "[0]", "[2,2]") + "}", 4), "inside another tensor"},
        {file_of("{" + good + "}", 5), "1 bytes follow its last tensor"},
        {file_of("{}", 1), "1 bytes follow its last tensor"},
        {file_of("{" + entry("", "F32", "[1]", "[0,4]") + "}", 4), "this name cannot be used"},
        {file_of("{" + entry("a\\u0000", "F32", "[1]", "[0,4]") + "}", 4),
         R"(tensor "a\u0000": this name cannot be used)"},
        {file_of("{" + entry("\\u001b[31m\\n", "F32", "[2]", "[0,4]") + "}", 4), R"(tensor "\u001b[31m\n": )"},
        {file_of("{" + entry(std::string(1000, 'n'), "F32", "[2]", "[0,4]") + "}", 4), "nnn...\": "},
        {file_of("{" + entry("a", "BOOL", "[1]", "[0,1]") + "}", 0) + "\2", "a BOOL in it is neither 0 nor 1"},
    };
    for (const auto& row : table) {
        const auto refusal = refusal_of(row.bytes);
        INFO(row.reason << "\n" << refusal);
        CHECK(refusal.find("model.safetensors") != std::string::npos);
        CHECK(refusal.find(row.reason) != std::string::npos);
        CHECK(refusal.size() < 500);
    }
    CHECK(refusal_of(file_of("{" + good + "}   ", 4)).empty());
}
