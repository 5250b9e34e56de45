#pragma once
#include <stdexcept>
#include <string>

#include <dtk/api.hpp>

namespace dtk {

/// What a person did wrong or has to know, with the likely cure. The one exception type of dtk and its plugins.
/// The message is a sentence without a full stop; `help` is what to do about it, or empty.
class DTK_API Error : public std::runtime_error {
 public:
    explicit Error(const std::string& message, std::string help = {});
    ~Error() override;
    const std::string& help() const noexcept { return help_; }

 private:
    std::string help_;
};

}  // namespace dtk
