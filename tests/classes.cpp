// Classes as a person meets them: named, counted, asked for by name, and kept beside what was drawn.
#include "catch.hpp"

#include <cstring>

#include <nlohmann/json.hpp>

#include "base/classes.hpp"
#include "base/tensor_file.hpp"
#include "complaint.hpp"
#include "run_program.hpp"
#include "small_experiment.hpp"

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;
using dtk::Classes;

/// An IDX file of bytes, as MNIST's.
std::string idx(const std::vector<int>& shape, const std::string& values) {
    std::string bytes{0, 0, 8, static_cast<char>(shape.size())};
    for (const int n : shape)
        for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(n >> shift);
    return bytes + values;
}

/// Images of 2 × 2 with these labels, all of image i of value 10·i, the same for testing, and an experiment on them.
void write_set(const Folder& folder, const std::string& labels, const std::string& fields = {}) {
    fs::create_directories(folder / "data");
    std::string pixels;
    const int n = static_cast<int>(labels.size());
    for (int i = 0; i < n; ++i) pixels += std::string(4, static_cast<char>(10 * i));
    for (const std::string name : {"train", "t10k"}) {
        write(folder / "data" / (name + "-images-idx3-ubyte"), idx({n, 2, 2}, pixels));
        write(folder / "data" / (name + "-labels-idx1-ubyte"), idx({n}, labels));
    }
    const auto text =
        changed(small_experiment, "use = \"gaussian_mixture\"", "use = \"idx\"\nfolder = \"data\"\n" + fields);
    write(folder / "e.toml",
          changed(changed(text, "depth = 1", "depth = 1\nconditional = true"), "batch = 8", "batch = 4"));
}

const std::string three("\1\2\3\1\2\3\1\2\3\1\2\3", 12);

Outcome call(const Folder& folder, std::vector<std::string> arguments, int code = 0) {
    const auto outcome = dtk_program(std::move(arguments), folder.path);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.code == code);
    return outcome;
}

std::vector<std::int64_t> labels_in(const fs::path& folder) {
    const auto bytes = dtk::read_tensors(folder / "samples.safetensors").at("labels").bytes;
    std::vector<std::int64_t> all(bytes.size() / 8);
    std::memcpy(all.data(), bytes.data(), bytes.size());
    return all;
}

}  // namespace

TEST_CASE("a class goes by its name, and by its number where no name is one") {
    const Classes words{3, {"bag", "Bag", "coat"}, {5, 0, 7}};
    CHECK(words.number_of("bag") == 0);
    CHECK(words.number_of("Bag") == 1);
    CHECK(words.number_of("2") == 2);
    CHECK(words.with_examples() == std::vector<std::int64_t>{0, 2});
    CHECK(says(complaint_of([&] { words.number_of("caot"); }), "asks for class `caot`, which there is not | did you "));
    CHECK(says(complaint_of([&] { words.number_of("caot"); }), "did you mean `coat`?"));
    CHECK(
        says(complaint_of([&] { words.number_of("3"); }), "class 3, which there is not | there are bag, Bag and coat"));
    CHECK(says(complaint_of([&] { words.number_of("-1"); }), "class -1, which there is not"));
    const Classes digits{2, {"4", "5"}, {}};
    CHECK(digits.number_of("5") == 1);
    CHECK_FALSE(complaint_of([&] { digits.number_of("1"); }).empty());
    CHECK(digits.with_examples() == std::vector<std::int64_t>{0, 1});
    const Classes bare{.count = 2};
    CHECK(bare.number_of("1") == 1);
    CHECK(says(complaint_of([&] { bare.number_of("2"); }), "there are classes 0 … 1"));
    CHECK(says(complaint_of([&] { bare.number_of("bag"); }), "there are classes 0 … 1"));
    CHECK(says(complaint_of([] { Classes().number_of("0"); }), "there are no classes"));
}

TEST_CASE("classes are said in one line, and kept as JSON") {
    const Classes words{3, {"bag", "box", "coat"}, {5, 0, 7}};
    CHECK(words.text() == "2: 0 bag (5), 2 coat (7); without examples, and never drawn: 1 box");
    CHECK(words.text(1) == "2: 0 bag (5) and 1 more; without examples, and never drawn: 1 box");
    CHECK(Classes{.count = 3}.text() == "3: 0, 1, 2");
    for (const auto& classes : {words, Classes{.count = 3}, Classes{.count = 2, .examples = {1, 2}},
                                Classes{.count = 2, .names = {"5", "1"}}, Classes{}})
        CHECK((Classes::from_json(classes.to_json()) == classes));
    for (const char* odd : {"3", "{}", "[3]", "[{\"number\": 0}]", "[{\"number\": 0, \"name\": 3}]", "null"})
        CHECK(Classes::from_json(json::parse(odd)).count == 0);
}

