// A file of torch.save since PyTorch 1.6 is a ZIP archive: NAME/data.pkl, a pickle in which tensors are calls of
// rebuild functions on storages, and NAME/data/KEY, the bytes of each storage (torch/serialization.py,
// torch/_utils.py).
#include "base/torch_archive.hpp"

#include <array>
#include <limits>
#include <optional>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <zip.h>

#include <dtk/error.hpp>

#include "base/files.hpp"
#include "base/pickle.hpp"

namespace dtk {

namespace {

namespace fs = std::filesystem;
using Type = PickleValue::Type;
using Number = PickleValue::Number;

constexpr std::uint64_t most_pickle = 64 << 20;
constexpr std::size_t most_depth = 64, most_visits = 1'000'000, most_dimensions = 16;

constexpr const char* save_again =
    "where the file is trusted, write its tensors alone: torch.save(model.state_dict(), \"weights.pt\")";

struct Dtype {
    const char *storage, *torch, *name;
    std::uint64_t bytes;
};
constexpr std::array<Dtype, 12> dtypes{{{"FloatStorage", "float32", "F32", 4},
                                        {"DoubleStorage", "float64", "F64", 8},
                                        {"HalfStorage", "float16", "F16", 2},
                                        {"BFloat16Storage", "bfloat16", "BF16", 2},
                                        {"LongStorage", "int64", "I64", 8},
                                        {"IntStorage", "int32", "I32", 4},
                                        {"ShortStorage", "int16", "I16", 2},
                                        {"CharStorage", "int8", "I8", 1},
                                        {"ByteStorage", "uint8", "U8", 1},
                                        {"BoolStorage", "bool", "BOOL", 1},
                                        {"ComplexFloatStorage", "complex64", "C64", 8},
                                        {"ComplexDoubleStorage", "complex128", "C128", 16}}};

std::uint64_t bytes_of_dtype(const std::string& name) {
    for (const auto& dtype : dtypes)
        if (name == dtype.name) return dtype.bytes;
    return 1;
}

/// Does a pickle that names this run a program, or carry one, when Python reads it?
bool is_code(std::string_view name) {
    constexpr std::array harmless{"set",   "frozenset", "dict",   "list",    "tuple", "int",
                                  "float", "complex",   "bool",   "str",     "bytes", "bytearray",
                                  "slice", "range",     "object", "unicode", "long"};
    constexpr std::array modules{
        "os",      "posix",          "nt",          "subprocess", "sys",   "runpy", "importlib", "pty",
        "socket",  "shutil",         "ctypes",      "marshal",    "types", "code",  "commands",  "cloudpickle",
        "dill",    "webbrowser",     "torch_utils", "dnnlib",     "bdb",   "pdb",   "timeit",    "_posixsubprocess",
        "asyncio", "multiprocessing"};
    const auto module = name.substr(0, name.find('.'));
    if (module == "builtins" || module == "__builtin__") {
        for (const auto* one : harmless)
            if (name.substr(module.size() + 1) == one) return false;
        return true;
    }
    for (const auto* one : modules)
        if (module == one) return true;
    return name.starts_with("torch.jit") || name.starts_with("torch.fx") || name.starts_with("torch.package");
}

/// A name from the file, fit for one line.
std::string shown(std::string_view name) {
    std::string text;
    for (const char c : name.substr(0, 200)) text += static_cast<unsigned char>(c) < ' ' || c == '\x7f' ? '?' : c;
    return text;
}

}  // namespace

class TorchArchive::Zip {
 public:
    explicit Zip(const fs::path& path) : path_(path), size_(InputFile(path).size()) {
        int code = 0;
        archive_ = zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code);
        if (archive_) return;
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        const std::string reason = zip_error_strerror(&error);
        zip_error_fini(&error);
        refuse("its archive is damaged: " + reason);
    }
    ~Zip() { zip_discard(archive_); }
    Zip(const Zip&) = delete;

    [[noreturn]] void refuse(const std::string& what, const std::string& cure = "fetch it again") const {
        throw Error(fmt::format("{} cannot be used: {}", path_.string(), what), cure);
    }

