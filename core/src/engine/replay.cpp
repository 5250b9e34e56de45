#include "engine/replay.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include <ATen/record_function.h>

#include "engine/batch_queue.hpp"

namespace dtk {

namespace {

/// "model.hidden0" of "model.hidden0.weight".
std::string module_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind('.')); }

const void* memory_of(const Tensor& x) {
    return x.has_storage() ? x.storage().unsafeGetStorageImpl() : static_cast<const void*>(x.unsafeGetTensorImpl());
}

bool holds_bad(const Tensor& x) { return x.defined() && x.is_floating_point() && !x.isfinite().all().item<bool>(); }

std::vector<std::int64_t> bad_rows(const Tensor& x, std::int64_t rows) {
    if (x.dim() == 0 || x.size(0) != rows) return {};
    const auto bad = x.isfinite().logical_not().reshape({rows, -1}).any(1).nonzero().flatten().cpu();
    return {bad.const_data_ptr<std::int64_t>(), bad.const_data_ptr<std::int64_t>() + bad.numel()};
}

/// Looks at what every operation of LibTorch answers, for as long as it lives, in the thread that made it and those
/// that go backward for it. The module is that of the last tensor of the stage which an operation was given.
class Watch {
 public:
    Watch(const Stage& stage, std::int64_t rows) : rows_(rows) {
        for (const auto& named : stage.named_tensors()) names_.emplace(memory_of(*named.tensor), named.name);
        now = this;
        handle_ =
            at::addThreadLocalCallback(at::RecordFunctionCallback(&before, &after)
                                           .needsInputs(true)
                                           .needsOutputs(true)
                                           .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}));
    }
    ~Watch() {
        at::removeCallback(handle_);
        now = nullptr;
    }
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;

    /// The next part of the batch begins at that row.
    void part(std::int64_t first) {
        first_ = first;
        backward_ = false;
        module_.clear();
    }
    const std::optional<NotFinite>& found() const { return found_; }

 private:
    /// The module whose tensors a call was given; operations that it consists of come between its two ends.
    struct Given final : at::ObserverContext {
        std::string module;
    };

    static std::unique_ptr<at::ObserverContext> before(const at::RecordFunction& call) {
        if (call.scope() == at::RecordScope::BACKWARD_FUNCTION) now->backward_ = true, ++now->depth_;
        auto given = std::make_unique<Given>();
        const auto inputs = call.inputs();
        for (const auto& input : inputs) {
            if (input.isTensor()) now->look_for_module(input.toTensor(), given->module);
            if (input.isTensorList())
                for (const Tensor& one : input.toTensorVector()) now->look_for_module(one, given->module);
        }
        return given;
    }

    static void after(const at::RecordFunction& call, at::ObserverContext* context) {
        if (call.scope() == at::RecordScope::BACKWARD_FUNCTION) --now->depth_;
        // After the way back come sums for the log.
        const bool over = now->backward_ && now->depth_ == 0;
        if (now->found_ || over || call.scope() != at::RecordScope::FUNCTION) return;
        std::string operation = call.name();
        if (operation.starts_with("aten::")) operation.erase(0, 6);
        // What has not been filled yet says nothing.
        if (operation.find("empty") != operation.npos || operation == "resize_" || operation == "set_") return;
        const at::DisableRecordFunctionGuard unseen;
        at::NoGradGuard no_grad;
        for (const auto& output : call.outputs()) {
            if (!output.isTensor() || !holds_bad(output.toTensor())) continue;
            const auto& given = static_cast<const Given*>(context)->module;
            NotFinite bad{operation + (now->backward_ ? " on the way back" : ""), given.empty() ? now->module_ : given,
                          bad_rows(output.toTensor(), now->rows_)};
            if (!bad.module.empty()) bad.what += (given.empty() ? " after " : " in ") + bad.module;
            for (auto& row : bad.rows) row += now->first_;
            now->found_ = std::move(bad);
            return;
        }
    }

    void look_for_module(const Tensor& x, std::string& given) {
        if (!x.defined()) return;
        const auto known = names_.find(memory_of(x));
        if (known != names_.end()) given = module_ = module_of(known->second);
    }

    inline static Watch* now = nullptr;
    std::map<const void*, std::string> names_;
    std::int64_t rows_, first_ = 0;
    bool backward_ = false;
    int depth_ = 0;  ///< functions of the way back that are under way
    std::string module_;
    std::optional<NotFinite> found_;
    at::CallbackHandle handle_;
};

