// What a person can get wrong in an experiment file or on the command line, and what dtk must say to it: where it
// stands, what is wrong, how to cure it; exit code 2; and nothing written.
#include "catch.hpp"

#include <zlib.h>

#include <fstream>
#include <iterator>
#include <map>
#include <utility>

#include "run_program.hpp"

namespace {

namespace fs = std::filesystem;
using Edits = std::vector<std::pair<std::string, std::string>>;

const std::string points = R"(name = "mistakes"
seed = 3
threads = 1

[dataset]
use = "gaussian_mixture"

[process]
steps = 100

[schedule]
use = "linear"

[model]
use = "mlp"
width = 8

[train]
steps = 20
batch = 16

[sampler]
use = "ddim"
steps = 10

[sample]
n = 32

[[metric]]
use = "nll"
)";

const std::string images = R"(threads = 1

[dataset]
use = "idx"
folder = "data"

[process]
steps = 100

[model]
use = "unet"
channels = 8
groups = 4
multipliers = [1, 2]

[train]
steps = 20
batch = 16

[sample]
n = 2
)";

/// An IDX file of `count` images of 8×8 pixels, or of as many labels.
std::string idx(std::uint32_t count, bool labels) {
    std::string text{0, 0, 8, static_cast<char>(labels ? 1 : 3)};
    const auto put = [&](std::uint32_t n) {
        for (const int shift : {24, 16, 8, 0}) text += static_cast<char>(n >> shift);
    };
    put(count);
    if (!labels) put(8), put(8);
    for (std::uint32_t i = 0; i < count * (labels ? 1u : 64u); ++i) text += static_cast<char>(i % 10);
    return text;
}

std::string gzipped(const Folder& folder, const std::string& text) {
    const auto file = (folder / "zipped").string();
    const auto out = ::gzopen(file.c_str(), "wb");
    ::gzwrite(out, text.data(), static_cast<unsigned>(text.size()));
    ::gzclose(out);
    std::ifstream in(file, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}

void write_data(const fs::path& folder) {
    fs::create_directories(folder);
    for (const std::string set : {"train", "t10k"}) {
        write(folder / (set + "-images-idx3-ubyte"), idx(40, false));
        write(folder / (set + "-labels-idx1-ubyte"), idx(40, true));
    }
}

/// The text with each edit made at the one place where it applies.
std::string edited(std::string text, const Edits& edits) {
    for (const auto& [from, to] : edits) {
        const auto at = text.find(from);
        INFO("the edit of " << from);
        REQUIRE(at != text.npos);
        REQUIRE(text.find(from, at + 1) == text.npos);
        text.replace(at, from.size(), to);
    }
    return text;
}

struct Row {
    std::string what;
    Edits edits = {};
    std::vector<std::string> places = {};   ///< line:column in the file
    std::vector<std::string> phrases = {};  ///< of message and cure
    std::vector<std::string> arguments = {};
    int mistakes = 0;  ///< how many are reported; 0: as many as there are places
};

/// Runs `command` on a table of rows.
void check_rows(const std::string& base, const std::vector<Row>& rows, const std::string& command = "check") {
    for (const auto& row : rows) {
        const Folder folder;
        write(folder / "experiment.toml", edited(base, row.edits));
        write_data(folder / "data");
        std::vector<std::string> arguments{command, "experiment.toml"};
        arguments.insert(arguments.end(), row.arguments.begin(), row.arguments.end());
        const auto outcome = dtk_program(arguments, folder.path);
        INFO(row.what << "\n" << outcome.out << outcome.err);
        CHECK(outcome.code == 2);
        CHECK(outcome.out.empty());
        for (const auto& place : row.places) CHECK(says(outcome.err, "--> experiment.toml:" + place + "\n"));
        for (const auto& phrase : row.phrases) CHECK(says(outcome.err, phrase));
        std::size_t errors = 0;
        for (auto at = outcome.err.find("error: "); at != std::string::npos; at = outcome.err.find("error: ", at + 1))
            ++errors;
        CHECK(errors == (row.mistakes > 0 ? static_cast<std::size_t>(row.mistakes)
                                          : std::max<std::size_t>(1, row.places.size())));
        CHECK_FALSE(says(outcome.err, "terminate called"));
        CHECK_FALSE(says(outcome.err, "Exception raised from"));
        CHECK(!fs::exists(folder / "runs"));
    }
}

}  // namespace

