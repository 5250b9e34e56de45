#pragma once
// A pretend accelerator, for machines without one: a LibTorch device whose memory the host may not read, whose
// operations refuse tensors of two devices as CUDA's do, and which counts where the host would wait for a device or
// send it something. It computes with LibTorch's CPU kernels.
//
// What it does not show: the numbers of CUDA's kernels, races, graphs, memory that runs out.
#include <cstdint>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <string>
#include <unordered_map>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <ATen/core/LegacyTypeDispatch.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/library.h>

namespace pretend {

using at::Tensor;

inline at::Device device() { return {at::kPrivateUse1, 0}; }

/// What a host and its device have had to do with each other, by what it was.
struct Counts {
    std::map<std::string, std::int64_t> waits;      ///< the host stood still until the device had come so far
    std::map<std::string, std::int64_t> crossings;  ///< tensors sent to the device

    std::int64_t waited() const { return total(waits); }
    std::int64_t crossed() const { return total(crossings); }
    Counts operator-(const Counts& earlier) const {
        return {less(waits, earlier.waits), less(crossings, earlier.crossings)};
    }
    std::string text() const { return fmt::format("waits: {}\ncrossings: {}", waits, crossings); }

 private:
    using Map = std::map<std::string, std::int64_t>;
    static std::int64_t total(const Map& map) {
        return std::accumulate(map.begin(), map.end(), std::int64_t{0},
                               [](auto sum, const auto& one) { return sum + one.second; });
    }
    static Map less(Map map, const Map& earlier) {
        for (const auto& [what, n] : earlier) map[what] -= n;
        std::erase_if(map, [](const auto& one) { return one.second == 0; });
        return map;
    }
};

namespace detail {

struct Book {
    std::mutex mutex;
    Counts counts;
};
inline Book& book() {
    static Book one;
    return one;
}
inline void note_wait(const std::string& what) {
    const std::lock_guard lock(book().mutex);
    ++book().counts.waits[what];
}
inline void note_crossing(const std::string& what) {
    const std::lock_guard lock(book().mutex);
    ++book().counts.crossings[what];
}

inline bool is_ours(const Tensor& t) { return t.defined() && t.device().type() == at::kPrivateUse1; }
inline std::string words(const Tensor& t) {
    return fmt::format("{} [{}]", c10::toString(t.scalar_type()), fmt::join(t.sizes(), ", "));
}

/// The device's addresses are the host's with a bit set that no address of a process has: whoever reads them dies.
constexpr std::uintptr_t mark = std::uintptr_t{1} << 50;
inline void* on_device(const void* p) {
    return p ? reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(p) | mark) : nullptr;
}
inline void* on_host(const void* p) {
    return p ? reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(p) & ~mark) : nullptr;
}

/// Memory that `owner` keeps alive, under that address.
template <class Owner>
at::DataPtr kept_by(Owner owner, void* address, at::Device where) {
    return {address, new Owner(std::move(owner)), [](void* kept) { delete static_cast<Owner*>(kept); }, where};
}

struct Memory final : c10::Allocator {
    at::DataPtr allocate(std::size_t bytes) override {
        auto host = c10::GetAllocator(at::kCPU)->allocate(bytes);
        const auto address = on_device(host.get());
        return kept_by(std::move(host), address, device());
    }
    void copy_data(void* to, const void* from, std::size_t bytes) const override {
        std::memcpy(on_host(to), on_host(from), bytes);
    }
};
inline Memory& memory() {
    static Memory one;
    return one;
}

inline Tensor tensor_in(c10::Storage storage, at::DispatchKey key, const Tensor& like) {
    auto t = at::detail::make_tensor<at::TensorImpl>(std::move(storage), at::DispatchKeySet(key), like.dtype());
    t.unsafeGetTensorImpl()->set_sizes_and_strides(like.sizes(), like.strides(), like.storage_offset());
    return t;
}

/// What an operation's tensors are to the CPU while it runs, and back. Tensors that share memory share it there too.
class Loan {
 public:
    Tensor lend(const Tensor& ours) {
        if (!is_ours(ours)) return ours;
        if (const auto found = lent_.find(ours.unsafeGetTensorImpl()); found != lent_.end()) return found->second.alias;
        auto& memory = aliases_[ours.storage().unsafeGetStorageImpl()];
        if (!memory) {
            const auto& storage = ours.storage();
            memory =
                c10::Storage(c10::Storage::use_byte_size_t{}, storage.nbytes(),
                             kept_by(storage, on_host(storage.data()), at::kCPU), c10::GetAllocator(at::kCPU), true);
            originals_.emplace(memory.unsafeGetStorageImpl(), storage);
        }
        const auto alias = tensor_in(memory, at::DispatchKey::CPU, ours);
        lent_.emplace(ours.unsafeGetTensorImpl(), Lent{ours, alias});
        return alias;
    }

    Tensor give_back(const Tensor& cpu) {
        if (!cpu.defined() || is_ours(cpu)) return cpu;
        for (const auto& [impl, lent] : lent_)
            if (lent.alias.is_same(cpu)) return lent.ours;
        return tensor_in(ours_of(cpu.storage()), at::DispatchKey::PrivateUse1, cpu);
    }

