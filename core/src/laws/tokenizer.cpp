// Laws of tokenizers: texts as numbers, and back.
#include <dtk/tokenizer.hpp>

#include <map>
#include <set>

#include <fmt/ranges.h>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

/// Captions that it learns from, and texts that it then meets: other orders and parts of their words.
const std::vector<std::string> captions{"a red bag", "two blue shoes above a red bag",
                                        "a green coat below two red coats", "a blue bag left of a green shoe",
                                        "two green shoes"};
const std::vector<std::string> others{
    "a green bag", "two red shoes above a blue coat", "a red bag above two blue shoes", "a shoe", "bag", ""};

std::vector<std::string> all_texts() {
    auto all = captions;
    all.insert(all.end(), others.begin(), others.end());
    return all;
}

std::shared_ptr<Tokenizer> untaught(const Trial& trial) { return trial.make<Tokenizer>(trial.benches().front()); }

std::shared_ptr<Tokenizer> taught(const Trial& trial) {
    auto tokenizer = untaught(trial);
    tokenizer->learn(captions);
    return tokenizer;
}

std::map<std::string, std::vector<std::int64_t>> numbers_of(const Tokenizer& tokenizer) {
    std::map<std::string, std::vector<std::int64_t>> all;
    for (const auto& text : all_texts()) all[text] = tokenizer.encode(text).numbers;
    return all;
}

void numbers_are_of_its_vocabulary(const Trial& trial, Findings& found) {
    const auto tokenizer = taught(trial);
    found.expect(tokenizer->vocabulary() > 0 && tokenizer->length() > 0 && tokenizer->wants() >= 0,
                 fmt::format("a vocabulary of {}, {} numbers at most, {} captions wanted", tokenizer->vocabulary(),
                             tokenizer->length(), tokenizer->wants()));
    for (const auto& [text, numbers] : numbers_of(*tokenizer)) {
        found.expect(
            static_cast<std::int64_t>(numbers.size()) <= tokenizer->length(),
            fmt::format("\"{}\" has {} numbers, {} at most are said", text, numbers.size(), tokenizer->length()));
        for (const auto number : numbers)
            found.expect(number >= 0 && number < tokenizer->vocabulary(),
                         fmt::format("\"{}\" is [{}], and the vocabulary has {}", text, fmt::join(numbers, ", "),
                                     tokenizer->vocabulary()));
    }
}

void texts_come_back(const Trial& trial, Findings& found) {
    const auto tokenizer = taught(trial);
    for (const auto& [text, numbers] : numbers_of(*tokenizer)) {
        const auto back = tokenizer->decode(numbers);
        found.expect(tokenizer->encode(back).numbers == numbers,
                     fmt::format("\"{}\" comes back as \"{}\", which has other numbers", text, back));
    }
}

void texts_are_told_apart(const Trial& trial, Findings& found) {
    std::map<std::vector<std::int64_t>, std::string> texts;
    for (const auto& [text, numbers] : numbers_of(*taught(trial))) {
        const auto [one, is_new] = texts.emplace(numbers, text);
        found.expect(is_new, fmt::format("\"{}\" and \"{}\" have the same numbers", text, one->second));
    }
}

void what_it_learned_is_all(const Trial& trial, Findings& found) {
    const auto tokenizer = taught(trial);
    const auto again = untaught(trial);
    again->restore(tokenizer->learned());
    found.expect(again->learned() == tokenizer->learned(), "given back, it has learned something else");
    found.expect(
        again->vocabulary() == tokenizer->vocabulary() && again->length() == tokenizer->length(),
        fmt::format("given back, it has a vocabulary of {} for {}", again->vocabulary(), tokenizer->vocabulary()));
    for (const auto& text : all_texts())
        found.expect(
            again->encode(text).numbers == tokenizer->encode(text).numbers &&
                again->decode(tokenizer->encode(text).numbers) == tokenizer->decode(tokenizer->encode(text).numbers),
            fmt::format("given back what it had learned, it reads \"{}\" otherwise", text));
    found.expect(!tokenizer->learned().empty(), "what it has learned is an empty text, which would be learned anew");
}

void learns_the_same_twice(const Trial& trial, Findings& found) {
    const auto first = taught(trial), second = taught(trial);
    found.expect(first->learned() == second->learned(), "of the same captions it learns something else");
    second->learn(captions);
    found.expect(first->learned() == second->learned(),
                 "taught twice by the same captions, it has learned something else");
}

void unknown_is_said(const Trial& trial, Findings& found) {
    const auto tokenizer = taught(trial);
    for (const auto& text : captions)
        found.expect(tokenizer->encode(text).unknown.empty(),
                     fmt::format("it does not know its own caption \"{}\"", text));
    const std::string odd = "xylophone", text = "a " + odd + " bag";
    const auto tokens = tokenizer->encode(text);
    std::string said;
    for (const auto& part : tokens.unknown) {
        said += part;
        found.expect(!part.empty() && text.find(part) != text.npos,
                     fmt::format("of \"{}\" it does not know \"{}\", which is not in it", text, part));
    }
    const bool knows_it = tokenizer->decode(tokens.numbers).find(odd) != std::string::npos;
    found.expect(knows_it || !said.empty(), fmt::format("\"{}\" loses \"{}\", and it does not say so", text, odd));
    found.expect(!knows_it || said.empty(),
                 fmt::format("\"{}\" comes back whole, and it says that it does not know \"{}\"", text, said));
}

void too_long_is_refused(const Trial& trial, Findings& found) {
    const auto tokenizer = taught(trial);
    std::string text = "red";
    for (std::int64_t i = 0; i < tokenizer->length(); ++i) text += " red";
    bool refused = false;
    try {
        tokenizer->encode(text);
    } catch (const Error&) {
        refused = true;
    }
    found.expect(refused, fmt::format("a text of {} words is cut to {} numbers, and nobody is told",
                                      tokenizer->length() + 1, tokenizer->length()));
}

void from_two_threads(const Trial& trial, Findings& found) {
    const auto tokenizer = taught(trial);
    found.expect(same_in_threads([&] { return token_rows(*tokenizer, all_texts()).tokens; }),
                 "two threads that ask at once get other numbers than one");
}

}  // namespace

const std::vector<Law> tokenizer_laws{
    {"numbers lie in its vocabulary, and are not too many", numbers_are_of_its_vocabulary},
    {"a text of its numbers has the same numbers", texts_come_back},
    {"texts of other words have other numbers", texts_are_told_apart},
    {"what it has learned is all that it needs", what_it_learned_is_all},
    {"of the same captions it learns the same", learns_the_same_twice},
    {"what it does not know is said", unknown_is_said},
    {"a text that is too long is refused in words", too_long_is_refused},
    {"two threads read as one does", from_two_threads},
};

}  // namespace dtk::laws
