// Numbers that cells of a study have in common: found once for what they depend on, and the same to the last bit.
#include <cmath>
#include <cstdlib>
#include <fstream>

#include <dtk/remembered.hpp>

#include "base/child.hpp"
#include "catch.hpp"
#include "engine/remembering.hpp"
#include "folder.hpp"

namespace fs = std::filesystem;

TEST_CASE("numbers are found once for all that they depend on") {
    const Folder folder;
    ::setenv(dtk::remembering_variable, (folder.path / "remembered").c_str(), 1);
    int found = 0;
    const auto ask = [&](const std::string& about, const std::string& what) {
        const dtk::Remembering remembering(about);
        return dtk::remembered(what, [&]() -> std::vector<double> { return {++found + 0.1, std::sqrt(2.0), 1e-300}; });
    };
    const auto first = ask("data a", "floor");
    CHECK(ask("data a", "floor") == first);
    CHECK(found == 1);
    CHECK(ask("data b", "floor") != first);
    CHECK(ask("data a", "floor of 10") != first);
    CHECK(found == 3);
    CHECK(first[1] == std::sqrt(2.0));

    for (const auto& file : fs::directory_iterator(folder.path / "remembered"))
        std::ofstream(file.path()) << "{\"about";
    CHECK(ask("data a", "floor")[1] == std::sqrt(2.0));
    CHECK(found == 4);
    ::unsetenv(dtk::remembering_variable);
    ask("data a", "floor");
    CHECK(found == 5);
    CHECK(dtk::remembered("floor", [] { return std::vector{2.0}; }) == std::vector{2.0});
}
