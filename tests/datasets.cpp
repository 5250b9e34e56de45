#include <zlib.h>

#include <chrono>
#include <cmath>
#include <dtk/densities.hpp>
#include <dtk/gzip.hpp>
#include <dtk/schedule.hpp>
#include <fstream>
#include <numbers>

#include "base/npz.hpp"
#include "catch.hpp"
#include "complaint.hpp"
#include "folder.hpp"
#include "support.hpp"

namespace fs = std::filesystem;
using at::Tensor;
using nlohmann::json;
using support::reference;

namespace {

std::shared_ptr<dtk::Dataset> dataset(const std::string& name, const std::string& fields = {}, std::int64_t seed = 1) {
    support::BuildContext context;
    context.seed = static_cast<std::uint64_t>(seed);
    return support::make<dtk::Dataset>(name, fields, context);
}

Tensor rows(std::int64_t n, double value) { return at::full({n}, value, at::kDouble); }

dtk::NoiseLevels linear_levels() {
    std::vector<double> betas(1000);
    for (int i = 0; i < 1000; ++i) betas[i] = 1e-4 + (0.02 - 1e-4) * i / 999;
    return dtk::NoiseLevels::from_betas(betas);
}

/// The published x̂_0 and ε* at the published points, at every published step.
void check_denoiser(const dtk::Density& density, const Tensor& x, const json& at_steps, double tolerance) {
    const auto levels = linear_levels();
    for (const auto& [step, values] : at_steps.items()) {
        INFO("step " << step);
        const auto t = std::stoll(step);
        const auto x0 = density.posterior_mean(x, rows(x.size(0), levels.alpha(t)), rows(x.size(0), levels.sigma(t)));
        CHECK(support::distance(x0, support::tensor(values["x0_hat"])) < tolerance);
        CHECK(support::distance((x - levels.alpha(t) * x0) / levels.sigma(t), support::tensor(values["eps"])) <
              tolerance * std::max(1.0, levels.alpha(t) / levels.sigma(t)));
    }
}

constexpr std::int64_t many = 20'000;

}  // namespace

TEST_CASE("a Gaussian mixture has the published density and denoiser") {
    for (const std::string name : {"gmm1d", "gmm2d"}) {
        INFO(name);
        const auto& expected = reference()["mixtures"][name];
        const auto data = dataset("gaussian_mixture", "preset = \"" + name + "\"");
        const auto& density = *data->density();
        const auto x = support::tensor(expected["points"]);
        CHECK(support::distance(density.log_prob(x), support::tensor(expected["logp"])) < 1e-11);
        check_denoiser(density, x, expected["linear"], 1e-11);
        for (const auto& [sigma, values] : expected["ve_denoiser"].items())
            CHECK(support::distance(density.posterior_mean(x, rows(x.size(0), 1), rows(x.size(0), std::stod(sigma))),
                                    support::tensor(values)) < 1e-11);
    }
}

TEST_CASE("the entropy of every ready-made mixture is the published one") {
    for (const std::string name : {"gmm1d", "gmm2d", "ring8", "grid25"}) {
        INFO(name);
        const auto& expected = reference()["mixtures"][name];
        const auto data = dataset("gaussian_mixture", "preset = \"" + name + "\"");
        // The Gauss-Hermite rule behind the published plane values is good to 5e-9 and 5e-8.
        CHECK(std::abs(data->density()->entropy() - expected["entropy_nats"].get<double>()) < 5e-9);
        CHECK(std::abs(data->density()->log_prob_sd() - expected["nll_std_nats"].get<double>()) < 5e-8);
        const auto weights = data->density()->mode_weights();
        REQUIRE(weights.size() == expected["w"].size());
        for (std::size_t k = 0; k < weights.size(); ++k)
            CHECK(weights[k] == Approx(expected["w"][k].get<double>()).margin(2e-3));
    }
}

// By the trapezoidal rule on one lattice for the whole plane, with steps of 0.02 and 0.01 alike.
TEST_CASE("the entropy of a mixture has eleven digits") {
    const auto data = dataset("gaussian_mixture");
    CHECK(std::abs(data->density()->entropy() - 2.046442086723) < 1e-11);
    CHECK(std::abs(data->density()->log_prob_sd() - 1.022818520968) < 1e-11);
}

TEST_CASE("the entropy of a Gaussian in many dimensions is its closed form, nearly") {
    const auto data =
        dataset("gaussian_mixture",
                "preset = \"none\"\nmeans = [[1, 2, 3]]\ncovariances = [[2, 0.5, 0, 0.5, 1, 0, 0, 0, 0.3]]");
    const double log_det = std::log((2 * 1 - 0.25) * 0.3);
    CHECK(std::abs(data->density()->entropy() - 0.5 * (3 * (1 + std::log(2 * std::numbers::pi)) + log_det)) < 0.01);
    CHECK(data->density()->log_prob_sd() == Approx(std::sqrt(1.5)).epsilon(0.01));
}

