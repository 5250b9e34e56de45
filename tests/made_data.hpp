#pragma once
// Data that a test makes by a function, and metrics measured of them.
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <dtk/metric.hpp>

#include "support.hpp"

/// Data made by a function of example number and stream; without end unless a size is given.
struct Made : dtk::Dataset {
    using Make = std::function<at::Tensor(const at::Tensor& index, const std::string& stream)>;
    Make make;
    std::int64_t count;
    std::vector<std::int64_t> sizes;
    explicit Made(Make f, std::int64_t n = 0)
        : make(std::move(f)), count(n), sizes(make(at::arange(1), "train").sizes().slice(1).vec()) {}
    std::vector<std::int64_t> shape() const override { return sizes; }
    std::int64_t size() const override { return count; }
    std::int64_t classes() const override { return 2; }
    dtk::Batch examples(const at::Tensor& index) const override { return {make(index, "train"), index % 2}; }
    dtk::Batch test_examples(const at::Tensor& index) const override { return {make(index, "test"), index % 2}; }
};
using Data = std::shared_ptr<Made>;

inline at::Tensor normal(const at::Tensor& index, const std::string& stream, std::vector<std::int64_t> sizes) {
    sizes.insert(sizes.begin(), index.size(0));
    return dtk::Random(5, stream).samples(index).normal(sizes, at::kDouble);
}

/// The same few points for every set of true examples.
inline Data points(const std::vector<double>& at) {
    const auto all = at::tensor(at, at::kDouble).unsqueeze(1);
    return std::make_shared<Made>(
        [all](const at::Tensor& index, const std::string&) { return all.index_select(0, index % all.size(0)); });
}

inline Data pictures(std::int64_t n) {
    return std::make_shared<Made>(
        [](const at::Tensor& index, const std::string& stream) {
            return normal(index, stream, {1, 4, 4});
        },
        n);
}

/// What the plugins of these data see; the model, where there is one, is also the network called "net".
struct MadeContext : support::BuildContext {
    explicit MadeContext(std::shared_ptr<dtk::Dataset> of) {
        data = std::move(of);
        chain = support::make<dtk::Process>("gaussian", "steps = 100", *this);
    }
    dtk::TrainedNetwork trained(const dtk::Reference&) const override { return {network, chain, "hash"}; }
};

inline dtk::MetricResult measured(const std::string& name, const MadeContext& context, const at::Tensor& samples,
                                  const std::string& fields = {}) {
    return support::make<dtk::Metric>(name, fields, context)
        ->evaluate({samples, *context.data, context.process(), support::denoiser(context)}, dtk::Random(1, "metric"));
}

inline double part(const dtk::MetricResult& m, const std::string& name) {
    for (const auto& [key, value] : m.parts)
        if (key == name) return value;
    throw dtk::Error("no part " + name);
}