    std::uint64_t count() const { return static_cast<std::uint64_t>(zip_get_num_entries(archive_, 0)); }
    zip_stat_t listed(std::uint64_t entry) const {
        zip_stat_t about;
        constexpr auto needed = ZIP_STAT_NAME | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
        if (zip_stat_index(archive_, entry, 0, &about) != 0 || (about.valid & needed) != needed)
            refuse(fmt::format("entry {} of its archive cannot be read: {}", entry, zip_strerror(archive_)));
        return about;
    }
    zip_stat_t about(std::uint64_t entry) const {  // of one that is to be read
        const auto about = listed(entry);
        if (about.comp_method != ZIP_CM_STORE || about.comp_size != about.size)
            refuse(fmt::format("`{}` in it is compressed, which torch.save does not do", shown(about.name)),
                   save_again);
        if (about.size > size_)
            refuse(fmt::format("`{}` in it says that it is larger than the file", shown(about.name)));
        return about;
    }
    void read(std::uint64_t entry, void* to, std::uint64_t bytes) const {
        const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(zip_fopen_index(archive_, entry, 0), zip_fclose);
        if (!file) refuse(zip_strerror(archive_));
        auto* at = static_cast<char*>(to);
        for (std::uint64_t done = 0; done < bytes;) {
            const auto got = zip_fread(file.get(), at + done, std::min<std::uint64_t>(bytes - done, 1 << 24));
            if (got <= 0) refuse(fmt::format("entry {} of its archive is damaged or cut short", entry));
            done += static_cast<std::uint64_t>(got);
        }
        // What follows the last byte is the comparison with the check sum.
        char beyond = 0;
        if (zip_fread(file.get(), &beyond, 1) != 0) refuse(fmt::format("entry {} of its archive is damaged", entry));
    }
    std::string text(std::uint64_t entry, std::uint64_t most) const {
        const auto size = about(entry).size;
        if (size > most) refuse(fmt::format("`{}` in it is larger than {} bytes", shown(about(entry).name), most));
        std::string bytes(size, '\0');
        read(entry, bytes.data(), size);
        return bytes;
    }
    std::uint64_t size() const { return size_; }

 private:
    const fs::path& path_;
    std::uint64_t size_;
    zip_t* archive_ = nullptr;
};

/// From the top of the pickle down, with the keys that lead to where it stands.
class TorchArchive::Walk {
 public:
    Walk(TorchArchive& to, const Pickle& pickle, const std::map<std::string, std::uint64_t>& entries)
        : to_(to), pickle_(pickle), entries_(entries) {}

    void run() { visit(pickle_.top, "", 0); }

 private:
    [[noreturn]] void refuse(const std::string& what, const std::string& cure = "fetch it again") const {
        to_.zip_->refuse(what, cure);
    }

    void visit(Number number, const std::string& keys, std::size_t depth) {
        if (depth > most_depth) refuse(fmt::format("it is nested more than {} deep at `{}`", most_depth, shown(keys)));
        if (++visits_ > most_visits) refuse("it refers to its values more often than a file of weights does");
        const auto& value = pickle_[number];
        switch (value.type) {
            case Type::none:
                return;
            case Type::boolean:
                return set(keys, value.integer != 0 ? "true" : "false");
            case Type::integer:
                return set(keys, std::to_string(value.integer));
            case Type::real:
                return set(keys, fmt::format("{}", value.real));
            case Type::text:
                return set(keys, value.text);
            case Type::global:
                return set(keys, value.text);
            case Type::bytes:
                return other(keys, "bytes");
            case Type::persistent:
                return other(keys, "a storage without a tensor");
            case Type::list:
            case Type::tuple:
            case Type::set:
                for (std::size_t i = 0; i < value.items.size(); ++i)
                    visit(value.items[i], beneath(keys, std::to_string(i)), depth + 1);
                return;
            case Type::dictionary:
                return pairs(value.items, keys, depth);
            case Type::call:
                return called(value, keys, depth);
        }
    }

    static std::string beneath(const std::string& keys, const std::string& key) {
        return keys.empty() ? key : keys + "." + key;
    }

