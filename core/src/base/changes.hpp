#pragma once
// What differs between the experiment of a run and the one it is to go on with, and which of it may.
#include <string>
#include <vector>

#include "base/toml.hpp"

namespace dtk {

/// One field.
struct Change {
    enum class Kind {
        idle,        ///< nothing of what comes out: logging, checkpoints, threads
        steps,       ///< how long is trained
        law,         ///< how training goes on: the learning rate, clipping
        afterwards,  ///< what is done with the network: samples, metrics
        refused      ///< what has been learned already: model, data, seed
    };
    std::string stage;          ///< its name; empty where there is one
    std::string key;            ///< "train.lr"
    std::string before, after;  ///< as TOML has it; empty where it was not there
    Kind kind = Kind::refused;
    /// "stage student: train.lr 0.001 → 0.0001"
    DTK_API std::string text() const;
};

/// Between two experiments with every field written out.
DTK_API std::vector<Change> changes_between(const toml::table& then, const toml::table& now);

/// Does one of these KEY=VALUE set that field, or a table it stands in?
DTK_API bool is_set(const Change& change, const std::vector<std::string>& overrides);

}  // namespace dtk
