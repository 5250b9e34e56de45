// Examples that NumPy has written: rows of a .npy file, which is mapped and not read, or of an array in a .npz file.
// uint8 arrays of three or four dimensions are images: [n, H, W], [n, H, W, C] or [n, C, H, W] with one or three
// channels, their 256 values spread over [−1, 1].
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/build_context.hpp>
#include <dtk/numpy.hpp>
#include <dtk/rows_dataset.hpp>

namespace {

namespace fs = std::filesystem;
using at::Tensor;

struct Arrays final : dtk::RowsDataset {
    struct Config {
        fs::path file, labels_file, test_file, test_labels_file;
        std::string x, labels;
        double test = 0.1;
        std::vector<double> range;
        void fields(dtk::Fields& f) {
            f.required("file", file, "a .npy or .npz file; row i of its array is example i");
            f("x", x, "of a .npz file: the array; empty: the one called x, samples or arr_0, or the only one");
            f("labels", labels, "of a .npz file: the array of the classes; empty: without classes");
            f("labels_file", labels_file, "a .npy file with the class of each row; empty: without classes");
            f("test_file", test_file, "rows that training never sees; empty: a share of `file` is held out");
            f("test_labels_file", test_labels_file, "a .npy file with the class of each of those");
            f("test", test, dtk::inside(0, 1), "share of each class that is held out, evenly along the file");
            f("range", range, dtk::any_number(), "least and greatest value, if they have a range: [-1, 1]");
            f.require(range.empty() || (range.size() == 2 && range[0] < range[1]), "range", "is not two rising numbers",
                      "write range = [-1, 1]");
        }
    };
    explicit Arrays(const Config& c) : RowsDataset(source(c)) {}

 private:
    static dtk::RowsSource source(const Config& c) {
        dtk::RowsSource source;
        source.train = rows(c.file, c.labels_file, c);
        source.held_out = c.test;
        source.files = {c.file};
        if (!c.test_file.empty()) source.test = rows(c.test_file, c.test_labels_file, c);
        for (const auto& file : {c.labels_file, c.test_file, c.test_labels_file})
            if (!file.empty()) source.files.push_back(file);
        if (!c.range.empty()) source.range = {c.range[0], c.range[1]};
        const auto& x = source.train.x;
        source.pixels = x.scalar_type() == at::kByte && (x.dim() == 3 || x.dim() == 4);
        if (source.pixels) {
            if (!c.range.empty()) throw dtk::Error("`range` is not for images of 8 bits", "theirs is [-1, 1]");
            source.range = {-1.0, 1.0};
            const auto colours = [](std::int64_t n) { return n == 1 || n == 3; };
            if (x.dim() == 4 && !colours(x.size(1)) && !colours(x.size(3)))
                throw dtk::Error(fmt::format("images of shape {} have no dimension of one or three channels",
                                             fmt::join(x.sizes().slice(1), "×")),
                                 "write [n, H, W], [n, H, W, C] or [n, C, H, W]");
        }
        return source;
    }

    static dtk::Rows rows(const fs::path& file, const fs::path& labels_file, const Config& c) {
        dtk::Rows rows;
        Tensor label;
        if (file.extension() == ".npz") {
            const auto arrays = dtk::load_npz(file);
            rows.x = chosen(arrays, c.x, file);
            if (!c.labels.empty()) label = named(arrays, c.labels, file);
        } else {
            if (!c.x.empty() || !c.labels.empty())
                throw dtk::Error(
                    fmt::format("`x` and `labels` name arrays of a .npz file, and {} is none", file.string()),
                    "say in `labels_file` where the classes are");
            rows.x = dtk::load_npy(file);
        }
        if (!labels_file.empty()) {
            if (label.defined()) throw dtk::Error("`labels` and `labels_file` are both given", "leave one of them out");
            label = dtk::load_npy(labels_file);
        }
        if (label.defined()) rows.label = texts(label);
        return rows;
    }

    static Tensor named(const std::map<std::string, Tensor>& arrays, const std::string& name, const fs::path& file) {
        if (const auto found = arrays.find(name); found != arrays.end()) return found->second;
        std::vector<std::string> names;
        for (const auto& [one, array] : arrays) names.push_back(one);
        throw dtk::Error(fmt::format("{} has no array `{}`", file.string(), name),
                         fmt::format("it has {}", fmt::join(names, ", ")));
    }

    static Tensor chosen(const std::map<std::string, Tensor>& arrays, const std::string& name, const fs::path& file) {
        if (!name.empty()) return named(arrays, name, file);
        for (const char* usual : {"x", "samples", "arr_0"})
            if (const auto found = arrays.find(usual); found != arrays.end()) return found->second;
        if (arrays.size() == 1) return arrays.begin()->second;
        throw dtk::Error(fmt::format("{} holds {} arrays", file.string(), arrays.size()), "say which in `x`");
    }

    static std::vector<std::string> texts(const Tensor& label) {
        if (label.dim() != 1 || (label.is_floating_point() && !(label == label.round()).all().item<bool>()))
            throw dtk::Error(
                fmt::format("labels of shape {} are not one whole number for each row", fmt::join(label.sizes(), "×")),
                "write an array of integers, [n]");
        const auto numbers = label.to(at::kLong).contiguous();
        std::vector<std::string> all;
        for (std::int64_t i = 0; i < numbers.numel(); ++i)
            all.push_back(fmt::format("{}", numbers.const_data_ptr<std::int64_t>()[i]));
        return all;
    }
};
}  // namespace

DTK_PLUGIN(Dataset, arrays, Arrays, "rows of NumPy's files, .npy and .npz, with labels or without")
