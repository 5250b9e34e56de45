#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> sampler_laws{};

}  // namespace dtk::laws
