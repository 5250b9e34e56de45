// dtk data show: what is in the data of an experiment, and the noise that suits them.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/features.hpp>

#include "base/files.hpp"
#include "base/stop.hpp"
#include "base/toml.hpp"
#include "base/words.hpp"
#include "engine/artefacts.hpp"
#include "engine/commands.hpp"
#include "engine/pictures.hpp"
#include "engine/say.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t of_endless = 20'000;                // examples that are looked at where there is no end of them
constexpr std::int64_t elements_at_once = 4'000'000;       // of examples that are read together
constexpr std::int64_t most_sampled = 2000;                // examples whose distances are all measured …
constexpr std::int64_t most_sampled_elements = 1LL << 25;  // … and their elements
constexpr std::size_t most_hashes = 1 << 20;
constexpr std::int64_t most_shown = 300, most_shown_elements = 1LL << 25;  // of each class in a picture; of all of them
constexpr double told_apart = 0.25;  // noise that leaves two points 4 sd apart, of their distance

/// Count, mean, variance and ends of each channel, portion after portion (Chan, Golub & LeVeque 1983).
class Moments {
 public:
    /// x: [B, ...], the channels of images or the elements of vectors; all of others together
    void add(const Tensor& x) {
        const auto d = x.to(at::kDouble);
        const auto rows = d.dim() == 4 ? d.transpose(0, 1).flatten(1) : d.dim() == 2 ? d.t() : d.reshape({1, -1});
        const auto n = static_cast<double>(rows.size(1));
        const auto mean = rows.mean(1), square = (rows - mean.unsqueeze(1)).square().sum(1);
        if (count_ == 0) {
            mean_ = mean, square_ = square, least_ = rows.amin(1), most_ = rows.amax(1), count_ = n;
            return;
        }
        const auto off = mean - mean_;
        const double all = count_ + n;
        mean_ = mean_ + off * (n / all);
        square_ = square_ + square + off.square() * (count_ * n / all);
        least_ = at::minimum(least_, rows.amin(1)), most_ = at::maximum(most_, rows.amax(1));
        count_ = all;
    }
    std::int64_t channels() const { return mean_.size(0); }
    double mean(std::int64_t i) const { return mean_[i].item<double>(); }
    double sd(std::int64_t i) const { return std::sqrt(square_[i].item<double>() / count_); }
    double least(std::int64_t i) const { return least_[i].item<double>(); }
    double most(std::int64_t i) const { return most_[i].item<double>(); }
    double mean() const { return mean_.mean().item<double>(); }
    /// Of all elements around their one mean.
    double sd() const {
        const auto around = square_ / count_ + (mean_ - mean_.mean()).square();
        return std::sqrt(around.mean().item<double>());
    }
    double least() const { return least_.min().item<double>(); }
    double most() const { return most_.max().item<double>(); }

 private:
    double count_ = 0;
    Tensor mean_, square_, least_, most_;
};

/// Which examples are the same to the last bit, by 64 bits of hash. Where there are very many, those whose hash ends in
/// enough zeros stand for all.
class Copies {
 public:
    void add(const Tensor& x) {
        for (const auto hash : hashes(x)) {
            if (hash & mask_) continue;
            ++counts_[hash];
            if (counts_.size() <= most_hashes) continue;
            mask_ = 2 * mask_ + 1;
            std::erase_if(counts_, [&](const auto& one) { return (one.first & mask_) != 0; });
        }
    }
    /// How many of the rows are among what was added, times what they stand for.
    std::int64_t known(const Tensor& x) const {
        std::int64_t n = 0;
        for (const auto hash : hashes(x)) n += (hash & mask_) == 0 && counts_.contains(hash);
        return n * stands_for();
    }
    std::int64_t repeated() const {
        std::int64_t n = 0;
        for (const auto& [hash, count] : counts_) n += count - 1;
        return n * stands_for();
    }
    bool is_exact() const { return mask_ == 0; }

 private:
    std::int64_t stands_for() const { return static_cast<std::int64_t>(mask_) + 1; }
    static std::vector<std::uint64_t> hashes(const Tensor& x) {
        const auto rows = x.to(at::kFloat).flatten(1).contiguous();
        std::vector<std::uint64_t> all(static_cast<std::size_t>(rows.size(0)));
        const auto* element = rows.const_data_ptr<float>();
        for (auto& hash : all) {
            hash = 0x9E3779B97F4A7C15;
            for (std::int64_t i = 0; i < rows.size(1); ++i) {
                std::uint32_t bits = 0;
                std::memcpy(&bits, element++, sizeof bits);
                hash = (hash ^ bits) * 0xBF58476D1CE4E5B9;
                hash ^= hash >> 29;
            }
        }
        return all;
    }
    std::unordered_map<std::uint64_t, std::int64_t> counts_;
    std::uint64_t mask_ = 0;
};

