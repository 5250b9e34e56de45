#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> rate_laws{};

}  // namespace dtk::laws
