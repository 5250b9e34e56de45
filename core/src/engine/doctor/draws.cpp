// Samples drawn to be looked at.
#include "engine/doctor/draws.hpp"

#include <cmath>

#include "engine/sampling.hpp"

namespace dtk::doctor {

Drawing as_the_run(Examined& run, std::int64_t n) {
    const auto& stage = run.network();
    const auto& settings = stage.spec().sample;
    if (!settings || !stage.part<Sampler>()) throw NotLooked("the run draws no samples");
    if (stage.part<Observation>()) throw NotLooked("samples are drawn under an [observation]");
    if (!stage.list<Guidance>().empty()) throw NotLooked("samples are drawn under [[guidance]], which moves them");
    if (settings->starts_from_file() || settings->interpolate > 0 || settings->invert)
        throw NotLooked("samples do not start from noise that is drawn");
    run.gaussian();
    return {.n = n, .stage = &stage, .clip = settings->clip, .bf16 = settings->precision == "bf16"};
}

double rows_of(const Drawing& drawing) {
    const auto times = drawing.stage->part<Sampler>()->times(drawing.stage->process());
    return static_cast<double>(drawing.n) * static_cast<double>(times.size());
}

Tensor drawn(Examined& run, const Drawing& drawing) {
    at::NoGradGuard no_grad;
    const auto& stage = *drawing.stage;
    const auto& settings = *stage.spec().sample;
    const auto sampler = stage.part<Sampler>();
    const auto times = sampler->times(stage.process());
    const auto random = stage.random("sample");

    DenoiserOptions options{.bf16 = drawing.bf16};
    if (drawing.clip) options.clip = stage.space().range;
    Condition condition;
    if (const auto classes = classes_in_turn(stage, settings); classes.defined())
        condition.label = classes.index_select(0, at::arange(drawing.n, at::kLong).remainder(classes.numel()));
    auto denoise = stage.denoiser(options, condition.to(run.device()));
    if (drawing.around) denoise = drawing.around(denoise);
    if (stage.model().self_conditions()) denoise = denoise.begin();

    auto sizes = stage.space().shape;
    sizes.insert(sizes.begin(), drawing.n);
    const auto noise = at::TensorOptions(run.device()).dtype(at::kFloat);
    const auto x = drawing.from_data ? stage.process()
                                           .noised(examples_like_samples(run, drawing.n).to(run.device()),
                                                   times.front(), random.stream("prior"))
                                           .x
                                     : stage.process().prior(sizes, noise, random.stream("prior"), times.front());
    const auto done = [&](std::int64_t, const Tensor&) {
        if (run.seconds_left() < 0) throw NotLooked("drawing samples took longer than a minute's look has");
        denoise.advance();
    };
    return sampler->sample(denoise, times, x, random.stream("steps"), done).cpu();
}

Tensor examples_like_samples(Examined& run, std::int64_t n) {
    const auto& all = run.training();
    const auto& label = all.condition.label;
    const auto classes = classes_in_turn(run.stage(), run.stage().spec().sample.value_or(SampleSettings{}));
    if (!label.defined() || !classes.defined())
        return all.x.index_select(0, at::arange(n, at::kLong).remainder(all.n()));
    std::vector<Tensor> rows;
    for (std::int64_t i = 0; i < classes.numel(); ++i)
        if (auto of_class = (label == classes[i]).nonzero().flatten(); of_class.numel() > 0)
            rows.push_back(std::move(of_class));
    if (rows.empty()) throw NotLooked("no example is of the classes that samples are asked for");
    std::vector<std::int64_t> number;
    for (std::int64_t i = 0; i < n; ++i) {
        const auto& of_class = rows[static_cast<std::size_t>(i) % rows.size()];
        const auto turn = i / static_cast<std::int64_t>(rows.size());
        number.push_back(of_class[turn % of_class.numel()].item<std::int64_t>());
    }
    return all.x.index_select(0, at::tensor(number, at::kLong));
}

Distance distance_between(const Tensor& samples, const Tensor& examples, double data_sd) {
    const auto x = at::cat({samples, examples}).flatten(1).to(at::kDouble) / data_sd;
    Distance distance;
    if (!at::isfinite(x).all().item<bool>()) {
        distance.value = INFINITY;
        return distance;
    }
    const auto n = samples.size(0), m = examples.size(0);
    const auto pairs = at::cdist(x, x);
    // E = −wᵀ D w with w = 1/n of the samples and −1/m of the examples.
    const auto energy = [](const Tensor& w, const Tensor& pairs) { return -(w.matmul(pairs) * w).sum(1); };
    const auto shares = [](std::int64_t n, std::int64_t m) {
        return at::cat({at::full({n}, 1.0 / static_cast<double>(n), at::kDouble),
                        at::full({m}, -1.0 / static_cast<double>(m), at::kDouble)});
    };
    distance.value = energy(shares(n, m).unsqueeze(0), pairs).item<double>();
    // Of true samples mean and deviation go as 1/n + 1/m: those of halves of the examples, drawn again and again.
    constexpr std::int64_t exchanges = 100;
    const auto half = m / 2, rest = m - half;
    const auto w = shares(half, rest);
    std::vector<Tensor> rows;
    const Random random(0, "exchange");
    for (std::int64_t i = 0; i < exchanges; ++i)
        rows.push_back(w.index_select(0, random.step(i).uniform({m}, at::kDouble).argsort()));
    const auto by_chance = energy(at::stack(rows), pairs.slice(0, n).slice(1, n));
    const double fewer = (1 / static_cast<double>(n) + 1 / static_cast<double>(m)) /
                         (1 / static_cast<double>(half) + 1 / static_cast<double>(rest));
    distance.by_chance = fewer * by_chance.mean().item<double>();
    distance.sd = fewer * by_chance.std().item<double>();
    distance.cross = 2 * pairs.slice(0, 0, n).slice(1, n).mean().item<double>();
    return distance;
}

}  // namespace dtk::doctor