TEST_CASE("a field without a default is asked for, and fields that do not go together are said where they stand") {
    check_rows(points,
               {
                   {.what = "no file",
                    .edits = {{"use = \"linear\"", "use = \"table\""}},
                    .places = {"12:7"},
                    .phrases = {"schedule `table` needs `file`", "file: a number on each line"}},
                   {.what = "an empty one",
                    .edits = {{"use = \"linear\"", "use = \"table\"\nfile = \"\""}},
                    .places = {"13:8"},
                    .phrases = {"schedule `table` needs `file`"}},
                   {.what = "an empty list",
                    .edits = {{"steps = 10\n", "steps = 10\ngrid = {use = \"custom\", at = []}\n"}},
                    .places = {"25:30"},
                    .phrases = {"grid `custom` needs `at`"}},
                   {.what = "two that do not fit",
                    .edits = {{"batch = 16\n",
                               "batch = 16\n\n[optimizer]\nuse = \"sgd\"\nmomentum = "
                               "0.0\nnesterov = true\n"}},
                    .places = {"25:12"},
                    .phrases = {"`nesterov` of optimizer `sgd` looks ahead by the momentum, and `momentum` is 0",
                                "set momentum = 0.9"}},
                   {.what = "two that do not fit, one of them mistaken by itself",
                    .edits = {{"batch = 16\n",
                               "batch = 16\n\n[rate]\nuse = \"piecewise\"\nat = [3, 1]\n"
                               "shares = [1, \"x\"]\n"}},
                    .places = {"25:14"},
                    .phrases = {"`shares` of rate `piecewise` must be a number"}},
                   {.what = "all that does not hold is said",
                    .edits = {{"batch = 16\n",
                               "batch = 16\n\n[rate]\nuse = \"piecewise\"\nat = [3, 1]\n"
                               "shares = [1]\n"}},
                    .places = {"24:6", "25:10"},
                    .phrases = {"`at` of rate `piecewise` does not rise", "has not as many numbers as `at`"}},
               });
}

TEST_CASE("the experiments that the mistakes are made in are in order") {
    const Folder folder;
    write_data(folder / "data");
    write(folder / "points.toml", points);
    write(folder / "images.toml", images);
    for (const std::string name : {"points.toml", "images.toml"}) {
        const auto outcome = dtk_program({"check", name}, folder.path);
        INFO(outcome.err);
        CHECK(outcome.code == 0);
        CHECK(says(outcome.out, name + " is in order\n"));
    }
}