TEST_CASE("where modes overlap, the weight of a mode is the probability of being assigned to it") {
    const auto data =
        dataset("gaussian_mixture", "preset = \"none\"\nweights = [0.7, 0.3]\nmeans = [[-1], [1]]\nstd = [1]");
    const double border = std::log(0.7 / 0.3) / 2;
    const auto below = [&](double mean) { return 0.5 * std::erfc((mean - border) / std::numbers::sqrt2); };
    const auto weights = data->density()->mode_weights();
    CHECK(weights[0] == Approx(0.7 * below(-1) + 0.3 * below(1)).margin(1e-4));
    CHECK(weights[0] + weights[1] == Approx(1).epsilon(1e-12));
    const auto side =
        data->density()->nearest_mode(at::tensor({border - 0.01, border + 0.01}, at::kDouble).unsqueeze(1));
    CHECK(side[0].item<std::int64_t>() == 0);
    CHECK(side[1].item<std::int64_t>() == 1);
}

TEST_CASE("the swiss roll has the published density and denoiser") {
    const auto& expected = reference()["swiss_roll"];
    const auto data = dataset("swiss_roll");
    const auto x = support::tensor(expected["points"]);
    CHECK(support::distance(data->density()->log_prob(x), support::tensor(expected["logp"])) < 1e-8);
    check_denoiser(*data->density(), x, expected["eps_star_linear"], 1e-8);
}

TEST_CASE("what is left unknown of the swiss roll is the published variance") {
    const auto& expected = reference()["swiss_roll"];
    const auto data = dataset("swiss_roll");
    const auto x = support::tensor(expected["points"]);
    const auto levels = linear_levels();
    for (const auto& [step, values] : expected["eps_star_linear"].items()) {
        INFO("step " << step);
        const auto t = std::stoll(step);
        const auto variance =
            data->density()->posterior_variance(x, rows(x.size(0), levels.alpha(t)), rows(x.size(0), levels.sigma(t)));
        CHECK(support::distance(variance, support::tensor(values["posterior_var_diag"])) < 1e-8);
    }
}

TEST_CASE("the swiss roll has the published entropy and scale") {
    for (const auto& row : reference()["swiss_roll"]["entropy_vs_noise"]) {
        INFO("noise " << row["noise"]);
        const auto data = dataset("swiss_roll", fmt::format("noise = {:.3f}", row["noise"].get<double>()));
        CHECK(std::abs(data->density()->entropy() - row["entropy_nats"].get<double>()) < 2e-8);
        const auto* curve = dynamic_cast<const dtk::SmearedCurve*>(data->density());
        REQUIRE(curve);
        CHECK(std::abs(curve->scale() - row["scale"].get<double>()) < 1e-10);
    }
}

TEST_CASE("the standard sets are centred and have a mean variance of 1") {
    for (const auto* name : {"swiss_roll", "moons", "checkerboard"}) {
        INFO(name);
        const auto x = dataset(name)->examples(at::arange(many)).x.to(at::kDouble);
        CHECK(x.mean(0).abs().max().item<double>() < 4 * 1.2 / std::sqrt(many));
        CHECK(x.var(0).mean().item<double>() == Approx(1).epsilon(0.03));
    }
}

TEST_CASE("labels name the part an example was drawn from") {
    const auto mixture = dataset("gaussian_mixture", "preset = \"ring8\"\nlabels = true");
    CHECK(mixture->classes() == 8);
    const auto ring = mixture->examples(at::arange(1000));
    CHECK((ring.condition.label == mixture->density()->nearest_mode(ring.x)).to(at::kDouble).mean().item<double>() >
          0.99);
    const auto moons = dataset("moons", "noise = 0.05\nlabels = true");
    CHECK(moons->classes() == 2);
    const auto two = moons->examples(at::arange(1000));
    CHECK(two.condition.label.equal(moons->density()->nearest_mode(two.x)));
    CHECK_FALSE(dataset("moons")->examples(at::arange(2)).condition.label.defined());
}

