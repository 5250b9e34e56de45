// dtk doctor RUN: runs with a fault that was planted are told that fault first, and healthy runs are told nothing. Each
// fault is planted twice, with other constants or other data the second time, under [slow].
#include <cmath>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "catch.hpp"
#include "run_program.hpp"

namespace {

namespace fs = std::filesystem;

/// A small network that learns three Gaussians in the plane in a few seconds, and samples of it.
const std::string healthy = R"(name = "patient"
seed = 3
threads = 1
[dataset]
use = "gaussian_mixture"
[process]
steps = 200
[schedule]
use = "cosine"
[model]
use = "mlp"
width = 64
depth = 2
time_features = 32
prediction = "v"
[train]
steps = 1500
batch = 128
lr = 3e-3
log_every = 50
[rate]
use = "cosine"
[sampler]
use = "ddim"
steps = 40
[sample]
n = 500
)";

/// A table of numbers between which dtk can tell columns.
std::string csv(std::size_t rows, std::size_t columns, double (*value)(std::size_t row, std::size_t column)) {
    std::string text;
    for (std::size_t c = 0; c < columns; ++c) text += (c ? ",x" : "x") + std::to_string(c);
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c) text += (c ? "," : "\n") + std::to_string(value(r, c));
    return text + "\n";
}

/// Numbers that look drawn from N(0, 1): a low-discrepancy sequence through Box and Muller's formula.
double normal(std::size_t row, std::size_t column) {
    const auto part = [](double x) { return x - std::floor(x); };
    const double n = static_cast<double>(row) + 1;
    const double pair = static_cast<double>(column / 2);
    const double u = part(n * (0.7548776662466927 + 0.1327 * pair)), v = part(n * (0.5698402909980532 + 0.2291 * pair));
    const double angle = 6.283185307179586 * v, length = std::sqrt(-2 * std::log(u));
    return length * (column % 2 ? std::sin(angle) : std::cos(angle));
}

/// A .npy file of version 1.
std::string npy(const std::string& type, const std::string& shape, const std::string& bytes) {
    auto header = "{'descr': '" + type + "', 'fortran_order': False, 'shape': " + shape + ", }";
    header.append(63 - (10 + header.size()) % 64, ' ');
    header += '\n';
    const auto length = static_cast<char>(header.size());
    return std::string("\x93NUMPY\x01\x00", 8) + length + '\0' + header + bytes;
}

/// Points near a ring of that radius.
std::string ring(std::size_t n, double radius) {
    std::string bytes;
    for (std::size_t i = 0; i < n; ++i) {
        const double x = normal(i, 0), y = normal(i, 1), length = std::sqrt(x * x + y * y) + 1e-9;
        for (const double one : {x, y}) {
            const auto value = static_cast<float>(one / length * radius + 0.2 * one);
            bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
        }
    }
    return npy("<f4", "(" + std::to_string(n) + ", 2)", bytes);
}

/// Grey pictures of 8 × 8 with a bright spot somewhere.
std::string spots(std::size_t n) {
    std::string bytes;
    for (std::size_t i = 0; i < n; ++i) {
        const auto part = [](double x) { return x - std::floor(x); };
        const double row = 1.5 + 4 * part(static_cast<double>(i + 1) * 0.7548776662466927),
                     column = 1.5 + 4 * part(static_cast<double>(i + 1) * 0.5698402909980532),
                     width = 0.8 + 0.8 * part(static_cast<double>(i + 1) * 0.3819660112501051);
        for (int y = 0; y < 8; ++y)
            for (int x = 0; x < 8; ++x) {
                const double away = (y - row) * (y - row) + (x - column) * (x - column);
                bytes += static_cast<char>(static_cast<unsigned char>(255 * std::exp(-away / (2 * width * width))));
            }
    }
    return npy("|u1", "(" + std::to_string(n) + ", 8, 8)", bytes);
}

struct Patient {
    Folder folder;
    std::string text = healthy;

