#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> optimizer_laws{};

}  // namespace dtk::laws
