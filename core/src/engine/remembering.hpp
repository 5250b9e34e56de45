#pragma once
#include <filesystem>
#include <string>

#include <dtk/api.hpp>

namespace dtk {

/// While it lives, `remembered` looks for its numbers in the folder that $DTK_REMEMBERED names, where it names one.
/// `about`: all that they may depend on, whoever asks.
class DTK_API Remembering {
 public:
    explicit Remembering(std::string about);
    ~Remembering();
    Remembering(const Remembering&) = delete;
    Remembering& operator=(const Remembering&) = delete;

    const std::string& about() const { return about_; }
    const std::filesystem::path& folder() const { return folder_; }
    /// The one that lives; null where none does.
    static const Remembering* now();

 private:
    std::string about_;
    std::filesystem::path folder_;
};

}  // namespace dtk
