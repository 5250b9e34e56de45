#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> times_laws{};

}  // namespace dtk::laws
