// c = E[label], a vector for each class and one for rows that are not told theirs, trained with the network, which adds
// a linear map of it to what it knows of the time.
#include <dtk/conditioner.hpp>
#include <dtk/layers.hpp>

namespace {
struct ClassVector final : dtk::Conditioner {
    struct Config {
        std::int64_t width = 64;
        double drop = 0;
        void fields(dtk::Fields& f) {
            f("width", width, dtk::at_least(1), "numbers of the vector");
            f("drop", drop, dtk::up_from(0, 1),
              "share of the examples of training whose class it is not told, beside drop_condition of [train]");
        }
    } c;
    ClassVector(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto told = context.condition_space();
        if (told.classes == 0)
            throw dtk::Error("class_vector needs data with classes", "use other data, or remove the conditioner");
        if (told.vector > 0) throw dtk::Error("another conditioner has made a vector already", "use one of the two");
        table_ = child<dtk::Embedding>("table", context.random("init").stream("conditioner"), told.classes, c.width,
                                       1.0, c.drop > 0 || context.drops_conditions());
    }
    dtk::ConditionSpace makes(dtk::ConditionSpace told) const override {
        told.vector = c.width;
        return told;
    }
    dtk::Condition operator()(dtk::Condition condition) const override {
        condition.vector = (*table_)(condition);
        return condition;
    }
    bool knows_null_condition() const override { return table_->knows_null(); }
    double drops() const override { return c.drop; }

 private:
    std::shared_ptr<dtk::Embedding> table_;
};
}  // namespace

DTK_PLUGIN(Conditioner, class_vector, ClassVector, "a learned vector for each class")