TEST_CASE("a key, table or plugin that is not known is named with its place and the nearest that is") {
    check_rows(points,
               {
                   {"a plugin's key",
                    {{"width = 8", "widht = 8"}},
                    {"16:1"},
                    {"model `mlp` has no key `widht`", "did you mean `width`?"}},
                   {"a key far from all",
                    {{"width = 8", "zzzzzzzz = 8"}},
                    {"16:1"},
                    {"has no key `zzzzzzzz`", "it has width, depth"}},
                   {"a key of [train]",
                    {{"batch = 16", "bacth = 16"}},
                    {"20:1"},
                    {"[train] has no key `bacth`", "did you mean `batch`?"}},
                   {"a key of [sample]", {{"n = 32", "number = 32"}}, {"27:1"}, {"[sample] has no key `number`"}},
                   {"a key at the top",
                    {{"seed = 3", "sede = 3"}},
                    {"2:1"},
                    {"an experiment has no key `sede`", "did you mean `seed`?"}},
                   {"a table",
                    {{"[dataset]", "[datasets]"}},
                    {"5:2"},
                    {"there is no [dataset]", "an experiment has no key `datasets`", "did you mean `dataset`?"},
                    {},
                    2},
                   {"a table far from all",
                    {{"[sample]", "[zzzzzzzz]\n[sample]"}},
                    {"26:2"},
                    {"an experiment has no key `zzzzzzzz`", "it has dataset"}},
                   {"a plugin",
                    {{"use = \"linear\"", "use = \"linaer\""}},
                    {"12:7"},
                    {"schedule plugin `linaer` is not known", "did you mean `linear`?"}},
                   {"a plugin far from all",
                    {{"use = \"linear\"", "use = \"zzzzzzzz\""}},
                    {"12:7"},
                    {"is not known", "help: there are", "cosine"}},
                   {"no `use` where there is no default",
                    {{"use = \"mlp\"\n", ""}},
                    {"14:2"},
                    {"no model is named and there is no default one", "help: there are", "mlp"}},
                   {"data that were observed",
                    {{"use = \"gaussian_mixture\"", "use = \"observed\"\ncoordinates = [0]"}},
                    {"6:7"},
                    {"there is no dataset `observed` any more", "what is known in [observation]", "`coordinates`"}},
                   {"`use` is no text",
                    {{"use = \"mlp\"", "use = 3"}},
                    {"15:7"},
                    {"`use` must be the name of a model plugin, not the whole number 3"}},
                   {"`use` is empty",
                    {{"use = \"mlp\"", "use = \"\""}},
                    {"15:7"},
                    {"`use` is empty", "help: there are", "mlp"}},
                   {"a table nobody uses",
                    {{"[sampler]\nuse = \"ddim\"\nsteps = 10\n\n[sample]\nn = 32\n\n[[metric]]\nuse = \"nll\"",
                      "[grid]\nuse = \"leading\""}},
                    {"22:2"},
                    {"nothing in this experiment uses [grid]", "remove it"}},
                   {"no data set",
                    {{"[dataset]\nuse = \"gaussian_mixture\"\n", ""}},
                    {},
                    {"there is no [dataset]", "add a table [dataset] with use = one of"}},
                   {"nothing to do",
                    {{"[train]\nsteps = 20\nbatch = 16\n", ""},
                     {"[sample]\nn = 32\n", ""},
                     {"[[metric]]\nuse = \"nll\"\n", ""},
                     {"use = \"mlp\"\nwidth = 8", "use = \"exact\""}},
                    {},
                    {"there is nothing to do: no [train], no [sample], no [[metric]]", "add [train]"}},
               });
}

TEST_CASE("a key of an earlier version is told where it went") {
    std::vector<Row> rows;
    for (const auto& [line, now] :
         std::map<std::string, std::string>{{"optimizer = \"adam\"", "[optimizer] use"},
                                            {"weight_decay = 0.1", "[optimizer] weight_decay"},
                                            {"beta1 = 0.9", "[optimizer] beta1"},
                                            {"beta2 = 0.99", "[optimizer] beta2"},
                                            {"eps = 1e-8", "[optimizer] eps"},
                                            {"decay = \"cosine\"", "[rate] use, such as \"cosine\""},
                                            {"ema = 0.99", "[[average]] use = \"ema\", or `average` in [sample]"}})
        rows.push_back({line, {{"batch = 16", "batch = 16\n" + line}}, {"21:1"}, {"any more", "say it in " + now}});
    rows.push_back(
        {"ema of [sample]", {{"n = 32", "n = 32\nema = false"}}, {"28:1"}, {"[sample] has no field `ema` any more"}});
    rows.push_back({"times of a loss",
                    {{"[train]", "[loss]\nuse = \"simple\"\ntimes = \"stratified\"\n\n[train]"}},
                    {"20:1"},
                    {"loss `simple` has no key `times`", "`times` stands in a table of its own, [times]"}});
    rows.push_back({"times of a loss as a table",
                    {{"[train]", "[loss]\nuse = \"simple\"\n\n[loss.times]\nuse = \"stratified\"\n\n[train]"}},
                    {"21:7"},
                    {"loss `simple` has no key `times`", "`times` stands in a table of its own, [times]"}});
    check_rows(points, rows);
}