    Outcome run(const std::vector<std::string>& set = {}) const {
        write(folder / "patient.toml", text);
        std::vector<std::string> words{"run", "patient.toml", "--out", "run", "--progress", "none"};
        for (const auto& one : set) words.insert(words.end(), {"--set", one});
        return dtk_program(words, folder.path);
    }
    Outcome examined() const { return dtk_program({"doctor", "run", "--progress", "none"}, folder.path); }
};

/// The line of the first finding; empty where there is none.
std::string first_of(const Outcome& outcome) {
    const auto at = outcome.out.find("\n1. ");
    if (at == outcome.out.npos) return {};
    return outcome.out.substr(at + 4, outcome.out.find('\n', at + 1) - at - 4);
}

/// Does the doctor name it first, in these words, of a run with these settings?
void names(const std::string& words, const std::vector<std::string>& set, const Patient& patient = {}) {
    const auto run = patient.run(set);
    const auto told = patient.examined();
    INFO((set.empty() ? std::string() : set.front()) << "\n" << run.err << told.out << told.err);
    CHECK(first_of(told).find(words) != std::string::npos);
    CHECK(told.code == 1);
}

void names_nothing(const std::vector<std::string>& set, const Patient& patient = {}) {
    const auto run = patient.run(set);
    REQUIRE(run.code == 0);
    const auto told = patient.examined();
    INFO((set.empty() ? std::string() : set.front()) << "\n" << run.err << told.out << told.err);
    CHECK(first_of(told).empty());
    CHECK(told.code == 0);
}

/// Every file of a folder with what it holds.
std::set<std::pair<std::string, std::string>> contents(const fs::path& folder) {
    std::set<std::pair<std::string, std::string>> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
        if (entry.is_regular_file()) all.emplace(entry.path().string(), read(entry.path()));
    return all;
}

const std::string three_classes =
    "dataset={use=\"gaussian_mixture\", preset=\"none\", labels=true, means=[[-1.5, 0], [1.5, 0], [0, 2]], std=[0.3], ";
const std::string mixture_of = "dataset={use=\"gaussian_mixture\", preset=\"none\", ";
const std::string of_table = "dataset={use=\"csv\", file=\"data.csv\"}";

/// A patient whose data are that file.
struct WithData : Patient {
    WithData(const std::string& name, const std::string& content) { write(folder / name, content); }
};

}  // namespace

TEST_CASE("a healthy run is told nothing, and stays as it is") {
    const Patient patient;
    REQUIRE(patient.run().code == 0);
    const auto before = contents(patient.folder / "run");
    const auto told = patient.examined();
    INFO(told.out << told.err);
    CHECK(told.code == 0);
    CHECK(first_of(told).empty());
    CHECK(says(told.out, "nothing was found"));
    CHECK(says(told.out, "looked at"));
    CHECK(contents(patient.folder / "run") == before);
}

TEST_CASE("other healthy runs are told nothing") {
    names_nothing({"dataset={use=\"arrays\", file=\"data.npy\"}", "model.width=256"},
                  WithData("data.npy", spots(3000)));
    names_nothing({three_classes + "weights=[0.4, 0.3, 0.3]}", "model.conditional=true"});
}

TEST_CASE("a run in bfloat16 is looked at as one in float32") {
    names_nothing({"train.precision=bf16", "sample.precision=bf16"});
    names("the learning rate is too large", {"train.precision=bf16", "train.lr=1", "train.steps=300"});
}

TEST_CASE("more healthy runs are told nothing", "[slow]") {
    names_nothing({of_table}, WithData("data.csv", csv(2000, 2, normal)));
    names_nothing({"process.steps=1000", "sampler=ddpm", "sampler.steps=250", "train.steps=3000"});
}

TEST_CASE("a learning rate that is too large") {
    names("the learning rate is too large", {"train.lr=1", "train.steps=300"});
    names("the learning rate is too large",
          {"train.lr=1e6", "train.steps=300", "optimizer=sgd", "train.clip=0", "model.prediction=eps"});
}
TEST_CASE("a learning rate that is too large, again", "[slow]") {
    names("the learning rate is too large", {"train.lr=0.2", "train.steps=400", "rate=constant"});
    names("the learning rate is too large",
          {"train.lr=1e12", "optimizer=sgd", "train.clip=0", "dataset={use=\"moons\"}"});
}

