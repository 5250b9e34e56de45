#include "laws/law.hpp"

namespace dtk::laws {

const std::vector<Law> codec_laws{};

}  // namespace dtk::laws
