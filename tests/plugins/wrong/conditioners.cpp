// Conditioners that do wrong on purpose; each names the law that it breaks as its summary.
#include <dtk/conditioner.hpp>

namespace {

using at::Tensor;

/// A row of a table for each class, and one for nothing, which is what the others do wrong.
struct Right : dtk::Conditioner {
    explicit Right(const dtk::BuildContext& context) {
        classes_ = context.condition_space().classes;
        if (classes_ == 0) throw dtk::Error("it needs data with classes", "use other data");
        table_ = &parameter("table", context.random("init").stream("table").normal({classes_ + 1, 4}, at::kFloat));
    }
    dtk::ConditionSpace makes(dtk::ConditionSpace told) const override {
        told.vector = 4;
        return told;
    }
    dtk::Condition operator()(dtk::Condition condition) const override {
        condition.vector = table_->index_select(0, rows_of(condition));
        return condition;
    }
    bool knows_null_condition() const override { return true; }
    Tensor rows_of(const dtk::Condition& condition) const {
        return condition.given.defined() ? at::where(condition.given, condition.label, classes_) : condition.label;
    }
    std::int64_t classes_;
    Tensor* table_;
};

/// Tells all rows their class, those that are not given, too: guidance then has no unconditional network.
struct Tells final : Right {
    using Right::Right;
    dtk::Condition operator()(dtk::Condition condition) const override {
        condition.vector = table_->index_select(0, condition.label);
        return condition;
    }
};

/// Zeroes for nothing, times the label.
struct Half final : Right {
    using Right::Right;
    dtk::Condition operator()(dtk::Condition condition) const override {
        const auto all = table_->index_select(0, condition.label);
        condition.vector = condition.given.defined() ? at::where(condition.given.unsqueeze(1), all, 0.5 * all) : all;
        return condition;
    }
};

/// Class 0 stands for nothing.
struct FirstClass final : Right {
    using Right::Right;
    dtk::Condition operator()(dtk::Condition condition) const override {
        if (condition.given.defined()) condition.label = condition.label * condition.given;
        condition.vector = table_->index_select(0, condition.label);
        return condition;
    }
};

struct OtherWidth final : Right {
    using Right::Right;
    dtk::ConditionSpace makes(dtk::ConditionSpace told) const override {
        told.vector = 8;
        return told;
    }
};

/// A fresh condition, without what others have put in.
struct Forgets final : Right {
    using Right::Right;
    dtk::Condition operator()(dtk::Condition condition) const override {
        dtk::Condition fresh;
        fresh.label = condition.label, fresh.given = condition.given;
        fresh.vector = Right::operator()(condition).vector;
        return fresh;
    }
};

/// Cut off from the gradient.
struct Detached final : Right {
    using Right::Right;
    dtk::Condition operator()(dtk::Condition condition) const override {
        condition = Right::operator()(std::move(condition));
        condition.vector = condition.vector.detach();
        return condition;
    }
};

/// Centred over the batch.
struct OfItsBatch final : Right {
    using Right::Right;
    dtk::Condition operator()(dtk::Condition condition) const override {
        condition = Right::operator()(std::move(condition));
        condition.vector = condition.vector - condition.vector.slice(0, 0, 1);
        return condition;
    }
};

struct DropsAll final : Right {
    using Right::Right;
    double drops() const override { return 10; }  // percent
};

/// Everything is class 0.
struct Deaf final : Right {
    using Right::Right;
    dtk::Condition operator()(dtk::Condition condition) const override {
        condition.label = at::zeros_like(condition.label);
        return Right::operator()(std::move(condition));
    }
};

}  // namespace

DTK_PLUGIN(Conditioner, tells, Tells, "rows that are not given get what stands for nothing, whatever their label")
DTK_PLUGIN(Conditioner, half, Half, "rows that are not given get what stands for nothing, whatever their label")
DTK_PLUGIN(Conditioner, first_class, FirstClass,
           "rows that are not given get what stands for nothing, whatever their label")
DTK_PLUGIN(Conditioner, other_width, OtherWidth, "it makes what it says, of the size and in the range")
DTK_PLUGIN(Conditioner, forgets, Forgets, "what it does not make it passes on")
DTK_PLUGIN(Conditioner, detached, Detached, "a gradient reaches every parameter")
DTK_PLUGIN(Conditioner, of_its_batch, OfItsBatch, "a row is told what is its own, whatever the batch")
DTK_PLUGIN(Conditioner, drops_all, DropsAll,
           "what it drops is a share, and it knows rows that are told nothing where there are such")
DTK_PLUGIN(Conditioner, deaf, Deaf, "classes are told apart")
