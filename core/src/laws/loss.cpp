#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> loss_laws{};

}  // namespace dtk::laws
