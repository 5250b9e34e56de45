// The interfaces that plugins are built against: whoever changes one changes its number too, so that a plugin of before
// is refused, or goes on working, and never does something else.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <regex>
#include <set>
#include <string>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dtk/build.hpp>

#include "base/build.hpp"
#include "base/files.hpp"
#include "catch.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

const fs::path headers = fs::path(DTK_SOURCE) / "core/include/dtk";
const fs::path recorded = fs::path(DTK_TEST_DATA) / "interfaces.json";

/// The header and all of dtk's that it includes.
std::set<std::string> closure(const std::string& header) {
    std::set<std::string> all{header};
    const std::regex include("#include <dtk/([a-z0-9_]+\\.hpp)>");
    for (std::set<std::string> pending = all; !pending.empty();) {
        const auto text = dtk::read_file(headers / pending.extract(pending.begin()).value());
        for (std::sregex_iterator one(text.begin(), text.end(), include), end; one != end; ++one)
            if (all.insert((*one)[1]).second) pending.insert((*one)[1]);
    }
    return all;
}

/// What of a header counts: without comments, and with any space as one.
std::string code_of(const std::string& header) {
    const auto text = dtk::read_file(headers / header);
    std::string code;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text.compare(i, 2, "//") == 0 && (i == 0 || text[i - 1] != ':'))
            i = std::min(text.find('\n', i), text.size());
        if (i < text.size() && !std::isspace(static_cast<unsigned char>(text[i])))
            code += text[i];
        else if (!code.ends_with(' '))
            code += ' ';
    }
    // The numbers themselves do not count, or each would change its own hash.
    return std::regex_replace(code, std::regex("#define DTK_[A-Za-z]+_VERSION [0-9_]+"), "");
}

std::string hash_of(const std::set<std::string>& names) {
    std::string all;
    for (const auto& name : names) all += name + "\n" + code_of(name) + "\n";
    return dtk::sha256(all).substr(0, 16);
}

/// Every kind's number and hash, and those of the headers that are no kind's.
json interfaces() {
    json all;
    std::set<std::string> rest;
    for (const auto& file : fs::directory_iterator(headers)) rest.insert(file.path().filename());
    for (const auto& [kind, version] : dtk::interface_versions()) {
        const auto define = "#define DTK_" + std::string(1, static_cast<char>(std::toupper(kind[0]))) + kind.substr(1);
        for (const auto& file : fs::directory_iterator(headers)) {
            if (dtk::read_file(file).find(define + "_VERSION ") == std::string::npos) continue;
            const auto names = closure(file.path().filename());
            all[kind] = {{"version", dtk::text_of(version)}, {"hash", hash_of(names)}};
            for (const auto& name : names) rest.erase(name);
        }
    }
    all["helpers"] = {{"version", std::to_string(DTK_HELPERS_VERSION)}, {"hash", hash_of(rest)}};
    return all;
}

}  // namespace

TEST_CASE("an interface that changed has another number") {
    const auto now = interfaces();
    CHECK(now.size() == dtk::interface_versions().size() + 1);
    if (std::getenv("DTK_RECORD_INTERFACES")) dtk::write_atomically(recorded, now.dump(1) + "\n");
    const auto before = json::parse(dtk::read_file(recorded));
    for (const auto& [kind, is] : now.items()) {
        const auto was = before.value(kind, json::object());
        INFO(kind << ": recorded " << was.dump() << ", now " << is.dump());
        if (is != was && kind == "helpers")
            FAIL(
                "headers that are no kind's changed. Where plugins that were built with them must be built again (a "
                "layout, a virtual function, a function that is gone), count DTK_HELPERS_VERSION up; then run this "
                "test "
                "with DTK_RECORD_INTERFACES=1");
        if (is != was && is["version"] == was.value("version", ""))
            FAIL("the headers of `" << kind << "` changed and its number did not. Where plugins that were built before "
                                    << "still work (nothing virtual, no layout changed), count the second number up, "
                                    << "else the first; then run this test with DTK_RECORD_INTERFACES=1");
        if (is != was) FAIL("the number of `" << kind << "` changed: run this test with DTK_RECORD_INTERFACES=1");
    }
}

TEST_CASE("a plugin goes with a dtk of the same major and no lower minor version") {
    const dtk::InterfaceVersion dtk_has{3, 2};
    CHECK(dtk_has.takes({3, 2}));
    CHECK(dtk_has.takes({3, 0}));
    CHECK_FALSE(dtk_has.takes({3, 3}));
    CHECK_FALSE(dtk_has.takes({2, 0}));
    CHECK_FALSE(dtk_has.takes({4, 0}));
}