/// Distances among some examples, spread evenly over all.
struct Distances {
    std::int64_t examples = 0;
    double largest = 0, nearest = 0,
           least = 0;  ///< the median to the nearest other one, and the least; copies left out
};

Distances distances_in(const Tensor& examples) {
    const auto x = examples.to(at::kDouble).flatten(1);
    const auto n = x.size(0);
    Distances found{.examples = n};
    auto nearest = at::full({n}, INFINITY, at::kDouble);
    squared_distances(x, x, [&](std::int64_t first, const Tensor& d2) {
        found.largest = std::max(found.largest, d2.max().item<double>());
        const auto rows = d2.size(0);
        // What is left of rounding where two rows are the same is no distance.
        const auto same = d2 <= 1e-12 * x.square().sum(1).max();
        const auto own = at::arange(first, first + rows).unsqueeze(1) == at::arange(n).unsqueeze(0);
        nearest.slice(0, first, first + rows).copy_(d2.masked_fill(same | own, INFINITY).amin(1));
    });
    found.largest = std::sqrt(found.largest);
    const auto there = nearest.masked_select(at::isfinite(nearest)).sqrt();
    if (there.numel() > 0) found.nearest = there.median().item<double>(), found.least = there.min().item<double>();
    return found;
}

/// What one pass over the data finds.
struct Found {
    std::int64_t training = 0, test = 0, looked_at = 0;
    Moments moments;
    Copies copies;
    std::int64_t in_training = 0;
    std::vector<std::int64_t> counts, test_counts;
    Distances distances;
    Tensor shown, shown_label;  ///< a few examples for a picture, of each class some where there are classes
};

/// The first few examples of each class.
class FewOfEach {
 public:
    FewOfEach(std::int64_t classes, std::int64_t elements)
        : left_(static_cast<std::size_t>(classes),
                std::clamp<std::int64_t>(most_shown_elements / (elements * std::max<std::int64_t>(1, classes)), 1,
                                         most_shown)) {}
    void add(const Batch& batch) {
        if (!batch.condition.label.defined()) return;
        const auto label = batch.condition.label.contiguous();
        std::vector<std::int64_t> wanted;
        for (std::int64_t i = 0; i < label.numel(); ++i)
            if (auto& left = left_.at(static_cast<std::size_t>(label.const_data_ptr<std::int64_t>()[i])); left > 0)
                --left, wanted.push_back(i);
        if (wanted.empty()) return;
        const auto place = at::tensor(wanted, at::kLong);
        x_.push_back(batch.x.index_select(0, place)), label_.push_back(label.index_select(0, place));
    }
    bool empty() const { return x_.empty(); }
    Tensor x() const { return at::cat(x_); }
    Tensor label() const { return at::cat(label_); }

 private:
    std::vector<std::int64_t> left_;
    std::vector<Tensor> x_, label_;
};

void count_labels(const Tensor& label, std::vector<std::int64_t>& counts) {
    if (!label.defined()) return;
    const auto n = at::bincount(label, {}, static_cast<std::int64_t>(counts.size()));
    for (std::size_t k = 0; k < counts.size(); ++k) counts[k] += n[static_cast<std::int64_t>(k)].item<std::int64_t>();
}

