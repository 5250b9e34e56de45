// c = Σ_i m_i E[w_i] / Σ_i m_i: the mean of a learned vector for each token that there is, in whatever order they come;
// a vector of its own for rows that are told nothing, and 0 for a text without tokens.
#include <dtk/conditioner.hpp>
#include <dtk/layers.hpp>

namespace {

using at::Tensor;

struct BagOfTokens final : dtk::Conditioner {
    struct Config {
        std::int64_t width = 64;
        double drop = 0;
        void fields(dtk::Fields& f) {
            f("width", width, dtk::at_least(1), "numbers of the vector");
            f("drop", drop, dtk::up_from(0, 1),
              "share of the examples of training whose text it is not told, beside drop_condition of [train]");
        }
    } c;
    BagOfTokens(const Config& config, const dtk::BuildContext& context)
        : c(config), knows_null_(config.drop > 0 || context.drops_conditions()) {
        const auto told = context.condition_space();
        if (told.vocabulary == 0)
            throw dtk::Error("bag_of_tokens needs data with tokens",
                             "add [tokenizer], such as words, over data with captions");
        if (told.vector > 0) throw dtk::Error("another conditioner has made a vector already", "use one of the two");
        const auto init = context.random("init").stream("conditioner");
        table_ = &parameter("table", init.stream("table").normal({told.vocabulary, c.width}, at::kFloat));
        if (knows_null_) nothing_ = &parameter("nothing", init.stream("nothing").normal({1, c.width}, at::kFloat));
    }
    dtk::ConditionSpace makes(dtk::ConditionSpace told) const override {
        told.vector = c.width;
        told.tokens = told.vocabulary = 0;
        return told;
    }
    dtk::Condition operator()(dtk::Condition condition) const override {
        if (!condition.tokens.defined())
            throw dtk::Error("a network that reads texts was given none", "say what it is to draw: --prompt \"…\"");
        const auto vectors = at::embedding(*table_, condition.tokens);
        const auto mask = condition.token_mask.defined() ? condition.token_mask.to(vectors.scalar_type()).unsqueeze(2)
                                                         : at::ones({1, vectors.size(1), 1}, vectors.options());
        condition.vector = (vectors * mask).sum(1) / mask.sum(1).clamp_min(1);
        if (condition.given.defined()) {
            if (!knows_null_)
                throw dtk::Error("a network is asked without its text, and was never trained so",
                                 "set drop_condition in [train]");
            condition.vector = at::where(condition.given.unsqueeze(1), condition.vector, *nothing_);
        }
        condition.tokens = at::Tensor();
        condition.token_mask = at::Tensor();
        return condition;
    }
    bool knows_null_condition() const override { return knows_null_; }
    double drops() const override { return c.drop; }

 private:
    bool knows_null_;
    Tensor *table_, *nothing_ = nullptr;
};
}  // namespace

DTK_PLUGIN(Conditioner, bag_of_tokens, BagOfTokens, "the mean of a learned vector for each token")
