// Text to pictures: data with exact captions, tokenizers that networks keep, and prompts.
#include <cmath>
#include <set>

#include <dtk/captions.hpp>
#include <dtk/safetensors.hpp>
#include <dtk/tokenizer.hpp>

#include "bench.hpp"
#include "catch.hpp"
#include "complaint.hpp"
#include "engine/tokenised_data.hpp"
#include "run_program.hpp"
#include "support.hpp"

namespace {

namespace fs = std::filesystem;
using at::Tensor;

std::shared_ptr<dtk::Dataset> shapes(const std::string& more) {
    return support::make<dtk::Dataset>("composites", "items = \"shapes\"\n" + more, support::BuildContext{});
}

std::vector<std::string> captions_of(const dtk::Dataset& data, std::int64_t n, bool testing = false) {
    const auto& captioned = *dtk::known_as<dtk::Captioned>(data);
    return testing ? captioned.test_captions(at::arange(n)) : captioned.captions(at::arange(n));
}

dtk::Attributes read(const dtk::Dataset& data, const Tensor& pictures, const std::vector<std::string>& captions) {
    return dtk::known_as<dtk::ReadsAttributes>(data)->attributes(pictures, captions);
}

/// "red disc", "blue ring": the combinations that a caption names, in the singular.
std::vector<std::string> combinations(const std::string& caption) {
    std::vector<std::string> all, words;
    std::istringstream in(caption);
    for (std::string word; in >> word;) words.push_back(word);
    for (std::size_t i = 0; i + 2 < words.size(); ++i) {
        if (words[i] != "a" && words[i] != "two") continue;
        auto thing = words[i + 2];
        if (words[i] == "two") thing = thing == "crosses" ? "cross" : thing.substr(0, thing.size() - 1);
        all.push_back(words[i + 1] + " " + thing);
    }
    return all;
}

/// Parts of the picture that hang together and are of no canvas: what differs from the colour of its corner pixels'
/// mean by a quarter of the range in some channel.
std::int64_t blobs(const Tensor& picture) {
    const auto spread = std::get<0>(picture.max(0)) - std::get<0>(picture.min(0));
    auto free = (spread > 0.9).to(at::kByte).contiguous();
    const auto size = picture.size(1);
    auto* pixel = free.mutable_data_ptr<std::uint8_t>();
    std::int64_t found = 0;
    for (std::int64_t at = 0; at < size * size; ++at) {
        if (!pixel[at]) continue;
        ++found;
        std::vector<std::int64_t> rest{at};
        while (!rest.empty()) {
            const auto here = rest.back();
            rest.pop_back();
            if (!pixel[here]) continue;
            pixel[here] = 0;
            const auto row = here / size, column = here % size;
            if (row > 0) rest.push_back(here - size);
            if (row + 1 < size) rest.push_back(here + size);
            if (column > 0) rest.push_back(here - 1);
            if (column + 1 < size) rest.push_back(here + 1);
        }
    }
    return found;
}

/// A network that reads, so small that it trains in no time.
const std::string reader = R"(seed = 4
threads = 1
[dataset]
use = "composites"
items = "shapes"
size = 16
[tokenizer]
use = "words"
[process]
steps = 50
[[conditioner]]
use = "text_transformer"
width = 16
depth = 1
[model]
use = "ldm_unet"
channels = 16
multipliers = [1, 1]
blocks = 1
groups = 4
head_width = 8
[train]
steps = 3
batch = 8
drop_condition = 0.2
[sampler]
use = "ddim"
steps = 3
[sample]
n = 4
)";

Tensor samples_in(const fs::path& run) {
    return dtk::load_safetensors(run / "samples.safetensors").tensors.at("samples");
}

}  // namespace

TEST_CASE("what captions of composites say can be read off their pictures, and off no others") {
    for (const auto* size : {"size = 16", "size = 32", "size = 48"}) {
        const auto data = shapes(size);
        constexpr std::int64_t n = 400;
        const auto x = data->examples(at::arange(n)).x;
        auto captions = captions_of(*data, n);
        const auto own = read(*data, x, captions);
        CHECK(own.right.all().item<bool>());
        std::ranges::rotate(captions, captions.begin() + 1);
        const auto other = read(*data, x, captions);
        CHECK(other.right.select(1, 0).to(at::kDouble).mean().item<double>() < 0.25);  // two colours of six
        const auto asked = other.asked.select(1, 1);
        CHECK((other.right.select(1, 1) & asked).sum().item<double>() / asked.sum().item<double>() < 0.2);
        CHECK(own.asked.select(1, 1).to(at::kDouble).mean().item<double>() == Approx(0.5).margin(0.1));
    }
    const auto data = shapes("size = 32");
    CHECK_THROWS_WITH(read(*data, data->examples(at::arange(1)).x, {"a red bag"}),
                      Catch::Matchers::Contains("no caption"));
    CHECK_THROWS_WITH(read(*data, data->examples(at::arange(1)).x, {"a red disc above a red ring"}),
                      Catch::Matchers::Contains("no caption"));
}

