// Byte-pair encoding by the files that others publish: a text falls into words, a word into its bytes, and the pair
// that stands first in the list of merges is joined until there is none (Sennrich, Haddow & Birch, "Neural Machine
// Translation of Rare Words with Subword Units", 2016; over bytes: Radford et al., "Language Models are Unsupervised
// Multitask Learners", 2019, section 2.2). Layouts:
//   vocab.json and merges.txt    of GPT-2 and, with </w> at the ends of words, of CLIP, which reads lower case
//   tokenizer.json               model of type BPE, with its added tokens
// Words are those of these two: letters, digits, other signs, 's 't 're 've 'm 'll 'd; of GPT-2 with the space before
// them, of CLIP each digit by itself. Whatever lies beyond ASCII counts as a letter. What was read is kept with the
// network, so that the files are needed once.
#include <array>
#include <fstream>
#include <map>
#include <sstream>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dtk/tokenizer.hpp>

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

constexpr const char* word_end = "</w>";

std::string utf8(unsigned code) {
    if (code < 0x80) return {static_cast<char>(code)};
    return {static_cast<char>(0xC0 | (code >> 6)), static_cast<char>(0x80 | (code & 0x3F))};
}

/// The sign that stands for each byte in the files: itself where it can be seen, else one from 256 on.
const std::array<std::string, 256>& signs() {
    static const auto& all = *new std::array<std::string, 256>([] {
        std::array<std::string, 256> signs;
        unsigned next = 256;
        for (unsigned byte = 0; byte < 256; ++byte) {
            const bool seen = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
            signs[byte] = utf8(seen ? byte : next++);
        }
        return signs;
    }());
    return all;
}

bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80;
}
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_other(char c) { return !is_letter(c) && !is_digit(c) && !is_space(c); }

/// Where the run of such characters that begins at i ends.
std::size_t run(const std::string& text, std::size_t i, bool (*is)(char)) {
    while (i < text.size() && is(text[i])) ++i;
    return i;
}

