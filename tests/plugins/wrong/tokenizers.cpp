// Tokenizers that do wrong on purpose; each names the law that it breaks as its summary.
#include <algorithm>
#include <sstream>

#include <dtk/error.hpp>
#include <dtk/tokenizer.hpp>

namespace {

/// A number for every word, which is what the others do wrong.
struct Right : dtk::Tokenizer {
    std::int64_t wants() const override { return 100; }
    void learn(const std::vector<std::string>& captions) override {
        words_.clear();
        for (const auto& caption : captions)
            for (const auto& word : split(caption))
                if (std::ranges::find(words_, word) == words_.end()) words_.push_back(word);
    }
    std::string learned() const override {
        std::string all;
        for (const auto& word : words_) all += word + " ";
        return all;
    }
    void restore(const std::string& learned) override { words_ = split(learned); }
    std::int64_t vocabulary() const override { return 1 + static_cast<std::int64_t>(words_.size()); }
    std::int64_t length() const override { return 12; }
    dtk::Tokens encode(const std::string& text) const override {
        const auto words = split(text);
        if (static_cast<std::int64_t>(words.size()) > length()) throw dtk::Error("too long");
        dtk::Tokens tokens;
        for (const auto& word : words) {
            const auto at = std::ranges::find(words_, word);
            tokens.numbers.push_back(at == words_.end() ? 0 : 1 + (at - words_.begin()));
            if (at == words_.end()) tokens.unknown.push_back(word);
        }
        return tokens;
    }
    std::string decode(const std::vector<std::int64_t>& numbers) const override {
        std::string text;
        for (const auto number : numbers)
            text += (text.empty() ? "" : " ") + (number == 0 ? "?" : words_.at(static_cast<std::size_t>(number - 1)));
        return text;
    }
    static std::vector<std::string> split(const std::string& text) {
        std::istringstream in(text);
        std::vector<std::string> words;
        for (std::string word; in >> word;) words.push_back(word);
        return words;
    }
    std::vector<std::string> words_;
};

/// Forgets that 0 is a number, too.
struct OneShort final : Right {
    std::int64_t vocabulary() const override { return Right::vocabulary() - 1; }
};

/// Words without the spaces between them.
struct Run final : Right {
    std::string decode(const std::vector<std::int64_t>& numbers) const override {
        auto text = Right::decode(numbers);
        std::erase(text, ' ');
        return text;
    }
};

/// In the order of the alphabet.
struct Sorted final : Right {
    dtk::Tokens encode(const std::string& text) const override {
        auto tokens = Right::encode(text);
        std::ranges::sort(tokens.numbers);
        return tokens;
    }
};

/// Only the number of words is kept.
struct Forgets final : Right {
    std::string learned() const override { return "words"; }
};

/// Learns more of what it knows already.
struct LearnsOn final : Right {
    void learn(const std::vector<std::string>& captions) override {
        for (const auto& caption : captions)
            for (const auto& word : split(caption)) words_.push_back(word);
    }
};

/// Leaves out what it does not know.
struct Drops final : Right {
    dtk::Tokens encode(const std::string& text) const override {
        auto tokens = Right::encode(text);
        std::erase(tokens.numbers, 0);
        return {tokens.numbers};
    }
};

/// Cuts what is too long.
struct Cuts final : Right {
    dtk::Tokens encode(const std::string& text) const override {
        std::string some;
        for (const auto& word : split(text))
            if (static_cast<std::int64_t>(split(some).size()) < length()) some += word + " ";
        return Right::encode(some);
    }
};

/// Remembers what it was asked last.
struct Remembers final : Right {
    dtk::Tokens encode(const std::string& text) const override {
        auto tokens = Right::encode(text);
        tokens.numbers.push_back(calls_++ % 7);
        return tokens;
    }
    mutable std::int64_t calls_ = 0;
};

}  // namespace

DTK_PLUGIN(Tokenizer, one_short, OneShort, "numbers lie in its vocabulary, and are not too many")
DTK_PLUGIN(Tokenizer, run_together, Run, "a text of its numbers has the same numbers")
DTK_PLUGIN(Tokenizer, sorted_words, Sorted, "texts of other words have other numbers")
DTK_PLUGIN(Tokenizer, forgets, Forgets, "what it has learned is all that it needs")
DTK_PLUGIN(Tokenizer, learns_on, LearnsOn, "of the same captions it learns the same")
DTK_PLUGIN(Tokenizer, drops_words, Drops, "what it does not know is said")
DTK_PLUGIN(Tokenizer, cuts, Cuts, "a text that is too long is refused in words")
DTK_PLUGIN(Tokenizer, remembers, Remembers, "two threads read as one does")
