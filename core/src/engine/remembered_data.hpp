#pragma once
// A data set that is not there any more, as far as a checkpoint remembers it.
#include <memory>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>

#include "base/classes.hpp"

namespace dtk {

/// What a checkpoint remembers of the data.
struct RememberedData {
    Space space = {};  ///< shape, range, levels and how many classes
    Classes classes = {};
    std::string tokenizer = {};  ///< what that had learned of the captions; empty: there was none
};

/// A data set of which that is known; whoever asks for an example is told that there are none. `why`: what came of
/// reading the data.
std::shared_ptr<Dataset> remembered_data(const RememberedData& data, const std::string& why);

/// The classes of data, as they say themselves.
DTK_API Classes classes_of(const Dataset& data);

}  // namespace dtk