TEST_CASE("a picture shows as many things as its caption says, in the colours that it says, and none else") {
    const auto data = shapes("size = 48");
    constexpr std::int64_t n = 300;
    const auto x = data->examples(at::arange(n)).x;
    const auto captions = captions_of(*data, n);
    const std::map<std::string, std::vector<float>> corners{{"red", {1, -1, -1}},   {"yellow", {1, 1, -1}},
                                                            {"green", {-1, 1, -1}}, {"cyan", {-1, 1, 1}},
                                                            {"blue", {-1, -1, 1}},  {"magenta", {1, -1, 1}}};
    for (std::int64_t i = 0; i < n; ++i) {
        const auto& caption = captions[static_cast<std::size_t>(i)];
        INFO(caption);
        std::int64_t things = 0;
        std::istringstream in(caption);
        for (std::string word; in >> word;) things += word == "a" ? 1 : word == "two" ? 2 : 0;
        CHECK(blobs(x[i]) == things);
        // The middle of a shape has the colour itself.
        for (const auto& [name, rgb] : corners) {
            const auto corner = at::tensor(rgb).view({3, 1, 1});
            const bool there = ((x[i] - corner).abs().amax(0) < 1e-6).any().item<bool>();
            CHECK(there == (caption.find(name) != caption.npos));
        }
    }
}

TEST_CASE(
    "combinations that are held out are in no training caption and in every test caption, and their words are known") {
    const auto data = shapes("size = 16\nheld_out = 0.2");
    std::set<std::string> seen, words;
    for (const auto& caption : captions_of(*data, 5000)) {
        for (const auto& one : combinations(caption)) seen.insert(one);
        std::istringstream in(caption);
        for (std::string word; in >> word;) words.insert(word);
    }
    CHECK(seen.size() == 24);  // of 5 shapes in 6 colours
    std::set<std::string> unseen;
    for (const auto& caption : captions_of(*data, 2000, true)) {
        std::int64_t held = 0;
        for (const auto& one : combinations(caption)) {
            held += !seen.contains(one);
            if (!seen.contains(one)) unseen.insert(one);
        }
        CHECK(held == 1);
        std::istringstream in(caption);
        for (std::string word; in >> word;) CHECK(words.contains(word));
    }
    CHECK(unseen.size() == 6);
    CHECK(captions_of(*shapes("size = 16"), 50) != captions_of(*shapes("size = 16"), 50, true));
}

TEST_CASE("one group of a picture stands alone in the middle, with its kind and number as its class") {
    const auto whole = shapes("size = 32"), groups = shapes("size = 32\nshow = \"groups\"");
    constexpr std::int64_t n = 200;
    const auto captions = captions_of(*whole, n);
    const auto pictures = whole->examples(at::arange(n)).x;
    const auto alone = groups->examples(at::arange(n));
    const auto names = groups->class_names();
    REQUIRE(names.size() == 10);
    const auto views = read(*whole, pictures, captions);
    CHECK(at::equal(views.views.select(1, 0), alone.x));
    CHECK(at::equal(views.classes.select(1, 0), alone.condition.label));
    for (std::int64_t i = 0; i < n; ++i) {
        const auto first = combinations(captions[static_cast<std::size_t>(i)]).front();
        const auto thing = first.substr(first.find(' ') + 1);
        const auto& name = names[static_cast<std::size_t>(alone.condition.label[i].item<std::int64_t>())];
        CHECK(name == (captions[static_cast<std::size_t>(i)].starts_with("two")
                           ? "two " + thing + (thing == "cross" ? "es" : "s")
                           : thing));
    }
}

