// Images in the IDX format of MNIST and Fashion-MNIST, plain or gzip: two zero bytes, the type (8: unsigned byte), the
// number of dimensions, each dimension as a big-endian 32-bit number, then the values (LeCun, Cortes & Burges 1998).
// A value v of 0 … 255 becomes x = 2 v/255 − 1.
#include <array>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/sha.h>

#include <dtk/build_context.hpp>
#include <dtk/dataset.hpp>
#include <dtk/gzip.hpp>
#include <filesystem>
#include <mutex>

namespace {

namespace fs = std::filesystem;
using at::Tensor;

constexpr std::uint64_t most_bytes = std::uint64_t{1} << 34;
constexpr std::int64_t quick_pixels = 100'000'000;  // less than a second's reading

/// Xiao, Rasul & Vollgraf, "Fashion-MNIST", 2017, whose training set is known by the SHA-256 of its labels.
constexpr const char* fashion_labels = "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7";
const std::vector<std::string> fashion_names{"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
                                             "Sandal",      "Shirt",   "Sneaker",  "Bag",   "Ankle boot"};

/// The file of that name in the folder, with or without .gz.
fs::path found(const fs::path& folder, const std::string& name) {
    std::error_code error;
    if (!fs::is_directory(folder, error))
        throw dtk::Error(fmt::format("there is no folder {}", folder.string()),
                         "say in `folder` where the files are, or for Debian's: apt-get install dataset-fashion-mnist");
    if (name.empty())
        throw dtk::Error("images without a name", "say in `images` and `test_images` what their files are called");
    for (const auto& candidate : {folder / name, folder / (name + ".gz")})
        if (fs::is_regular_file(candidate, error)) return candidate;
    throw dtk::Error(fmt::format("there is no file {}, nor {}.gz", (folder / name).string(), name),
                     "apt-get install dataset-fashion-mnist, or say in `folder` where the files are");
}

/// One IDX file of bytes. Its header and its length are checked when it is named, its content when it is read.
class IdxFile {
 public:
    IdxFile(fs::path path, std::size_t dimensions, const char* what) : path_(std::move(path)) {
        const auto seen = dtk::glance(path_, 4 + 4 * dimensions);
        check_magic(seen.head, dimensions, what);
        std::uint64_t values = 1;
        for (std::size_t i = 0; i < dimensions; ++i) {
            shape_.push_back(big_endian(seen.head, 4 + 4 * i));
            const auto size = static_cast<std::uint64_t>(shape_.back());
            if (size == 0 || size > most_bytes / values)
                throw dtk::Error(
                    fmt::format("{} says that its dimensions are {}", path_.string(), fmt::join(shape_, " × ")),
                    "the file is damaged: fetch it again");
            values *= size;
        }
        bytes_ = 4 + 4 * dimensions + values;
        if (seen.size != bytes_) read();
    }

    const fs::path& path() const { return path_; }
    const std::vector<std::int64_t>& shape() const { return shape_; }
    std::int64_t count() const { return shape_.front(); }

    /// Its values. No more is read than the header says and one byte, which shows that there is more. → uint8 of
    /// shape()
    Tensor read() const {
        auto bytes = std::make_shared<std::vector<unsigned char>>(dtk::read_maybe_gzip(path_, bytes_ + 1));
        if (bytes->size() != bytes_)
            throw dtk::Error(fmt::format("{} holds {} bytes, but {} values need {}", path_.string(), bytes->size(),
                                         fmt::join(shape_, " × "), bytes_),
                             bytes->size() < bytes_ ? "the file is cut short: fetch it again"
                                                    : "the file has something appended: fetch it again");
        auto* values = bytes->data() + 4 + 4 * shape_.size();
        return at::from_blob(
            values, shape_, [bytes](void*) {}, at::kByte);
    }

 private:
    static std::int64_t big_endian(const std::vector<unsigned char>& b, std::size_t i) {
        return static_cast<std::int64_t>(b[i]) << 24 | b[i + 1] << 16 | b[i + 2] << 8 | b[i + 3];
    }

