#pragma once
// A data set as a network that reads is told of it: with the tokens of its captions.
#include <memory>

#include <dtk/captions.hpp>
#include <dtk/tokenizer.hpp>

namespace dtk {

/// Teaches the tokenizer: what it had learned, where `learned` says that, else by training captions of the data.
/// Errors: Error where the data have no captions.
DTK_API void teach(Tokenizer& tokenizer, const Dataset& data, const std::string& learned);

/// What a network is told of prompts. Errors: Error for one with parts that nothing is known of.
DTK_API TokenRows prompt_tokens(const Tokenizer& tokenizer, const std::vector<std::string>& prompts);

/// The data with the tokens of their captions. Errors: those of the captions' tokens, when an example is asked for.
class DTK_API TokenisedData final : public DatasetAround {
 public:
    TokenisedData(std::shared_ptr<const Dataset> data, std::shared_ptr<const Tokenizer> tokenizer);
    Batch examples(const Tensor& index) const override;
    Batch test_examples(const Tensor& index) const override;
    ConditionSpace condition_space() const override;

 private:
    Batch told(Batch batch, const std::vector<std::string>& captions) const;
    std::shared_ptr<const Tokenizer> tokenizer_;
    const Captioned* captions_;  ///< null where the data are gone
};

}  // namespace dtk
