#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> dataset_laws{};

}  // namespace dtk::laws