TEST_CASE("what is beyond the end of a text changes no bit, and what is in it does") {
    const at::NoGradGuard no_grad;
    Bench bench(reader);
    // As training leaves it: what begins at zero is so no more.
    for (const auto& named : bench.stage->named_tensors())
        if (named.trained)
            named.tensor->add_(0.1 * dtk::Random(3, named.name).normal(named.tensor->sizes(), at::kFloat));
    bench.stage->train(false);
    auto told = bench.stage->dataset().examples(at::arange(6)).condition;
    const auto x = dtk::Random(1, "x").normal({6, 3, 16, 16}, at::kFloat);
    const auto answer = [&](const dtk::Condition& condition) {
        return bench.stage->denoiser({}, condition).eps(x, 20.0);
    };
    const auto first = answer(told);
    auto padded = told;
    padded.tokens = at::where(told.token_mask > 0, told.tokens, 3);
    CHECK(at::equal(answer(padded), first));
    auto other = told;
    other.tokens = told.tokens.clone();
    other.tokens[2][1] = (other.tokens[2][1] + 1) % bench.stage->dataset().condition_space().vocabulary;
    const auto changed = (answer(other) - first).abs().flatten(1).amax(1) > 0;
    CHECK(at::equal(changed, at::arange(6) == 2));
    // Rows that are told nothing are told the same nothing.
    const auto nothing = answer(told.null(6));
    CHECK(at::equal(answer(padded.null(6)), nothing));
    CHECK(at::equal(answer(other.null(6)), nothing));
    CHECK((nothing - first).abs().flatten(1).amax(1).min().item<double>() > 0);
}

TEST_CASE("samples are of the prompts, or of the captions of test examples, and scales 1 and 0 are what they say") {
    const Folder folder;
    write(folder / "reader.toml", reader);
    const auto ran = dtk_program({"run", "reader.toml", "--out", "run", "--progress", "none"}, folder.path);
    INFO(ran.err);
    REQUIRE(ran.code == 0);
    const auto drawn = [&](const std::string& name, std::vector<std::string> more) {
        more.insert(more.begin(), {"sample", "run", "--out", name, "--progress", "none"});
        const auto outcome = dtk_program(more, folder.path);
        INFO(outcome.err);
        REQUIRE(outcome.code == 0);
        return samples_in(folder / name);
    };
    const auto guided = [](const std::string& scale) {
        return "guidance=[{use=\"classifier_free\", scale=" + scale + "}]";
    };
    const auto two = drawn("two", {"--prompt", "a red disc", "--prompt", "two blue rings"});
    const auto red = drawn("red", {"--prompt", "a red disc"}), blue = drawn("blue", {"--prompt", "Two blue rings."});
    for (std::int64_t i = 0; i < 4; ++i) {
        CHECK(at::equal(two[i], (i % 2 == 0 ? red : blue)[i]));
        CHECK_FALSE(at::equal(red[i], blue[i]));
    }
    CHECK(at::equal(drawn("scale1", {"--prompt", "a red disc", "--set", guided("1")}), red));
    CHECK(at::equal(drawn("scale0", {"--prompt", "a red disc", "--set", guided("0")}),
                    drawn("other0", {"--prompt", "two blue rings", "--set", guided("0")})));
    // Without prompts those of the test examples, of which the run's own samples are.
    std::vector<std::string> own;
    for (const auto& caption : captions_of(*shapes("size = 16"), 4, true)) own.insert(own.end(), {"--prompt", caption});
    CHECK_FALSE(at::equal(samples_in(folder / "run"), red));
    const auto unknown = dtk_program({"sample", "run", "--prompt", "a red dsc", "--out", "none"}, folder.path);
    CHECK(unknown.code == 2);
    CHECK(says(unknown.err, "a prompt says \"dsc\""));
    CHECK(says(unknown.err, "disc"));
}

TEST_CASE("a tokenizer that fits nothing is refused in words") {
    const auto complaint = [](std::string text, const std::string& from, const std::string& to) {
        const auto at = text.find(from);
        if (at != text.npos) text.replace(at, from.size(), to);
        const Folder folder;
        write(folder / "experiment.toml", text);
        const auto outcome = dtk_program({"check", "experiment.toml"}, folder.path);
        CHECK(outcome.code == 2);
        return outcome.err;
    };
    const std::string conditioner = "[[conditioner]]\nuse = \"text_transformer\"\nwidth = 16\ndepth = 1\n";
    CHECK(says(complaint(reader, conditioner, ""), "nobody reads them"));
    CHECK(says(complaint(reader, "[tokenizer]\nuse = \"words\"\n", ""), "text_transformer needs data with tokens"));
    CHECK(says(complaint(reader, "use = \"composites\"\nitems = \"shapes\"\nsize = 16", "use = \"dead_leaves\""),
               "a tokenizer reads captions"));
    CHECK(says(complaint(reader, "use = \"words\"", "use = \"words\"\nlength = 3"), "`length` is 3"));
    CHECK(says(complaint(reader, "n = 4", "n = 4\nprompts = [\"a red hat\"]"), "a prompt says \"hat\""));
    const auto tokenless =
        complaint(reader, "[tokenizer]\nuse = \"words\"\n", "[sample]\nprompts = [\"a red disc\"]\n");
    CHECK(!tokenless.empty());
}