TEST_CASE("a mixture that is none is refused with the cure") {
    const auto complaint = [](const std::string& fields) {
        return complaint_of([&] { dataset("gaussian_mixture", fields); });
    };
    const std::string own = "preset = \"none\"\n";
    CHECK(says(complaint(own),
               "`means` is empty | give one row per component, as in means = [[-1, 0], [1, 0]], or name a `preset`"));
    CHECK(says(complaint("std = [1]"), "preset = \"gmm2d\" already says"));
    CHECK(says(complaint(own + "means = [[0], [1]]"), "neither `covariances` nor `std`"));
    CHECK(says(complaint(own + "means = [[0], [1]]\nstd = [1]\ncovariances = [[1]]"), "both `covariances` and `std`"));
    CHECK(says(complaint(own + "means = [[0], [1, 2]]\nstd = [1]"), "row 2 of `means` has 2 numbers, the first has 1"));
    CHECK(says(complaint(own + "means = [[0], [1]]\nstd = [1, 1, 1]"), "3 `std` for 2 `means`"));
    CHECK(says(complaint(own + "means = [[0], [1]]\nstd = [1]\nweights = [1]"), "1 `weights` for 2 `means`"));
    CHECK(says(complaint(own + "means = [[0], [1]]\nstd = [1]\nweights = [0.5, 0.4]"),
               "the `weights` sum to 0.9, not to 1"));
    CHECK(says(complaint(own + "means = [[0, 0]]\ncovariances = [[1, 0, 1]]"),
               "row 1 of `covariances` has 3 numbers, not 4"));
    CHECK(says(complaint(own + "means = [[0, 0]]\ncovariances = [[1, 0.5, 0, 1]]"),
               "row 1 of `covariances` is not symmetric"));
    CHECK(says(complaint(own + "means = [[0, 0]]\ncovariances = [[1, 2, 2, 1]]"),
               "row 1 of `covariances` is not positive definite: its least eigenvalue is -1"));
    CHECK(says(complaint_of([] { dataset("checkerboard", "squares = 5"); }), "`squares` = 5 is odd | write 4 or 6"));
}

