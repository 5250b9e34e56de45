#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> grid_laws{};

}  // namespace dtk::laws
