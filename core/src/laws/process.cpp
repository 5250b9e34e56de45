#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> process_laws{};

}  // namespace dtk::laws
