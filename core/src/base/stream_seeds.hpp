#pragma once
// What single random streams of training follow.
#include "base/reader.hpp"

namespace dtk {

/// The random streams of training that [seeds] may give seeds of their own.
inline constexpr const char* streams_of_training[] = {"init", "data", "noise", "times"};

/// The seed that one of them follows: its own in [seeds], otherwise the experiment's.
DTK_API std::int64_t stream_seed(const ParseContext& reading, const char* stream, std::int64_t experiment);

/// [seeds] of an experiment, checked.
void check_stream_seeds(ParseContext& reading);

/// Those of its seeds that are others than the experiment's, by their streams.
toml::table own_stream_seeds(const toml::table& root, std::int64_t experiment);

}  // namespace dtk
