#include <dtk/error.hpp>

#include "base/engine.hpp"

namespace dtk {

Error::Error(const std::string& message, std::string help) : std::runtime_error(message), help_(std::move(help)) {}
Error::~Error() = default;
Interrupted::~Interrupted() = default;
UserError::~UserError() = default;

}  // namespace dtk
