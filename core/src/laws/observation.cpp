#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> observation_laws{};

}  // namespace dtk::laws