Found look_at(const Dataset& data, Progress::Mode mode) {
    Found found;
    found.training = data.size(), found.test = data.test_size();
    const auto n = found.looked_at = data.size() > 0 ? data.size() : of_endless;
    const bool ends = data.size() > 0;
    std::int64_t elements = 1;
    for (const auto size : data.shape()) elements *= size;
    const auto portion = std::clamp<std::int64_t>(elements_at_once / elements, 1, 4096);
    found.counts.resize(static_cast<std::size_t>(data.classes()));
    found.test_counts = found.counts;
    FewOfEach few(data.classes(), elements);
    Progress progress("data", n + (ends ? found.test : 0), mode);
    const auto each = [&](std::int64_t size, std::int64_t before, const auto& batch_of, const auto& take) {
        for (std::int64_t first = 0; first < size; first += portion) {
            end_if_asked("while the data were looked at");
            take(batch_of(at::arange(first, std::min(first + portion, size), at::kLong)));
            progress.at(before + std::min(first + portion, size));
        }
    };
    each(
        n, 0, [&](const Tensor& index) { return data.examples(index); },
        [&](const Batch& batch) {
            found.moments.add(batch.x);
            found.copies.add(batch.x);
            count_labels(batch.condition.label, found.counts);
            few.add(batch);
        });
    if (ends)
        each(
            found.test, n, [&](const Tensor& index) { return data.test_examples(index); },
            [&](const Batch& batch) {
                found.in_training += found.copies.known(batch.x);
                count_labels(batch.condition.label, found.test_counts);
            });
    progress.finish();
    const auto some = std::min({n, most_sampled, std::max<std::int64_t>(2, most_sampled_elements / elements)});
    const auto spread = (at::arange(some, at::kLong) * n).floor_divide(some);
    std::vector<Tensor> sampled;
    for (std::int64_t first = 0; first < spread.numel(); first += portion)
        sampled.push_back(data.examples(spread.slice(0, first, first + portion)).x);
    found.shown = at::cat(sampled);
    found.distances = distances_in(found.shown);
    if (!few.empty()) found.shown = few.x(), found.shown_label = few.label();
    return found;
}

void line(const char* heading, const std::string& text) { say(fmt::format("{:<12}{}", heading, harmless(text))); }

void say_classes(const Classes& classes, const Found& found) {
    const bool ends = found.training > 0;
    const auto name = [&](std::int64_t k) {
        return classes.names.empty() ? std::string() : harmless(classes.name(k), true);
    };
    std::size_t width = 4;
    for (std::int64_t k = 0; k < classes.count; ++k) width = std::max(width, name(k).size());
    say(fmt::format("{:<12}{:>4}  {:<{}}{:>10}{}", "classes", "", "", width, ends ? "training" : "of these",
                    ends ? fmt::format("{:>10}", "test") : ""));
    for (std::int64_t k = 0; k < classes.count; ++k) {
        const auto i = static_cast<std::size_t>(k);
        say(fmt::format("{:<12}{:>4}  {:<{}}{:>10}{}{}", "", k, name(k), width, found.counts[i],
                        ends ? fmt::format("{:>10}", found.test_counts[i]) : "",
                        ends && found.counts[i] == 0 ? "  never drawn: training has none" : ""));
    }
}

void say_moments(const Dataset& data, const Moments& moments) {
    constexpr std::int64_t shown = 16;
    const auto row = [](const std::string& name, double mean, double sd, double least, double most) {
        say(fmt::format("{:<12}{:>12}{:>12.5g}{:>12.5g}{:>12.5g}{:>12.5g}", "", name, mean, sd, least, most));
    };
    const auto* what = data.shape().size() == 3 ? "channel" : "element";
    say(fmt::format("{:<12}{:>12}{:>12}{:>12}{:>12}{:>12}", "values", "", "mean", "sd", "least", "most"));
    for (std::int64_t i = 0; i < moments.channels() && i < shown && moments.channels() > 1; ++i)
        row(fmt::format("{} {}", what, i), moments.mean(i), moments.sd(i), moments.least(i), moments.most(i));
    if (moments.channels() > shown) say(fmt::format("{:<12}{:>12}", "", fmt::format("… {}", moments.channels())));
    row("all", moments.mean(), moments.sd(), moments.least(), moments.most());
    line("sigma_data", fmt::format("{:.5g}, the standard deviation of all elements", moments.sd()));
}

