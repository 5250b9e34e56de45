#pragma once
// What tests of plugins share: every plugin that was built, made from a line of TOML.
#include <fmt/format.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <dtk/dataset.hpp>
#include <dtk/loss.hpp>
#include <dtk/metric.hpp>
#include <dtk/model.hpp>
#include <dtk/observation.hpp>
#include <dtk/sampler.hpp>
#include <dtk/schedule.hpp>
#include <dtk/times.hpp>

#include "base/files.hpp"
#include "base/reader.hpp"

namespace support {

/// The plugins of the build, and the deliberate offenders only where a test adds their folder.
inline const dtk::Registry& registry() {
    static const dtk::Registry plugins({DTK_PLUGINS});
    return plugins;
}

/// What an experiment would show its plugins.
struct BuildContext : dtk::BuildContext {
    std::shared_ptr<dtk::Dataset> data;
    std::shared_ptr<dtk::Process> chain;
    std::shared_ptr<dtk::Model> network;
    std::shared_ptr<dtk::Observation> seen;
    std::uint64_t seed = 1;
    const dtk::Dataset& dataset() const override { return data ? *data : throw dtk::Error("no data set"); }
    dtk::Space space() const override {
        return {dataset().shape(), dataset().range(), dataset().levels(), dataset().classes()};
    }
    const dtk::Process& process() const override { return chain ? *chain : throw dtk::Error("no process"); }
    const dtk::Model& model() const override { return network ? *network : throw dtk::Error("no model"); }
    dtk::Random random(std::string_view stream) const override { return {seed, stream}; }
    dtk::TrainedNetwork trained(const dtk::Reference& reference) const override {
        throw dtk::Error("no trained network `" + reference.name() + "`");
    }
    bool running() const override { return true; }
    const dtk::Observation* observation() const override { return seen.get(); }
};

/// The plugin of that kind and name, its fields from `toml` ("width = 8\ndepth = 2"). Throws Error with every mistake.
template <class Interface>
std::shared_ptr<Interface> make(const std::string& name, const std::string& toml, const dtk::BuildContext& context) {
    dtk::Diagnostics mistakes;
    auto table = toml::parse(std::string_view(toml));
    table.insert_or_assign("use", name);
    dtk::ParseContext reading{registry(), mistakes, ".", {}};
    const auto spec = dtk::read_plugin(reading, Interface::kind, &table, {});
    if (!mistakes.empty()) throw mistakes.as_error();
    return std::static_pointer_cast<Interface>(spec.make(context));
}

template <class Interface>
std::shared_ptr<Interface> make(const std::string& name, const std::string& toml = {}) {
    return make<Interface>(name, toml, dtk::no_context());
}

/// A data set, a process and the exact denoiser over them.
inline BuildContext exact(const std::string& dataset, const std::string& data_fields, const std::string& process_fields,
                          const std::string& model_fields = {}) {
    BuildContext context;
    context.data = make<dtk::Dataset>(dataset, data_fields, context);
    context.chain = make<dtk::Process>("gaussian", process_fields, context);
    context.network = make<dtk::Model>("exact", model_fields, context);
    context.network->train(false);
    return context;
}

/// The network of the context as losses, samplers and metrics see it.
inline dtk::Denoiser denoiser(const BuildContext& context) {
    return {context.chain,
            [model = context.network](const at::Tensor& x, const dtk::Time& t, const dtk::Condition& told) {
                return model->forward(x, t, told);
            }};
}

/// The denoiser, told what is known of as many rows as x has.
inline dtk::Denoiser told(const BuildContext& context, const dtk::Denoiser& denoise, const at::Tensor& x) {
    if (!context.seen) return denoise;
    auto condition = denoise.condition();
    condition.observed = context.seen->y(0, x.size(0)).to(x.options());
    return denoise.with(condition);
}
inline dtk::Denoiser denoiser(const BuildContext& context, const at::Tensor& x) {
    return told(context, denoiser(context), x);
}

/// What a metric is shown of samples.
inline dtk::EvaluationInput input(const BuildContext& context, const at::Tensor& samples) {
    dtk::EvaluationInput input{samples, *context.data, *context.chain, denoiser(context)};
    input.observation = context.seen.get();
    return input;
}

/// What stands in for a network that nobody is to ask.
inline dtk::Denoiser nobody(std::shared_ptr<const dtk::Process> process) {
    return {std::move(process), [](const at::Tensor&, const dtk::Time&, const dtk::Condition&) -> dtk::Prediction {
                throw dtk::Error("a network was asked that is not there");
            }};
}

/// What a loss minimises for each example of the batch, at times that `times` draws, weighted back to uniform ones.
inline at::Tensor loss_of(const dtk::Loss& loss, const dtk::Denoiser& denoise, const dtk::Batch& batch,
                          const dtk::Random& random, const std::string& times = "uniform",
                          const dtk::BuildContext& context = dtk::no_context()) {
    auto drawn = make<dtk::Times>(times, "", context)->draw(batch, denoise.process(), random.stream("t"));
    if (!loss.draws_times()) drawn.weight = 1;
    return drawn.weight * loss(denoise.with(batch.condition), batch, drawn.t, random).objectives.front().value;
}

/// Our own reference values; how they were made stands beside them.
inline const nlohmann::json& reference() {
    static const auto values = nlohmann::json::parse(dtk::read_file(DTK_TEST_DATA "/reference_values.json"));
    return values;
}

/// A (nested) list of numbers → float64.
inline at::Tensor tensor(const nlohmann::json& list) {
    if (!list.is_array()) return at::scalar_tensor(list.get<double>(), at::kDouble);
    std::vector<at::Tensor> rows;
    for (const auto& row : list) rows.push_back(tensor(row));
    return at::stack(rows);
}

/// max |a − b|
inline double distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

}  // namespace support