TEST_CASE("a learning rate that is too small") {
    names("the learning rate is too small", {"train.lr=1e-6", "train.steps=500"});
}
TEST_CASE("a learning rate that is too small, again", "[slow]") {
    names("the learning rate is too small", {"train.lr=2e-5", "train.steps=500", "dataset={use=\"moons\"}"});
}

TEST_CASE("training that is too short") { names("training was too short", {"train.steps=1"}); }
TEST_CASE("training that is too short, again", "[slow]") {
    names("training was too short", {"train.steps=20", "dataset.preset=ring8"});
}

TEST_CASE("an average that has not caught up") {
    names("the average of the parameters", {"average=[{use=\"ema\", decay=0.9999, warmup=false}]", "train.steps=800"});
}
TEST_CASE("an average that has not caught up, again", "[slow]") {
    names("the average of the parameters",
          {"average=[{use=\"ema\", decay=0.9995, warmup=false}]", "model.prediction=eps"});
}

TEST_CASE("signal that is left where sampling starts") {
    names("signal is left at the last step", {"schedule={use=\"linear\", rescale=false}", "train.steps=800"});
    names("the sampler starts at t", {"sampler.steps=8", "sampler.grid=leading", "train.steps=800"});
}
TEST_CASE("signal that is left where sampling starts, again", "[slow]") {
    names("signal is left at the last step", {"schedule={use=\"constant\", beta=0.002}", "dataset.preset=ring8"});
}

TEST_CASE("too few sampling steps") { names("sampling steps are too few", {"sampler.steps=2", "train.steps=800"}); }
TEST_CASE("too few sampling steps, again", "[slow]") {
    names("sampling steps are too few", {"sampler=ddpm", "sampler.steps=3", "dataset.preset=ring8"});
}

TEST_CASE("a first step that multiplies the network's error") {
    names("the first step of sampling multiplies the network's error",
          {"model.prediction=eps", "process.steps=1000", "train.steps=1000"});
}

TEST_CASE("gradients that are clipped at most steps") {
    names("train.clip = 0.001 cuts the gradient", {"train.clip=1e-3", "train.steps=800"});
}
TEST_CASE("gradients that are clipped at most steps, again", "[slow]") {
    names("train.clip = 0.01 cuts the gradient", {"train.clip=1e-2", "optimizer=sgd", "train.lr=0.05"});
}

TEST_CASE("data on another scale") {
    names("the data are not on the scale", {mixture_of + "means=[[-40, 10], [50, -20]], std=[9]}", "train.steps=300"});
    names("of very different size",
          {mixture_of + "means=[[-1, 0], [1, 0]], covariances=[[0.1, 0, 0, 0.00001]]}", "train.steps=300"});
}
TEST_CASE("data on another scale, again", "[slow]") {
    names("the data are not on the scale", {mixture_of + "means=[[-0.01, 0], [0.01, 0.02]], std=[0.004]}"});
}

TEST_CASE("data that do not vary, copies, outliers") {
    names("all training examples are the same", {of_table, "train.steps=300"},
          WithData("data.csv", csv(400, 2, [](std::size_t, std::size_t) { return 0.75; })));
    names("1 of 3 elements of the data never change", {of_table, "train.steps=300"},
          WithData("data.csv", csv(600, 3, [](std::size_t r, std::size_t c) { return c == 1 ? 4 : normal(r, c); })));
    names("of the training examples are copies", {of_table, "train.steps=300"},
          WithData("data.csv", csv(900, 2, [](std::size_t r, std::size_t c) { return normal(r % 30, c); })));
    names("far from all others", {of_table, "train.steps=300"},
          WithData("data.csv", csv(900, 2, [](std::size_t r, std::size_t c) { return r % 311 ? normal(r, c) : 5e3; })));
}

TEST_CASE("data outside of the range they are said to have") {
    names("lie outside of the range", {"dataset={use=\"arrays\", file=\"data.npy\", range=[-1, 1]}", "train.steps=300"},
          WithData("data.npy", ring(2000, 1.4)));
}

