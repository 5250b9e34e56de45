#include "engine/tokenised_data.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/error.hpp>

#include "base/registry.hpp"
#include "base/words.hpp"

namespace dtk {

Captioned::~Captioned() = default;
ReadsAttributes::~ReadsAttributes() = default;
Tokenizer::~Tokenizer() = default;

TokenRows token_rows(const Tokenizer& tokenizer, const std::vector<std::string>& texts) {
    const auto n = static_cast<std::int64_t>(texts.size()), length = tokenizer.length();
    TokenRows rows{at::zeros({n, length}, at::kLong), at::zeros({n, length}, at::kFloat)};
    auto* numbers = rows.tokens.mutable_data_ptr<std::int64_t>();
    auto* mask = rows.mask.mutable_data_ptr<float>();
    for (std::int64_t i = 0; i < n; ++i) {
        const auto tokens = tokenizer.encode(texts[static_cast<std::size_t>(i)]);
        const auto many = static_cast<std::int64_t>(tokens.numbers.size());
        const bool known = std::ranges::all_of(
            tokens.numbers, [&](auto number) { return number >= 0 && number < tokenizer.vocabulary(); });
        if (many > length || !known)
            throw PluginError(fmt::format("the tokenizer makes {} numbers of a text, the most is {}, {}", many, length,
                                          known ? "or less" : "and one of them is not in its vocabulary"));
        std::ranges::copy(tokens.numbers, numbers + i * length);
        std::fill_n(mask + i * length, many, 1.0F);
        for (const auto& part : tokens.unknown)
            if (std::ranges::find(rows.unknown, part) == rows.unknown.end()) rows.unknown.push_back(part);
    }
    return rows;
}

void teach(Tokenizer& tokenizer, const Dataset& data, const std::string& learned) {
    if (!learned.empty()) return tokenizer.restore(learned);
    const auto* captions = known_as<Captioned>(data);
    if (!captions)
        throw Error("a tokenizer reads captions, and the data have none",
                    "use data with captions, such as composites, or remove [tokenizer]");
    const auto n = data.size() > 0 ? std::min(tokenizer.wants(), data.size()) : tokenizer.wants();
    tokenizer.learn(n > 0 ? captions->captions(at::arange(n, at::kLong)) : std::vector<std::string>{});
    if (tokenizer.vocabulary() < 1 || tokenizer.length() < 1)
        throw Error("the tokenizer has learned no token", "give it captions with words in them");
}

TokenRows prompt_tokens(const Tokenizer& tokenizer, const std::vector<std::string>& prompts) {
    auto rows = token_rows(tokenizer, prompts);
    if (rows.unknown.empty()) return rows;
    std::vector<std::string> known;
    for (std::int64_t number = 0; number < std::min<std::int64_t>(tokenizer.vocabulary(), 5000); ++number)
        known.push_back(tokenizer.decode({number}));
    throw Error(
        fmt::format("a prompt says \"{}\", which no caption of training did", fmt::join(rows.unknown, "\", \"")),
        did_you_mean(rows.unknown.front(), known, "use words of the captions"));
}

TokenisedData::TokenisedData(std::shared_ptr<const Dataset> data, std::shared_ptr<const Tokenizer> tokenizer)
    : DatasetAround(std::move(data)), tokenizer_(std::move(tokenizer)), captions_(known_as<Captioned>(inside())) {}

Batch TokenisedData::examples(const Tensor& index) const {
    auto batch = inside().examples(index);
    return captions_ ? told(std::move(batch), captions_->captions(index)) : batch;
}

Batch TokenisedData::test_examples(const Tensor& index) const {
    auto batch = inside().test_examples(index);
    return captions_ ? told(std::move(batch), captions_->test_captions(index)) : batch;
}

Batch TokenisedData::told(Batch batch, const std::vector<std::string>& captions) const {
    const auto rows = token_rows(*tokenizer_, captions);
    batch.condition.tokens = rows.tokens;
    batch.condition.token_mask = rows.mask;
    return batch;
}

ConditionSpace TokenisedData::condition_space() const {
    auto space = inside().condition_space();
    space.tokens = tokenizer_->length();
    space.vocabulary = tokenizer_->vocabulary();
    return space;
}

}  // namespace dtk
