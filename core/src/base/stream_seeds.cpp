#include "base/stream_seeds.hpp"

namespace dtk {

namespace {

struct StreamSeeds {
    std::int64_t init = -1, data = -1, noise = -1, times = -1;
    void fields(Fields& f) {
        f("init", init, at_least(-1), "of the initial values; -1: the experiment's seed");
        f("data", data, at_least(-1),
          "of the order of the examples, and of which are met where there is no end of them");
        f("noise", noise, at_least(-1),
          "of the noise of each step and of all else that is drawn in it, such as dropout");
        f("times", times, at_least(-1), "of the times that are drawn in each step");
    }
};

}  // namespace

std::int64_t stream_seed(const ParseContext& reading, const char* stream, std::int64_t experiment) {
    const auto* table = reading.scopes.back()->get_as<toml::table>("seeds");  // the file's, below those of a stage
    const auto own = table ? (*table)[stream].value_or(std::int64_t{-1}) : -1;
    return own < 0 ? experiment : own;
}

void check_stream_seeds(ParseContext& reading) {
    const auto* node = reading.scopes.back()->get("seeds");
    if (node && !node->is_table())
        reading.mistakes.add(place_of(*node), "`seeds` must be a table, [seeds]",
                             "[seeds] holds those of single streams, such as init = 3; that of all else is `seed`");
    if (!node || !node->is_table()) return;
    StreamSeeds seeds;
    TomlFields reader(reading, node->as_table(), "[seeds]");
    seeds.fields(reader);
    reader.finish();
}

toml::table own_stream_seeds(const toml::table& root, std::int64_t experiment) {
    toml::table own;
    for (const auto* stream : streams_of_training)
        if (const auto seed = root["seeds"][stream].value_or(std::int64_t{-1}); seed >= 0 && seed != experiment)
            own.insert_or_assign(stream, seed);
    return own;
}

}  // namespace dtk