    /// Where the operation gave one of them another shape or other memory, so has the device now.
    void settle() {
        for (auto& [impl, lent] : lent_) {
            const auto& [ours, alias] = lent;
            const bool moved = on_host(ours.storage().data()) != alias.storage().data();
            if (!moved && ours.sizes() == alias.sizes() && ours.strides() == alias.strides() &&
                ours.storage_offset() == alias.storage_offset())
                continue;
            if (moved) originals_.erase(alias.storage().unsafeGetStorageImpl());
            if (moved) impl->set_storage_keep_dtype(ours_of(alias.storage()));
            impl->set_sizes_and_strides(alias.sizes(), alias.strides(), alias.storage_offset());
        }
    }

 private:
    c10::Storage ours_of(const c10::Storage& cpu) {
        auto& storage = originals_[cpu.unsafeGetStorageImpl()];
        if (!storage)
            storage = c10::Storage(c10::Storage::use_byte_size_t{}, cpu.nbytes(),
                                   kept_by(cpu, on_device(cpu.data()), device()), &memory(), true);
        return storage;
    }

    struct Lent {
        Tensor ours, alias;
    };
    std::unordered_map<at::TensorImpl*, Lent> lent_;
    std::unordered_map<c10::StorageImpl*, c10::Storage> aliases_, originals_;
};

/// Calls change(tensor) for every tensor in the value, in lists too, and puts its answer in the tensor's place.
template <class Change>
void for_tensors(c10::IValue& value, const Change& change) {
    if (value.isTensor()) {
        value = change(value.toTensor());
    } else if (value.isTensorList()) {
        auto all = value.toTensorVector();
        for (auto& one : all) one = change(one);
        value = std::move(all);
    } else if (value.isOptionalTensorList()) {
        c10::List<std::optional<Tensor>> all;
        for (const auto& one : value.toOptionalTensorVector()) all.push_back(one ? std::optional(change(*one)) : one);
        value = std::move(all);
    }
}

/// As CUDA has it: all on one device, but an elementwise operation may read a number that lies on the host.
inline void refuse_two_devices(const c10::OperatorHandle& op, const c10::Argument& argument, const Tensor& t) {
    if (!t.defined() || is_ours(t)) return;
    const bool written = argument.alias_info() && argument.alias_info()->isWrite();
    const bool number = t.dim() == 0 && !written && argument.type()->kind() != c10::TypeKind::ListType;
    if (number && (t.unsafeGetTensorImpl()->is_wrapped_number() || op.hasTag(at::Tag::pointwise) ||
                   op.schema().name() == "aten::fill_"))
        return;
    TORCH_CHECK(false, "tensors of two devices: `", argument.name(), "` of ", op.schema().name(), ", ", words(t),
                ", is on ", t.device(), ", others are on ", device());
}

/// Does the host have to look at the numbers before it can go on? A mask as an index becomes numbers of rows first.
inline bool depends_on_numbers(const c10::OperatorHandle& op, const std::vector<c10::IValue>& arguments) {
    for (const auto& value : arguments)
        if (value.isOptionalTensorList()) {
            for (const auto& index : value.toOptionalTensorVector())
                if (index && index->defined() &&
                    (index->scalar_type() == at::kBool || index->scalar_type() == at::kByte))
                    return true;
            return false;
        }
    return op.hasTag(at::Tag::data_dependent_output) || op.hasTag(at::Tag::dynamic_output_shape);
}

/// Runs `op` with the CPU's kernel on the arguments that lie on the stack.
inline void run(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    const auto& schema = op.schema();
    auto arguments = torch::jit::pop(*stack, schema.arguments().size());
    Loan loan;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        if (arguments[i].isDevice() && arguments[i].toDevice().type() == at::kPrivateUse1)
            arguments[i] = at::Device(at::kCPU);
        for_tensors(arguments[i], [&](const Tensor& t) { return refuse_two_devices(op, schema.arguments()[i], t), t; });
    }
    if (depends_on_numbers(op, arguments)) note_wait(schema.name());
    for (auto& value : arguments) for_tensors(value, [&](const Tensor& t) { return loan.lend(t); });

    const at::AutoDispatchBelowADInplaceOrView below;
    for (auto& value : arguments) stack->push_back(std::move(value));
    op.redispatchBoxed(at::DispatchKeySet(at::DispatchKey::CPU), stack);
    loan.settle();
    for (std::size_t i = 0; i < schema.returns().size(); ++i)
        for_tensors(torch::jit::peek(*stack, i, schema.returns().size()),
                    [&](const Tensor& t) { return loan.give_back(t); });
}

inline void boxed(const c10::OperatorHandle& op, torch::jit::Stack* stack) { run(op, stack); }

inline c10::OperatorHandle named(const char* name) { return c10::Dispatcher::singleton().findSchemaOrThrow(name, ""); }

