#include "study/sample_images.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "base/engine.hpp"
#include "base/files.hpp"
#include "base/json.hpp"
#include "base/names.hpp"
#include "base/npz.hpp"
#include "base/picture.hpp"
#include "base/progress.hpp"
#include "base/tensor_file.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

std::vector<std::string> names_in(TensorHeader& header) {
    const auto list = nlohmann::json::parse(header.metadata["class_names"], nullptr, false);
    std::vector<std::string> names;
    if (list.is_array())
        for (const auto& name : list) names.push_back(name.is_string() ? name.get<std::string>() : "");
    return names;
}

/// The samples of a run, image by image.
class SampleImages {
 public:
    explicit SampleImages(fs::path path) : path_(std::move(path)), file_(path_) {
        auto header = read_tensor_header(file_, path_);
        const auto found = header.entries.find("samples");
        if (found == header.entries.end()) throw UserError(fmt::format("{} holds no samples", path_.string()));
        const auto& samples = found->second;
        if (samples.shape.size() != 4 || (samples.shape[1] != 1 && samples.shape[1] != 3))
            throw UserError(fmt::format("{} holds no images of one or three channels", path_.string()),
                            "its samples as they are: dtk export … --to npz");
        if (samples.dtype != "F32" && samples.dtype != "F64")
            throw UserError(fmt::format("the samples in {} are {}", path_.string(), samples.dtype));
        std::istringstream range(header.metadata["range"]);
        if (!(range >> least_ >> most_) || most_ <= least_)
            throw UserError(fmt::format("{} does not say which values are black and white", path_.string()),
                            "its data have no range, or it is of an older dtk: draw the samples again with dtk sample");
        count = samples.shape[0], channels = samples.shape[1], height = samples.shape[2], width = samples.shape[3];
        offset_ = samples.offset, wide_ = samples.dtype == "F64";
        if (const auto labels = header.entries.find("labels"); labels != header.entries.end()) {
            std::string bytes(labels->second.bytes, '\0');
            file_.read(labels->second.offset, bytes.data(), bytes.size());
            labels_.resize(static_cast<std::size_t>(count));
            if (bytes.size() != labels_.size() * sizeof(std::int64_t))
                throw UserError(fmt::format("{} holds another number of labels than of samples", path_.string()));
            std::memcpy(labels_.data(), bytes.data(), bytes.size());
            names_ = names_in(header);
        }
    }

    /// Of the classes that were asked for; empty where there are none.
    const std::vector<std::int64_t>& labels() const { return labels_; }
    /// What class 0, 1, … is called; empty where they are numbers.
    const std::vector<std::string>& names() const { return names_; }
    std::string name(std::int64_t label) const {
        const auto place = static_cast<std::size_t>(label);
        return label >= 0 && place < names_.size() ? names_[place] : std::to_string(label);
    }
    std::size_t pixels() const { return static_cast<std::size_t>(channels * height * width); }

    /// Rows from the top, channels last: the middle of the range is 127.5, rounded and kept within 0 … 255.
    std::string image(std::int64_t number) const {
        const std::size_t size = wide_ ? 8 : 4, area = static_cast<std::size_t>(height * width);
        std::string raw(pixels() * size, '\0'), bytes(pixels(), '\0');
        file_.read(offset_ + static_cast<std::uint64_t>(number) * raw.size(), raw.data(), raw.size());
        for (std::size_t i = 0; i < pixels(); ++i) {
            double value = 0;
            if (float narrow = 0; wide_)
                std::memcpy(&value, raw.data() + i * size, size);
            else
                std::memcpy(&narrow, raw.data() + i * size, size), value = static_cast<double>(narrow);
            const double level = std::nearbyint((value - least_) * (255 / (most_ - least_)));
            const auto channel = i / area, place = i % area;
            bytes[place * static_cast<std::size_t>(channels) + channel] =
                static_cast<char>(static_cast<unsigned char>(std::isnan(level) ? 0 : std::clamp(level, 0.0, 255.0)));
        }
        return bytes;
    }

    std::int64_t count = 0, channels = 0, height = 0, width = 0;

 private:
    fs::path path_;
    InputFile file_;
    std::uint64_t offset_ = 0;
    bool wide_ = false;
    double least_ = 0, most_ = 0;
    std::vector<std::int64_t> labels_;
    std::vector<std::string> names_;
};

/// The folder of a class: its name, with its number before it where the name cannot be a folder's.
std::string folder_of(std::int64_t label, std::string name) {
    if (name_problem(name).empty()) return name;
    for (auto& c : name)
        if (c == '/' || static_cast<unsigned char>(c) < ' ') c = '_';
    return fmt::format("{} {}", label, name);
}

/// One of very many files, which nobody waits for the disk for.
void write_quickly(const fs::path& path, const std::string& bytes) {
    std::ofstream file(path, std::ios::binary);
    file << bytes;
    file.close();
    if (!file) throw Error(fmt::format("cannot write {}", path.string()), "is there room on the disk?");
}

/// The folder with the samples of a run, or of its last stage that drew some.
fs::path drawn_in(const Record& record) {
    const auto stages = stages_of(record);
    for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage)
        if (fs::exists(stage->second / "samples.safetensors")) return stage->second;
    throw UserError(fmt::format("{} holds no samples", record.folder.string()), "draw some: dtk sample");
}

}  // namespace

std::vector<std::string> class_names_of(const fs::path& samples) {
    auto header = read_tensor_header(InputFile(samples), samples);
    return names_in(header);
}

void export_images(const Record& record, const fs::path& folder) {
    const SampleImages images(drawn_in(record) / "samples.safetensors");
    const int digits = std::max<int>(6, static_cast<int>(std::to_string(images.count - 1).size()));
    std::string table = "file,label,name\n";
    Progress progress("export", images.count);
    for (std::int64_t i = 0; i < images.count; ++i) {
        auto into = folder;
        const auto file = fmt::format("{:0{}}.png", i, digits);
        if (!images.labels().empty()) {
            const auto label = images.labels()[static_cast<std::size_t>(i)];
            const auto own = folder_of(label, images.name(label));
            into /= own;
            table += fmt::format("{},{},{}\n", csv_field(own + "/" + file), label, csv_field(images.name(label)));
        }
        fs::create_directories(into);
        const auto bytes = images.image(i);
        const std::span pixels(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
        write_quickly(into / file,
                      png_of({pixels, 1, images.height, images.width, images.channels}, {.columns = 1, .scale = 1}));
        progress.at(i + 1);
    }
    progress.finish();
    if (!images.labels().empty()) write_atomically(folder / "labels.csv", table);
}

void export_uint8(const Record& record, const fs::path& file) {
    const SampleImages images(drawn_in(record) / "samples.safetensors");
    std::vector<NumpyArray> arrays{{.name = "arr_0",
                                    .descr = "|u1",
                                    .shape = {images.count, images.height, images.width, images.channels},
                                    .bytes = {}}};
    arrays[0].pieces = [&](const auto& take) {
        for (std::int64_t i = 0; i < images.count; ++i) take(images.image(i));
    };
    if (!images.labels().empty()) arrays.push_back(NumpyArray::of("arr_1", images.labels()));
    if (!images.names().empty()) arrays.push_back(NumpyArray::of("class_names", images.names()));
    write_npz(file, arrays);
}

}  // namespace dtk
