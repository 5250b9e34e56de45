#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> conditioner_laws{};

}  // namespace dtk::laws
