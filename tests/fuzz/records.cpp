// run.json, result.json, study.json and metrics.jsonl: what is left after reading has the types that dtk wrote, so
// nothing more is found wrong with it, and it can be written again.
#include "base/json.hpp"
#include "base/record_types.hpp"
#include "input.hpp"

#include <fstream>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto folder = [] {
        char name[] = "/tmp/dtk-fuzz-XXXXXX";
        return std::filesystem::path(::mkdtemp(name) ? name : ".");
    }();
    if (size == 0) return 0;
    const char* names[] = {"run.json", "result.json", "study.json", "metrics.jsonl"};
    const auto file = folder / names[data[0] % 4];
    std::ofstream(file, std::ios::binary).write(reinterpret_cast<const char*>(data) + 1, static_cast<long>(size - 1));
    fuzz::read_or_refuse([&] {
        for (const auto& line : dtk::read_json_lines(file)) fuzz::must(line.is_object());
        auto content = dtk::read_json(file);
        if (content.is_object()) fuzz::must(dtk::remove_wrong_types(content, file.filename().string()).empty());
        fuzz::must(!content.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).empty());
        dtk::read_record_file(file);
    });
    return 0;
}
