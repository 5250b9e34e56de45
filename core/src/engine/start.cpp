#include "engine/start.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/safetensors.hpp>

#include "engine/latent_data.hpp"

namespace dtk {

namespace {

/// The middles of n equal shares of N(0, sd²), rows first … first + rows − 1. → [rows, 1]
Tensor normal_quantiles(double sd, std::int64_t first, std::int64_t rows, std::int64_t n,
                        const at::TensorOptions& options) {
    const auto share = (at::arange(first, first + rows, at::kDouble) + 0.5) / static_cast<double>(n);
    return (sd * at::special_ndtri(share.clamp_max(1 - 0.5 / static_cast<double>(n)))).unsqueeze(1).to(options);
}

/// Rows of x_T that n samples begin from: with `interpolate` both ends of every pair.
std::int64_t rows_needed(const SampleSettings& settings) {
    const auto each = settings.interpolate;
    return each > 0 ? 2 * ((settings.n + each - 1) / each) : settings.n;
}

/// The one tensor of the file that can be meant: `start`, `samples`, or the only one there is.
Tensor given_rows(const SampleSettings& settings, const Stage& stage) {
    const auto& file = settings.start;
    const auto shape = settings.renoise > 0 ? stage.dataset().shape() : stage.space().shape;
    const auto content = load_safetensors(file);
    const auto cure = "write a safetensors file with a tensor `start`, or with one tensor alone";
    Tensor rows;
    for (const char* name : {"start", "samples"})
        if (const auto found = content.tensors.find(name); !rows.defined() && found != content.tensors.end())
            rows = found->second;
    if (!rows.defined() && content.tensors.size() == 1) rows = content.tensors.begin()->second;
    if (!rows.defined())
        throw Error(fmt::format("{} holds {} tensors and none called `start`", file, content.tensors.size()), cure);
    if (rows.dim() < 1 || rows.size(0) == 0 || !std::ranges::equal(rows.sizes().slice(1), shape))
        throw Error(fmt::format("{} holds a tensor of shape {}, but samples are {}", file, fmt::join(rows.sizes(), "×"),
                                fmt::join(shape, "×")),
                    fmt::format("it must be [n, {}]", fmt::join(shape, ", ")));
    if (!rows.is_floating_point() || !at::isfinite(rows).all().item<bool>())
        throw Error(fmt::format("{} holds what is no finite number", file), "write float32 or float64 numbers");
    if (const auto needed = rows_needed(settings); rows.size(0) < needed && settings.renoise == 0)
        throw Error(fmt::format("{} holds {} rows, and {} samples need {}", file, rows.size(0), settings.n, needed),
                    "lower [sample] n, or give more rows");
    return rows;
}

}  // namespace

void check_start(const SampleSettings& settings, const Stage& stage) {
    if (settings.start == "quantiles" && !dynamic_cast<const GaussianProcess*>(&stage.process()))
        throw Error("start = \"quantiles\" is of a normal law, and this process starts from another",
                    "leave it \"random\"");
    if (settings.start == "quantiles" &&
        (stage.space().shape != std::vector<std::int64_t>{1} || settings.interpolate > 0))
        throw Error("start = \"quantiles\" is for data of one number, and leaves nothing to interpolate",
                    "leave it \"random\"");
    if (settings.invert && !settings.starts_from_file())
        throw Error("`invert` needs examples whose noise is to be found",
                    "say in `start` which file holds them, such as the samples.safetensors of a run");
    if (settings.invert && settings.interpolate > 0)
        throw Error("`invert` and `interpolate` are two steps",
                    "invert first, then interpolate with start = \".../start.safetensors\" of that run");
    if (settings.renoise > 0 && !settings.starts_from_file())
        throw Error("`renoise` needs examples to which noise is added",
                    "say in `start` which file holds them, such as the samples.safetensors of a run");
    if (settings.renoise > 0 && (settings.invert || settings.interpolate > 0))
        throw Error("`renoise` starts from examples with noise, `invert` and `interpolate` from noise alone",
                    "remove one of them");
    if (settings.starts_from_file()) given_rows(settings, stage);
}

std::vector<double> sampled_times(const Stage& stage, const SampleSettings& settings) {
    auto times = stage.part<Sampler>()->times(stage.process());
    if (settings.renoise == 0) return times;
    const auto kept = std::clamp<std::ptrdiff_t>(std::lround(settings.renoise * static_cast<double>(times.size())), 1,
                                                 static_cast<std::ptrdiff_t>(times.size()));
    times.erase(times.begin(), times.end() - kept);
    return times;
}

SampleStart::SampleStart(const Stage& stage, const SampleSettings& settings, std::vector<double> times)
    : process_(stage.process()),
      shape_(stage.space().shape),
      times_(std::move(times)),
      n_(settings.n),
      interpolate_(settings.interpolate),
      quantiles_(settings.start == "quantiles"),
      invert_(settings.invert),
      renoise_(settings.renoise > 0) {
    check_start(settings, stage);
    if (!settings.starts_from_file()) return;
    given_ = given_rows(settings, stage);
    if (const auto codec = stage.part<Codec>(); renoise_ && codec)
        given_ = latents_of(*codec, given_.to(at::kFloat), stage.random("codec").stream("start")).cpu();
}

Tensor SampleStart::rows(std::int64_t first, std::int64_t rows, const at::TensorOptions& options, const Random& random,
                         const Denoiser& denoise) const {
    return interpolate_ > 0 ? between(first, rows, options, random, denoise)
                            : ends(first, rows, options, random, denoise);
}

Tensor SampleStart::ends(std::int64_t first, std::int64_t rows, const at::TensorOptions& options, const Random& random,
                         const Denoiser& denoise) const {
    if (quantiles_) return normal_quantiles(process_.levels().prior_sd(times_.front()), first, rows, n_, options);
    if (renoise_) {
        const auto number = at::arange(first, first + rows, at::kLong).remainder(given_.size(0));
        const auto x0 = given_.index_select(0, number).to(options);
        return process_.noised(x0, times_.front(), random.from(first)).x;
    }
    if (given_.defined()) {
        const auto x = rows_padded(given_, std::min(first, given_.size(0) - 1), rows).to(options);
        return invert_ ? inverted(denoise, times_, x) : x;
    }
    auto sizes = shape_;
    sizes.insert(sizes.begin(), rows);
    return process_.prior(sizes, options, random.from(first), times_.front());
}

Tensor SampleStart::between(std::int64_t first, std::int64_t rows, const at::TensorOptions& options,
                            const Random& random, const Denoiser& denoise) const {
    // Sample k is number k mod K of pair k div K, whose ends are rows 2k and 2k + 1 of what would be started from.
    const auto pair = first / interpolate_, pairs = (first + rows - 1) / interpolate_ - pair + 1;
    const auto both = ends(2 * pair, 2 * pairs, options, random, denoise);
    const auto number = at::arange(first, first + rows, at::kLong);
    const auto a = (2 * (number.floor_divide(interpolate_) - pair)).to(both.device());
    const auto share = number.remainder(interpolate_).to(options.dtype(at::kDouble)) /
                       static_cast<double>(std::max<std::int64_t>(1, interpolate_ - 1));
    return spherical(both.index_select(0, a), both.index_select(0, a + 1), share);
}

Tensor spherical(const Tensor& a, const Tensor& b, const Tensor& share) {
    const auto u = a.flatten(1).to(at::kDouble), v = b.flatten(1).to(at::kDouble);
    const auto angle = ((u * v).sum(1) / (u.norm(2, 1) * v.norm(2, 1))).clamp(-1, 1).acos();
    // Where the two are as good as parallel, the circle is the line.
    const auto flat = angle.sin() < 1e-6, safe = at::where(flat, 1.0, angle.sin());
    const auto of_a = at::where(flat, 1 - share, ((1 - share) * angle).sin() / safe),
               of_b = at::where(flat, share, (share * angle).sin() / safe);
    return (of_a.unsqueeze(1) * u + of_b.unsqueeze(1) * v).view(a.sizes()).to(a.scalar_type());
}

namespace {

/// The x where `residual` is 0 but for a share of `small`, row by row, from where it is said to begin. Its slope is
/// nowhere flatter than 1/longest. residual: a symmetric contraction towards it, the negative gradient of a convex
/// function, as of a step of DDIM with an exact denoiser. Barzilai & Borwein, "Two-Point Step Size Gradient Methods",
/// 1988.
Tensor root(Tensor x, double small, double longest, const std::function<Tensor(const Tensor&)>& residual) {
    constexpr int most = 200;
    auto off = residual(x);
    auto length = at::ones({x.size(0)}, x.options().dtype(at::kDouble));
    const auto norm2 = [](const Tensor& a, const Tensor& b) { return (a * b).flatten(1).to(at::kDouble).sum(1); };
    std::vector<std::int64_t> rows(static_cast<std::size_t>(x.dim()), 1);
    rows[0] = -1;
    for (int i = 0; i < most; ++i) {
        if (norm2(off, off).le(small * small * (1 + norm2(x, x))).all().item<bool>()) break;
        const auto step = length.view(rows).to(x.scalar_type()) * off;
        x = x + step;
        const auto next = residual(x), change = off - next;
        length = (norm2(step, step) / norm2(step, change).clamp_min(1e-300)).clamp(0.02, longest);
        off = next;
    }
    return x;
}

}  // namespace

Tensor inverted(const Denoiser& denoise, const std::vector<double>& times, Tensor x0) {
    const auto& noise = denoise.noise();
    auto x = std::move(x0);
    double s = -1;
    for (auto t = times.rbegin(); t != times.rend(); s = *t++) {
        const auto from = noise.at(s), to = noise.at(*t);
        if (s < 0 && to.alpha == 0)
            throw Error("examples cannot be inverted in one step to a time without signal",
                        "give the sampler more `steps`, or a grid that begins earlier");
        // The network knows no clean data: the first step asks at its own end.
        const auto [estimate, eps] = denoise.estimate(x, s < 0 ? *t : s);
        auto next = to.alpha * estimate + to.sigma * eps;
        if (to.alpha > 0) {
            const double kept = to.alpha / from.alpha, added = to.sigma - kept * from.sigma;
            const double longest = from.sigma > 0 ? std::max(5.0, to.sigma / (kept * from.sigma)) : 5;
            // The step back divides what is left by α, so that where little signal is kept less may be left.
            const double rounding = x.scalar_type() == at::kDouble ? 1e-15 : 1e-7;
            next = root(next, std::max(4 * rounding, 1e-7 * std::min(1.0, kept)), longest,
                        [&](const Tensor& at) { return kept * x + added * denoise.eps(at, *t) - at; });
        }
        x = next;
    }
    return x;
}

}  // namespace dtk
