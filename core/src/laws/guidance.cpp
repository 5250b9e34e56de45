#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> guidance_laws{};

}  // namespace dtk::laws
