// c = E[label], a vector for each class and one for rows that are not told theirs, trained with the network, which adds
// a linear map of it to what it knows of the time.
#include <dtk/class_conditioner.hpp>

namespace {
struct ClassVector final : dtk::ClassConditioner {
    struct Config : dtk::ClassConditioner::Config {
        void fields(dtk::Fields& f) { dtk::ClassConditioner::Config::fields(f, "numbers of the vector"); }
    };
    ClassVector(const Config& config, const dtk::BuildContext& context)
        : ClassConditioner(config, context, "class_vector") {
        if (context.condition_space().vector > 0)
            throw dtk::Error("another conditioner has made a vector already", "use one of the two");
    }
    dtk::ConditionSpace makes(dtk::ConditionSpace told) const override {
        told.vector = width();
        return told;
    }
    dtk::Condition operator()(dtk::Condition condition) const override {
        condition.vector = embedded(condition);
        return condition;
    }
};
}  // namespace

DTK_PLUGIN(Conditioner, class_vector, ClassVector, "a learned vector for each class")
