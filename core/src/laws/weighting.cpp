#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> weighting_laws{};

}  // namespace dtk::laws
