#include "engine/sample_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dtk/safetensors.hpp>

#include "base/files.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

/// A file that is looked at through memory.
class Mapped {
 public:
    explicit Mapped(int descriptor) : descriptor_(descriptor) {}
    Mapped(const Mapped&) = delete;
    Mapped& operator=(const Mapped&) = delete;
    ~Mapped() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }

    static Mapped existing(const fs::path& file) { return Mapped(::open(file.c_str(), O_RDONLY | O_CLOEXEC)); }
    /// Without a name, gone with this program.
    static Mapped nameless_in(const fs::path& folder) {
        const auto name = temporary_beside(folder / "start");
        const int descriptor = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        ::unlink(name.c_str());
        return Mapped(descriptor);
    }

    void write(const Tensor& some, const fs::path& folder) const {
        OutputFile(descriptor_, folder).write(some.const_data_ptr(), some.nbytes());
    }

    /// What is written to the tensor is not written to the file.
    Tensor tensor(std::uint64_t offset, at::IntArrayRef sizes, at::ScalarType type) const {
        std::size_t bytes = offset + c10::elementSize(type);
        for (const auto size : sizes) bytes += (bytes - offset) * static_cast<std::size_t>(size - 1);
        auto* all = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, descriptor_, 0);
        if (all == MAP_FAILED)
            throw Error(fmt::format("the samples cannot be looked at: {}", std::strerror(errno)),
                        "is there memory, and room for the file?");
        return at::from_blob(
            static_cast<char*>(all) + offset, sizes, [all, bytes](void*) { ::munmap(all, bytes); },
            at::TensorOptions(type));
    }

 private:
    int descriptor_;
};

Tensor labels_of_rows(const Tensor& classes, std::int64_t n) {
    return classes.repeat({(n + classes.numel() - 1) / classes.numel()}).slice(0, 0, n).contiguous();
}

}  // namespace

SampleFile draw_into(const fs::path& file, const Stage& stage, const SampleSettings& settings, at::Device device,
                     Progress::Mode progress, std::map<std::string, std::string> metadata, bool want_start) {
    SampleFile drawn;
    const auto rows_of = [&](std::vector<std::int64_t> shape) {
        shape.insert(shape.begin(), settings.n);
        return shape;
    };
    const auto sizes = rows_of(stage.dataset().shape());
    const auto type = settings.precision == "float64" ? at::kDouble : at::kFloat;
    Safetensors content{{{"samples", at::empty(sizes, at::TensorOptions(at::kMeta).dtype(type))}}, std::move(metadata)};
    if (const auto classes = classes_in_turn(stage, settings); classes.defined() && stage.looks_at_classes()) {
        content.tensors["labels"] = labels_of_rows(classes, settings.n);
        if (const auto names = stage.classes().names; !names.empty())
            content.metadata["class_names"] = nlohmann::json(names).dump();
    }
    const auto starts = Mapped::nameless_in(file.parent_path());
    std::uint64_t offset = 0;
    write_atomically(file, [&](OutputFile& to) {
        const auto start = safetensors_start(file, content);
        to.write(start);
        offset = start.size();
        if (const auto labels = content.tensors.find("labels"); labels != content.tensors.end()) {
            to.write(labels->second.const_data_ptr(), labels->second.nbytes());
            offset += labels->second.nbytes();
        }
        drawn.evaluations = draw_samples(
            stage, settings, device, progress,
            [&](const Tensor& samples, const Tensor& start_of_them) {
                const auto whole = samples.to(type).contiguous();
                drawn.not_finite += (~at::isfinite(whole.flatten(1)).all(1)).sum().item<std::int64_t>();
                to.write(whole.const_data_ptr(), whole.nbytes());
                if (want_start) starts.write(start_of_them.to(type).contiguous(), file.parent_path());
            },
            &drawn.trajectory);
    });
    drawn.samples = Mapped::existing(file).tensor(offset, sizes, type);
    if (want_start) drawn.start = starts.tensor(0, rows_of(stage.space().shape), type);
    return drawn;
}

}  // namespace dtk
