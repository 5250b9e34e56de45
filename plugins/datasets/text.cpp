// Windows of `length` tokens of a text file, each token one letter or one byte. `letters` are those of text8 (Mahoney,
// "Large Text Compression Benchmark", 2011): a … z, small, and one space for whatever else stands between them; 27
// categories, 0 the space. `bytes` are 256 categories, whatever the text is written in. The end of the text is held
// out. Training has a window for every place that one can begin at, testing those that follow one another.
#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/gzip.hpp>

namespace {

namespace fs = std::filesystem;
using at::Tensor;

struct Text final : dtk::Dataset {
    struct Config {
        fs::path file;
        std::int64_t length = 64;
        std::string alphabet = "letters";
        double test = 0.05;
        void fields(dtk::Fields& f) {
            f.required("file", file, "the text");
            f("length", length, dtk::at_least(1), "tokens of an example");
            f("alphabet", alphabet, {"letters", "bytes"}, "a token is a … z or a space, or one of 256 bytes");
            f("test", test, dtk::inside(0, 1), "share of the text, at its end, that is held out");
        }
    } c;
    explicit Text(const Config& config) : c(config), tokens_(read(config)) {
        const auto all = tokens_.numel();
        training_ = all - static_cast<std::int64_t>(static_cast<double>(all) * c.test);
        if (training_ < c.length || all - training_ < c.length)
            throw dtk::Error(fmt::format("{} has {} tokens for training and {} that are held out, and a window is {}",
                                         c.file.string(), training_, all - training_, c.length),
                             "give a longer text, a smaller `length` or another `test`");
    }

    std::vector<std::int64_t> shape() const override { return {c.length}; }
    std::int64_t size() const override { return training_ - c.length + 1; }
    std::int64_t test_size() const override { return (tokens_.numel() - training_) / c.length; }
    dtk::Batch examples(const Tensor& index) const override {
        check(index, size());
        return windows(index);
    }
    dtk::Batch test_examples(const Tensor& index) const override {
        check(index, test_size());
        return windows(training_ + c.length * index);
    }
    std::optional<std::pair<double, double>> range() const override {
        return std::pair{0.0, static_cast<double>(levels() - 1)};
    }
    int levels() const override { return c.alphabet == "letters" ? 27 : 256; }
    std::string fingerprint() const override { return dtk::sha256_of_files({c.file}); }

 private:
    /// [n] uint8
    static Tensor read(const Config& c) {
        std::ifstream in(c.file, std::ios::binary);
        if (!in) throw dtk::Error(fmt::format("cannot read {}", c.file.string()), "is the path right?");
        std::string text{std::istreambuf_iterator<char>(in), {}};
        if (c.alphabet == "letters") {
            for (auto& letter : text) {
                const auto small = std::tolower(static_cast<unsigned char>(letter));
                letter = small >= 'a' && small <= 'z' ? static_cast<char>(small - 'a' + 1) : '\0';
            }
            // One space between words
            text.erase(std::unique(text.begin(), text.end(), [](char a, char b) { return a == 0 && b == 0; }),
                       text.end());
        }
        return at::from_blob(text.data(), {static_cast<std::int64_t>(text.size())}, at::kByte).clone();
    }

    static void check(const Tensor& index, std::int64_t n) {
        if (index.numel() > 0 && (index.min().item<std::int64_t>() < 0 || index.max().item<std::int64_t>() >= n))
            throw dtk::Error(fmt::format("windows {} … {} were asked for, and there are {}",
                                         index.min().item<std::int64_t>(), index.max().item<std::int64_t>(), n));
    }

    dtk::Batch windows(const Tensor& first) const {
        return {.x = tokens_.take(first.unsqueeze(1) + at::arange(c.length)).to(at::kFloat)};
    }

    Tensor tokens_;
    std::int64_t training_ = 0;
};
}  // namespace

DTK_PLUGIN(Dataset, text, Text, "windows of a text file, by letters or bytes; elsewhere: text8")