    void check_magic(const std::vector<unsigned char>& head, std::size_t dimensions, const char* what) const {
        if (head.size() < 4 || head[0] != 0 || head[1] != 0)
            throw dtk::Error(
                fmt::format(
                    "{} is no IDX file: it begins with {:02x}", path_.string(),
                    fmt::join(head.begin(),
                              head.begin() + static_cast<std::ptrdiff_t>(std::min<std::size_t>(head.size(), 4)), " ")),
                fmt::format("IDX files of {} begin with 00 00 08 {:02x}", what, dimensions));
        if (head[2] != 8)
            throw dtk::Error(
                fmt::format("the values of {} have type {:#04x}, not unsigned bytes (0x08)", path_.string(), head[2]),
                "only 8-bit IDX files can be read");
        if (head[3] != dimensions)
            throw dtk::Error(fmt::format("{} has {} dimension{}, but {} have {}", path_.string(), head[3],
                                         head[3] == 1 ? "" : "s", what, dimensions),
                             "were images and labels exchanged?");
        if (head.size() < 4 + 4 * dimensions)
            throw dtk::Error(fmt::format("{} ends within its header", path_.string()),
                             "the file is cut short: fetch it again");
    }

    fs::path path_;
    std::vector<std::int64_t> shape_;
    std::uint64_t bytes_ = 0;
};

/// Is it the first time that this process asks for the file as it is? A study's arms are checked one after the other,
/// and what the first of them has read whole without damage need not be read again.
bool is_new(const fs::path& file) {
    static std::mutex mutex;
    static std::set<std::tuple<fs::path, std::uintmax_t, fs::file_time_type>> known;
    const std::lock_guard lock(mutex);
    return known.emplace(file, fs::file_size(file), fs::last_write_time(file)).second;
}

/// Images and, if a name for them is given, their labels. Where there are many, pixels are read when they are first
/// asked for.
class Images {
 public:
    Images(const fs::path& folder, const std::string& images, const std::string& labels, std::int64_t limit)
        : images_(found(folder, images), 3, "images"), limit_(limit) {
        if (limit > images_.count())
            throw dtk::Error(
                fmt::format("`limit` = {}, but {} holds {} images", limit, images_.path().string(), images_.count()));
        files_.push_back(images_.path());
        if (images_.count() * height() * width() <= quick_pixels && is_new(images_.path()))
            pixels();  // so that damage is found before anything is trained
        if (labels.empty()) return;
        const IdxFile file(found(folder, labels), 1, "labels");
        if (file.count() != images_.count())
            throw dtk::Error(fmt::format("{} labels in {}, but {} images in {}", file.count(), file.path().string(),
                                         images_.count(), images_.path().string()),
                             "are the two files from one set?");
        labels_ = file.read().to(at::kLong);
        files_.push_back(file.path());
    }

    std::int64_t height() const { return images_.shape()[1]; }
    std::int64_t width() const { return images_.shape()[2]; }
    std::int64_t size() const { return limit_ > 0 ? limit_ : images_.count(); }
    const Tensor& labels() const { return labels_; }
    const std::vector<fs::path>& files() const { return files_; }

    dtk::Batch at(const Tensor& index) const {
        if (index.numel() > 0 && (index.min().item<std::int64_t>() < 0 || index.max().item<std::int64_t>() >= size()))
            throw dtk::Error(fmt::format("example {} was asked for, but {} has {}", index.max().item<std::int64_t>(),
                                         images_.path().string(), size()));
        const auto x = pixels().index_select(0, index).unsqueeze(1).to(at::kFloat).mul_(2).sub_(255).div_(255);
        return {x, labels_.defined() ? labels_.index_select(0, index) : Tensor()};
    }

 private:
    const Tensor& pixels() const {
        std::call_once(once_, [&] { pixels_ = images_.read().slice(0, 0, size()); });
        return pixels_;
    }

