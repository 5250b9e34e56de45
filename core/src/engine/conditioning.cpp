// What a network is told: conditioners, one after the other.
#include <dtk/conditioner.hpp>

#include "engine/conditioning.hpp"

namespace dtk {

Conditioner::~Conditioner() = default;

Tensor told_rows(const Random& random, double dropped, std::int64_t rows, at::Device device) {
    return random.uniform({rows}, at::TensorOptions(device)) >= dropped;
}

Condition conditioned(const std::vector<NamedConditioner>& conditioners, Condition condition, std::int64_t rows) {
    for (const auto& [name, conditioner] : conditioners) {
        const auto given = condition.given;
        if (condition.random && conditioner->drops() > 0) {
            const auto& like = condition.label.defined()    ? condition.label
                               : condition.tokens.defined() ? condition.tokens
                                                            : condition.vector;
            const auto told = told_rows(condition.random->stream("drop/" + name), conditioner->drops(), rows,
                                        like.defined() ? like.device() : at::kCPU);
            condition.given = given.defined() ? given.logical_and(told) : told;
        }
        condition = (*conditioner)(std::move(condition));
        condition.given = given;
    }
    return condition;
}

}  // namespace dtk
