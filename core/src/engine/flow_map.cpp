// Two times of a network, and derivatives along a flow.
#include <dtk/flow_map.hpp>

#include <mutex>

#include <torch/csrc/autograd/forward_grad.h>

namespace dtk {

ToldEnd::~ToldEnd() = default;

namespace {
constexpr const char* end_key = "end";

/// LibTorch has one level of them for all threads.
std::recursive_mutex& one_at_a_time() {
    static auto& mutex = *new std::recursive_mutex;
    return mutex;
}

/// Derivatives of dual numbers, while it lives.
class DualLevel {
 public:
    DualLevel() : lock_(one_at_a_time()), level_(torch::autograd::ForwardADLevel::get_next_idx()) {}
    ~DualLevel() { torch::autograd::ForwardADLevel::release_idx(level_); }
    DualLevel(const DualLevel&) = delete;
    DualLevel& operator=(const DualLevel&) = delete;
    Tensor dual(const Tensor& value, const Tensor& rate) const {
        return at::_make_dual(value, rate, static_cast<std::int64_t>(level_));
    }
    std::tuple<Tensor, Tensor> parts(const Tensor& dual) const {
        return at::_unpack_dual(dual, static_cast<std::int64_t>(level_));
    }

 private:
    std::lock_guard<std::recursive_mutex> lock_;
    std::uint64_t level_;
};
}  // namespace

Denoiser leading_to(const Denoiser& denoise, const Time& end, std::int64_t rows) {
    auto told = denoise.condition();
    told.named[end_key] = end.rows(rows);
    return denoise.with(std::move(told));
}

Time end_of(const Condition& condition, const Time& t) {
    const auto end = condition.named.find(end_key);
    return end == condition.named.end() ? t : Time(end->second);
}

Along along(const std::function<Tensor(const Tensor& x, const Time& t)>& f, const Tensor& x, const Tensor& dx,
            const Time& t) {
    const DualLevel level;
    const auto rows = t.rows(x.size(0));
    const auto answer = f(level.dual(x, dx), Time(level.dual(rows, at::ones_like(rows))));
    const auto [value, rate] = level.parts(answer);
    return {value, rate.defined() ? rate.detach() : at::zeros_like(value)};
}

}  // namespace dtk
