#pragma once
// Which claims about what an experiment gives hold.
#include "base/expectation.hpp"
#include "study/run_store.hpp"

namespace dtk {

/// A claim beside what was measured.
struct CheckedClaim {
    enum class State {
        holds,
        fails,
        unmeasured,  ///< the run has no number for it
        failed       ///< there is no finished run
    };
    std::string experiment;  ///< the file, or the run's name
    Expectation claim;
    State state = State::failed;
    double value = NAN;    ///< what was measured
    double noise = NAN;    ///< its standard error or, where that is not known, the standard deviation over true samples
    std::string why = {};  ///< of a failed one

    double off() const { return value - claim.value; }
    /// Would chance alone take a right value out of the claim's bounds now and then? Beyond two standard deviations.
    bool is_narrow() const { return claim.within < 2 * noise; }
};

/// "holds", "fails", …
DTK_API const char* name_of(CheckedClaim::State state);

/// A claim against what a run measured.
DTK_API CheckedClaim check_claim(const std::string& experiment, const Expectation& claim,
                                 const std::vector<Measured>& measured);

/// All of them as rows of a table, the first its heading; and in a sentence or two how many hold, and which could not
/// but fail now and then.
DTK_API std::vector<std::vector<std::string>> claims_table(const std::vector<CheckedClaim>& all);
DTK_API std::string claims_summary(const std::vector<CheckedClaim>& all);
DTK_API nlohmann::json claims_json(const std::vector<CheckedClaim>& all);

}  // namespace dtk
