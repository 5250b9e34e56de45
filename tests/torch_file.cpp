// Files of torch.save: what Python wrote is read to the last bit, and what carries code, is damaged or lies is refused.
#include <zip.h>

#include <cstring>
#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include <dtk/error.hpp>
#include <dtk/torch_file.hpp>

#include "base/files.hpp"
#include "catch.hpp"
#include "folder.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

const fs::path data = fs::path(DTK_TEST_DATA) / "torch";

/// What is said of a file; empty where it is read.
std::string refusal_of(const fs::path& path) {
    try {
        dtk::load_torch_file(path);
    } catch (const dtk::Error& error) {
        CHECK(!error.help().empty());
        return error.what();
    }
    return {};
}

/// An archive as torch.save makes them, with any pickle and one storage of eight bytes.
fs::path archive_of(const Folder& folder, const std::string& pickle, const std::string& storage = std::string(8, '\1'),
                    const std::string& key = "0") {
    const auto path = folder / "made.pt";
    fs::remove(path);
    auto* archive = zip_open(path.c_str(), ZIP_CREATE, nullptr);
    const auto add = [&](const std::string& name, const std::string& content) {
        auto* source = zip_source_buffer(archive, content.data(), content.size(), 0);
        const auto entry = zip_file_add(archive, name.c_str(), source, ZIP_FL_OVERWRITE);
        zip_set_file_compression(archive, static_cast<zip_uint64_t>(entry), ZIP_CM_STORE, 0);
    };
    add("made/data.pkl", pickle);
    add("made/data/" + key, storage);
    REQUIRE(zip_close(archive) == 0);
    return path;
}

/// The codes of {"w": _rebuild_tensor_v2(FloatStorage "0", offset, shape, stride, False, {})}. All numbers below 256.
std::string tensor_pickle(int offset, const std::string& shape, const std::string& stride,
                          const std::string& type = "FloatStorage") {
    const auto numbers = [](const std::string& list) {
        std::string codes = "(";
        for (const char c : list) codes += std::string("K") + c;
        return codes + "t";
    };
    std::string codes = "\x80\x02}X\x01";
    codes += std::string(3, '\0') + "wctorch._utils\n_rebuild_tensor_v2\n((X\x07";
    codes += std::string(3, '\0') + "storagectorch\n" + type + "\nX\x01" + std::string(3, '\0') + "0X\x03" +
             std::string(3, '\0') + "cpuK\x02tQK" + static_cast<char>(offset) + numbers(shape) + numbers(stride) +
             "\x89}tRs.";
    return codes;
}

}  // namespace

TEST_CASE("what torch.save wrote is read: dtypes, views, nested keys, parameters") {
    const auto known = json::parse(dtk::read_file(data / "values.json"));
    for (const auto& [name, tensors] : known.items()) {
        INFO(name);
        const auto file = dtk::load_torch_file(data / name);
        CHECK(file.tensors.size() == tensors.size());
        for (const auto& [keys, tensor] : tensors.items()) {
            INFO(keys);
            REQUIRE(file.tensors.contains(keys));
            const auto& found = file.tensors.at(keys);
            CHECK(found.sizes().vec() == tensor["shape"].get<std::vector<std::int64_t>>());
            auto values = found.reshape({-1});
            if (values.is_complex()) values = at::view_as_real(values).reshape({-1});
            values = values.to(at::kDouble).contiguous();
            std::vector<double> expected;
            for (const auto& value : tensor["values"])
                for (const auto& part : value.is_array() ? value : json::array({value}))
                    expected.push_back(part.get<double>());
            CHECK(std::vector<double>(values.const_data_ptr<double>(),
                                      values.const_data_ptr<double>() + values.numel()) == expected);
        }
    }
}

TEST_CASE("numbers and texts beside the tensors are kept, and of classes the names alone") {
    const auto file = dtk::load_torch_file(data / "checkpoint.pt");
    CHECK(file.settings.at("step") == "1234");
    CHECK(file.settings.at("lr") == "0.5");
    CHECK(file.settings.at("name") == "résumé");
    CHECK(file.settings.at("done") == "true");
    CHECK(file.settings.at("size.1") == "3");
    CHECK(file.settings.at("counts.a") == "1");
    CHECK(file.settings.at("type") == "torch.float16");
    CHECK(file.others.at("args") == "argparse.Namespace");
    const auto module = dtk::load_torch_file(data / "module.pt");
    CHECK(module.tensors.empty());
    CHECK(module.others.at("all of it") == "torch.nn.modules.linear.Linear");
}

TEST_CASE("tensors that share their values share them here") {
    const auto file = dtk::load_torch_file(data / "views.pt");
    CHECK(file.tensors.at("base").storage().data() == file.tensors.at("transposed").storage().data());
    CHECK(file.tensors.at("transposed").stride(0) == 1);
}