TEST_CASE("a value of the wrong type or out of its range is named with its place and with what is accepted") {
    check_rows(
        points,
        {
            {"a text for a number",
             {{"width = 8", "width = \"8\""}},
             {"16:9"},
             {"`width` of model `mlp` must be a whole number, not the text \"8\""}},
            {"a number for a text",
             {{"use = \"ddim\"", "use = \"ddpm\"\nvariance = 1"}},
             {"24:12"},
             {"`variance` of sampler `ddpm` must be a text"}},
            {"a fraction for a whole number",
             {{"width = 8", "width = 8.5"}},
             {"16:9"},
             {"must be a whole number, not the number 8.5"}},
            {"a list for a number", {{"width = 8", "width = [8]"}}, {"16:9"}, {"must be a whole number, not a list"}},
            {"a number for a list",
             {{"use = \"gaussian_mixture\"", "use = \"gaussian_mixture\"\npreset = \"none\"\nmeans = 1"}},
             {"8:9"},
             {"must be a list of lists of numbers"}},
            {"a number for a truth",
             {{"n = 32", "n = 32\nclip = 1"}},
             {"28:8"},
             {"`clip` of [sample] must be true or false"}},
            {"a number for a table",
             {{"[schedule]\nuse = \"linear\"\n", ""}, {"threads = 1", "threads = 1\nschedule = 3"}},
             {"4:12"},
             {"`schedule` must be a table"}},
            {"a number for [train]",
             {{"[train]\nsteps = 20\nbatch = 16\n", ""}, {"threads = 1", "threads = 1\ntrain = 3"}},
             {"4:9"},
             {"`train` must be a table, [train]"}},
            {"a word that is no choice",
             {{"width = 8", "prediction = \"esp\""}},
             {"16:14"},
             {"is none of eps, x0, v, velocity, edm or logits", "did you mean \"eps\"?"}},
            {"negative steps", {{"steps = 20", "steps = -1"}}, {"19:9"}, {"`steps` = -1 of [train] is outside ≥ 1"}},
            {"a process of no steps",
             {{"steps = 100", "steps = 0"}},
             {"9:9"},
             {"`steps` = 0 of process `gaussian` is outside [1, 1000000]"}},
            {"a sampler of fewer than no steps",
             {{"steps = 10\n\n[sample]", "steps = -1\n\n[sample]"}},
             {"24:9"},
             {"`steps` = -1 of sampler `ddim` is outside"}},
            {"β of 1",
             {{"use = \"linear\"", "use = \"linear\"\nrescale = false\nbeta_end = 1.5"}},
             {"14:12"},
             {"`beta_end` = 1.5 of schedule `linear` is outside"}},
            {"lr that is no number", {{"batch = 16", "lr = nan"}}, {"20:6"}, {"`lr` = nan of [train] is outside > 0"}},
            {"lr without end", {{"batch = 16", "lr = inf"}}, {"20:6"}, {"`lr` = inf of [train] is outside > 0"}},
            {"lr of 0", {{"batch = 16", "lr = 0"}}, {"20:6"}, {"`lr` = 0 of [train] is outside > 0"}},
            {"an average that never moves",
             {{"[train]", "[[average]]\nuse = \"ema\"\ndecay = 1\n[train]"}},
             {"20:9"},
             {"`decay` = 1 of average `ema` is outside [0, 1)"}},
            {"a field that has moved",
             {{"batch = 16", "ema = 0.9"}},
             {"20:1"},
             {"[train] has no field `ema` any more", "[[average]]"}},
            {"η of 2",
             {{"use = \"ddim\"", "use = \"ddim\"\neta = 2"}},
             {"24:7"},
             {"`eta` = 2 of sampler `ddim` is outside [0, 1]"}},
            {"no samples", {{"n = 32", "n = 0"}}, {"27:5"}, {"`n` = 0 of [sample] is outside"}},
            {"a seed below 0", {{"seed = 3", "seed = -3"}}, {"2:8"}, {"`seed` = -3"}},
            {"a name that is no folder's",
             {{"name = \"mistakes\"", "name = \"../up\""}},
             {"1:1"},
             {"cannot be the name of a folder"}},
            {"two mistakes", {{"width = 8", "widht = 8"}, {"n = 32", "n = 0"}}, {"16:1", "27:5"}, {"2 mistakes"}},
            {"three mistakes",
             {{"use = \"linear\"", "use = \"linaer\""}, {"width = 8", "width = -8"}, {"batch = 16", "lr = 0"}},
             {"12:7", "16:9", "20:6"},
             {"3 mistakes"}},
        });
}

