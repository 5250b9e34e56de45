#pragma once
// What [ablation] says of a study, before its arms are read.
#include "study/axes.hpp"

namespace dtk {

/// The fields of [ablation].
struct AblationSettings {
    std::string question, baseline;
    std::vector<std::int64_t> seeds{0, 1, 2, 3, 4}, sample_seeds;
    std::vector<std::string> metrics, first, vary;
    bool one_at_a_time = false;
    double level = 0.95;
    std::string compare = "baseline", confirm = "first", smallest, until = "all";
    std::int64_t limit = 20, eta = 2, rungs = 3;
    std::string search = "all";
    std::vector<std::int64_t> fresh;
    bool seeds_are_a_list = true;
    void fields(Fields& f);
};

/// All that [ablation] says.
struct Ablation {
    AblationSettings settings;
    Smallest smallest;
    std::vector<Axis> axes;
    std::optional<Tuning> tune;
    std::vector<SourceLocation> tuned_at;  ///< where the values stand that are tuned
    std::optional<Search> search;
};

/// Reads [ablation]; nothing where no arm can be made of it. root: the whole file.
std::optional<Ablation> read_ablation(ParseContext& reading, const toml::table& root, const toml::table& table,
                                      const Growth& growth);

}  // namespace dtk