/// The noise between which a schedule is to run, and why. Noise of sd σ beside data as they are (α = 1) is a log-SNR of
/// −2 ln σ under any schedule.
void say_noise(const Dataset& data, const Distances& among) {
    line("distances", fmt::format("among {} examples, spread evenly: the largest {:.5g}, to the nearest other {:.5g} "
                                  "(median) and {:.5g} (least)",
                                  among.examples, among.largest, among.nearest, among.least));
    const auto range = data.range();
    const bool levels = range && data.levels() > 1;
    const double apart = levels ? (range->second - range->first) / (data.levels() - 1) : among.nearest;
    if (!(among.largest > 0) || !(apart > 0)) return;
    const double sigma_max = among.largest, sigma_min = apart * told_apart;
    line("sigma_max",
         fmt::format("{:.4g}: the largest distance, so that x_T forgets which example it came from (Song & Ermon 2020, "
                     "technique 1)",
                     sigma_max));
    line("sigma_min",
         levels ? fmt::format("{:.4g}: a quarter of the {:.4g} between two of the {} levels, so that rounding restores "
                              "95 values in 100",
                              sigma_min, apart, data.levels())
                : fmt::format("{:.4g}: a quarter of the median distance to the nearest other example, which is then 4 "
                              "sd of the noise away",
                              sigma_min));
    const double log_snr_max = -2 * std::log(sigma_min), log_snr_min = -2 * std::log(sigma_max);
    line("log-SNR", fmt::format("{:.3g} … {:.3g}, which is −2 ln σ. For example", log_snr_max, log_snr_min));
    line("", fmt::format("schedule = {{use = \"log_linear\", log_snr_max = {:.3g}, log_snr_min = {:.3g}}}", log_snr_max,
                         log_snr_min));
    line("", fmt::format("schedule = {{use = \"ve\", sigma_min = {:.4g}, sigma_max = {:.4g}}}", sigma_min, sigma_max));
}

void show(const Stage& stage, const fs::path& picture, const DataRequest& request) {
    const auto& data = stage.dataset();
    const auto classes = stage.classes();
    const auto found = look_at(data, request.progress);
    const bool ends = found.training > 0;
    line("data",
         fmt::format("{}, examples of shape {}", stage.spec().part("dataset").name, fmt::join(data.shape(), "×")));
    line("examples", ends ? fmt::format("{} for training, {} for testing", found.training, found.test)
                          : fmt::format("without end: the first {} were looked at", found.looked_at));
    if (const auto range = data.range())
        line("range", fmt::format("{} … {}{}", range->first, range->second,
                                  data.levels() > 1 ? fmt::format(" in {} levels", data.levels()) : ""));
    say_moments(data, found.moments);
    if (classes.count > 0) say_classes(classes, found);
    if (ends)
        line("copies",
             fmt::format("{}{} training examples are copies of others, {} of the test examples are in training",
                         found.copies.is_exact() ? "" : "about ", found.copies.repeated(), found.in_training));
    say_noise(data, found.distances);
    try {
        if (draw_data(picture, found.shown, found.shown_label, data, classes)) line("picture", picture.string());
    } catch (const Error& error) {
        Progress::note(fmt::format("no picture of the data: {}; {}", error.what(), error.help()));
    }
}

int show_in(const DataRequest& request) {
    watch_signals();
    Loaded loaded;
    read(loaded, request.file, request.overrides);
    auto& stages = loaded.experiment.stages;
    // What is wrong with other parts does not keep anybody from looking at the data.
    if (stages.empty() || std::ranges::any_of(stages, [](const auto& spec) { return !spec.part("dataset"); }))
        return report(loaded.mistakes);
    if (request.out && request.out->extension() != ".png" && request.out->extension() != ".svg")
        throw UserError(fmt::format("--out {}: pictures are .svg or .png", request.out->string()),
                        "give it one of these endings");
    std::set<std::string> known;
    for (auto& spec : stages) {
        if (!known.insert(toml_text(spec.part("dataset").resolved)).second) continue;
        auto alone = std::move(spec.parts["dataset"]);
        spec.parts.clear();
        spec.parts["dataset"] = std::move(alone);
        spec.train.reset(), spec.sample.reset(), spec.init.reset();
        Diagnostics mistakes;
        const auto none = [](const std::string& name) -> TrainedNetwork {
            throw Error(fmt::format("`{}` is a trained network, and only the data are looked at", name));
        };
        const Stage stage(spec, loaded.experiment.seed, none, false, mistakes);
        if (!mistakes.empty()) return report(mistakes);
        if (known.size() > 1) say("");
        if (!spec.name.empty()) line("stage", spec.name);
        const auto number = known.size() > 1 ? "-" + std::to_string(known.size()) : std::string();
        const auto usual = fmt::format("{}-data{}.svg", loaded.experiment.name, number);
        auto picture = request.out.value_or(usual);
        if (request.out && !number.empty())
            picture.replace_filename(picture.stem().string() + number + picture.extension().string());
        show(stage, picture, request);
    }
    return done;
}

}  // namespace

int show_data(const DataRequest& request) {
    return guarded([&] { return show_in(request); });
}

}  // namespace dtk