/// Where the contraction that begins at i ends; i where there is none.
std::size_t contraction(const std::string& text, std::size_t i) {
    for (const std::string_view one : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
        if (text.compare(i, one.size(), one) == 0) return i + one.size();
    return i;
}

std::vector<std::string> words_of_clip(std::string text) {
    for (auto& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    std::vector<std::string> words;
    for (std::size_t i = 0; i < text.size();) {
        auto end = contraction(text, i);
        if (end == i && is_space(text[i])) {
            ++i;
            continue;
        }
        if (end == i) end = is_digit(text[i]) ? i + 1 : run(text, i, is_letter(text[i]) ? is_letter : is_other);
        words.push_back(text.substr(i, end - i));
        i = end;
    }
    return words;
}

std::vector<std::string> words_of_gpt2(const std::string& text) {
    std::vector<std::string> words;
    for (std::size_t i = 0; i < text.size();) {
        auto end = contraction(text, i);
        if (end == i) {
            const auto first = text[i] == ' ' && i + 1 < text.size() && !is_space(text[i + 1]) ? i + 1 : i;
            const char c = text[first];
            end = run(text, first,
                      is_letter(c)  ? is_letter
                      : is_digit(c) ? is_digit
                      : is_space(c) ? is_space
                                    : is_other);
            // The last of several spaces goes with the word behind them.
            if (is_space(c) && end < text.size() && end - i > 1) --end;
        }
        words.push_back(text.substr(i, end - i));
        i = end;
    }
    return words;
}

std::string content_of(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw dtk::Error(fmt::format("{} cannot be read", path.string()), "say in `path` where the files are");
    std::ostringstream text;
    text << in.rdbuf();
    return text.str();
}

json parsed(const std::string& text, const std::string& from) {
    auto value = json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!value.is_object()) throw dtk::Error(from + " is no JSON of a vocabulary", "fetch it again");
    return value;
}

struct BytePairs final : dtk::Tokenizer {
    struct Config {
        fs::path path;
        std::int64_t length = 77;
        std::string begin, end;
        void fields(dtk::Fields& f) {
            f.required("path", path, "a folder with vocab.json and merges.txt or with tokenizer.json, or that file");
            f("length", length, dtk::in(1, 4096), "numbers that a text may have, `begin` and `end` among them");
            f("begin", begin, "the token before every text, <|startoftext|>; empty: none");
            f("end", end, "the token after it, <|endoftext|>; empty: none");
        }
    } c;
    explicit BytePairs(const Config& config) : c(config) {}

    std::int64_t wants() const override { return 0; }

    void learn(const std::vector<std::string>&) override {
        std::error_code error;
        const auto one = fs::is_directory(c.path, error) ? c.path / "tokenizer.json" : c.path;
        if (fs::is_regular_file(c.path / "vocab.json", error)) {
            json merges = json::array();
            std::istringstream lines(content_of(c.path / "merges.txt"));
            for (std::string line; std::getline(lines, line);) {
                if (!line.empty() && line.back() == '\r') line.pop_back();
                if (!line.empty() && !line.starts_with("#version")) merges.push_back(line);
            }
            take(parsed(content_of(c.path / "vocab.json"), (c.path / "vocab.json").string()), merges, c.path.string());
            return;
        }
        auto file = parsed(content_of(one), one.string());
        if (!file["model"].is_object() || !file["model"]["vocab"].is_object() || !file["model"]["merges"].is_array() ||
            file["model"].value("type", "BPE") != "BPE")
            throw dtk::Error(one.string() + " holds no vocabulary of byte pairs",
                             "name one whose model is of type BPE");
        auto vocab = file["model"]["vocab"];
        for (const auto& added : file.value("added_tokens", json::array()))
            if (added.is_object() && added.contains("content") && added.contains("id"))
                vocab[added["content"]] = added["id"];
        take(vocab, file["model"]["merges"], one.string());
    }

    std::string learned() const override {
        json vocab = json::object(), merges = json::array();
        for (const auto& [token, number] : number_) vocab[token] = number;
        for (const auto& [left, right] : merges_) merges.push_back({left, right});
        return json{{"vocab", vocab}, {"merges", merges}}.dump();
    }
    void restore(const std::string& learned) override {
        const auto all = parsed(learned, "what was kept with the network");
        take(all.value("vocab", json::object()), all.value("merges", json::array()), "what was kept with the network");
    }

    std::int64_t vocabulary() const override { return static_cast<std::int64_t>(token_.size()); }
    std::int64_t length() const override { return c.length; }

    dtk::Tokens encode(const std::string& text) const override {
        dtk::Tokens tokens;
        if (!c.begin.empty()) tokens.numbers.push_back(number_.at(c.begin));
        for (const auto& word : ends_words_ ? words_of_clip(text) : words_of_gpt2(text))
            for (const auto& token : merged(word)) {
                const auto found = number_.find(token);
                tokens.numbers.push_back(found == number_.end() ? 0 : found->second);
                if (found == number_.end()) tokens.unknown.push_back(word);
            }
        if (!c.end.empty()) tokens.numbers.push_back(number_.at(c.end));
        if (static_cast<std::int64_t>(tokens.numbers.size()) > c.length)
            throw dtk::Error(
                fmt::format("\"{}\" has {} tokens, and `length` is {}", text, tokens.numbers.size(), c.length),
                "raise `length` in [tokenizer], or shorten the text");
        return tokens;
    }

    std::string decode(const std::vector<std::int64_t>& numbers) const override {
        std::string text;
        for (const auto number : numbers) {
            auto token = token_.at(static_cast<std::size_t>(number));
            if ((!c.begin.empty() && token == c.begin) || (!c.end.empty() && token == c.end)) continue;
            const bool ends = ends_words_ && token.ends_with(word_end);
            if (ends) token.resize(token.size() - std::char_traits<char>::length(word_end));
            text += bytes(token) + (ends ? " " : "");
        }
        if (ends_words_ && text.ends_with(" ")) text.pop_back();
        return text;
    }

 private:
    void take(const json& vocab, const json& merges, const std::string& from) {
        number_.clear();
        merges_.clear();
        rank_.clear();
        std::int64_t most = -1;
        for (const auto& [token, number] : vocab.items()) {
            if (!number.is_number_integer() || number.get<std::int64_t>() < 0 ||
                number.get<std::int64_t>() > 10'000'000)
                throw dtk::Error(fmt::format("{}: token \"{}\" has no number", from, token), "fetch it again");
            number_[token] = number.get<std::int64_t>();
            most = std::max(most, number_[token]);
        }
        token_.assign(static_cast<std::size_t>(most + 1), "");
        for (const auto& [token, number] : number_) token_[static_cast<std::size_t>(number)] = token;
        for (const auto& merge : merges) {
            auto [left, right] = halves(merge);
            if (left.empty() || right.empty() || !number_.contains(left + right))
                throw dtk::Error(fmt::format("{}: merge {} is none of two tokens to a third", from, merge.dump()),
                                 "the vocabulary and the merges are not of one tokenizer");
            if (rank_.emplace(left + " " + right, merges_.size()).second)
                merges_.emplace_back(std::move(left), std::move(right));
        }
        if (number_.empty()) throw dtk::Error(from + " holds no token", "fetch it again");
        ends_words_ = std::ranges::any_of(number_, [](const auto& one) { return one.first.ends_with(word_end); });
        for (const auto* special : {&c.begin, &c.end})
            if (!special->empty() && !number_.contains(*special))
                throw dtk::Error(fmt::format("{} has no token \"{}\"", from, *special),
                                 "say in `begin` and `end` what is in its vocabulary");
    }

    /// "a b", or ["a", "b"]
    static std::pair<std::string, std::string> halves(const json& merge) {
        if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string())
            return {merge[0].get<std::string>(), merge[1].get<std::string>()};
        const auto text = merge.is_string() ? merge.get<std::string>() : std::string();
        const auto space = text.find(' ');
        return space == text.npos ? std::pair<std::string, std::string>()
                                  : std::pair{text.substr(0, space), text.substr(space + 1)};
    }

    /// The tokens of a word.
    std::vector<std::string> merged(const std::string& word) const {
        std::vector<std::string> parts;
        for (const char c : word) parts.push_back(signs()[static_cast<unsigned char>(c)]);
        if (ends_words_) parts.back() += word_end;
        while (parts.size() > 1) {
            // The pair that stands first in the list, wherever it occurs.
            auto best = rank_.end();
            for (std::size_t i = 0; i + 1 < parts.size(); ++i)
                if (const auto found = rank_.find(parts[i] + " " + parts[i + 1]);
                    found != rank_.end() && (best == rank_.end() || found->second < best->second))
                    best = found;
            if (best == rank_.end()) break;
            const auto& [left, right] = merges_[best->second];
            std::vector<std::string> next;
            for (std::size_t i = 0; i < parts.size(); ++i) {
                const bool pair = i + 1 < parts.size() && parts[i] == left && parts[i + 1] == right;
                next.push_back(pair ? left + right : parts[i]);
                i += pair;
            }
            parts = std::move(next);
        }
        return parts;
    }

    /// The bytes that the signs of a token stand for; of one that is no such, as it is written.
    static std::string bytes(const std::string& token) {
        static const auto& byte_of = *new std::map<std::string, char>([] {
            std::map<std::string, char> all;
            for (unsigned byte = 0; byte < 256; ++byte) all.emplace(signs()[byte], static_cast<char>(byte));
            return all;
        }());
        std::string text;
        for (std::size_t i = 0; i < token.size();) {
            const std::size_t n = static_cast<unsigned char>(token[i]) >= 0xC0 ? 2 : 1;
            const auto found = byte_of.find(token.substr(i, n));
            if (found == byte_of.end()) return token;
            text += found->second;
            i += n;
        }
        return text;
    }

    std::map<std::string, std::int64_t> number_;
    std::vector<std::string> token_;  ///< by number
    std::vector<std::pair<std::string, std::string>> merges_;
    std::unordered_map<std::string, std::size_t> rank_;  ///< of "left right" among the merges
    bool ends_words_ = false;                            ///< </w> ends a word, as in CLIP
};
}  // namespace

DTK_PLUGIN(Tokenizer, byte_pairs, BytePairs, "byte pairs by the files that others publish")