TEST_CASE("check, run, show and run.json say the classes, and samples are only of those with examples") {
    const Folder folder;
    write_set(folder, three);  // 1 … 3: of class 0 there is nothing
    const std::string said = "3: 1 (4), 2 (4), 3 (4); without examples, and never drawn: 0";
    CHECK(says(call(folder, {"check", "e.toml"}).out, "classes  " + said + "\n"));
    CHECK(says(call(folder, {"run", "e.toml", "--out", "run"}).err, "classes  " + said + "\n"));
    CHECK(says(call(folder, {"show", "run"}).out, "classes     " + said + "\n"));
    const auto record = json::parse(read(folder / "run/run.json"));
    CHECK(record["classes"]["data"].size() == 4);
    CHECK(record["classes"]["data"][0]["examples"] == 0);
    CHECK(record["classes"]["data"][3] == json{{"number", 3}, {"name", "3"}, {"examples", 4}});
    const auto drawn = labels_in(folder / "run");
    REQUIRE(drawn.size() == 20);
    for (std::size_t i = 0; i < drawn.size(); ++i) CHECK(drawn[i] == static_cast<std::int64_t>(1 + i % 3));
    const auto refused = call(folder, {"sample", "run", "--label", "0"}, 2).err;
    CHECK(says(refused, "`labels` asks for class 0, of which training has no examples"));

    // `limit` leaves a class without examples, and a stray label is seen by its count.
    CHECK(says(call(folder, {"check", "e.toml", "--set", "dataset.limit=4"}).out,
               "3: 1 (2), 2 (1), 3 (1); without examples, and never drawn: 0"));
    write_set(folder, std::string("\0\1\0\1\0\1\0\xff", 8));
    const auto stray = call(folder, {"check", "e.toml"}).out;
    CHECK(says(stray, "3: 0 (4), 1 (3), 255 (1); without examples, and never drawn: 2, 3, "));
}

TEST_CASE("classes are asked for by name, and the names stand beside the samples in every format") {
    const Folder folder;
    write_set(folder, three, "class_names = [\"none\", \"bag\", \"T-shirt/top\", \"ankle boot\"]");
    call(folder, {"run", "e.toml", "--out", "run", "--set", "sample.labels=[\"bag\", 3]"});
    CHECK(labels_in(folder / "run") ==
          std::vector<std::int64_t>{1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3});
    CHECK(says(read(folder / "run/resolved.toml"), "labels = [\"bag\", 3]"));
    CHECK(says(read(folder / "run/samples.png"), "bag, ankle boot, bag"));
    call(folder, {"sample", "run", "--n", "3", "--label", "T-shirt/top", "--label", "ankle boot", "--out", "by_name"});
    CHECK(labels_in(folder / "by_name") == std::vector<std::int64_t>{2, 3, 2});
    const auto refused = call(folder, {"sample", "run", "--label", "ankle bot"}, 2).err;
    CHECK(says(refused, "--> --label ankle bot"));
    CHECK(says(refused, "asks for class `ankle bot`, which there is not\n"));
    CHECK(says(refused, "did you mean `ankle boot`?"));
    CHECK(says(call(folder, {"check", "e.toml", "--set", "sample.labels=\"bag\""}, 2).err, "write labels = [\"bag\"]"));

    call(folder, {"export", "by_name", "--to", "images", "--out", "pictures"});
    CHECK(fs::exists(folder / "pictures/2 T-shirt_top/000000.png"));
    CHECK(fs::exists(folder / "pictures/ankle boot/000001.png"));
    CHECK(read(folder / "pictures/labels.csv") ==
          "file,label,name\n2 T-shirt_top/000000.png,2,T-shirt/top\nankle boot/000001.png,3,ankle boot\n"
          "2 T-shirt_top/000002.png,2,T-shirt/top\n");
    for (const std::string format : {"uint8", "npz"}) {
        call(folder, {"export", "by_name", "--to", format, "--out", format + ".npz"});
        const auto archive = read(folder / (format + ".npz"));
        CHECK(says(archive, format == "npz" ? "labels.npy" : "arr_1.npy"));
        CHECK(says(archive, "class_names.npy"));
    }

    // The checkpoint knows them without the data.
    fs::remove_all(folder / "data");
    call(folder, {"sample", "run", "--n", "2", "--label", "bag", "--out", "without"});
    CHECK(labels_in(folder / "without") == std::vector<std::int64_t>{1, 1});
    CHECK(says(call(folder, {"sample", "run", "--label", "none"}, 2).err, "of which training has no examples"));
}

