#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> metric_laws{};

}  // namespace dtk::laws