// A device's own convolution has a name of its own.
inline void convolution(const c10::OperatorHandle&, torch::jit::Stack* stack) {
    run(named("aten::convolution"), stack);
}
inline void convolution_backward(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
    const auto first = stack->end() - static_cast<std::ptrdiff_t>(op.schema().arguments().size());
    const auto bias_sizes = std::vector<std::int64_t>{first->toTensor().size(1)};
    stack->insert(first + 3, c10::IValue(bias_sizes));
    run(named("aten::convolution_backward"), stack);
}

inline Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                    std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
    return Tensor(at::detail::empty_generic(sizes, &memory(), at::DispatchKeySet(at::DispatchKey::PrivateUse1),
                                            c10::dtype_or_default(type), format));
}

inline Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides, std::optional<at::ScalarType> type,
                            std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
    return Tensor(at::detail::empty_strided_generic(
        sizes, strides, &memory(), at::DispatchKeySet(at::DispatchKey::PrivateUse1), c10::dtype_or_default(type)));
}

/// Every copy there is. One to the device waits as well unless it was allowed not to: CUDA sends it after all that was
/// asked of the device before, and holds the host until it has arrived.
inline Tensor copy_from(const Tensor& from, const Tensor& to, bool non_blocking) {
    if (is_ours(from) && !is_ours(to)) note_wait("copy to the host of " + words(from));
    if (!is_ours(from) && is_ours(to)) {
        note_crossing(words(from));
        if (!non_blocking) note_wait("blocking copy to the device of " + words(from));
    }
    Loan loan;
    loan.lend(to).copy_(loan.lend(from));
    return to;
}

struct Guard final : c10::impl::DeviceGuardImplInterface {
    static c10::Stream stream() { return c10::Stream(c10::Stream::DEFAULT, device()); }
    at::DeviceType type() const override { return at::kPrivateUse1; }
    at::Device exchangeDevice(at::Device) const override { return device(); }
    at::Device getDevice() const override { return device(); }
    void setDevice(at::Device) const override {}
    void uncheckedSetDevice(at::Device) const noexcept override {}
    c10::Stream getStream(at::Device) const override { return stream(); }
    c10::Stream getDefaultStream(at::Device) const override { return stream(); }
    c10::Stream exchangeStream(c10::Stream) const override { return stream(); }
    at::DeviceIndex deviceCount() const noexcept override { return 1; }
    void record(void**, const c10::Stream&, at::DeviceIndex, c10::EventFlag) const override {}
    void block(void*, const c10::Stream&) const override {}
    bool queryEvent(void*) const override { return true; }
    bool queryStream(const c10::Stream&) const override { return true; }
    void synchronizeStream(const c10::Stream&) const override { note_wait("synchronizeStream"); }
    void synchronizeEvent(void*) const override { note_wait("synchronizeEvent"); }
    void synchronizeDevice(at::DeviceIndex) const override { note_wait("synchronizeDevice"); }
};

struct Hooks final : at::PrivateUse1HooksInterface {
    bool isBuilt() const override { return true; }
    bool isAvailable() const override { return true; }
    bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
    at::DeviceIndex deviceCount() const override { return 1; }
    at::DeviceIndex getCurrentDevice() const override { return 0; }
    at::DeviceIndex exchangeDevice(at::DeviceIndex) const override { return 0; }
    at::DeviceIndex maybeExchangeDevice(at::DeviceIndex) const override { return 0; }
};

}  // namespace detail

inline Counts counts() {
    const std::lock_guard lock(detail::book().mutex);
    return detail::book().counts;
}

/// Makes the device, once in a process; before that there is none.
inline void begin() {
    static std::once_flag once;
    std::call_once(once, [] {
        static const c10::impl::DeviceGuardImplRegistrar guard(c10::DeviceType::PrivateUse1, new detail::Guard);
        c10::register_privateuse1_backend("pretend");
        static detail::Hooks hooks;
        at::RegisterPrivateUse1HooksInterface(&hooks);
        using torch::CppFunction;
        // They stay until exit.
        auto& all = *new torch::Library(MAKE_TORCH_LIBRARY_IMPL(_, PrivateUse1));
        all.fallback(CppFunction::makeFromBoxedFunction<&detail::boxed>());
        auto& m = *new torch::Library(MAKE_TORCH_LIBRARY_IMPL(aten, PrivateUse1));
        m.impl("empty.memory_format", &detail::empty);
        m.impl("empty_strided", &detail::empty_strided);
        m.impl("_copy_from", &detail::copy_from);
        m.impl("convolution_overrideable", CppFunction::makeFromBoxedFunction<&detail::convolution>());
        m.impl("convolution_backward_overrideable",
               CppFunction::makeFromBoxedFunction<&detail::convolution_backward>());
        // Whatever the CPU has a kernel for, the device has one for too; without this some would be put together from
        // smaller ones.
        for (const auto& name : c10::Dispatcher::singleton().getAllOpNames()) {
            const auto op = c10::Dispatcher::singleton().findSchema(name);
            if (op && name.getNamespace() == "aten" && op->hasKernelForDispatchKey(at::DispatchKey::CPU) &&
                !op->hasKernelForDispatchKey(at::DispatchKey::PrivateUse1))
                m.impl(toString(name).c_str(), CppFunction::makeFromBoxedFunction<&detail::boxed>());
        }
    });
}

}  // namespace pretend