TEST_CASE("parts that do not fit each other are refused before any work, with the cure") {
    check_rows(
        points,
        {
            {"ε at zero terminal SNR",
             {{"use = \"linear\"", "use = \"cosine\"\nbeta_max = 1"}},
             {"16:7"},
             {"predicts eps says nothing where α = 0", "use prediction = \"v\", \"velocity\" or \"x0\""}},
            {"a rescaled ramp of few steps",
             {{"steps = 100", "steps = 20"}, {"steps = 10\n\n[sample]", "steps = 5\n\n[sample]"}},
             {"8:2"},
             {"for 20 steps", "use more steps"}},
            {"more sampler steps than there are",
             {{"steps = 10\n\n[sample]", "steps = 101\n\n[sample]"}},
             {"23:7"},
             {"101", "100"}},
            {"an observation that nobody looks at",
             {{"[process]", "[observation]\nuse = \"elements\"\ncoordinates = [0]\n\n[process]"}},
             {"9:7"},
             {"samples are drawn without looking at it", "add guidance by it"}},
            {"an observation that is wrong, and a sampler that asks for it",
             {{"[process]", "[observation]\nuse = \"elements\"\ncoordinates = [7]\n\n[process]"},
              {"use = \"ddim\"", "use = \"clamp\""}},
             {"9:7"},
             {"coordinate 7 of data with 2 elements"}},
            {"samples that are not so many for each y",
             {{"[process]",
               "[observation]\nuse = \"elements\"\ncoordinates = [0]\ndraws = 5\n\n[[guidance]]\nuse = "
               "\"pigdm\"\n\n[process]"}},
             {"9:7"},
             {"32 samples are not a multiple of the 5 `draws` for each y", "set n of [sample] to 35"}},
            {"a grid that misses the noise",
             {{"steps = 100", "steps = 1000"},
              {"steps = 10\n\n[sample]", "steps = 501\n[sampler.grid]\nuse = \"leading\"\n\n[sample]"}},
             {},
             {"501 leading steps of 1000 would start at t = 500", "the grid `trailing`"}},
            {"a density nobody knows",
             {{"use = \"gaussian_mixture\"", "use = \"idx\"\nfolder = \"data\""},
              {"use = \"mlp\"", "use = \"mlp\"\ndepth = 1"}},
             {"32:7"},
             {"density"}},
            {"metrics without samples",
             {{"[sample]\nn = 32\n\n", ""}},
             {"27:7"},
             {"`nll` measures samples, and there is no [sample]", "add [sample] with n"}},
            {"a class that the data lack",
             {{"n = 32", "n = 32\nlabels = [1]"}},
             {"28:10"},
             {"`labels` asks for class 1, and there are no classes"}},
            {"bits that are none",
             {{"[process]", "[process]\nuse = \"bernoulli\""}},
             {},
             {"bernoulli needs data of bits", "such as heartbeat"}},
            {"nothing to train",
             {{"use = \"mlp\"\nwidth = 8", "use = \"exact\""}},
             {"17:2"},
             {"model `exact` has no parameters to train", "remove [train]"}},
            {"nothing trained",
             {{"[train]\nsteps = 20\nbatch = 16\n", ""}},
             {"15:7"},
             {"model `mlp` has parameters, and there is no [train]", "add [train]"}},
            {"points for a U-Net",
             {{"use = \"mlp\"\nwidth = 8", "use = \"unet\""}},
             {"15:7"},
             {"unet needs images", "use model `mlp`"}},
            {"unequal parts of a batch",
             {{"batch = 16", "batch = 16\naccumulate = 3"}},
             {"18:2"},
             {"a batch of 16 cannot be computed in 3 equal parts", "make `accumulate` a divisor"}},
            {"warmup without end",
             {{"batch = 16", "warmup = 20"}},
             {"18:2"},
             {"`warmup` = 20 leaves none of the 20 steps", "make `warmup` smaller"}},
            {"a device that is none",
             {{"seed = 3", "device = \"gpu\""}},
             {"2:1"},
             {"there is no device `gpu`", "use cpu, cuda or cuda:N"}},
            {"weights of other components",
             {{"use = \"gaussian_mixture\"",
               "use = \"gaussian_mixture\"\npreset = \"none\"\nweights = [0.5, 0.5]\nmeans = [[0, 0]]\nstd = [1]"}},
             {"6:7"},
             {"2 `weights` for 1 `means`", "one weight per row"}},
            {"no covariance",
             {{"use = \"gaussian_mixture\"",
               "use = \"gaussian_mixture\"\npreset = \"none\"\nmeans = [[0, 0]]\ncovariances = [[1, 2, 2, 1]]"}},
             {"6:7"},
             {"is not positive definite: its least eigenvalue is -1", "shrink its entries"}},
            {"a folder of plugins that is not there",
             {{"threads = 1", "[plugins]\npath = [\"nowhere\"]"}},
             {"4:8"},
             {"there is no folder", "nowhere"}},
            {"stages of one name",
             {{"[train]\nsteps = 20\nbatch = 16\n",
               "[[stage]]\nname = \"a\"\n[stage.train]\nsteps = 1\n[[stage]]\nname = \"a\"\n[stage.train]\nsteps = "
               "1\n"},
              {"[sampler]\nuse = \"ddim\"\nsteps = 10\n\n[sample]\nn = 32\n\n[[metric]]\nuse = \"nll\"\n", ""}},
             {"22:1"},
             {"two stages are named `a`"}},
            {"a stage without a name",
             {{"[train]\nsteps = 20\nbatch = 16\n", "[[stage]]\n[stage.train]\nsteps = 1\n"},
              {"[sampler]\nuse = \"ddim\"\nsteps = 10\n\n[sample]\nn = 32\n\n[[metric]]\nuse = \"nll\"\n", ""}},
             {"18:1"},
             {"a stage needs a `name`"}},
        });
    check_rows(images, {
                           {"a size that cannot be halved",
                            {{"[1, 2]", "[1, 2, 2, 2, 2]"}},
                            {"11:7"},
                            {"images of 8×8 pixels cannot be halved 4 times", "pad the images to 16×16"}},
                           {"attention at a size that never occurs",
                            {{"[1, 2]", "[1, 2]\nattention = [16]"}},
                            {"11:7"},
                            {"`attention` names the size 16, which never occurs", "the sizes are 8, 4"}},
                           {"groups that do not divide",
                            {{"groups = 4", "groups = 3"}},
                            {"11:7"},
                            {"`groups` = 3 does not divide 8 channels"}},
                           {"a missing folder", {{"\"data\"", "\"nowhere\""}}, {"4:7"}, {"nowhere"}},
                           {"labels for images",
                            {{"folder = \"data\"", "folder = \"data\"\nimages = \"train-labels-idx1-ubyte\""}},
                            {"4:7"},
                            {"has 1 dimension, but images have 3", "exchanged"}},
                       });
}