namespace {

using Bytes = std::vector<unsigned char>;

Bytes idx(const std::vector<int>& shape, const Bytes& values) {
    Bytes bytes{0, 0, 8, static_cast<unsigned char>(shape.size())};
    for (const int n : shape)
        for (const int shift : {24, 16, 8, 0}) bytes.push_back(static_cast<unsigned char>(n >> shift));
    bytes.insert(bytes.end(), values.begin(), values.end());
    return bytes;
}

void write(const fs::path& path, const Bytes& bytes) {
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

Bytes read(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_gzip(const fs::path& path, const Bytes& bytes) {
    const auto file = gzopen(path.c_str(), "wb");
    gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
    gzclose(file);
}

/// Three training images and two for testing, of 2 × 2, labels 0, 2, 1 and 2, 0; the training images as gzip.
struct SmallSet {
    Folder folder;
    SmallSet() {
        write_gzip(folder / "train-images-idx3-ubyte.gz", idx({3, 2, 2}, {0, 255, 128, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
        write(folder / "train-labels-idx1-ubyte", idx({3}, {0, 2, 1}));
        write(folder / "t10k-images-idx3-ubyte", idx({2, 2, 2}, {9, 8, 7, 6, 5, 4, 3, 2}));
        write(folder / "t10k-labels-idx1-ubyte", idx({2}, {2, 0}));
    }
    std::shared_ptr<dtk::Dataset> open(const std::string& more = {}) const {
        return dataset("idx", fmt::format("folder = \"{}\"\n{}", folder.path.string(), more));
    }
    std::string complaint(const std::string& more = {}) const {
        return complaint_of([&] { open(more)->examples(at::zeros({1}, at::kLong)); });
    }
};

}  // namespace

TEST_CASE("IDX files are read to the last bit, plain or gzip") {
    const SmallSet files;
    const auto data = files.open();
    CHECK(data->shape() == std::vector<std::int64_t>{1, 2, 2});
    CHECK(data->size() == 3);
    CHECK(data->test_size() == 2);
    CHECK(data->classes() == 3);
    CHECK(data->levels() == 256);
    const auto batch = data->examples(at::tensor({0, 2}, at::kLong));
    CHECK(batch.x.sizes() == at::IntArrayRef{2, 1, 2, 2});
    const auto values = (batch.x.flatten().to(at::kDouble) + 1) * 127.5;
    CHECK(support::distance(values, at::tensor({0, 255, 128, 1, 6, 7, 8, 9}, at::kDouble)) < 1e-4);
    CHECK(batch.x.min().item<float>() == -1.0f);
    CHECK(batch.x.max().item<float>() == 1.0f);
    CHECK(batch.condition.label.equal(at::tensor({0, 1}, at::kLong)));
    CHECK(data->test_examples(at::tensor({1}, at::kLong)).condition.label.item<std::int64_t>() == 0);
    CHECK(data->fingerprint().size() == 64);
    CHECK(files.open("limit = 2")->size() == 2);
    CHECK_FALSE(
        files.open("labels = \"\"\ntest_labels = \"\"")->examples(at::zeros({1}, at::kLong)).condition.label.defined());
}

TEST_CASE("IDX labels are called as the file says, or by Fashion-MNIST's names, and are counted") {
    const SmallSet files;
    const auto data = files.open();
    CHECK(data->class_names().empty());
    CHECK(data->class_counts() == std::vector<std::int64_t>{1, 1, 1});
    CHECK(files.open("limit = 2")->class_counts() == std::vector<std::int64_t>{1, 0, 1});
    const auto named = files.open("class_names = [\"a\", \"b\", \"c\", \"d\"]");
    CHECK(named->classes() == 4);
    CHECK(named->class_names() == std::vector<std::string>{"a", "b", "c", "d"});
    CHECK(named->class_counts() == std::vector<std::int64_t>{1, 1, 1, 0});
    CHECK(dataset("standardised", fmt::format("of = {{use = \"idx\", folder = \"{}\"}}", files.folder.path.string()))
              ->class_counts() == data->class_counts());
    CHECK(says(files.complaint("class_names = [\"a\"]"), "1 `class_names`, and the labels go up to 2"));
    CHECK(says(files.complaint("labels = \"\"\ntest_labels = \"\"\nclass_names = [\"a\"]"), "without labels"));
}

TEST_CASE("the fingerprint changes with the files") {
    const SmallSet files;
    const auto before = files.open()->fingerprint();
    CHECK(files.open("limit = 1")->fingerprint() == before);
    write(files.folder / "t10k-labels-idx1-ubyte", idx({2}, {1, 0}));
    CHECK(files.open()->fingerprint() != before);
}

TEST_CASE("an IDX file that is not what it should be is refused by name") {
    const SmallSet files;
    const auto images = (files.folder / "train-images-idx3-ubyte.gz").string(),
               labels = (files.folder / "train-labels-idx1-ubyte").string();
    const auto refused = [](const std::string& complaint, const std::string& file, const std::string& what) {
        INFO(complaint);
        CHECK(says(complaint, file));
        CHECK(says(complaint, what));
    };
    refused(files.complaint("images = \"none\""), "none", "apt-get install dataset-fashion-mnist");
    refused(files.complaint("images = \"train-labels-idx1-ubyte\""), labels, "has 1 dimension, but images have 3");
    refused(files.complaint("labels = \"train-images-idx3-ubyte\""), images, "has 3 dimensions, but labels have 1");
    refused(files.complaint("labels = \"t10k-labels-idx1-ubyte\""), images, "2 labels in");
    refused(files.complaint("labels = \"\""), "", "labels for only one of training and test images");
    refused(files.complaint("limit = 4"), images, "`limit` = 4, but");
    refused(complaint_of([&] { files.open()->examples(at::tensor({3}, at::kLong)); }), images,
            "example 3 was asked for");

    const auto test_images = (files.folder / "t10k-images-idx3-ubyte").string();
    write(test_images, idx({2, 2, 3}, Bytes(12)));
    refused(files.complaint(), "", "training images are 2 × 2, test images 2 × 3");
    write(test_images, idx({2, 2, 2}, Bytes(7)));
    refused(files.complaint(), test_images, "holds 23 bytes, but 2 × 2 × 2 values need 24");
    refused(files.complaint(), test_images, "cut short");
    write(test_images, idx({2, 2, 2}, Bytes(9)));
    refused(files.complaint(), test_images, "appended");
    write(test_images, idx({0, 2, 2}, {}));
    refused(files.complaint(), test_images, "says that its dimensions are 0");
    write(test_images, {});
    refused(files.complaint(), test_images, "is no IDX file");
    write(test_images, {0, 0, 8, 3, 0, 0});
    refused(files.complaint(), test_images, "ends within its header");
    write(test_images, {0, 0, 13, 3});
    refused(files.complaint(), test_images, "type 0x0d, not unsigned bytes");
    write(test_images, {0x89, 'P', 'N', 'G'});
    refused(files.complaint(), test_images, "is no IDX file: it begins with 89 50 4e 47");
}

TEST_CASE("IDX files that are damaged behind a sound header are refused when the set is opened") {
    const SmallSet files;
    const auto images = files.folder / "train-images-idx3-ubyte.gz";
    Bytes values(200 * 16);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<unsigned char>(i * i / 7);
    write_gzip(images, idx({200, 4, 4}, values));
    const auto whole = read(images);
    const auto opening = [&] {
        return complaint_of(
            [&] { files.open("labels = \"\"\ntest_labels = \"\"\ntest_images = \"train-images-idx3-ubyte\""); });
    };
    REQUIRE(opening().empty());
    auto bytes = whole;
    bytes[bytes.size() / 2] ^= 0x55;
    write(images, bytes);
    CHECK(says(opening(), images.string() + " is damaged"));
    bytes = whole;
    bytes.erase(bytes.end() - 40, bytes.end() - 8);  // check sum and size stay
    write(images, bytes);
    CHECK(says(opening(), images.string()));
    bytes.resize(bytes.size() - 30);
    write(images, bytes);
    CHECK(says(opening(), images.string() + " is cut short"));
}

TEST_CASE("an IDX header whose sizes have no product, or that is far smaller than its file, is damage") {
    const SmallSet files;
    const auto images = files.folder / "t10k-images-idx3-ubyte";
    // 2³¹·2³¹·4 is 0 and 2³²−1 squared times 2³¹ is small, counted in 64 bits.
    for (const auto& sizes : {Bytes{0x80, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 4},
                              Bytes{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 0, 0, 0},
                              Bytes{0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0}}) {
        Bytes bytes{0, 0, 8, 3};
        bytes.insert(bytes.end(), sizes.begin(), sizes.end());
        bytes.resize(40);
        write(images, bytes);
        const auto complaint = files.complaint();
        CHECK(says(complaint, images.string() + " says that its dimensions are"));
        CHECK(says(complaint, "damaged"));
    }
    // A thousand times the bytes that the header has room for are not unpacked to be counted.
    auto bomb = idx({2, 2, 2}, Bytes(1 << 20));
    fs::remove(images);
    write_gzip(files.folder / "t10k-images-idx3-ubyte.gz", bomb);
    CHECK(says(files.complaint(), "holds more than the 25 bytes expected"));
    write(images, bomb);
    CHECK(says(files.complaint(), "holds more than the 25 bytes expected"));
}

TEST_CASE("an IDX set without its folder or the name of its files says so") {
    const SmallSet files;
    CHECK(says(complaint_of([] { dataset("idx", "folder = \"/nowhere/at/all\""); }),
               "there is no folder /nowhere/at/all"));
    CHECK(says(files.complaint("images = \"\""), "images without a name | say in `images`"));
}

TEST_CASE("a label that training never shows is refused") {
    const SmallSet files;
    write(files.folder / "t10k-labels-idx1-ubyte", idx({2}, {3, 0}));
    CHECK(says(files.complaint(), "has the label 3, but those for training end at 2"));
}

TEST_CASE("a gzip file that is cut short or damaged is refused, at the latest when it is read") {
    const Folder folder;
    const auto path = folder / "data.gz";
    Bytes content(100'000);
    for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<unsigned char>(i * i % 251);
    write_gzip(path, content);
    const auto whole = read(path);
    CHECK(dtk::read_maybe_gzip(path, content.size()) == content);
    CHECK(dtk::glance(path, 10).size == content.size());
    CHECK(dtk::glance(path, 10).head == Bytes(content.begin(), content.begin() + 10));
    CHECK(says(complaint_of([&] { dtk::read_maybe_gzip(path, content.size() - 1); }), "holds more than"));

    for (std::size_t size = 3; size < whole.size(); size += size < 40 || size + 40 > whole.size() ? 1 : 37) {
        write(path, Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)));
        INFO(size << " bytes of " << whole.size());
        CHECK(says(complaint_of([&] { dtk::read_maybe_gzip(path, 1 << 20); }), path.string()));
    }
    for (std::size_t i = 10; i < whole.size(); i += 53) {
        auto other = whole;
        other[i] ^= 0x40;
        write(path, other);
        INFO("byte " << i << " of " << whole.size());
        CHECK(says(complaint_of([&] { dtk::read_maybe_gzip(path, 1 << 20); }), "is damaged"));
    }
    auto twice = whole;
    twice.insert(twice.end(), whole.begin(), whole.end());
    write(path, twice);
    CHECK(dtk::read_maybe_gzip(path, 1 << 20).size() == 2 * content.size());
}

TEST_CASE("Fashion-MNIST is checked at once and read in half a second") {
    if (!fs::exists("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz")) return;
    using Clock = std::chrono::steady_clock;
    const auto start = Clock::now();
    const auto data = dataset("idx");
    const std::chrono::duration<double> opened = Clock::now() - start;
    const auto first = data->examples(at::arange(60'000));
    const std::chrono::duration<double> loaded = Clock::now() - start;
    WARN(fmt::format("opened in {:.3f} s, 60,000 images as float32 in {:.3f} s", opened.count(), loaded.count()));
    CHECK(data->size() == 60'000);
    CHECK(data->test_size() == 10'000);
    CHECK(data->classes() == 10);
    CHECK(at::bincount(first.condition.label).eq(6000).all().item<bool>());
    CHECK(data->class_counts() == std::vector<std::int64_t>(10, 6000));
    CHECK(data->class_names().at(9) == "Ankle boot");
    // The published mean and spread of the pixels, in 0 … 1.
    const auto pixels = (first.x + 1) / 2;
    CHECK(pixels.mean().item<double>() == Approx(0.2860).margin(1e-4));
    CHECK(pixels.std().item<double>() == Approx(0.3530).margin(1e-4));
}

TEST_CASE("standardised data have mean 0 and variance 1, and noise fills their levels evenly") {
    const SmallSet files;
    const auto inner = files.open();
    const auto data =
        dataset("standardised", fmt::format("of = {{use = \"idx\", folder = \"{}\"}}", files.folder.path.string()));
    CHECK(data->size() == 3);
    CHECK(data->classes() == 3);
    CHECK(data->levels() == 0);
    CHECK_FALSE(data->range());
    CHECK(data->fingerprint() == inner->fingerprint());
    // The noise of an example is its own: one example asked for is the same among others.
    CHECK(at::equal(data->examples(at::tensor({2}, at::kLong)).x[0],
                    data->examples(at::tensor({0, 1, 2}, at::kLong)).x[2]));

    const double step = 2.0 / 255;
    const auto x = inner->examples(at::arange(3, at::kLong)).x.to(at::kDouble);
    const double mean = x.mean().item<double>(),
                 sd = std::sqrt(x.var(/*unbiased=*/false).item<double>() + step * step / 12);
    const auto noise = [&](const dtk::Dataset& of, const Tensor& from, const Tensor& index, bool test) {
        const auto y = (test ? of.test_examples(index) : of.examples(index)).x.to(at::kDouble);
        return ((y * sd + mean - from) / step).flatten();
    };
    const auto u = noise(*data, x, at::arange(3, at::kLong), false);
    CHECK(u.abs().max().item<double>() < 0.5 + 1e-4);
    CHECK(u.max().item<double>() - u.min().item<double>() > 0.3);
    const auto tested = inner->test_examples(at::arange(2, at::kLong)).x.to(at::kDouble);
    CHECK(noise(*data, tested, at::arange(2, at::kLong), true).abs().max().item<double>() < 0.5 + 1e-4);

    // Of data without levels it is an affine map.
    const auto plain = dataset("gaussian_mixture", "preset = \"gmm2d\""),
               moved = dataset("standardised", "of = {use = \"gaussian_mixture\"}\nmeasure = 20000");
    const auto index = at::arange(20000, at::kLong);
    const auto a = plain->examples(index).x.to(at::kDouble), b = moved->examples(index).x.to(at::kDouble);
    CHECK(std::abs(b.mean().item<double>()) < 1e-5);
    CHECK(b.var(/*unbiased=*/false).item<double>() == Approx(1).epsilon(1e-5));
    CHECK(support::distance(b, (a - a.mean()) / a.std(/*unbiased=*/false)) < 1e-5);
    CHECK(says(complaint_of([] {
                   dataset(
                       "standardised",
                       "of = {use = \"gaussian_mixture\", preset = \"none\", means = [[1]], std = [1]}\nmeasure = 1");
               }),
               "the same number"));
}

// ---- Rows of files: NumPy's, and tables.

namespace {

/// A .npy file as NumPy writes it. bytes: the numbers.
std::string npy(const std::string& descr, const std::string& order, const std::string& shape,
                const std::string& bytes) {
    auto header = fmt::format("{{'descr': '{}', 'fortran_order': {}, 'shape': ({}), }}", descr, order, shape);
    header.resize(117, ' ');  // 10 bytes before it: the numbers begin at 128
    return std::string("\x93NUMPY\x01\0", 8) + '\x76' + '\0' + header + "\n" + bytes;
}
template <class T>
std::string bytes_of(const std::vector<T>& numbers) {
    return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}
void write_file(const fs::path& file, const std::string& content) { std::ofstream(file, std::ios::binary) << content; }

/// 20 rows: row i is (i, −i), its class that of i mod 3.
std::string table_of_twenty(const char* separator, bool words) {
    std::string text = fmt::format("class{0}a{0}\"the b\"\n", separator);
    for (int i = 0; i < 20; ++i) {
        const char* word[] = {"bag", "coat", "shoe"};
        text += fmt::format("{1}{0}{2}{0}{3}\n", separator, words ? word[i % 3] : std::to_string(7 * (i % 3)), i, -i);
    }
    return text;
}

std::string refused(const std::string& name, const std::string& fields) {
    return complaint_of([&] { dataset(name, fields); });
}

}  // namespace

TEST_CASE("a table's lines are examples, a column of words their class, and a tenth of each class is held out") {
    const Folder folder;
    for (const char* separator : {",", ";"})
        for (const bool words : {true, false}) {
            write_file(folder / "t.csv", table_of_twenty(separator, words));
            const auto fields = fmt::format("file = \"{}\"\nlabel = \"class\"\nseparator = \"{}\"",
                                            (folder / "t.csv").string(), separator);
            const auto data = dataset("csv", fields);
            CHECK(data->shape() == std::vector<std::int64_t>{2});
            CHECK(data->classes() == 3);
            CHECK(data->class_names() ==
                  (words ? std::vector<std::string>{"bag", "coat", "shoe"} : std::vector<std::string>{"0", "7", "14"}));
            CHECK(data->size() == 17);  // ⌈.7⌉, ⌈.7⌉ and ⌈.6⌉ of 7, 7 and 6 are held out
            CHECK(data->test_size() == 3);
            // Every row once, with its own class.
            const auto kept = data->examples(at::arange(17)), held = data->test_examples(at::arange(3));
            const auto x = at::cat({kept.x, held.x}), label = at::cat({kept.condition.label, held.condition.label});
            CHECK(at::equal(std::get<0>(x.select(1, 0).sort()), at::arange(20, at::kFloat)));
            CHECK(at::equal(x.select(1, 1), -x.select(1, 0)));
            CHECK(at::equal(label, x.select(1, 0).to(at::kLong).remainder(3)));
            CHECK_FALSE(data->fingerprint().empty());
        }
    const auto one = dataset("csv", fmt::format("file = \"{}\"\nseparator = \";\"\ncolumns = [\"the b\"]\ntest = 0.5",
                                                (folder / "t.csv").string()));
    CHECK(one->shape() == std::vector<std::int64_t>{1});
    CHECK(one->classes() == 0);
    CHECK(one->test_size() == 10);
}

TEST_CASE("what a table cannot mean is said with its row and column") {
    const Folder folder;
    const auto said = [&](const std::string& text, const std::string& more = {}) {
        write_file(folder / "t.csv", text);
        return refused("csv", fmt::format("file = \"{}\"\n{}", (folder / "t.csv").string(), more));
    };
    CHECK(says(said(""), "is empty"));
    CHECK(says(said("a,b\n1,2\n3\n"), "row 2: 1 columns where the first line names 2"));
    CHECK(says(said("a,b\n1,2\n3,x\n"), "row 2: `x` in column `b` is no number"));
    CHECK(says(said("a,b\n1,2\n3,\n"), "row 2: `` in column `b` is no number"));
    CHECK(says(said("a,b\n1,nan\n3,4\n"), "no finite number"));
    CHECK(says(said("a,b\n1,2\n", "columns = [\"c\"]"), "has no column `c`"));
    CHECK(says(said("a,b\n1,2\n", "columns = [\"a\", \"a\"]"), "named twice"));
    CHECK(says(said("a,b\n1,2\n", "label = \"c\""), "has no column `c`"));
    CHECK(says(said("a,b\n1,\"2\n"), "quote"));
    CHECK(says(refused("csv", "file = \"nowhere.csv\""), "nowhere.csv"));
}

TEST_CASE("rows of NumPy's files are read whatever their type and order") {
    const Folder folder;
    std::vector<double> doubles;
    for (int i = 0; i < 40; ++i) doubles.push_back(0.5 * i);
    const std::vector<float> floats(doubles.begin(), doubles.end());
    std::vector<double> turned;  // column by column
    for (int j = 0; j < 2; ++j)
        for (int i = 0; i < 20; ++i) turned.push_back(doubles[2 * i + j]);
    write_file(folder / "d.npy", npy("<f8", "False", "20, 2", bytes_of(doubles)));
    write_file(folder / "f.npy", npy("<f4", "False", "20, 2", bytes_of(floats)));
    write_file(folder / "t.npy", npy("<f8", "True", "20, 2", bytes_of(turned)));
    std::vector<std::int64_t> labels;
    for (int i = 0; i < 20; ++i) labels.push_back(5 - i % 2);
    write_file(folder / "l.npy", npy("<i8", "False", "20,", bytes_of(labels)));
    dtk::write_npz(folder / "z.npz",
                   {dtk::NumpyArray::of("points", doubles, {20, 2}), dtk::NumpyArray::of("which", labels)});
    const auto path = [&](const char* name) { return (folder / name).string(); };
    const auto l = fmt::format("\nlabels_file = \"{}\"", path("l.npy"));
    for (const auto& fields :
         {fmt::format("file = \"{}\"", path("d.npy")) + l, fmt::format("file = \"{}\"", path("f.npy")) + l,
          fmt::format("file = \"{}\"", path("t.npy")) + l,
          fmt::format("file = \"{}\"\nx = \"points\"\nlabels = \"which\"", path("z.npz"))}) {
        INFO(fields);
        const auto data = dataset("arrays", fields);
        CHECK(data->shape() == std::vector<std::int64_t>{2});
        CHECK(data->class_names() == std::vector<std::string>{"4", "5"});
        CHECK(data->class_counts() == std::vector<std::int64_t>{9, 9});
        REQUIRE(data->size() == 18);
        const auto kept = data->examples(at::arange(18)), held = data->test_examples(at::arange(2));
        const auto x = at::cat({kept.x, held.x}), label = at::cat({kept.condition.label, held.condition.label});
        CHECK(at::equal(std::get<0>(x.select(1, 0).sort()), at::arange(20, at::kFloat)));
        CHECK(at::equal(x.select(1, 1), x.select(1, 0) + 0.5));
        CHECK(at::equal(label, 1 - x.select(1, 0).to(at::kLong).remainder(2)));
    }
    CHECK(says(refused("arrays", fmt::format("file = \"{}\"", path("z.npz"))), "holds 2 arrays"));
    CHECK(says(refused("arrays", fmt::format("file = \"{}\"\nx = \"p\"", path("z.npz"))), "has no array `p`"));
}

TEST_CASE("NumPy's images of 8 bits fill [-1, 1], their channels first") {
    const Folder folder;
    std::vector<unsigned char> pixels;
    for (int i = 0; i < 4 * 2 * 3 * 3; ++i) pixels.push_back(static_cast<unsigned char>(i));
    const auto of = [&](const char* shape) {
        write_file(folder / "p.npy", npy("|u1", "False", shape, bytes_of(pixels)));
        return dataset("arrays", fmt::format("file = \"{}\"\ntest = 0.25", (folder / "p.npy").string()));
    };
    const auto last = of("4, 2, 3, 3");  // [n, H, W, C]
    CHECK(last->levels() == 256);
    CHECK(last->range() == std::pair(-1.0, 1.0));
    CHECK(last->shape() == std::vector<std::int64_t>{3, 2, 3});
    // Pixel (1, 2) of channel 1 of the first image is byte (1·3 + 2)·3 + 1.
    CHECK(last->examples(at::zeros({1}, at::kLong)).x[0][1][1][2].item<float>() == Approx(2 * 16 / 255.0 - 1));
    const auto grey = of("4, 6, 3");
    CHECK(grey->shape() == std::vector<std::int64_t>{1, 6, 3});
    CHECK(grey->examples(at::zeros({1}, at::kLong)).x[0][0][0][1].item<float>() == Approx(2 * 1 / 255.0 - 1));
    const auto first = of("4, 3, 2, 3");  // [n, C, H, W]
    CHECK(first->shape() == std::vector<std::int64_t>{3, 2, 3});
    CHECK(first->examples(at::zeros({1}, at::kLong)).x[0][1][1][2].item<float>() == Approx(2 * 11 / 255.0 - 1));
    CHECK(says(refused("arrays", fmt::format("file = \"{}\"\nrange = [0, 1]", (folder / "p.npy").string())), "range"));
}

TEST_CASE("a damaged file of NumPy's is refused in words") {
    const Folder folder;
    const auto file = folder / "x.npy";
    const auto said = [&](const std::string& content) {
        write_file(file, content);
        return refused("arrays", fmt::format("file = \"{}\"", file.string()));
    };
    const auto numbers = bytes_of(std::vector<float>(8, 1));
    CHECK(says(said(""), "is empty"));
    CHECK(says(said("hello, I am no array"), "no file of NumPy's"));
    CHECK(says(said(npy("<f4", "False", "8, 2", numbers)), "its header says 64"));
    CHECK(says(said(npy("<f4", "False", "99999999999999999999, 2", numbers)), "more than the file holds"));
    CHECK(says(said(npy("<f4", "False", "4, 2", numbers).substr(0, 150)), "its header says"));
    CHECK(says(said(npy("<f4", "False", "4, 2", numbers).substr(0, 60)), "within its header"));
    CHECK(says(said(npy(">f4", "False", "4, 2", numbers)), "big-endian"));
    CHECK(says(said(npy("|O", "False", "4, 2", numbers)), "not numbers that dtk reads"));
    CHECK(says(said(npy("<f4", "False", "4, 2", bytes_of(std::vector<float>(8, NAN)))), "no finite number"));
}
