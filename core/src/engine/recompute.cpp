#include <dtk/recompute.hpp>

#include <algorithm>

#include <ATen/autocast_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace dtk {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Block = std::function<Tensor(const std::vector<Tensor>&)>;

/// The autocast of a device as it was, for as long as it lives: the gradient's thread knows nothing of it.
class AutocastAs {
 public:
    struct State {
        at::DeviceType device;
        bool enabled;
        at::ScalarType type;
    };
    static State now(at::DeviceType device) {
        return {device, at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device)};
    }
    explicit AutocastAs(const State& state) : before_(now(state.device)) {
        set(state);
        at::autocast::increment_nesting();
    }
    ~AutocastAs() {
        if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
        set(before_);
    }

 private:
    static void set(const State& state) {
        at::autocast::set_autocast_dtype(state.device, state.type);
        at::autocast::set_autocast_enabled(state.device, state.enabled);
    }
    State before_;
};

/// What is kept: the function, how many of the tensors are its inputs, and the autocast it was called under.
struct KeptBlock final : torch::CustomClassHolder {
    KeptBlock(Block function, std::size_t n, AutocastAs::State state)
        : block(std::move(function)), inputs(n), autocast(state) {}
    Block block;
    std::size_t inputs;
    AutocastAs::State autocast;
};

struct Recomputed : torch::autograd::Function<Recomputed> {
    /// tensors: the inputs, then the parameters, which the block knows by itself.
    static Tensor forward(AutogradContext* context, const c10::intrusive_ptr<KeptBlock>& kept, at::TensorList tensors) {
        context->save_for_backward(tensors.vec());
        context->saved_data["kept"] = c10::IValue::make_capsule(kept);
        return kept->block({tensors.begin(), tensors.begin() + static_cast<std::ptrdiff_t>(kept->inputs)});
    }

    static variable_list backward(AutogradContext* context, const variable_list& gradient) {
        const auto tensors = context->get_saved_variables();
        const auto kept = c10::static_intrusive_pointer_cast<KeptBlock>(context->saved_data["kept"].toCapsule());
        const bool twice = at::GradMode::is_enabled();  // the gradient is to be differentiated, too
        const at::AutoGradMode with_graph(true);
        // Each input stands for one use of it, and gets the gradient of that use alone.
        std::vector<Tensor> inputs, sought;
        for (std::size_t i = 0; i < tensors.size(); ++i) {
            auto one = tensors[i];
            if (i < kept->inputs) {
                one = twice ? one.alias() : one.detach().set_requires_grad(one.requires_grad());
                inputs.push_back(one);
            }
            if (one.requires_grad()) sought.push_back(one);
        }
        const auto answer = [&] {
            const AutocastAs autocast(kept->autocast);
            return kept->block(inputs);
        }();
        const auto found = torch::autograd::grad({answer}, sought, gradient, /*retain_graph=*/twice,
                                                 /*create_graph=*/twice, /*allow_unused=*/true);
        variable_list all{Tensor()};  // of the function itself
        std::size_t next = 0;
        for (const auto& one : tensors) all.push_back(one.requires_grad() ? found[next++] : Tensor());
        return all;
    }
};

bool in_forward_mode(const std::vector<Tensor>& tensors) {
    return std::ranges::any_of(tensors, [](const Tensor& x) { return x._fw_grad(0).defined(); });
}

}  // namespace

Tensor recomputed(Block block, std::vector<Tensor> inputs, std::vector<Tensor> parameters) {
    auto tensors = inputs;
    tensors.insert(tensors.end(), parameters.begin(), parameters.end());
    const bool differentiated =
        at::GradMode::is_enabled() && std::ranges::any_of(tensors, [](const Tensor& x) { return x.requires_grad(); });
    if (!differentiated || in_forward_mode(tensors)) return block(inputs);
    const auto autocast = AutocastAs::now(inputs.front().device().type());
    return Recomputed::apply(c10::make_intrusive<KeptBlock>(std::move(block), inputs.size(), autocast),
                             at::TensorList(tensors));
}

}  // namespace dtk
