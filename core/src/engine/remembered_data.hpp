#pragma once
// A data set that is not there any more, as far as a checkpoint remembers it.
#include <memory>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>

namespace dtk {

/// Shape, range, levels and classes; whoever asks for an example is told that there are none. `why`: what came of
/// reading the data.
std::shared_ptr<Dataset> remembered_data(const Space& space, const std::string& why);

}  // namespace dtk
