//! dataset={use="composites", items="shapes", size=16}
//! tokenizer="my_tokenizer"
//! conditioner=[{use="bag_of_tokens"}]
//! train.steps=200
// A number for every letter: what is learned of training captions, and kept with the network.
#include <algorithm>

#include <dtk/tokenizer.hpp>

namespace {
struct MyTokenizer final : dtk::Tokenizer {
    struct Config {
        std::int64_t length = 64;
        void fields(dtk::Fields& f) { f("length", length, dtk::at_least(1), "letters that a text may have"); }
    } c;
    explicit MyTokenizer(const Config& config) : c(config) {}

    std::int64_t wants() const override { return 1000; }
    void learn(const std::vector<std::string>& captions) override {
        for (const auto& caption : captions)
            for (const char letter : caption)
                if (letters_.find(letter) == letters_.npos) letters_ += letter;
        std::ranges::sort(letters_);
    }
    std::string learned() const override { return letters_; }
    void restore(const std::string& learned) override { letters_ = learned; }

    std::int64_t vocabulary() const override { return 1 + static_cast<std::int64_t>(letters_.size()); }
    std::int64_t length() const override { return c.length; }
    dtk::Tokens encode(const std::string& text) const override {
        if (static_cast<std::int64_t>(text.size()) > c.length)
            throw dtk::Error("\"" + text + "\" has more letters than `length`", "raise it");
        dtk::Tokens tokens;
        for (const char letter : text) {
            const auto found = letters_.find(letter);
            tokens.numbers.push_back(found == letters_.npos ? 0 : 1 + static_cast<std::int64_t>(found));
            if (found == letters_.npos) tokens.unknown.push_back({letter});
        }
        return tokens;
    }
    std::string decode(const std::vector<std::int64_t>& numbers) const override {
        std::string text;
        for (const auto number : numbers) text += number == 0 ? '~' : letters_.at(static_cast<std::size_t>(number - 1));
        return text;
    }

 private:
    std::string letters_;
};
}  // namespace

DTK_PLUGIN(Tokenizer, my_tokenizer, MyTokenizer, "a number for every letter")
