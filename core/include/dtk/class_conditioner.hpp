#pragma once
// What conditioners share that make a learned vector of a class.
#include <memory>
#include <string>

#include <dtk/conditioner.hpp>
#include <dtk/layers.hpp>

namespace dtk {

/// E[label], and a vector for rows that are not told theirs where there will be such.
class ClassConditioner : public Conditioner {
 public:
    struct Config {
        std::int64_t width = 64;
        double drop = 0;
        void fields(Fields& f, const char* what_width_is) {
            f("width", width, at_least(1), what_width_is);
            f("drop", drop, up_from(0, 1),
              "share of the examples of training whose class it is not told, beside drop_condition of [train]");
        }
    };
    /// Errors: Error in the name of `who` where the data have no classes.
    ClassConditioner(const Config& config, const BuildContext& context, const std::string& who) : c(config) {
        const auto classes = context.condition_space().classes;
        if (classes == 0) throw Error(who + " needs data with classes", "use other data, or remove the conditioner");
        table_ = child<Embedding>("table", context.random("init").stream("conditioner"), classes, c.width, 1.0,
                                  c.drop > 0 || context.drops_conditions());
    }
    bool knows_null_condition() const override { return table_->knows_null(); }
    double drops() const override { return c.drop; }

 protected:
    std::int64_t width() const { return c.width; }
    /// → [B, width]
    Tensor embedded(const Condition& condition) const { return (*table_)(condition); }

 private:
    Config c;
    std::shared_ptr<Embedding> table_;
};

}  // namespace dtk
