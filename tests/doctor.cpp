// dtk doctor RUN: runs with a fault that was planted are told that fault first, and healthy runs are told nothing.
#include <cmath>
#include <set>

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
    const double u = part(n * 0.7548776662466927),
                 v = part(n * 0.5698402909980532 + 0.37 * static_cast<double>(column / 2));
    const double angle = 6.283185307179586 * v, length = std::sqrt(-2 * std::log(u));
    return length * (column % 2 ? std::sin(angle) : std::cos(angle));
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
    names_nothing({"model.prediction=eps", "sampler=ddpm", "schedule=linear", "train.steps=1000"});
    names_nothing({"dataset={use=\"moons\"}"});
}

TEST_CASE("a learning rate that is too large") {
    names("the learning rate is too large", {"train.lr=1", "train.steps=300"});
    names("the learning rate is too large", {"train.lr=0.2", "train.steps=400", "rate=constant"});
    names("the learning rate is too large",
          {"train.lr=1e6", "train.steps=300", "optimizer=sgd", "train.clip=0", "model.prediction=eps"});
}

TEST_CASE("a learning rate that is too small") {
    names("the learning rate is too small", {"train.lr=1e-6", "train.steps=500"});
    names("the learning rate is too small", {"train.lr=2e-5", "train.steps=500", "dataset={use=\"moons\"}"});
}

TEST_CASE("training that is too short") {
    names("training was too short", {"train.steps=1"});
    names("training was too short", {"train.steps=20", "dataset.preset=ring8"});
}

TEST_CASE("an average that has not caught up") {
    names("the average of the parameters", {"average=[{use=\"ema\", decay=0.9999, warmup=false}]"});
    names("the average of the parameters",
          {"average=[{use=\"ema\", decay=0.999, warmup=false}]", "train.steps=700", "model.prediction=eps"});
}

TEST_CASE("signal that is left where sampling starts") {
    names("signal is left at the last step", {"schedule={use=\"linear\", rescale=false}"});
    names("signal is left at the last step", {"schedule={use=\"constant\", beta=0.002}", "dataset.preset=ring8"});
    names("the sampler starts at t", {"sampler.steps=5", "sampler.grid=leading"});
}

TEST_CASE("too few sampling steps") {
    names("sampling steps are too few", {"sampler.steps=2"});
    names("sampling steps are too few", {"sampler.steps=4", "sampler=ddpm", "dataset.preset=ring8"});
}

TEST_CASE("gradients that are clipped at most steps") {
    names("train.clip = 0.001 cuts the gradient", {"train.clip=1e-3"});
    names("train.clip = 0.01 cuts the gradient", {"train.clip=1e-2", "optimizer=sgd", "train.lr=0.05"});
}

TEST_CASE("data on another scale") {
    const std::string mixture = "dataset={use=\"gaussian_mixture\", preset=\"none\", ";
    names("the data are not on the scale", {mixture + "means=[[-40, 10], [50, -20]], std=[9]}"});
    names("the data are not on the scale", {mixture + "means=[[-0.01, 0], [0.01, 0.02]], std=[0.004]}"});
    names("of very different size", {mixture + "means=[[-1, 0], [1, 0]], covariances=[[0.1, 0, 0, 0.00001]]}"});
}

TEST_CASE("data that do not vary, and copies") {
    Patient patient;
    write(patient.folder / "data.csv", csv(400, 2, [](std::size_t, std::size_t) { return 0.75; }));
    names("all training examples are the same", {"dataset={use=\"csv\", file=\"data.csv\"}"}, patient);
    Patient one;
    write(one.folder / "data.csv", csv(600, 3, [](std::size_t r, std::size_t c) { return c == 1 ? 4 : normal(r, c); }));
    names("1 of 3 elements of the data never change", {"dataset={use=\"csv\", file=\"data.csv\"}"}, one);
    Patient copies;
    write(copies.folder / "data.csv", csv(900, 2, [](std::size_t r, std::size_t c) { return normal(r % 30, c); }));
    names("of the training examples are copies", {"dataset={use=\"csv\", file=\"data.csv\"}"}, copies);
}

TEST_CASE("data outside of the range they are said to have") {
    Patient patient;
    write(patient.folder / "data.csv", csv(2000, 2, normal));
    names_nothing({"dataset={use=\"csv\", file=\"data.csv\"}"}, patient);
}

TEST_CASE("training examples learned by heart") {
    Patient patient;
    write(patient.folder / "data.csv", csv(40, 6, normal));
    names(
        "learned the training examples by heart",
        {"dataset={use=\"csv\", file=\"data.csv\", test=0.4}", "train.batch=20", "train.steps=3000", "model.width=256"},
        patient);
}

TEST_CASE("classes that are missing, and a class that is ignored") {
    const std::string mixture =
        "dataset={use=\"gaussian_mixture\", preset=\"none\", labels=true, means=[[-1.5, 0], [1.5, 0], [0, 2]], "
        "std=[0.3], ";
    names("class 2 has no training examples", {mixture + "weights=[0.5, 0.4999999, 1e-7]}", "model.conditional=true"});
    names("the network ignores the class", {mixture + "weights=[0.4, 0.3, 0.3]}", "sample.labels=[1]"});
    names_nothing({mixture + "weights=[0.4, 0.3, 0.3]}", "model.conditional=true"});
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