TEST_CASE(
    "classes asked of a network that is told none are a mistake, and so are other names than it was trained with") {
    const Folder folder;
    write_set(folder, three, "class_names = [\"a\", \"b\", \"c\", \"d\"]");
    const auto refused =
        call(folder, {"check", "e.toml", "--set", "model.conditional=false", "--set", "sample.labels=[\"b\"]"}, 2).err;
    CHECK(says(refused, "model `mlp` is told none: conditional = false"));
    call(folder, {"check", "e.toml", "--set", "model.conditional=false"});
    call(folder, {"run", "e.toml", "--out", "run"});
    const auto other =
        call(folder, {"sample", "run", "--set", "dataset.class_names=[\"a\", \"c\", \"b\", \"d\"]"}, 2).err;
    CHECK(says(other, "the network was trained with the classes 3: 1 b (4), 2 c (4), 3 d (4)"));
    for (const auto& [names, what] : {std::pair("[\"a\"]", "1 `class_names`, and the labels go up to 3"),
                                      std::pair("[\"a\", \"a\", \"b\", \"c\"]", "two of `class_names` are the same")})
        CHECK(
            says(call(folder, {"check", "e.toml", "--set", std::string("dataset.class_names=") + names}, 2).err, what));
}

TEST_CASE("data show counts, measures and suggests the noise, and draws") {
    const Folder folder;
    write_set(folder, three, "class_names = [\"none\", \"bag\", \"<top>\", \"boot\"]");
    // Image i is 10·i everywhere: values x = 20 i/255 − 1, neighbours 20/255·2 apart in four dimensions.
    const auto shown = call(folder, {"data", "show", "e.toml"});
    INFO(shown.out);
    for (const char* what :
         {"data        idx, examples of shape 1×2×2", "examples    12 for training, 12 for testing",
          "range       -1 … 1 in 256 levels", "   1  bag           4         4",
          "   0  none          0         0  never",
          "copies      0 training examples are copies of others, 12 of the test examples are in training",
          // mean 110/127.5 − 1, sd 10·√(143/12)/127.5
          "all    -0.56863     0.27075          -1    -0.13725", "sigma_data  0.27075, ",
          "the largest 1.7255, to the nearest other 0.15686 (median) and 0.15686 (least)",
          "sigma_max   1.725: ", "sigma_min   0.001961: a quarter of the 0.007843 between two of the 256 levels",
          "log-SNR     12.5 … -1.09", "log_snr_max = 12.5, log_snr_min = -1.09", "picture     small-data.svg"})
        CHECK(says(shown.out, what));
    const auto svg = read(folder / "small-data.svg");
    CHECK(says(svg, ">2 &lt;top&gt;</text>"));
    CHECK_FALSE(says(svg, ">0 none<"));
    CHECK(call(folder, {"data", "show", "e.toml"}).out == shown.out);
    CHECK(read(folder / "small-data.svg") == svg);
    call(folder, {"data", "show", "e.toml", "--out", "grid.png"});
    CHECK(read(folder / "grid.png").starts_with("\x89PNG"));
    CHECK(says(call(folder, {"data", "show", "e.toml", "--out", "grid.jpg"}, 2).err, "pictures are .svg or .png"));

    // [dataset] alone is enough, and what is wrong with it is said.
    write(folder / "bare.toml", "[dataset]\nuse = \"moons\"\nlabels = true\n");
    const auto bare = call(folder, {"data", "show", "bare.toml"}).out;
    CHECK(says(bare, "without end: the first 20000 were looked at"));
    CHECK(says(bare, "a quarter of the median distance to the nearest other example"));
    CHECK(says(read(folder / "bare-data.svg"), "</svg>"));
    CHECK(says(call(folder, {"data", "show", "bare.toml", "--set", "dataset.noise=-1"}, 2).err, "`noise`"));
    CHECK(call(folder, {"data", "show", "nowhere.toml"}, 2).out.empty());
}

TEST_CASE("copies among the training examples are counted") {
    const Folder folder;
    write_set(folder, three);
    std::string pixels;
    for (int i = 0; i < 12; ++i) pixels += std::string(4, static_cast<char>(10 * (i % 5)));
    write(folder / "data/train-images-idx3-ubyte", idx({12, 2, 2}, pixels));
    CHECK(says(call(folder, {"data", "show", "e.toml"}).out,
               "7 training examples are copies of others, 5 of the test examples are in training"));
}
