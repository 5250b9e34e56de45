#include "engine/sampling.hpp"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/stop.hpp"
#include "engine/start.hpp"
#include "engine/tokenised_data.hpp"

namespace dtk {

Tensor classes_in_turn(const Stage& stage, const SampleSettings& settings) {
    const auto classes = stage.classes();
    std::vector<std::int64_t> numbers;
    for (const auto& label : settings.labels) numbers.push_back(classes.number_of(label));
    if (numbers.empty()) numbers = classes.with_examples();
    return numbers.empty() ? Tensor() : at::tensor(numbers, at::kLong);
}

Tensor labels_asked(const Stage& stage, const SampleSettings& settings, std::int64_t first, std::int64_t n) {
    const auto classes = classes_in_turn(stage, settings);
    if (!classes.defined()) return {};
    return classes.index_select(0, at::arange(first, first + n, at::kLong).remainder(classes.numel()));
}

std::vector<std::string> captions_asked(const Stage& stage, const SampleSettings& settings, std::int64_t first,
                                        std::int64_t n) {
    if (!stage.part<Tokenizer>()) return {};
    if (settings.prompts.empty()) {
        const auto* captions = known_as<Captioned>(stage.dataset());
        if (!captions)
            throw Error("the data cannot be read, and with them what their captions ask for",
                        "say what is to be drawn: --prompt \"…\"");
        const auto index = at::arange(first, first + n, at::kLong);
        return captions->test_captions(stage.dataset().test_size() > 0 ? index % stage.dataset().test_size() : index);
    }
    std::vector<std::string> texts;
    for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(first + n); ++i)
        texts.push_back(settings.prompts[i % settings.prompts.size()]);
    return texts;
}

double draw_samples(const Stage& stage, const SampleSettings& settings, at::Device device, Progress::Mode progress_mode,
                    const TakeSamples& take, KeptTrajectory* kept) {
    at::NoGradGuard no_grad;
    const auto sampler = stage.part<Sampler>();
    const auto space = stage.space();
    const auto times = sampled_times(stage, settings);
    const auto steps = static_cast<std::int64_t>(times.size());
    const auto chunk = std::min(settings.batch, settings.n), chunks = (settings.n + chunk - 1) / chunk;
    const auto options = at::TensorOptions(device).dtype(settings.precision == "float64" ? at::kDouble : at::kFloat);

    DenoiserOptions asked{.bf16 = settings.precision == "bf16", .rows = settings.network_batch, .guided = true};
    if (settings.clip) asked.clip = space.range;
    const auto denoise = stage.denoiser(asked);
    const auto codec = stage.part<Codec>();
    const auto decoded = [&](const Tensor& z) { return codec && z.defined() ? codec->decode(z) : z; };
    const bool remembers = stage.model().self_conditions();

    const auto drawn_with =
        settings.seed < 0 ? stage.random("sample") : Random(static_cast<std::uint64_t>(settings.seed), "sample");
    const auto rows_before = stage.rows_asked();
    Progress progress("sample", chunks * steps, progress_mode);
    const SampleStart start(stage, settings, times);
    if (kept) *kept = KeptTrajectory(settings.trajectory, times);
    for (std::int64_t i = 0; i < chunks; ++i) {
        const auto random = drawn_with.from(i * chunk);
        Condition condition;
        if (const auto labels = labels_asked(stage, settings, i * chunk, chunk); labels.defined())
            condition.label = labels.to(device, /*non_blocking=*/true);  // as many of each class
        if (const auto tokenizer = stage.part<Tokenizer>()) {
            const auto rows = token_rows(*tokenizer, captions_asked(stage, settings, i * chunk, chunk));
            condition.tokens = rows.tokens.to(device, /*non_blocking=*/true);
            condition.token_mask = rows.mask.to(device, /*non_blocking=*/true);
        }
        if (const auto seen = stage.part<Observation>())
            condition.observed = seen->y(i * chunk, chunk).to(options, /*non_blocking=*/true);
        auto trajectory = denoise.with(std::move(condition));
        const bool keeps = i == 0 && kept && !kept->empty();
        const auto x = start.rows(i * chunk, chunk, options, drawn_with.stream("prior"), trajectory);
        if (keeps) kept->see(0, decoded(x), {});
        if (remembers || keeps) trajectory = trajectory.begin();
        const auto done = [&](std::int64_t step, const Tensor& x) {
            end_if_asked("while samples were drawn");
            if (keeps) kept->see(step, decoded(x), decoded(trajectory.latest_x0()));
            trajectory.advance();
            progress.at(i * steps + step);
        };
        const auto samples = sampler->sample(trajectory, times, x, random.stream("steps"), done);
        if (samples.sizes() != x.sizes())
            throw PluginError(fmt::format("sampler `{}` answers samples of shape {} for x_T of shape {}",
                                          stage.spec().part("sampler").name, fmt::join(samples.sizes(), "×"),
                                          fmt::join(x.sizes(), "×")));
        const auto rows = std::min(chunk, settings.n - i * chunk);
        if (codec) {
            take(decoded(samples).cpu().slice(0, 0, rows), x.cpu().slice(0, 0, rows));
            continue;
        }
        const auto both = at::stack({samples, x}).cpu();  // one wait for both
        take(both[0].slice(0, 0, rows), both[1].slice(0, 0, rows));
    }
    progress.finish();
    return static_cast<double>(stage.rows_asked() - rows_before) / static_cast<double>(chunks * chunk);
}

Drawn draw_samples(const Stage& stage, const SampleSettings& settings, at::Device device,
                   Progress::Mode progress_mode) {
    std::vector<Tensor> samples, starts;
    const auto evaluations =
        draw_samples(stage, settings, device, progress_mode, [&](const Tensor& some, const Tensor& start) {
            samples.push_back(some);
            starts.push_back(start);
        });
    return {at::cat(samples), at::cat(starts), evaluations};
}

}  // namespace dtk