TEST_CASE("CUDA that is not there is said and never replaced by the CPU") {
    const Folder folder;
    write(folder / "experiment.toml", edited(points, {{"seed = 3", "device = \"cuda\""}}));
    const auto outcome = dtk_program({"check", "experiment.toml"}, folder.path);
    if (outcome.code == 0) return;  // a machine with a GPU
    INFO(outcome.err);
    CHECK(outcome.code == 2);
    CHECK(says(outcome.err, "device `cuda` was asked for"));
    CHECK(says(outcome.err, "experiment.toml:2:1"));
    CHECK(says(outcome.err, "use device = \"cpu\""));
}

TEST_CASE("a file that is no experiment is refused in words, whatever its bytes") {
    const std::vector<std::tuple<const char*, std::string, std::string, std::string>> files{
        {"not TOML", edited(points, {{"width = 8", "width = = 8"}}), "16:9", "this is not TOML"},
        {"a key twice", edited(points, {{"width = 8", "width = 8\nwidth = 9"}}), "17:", "width"},
        {"a table twice", points + "[model]\n", "31:", "model"},
        {"nothing", "", "", "there is no [dataset]"},
        {"a zero byte", points + std::string(1, '\0'), "31:1", "not TOML"},
        {"not UTF-8", points + "# \xff\xfe\n", "31:", "not TOML"},
        {"nested without end", "a = " + std::string(100000, '['), "", "not TOML"},
        {"a table without a name", points + "[\nseed = 1\n", "31:", "not TOML"},
        {"a list of tables without a name", points + "[[ =", "31:", "not TOML"},
        {"a key that ends in a dot", points + "a.\n", "31:", "not TOML"},
        {"a letter beyond ASCII outside quotes", points + "\u00e9 = 1\n", "31:1", "not TOML"},
        {"a rare letter beyond ASCII outside quotes", points + "seed = 1 \ufefe\n", "31:", "not TOML"},
        {"an ideographic comma for a value", points + "a = \u3001\n", "31:", "not TOML"},
        {"too large", points + std::string(1 << 20, '#'), "", "too large to be an experiment"},
    };
    for (const auto& [what, text, place, phrase] : files) {
        const Folder folder;
        write(folder / "experiment.toml", text);
        const auto outcome = dtk_program({"check", "experiment.toml"}, folder.path);
        INFO(what << "\n" << outcome.err.substr(0, 2000));
        CHECK(outcome.code == 2);
        CHECK(says(outcome.err, phrase));
        CHECK(says(outcome.err, "--> experiment.toml" + (place.empty() ? "" : ":" + place)));
        CHECK(outcome.err.size() < 5000);
    }
    const Folder folder;
    fs::create_directory(folder / "folder.toml");
    CHECK(says(dtk_program({"check", "nowhere.toml"}, folder.path).err, "there is no file nowhere.toml"));
    CHECK(says(dtk_program({"check", "nowhere.toml"}, folder.path).err, "= help: "));
    CHECK(says(dtk_program({"check", "folder.toml"}, folder.path).err, "folder.toml is not a file"));
    CHECK(dtk_program({"run", "nowhere.toml"}, folder.path).code == 2);
    CHECK(dtk_program({"run", "folder.toml"}, folder.path).code == 2);
}

