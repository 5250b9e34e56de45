// One token of a text, E[label], for networks whose pixels attend to texts: a learned vector for each class and one for
// rows that are not told theirs. Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models", 2022,
// table 15.
#include <dtk/class_conditioner.hpp>

namespace {
struct ClassToken final : dtk::ClassConditioner {
    struct Config : dtk::ClassConditioner::Config {
        void fields(dtk::Fields& f) { dtk::ClassConditioner::Config::fields(f, "numbers of the token"); }
    };
    ClassToken(const Config& config, const dtk::BuildContext& context)
        : ClassConditioner(config, context, "class_token") {
        if (context.condition_space().tokens > 0)
            throw dtk::Error("there are tokens already", "use one conditioner that makes tokens");
    }
    dtk::ConditionSpace makes(dtk::ConditionSpace told) const override {
        told.tokens = 1;
        told.token_width = width();
        return told;
    }
    dtk::Condition operator()(dtk::Condition condition) const override {
        condition.tokens = embedded(condition).unsqueeze(1);
        return condition;
    }
};
}  // namespace

DTK_PLUGIN(Conditioner, class_token, ClassToken, "the class as a text of one learned token")
