// A number for every word of the training captions, the most frequent first; 0 is for words that none of them has.
// Words are what stands between spaces and punctuation, in lower case.
#include <algorithm>
#include <map>
#include <sstream>
#include <unordered_map>

#include <fmt/format.h>

#include <dtk/tokenizer.hpp>

namespace {

bool parts_words(char c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' ||
           std::string_view(".,;:!?\"()[]").find(c) != std::string_view::npos;
}

std::vector<std::string> words_in(const std::string& text) {
    std::vector<std::string> words;
    std::string word;
    for (const char c : text + " ") {
        if (!parts_words(c)) {
            word += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
        } else if (!word.empty()) {
            words.push_back(std::move(word));
            word.clear();
        }
    }
    return words;
}

struct Words final : dtk::Tokenizer {
    struct Config {
        std::int64_t length = 16, read = 20'000, least = 1;
        void fields(dtk::Fields& f) {
            f("length", length, dtk::in(1, 512), "words that a text may have");
            f("read", read, dtk::at_least(1), "training captions whose words are learned, if there are as many");
            f("least", least, dtk::at_least(1), "how often a word must stand in them");
        }
    } c;
    explicit Words(const Config& config) : c(config) {}

    std::int64_t wants() const override { return c.read; }

    void learn(const std::vector<std::string>& captions) override {
        std::map<std::string, std::int64_t> often;
        for (const auto& caption : captions) {
            const auto words = words_in(caption);
            check_length(words, caption);
            for (const auto& word : words) ++often[word];
        }
        std::vector<std::pair<std::string, std::int64_t>> sorted(often.begin(), often.end());
        std::ranges::stable_sort(sorted, [](const auto& a, const auto& b) { return a.second > b.second; });
        words_.clear();
        for (const auto& [word, times] : sorted)
            if (times >= c.least) words_.push_back(word);
        number_words();
    }
    std::string learned() const override {
        std::string text;
        for (const auto& word : words_) text += word + "\n";
        return text;
    }
    void restore(const std::string& learned) override {
        words_.clear();
        std::istringstream lines(learned);
        for (std::string word; std::getline(lines, word);) {
            if (words_in(word) != std::vector{word})
                throw dtk::Error(fmt::format("\"{}\" is no word that a tokenizer has learned", word));
            words_.push_back(word);
        }
        number_words();
    }

    std::int64_t vocabulary() const override { return 1 + static_cast<std::int64_t>(words_.size()); }
    std::int64_t length() const override { return c.length; }

    dtk::Tokens encode(const std::string& text) const override {
        const auto words = words_in(text);
        check_length(words, text);
        dtk::Tokens tokens;
        for (const auto& word : words) {
            const auto found = number_.find(word);
            tokens.numbers.push_back(found == number_.end() ? 0 : found->second);
            if (found == number_.end()) tokens.unknown.push_back(word);
        }
        return tokens;
    }
    std::string decode(const std::vector<std::int64_t>& numbers) const override {
        std::string text;
        for (const auto number : numbers) {
            if (!text.empty()) text += ' ';
            text += number == 0 ? "<unknown>" : words_.at(static_cast<std::size_t>(number - 1));
        }
        return text;
    }

 private:
    void check_length(const std::vector<std::string>& words, const std::string& text) const {
        if (static_cast<std::int64_t>(words.size()) > c.length)
            throw dtk::Error(fmt::format("\"{}\" has {} words, and `length` is {}", text, words.size(), c.length),
                             "raise `length` in [tokenizer] where captions are so long, or shorten the text");
    }
    void number_words() {
        number_.clear();
        for (const auto& word : words_) number_.emplace(word, 1 + static_cast<std::int64_t>(number_.size()));
    }

    std::vector<std::string> words_;
    std::unordered_map<std::string, std::int64_t> number_;
};
}  // namespace

DTK_PLUGIN(Tokenizer, words, Words, "a number for every word of the training captions")
