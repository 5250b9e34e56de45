#pragma once
// From text to the numbers of its parts, and back.
#include <cstdint>
#include <string>
#include <vector>

#include <dtk/plugin.hpp>
#include <dtk/tensor.hpp>

#define DTK_Tokenizer_VERSION 1_0

namespace dtk {

/// The numbers of a text.
struct Tokens {
    std::vector<std::int64_t> numbers = {};  ///< 0 … vocabulary() − 1
    std::vector<std::string> unknown = {};   ///< parts of the text that nothing is known of, as they stand in it
};

/// What it has learned is kept with the network: it is taught once, by captions, or given back what it had learned.
/// After that being asked changes nothing, and two threads may ask.
class DTK_API Tokenizer {
 public:
    static constexpr const char* kind = "tokenizer";
    virtual ~Tokenizer();
    /// How many training captions it wants to see, if there are as many; 0: none, as one that reads a file.
    virtual std::int64_t wants() const = 0;
    /// Errors: Error where they cannot be what it is for.
    virtual void learn(const std::vector<std::string>& captions) = 0;
    /// All that learning has made, as text that `restore` understands.
    virtual std::string learned() const = 0;
    /// Errors: Error where it is not such a text.
    virtual void restore(const std::string& learned) = 0;
    virtual std::int64_t vocabulary() const = 0;
    /// The most numbers that a text may have.
    virtual std::int64_t length() const = 0;
    /// Errors: Error for a text of more numbers than that.
    virtual Tokens encode(const std::string& text) const = 0;
    /// Of numbers that encode has made: a text with the same numbers.
    virtual std::string decode(const std::vector<std::int64_t>& numbers) const = 0;
};

/// The numbers of several texts as a network is told them.
struct TokenRows {
    Tensor tokens = {};                     ///< [n, length] int64, 0 where there are no more
    Tensor mask = {};                       ///< [n, length] of 0 and 1: which there are
    std::vector<std::string> unknown = {};  ///< of all texts, each once
};
/// Errors: those of encode; Error where it answers numbers beyond its vocabulary or more than its length.
DTK_API TokenRows token_rows(const Tokenizer& tokenizer, const std::vector<std::string>& texts);

}  // namespace dtk