    void pairs(const std::vector<Number>& items, const std::string& keys, std::size_t depth) {
        for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
            const auto& key = pickle_[items[i]];
            if (key.type == Type::text && key.text.size() + keys.size() < 4096)
                visit(items[i + 1], beneath(keys, key.text), depth + 1);
            else if (key.type == Type::integer)
                visit(items[i + 1], beneath(keys, std::to_string(key.integer)), depth + 1);
            else
                other(beneath(keys, "?"), "a value whose key is neither a number nor a text");
        }
    }

    void called(const PickleValue& call, const std::string& keys, std::size_t depth) {
        const auto& function = pickle_[call.function];
        const auto name = function.type == Type::global ? std::string_view(function.text) : std::string_view();
        if (name == "collections.OrderedDict" || name == "collections.defaultdict" || name == "builtins.dict") {
            for (const auto given : arguments(call))
                for (const auto pair : pickle_[given].items)  // OrderedDict([(key, value), …])
                    if (pickle_[pair].items.size() == 2) pairs(pickle_[pair].items, keys, depth);
            return pairs(call.items, keys, depth);
        }
        if (name == "torch.Size" || name == "builtins.set") {
            for (const auto given : arguments(call)) visit(given, keys, depth + 1);
            return;
        }
        if (const auto tensor = rebuilt(call, 0)) {
            if (!to_.tensors_.emplace(keys.empty() ? "tensor" : keys, *tensor).second)
                refuse(fmt::format("two tensors are called `{}`", shown(keys)));
            return;
        }
        other(keys, name.empty() ? "what a call returns" : name);
    }

    std::vector<Number> arguments(const PickleValue& call) const {
        const auto& given = pickle_[call.argument];
        return given.type == Type::tuple ? given.items : std::vector<Number>{};
    }

    /// What the call of a rebuild function makes; nothing where it is another function.
    std::optional<ArchivedTensor> rebuilt(const PickleValue& call, std::size_t depth) {
        if (call.type != Type::call || depth > 4) return std::nullopt;
        const auto& function = pickle_[call.function];
        if (function.type != Type::global) return std::nullopt;
        const auto given = arguments(call);
        const auto& name = function.text;
        if (name == "torch._utils._rebuild_parameter" || name == "torch._utils._rebuild_parameter_with_state") {
            if (given.empty()) refuse("a parameter is made of nothing");
            return rebuilt(pickle_[given[0]], depth + 1);
        }
        if (name == "torch._tensor._rebuild_from_type_v2") {  // a function, a class, its arguments, a state
            if (given.size() < 3) refuse("a tensor of a class is made of too little");
            return rebuilt({.type = Type::call, .function = given[0], .argument = given[2]}, depth + 1);
        }
        const bool has_dtype = name == "torch._utils._rebuild_tensor_v3";
        if (!has_dtype && name != "torch._utils._rebuild_tensor_v2" && name != "torch._utils._rebuild_tensor")
            return std::nullopt;
        if (given.size() < (has_dtype ? 7 : 4)) refuse("a tensor is made of too little");
        ArchivedTensor tensor{.storage = storage(given[0]),
                              .dtype = {},
                              .shape = whole_numbers(given[2]),
                              .stride = whole_numbers(given[3]),
                              .offset = whole_number(given[1])};
        tensor.dtype = has_dtype ? dtype(given[6]) : to_.storages_.at(tensor.storage).dtype;
        check(tensor);
        return tensor;
    }

    std::int64_t whole_number(Number number) const {
        const auto& value = pickle_[number];
        if (value.type != Type::integer || value.integer < 0) refuse("a tensor's size is no number");
        return value.integer;
    }
    std::vector<std::int64_t> whole_numbers(Number number) const {
        const auto* value = &pickle_[number];
        if (value->type == Type::call && pickle_[value->argument].items.size() == 1)  // torch.Size((2, 3))
            value = &pickle_[pickle_[value->argument].items[0]];
        if (value->type != Type::tuple && value->type != Type::list) refuse("a tensor's shape is no tuple");
        if (value->items.size() > most_dimensions) refuse("a tensor has too many dimensions");
        std::vector<std::int64_t> numbers;
        for (const auto item : value->items) numbers.push_back(whole_number(item));
        return numbers;
    }

    std::string dtype(Number number) const {
        const auto& value = pickle_[number];
        for (const auto& dtype : dtypes)
            if (value.type == Type::global && value.text == fmt::format("torch.{}", dtype.torch)) return dtype.name;
        refuse(fmt::format("a tensor is of the type {}, which dtk does not know", shown(value.text)), save_again);
    }

    /// ("storage", its class, key, device, elements) → its key
    std::string storage(Number number) {
        const auto& value = pickle_[number];
        const auto* id = value.type == Type::persistent ? &pickle_[value.argument] : nullptr;
        if (!id || id->type != Type::tuple || id->items.size() < 5 || pickle_[id->items[0]].text != "storage")
            refuse("a tensor has no storage");
        const auto &type = pickle_[id->items[1]], &key = pickle_[id->items[2]];
        if (key.type != Type::text || type.type != Type::global) refuse("a storage has no name");
        if (to_.storages_.contains(key.text)) return key.text;

        const auto name = type.text.substr(type.text.rfind('.') + 1);
        std::optional<std::string> of;
        if (name == "UntypedStorage") of = "";
        for (const auto& dtype : dtypes)
            if (name == dtype.storage) of = dtype.name;
        if (!of || !type.text.starts_with("torch."))
            refuse(fmt::format("a storage is a {}, which dtk does not know", shown(type.text)), save_again);
        const auto found = entries_.find("data/" + key.text);
        if (found == entries_.end()) refuse(fmt::format("the values of storage {} are missing", shown(key.text)));
        const auto bytes = to_.zip_->about(found->second).size;
        all_bytes_ += bytes;
        if (all_bytes_ > to_.zip_->size()) refuse("its storages say that they are larger than the file");
        to_.storages_[key.text] = {*of, found->second, bytes};
        return key.text;
    }

    /// Does all of it lie in its storage?
    void check(const ArchivedTensor& tensor) const {
        const auto room = to_.storages_.at(tensor.storage).bytes / bytes_of_dtype(tensor.dtype);
        if (tensor.dtype.empty()) refuse("a tensor says nothing of its type");
        if (tensor.shape.size() != tensor.stride.size()) refuse("a tensor's shape and strides do not fit");
        std::uint64_t last = static_cast<std::uint64_t>(tensor.offset), elements = 1;
        bool empty = false;
        for (const auto size : tensor.shape) empty |= size == 0;
        for (std::size_t i = 0; i < tensor.shape.size() && !empty; ++i) {
            const auto size = static_cast<std::uint64_t>(tensor.shape[i]),
                       stride = static_cast<std::uint64_t>(tensor.stride[i]);
            std::uint64_t reach = 0;
            if (__builtin_mul_overflow(size - 1, stride, &reach) || __builtin_add_overflow(last, reach, &last) ||
                __builtin_mul_overflow(elements, size, &elements))
                refuse("a tensor is larger than any can be");
        }
        if (last > room || (!empty && last >= room)) refuse("a tensor reaches beyond its storage");
        // Some of its elements may be one element of the storage; that they are many is no reason to believe it.
        if (!empty && elements > std::max<std::uint64_t>(room, 1 << 20))
            refuse("a tensor has more elements than it holds");
    }

    void set(const std::string& keys, const std::string& value) {
        to_.settings_.emplace(keys.empty() ? "value" : keys, value.substr(0, 4096));
    }
    void other(const std::string& keys, std::string_view what) {
        to_.others_.emplace(keys.empty() ? "all of it" : keys, shown(what));
    }

    TorchArchive& to_;
    const Pickle& pickle_;
    const std::map<std::string, std::uint64_t>& entries_;
    std::size_t visits_ = 0;
    std::uint64_t all_bytes_ = 0;
};