/// What is not finite before anything is computed.
std::optional<NotFinite> bad_parameter(const Stage& stage) {
    for (const auto& named : stage.named_tensors())
        if (holds_bad(*named.tensor)) return NotFinite{"tensor " + named.name, module_of(named.name), {}};
    return std::nullopt;
}

NamedNumbers norms_by_module(const Stage& stage) {
    NamedNumbers norms;
    for (const auto& named : stage.named_tensors()) {
        if (!named.trained || !named.tensor->grad().defined()) continue;
        const auto module = module_of(named.name);
        const double norm = at::linalg_vector_norm(named.tensor->grad().to(at::kDouble), 2).item<double>();
        if (norms.empty() || norms.back().first != module) norms.emplace_back(module, 0);
        norms.back().second = std::hypot(norms.back().second, norm);
    }
    return norms;
}

/// Of gradients that are finite all, whose squares have a sum that is not.
NotFinite bad_norm(const NamedNumbers& norms) {
    const auto largest =
        std::max_element(norms.begin(), norms.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    const auto module = largest == norms.end() ? std::string() : largest->first;
    return {"the norm of the gradients, each of which is; the largest are those of " + module, module, {}};
}

}  // namespace

InspectedStep inspect_next_step(Stage& stage, Trainer& trainer) {
    const auto& settings = *stage.spec().train;
    const auto step = trainer.step();
    InspectedStep found{.step = step + 1,
                        .rate = learning_rate(settings, *stage.part<Rate>(), step),
                        .means = {},
                        .error_by_noise = {},
                        .gradient_norms = {},
                        .first_bad = {},
                        .examples = {}};
    const auto numbers = example_numbers(stage, step, settings.batch);
    auto bad = bad_parameter(stage);
    {
        Watch watch(stage, batch_parts(settings, nullptr).rows);
        trainer.look({.begins =
                          [&](const Batch& batch) {
                              const at::DisableRecordFunctionGuard unseen;
                              watch.part(batch.first);
                              if (bad || !holds_bad(batch.x)) return;
                              bad = NotFinite{"the examples", "", bad_rows(batch.x, batch.x.size(0))};
                              for (auto& row : bad->rows) row += batch.first;
                          },
                      .computed =
                          [&](const Batch& batch, const Time& t, const Tensor& error, const Tensor& loss) {
                              const at::DisableRecordFunctionGuard unseen;
                              const auto rows = batch.x.size(0);
                              const auto here = [](const Tensor& x) {
                                  return x.detach().to(at::kCPU, at::kDouble).contiguous();
                              };
                              const auto times = t.rows(rows), errors = here(error), losses = here(loss);
                              for (std::int64_t i = 0; i < rows; ++i)
                                  found.examples.push_back(
                                      {.number = numbers.const_data_ptr<std::int64_t>()[batch.first + i],
                                       .t = times.const_data_ptr<double>()[i],
                                       .error = errors.const_data_ptr<double>()[i],
                                       .loss = losses.const_data_ptr<double>()[i]});
                          }});
        if (!bad) bad = watch.found();
    }
    found.means = trainer.sums().means();
    found.error_by_noise = trainer.sums().error_by_noise();
    found.gradient_norms = norms_by_module(stage);
    // An infinity that a formula means, such as log 0 beside what is chosen instead, does no harm.
    bool harm = false;
    for (const auto& [name, mean] : found.means) harm = harm || !std::isfinite(mean);
    if (harm) found.first_bad = bad ? std::move(*bad) : bad_norm(found.gradient_norms);
    return found;
}

}  // namespace dtk
