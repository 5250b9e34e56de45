#pragma once
// Was this process started as one of several, by torchrun, srun or mpirun? What their variables say.
#include <cstdint>
#include <optional>
#include <string>

#include <dtk/api.hpp>

namespace dtk {

struct Launch {
    std::int64_t rank = 0, size = 1;
    std::int64_t local_size = 0;  ///< of them on this machine; 0: not known
    std::string host = {};        ///< where they meet; empty: in a file
    std::int64_t port = 0;
    bool serves = false;   ///< does this one keep the store there?
    std::string key = {};  ///< of this start, the same for all of them and no other; empty where there is a host
    std::string by = {};   ///< who started them: "torchrun"
};

/// Nothing where this process is alone. Errors: UserError where the variables do not go together.
DTK_API std::optional<Launch> launch();

/// This process, and those that it starts, are each alone from now on.
DTK_API void forget_launch();

}  // namespace dtk
