// Denoisers: what losses, samplers and guidance ask.
#include <dtk/denoiser.hpp>

#include <dtk/guidance.hpp>

namespace dtk {

Guidance::~Guidance() = default;

namespace {
constexpr const char* estimate_key = "x0";
}

Denoiser::Denoiser(std::shared_ptr<const Process> process, Ask ask, Condition condition)
    : process_(std::move(process)),
      ask_(std::make_shared<const Ask>(std::move(ask))),
      condition_(std::move(condition)) {}

Prediction Denoiser::operator()(const Tensor& x, const Time& t, const Condition& condition) const {
    if (!memory_) return (*ask_)(x, t, condition);
    auto told = condition;
    auto& [now, before] = memory_->trajectory;
    told.trajectory = &memory_->trajectory;
    if (!memory_->estimates) return (*ask_)(x, t, told);
    if (const auto found = before.find(estimate_key); found != before.end() && found->second.sizes() == x.sizes())
        told.self_condition = found->second;
    auto prediction = (*ask_)(x, t, told);
    now[estimate_key] = process_->convert(prediction, PredictionType::x0, x, t).detach();
    return prediction;
}

Tensor Denoiser::in(PredictionType type, const Tensor& x, const Time& t) const {
    return process_->convert((*this)(x, t), type, x, t);
}

Denoiser::Estimate Denoiser::estimate(const Tensor& x, const Time& t) const {
    const auto prediction = (*this)(x, t);
    return {process_->convert(prediction, PredictionType::x0, x, t),
            process_->convert(prediction, PredictionType::eps, x, t)};
}

Tensor Denoiser::reverse_step(const Tensor& x, const Time& t, const Time& s, const std::string& variance,
                              const Random& random) const {
    if (shifts_.empty()) return process_->reverse_step(x, (*this)(x, t), t, s, variance, random);
    const auto step = reverse(x, t, s, variance);
    return step.mean + step.variance.sqrt() * random.normal(x.sizes(), x.options());
}

Normal Denoiser::reverse(const Tensor& x, const Time& t, const Time& s, const std::string& variance) const {
    auto step = gaussian().reverse(x, (*this)(x, t), t, s, variance);
    for (const auto& shift : shifts_) step.mean = shift(x, step, t, s, condition_);
    return step;
}

const GaussianProcess& Denoiser::gaussian() const { return dtk::gaussian(*process_, "this sampler"); }

Denoiser Denoiser::with(Condition condition) const {
    auto other = *this;
    other.condition_ = std::move(condition);
    return other;
}

Denoiser Denoiser::replaced(Ask ask) const {
    auto other = *this;
    other.ask_ = std::make_shared<const Ask>(std::move(ask));
    other.memory_ = nullptr;
    return other;
}

Denoiser Denoiser::shifted(Shift shift) const {
    auto other = *this;
    other.shifts_.push_back(std::move(shift));
    return other;
}

Denoiser Denoiser::begin(bool estimates) const {
    auto other = *this;
    other.memory_ = std::make_shared<Memory>(Memory{estimates, {}});
    return other;
}

void Denoiser::advance() const {
    if (memory_) memory_->trajectory.before = memory_->trajectory.now;
}

Tensor Denoiser::latest_x0() const {
    if (!memory_) return {};
    const auto found = memory_->trajectory.now.find(estimate_key);
    return found == memory_->trajectory.now.end() ? Tensor() : found->second;
}

Halves both_halves(const Denoiser& denoise, const Tensor& x, const Time& t, const Condition& condition) {
    const auto n = x.size(0);
    const auto both =
        denoise(at::cat({x, x}), Time::cat(t, n, t, n), Condition::cat(condition, n, condition.null(n), n));
    const auto half = [&](std::int64_t first) {
        std::optional<Tensor> variance;
        if (both.variance) variance = both.variance->expand_as(both.value).slice(0, first, first + n);
        return Prediction{both.type, both.value.slice(0, first, first + n), variance};
    };
    return {half(0), half(n)};
}

namespace {
/// Every tensor of the condition, changed by `change` where it is there.
template <class Change>
Condition each_tensor(Condition condition, const Change& change) {
    for (auto* tensor : {&condition.label, &condition.tokens, &condition.token_mask, &condition.vector, &condition.mask,
                         &condition.given, &condition.self_condition, &condition.observed})
        if (tensor->defined()) *tensor = change(*tensor);
    for (auto& [name, tensor] : condition.named)
        if (tensor.defined()) tensor = change(tensor);
    return condition;
}

Tensor joined(const Tensor& a, const Tensor& b, const char* what) {
    if (a.defined() != b.defined())
        throw Error(std::string("two conditions to be joined differ: one of them has no ") + what);
    return a.defined() ? at::cat({a, b}) : a;
}
}  // namespace

Condition Condition::to(at::Device device) const {
    return each_tensor(*this, [&](const Tensor& x) { return x.to(device, /*non_blocking=*/true); });
}

Condition Condition::chunk(std::int64_t first, std::int64_t n) const {
    return each_tensor(*this, [&](const Tensor& all) { return rows_padded(all, first, n); });
}

Condition Condition::repeated(std::int64_t times) const {
    return each_tensor(*this, [&](const Tensor& all) { return all.repeat_interleave(times, 0); });
}

Condition Condition::null(std::int64_t batch) const {
    auto other = *this;
    const auto& like = label.defined() ? label : tokens.defined() ? tokens : mask;
    other.given = at::zeros({batch}, at::TensorOptions(like.defined() ? like.device() : at::kCPU).dtype(at::kBool));
    return other;
}

Condition Condition::cat(const Condition& a, std::int64_t n, const Condition& b, std::int64_t m) {
    auto both = a;
    both.label = joined(a.label, b.label, "label");
    both.tokens = joined(a.tokens, b.tokens, "tokens");
    both.token_mask = joined(a.token_mask, b.token_mask, "token_mask");
    both.vector = joined(a.vector, b.vector, "vector");
    both.mask = joined(a.mask, b.mask, "mask");
    both.trajectory = a.trajectory;
    both.self_condition = joined(a.self_condition, b.self_condition, "self_condition");
    both.observed = joined(a.observed, b.observed, "observed");
    for (auto& [name, tensor] : both.named) {
        const auto other = b.named.find(name);
        tensor = joined(tensor, other == b.named.end() ? Tensor() : other->second, name.c_str());
    }
    if (!a.given.defined() && !b.given.defined()) return both;
    // Rows of which nothing is said are told what there is.
    const auto& known = a.given.defined() ? a.given : b.given;
    const auto all = [&](const Tensor& given, std::int64_t rows) {
        return given.defined() ? given : at::ones({rows}, known.options());
    };
    both.given = at::cat({all(a.given, n), all(b.given, m)});
    return both;
}

Tensor rows_padded(const Tensor& all, std::int64_t first, std::int64_t rows) {
    const auto there = all.slice(0, first, first + rows);
    const auto lacking = rows - there.size(0);
    if (lacking == 0) return there;
    auto sizes = all.sizes().vec();
    sizes[0] = lacking;
    return at::cat({there, all.slice(0, -1).expand(sizes)});
}

}  // namespace dtk
