#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> average_laws{};

}  // namespace dtk::laws