TorchArchive::~TorchArchive() = default;

TorchArchive::TorchArchive(const fs::path& path) : path_(path) {
    std::string head(16, '\0');
    {
        const InputFile file(path);
        head.resize(std::min<std::uint64_t>(head.size(), file.size()));
        file.read(0, head.data(), head.size());
    }
    if (head.starts_with("\x80\x02\x8a\x0al\xfc\x9c\x46\xf9"))
        throw Error(fmt::format("{} cannot be used: PyTorch before 1.6 wrote it", path.string()),
                    "where it is trusted, write it again with a newer one: torch.save(torch.load(file), file)");
    if (head.starts_with("\x80"))
        throw Error(
            fmt::format("{} cannot be used: it is a pickle and no archive of torch.save, and may run any program "
                        "when Python reads it",
                        path.string()),
            save_again);
    if (!head.starts_with("PK"))
        throw Error(fmt::format("{} is no file of torch.save", path.string()), "is the path right?");
    zip_ = std::make_unique<Zip>(path_);

    // All lies in one folder, named as the file once was.
    std::map<std::string, std::uint64_t> entries;
    std::optional<std::string> folder;
    for (std::uint64_t i = 0; i < zip_->count(); ++i) {
        const std::string name = zip_->listed(i).name;
        const auto slash = name.find('/');
        const auto here = name.substr(0, slash == name.npos ? 0 : slash + 1);
        if (folder && *folder != here) zip_->refuse("it has more than one folder");
        folder = here;
        entries.emplace(name.substr(here.size()), i);
    }
    if (entries.contains("constants.pkl"))
        zip_->refuse("it is a TorchScript program",
                     "where it is trusted, write its tensors alone: torch.save(torch.jit.load(file).state_dict(), "
                     "\"weights.pt\")");
    if (const auto order = entries.find("byteorder");
        order != entries.end() && zip_->text(order->second, 16) != "little")
        zip_->refuse("its numbers have their largest byte first", save_again);
    const auto data = entries.find("data.pkl");
    if (data == entries.end()) zip_->refuse("it has no data.pkl: torch.save did not write it", save_again);

    Pickle pickle;
    try {
        pickle = read_pickle(zip_->text(data->second, most_pickle));
    } catch (const Error& error) {
        throw Error(fmt::format("{} cannot be used: {}", path.string(), error.what()), error.help());
    }
    for (const auto& value : pickle.values)
        if (value.type == Type::global && is_code(value.text))
            zip_->refuse(fmt::format("it carries code: when Python reads it, it calls {}", shown(value.text)),
                         save_again);
    Walk(*this, pickle, entries).run();
}

void TorchArchive::read(const std::string& storage, void* to) const {
    const auto& one = storages_.at(storage);
    zip_->read(one.entry, to, one.bytes);
}

}  // namespace dtk