TEST_CASE("a pickle that carries code is refused, and no part of it runs") {
    fs::remove("/tmp/it-ran");
    CHECK(refusal_of(data / "code_system.pt").find("carries code: when Python reads it, it calls posix.system") !=
          std::string::npos);
    CHECK(refusal_of(data / "code_eval.pt").find("it calls __builtin__.eval") != std::string::npos);
    CHECK(refusal_of(data / "code_getattr.pt").find("it calls __builtin__.getattr") != std::string::npos);
    CHECK(!fs::exists("/tmp/it-ran"));
}

TEST_CASE("what is no archive of weights is refused with what it is") {
    CHECK(refusal_of(data / "old.pt").find("PyTorch before 1.6") != std::string::npos);
    CHECK(refusal_of(data / "script.pt").find("TorchScript") != std::string::npos);
    const Folder folder;
    const auto refused = [&](const std::string& bytes) {
        std::ofstream(folder / "file.pt", std::ios::binary) << bytes;
        return refusal_of(folder / "file.pt");
    };
    CHECK(refused("").find("no file of torch.save") != std::string::npos);
    CHECK(refused("hello").find("no file of torch.save") != std::string::npos);
    CHECK(refused("\x80\x04}.").find("is a pickle") != std::string::npos);
    CHECK_THROWS_AS(dtk::load_torch_file(folder / "absent.pt"), dtk::Error);
}

TEST_CASE("a tensor that its storage does not hold is refused") {
    const Folder folder;
    using namespace std::string_literals;
    const auto good = dtk::load_torch_file(archive_of(folder, tensor_pickle(0, "\2", "\1"))).tensors.at("w");
    CHECK(good.sizes() == at::IntArrayRef{2});
    CHECK(refusal_of(archive_of(folder, tensor_pickle(1, "\2", "\1"))).find("beyond its storage") != std::string::npos);
    CHECK(refusal_of(archive_of(folder, tensor_pickle(0, "\3", "\1"))).find("beyond its storage") != std::string::npos);
    CHECK(refusal_of(archive_of(folder, tensor_pickle(0, "\2\2", "\2\1"))).find("beyond its storage") !=
          std::string::npos);
    CHECK(refusal_of(archive_of(folder, tensor_pickle(0, "\2", "\1\1"))).find("do not fit") != std::string::npos);
    CHECK(refusal_of(archive_of(folder, tensor_pickle(0, "\2", "\1", "DoubleStorage"))).find("beyond its storage") !=
          std::string::npos);
    CHECK(refusal_of(archive_of(folder, tensor_pickle(0, "\2", "\1", "OtherStorage"))).find("does not know") !=
          std::string::npos);
    CHECK(refusal_of(archive_of(folder, tensor_pickle(0, "\2", "\1"), std::string(8, '\1'), "1")).find("missing") !=
          std::string::npos);
    // 255⁸ elements that are all the same one
    CHECK(refusal_of(archive_of(folder, tensor_pickle(0, std::string(8, '\xff'), std::string(8, '\0'))))
              .find("more elements than it holds") != std::string::npos);
    CHECK(dtk::load_torch_file(archive_of(folder, tensor_pickle(2, "\0"s, "\1"))).tensors.at("w").numel() == 0);
}

TEST_CASE("pickles that are endless, nested or refer to themselves end in words") {
    const Folder folder;
    CHECK(refusal_of(archive_of(folder,
                                "\x80\x02]q\x01h\x01"
                                "a."))
              .find("nested") != std::string::npos);
    std::string doubling = "\x80\x02)";  // each a pair of the one before: 2⁶⁰ leaves
    for (int i = 0; i < 60; ++i) doubling += "2\x86";
    CHECK(refusal_of(archive_of(folder, doubling + ".")).find("more often") != std::string::npos);
    CHECK(refusal_of(archive_of(folder, "\x80\x02" + std::string(100'000, ']') + std::string(99'999, 'a') + "."))
              .find("nested") != std::string::npos);
    CHECK(refusal_of(archive_of(folder, "\x80\x02" + std::string(2'100'000, 'N') + ".")).find("more than 2000000") !=
          std::string::npos);
    for (const std::string bad : {"", "\x80", "\x80\x09.", "a.", "R.", "t.", "h\x05.", "X\xff\xff\xff\x7f.", "N",
                                  "\xff", "cposix", "(((.", "}Ns."})
        CHECK(refusal_of(archive_of(folder, bad)).find("pickle is damaged") != std::string::npos);
}

TEST_CASE("a byte that was changed in the values is found") {
    auto bytes = dtk::read_file(data / "tensor.pt");
    const float one = 1;
    const auto at = bytes.find(std::string(reinterpret_cast<const char*>(&one), 4));
    REQUIRE(at != bytes.npos);
    bytes[at + 1] = '\5';
    const Folder folder;
    std::ofstream(folder / "file.pt", std::ios::binary) << bytes;
    CHECK(refusal_of(folder / "file.pt").find("damaged") != std::string::npos);
    std::ofstream(folder / "file.pt", std::ios::binary) << bytes.substr(0, bytes.size() / 2);
    CHECK(!refusal_of(folder / "file.pt").empty());
}
