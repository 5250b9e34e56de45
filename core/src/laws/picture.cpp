// What a plugin does, as a picture, for the kinds that have one.
#include "laws/picture.hpp"

#include <cmath>

#include <dtk/grid.hpp>
#include <dtk/optimizer.hpp>
#include <dtk/rate.hpp>
#include <dtk/sampler.hpp>
#include <dtk/schedule.hpp>
#include <dtk/weighting.hpp>

#include "base/chart.hpp"
#include "engine/pictures.hpp"
#include "engine/remembered_data.hpp"

namespace dtk::laws {

namespace {

void of_schedule(const Trial& trial, const std::filesystem::path& file) {
    const auto levels = trial.make<Schedule>(trial.benches().front())->levels(1000);
    Series alpha_bar{.name = "signal ᾱ"}, sigma2{.name = "noise σ²"}, log_snr;
    for (std::int64_t t = 0; t < levels.steps(); t += 3) {
        const auto at = static_cast<double>(t);
        for (auto* one : {&alpha_bar, &sigma2, &log_snr}) one->x.push_back((at + 1) / 1000);
        alpha_bar.y.push_back(levels.alpha_bar(at));
        sigma2.y.push_back(levels.sigma2(at));
        log_snr.y.push_back(levels.log_snr(at));
    }
    const bool explodes = !levels.is_variance_preserving() && sigma2.y.back() > 10;
    write_charts(file,
                 {{.title = "signal and noise",
                   .x_label = "u = (t + 1)/T",
                   .log_y = explodes,
                   .series = {alpha_bar, sigma2},
                   .width = 420,
                   .height = 280},
                  {.title = "log-SNR", .x_label = "u = (t + 1)/T", .series = {log_snr}, .width = 420, .height = 280}});
}

void of_grid(const Trial& trial, const std::filesystem::path& file) {
    const auto& bench = trial.benches().front();
    const auto levels = trial.other<Schedule>(bench, "")->levels(1000);
    const auto grid = trial.make<Grid>(bench);
    Chart chart{
        .title = "the times of 5, 10, 20 and 40 steps", .x_label = "t", .y_label = "steps", .y_range = {{0, 45}}};
    for (const std::int64_t n : {5, 10, 20, 40}) try {
            Series times{.style = Series::Style::points};
            for (const double t : grid->times(levels, n)) {
                times.x.push_back(t);
                times.y.push_back(static_cast<double>(n));
            }
            chart.series.push_back(times);
        } catch (const Error&) {  // it has no such times
        }
    if (!chart.series.empty()) write_chart(file, chart);
}

void of_rate(const Trial& trial, const std::filesystem::path& file) {
    const auto rate = trial.make<Rate>(trial.benches().front());
    Series share;
    for (std::int64_t step = 0; step < 1000; ++step) {
        share.x.push_back(static_cast<double>(step));
        share.y.push_back(rate->share(step, 1000));
    }
    write_chart(file, {.title = "share of the learning rate in 1000 steps", .x_label = "step", .series = {share}});
}

void of_average(const Trial& trial, const std::filesystem::path& file) {
    const auto average = trial.make<Average>(trial.benches().front());
    // How much the parameters after each step count in the average at the end.
    constexpr std::int64_t steps = 10'000;
    Series weight;
    double left = 1;
    for (std::int64_t step = steps - 1; step >= 0; --step) {
        const double keep = average->keep(step);
        if (step % 20 == 0) {
            weight.x.push_back(static_cast<double>(step));
            weight.y.push_back(left * (1 - keep));
        }
        left *= keep;
    }
    write_chart(file, {.title = "what each of 10,000 steps counts in the average",
                       .x_label = "step",
                       .y_label = "weight",
                       .series = {weight}});
}

void of_weighting(const Trial& trial, const std::filesystem::path& file) {
    const auto weighting = trial.make<Weighting>(trial.benches().front());
    Series of_eps{.name = "of ε's error"}, of_x0{.name = "of x_0's error"};
    for (double log_snr = -12; log_snr <= 12; log_snr += 0.1) {
        const auto level = variance_preserving(log_snr);
        of_eps.x.push_back(log_snr);
        of_eps.y.push_back(weighting->weight(level, std::exp(log_snr)));
        of_x0.x.push_back(log_snr);
        of_x0.y.push_back(weighting->weight(level, 1));
    }
    write_chart(file, {.title = "weight of the squared error",
                       .x_label = "log-SNR",
                       .y_label = "λ",
                       .log_y = true,
                       .series = {of_eps, of_x0}});
}

/// The distance from the exact flow of normal data by the number of steps, or, of what draws, that of mean and
/// deviation from theirs.
void of_sampler(const Trial& trial, const std::filesystem::path& file) {
    Bench bench("normal data", normal({2}, 0.5, 0.6));
    bench = trial.under(std::move(bench), "");
    const auto& process = gaussian(bench.process(), "the picture of a sampler");
    Series error{.style = Series::Style::line};
    for (const std::int64_t n : {2, 4, 8, 16, 32, 64, 128, 256}) {
        const auto sampler = trial.tried<Sampler>(bench, fmt::format("steps = {}", n));
        if (!sampler) continue;
        const auto times = sampler->times(process);
        const auto x = process.prior({4000, 2}, at::kDouble, Random(1, "prior"), times.front());
        const auto drawn = [&](std::uint64_t seed) {
            return sampler->sample(bench.denoiser().begin(), times, x.clone(), Random(seed, "sample"));
        };
        const auto first = drawn(1);
        error.x.push_back(static_cast<double>(n));
        if (at::equal(first, drawn(2))) {
            const double alpha = process.levels().alpha(times.front()), sigma = process.levels().sigma(times.front());
            const auto exact = 0.5 + 0.6 / std::hypot(alpha * 0.6, sigma) * (x - alpha * 0.5);
            error.y.push_back((first - exact).square().mean().sqrt().item<double>());
        } else {
            error.y.push_back(std::hypot(first.mean().item<double>() - 0.5, first.std().item<double>() - 0.6));
        }
    }
    if (!error.x.empty())
        write_chart(file, {.title = "error on normal data with the exact denoiser",
                           .x_label = "steps",
                           .log_x = true,
                           .log_y = true,
                           .series = {error}});
}

void of_dataset(const Trial& trial, const std::filesystem::path& file) {
    const auto data = trial.make<Dataset>(trial.benches().front());
    const std::int64_t n = data->shape().size() == 3 ? 40 : 2000;
    const auto batch = data->examples(at::arange(data->size() > 0 ? std::min(n, data->size()) : n));
    draw_data(file, batch.x, batch.condition.label, *data, classes_of(*data));
}

}  // namespace

void draw(const Trial& trial, const std::filesystem::path& file) {
    const std::map<std::string, void (*)(const Trial&, const std::filesystem::path&)> all{
        {"schedule", of_schedule},   {"grid", of_grid},       {"rate", of_rate},      {"average", of_average},
        {"weighting", of_weighting}, {"sampler", of_sampler}, {"dataset", of_dataset}};
    if (const auto found = all.find(trial.plugin().kind); found != all.end()) found->second(trial, file);
}

}  // namespace dtk::laws
