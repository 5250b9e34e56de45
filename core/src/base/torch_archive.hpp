#pragma once
// Files of PyTorch's torch.save, read as data: nothing that they name is imported, nothing that they call is called.
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

/// A tensor as a view of one of the archive's storages, which holds all that it reaches.
struct ArchivedTensor {
    std::string storage;  ///< its key
    std::string dtype;    ///< as safetensors calls it: "F32", "I64", …; "C64", "C128" for complex numbers
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> stride;  ///< in elements, not negative
    std::int64_t offset;               ///< in elements
};

class DTK_API TorchArchive {
 public:
    /// Reads all but the values. Errors: Error for what is damaged, of another format, or carries code.
    explicit TorchArchive(const std::filesystem::path& path);
    ~TorchArchive();

    /// By the keys that lead to them, as "model.conv.weight".
    const std::map<std::string, ArchivedTensor>& tensors() const { return tensors_; }
    /// Numbers and texts, by the keys that lead to them.
    const std::map<std::string, std::string>& settings() const { return settings_; }
    /// What is neither, and was left alone: the keys that lead to it, and the name of its class.
    const std::map<std::string, std::string>& others() const { return others_; }
    std::uint64_t bytes_of(const std::string& storage) const { return storages_.at(storage).bytes; }
    /// Reads the values of a storage into room for bytes_of it. Errors: Error where it is damaged.
    void read(const std::string& storage, void* to) const;

 private:
    class Zip;
    class Walk;
    struct Storage {
        std::string dtype;    ///< empty: each tensor says its own
        std::uint64_t entry;  ///< number in the archive
        std::uint64_t bytes;
    };

    std::filesystem::path path_;
    std::unique_ptr<Zip> zip_;
    std::map<std::string, Storage> storages_;
    std::map<std::string, ArchivedTensor> tensors_;
    std::map<std::string, std::string> settings_, others_;
};

}  // namespace dtk
