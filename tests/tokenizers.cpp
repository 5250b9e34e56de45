// Tokenizers: words of captions, and byte pairs by the files that others publish.
#include <dtk/tokenizer.hpp>

#include "catch.hpp"
#include "folder.hpp"
#include "run_program.hpp"
#include "support.hpp"

namespace fs = std::filesystem;

TEST_CASE("the numbers of words go by how often they come, and unknown ones are said") {
    const auto words = support::make<dtk::Tokenizer>("words", "length = 5\nleast = 2");
    words->learn({"a red bag", "A red, red shoe.", "a bag", "seldom"});
    CHECK(words->vocabulary() == 4);
    CHECK(words->learned() == "a\nred\nbag\n");
    const auto tokens = words->encode("red  bag (Blue) a");
    CHECK(tokens.numbers == std::vector<std::int64_t>{2, 3, 0, 1});
    CHECK(tokens.unknown == std::vector<std::string>{"blue"});
    CHECK(words->decode({2, 3, 0, 1}) == "red bag <unknown> a");
    const auto rows = dtk::token_rows(*words, {"a bag", ""});
    CHECK(at::equal(rows.tokens, at::tensor({1, 3, 0, 0, 0, 0, 0, 0, 0, 0}, at::kLong).view({2, 5})));
    CHECK(at::equal(rows.mask, at::tensor({1., 1., 0., 0., 0., 0., 0., 0., 0., 0.}, at::kFloat).view({2, 5})));
    CHECK_THROWS_WITH(words->learn({"a red bag above a blue bag"}), Catch::Matchers::Contains("`length` is 5"));
}

TEST_CASE("byte pairs are those of Hugging Face's tokenizers, by every layout of the same vocabulary") {
    const fs::path data = DTK_TEST_DATA, gpt2_folder = fs::path(DTK_SOURCE) / "plugins/tokenizers/check";
    const auto of = [](const fs::path& path, const std::string& more = "") {
        auto made = support::make<dtk::Tokenizer>("byte_pairs", fmt::format("path = \"{}\"\n{}", path.string(), more));
        made->learn({});
        return made;
    };
    const auto gpt2 = of(gpt2_folder), whole = of(data / "byte_pairs_tokenizer.json"), clip = of(data / "clip_pairs");
    const auto kept = support::make<dtk::Tokenizer>("byte_pairs", "path = \"/nowhere\"");
    kept->restore(gpt2->learned());
    for (const auto& row : nlohmann::json::parse(dtk::read_file(data / "byte_pairs.json"))) {
        const auto text = row["text"].get<std::string>();
        INFO(text);
        const auto expected = row["gpt2"].get<std::vector<std::int64_t>>();
        CHECK(gpt2->encode(text).numbers == expected);
        CHECK(whole->encode(text).numbers == expected);
        CHECK(kept->encode(text).numbers == expected);
        CHECK(gpt2->decode(expected) == text);
        CHECK(clip->encode(text).numbers == row["clip"].get<std::vector<std::int64_t>>());
        CHECK(clip->encode(text).unknown.empty());
    }
    const auto marked = of(data / "clip_pairs", "begin = \"<|startoftext|>\"\nend = \"<|endoftext|>\"\nlength = 6");
    const auto red = marked->encode("a red bag").numbers;
    REQUIRE(red.size() == 5);
    CHECK(red.front() == marked->vocabulary() - 2);
    CHECK(red.back() == marked->vocabulary() - 1);
    CHECK(marked->decode(red) == "a red bag");
    CHECK_THROWS_WITH(marked->encode("a red bag a red bag"), Catch::Matchers::Contains("`length` is 6"));
}

TEST_CASE("vocabularies that are damaged or none are refused in words") {
    const Folder folder;
    const auto learns = [&](const std::string& path, const std::string& more = "") {
        support::make<dtk::Tokenizer>("byte_pairs", fmt::format("path = \"{}\"\n{}", (folder / path).string(), more))
            ->learn({});
    };
    const auto refused = [&](const std::string& path, const std::string& words, const std::string& more = "") {
        CHECK_THROWS_WITH(learns(path, more), Catch::Matchers::Contains(words));
    };
    refused("none", "cannot be read");
    write(folder / "tokenizer.json", "{\"model\": {\"type\": \"Unigram\", \"vocab\": [], \"merges\": []}}");
    refused("tokenizer.json", "no vocabulary of byte pairs");
    write(folder / "tokenizer.json", "not json");
    refused("tokenizer.json", "no JSON");
    fs::create_directories(folder / "a");
    write(folder / "a/vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": -3}");
    write(folder / "a/merges.txt", "a b\n");
    refused("a", "has no number");
    write(folder / "a/vocab.json", "{\"a\": 0, \"b\": 1}");
    refused("a", "none of two tokens to a third");
    write(folder / "a/vocab.json", "{\"a\": 0, \"b\": 1, \"ab\": 2}");
    refused("a", "has no token \"<end>\"", "end = \"<end>\"");
    learns("a");
    CHECK_THROWS_WITH(support::make<dtk::Tokenizer>("byte_pairs", "path = \"x\"")->restore("[]"),
                      Catch::Matchers::Contains("no JSON"));
}
