#pragma once
// What `dtk doctor` says of a run.
#include <string>
#include <vector>

#include <dtk/error.hpp>

namespace dtk::doctor {

/// How sure it is that this is what is wrong.
enum class Likelihood {
    certain,   ///< a fact that no good result goes with, or a cure that was tried and helped
    likely,    ///< as a rule this does harm
    possible,  ///< worth knowing; many a run does well with it
    symptom,   ///< something is wrong, and this does not say why
};

struct Finding {
    Likelihood likelihood;
    std::string what;                  ///< in a sentence without its full stop
    std::vector<std::string> figures;  ///< that show it
    std::string cure;                  ///< what to change, as it is typed
};
using Findings = std::vector<Finding>;

/// Thrown by a check that cannot look, with the reason.
class NotLooked : public Error {
 public:
    using Error::Error;
};

}  // namespace dtk::doctor