TEST_CASE("pictures of a folder have the captions beside them or in a table, and one without is named") {
    const Folder folder;
    const fs::path images = fs::path(DTK_SOURCE) / "plugins/datasets/check/images/bags";
    fs::create_directories(folder / "set");
    for (int i = 0; i < 10; ++i) {
        fs::copy_file(images / fmt::format("{}.png", i), folder / fmt::format("set/{}.png", i));
        write(folder / fmt::format("set/{}.txt", i), fmt::format("\n  bag number {}\nmore\n", i));
    }
    const auto made = [&](const std::string& more = "") {
        return support::make<dtk::Dataset>("captioned_folder", fmt::format("folder = \"{}\"\nsize = 8\ntest = 0.2\n{}",
                                                                           (folder / "set").string(), more));
    };
    const auto data = made();
    CHECK(data->size() == 8);
    CHECK(data->test_size() == 2);
    const auto table = [&](const std::string& text) {
        write(folder / "table.csv", text);
        return fmt::format("captions = \"{}\"", (folder / "table.csv").string());
    };
    std::string lines = "file,caption\n";
    for (int i = 0; i < 10; ++i) lines += fmt::format("{}.png,\"bag, number {}\"\n", i, i);
    const auto by_table = made(table(lines));
    // The picture that a caption is of is the one that it names.
    const auto plain = support::make<dtk::Dataset>(
        "image_folder", fmt::format("folder = \"{}\"\nsize = 8\nchannels = 3\ntest = 0.2", (folder / "set").string()));
    std::set<std::string> all;
    for (const bool testing : {false, true}) {
        const auto n = testing ? 2 : 8;
        const auto beside = captions_of(*data, n, testing), said = captions_of(*by_table, n, testing);
        const auto x = testing ? data->test_examples(at::arange(n)).x : data->examples(at::arange(n)).x;
        CHECK(at::equal(x, testing ? plain->test_examples(at::arange(n)).x : plain->examples(at::arange(n)).x));
        for (std::size_t i = 0; i < beside.size(); ++i) {
            all.insert(beside[i]);
            CHECK(said[i] == "bag, " + beside[i].substr(4));
        }
    }
    CHECK(all.size() == 10);
    CHECK_THROWS_WITH(made(table("0.png,one\n")), Catch::Matchers::Contains("1.png has no caption"));
    CHECK_THROWS_WITH(made(table(lines + "11.png,none\n")),
                      Catch::Matchers::Contains("11.png, and there is no such picture"));
    CHECK_THROWS_WITH(made(table(lines + "0.png,again\n")), Catch::Matchers::Contains("a second caption of 0.png"));
    CHECK_THROWS_WITH(made(table("0.png\n")), Catch::Matchers::Contains("table.csv:1 says no caption"));
    write(folder / "set/3.txt", "  \n");
    CHECK_THROWS_WITH(made(), Catch::Matchers::Contains("3.png has no caption"));
}

TEST_CASE("a network that reads is asked in words when its data are gone") {
    const Folder folder;
    fs::create_directories(folder / "idx");
    for (const auto& file : fs::directory_iterator(fs::path(DTK_SOURCE) / "plugins/datasets/check"))
        if (file.path().filename().string().ends_with("ubyte")) fs::copy(file.path(), folder / "idx");
    auto text = reader;
    const std::string shapes_field = "items = \"shapes\"";
    text.replace(text.find(shapes_field), shapes_field.size(), "of = {use = \"idx\", folder = \"idx\"}");
    write(folder / "reader.toml", text);
    REQUIRE(dtk_program({"run", "reader.toml", "--out", "run", "--progress", "none"}, folder.path).code == 0);
    const auto asked = [&](const std::string& out) {
        return dtk_program({"sample", "run", "--prompt", "a red thing1", "--out", out, "--progress", "none"},
                           folder.path);
    };
    REQUIRE(asked("before").code == 0);
    fs::remove_all(folder / "idx");
    const auto after = asked("after");
    INFO(after.err);
    REQUIRE(after.code == 0);
    CHECK(at::equal(samples_in(folder / "before"), samples_in(folder / "after")));
    const auto nothing = dtk_program({"sample", "run", "--out", "nothing", "--progress", "none"}, folder.path);
    CHECK(nothing.code != 0);
    CHECK(says(nothing.err, "--prompt"));
}
