#pragma once
// What a test says of messages.
#include <functional>
#include <string>

#include <dtk/error.hpp>

/// What `work` threw, as "message | help"; empty if it went well.
inline std::string complaint_of(const std::function<void()>& work) {
    try {
        work();
    } catch (const dtk::Error& error) {
        return std::string(error.what()) + " | " + error.help();
    }
    return {};
}

inline bool says(const std::string& text, const std::string& phrase) { return text.find(phrase) != text.npos; }
