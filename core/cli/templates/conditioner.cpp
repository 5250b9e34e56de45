//! dataset={use="moons", labels=true}
//! conditioner=[{use="my_conditioner"}]
// c = E[label]: what a network is told, made of what the data say, and trained with it.
#include <dtk/conditioner.hpp>
#include <dtk/layers.hpp>

namespace {
struct MyConditioner final : dtk::Conditioner {
    struct Config {
        std::int64_t width = 16;
        void fields(dtk::Fields& f) { f("width", width, dtk::at_least(1), "numbers of the vector"); }
    } c;
    MyConditioner(const Config& config, const dtk::BuildContext& context) : c(config) {
        const auto told = context.condition_space();
        if (told.classes == 0) throw dtk::Error("my_conditioner needs data with classes", "use other data");
        table_ = child<dtk::Embedding>("table", context.random("init").stream("conditioner"), told.classes, c.width,
                                       1.0, context.drops_conditions());
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

 private:
    std::shared_ptr<dtk::Embedding> table_;
};
}  // namespace

DTK_PLUGIN(Conditioner, my_conditioner, MyConditioner, "a vector for each class")
