#pragma once
// A process, told apart from every other one: on another host, in another container, after another start of the
// machine.
#include <sys/types.h>

#include <dtk/api.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace dtk {

struct DTK_API Owner {
    std::string host;  ///< the machine's name, or $DTK_HOST; only letters, digits, `.`, `_` and `-`, 64 at most
    std::string boot;  ///< the kernel's mark of this start of the machine, 32 hexadecimal digits; empty: not known
    std::string namespace_;  ///< the number of the PID namespace, which containers differ in; empty: not known
    pid_t pid = 0;
    std::string start;  ///< when the process began, in the kernel's ticks since the machine did; empty: not known

    /// This process.
    static Owner self();
    /// What word() wrote; nothing for any other text.
    static std::optional<Owner> of(std::string_view word);
    /// All of it in letters, digits, `.`, `_` and `-`, 160 at most, fit for the name of a file.
    std::string word() const;
    /// "process 7 on host a"
    std::string text() const;
    /// Is it certain that this process has ended? Of a process that cannot be seen from here, nothing is.
    bool gone() const;
};

}  // namespace dtk
