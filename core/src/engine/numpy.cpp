// Reading NumPy's files. Nothing in them is executed: an array of Python objects is refused.
#include <dtk/numpy.hpp>

#include <cstring>
#include <limits>
#include <memory>
#include <regex>

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#include <dtk/error.hpp>

namespace dtk {

namespace {

namespace fs = std::filesystem;

[[noreturn]] void wrong(const std::string& where, const std::string& what, const std::string& help) {
    throw Error(fmt::format("{}: {}", where, what), help);
}

/// What stands before an array's bytes.
struct Header {
    at::ScalarType dtype;
    bool fortran;
    std::vector<std::int64_t> shape;
    std::uint64_t begin, bytes;  ///< where the numbers begin, and how many bytes they are

    /// The array over those numbers, which `owner` keeps.
    Tensor over(void* numbers, std::shared_ptr<void> owner) const {
        const auto keep = [owner = std::move(owner)](void*) {};
        const std::vector<std::int64_t> stored(shape.rbegin(), shape.rend());
        const auto array = at::from_blob(numbers, fortran ? stored : shape, keep, at::TensorOptions().dtype(dtype));
        if (!fortran) return array;
        std::vector<std::int64_t> turned(shape.size());
        for (std::size_t i = 0; i < turned.size(); ++i) turned[i] = static_cast<std::int64_t>(turned.size() - 1 - i);
        return array.permute(turned);
    }
};

at::ScalarType dtype_of(const std::string& descr, const std::string& where) {
    static const std::map<std::string, at::ScalarType> known{{"f2", at::kHalf}, {"f4", at::kFloat}, {"f8", at::kDouble},
                                                             {"i1", at::kChar}, {"i2", at::kShort}, {"i4", at::kInt},
                                                             {"i8", at::kLong}, {"u1", at::kByte},  {"b1", at::kBool}};
    if (descr.size() > 1 && descr[0] == '>')
        wrong(where, fmt::format("its numbers are big-endian, `{}`", descr),
              "write x.astype(x.dtype.newbyteorder('<'))");
    if (descr.size() > 1)
        if (const auto found = known.find(descr.substr(1)); found != known.end()) return found->second;
    wrong(where, fmt::format("its type is `{}`, not numbers that dtk reads", descr),
          "write float16, float32, float64, int8 to int64, uint8 or bool, as x.astype('float32')");
}

/// data: the file's first bytes, at least the whole header where there are so many. size: of the file.
Header header_of(const char* data, std::uint64_t there, std::uint64_t size, const std::string& where) {
    const auto byte = [&](std::uint64_t i) { return static_cast<std::uint64_t>(static_cast<unsigned char>(data[i])); };
    if (there < 12 || std::memcmp(data, "\x93NUMPY", 6) != 0)
        wrong(where, "it is no file of NumPy's", "write it with numpy.save or numpy.savez");
    const bool old = byte(6) == 1;
    const auto length = old ? byte(8) | byte(9) << 8 : byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24;
    const std::uint64_t begin = (old ? 10 : 12) + length;
    if (length > 65535)
        wrong(where, fmt::format("its header is {} bytes long", length), "it is damaged: write it again");
    if (begin > there) wrong(where, "it ends within its header", "it is cut short: write it again");
    const std::string text(data + (old ? 10 : 12), length);
    static const std::regex descr(R"('descr'\s{0,8}:\s{0,8}'([^']{0,16})')"),
        order(R"('fortran_order'\s{0,8}:\s{0,8}(True|False))"), shape(R"('shape'\s{0,8}:\s{0,8}\(([0-9, ]{0,200})\))"),
        number("[0-9]+");
    std::smatch of_descr, of_order, of_shape;
    if (!std::regex_search(text, of_descr, descr) || !std::regex_search(text, of_order, order) ||
        !std::regex_search(text, of_shape, shape))
        wrong(where, "its header says no type, order and shape", "arrays of records and objects are not read");
    Header header{.dtype = dtype_of(of_descr[1], where),
                  .fortran = of_order[1] == "True",
                  .shape = {},
                  .begin = begin,
                  .bytes = 0};
    const auto dimensions = of_shape[1].str();
    header.bytes = at::elementSize(header.dtype);
    for (std::sregex_iterator one(dimensions.begin(), dimensions.end(), number), end; one != end; ++one) {
        const auto digits = one->str();
        const auto extent = digits.size() > 18 ? std::numeric_limits<std::uint64_t>::max() : std::stoull(digits);
        if (header.shape.size() == 8 || (extent > 0 && header.bytes > size / extent))
            wrong(where, fmt::format("its header claims the shape ({}), more than the file holds", dimensions),
                  "it is cut short or damaged: write it again");
        header.bytes *= extent;
        header.shape.push_back(static_cast<std::int64_t>(extent));
    }
    if (header.bytes > size - begin)
        wrong(where, fmt::format("it holds {} bytes of numbers where its header says {}", size - begin, header.bytes),
              "it is cut short: write it again");
    return header;
}

}  // namespace

Tensor load_npy(const fs::path& path) {
    const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) throw Error(fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
    const std::shared_ptr<void> closed(nullptr, [file](void*) { ::close(file); });
    struct stat about = {};
    if (::fstat(file, &about) != 0 || !S_ISREG(about.st_mode))
        throw Error(fmt::format("{} is no file", path.string()), "name a .npy file");
    const auto size = static_cast<std::uint64_t>(about.st_size);
    if (size == 0) wrong(path.string(), "it is empty", "write it with numpy.save");
    // A copy of one's own, so that nobody can write into the file by way of the tensor.
    void* mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
    if (mapped == MAP_FAILED) throw Error(fmt::format("cannot map {}: {}", path.string(), std::strerror(errno)));
    const std::shared_ptr<void> owner(mapped, [size](void* pages) { ::munmap(pages, size); });
    auto* data = static_cast<char*>(mapped);
    const auto header = header_of(data, size, size, path.string());
    const auto array = header.over(data + header.begin, owner);
    // Numbers that do not stand at a multiple of their size are moved to where they do.
    return header.begin % at::elementSize(header.dtype) == 0 ? array : array.clone();
}

std::map<std::string, Tensor> load_npz(const fs::path& path, std::uint64_t at_most) {
    int code = 0;
    const std::unique_ptr<zip_t, void (*)(zip_t*)> archive(zip_open(path.c_str(), ZIP_RDONLY | ZIP_CHECKCONS, &code),
                                                           zip_discard);
    if (!archive) {
        zip_error_t error;
        zip_error_init_with_code(&error, code);
        const std::string reason = zip_error_strerror(&error);
        zip_error_fini(&error);
        wrong(path.string(), reason, "name a .npz file as numpy.savez writes it");
    }
    std::map<std::string, Tensor> arrays;
    std::uint64_t all = 0;
    const auto count = zip_get_num_entries(archive.get(), 0);
    for (zip_int64_t i = 0; i < count; ++i) {
        zip_stat_t about;
        if (zip_stat_index(archive.get(), static_cast<zip_uint64_t>(i), 0, &about) != 0) continue;
        std::string name = about.name;
        const auto where = fmt::format("{}, array {}", path.string(), name);
        if (!name.ends_with(".npy")) wrong(where, "it is no array", "name a .npz file as numpy.savez writes it");
        name.resize(name.size() - 4);
        if ((all += about.size) > at_most)
            wrong(path.string(), fmt::format("its arrays hold more than {} bytes", at_most),
                  "write the large one as a .npy file, which is mapped and not read");
        const std::unique_ptr<zip_file_t, int (*)(zip_file_t*)> file(
            zip_fopen_index(archive.get(), static_cast<zip_uint64_t>(i), 0), zip_fclose);
        if (!file) wrong(where, zip_strerror(archive.get()), "it is damaged or encrypted: write it again");
        // Grown as it is read: what the directory claims is believed of nothing.
        auto bytes = std::make_shared<std::string>();
        for (char portion[1 << 16];;) {
            const auto got = zip_fread(file.get(), portion, sizeof portion);
            if (got < 0 || bytes->size() + static_cast<std::size_t>(std::max<zip_int64_t>(got, 0)) > about.size)
                wrong(where, "it cannot be decompressed, or is not what the directory says",
                      "it is damaged: write it again");
            if (got == 0) break;
            bytes->append(portion, static_cast<std::size_t>(got));
        }
        if (bytes->size() != about.size) wrong(where, "it is cut short", "write it again");
        const auto header = header_of(bytes->data(), bytes->size(), bytes->size(), where);
        arrays[name] = header.over(bytes->data() + header.begin, bytes).clone();
    }
    return arrays;
}

}  // namespace dtk
