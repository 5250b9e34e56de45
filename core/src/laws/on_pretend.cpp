// What a plugin does on an accelerator.
#include "laws/on_pretend.hpp"

#include <algorithm>
#include <memory>

#include <dtk/guidance.hpp>
#include <dtk/loss.hpp>
#include <dtk/sampler.hpp>
#include <dtk/schedule.hpp>

#include "laws/bench.hpp"
#include "laws/pretend.hpp"

namespace dtk::laws {

void on_pretend(Findings& found, const std::function<Loop(at::Device device)>& loop) {
    const auto on_host = loop(at::kCPU)();
    const auto turn = loop(pretend::device());
    turn();
    const auto before = pretend::counts();
    const auto results = turn();
    const auto seen = pretend::counts() - before;
    found.expect(seen.waited() == 0, fmt::format("the host waits for the device: {}", seen.waits));
    found.expect(results.size() == on_host.size(), "on the device it has other results");
    for (std::size_t i = 0; i < std::min(results.size(), on_host.size()); ++i) {
        found.expect(results[i].device() == pretend::device(),
                     fmt::format("asked on the device it answers on {}", results[i].device().str()));
        const double size = std::max(1.0, on_host[i].detach().abs().max().item<double>());
        found.at_most(distance(results[i].detach().to(at::kCPU), on_host[i].detach()) / size, 1e-4,
                      "on the device the answer is off by");
    }
}

namespace {

constexpr std::int64_t rows = 4;

/// Examples as the chain has them, and what is known of them, on the device.
Batch batch_on(const Bench& bench, at::Device device) {
    auto batch = bench.chain_data().examples(at::arange(rows));
    batch.x = batch.x.to(device);
    batch.condition = batch.condition.to(device);
    if (bench.seen) batch.condition.observed = bench.seen->y(0, rows).to(batch.x.options());
    return batch;
}

/// A bench of its own whose process and networks live on the device while it does.
class OnDevice {
 public:
    OnDevice(const Trial& trial, const Bench& bench, at::Device device) : bench(trial.under(bench, "")) {
        this->bench.chain->to(device);
        for (auto& [name, network] : this->bench.networks) {
            network.model->to(device);
            if (network.process) network.process->to(device);
        }
    }
    ~OnDevice() {
        for (auto& [name, network] : bench.networks) {
            network.model->to(at::kCPU);
            if (network.process) network.process->to(at::kCPU);
        }
        if (bench.network) bench.network->to(at::kCPU);
    }
    OnDevice(const OnDevice&) = delete;
    OnDevice& operator=(const OnDevice&) = delete;

    Bench bench;
};

/// A formula in place of a network, wherever x lies.
Denoiser formula(const Bench& bench) {
    return {bench.chain, [](const Tensor& x, const Time&, const Condition& condition) -> Prediction {
                const bool told = condition.label.defined() && !condition.given.defined();
                return {PredictionType::eps, x * (told ? 0.6 : 0.5), {}};
            }};
}

/// The network that the author names for the trial, or a formula.
Denoiser asked(const Trial& trial, const Bench& bench, at::Device device) {
    if (!trial.names(Model::kind)) return formula(bench);
    bench.network->to(device);
    return bench.denoiser();
}

Loop loop_of(const Trial& trial, const Bench& of, at::Device device) {
    const auto& kind = trial.plugin().kind;
    const auto home = std::make_shared<OnDevice>(trial, of, device);
    const auto& bench = home->bench;
    const auto batch = batch_on(of, device);
    if (kind == Codec::kind) {
        const auto codec = trial.make<Codec>(bench);
        codec->to(device);
        return [codec, home, x = batch.x] {
            const auto latents = codec->encode(x);
            return std::vector{latents.mean, codec->decode(latents.mean)};
        };
    }
    if (kind == Conditioner::kind) {
        const auto conditioner = trial.make<Conditioner>(bench);
        conditioner->train(false);
        conditioner->to(device);
        return [conditioner, home, told = batch.condition] {
            const auto made = (*conditioner)(told);
            std::vector<Tensor> all;
            for (const auto& tensor : {made.label, made.tokens, made.vector})
                if (tensor.defined()) all.push_back(tensor);
            return all;
        };
    }
    const auto T = static_cast<double>(bench.chain->steps());
    const Time t(at::tensor({0.0, T / 4, T / 2, T - 1}, at::kDouble).floor());
    if (kind == Model::kind) {
        const auto model = trial.make<Model>(bench);
        model->train(false);
        model->to(device);
        return [model, home, batch, t] { return std::vector{model->forward(batch.x, t, batch.condition).value}; };
    }
    if (kind == Sampler::kind) {
        const auto few = trial.tried<Sampler>(bench, "steps = 6");
        const auto sampler = few ? few : trial.make<Sampler>(bench);
        const auto times = sampler->times(*bench.chain);
        const auto start = bench.chain->prior(batch.x.sizes(), batch.x.options(), Random(1, "laws"), times.front());
        const auto denoise = formula(bench).with(batch.condition);
        return [=, home = home] {
            return std::vector{sampler->sample(denoise.begin(), times, start.clone(), Random(2, "laws"))};
        };
    }
    if (kind == Guidance::kind) {
        const auto guidance = trial.make<Guidance>(bench);
        const auto denoise = guidance->around(formula(bench).with(batch.condition));
        return [=, home = home, guidance = guidance] { return std::vector{denoise.begin().eps(batch.x, t)}; };
    }
    const auto loss = trial.make<Loss>(bench);
    loss->to(device);
    const auto denoise = asked(trial, bench, device).with(batch.condition);
    return [=, home = home] {
        std::vector<Tensor> all;
        for (const auto& objective : (*loss)(denoise, batch, t, Random(3, "laws")).objectives)
            all.push_back(objective.value);
        return all;
    };
}

void stays(const Trial& trial, Findings& found) {
    const at::NoGradGuard no_grad;

    for (const auto& bench : trial.benches()) {
        const Within within(found, bench.name);
        const auto& kind = trial.plugin().kind;
        const bool asks = kind == Sampler::kind || kind == Guidance::kind || kind == Loss::kind;
        if (asks && !dynamic_cast<const GaussianProcess*>(bench.chain.get())) {
            found.not_asked("it is asked with a formula for the Gaussian process alone");
            continue;
        }
        try {
            on_pretend(found, [&](at::Device device) { return loop_of(trial, bench, device); });
        } catch (const Error& error) {  // a formula is not the network that it wants
            found.not_asked(error.what());
        }
    }
}

}  // namespace

Law stays_on_its_device() {
    return {"on an accelerator the host waits for nothing, and tensors of two devices are not mixed", stays};
}

}  // namespace dtk::laws
