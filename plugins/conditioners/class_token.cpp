// One token of a text, E[label], for networks whose pixels attend to texts: a learned vector for each class and one for
// rows that are not told theirs. Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022,
// table 15.
#include <dtk/conditioner.hpp>
#include <dtk/layers.hpp>

namespace {
struct ClassToken final : dtk::Conditioner {
    struct Config {
        std::int64_t width = 64;
        double drop = 0;
        void fields(dtk::Fields& f) {
            f("width", width, dtk::at_least(1), "numbers of the token");
            f("drop", drop, dtk::up_from(0, 1),
              "share of the examples of training whose class it is not told, beside drop_condition of [train]");
        }
    } c;
    ClassToken(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto told = context.condition_space();
        if (told.classes == 0)
            throw dtk::Error("class_token needs data with classes", "use other data, or remove the conditioner");
        if (told.tokens > 0) throw dtk::Error("there are tokens already", "use one conditioner that makes tokens");
        table_ = child<dtk::Embedding>("table", context.random("init").stream("conditioner"), told.classes, c.width,
                                       1.0, c.drop > 0 || context.drops_conditions());
    }
    dtk::ConditionSpace makes(dtk::ConditionSpace told) const override {
        told.tokens = 1;
        told.token_width = c.width;
        return told;
    }
    dtk::Condition operator()(dtk::Condition condition) const override {
        condition.tokens = (*table_)(condition).unsqueeze(1);
        return condition;
    }
    bool knows_null_condition() const override { return table_->knows_null(); }
    double drops() const override { return c.drop; }

 private:
    std::shared_ptr<dtk::Embedding> table_;
};
}  // namespace

DTK_PLUGIN(Conditioner, class_token, ClassToken, "the class as a text of one learned token")