TEST_CASE("a byte order mark, line ends of Windows and spaces are no mistakes, and places are counted right") {
    const Folder folder;
    std::string text = "\xef\xbb\xbf" + points;
    for (std::size_t at = 0; (at = text.find('\n', at)) != text.npos; at += 2) text.insert(at, "\r");
    write(folder / "windows.toml", text);
    const auto good = dtk_program({"check", "windows.toml"}, folder.path);
    INFO(good.err);
    CHECK(good.code == 0);
    write(folder / "wrong.toml", edited(text, {{"width = 8", "widht = 8"}}));
    CHECK(says(dtk_program({"check", "wrong.toml"}, folder.path).err, "wrong.toml:16:1\n"));
}

TEST_CASE("data that are cut short are refused before training begins") {
    const auto whole = idx(40, false);
    const Folder zip;
    const auto zipped = gzipped(zip, whole);
    const std::vector<std::tuple<const char*, std::string, std::string>> wrong{
        {"train-images-idx3-ubyte", whole.substr(0, whole.size() / 2), "40"},
        {"train-images-idx3-ubyte", whole.substr(0, 10), "ends within its header"},
        {"train-images-idx3-ubyte.gz", zipped.substr(0, zipped.size() / 2), "train-images-idx3-ubyte.gz"},
        {"train-images-idx3-ubyte", "hello, world, this is not data", "is no IDX file"},
    };
    for (const auto& [name, bytes, phrase] : wrong) {
        const Folder folder;
        write_data(folder / "data");
        fs::remove(folder / "data" / "train-images-idx3-ubyte");
        write(folder / "data" / name, bytes);
        write(folder / "experiment.toml", images);
        const auto outcome = dtk_program({"run", "experiment.toml"}, folder.path);
        INFO(name << ", " << bytes.size() << " bytes\n" << outcome.err);
        CHECK(outcome.code == 2);
        CHECK(says(outcome.err, phrase));
        CHECK(says(outcome.err, "experiment.toml:4:7"));
        CHECK(!fs::exists(folder / "runs"));
    }
}

TEST_CASE("what --set says is checked like the file, and shown as it was typed") {
    check_rows(points, {
                           {"a key that is not known",
                            {},
                            {},
                            {"model `mlp` has no key `widht`", "--set model.widht=3", "did you mean `width`?"},
                            {"--set", "model.widht=3"}},
                           {"a value out of range",
                            {},
                            {},
                            {"`lr` = -1 of [train] is outside > 0", "--set train.lr=-1:1:10"},
                            {"--set", "train.lr=-1"}},
                           {"no =",
                            {},
                            {},
                            {"`--set model.width` does not say KEY=VALUE", "--set train.lr=1e-3"},
                            {"--set", "model.width"}},
                           {"no key", {}, {}, {"does not say KEY=VALUE"}, {"--set", "=3"}},
                           {"no TOML", {}, {}, {"cannot be read"}, {"--set", "model.=3"}},
                           {"a table under a number", {}, {}, {"seed"}, {"--set", "seed.x=3"}},
                       });
}