    IdxFile images_;
    std::int64_t limit_;
    Tensor labels_;
    std::vector<fs::path> files_;
    mutable std::once_flag once_;
    mutable Tensor pixels_;
};

struct Idx final : dtk::Dataset {
    struct Config {
        fs::path folder = "/usr/share/datasets/fashion-mnist";
        std::string images = "train-images-idx3-ubyte", labels = "train-labels-idx1-ubyte";
        std::string test_images = "t10k-images-idx3-ubyte", test_labels = "t10k-labels-idx1-ubyte";
        std::vector<std::string> class_names;
        std::int64_t limit = 0;
        void fields(dtk::Fields& f) {
            f("folder", folder, "where the files are; those of Debian's dataset-fashion-mnist unless said otherwise");
            f("images", images, "training images, with or without .gz");
            f("labels", labels, "their labels; empty: without labels");
            f("test_images", test_images, "images that training never sees");
            f("test_labels", test_labels, "their labels; empty: without labels");
            f("class_names", class_names,
              "what label 0, 1, … is called; empty: by its number, or as Fashion-MNIST has it where the labels are "
              "its");
            f("limit", limit, dtk::at_least(0), "train with the first so many images; 0: all");
        }
    };

    explicit Idx(const Config& c)
        : train_(c.folder, c.images, c.labels, c.limit), test_(c.folder, c.test_images, c.test_labels, 0) {
        if (train_.height() != test_.height() || train_.width() != test_.width())
            throw dtk::Error(fmt::format("training images are {} × {}, test images {} × {}", train_.height(),
                                         train_.width(), test_.height(), test_.width()),
                             "are they from one set?");
        if (c.labels.empty() != c.test_labels.empty())
            throw dtk::Error("labels for only one of training and test images",
                             "give both `labels` and `test_labels`, or leave both empty");
        if (!train_.labels().defined()) {
            if (!c.class_names.empty())
                throw dtk::Error("`class_names` without labels",
                                 "name the files of the labels in `labels` and `test_labels`");
            return;
        }
        classes_ = train_.labels().max().item<std::int64_t>() + 1;
        if (const auto most = test_.labels().max().item<std::int64_t>(); most >= classes_)
            throw dtk::Error(fmt::format("{} has the label {}, but those for training end at {}",
                                         test_.files().back().string(), most, classes_ - 1),
                             "are they from one set?");
        name_classes(c.class_names);
    }

    std::vector<std::int64_t> shape() const override { return {1, train_.height(), train_.width()}; }
    std::int64_t size() const override { return train_.size(); }
    dtk::Batch examples(const Tensor& index) const override { return train_.at(index); }
    std::int64_t test_size() const override { return test_.size(); }
    dtk::Batch test_examples(const Tensor& index) const override { return test_.at(index); }
    std::int64_t classes() const override { return classes_; }
    std::vector<std::string> class_names() const override { return names_; }
    std::vector<std::int64_t> class_counts() const override {
        if (classes_ == 0) return {};
        const auto counts = at::bincount(train_.labels().slice(0, 0, train_.size()), {}, classes_);
        return {counts.const_data_ptr<std::int64_t>(), counts.const_data_ptr<std::int64_t>() + classes_};
    }
    std::optional<std::pair<double, double>> range() const override { return std::pair(-1.0, 1.0); }
    int levels() const override { return 256; }
    std::string fingerprint() const override {
        auto files = train_.files();
        files.insert(files.end(), test_.files().begin(), test_.files().end());
        return dtk::sha256_of_files(files);
    }

 private:
    void name_classes(const std::vector<std::string>& names) {
        if (names.empty()) {
            const auto labels = train_.labels().to(at::kByte).contiguous();
            std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
            SHA256(labels.const_data_ptr<unsigned char>(), static_cast<std::size_t>(labels.numel()), digest.data());
            if (fmt::format("{:02x}", fmt::join(digest, "")) == fashion_labels) names_ = fashion_names;
            return;
        }
        if (static_cast<std::int64_t>(names.size()) < classes_)
            throw dtk::Error(fmt::format("{} `class_names`, and the labels go up to {}", names.size(), classes_ - 1),
                             "give one for each label from 0 on");
        if (std::set(names.begin(), names.end()).size() < names.size() || std::ranges::count(names, "") > 0)
            throw dtk::Error("two of `class_names` are the same, or one is empty", "give each label a name of its own");
        names_ = names;
        classes_ = static_cast<std::int64_t>(names.size());
    }

    Images train_, test_;
    std::int64_t classes_ = 0;
    std::vector<std::string> names_;
};

}  // namespace

DTK_PLUGIN(Dataset, idx, Idx, "grey images in the files of MNIST and Fashion-MNIST")
