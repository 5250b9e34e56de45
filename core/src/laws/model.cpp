#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> model_laws{};

}  // namespace dtk::laws