TEST_CASE("what cannot be run is refused by run as by check, and nothing is written") {
    check_rows(points,
               {
                   {"an unknown key", {{"width = 8", "widht = 8"}}, {"16:1"}, {"did you mean `width`?"}},
                   {"a contradiction",
                    {{"use = \"mlp\"\nwidth = 8", "use = \"exact\""}},
                    {"17:2"},
                    {"has no parameters to train"}},
                   {"an unknown key, with --dry-run", {{"width = 8", "widht = 8"}}, {"16:1"}, {}, {"--dry-run"}},
                   {"an unknown key, with --out", {{"width = 8", "widht = 8"}}, {"16:1"}, {}, {"--out", "runs"}},
               },
               "run");
}

TEST_CASE("a command line that is not understood ends with 2 and says what was meant") {
    const Folder folder;
    write(folder / "experiment.toml", points);
    const std::vector<std::pair<std::vector<std::string>, std::string>> wrong{
        {{"run", "experiment.toml", "--sett", "a=1"}, "did you mean `--set`?"},
        {{"run", "experiment.toml", "--dryrun"}, "did you mean `--dry-run`?"},
        {{"rum", "experiment.toml"}, "did you mean `run`?"},
        {{"plugins", "lst"}, "did you mean `list`?"},
        {{}, "dtk --help"},
        {{"run"}, "dtk run --help"},
        {{"check"}, "dtk check --help"},
        {{"run", "experiment.toml", "--set"}, "--set"},
        {{"run", "experiment.toml", "--seed", "x"}, "--seed"},
        {{"run", "experiment.toml", "--seed", "-1"}, "-1 is not a whole number from 0 to 9223372036854775807"},
        {{"run", "experiment.toml", "--seed", "1e3"}, "1e3 is not a whole number from 0 to 9223372036854775807"},
        {{"run", "experiment.toml", "--seed", "9223372036854775808"}, "is not a whole number from 0 to"},
        {{"run", "experiment.toml", "--jobs", "0"}, "0 is not a whole number from 1 to"},
        {{"sample", "nowhere", "--n", "2.5"}, "2.5 is not a whole number from 1 to"},
        {{"run", "experiment.toml", "extra"}, "extra"},
        {{"run", "experiment.toml", "--progress", "loud"}, "--progress"},
        {{"sample", "nowhere"}, "nowhere is not the folder of a run"},
        {{"plugins", "describe", "cosin"}, "did you mean `cosine`?"},
        {{"plugins", "list", "schedul"}, "did you mean `schedule`?"},
        {{"schedule", "show", "cosin"}, "did you mean `cosine`?"},
        {{"schedule", "show", "cosine", "--format", "xml"}, "xml"},
        {{"schedule", "show", "cosine", "--steps", "0"}, "--steps"},
        {{"schedule", "show", "cosine", "--set", "S=1"}, "has no key `S`"},
    };
    for (const auto& [arguments, phrase] : wrong) {
        const auto outcome = dtk_program(arguments, folder.path);
        std::string typed;
        for (const auto& word : arguments) typed += word + " ";
        INFO(typed << "\n" << outcome.out << outcome.err);
        CHECK(outcome.code == 2);
        CHECK(outcome.out.empty());
        CHECK(says(outcome.err, phrase));
        CHECK(says(outcome.err, "error: "));
        CHECK(!fs::exists(folder / "runs"));
    }
}

TEST_CASE("a folder that is gone is said") {
    const Folder folder;
    for (const std::string command : {"doctor", "ls", "plugins list"}) {
        const auto outcome =
            Running({"bash", "-c", "mkdir gone && cd gone && rmdir ../gone && exec " DTK_PROGRAM " " + command},
                    folder.path)
                .wait();
        INFO(outcome.err);
        CHECK(outcome.code == 2);
        CHECK(says(outcome.err, "the folder that dtk was started in is not there"));
        CHECK(says(outcome.err, "= help: cd to one that is"));
    }
}

TEST_CASE("a clean checkout says what it is before it builds anything") {
    const Folder folder;
    fs::copy_file(DTK_SOURCE "/dtk", folder / "dtk");
    for (const std::string word : {"", "--help", "-h", "--version"}) {
        const auto outcome = Running({"bash", "-c", "./dtk " + word}, folder.path).wait();
        INFO(outcome.err);
        CHECK(outcome.code == 0);
        CHECK(says(outcome.out, "It is not built yet"));
        CHECK(says(outcome.out, "./dtk run experiments/quickstart.toml"));
        CHECK(!fs::exists(folder / "build"));
    }
}