TEST_CASE("training examples learned by heart") {
    names(
        "learned the training examples by heart",
        {"dataset={use=\"csv\", file=\"data.csv\", test=0.4}", "train.batch=20", "train.steps=3000", "model.width=256"},
        WithData("data.csv", csv(40, 6, normal)));
}

TEST_CASE("classes that are missing, and a class that is ignored") {
    names("class 2 has no training examples",
          {three_classes + "weights=[0.5, 0.4999999, 1e-7]}", "model.conditional=true", "train.steps=500"});
    names("the network ignores the class",
          {three_classes + "weights=[0.4, 0.3, 0.3]}", "train.drop_condition=0.2", "train.steps=800"});
}

TEST_CASE("a part of the network that no gradient reaches") {
    names("no gradient reaches a part of the network",
          {"plugins={path=[\"" DTK_SEAMS "\"]}", "model={use=\"half_dead\"}", "train.steps=800"});
}

TEST_CASE("what the log of training tells") {
    const Patient patient;
    REQUIRE(patient.run({"train.steps=1000"}).code == 0);
    const auto log = patient.folder / "run" / "metrics.jsonl";
    const auto as_it_was = read(log);
    /// One number of the lines from `first` to `last` of 20, times that.
    const auto changed = [&](const char* name, std::size_t first, std::size_t last, double factor) {
        std::istringstream lines(as_it_was);
        std::string text, all;
        for (std::size_t i = 0; std::getline(lines, text); ++i) {
            auto line = nlohmann::json::parse(text);
            if (i >= first && i <= last) line[name] = line.at(name).get<double>() * factor;
            all += line.dump() + "\n";
        }
        write(log, all);
        const auto told = patient.examined();
        INFO(name << " times " << factor << "\n" << told.out << told.err);
        CHECK(told.code == (factor == 1 ? 0 : 1));
        return first_of(told);
    };
    CHECK(changed("train/loss", 0, 0, 1).empty());
    CHECK(says(changed("train/grad_norm", 7, 7, 4000), "the gradient has spikes"));
    CHECK(says(changed("train/grad_norm", 12, 14, 900), "the gradient has spikes"));
    CHECK(says(changed("train/loss", 15, 19, 6), "the loss has risen again"));
    CHECK(says(changed("train/loss", 9, 19, 11), "the loss has risen again"));
}

TEST_CASE("each stage is looked at by itself, under its name") {
    Patient patient;
    patient.text = R"(name = "patient"
seed = 3
threads = 1
[dataset]
use = "gaussian_mixture"
[schedule]
use = "cosine"
[[stage]]
name = "well"
process = {steps = 200}
model = {use = "mlp", width = 64, depth = 2, time_features = 32, prediction = "v"}
train = {steps = 1500, batch = 128, lr = 3e-3, log_every = 50}
rate = {use = "cosine"}
sampler = {use = "ddim", steps = 40}
sample = {n = 500}
[[stage]]
name = "ill"
process = {steps = 200}
model = {use = "mlp", width = 64, depth = 2, time_features = 32, prediction = "v"}
train = {steps = 500, batch = 128, lr = 1e-6, log_every = 50}
sampler = {use = "ddim", steps = 40}
sample = {n = 500}
)";
    REQUIRE(patient.run().code == 0);
    const auto told = patient.examined();
    INFO(told.out << told.err);
    CHECK(told.code == 1);
    const auto well = told.out.find("/well"), ill = told.out.find("/ill"), nothing = told.out.find("nothing was found"),
               small = told.out.find("the learning rate is too small");
    REQUIRE(small != std::string::npos);
    CHECK(well < nothing);
    CHECK(nothing < ill);
    CHECK(ill < small);
}

TEST_CASE("a doctor's words for what is no run") {
    const Folder folder;
    const auto told = dtk_program({"doctor", "nothing"}, folder.path);
    CHECK(told.code == 2);
    CHECK(says(told.err, "there is no run `nothing`"));
    const auto machine = dtk_program({"doctor"}, folder.path);
    CHECK(machine.code == 0);
    CHECK(says(machine.out, "plugins"));
}
