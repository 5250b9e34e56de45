// Laws of data sets: examples by number, and what is said to be known of their law.
#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <numeric>
#include <set>
#include <thread>

#include <fmt/ranges.h>

#include <dtk/categories.hpp>
#include <dtk/densities.hpp>
#include <dtk/rotations.hpp>

#include "laws/bench.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

using Data = std::shared_ptr<Dataset>;
using Examples = Batch (Dataset::*)(const Tensor& index) const;

/// Numbers looked at together, so that large images do not take minutes.
constexpr std::int64_t numbers_looked_at = 1 << 20;

Data data_of(const Trial& trial) { return trial.make<Dataset>(trial.benches().front()); }

Data under_seed(const Trial& trial, std::uint64_t seed) {
    auto bench = trial.benches().front();
    bench.seed = seed;
    return trial.make<Dataset>(bench);
}

std::int64_t elements(const Dataset& data) {
    const auto shape = data.shape();
    return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

struct Split {
    const char* name;
    std::int64_t size;  ///< 0: without end
    Examples examples;
};

std::vector<Split> splits(const Dataset& data) {
    return {{"training", data.size(), &Dataset::examples}, {"testing", data.test_size(), &Dataset::test_examples}};
}

/// At most n numbers of examples, among them the last.
Tensor some_numbers(const Split& split, std::int64_t n) {
    if (split.size == 0) return at::arange(n);
    if (split.size <= n || n == 1) return at::arange(std::min(split.size, n));
    return (at::arange(n, at::kDouble) * (static_cast<double>(split.size - 1) / static_cast<double>(n - 1)))
        .to(at::kLong);
}

/// As many as can be looked at, at most `most`.
Tensor many_numbers(const Dataset& data, const Split& split, std::int64_t most) {
    return some_numbers(split, std::clamp<std::int64_t>(numbers_looked_at / elements(data), 64, most));
}

/// What a batch holds for each example, by name.
std::map<std::string, Tensor> tensors_of(const Batch& batch) {
    std::map<std::string, Tensor> all{{"x", batch.x},
                                      {"label", batch.condition.label},
                                      {"tokens", batch.condition.tokens},
                                      {"token_mask", batch.condition.token_mask},
                                      {"vector", batch.condition.vector},
                                      {"mask", batch.condition.mask}};
    for (const auto& [name, tensor] : batch.condition.named) all["named." + name] = tensor;
    std::erase_if(all, [](const auto& one) { return !one.second.defined(); });
    return all;
}

/// Are those the rows of `whole`?
void same_examples(const Batch& some, const Batch& whole, const Tensor& rows, const std::string& when,
                   Findings& found) {
    const auto a = tensors_of(some), b = tensors_of(whole);
    found.expect(a.size() == b.size(), fmt::format("{}, batches hold other tensors", when));
    for (const auto& [name, tensor] : a)
        found.expect(b.contains(name) && same_bits(tensor, b.at(name).index_select(0, rows)),
                     fmt::format("{}, `{}` of an example is another", when, name));
}

void sizes_make_sense(const Trial& trial, Findings& found) {
    const auto data = data_of(trial);
    const auto shape = data->shape();
    found.expect(!shape.empty() && std::ranges::all_of(shape, [](auto size) { return size > 0; }),
                 fmt::format("the shape of an example is [{}]", fmt::join(shape, ", ")));
    found.expect(data->size() >= 0 && data->test_size() >= 0,
                 fmt::format("{} examples for training, {} for testing", data->size(), data->test_size()));
    found.expect(data->shape() == shape, "asked again, it has another shape");
    if (const auto range = data->range())
        found.expect(std::isfinite(range->first) && std::isfinite(range->second) && range->first < range->second,
                     fmt::format("the range is {} … {}", range->first, range->second));
    const auto levels = data->levels();
    found.expect(levels == 0 || (levels > 1 && data->range()),
                 fmt::format("{} levels {}", levels, data->range() ? "" : "without a range"));
    const auto print = data->fingerprint();
    found.expect(data->fingerprint() == print && data_of(trial)->fingerprint() == print &&
                     under_seed(trial, 2)->fingerprint() == print,
                 "its fingerprint changes, and so would the hash of what it was read from");
}

void examples_are_finite(const Trial& trial, Findings& found) {
    const auto data = data_of(trial);
    for (const auto& split : splits(*data))
        for (const std::int64_t n : {1, 3, 64}) {
            const Within within(found, fmt::format("{}, {} examples", split.name, n));
            const auto index = some_numbers(split, n);
            const auto x = (*data.*split.examples)(index).x;
            auto sizes = data->shape();
            sizes.insert(sizes.begin(), index.numel());
            found.expect(
                x.defined() && x.sizes() == at::IntArrayRef(sizes),
                fmt::format("x has the shape [{}], not [{}]", fmt::join(x.sizes(), ", "), fmt::join(sizes, ", ")));
            found.expect(x.scalar_type() == at::kFloat && x.is_cpu() && !x.requires_grad(),
                         fmt::format("x is {} on {}", c10::toString(x.scalar_type()), x.device().str()));
            found.expect(x.isfinite().all().item<bool>(), "x holds what is no finite number");
        }
}

void same_number_same_example(const Trial& trial, Findings& found) {
    const auto data = data_of(trial);
    for (const auto& split : splits(*data)) {
        const Within within(found, split.name);
        const auto ask = [&](const Dataset& of, const Tensor& numbers) { return (of.*split.examples)(numbers); };
        const auto index = many_numbers(*data, split, 100);
        const auto n = index.numel(), part = std::max<std::int64_t>(n / 3, 1);
        const auto all = at::arange(n);
        const auto asked = index.clone();
        const auto whole = ask(*data, asked);
        found.expect(same_bits(asked, index), "it wrote into the numbers that it was asked for");
        same_examples(ask(*data, index), whole, all, "asked twice", found);
        same_examples(ask(*data_of(trial), index), whole, all, "made again", found);
        const auto turned = all.flip(0);
        same_examples(ask(*data, index.flip(0)), whole, turned, "in another order", found);
        for (std::int64_t first = 0; first < n; first += part) {
            const auto rows = all.slice(0, first, first + part);
            same_examples(ask(*data, index.slice(0, first, first + part)), whole, rows, "in a smaller batch", found);
        }
        const auto repeated = at::tensor({n - 1, std::int64_t{0}, n / 2, std::int64_t{0}, n - 1}, at::kLong);
        same_examples(ask(*data, index.index_select(0, repeated)), whole, repeated, "asked for repeatedly", found);
        if (split.size == 0) {
            const auto far = ask(*data, index + 1'000'000'007);
            found.expect(n < 2 || !same_bits(far.x, whole.x), "a thousand million examples on it begins again");
        }
    }
}

void from_two_threads(const Trial& trial, Findings& found) {
    const auto data = data_of(trial);
    for (const auto& split : splits(*data)) {
        const Within within(found, split.name);
        const auto index = some_numbers(split, 40);
        const auto alone = (*data_of(trial).*split.examples)(index);
        const auto fresh = data_of(trial);  // what it does when it is first asked, too
        std::vector<Batch> seen(2);
        std::vector<std::string> wrong(2);
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < 2; ++i)
            threads.emplace_back([&, i] {
                try {
                    for (int turn = 0; turn < 5; ++turn) seen[i] = (*fresh.*split.examples)(index);
                } catch (const std::exception& error) {
                    wrong[i] = error.what();
                }
            });
        for (auto& thread : threads) thread.join();
        for (std::size_t i = 0; i < 2; ++i) {
            found.expect(wrong[i].empty(), "from two threads it throws " + wrong[i]);
            if (wrong[i].empty())
                same_examples(seen[i], alone, at::arange(index.numel()), "asked from two threads at once", found);
        }
    }
}

void seed_makes_examples(const Trial& trial, Findings& found) {
    const auto data = data_of(trial), other = under_seed(trial, 2);
    if (data->size() > 0) return found.not_asked("its examples are read, or numbered, and not made without end");
    const auto index = at::arange(100);
    found.expect(!same_bits(data->examples(index).x, other->examples(index).x),
                 "under another seed it makes the same examples: numbers come from context.random");
    found.expect(!same_bits(data->examples(index).x, data->examples(index + 100).x), "examples 0 … 99 are 100 … 199");
}

std::vector<std::string> rows_as_text(const Tensor& x) {
    const auto flat = x.flatten(1).to(at::kFloat).contiguous();
    const auto bytes = static_cast<std::size_t>(flat.size(1)) * sizeof(float);
    const auto* data = reinterpret_cast<const char*>(flat.const_data_ptr<float>());
    std::vector<std::string> rows;
    for (std::int64_t i = 0; i < flat.size(0); ++i)
        rows.emplace_back(data + static_cast<std::size_t>(i) * bytes, bytes);
    return rows;
}

void testing_is_not_training(const Trial& trial, Findings& found) {
    const auto data = data_of(trial);
    const auto all = splits(*data);
    const auto train = rows_as_text(data->examples(many_numbers(*data, all[0], 4000)).x),
               test = rows_as_text(data->test_examples(many_numbers(*data, all[1], 4000)).x);
    const std::set<std::string> known(train.begin(), train.end());
    if (known.size() == 1) return found.not_asked("all examples are alike");
    const auto n = std::min(train.size(), test.size());
    found.expect(!std::equal(train.begin(), train.begin() + static_cast<std::ptrdiff_t>(n), test.begin()),
                 "test examples 0, 1, … are training examples 0, 1, …");
    const double met =
        static_cast<double>(std::ranges::count_if(test, [&](const auto& row) { return known.contains(row); }));
    const double share = met / static_cast<double>(test.size()),
                 twins = 1 - static_cast<double>(known.size()) / static_cast<double>(train.size());
    if (data->size() == 0 && data->levels() == 0 && twins == 0)
        found.at_most(met, 0, "test examples that are training examples");
    else  // such data may repeat themselves, and then in both
        found.at_most(share, 0.5 + twins, "share of test examples that are training examples");
}

void testing_has_the_law_of_training(const Trial& trial, Findings& found) {
    const auto data = data_of(trial);
    if (data->size() > 0) return found.not_asked("its examples are read");
    const auto index = many_numbers(*data, splits(*data).front(), 4000);
    const auto n = static_cast<double>(index.numel());
    const auto train = data->examples(index), test = data->test_examples(index);
    const auto alike = [&](const Tensor& a, const Tensor& b, const std::string& what) {
        const auto error = ((a.var(0) + b.var(0)) / n).sqrt();
        const auto off = (a.mean(0) - b.mean(0)).abs();
        found.at_most(at::where(error > 0, off / error, at::where(off > 1e-6, 1e9, 0.0)).max().item<double>(), 5,
                      fmt::format("{} of training and of testing apart, in standard errors", what));
    };
    const auto x = train.x.flatten(1).to(at::kDouble), y = test.x.flatten(1).to(at::kDouble);
    const auto centre = x.mean(0), length = Random(3, "laws").normal({x.size(1)}, at::kDouble);
    alike(x, y, "the mean of an element");
    alike((x - centre).square(), (y - centre).square(), "the variance of an element");
    alike(x.mv(length).unsqueeze(1).square(), y.mv(length).unsqueeze(1).square(), "the length of a shadow");
    if (data->classes() > 0 && train.condition.label.defined() && test.condition.label.defined())
        alike(at::one_hot(train.condition.label, data->classes()).to(at::kDouble),
              at::one_hot(test.condition.label, data->classes()).to(at::kDouble), "the share of a class");
}

void labels_are_classes(const Trial& trial, Findings& found) {
    const auto data = data_of(trial);
    const auto classes = data->classes();
    found.expect(classes >= 0, fmt::format("there are {} classes", classes));
    found.expect(data->condition_space().classes == classes,
                 fmt::format("{} classes, and {} that a network is told", classes, data->condition_space().classes));
    const auto names = data->class_names();
    found.expect(names.empty() || static_cast<std::int64_t>(names.size()) == classes,
                 fmt::format("{} names for {} classes", names.size(), classes));
    found.expect(std::set(names.begin(), names.end()).size() == names.size() && std::ranges::count(names, "") == 0,
                 "two classes have one name, or one has none");
    const auto counts = data->class_counts();
    found.expect(counts.empty() || (static_cast<std::int64_t>(counts.size()) == classes && data->size() > 0),
                 fmt::format("{} counts for {} classes of {} examples", counts.size(), classes, data->size()));
    for (const auto& split : splits(*data)) {
        const Within within(found, split.name);
        const auto index = many_numbers(*data, split, 20'000);
        const auto label = (*data.*split.examples)(index).condition.label;
        found.expect(label.defined() == (classes > 0),
                     fmt::format("{} classes, and {}", classes, label.defined() ? "labels" : "no labels"));
        if (!label.defined() || found.broken()) continue;
        found.expect(
            label.scalar_type() == at::kLong && label.dim() == 1 && label.size(0) == index.numel() && label.is_cpu(),
            fmt::format("labels are {} of [{}]", c10::toString(label.scalar_type()), fmt::join(label.sizes(), ", ")));
        if (found.broken()) return;
        const auto least = label.min().item<std::int64_t>(), most = label.max().item<std::int64_t>();
        found.expect(least >= 0 && most < classes, fmt::format("labels {} … {} of {} classes", least, most, classes));
        if (found.broken() || counts.empty() || split.examples != &Dataset::examples || index.numel() < split.size)
            continue;
        const auto here = at::bincount(label, {}, classes);
        for (std::int64_t c = 0; c < classes; ++c)
            found.expect(here[c].item<std::int64_t>() == counts[static_cast<std::size_t>(c)],
                         fmt::format("{} examples of class {}, said to be {}", here[c].item<std::int64_t>(), c,
                                     counts[static_cast<std::size_t>(c)]));
    }
}

void conditions_are_as_said(const Trial& trial, Findings& found) {
    const auto data = data_of(trial);
    const auto space = data->condition_space();
    for (const auto& split : splits(*data)) {
        const Within within(found, split.name);
        const auto index = some_numbers(split, 64);
        const auto told = (*data.*split.examples)(index).condition;
        const auto rows = index.numel();
        found.expect(told.vector.defined() == (space.vector > 0), "a vector is said, and none held, or the other way");
        if (told.vector.defined())
            found.expect(told.vector.sizes() == at::IntArrayRef({rows, space.vector}) &&
                             told.vector.isfinite().all().item<bool>(),
                         fmt::format("the vectors are [{}] where {} numbers are said",
                                     fmt::join(told.vector.sizes(), ", "), space.vector));
        if (told.mask.defined() && !found.broken()) {
            const auto& mask = told.mask;
            const auto shape = data->shape();
            found.expect(mask.dim() > 0 && mask.dim() <= 1 + static_cast<std::int64_t>(shape.size()) &&
                             mask.size(0) == rows &&
                             mask.sizes().slice(1).equals(
                                 at::IntArrayRef(shape).slice(0, static_cast<std::size_t>(mask.dim() - 1))),
                         fmt::format("the mask of {} examples of [{}] is [{}]", rows, fmt::join(shape, ", "),
                                     fmt::join(mask.sizes(), ", ")));
            found.expect((mask == 0).logical_or(mask == 1).all().item<bool>(), "the mask is not of 0 and 1");
        }
        found.expect(told.tokens.defined() == (space.tokens > 0), "tokens are said, and none held, or the other way");
        if (!told.tokens.defined() || found.broken()) continue;
        const auto& tokens = told.tokens;
        const auto dims = space.token_width > 0 ? 3 : 2;
        found.expect(tokens.dim() == dims && tokens.size(0) == rows && tokens.size(1) <= space.tokens &&
                         (dims == 2 || tokens.size(2) == space.token_width),
                     fmt::format("tokens are [{}], at most {} of width {} are said", fmt::join(tokens.sizes(), ", "),
                                 space.tokens, space.token_width));
        if (dims == 2 && !found.broken())
            found.expect(tokens.scalar_type() == at::kLong && tokens.min().item<std::int64_t>() >= 0 &&
                             tokens.max().item<std::int64_t>() < space.vocabulary,
                         fmt::format("tokens are not whole numbers below {}", space.vocabulary));
        if (told.token_mask.defined())
            found.expect(told.token_mask.sizes() == tokens.sizes().slice(0, 2), "the mask is not one of the tokens");
    }
}

void values_lie_in_range(const Trial& trial, Findings& found) {
    const auto data = data_of(trial);
    const auto range = data->range();
    if (!range) return found.not_asked("it says no range");
    const auto [least, most] = *range;
    const int levels = data->levels();
    for (const auto& split : splits(*data)) {
        const Within within(found, split.name);
        const auto x = (*data.*split.examples)(many_numbers(*data, split, 4000)).x.to(at::kDouble);
        const double far = std::max(least - x.min().item<double>(), x.max().item<double>() - most);
        found.at_most(far, 1e-6 * (most - least), fmt::format("beyond {} … {}", least, most));
        if (levels == 0) continue;
        const auto level = (x - least) * ((levels - 1) / (most - least));
        found.at_most((level - level.round()).abs().max().item<double>(), 1e-3 + 1e-6 * levels,
                      fmt::format("off a level, in widths of the {} levels", levels));
    }
}

void no_example_beyond_the_last(const Trial& trial, Findings& found) {
    const auto data = data_of(trial);
    for (const auto& split : splits(*data)) {
        if (split.size == 0) continue;
        const Within within(found, split.name);
        const auto one = [&](std::int64_t number) { return (*data.*split.examples)(at::tensor({number}, at::kLong)); };
        one(split.size - 1);
        for (const std::int64_t number : {split.size, std::int64_t{-1}}) try {
                one(number);
                found.expect(false, fmt::format("of {} it has an example {}", split.size, number));
            } catch (const Error& error) {
                found.expect(error.what() != std::string(), "it refuses without words");
            } catch (const std::exception& error) {
                found.expect(false, fmt::format("asked for example {} of {} it throws no dtk::Error, but: {}", number,
                                                split.size, std::string(error.what()).substr(0, 80)));
            }
    }
    found.not_asked("there is no last");
}

// What is said to be known of the law.

constexpr std::int64_t draws = 20'000, draws_denoised = 10'000;

/// A density, examples of it, and the scale of what they are.
struct Known {
    Data data;
    const Density* density = nullptr;
    Tensor x;          ///< [n, d] float64, test examples
    double scale = 1;  ///< root of the mean variance of an element
    bool rotations = false, finite = false;
};

/// Calls look(known) where there is a density.
template <class Look>
void of_density(const Trial& trial, Findings& found, const Look& look) {
    Known known{.data = data_of(trial)};
    known.density = known.data->density();
    if (!known.density) return found.not_asked("its density is not known");
    known.x = known.data->test_examples(many_numbers(*known.data, splits(*known.data)[1], draws))
                  .x.flatten(1)
                  .to(at::kDouble);
    known.scale = std::max(known.x.var(0).mean().sqrt().item<double>(), 1e-6);
    known.rotations = dynamic_cast<const RotationDensity*>(known.density) != nullptr;
    known.finite = known.data->levels() > 0 || dynamic_cast<const FiniteDensity*>(known.density) != nullptr;
    look(known);
}

Tensor of_rows(const Tensor& x, double value) { return at::full({x.size(0)}, value, at::kDouble); }

/// E[x_0 | x] of the density; undefined, with the reason told, where nobody knows it.
Tensor denoised(const Known& of, const Tensor& x, double alpha, double sigma, Findings& found) {
    try {
        return of.density->posterior_mean(x, of_rows(x, alpha), of_rows(x, sigma));
    } catch (const Error& error) {
        found.not_asked(error.what());
        return {};
    }
}

double of_one(const Tensor& x) { return x.item<double>(); }

void log_density_has_its_moments(const Trial& trial, Findings& found) {
    of_density(trial, found, [&](const Known& known) {
        const auto log_p = known.density->log_prob(known.x);
        const auto n = static_cast<double>(known.x.size(0));
        found.expect(
            log_p.sizes() == at::IntArrayRef({known.x.size(0)}),
            fmt::format("log p of {} rows has the shape [{}]", known.x.size(0), fmt::join(log_p.sizes(), ", ")));
        found.expect(log_p.isfinite().all().item<bool>(), "log p of an example is not finite");
        const double entropy = known.density->entropy(), sd = known.density->log_prob_sd();
        found.expect(std::isfinite(entropy) && std::isfinite(sd) && sd >= 0,
                     fmt::format("entropy {}, deviation {}", entropy, sd));
        if (found.broken()) return;
        found.at_most(std::abs(of_one(log_p.mean()) + entropy), 4.5 * sd / std::sqrt(n) + 1e-3,
                      fmt::format("|mean log p + entropy| (entropy {:.5g}, {} examples)", entropy, n));
        const auto square = (log_p - log_p.mean()).square();
        const double variance = of_one(square.mean()), seen = std::sqrt(variance);
        const double error = sd > 0 ? of_one(square.std()) / std::sqrt(n) / (2 * std::max(seen, 1e-9)) : 0;
        found.at_most(std::abs(seen - sd), 4.5 * error + 0.01 * sd + 1e-3,
                      fmt::format("deviation of log p, {:.5g}, off log_prob_sd() = {:.5g}", seen, sd));
    });
}

/// Gaussian kernels at examples and one wide normal law: where a density of few dimensions is looked for.
struct Cover {
    Tensor centres;
    double width, wide;
    Tensor middle;
    static constexpr double share = 0.1;  ///< of the wide one
    Tensor draw(std::int64_t n, const Random& random) const {
        const auto z = random.stream("z").normal({n, centres.size(1)}, at::kDouble);
        const auto around = centres.index_select(0, random.stream("centre").integers(centres.size(0), {n})) + width * z;
        const auto far = random.stream("kind").uniform({n, 1}, at::kDouble) < share;
        return at::where(far, middle + wide * z, around);
    }
    Tensor log_prob(const Tensor& x) const {
        const auto d = static_cast<double>(x.size(1));
        const auto normal = [&](const Tensor& d2, double sd) {
            return -d2 / (2 * sd * sd) - d * std::log(sd * std::sqrt(2 * std::numbers::pi));
        };
        const auto near = normal(at::cdist(x, centres).square(), width).logsumexp(1) -
                          std::log(static_cast<double>(centres.size(0)) / (1 - share));
        return at::logaddexp(near, normal((x - middle).square().sum(1), wide) + std::log(share));
    }
};

void density_integrates_to_one(const Trial& trial, Findings& found) {
    of_density(trial, found, [&](const Known& known) {
        const auto d = known.x.size(1);
        if (known.rotations) return found.not_asked("it is one of rotations");
        if (const auto* atoms = dynamic_cast<const FiniteDensity*>(known.density))
            return found.at_most(std::abs(of_one(atoms->log_weights().exp().sum()) - 1), 1e-9, "|Σ p − 1|");
        if (known.finite) return found.not_asked("it is one of levels");
        if (d > 4) return found.not_asked("an integral over so many dimensions is not known well");
        const auto centres = known.x.slice(0, 0, 1000);
        const double narrow =
            known.scale * std::pow(static_cast<double>(centres.size(0)), -1.0 / (static_cast<double>(d) + 4));
        const Cover cover{centres, 0.5 * narrow, 3 * known.scale, known.x.mean(0)};
        const auto x = cover.draw(10'000, Random(1, "cover"));
        const auto weight = (known.density->log_prob(x) - cover.log_prob(x)).exp();
        const double error = of_one(weight.std()) / std::sqrt(static_cast<double>(x.size(0)));
        if (error > 0.1) return found.not_asked("an integral over so ragged a density is not known well");
        found.at_most(std::abs(of_one(weight.mean()) - 1), 4.5 * error + 1e-3,
                      fmt::format("|∫ p − 1| (∫ p = {:.4f} ± {:.4f})", of_one(weight.mean()), error));
    });
}

/// Axes of x, at most eight of them.
std::vector<std::int64_t> some_axes(const Tensor& x) {
    std::vector<std::int64_t> axes;
    const auto d = x.size(1), n = std::min<std::int64_t>(d, 8);
    for (std::int64_t i = 0; i < n; ++i) axes.push_back(i * d / n);
    return axes;
}

Tensor moved(const Tensor& x, std::int64_t axis, double by) {
    auto there = x.clone();
    there.select(1, axis) += by;
    return there;
}

// With little noise E[x_0 | x] = x + σ² ∇log p(x) + O(σ⁴) (Robbins 1956).
void denoiser_is_the_slope(const Trial& trial, Findings& found) {
    of_density(trial, found, [&](const Known& known) {
        if (known.finite) return found.not_asked("where all examples lie on few points there is no slope");
        const auto x = known.x.slice(0, 0, 50);
        const double sigma = 1e-4 * known.scale, h = 1e-5 * known.scale;
        const auto mean = denoised(known, x, 1, sigma, found);
        if (!mean.defined()) return;
        const auto score = (mean - x) / (sigma * sigma);
        std::int64_t asked = 0;
        for (const auto axis : some_axes(x)) {
            const auto slope = [&](double step) {
                return (known.density->log_prob(moved(x, axis, step)) -
                        known.density->log_prob(moved(x, axis, -step))) /
                       (2 * step);
            };
            const auto here = slope(h), unit = 1 / known.scale + here.abs();
            // At an edge of the density there is none.
            const auto smooth = ((slope(5 * sigma) - here).abs() / unit < 1e-3).logical_and(here.isfinite());
            asked += smooth.sum().item<std::int64_t>();
            const auto off = at::where(smooth, (score.select(1, axis) - here).abs() / unit, 0);
            found.at_most(off.max().item<double>(), 2e-4,
                          fmt::format("|∇ log p off (E[x_0 | x] − x)/σ²|, axis {}", axis));
        }
        found.not_asked("its density has edges everywhere");
        found.expect(asked >= 10, "log p has a slope almost nowhere");
    });
}

// The error of the best denoiser is uncorrelated with any function of x_t, such as x_t and the denoiser itself.
void error_is_orthogonal(const Trial& trial, Findings& found) {
    of_density(trial, found, [&](const Known& known) {
        for (const double sigma : {0.05, 0.4, 0.95}) {
            const Within within(found, fmt::format("σ = {}", sigma));
            const double alpha = std::sqrt(1 - sigma * sigma), noise = sigma * known.scale;
            const auto x = known.x.slice(0, 0, draws_denoised);
            const auto xt = alpha * x + noise * Random(3, "laws").normal(x.sizes(), at::kDouble);
            const auto estimate = denoised(known, xt, alpha, noise, found);
            if (!estimate.defined()) return;
            const auto error = x - estimate;
            const double n = static_cast<double>(xt.size(0));
            for (const auto& [seen, what] : {std::pair(at::ones_like(xt), "1"), std::pair(xt, "x_t"),
                                             std::pair(xt.square(), "x_t²"), std::pair(estimate, "E[x_0 | x_t]")}) {
                const auto product = error * seen;
                const auto unit = product.std(0) / std::sqrt(n) + 1e-9 * known.scale;
                found.at_most((product.mean(0) / unit).abs().max().item<double>(), 4.5,
                              fmt::format("E (x_0 − E[x_0 | x_t])·{} in standard errors", what));
            }
        }
    });
}

void from_no_noise_to_nothing_else(const Trial& trial, Findings& found) {
    of_density(trial, found, [&](const Known& known) {
        const auto x = known.x.slice(0, 0, 100);
        const auto clean = denoised(known, 0.5 * x, 0.5, 0, found);
        if (!clean.defined()) return;
        found.at_most(distance(clean, x), 1e-9 * (1 + x.abs().max().item<double>()),
                      "without noise |E[x_0 | α x_0] − x_0|");
        const auto blind = denoised(known, x, 0, known.scale, found);
        found.at_most(distance(blind, blind.slice(0, 0, 1).expand_as(blind)), 1e-12 * (1 + known.scale),
                      "where x_t is but noise the estimates differ by");
        const auto unit = known.x.std(0) / std::sqrt(static_cast<double>(known.x.size(0))) + 1e-9;
        found.at_most(((blind[0] - known.x.mean(0)).abs() / unit).max().item<double>(), 4.5,
                      "where x_t is but noise, the estimate is off the mean, in standard errors");
        const auto nearly = denoised(known, x, 1e-7, known.scale, found);
        found.at_most(distance(nearly, blind), 1e-5 * known.scale, "with a ten millionth of x_0 the estimate moves");
        found.expect(denoised(known, 1e4 * x, 1, 0.01 * known.scale, found).isfinite().all().item<bool>(),
                     "far from all examples the estimate is no finite number");
    });
}

// σ² ∂E[x_0 | x_t]/∂x_t = α Cov[x_0 | x_t], for any law of x_0.
void variance_is_the_slope_of_the_mean(const Trial& trial, Findings& found) {
    of_density(trial, found, [&](const Known& known) {
        const auto clean = known.x.slice(0, 0, 50);
        const auto spread = [&](const Tensor& x, double alpha, double sigma) -> Tensor {
            try {
                return known.density->posterior_variance(x, of_rows(x, alpha), of_rows(x, sigma));
            } catch (const Error& error) {
                found.not_asked(error.what());
                return {};
            }
        };
        for (const auto& [alpha, share] : {std::pair(1.0, 0.05), std::pair(0.8, 0.6), std::pair(0.2, 0.98)}) {
            const double sigma = share * known.scale, h = 1e-5 * known.scale;
            const Within within(found, fmt::format("α = {}, σ = {:.3g}", alpha, sigma));
            const auto x = alpha * clean + sigma * Random(1, "laws").normal(clean.sizes(), at::kDouble);
            const auto variance = spread(x, alpha, sigma);
            if (!variance.defined()) return;
            for (const auto axis : some_axes(x)) {
                const auto slope = (denoised(known, moved(x, axis, h), alpha, sigma, found) -
                                    denoised(known, moved(x, axis, -h), alpha, sigma, found))
                                       .select(1, axis) /
                                   (2 * h);
                found.at_most(distance(variance.select(1, axis), sigma * sigma / alpha * slope),
                              1e-7 * known.scale * known.scale, fmt::format("|Var − σ²/α ∂E/∂x| of element {}", axis));
            }
        }
        found.at_most(spread(clean, 1, 0).abs().max().item<double>(), 1e-12 * known.scale * known.scale,
                      "without noise the variance is");
    });
}

/// What a density answers to rows x, by name.
std::map<std::string, Tensor> answers(const Density& density, const Tensor& x, double sigma) {
    std::map<std::string, Tensor> all{{"log_prob", density.log_prob(x)}};
    const auto alpha = of_rows(x, 0.8), noise = of_rows(x, sigma);
    const auto keep = [&](const char* name, const auto& ask) {
        try {
            all[name] = ask();
        } catch (const Error&) {  // nobody has worked it out
        }
    };
    keep("posterior_mean", [&] { return density.posterior_mean(x, alpha, noise); });
    keep("posterior_variance", [&] { return density.posterior_variance(x, alpha, noise); });
    if (!density.mode_weights().empty()) all["nearest_mode"] = density.nearest_mode(x);
    return all;
}

void answers_by_rows_and_type(const Trial& trial, Findings& found) {
    of_density(trial, found, [&](const Known& known) {
        // Some work in portions of ten thousand rows.
        const auto log_p = known.density->log_prob(known.x);
        found.at_most(distance(log_p.slice(0, -3), known.density->log_prob(known.x.slice(0, -3))),
                      1e-12 * (1 + log_p.abs().max().item<double>()), "log p depends on the other rows by");

        const auto rows = known.x.slice(0, 0, 1000), x = rows.clone();
        const auto n = x.size(0), few = std::min<std::int64_t>(n, 3);
        const auto sigma = 0.3 * known.scale;
        const auto all = answers(*known.density, x, sigma);
        found.expect(same_bits(x, rows), "it wrote into x");
        const auto last = answers(*known.density, x.slice(0, n - few), sigma);
        const auto narrow = answers(*known.density, x.slice(0, 0, 10).to(at::kFloat), sigma);
        const auto wide = answers(*known.density, x.slice(0, 0, 10).to(at::kFloat).to(at::kDouble), sigma);
        std::map<std::string, Tensor> seen;
        std::thread other([&] { seen = answers(*known.density, x, sigma); });
        const auto again = answers(*known.density, x, sigma);
        other.join();
        for (const auto& [name, answer] : all) {
            const Within within(found, name);
            found.expect(same_bits(answer, again.at(name)) && seen.contains(name) && same_bits(answer, seen.at(name)),
                         "asked again, and from two threads at once, it answers otherwise");
            const double size = 1 + answer.to(at::kDouble).abs().max().item<double>();
            found.at_most(distance(answer.slice(0, n - few), last.at(name)), name == "nearest_mode" ? 0 : 1e-12 * size,
                          "an answer depends on the other rows by");
            if (name == "nearest_mode") {
                found.expect(answer.scalar_type() == at::kLong && answer.sizes() == at::IntArrayRef({n}),
                             "a mode is no whole number for each row");
                continue;
            }
            const auto& of_floats = narrow.at(name);
            found.expect(answer.scalar_type() == at::kDouble && of_floats.scalar_type() == at::kFloat,
                         fmt::format("asked in float32 it answers in {}", c10::toString(of_floats.scalar_type())));
            const double most = 1 + wide.at(name).abs().max().item<double>();
            found.at_most(distance(of_floats, wide.at(name)), 1e-5 * most, "float32 rows are answered otherwise, by");
        }
    });
}

void modes_have_their_weights(const Trial& trial, Findings& found) {
    of_density(trial, found, [&](const Known& known) {
        const auto weights = known.density->mode_weights();
        if (weights.empty()) return found.not_asked("it has no modes");
        const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
        found.at_most(std::abs(sum - 1), 1e-9, "|Σ weights − 1|");
        const auto mode = known.density->nearest_mode(known.x);
        const auto K = static_cast<std::int64_t>(weights.size());
        found.expect(mode.min().item<std::int64_t>() >= 0 && mode.max().item<std::int64_t>() < K,
                     fmt::format("an example belongs to none of the {} modes", K));
        if (found.broken()) return;
        const auto n = static_cast<double>(known.x.size(0));
        const auto share = at::bincount(mode, {}, K).to(at::kDouble) / n;
        for (std::int64_t k = 0; k < K; ++k) {
            const double w = weights[static_cast<std::size_t>(k)];
            found.at_most(std::abs(of_one(share[k]) - w), 4.5 * std::sqrt(w * (1 - w) / n) + 1e-3,
                          fmt::format("share of mode {}, {:.4f}, off its weight {:.4f}", k, of_one(share[k]), w));
        }
    });
}

void classes_have_their_laws(const Trial& trial, Findings& found) {
    of_density(trial, found, [&](const Known& known) {
        const auto* laws = dynamic_cast<const ClassDensities*>(known.density);
        if (!laws || known.data->classes() == 0) return found.not_asked("the laws of classes are not known");
        const auto label =
            known.data->test_examples(many_numbers(*known.data, splits(*known.data)[1], draws)).condition.label;
        for (std::int64_t c = 0; c < known.data->classes(); ++c) {
            const auto x = known.x.index({label == c});
            if (x.size(0) < 100) continue;
            const auto law = laws->of_class(c);
            const auto n = static_cast<double>(x.size(0));
            found.at_most(std::abs(of_one(law->log_prob(x).mean()) + law->entropy()),
                          4.5 * law->log_prob_sd() / std::sqrt(n) + 1e-3,
                          fmt::format("|mean log p + entropy| of class {}", c));
        }
    });
}

void given_obeys_bayes(const Trial& trial, Findings& found) {
    of_density(trial, found, [&](const Known& known) {
        if (known.rotations) return found.not_asked("it is one of rotations");
        const auto d = known.x.size(1);
        auto A = at::zeros({1, d}, at::kDouble);
        A[0][0] = 1, A[0][d - 1] += 0.5;
        const double sd = 0.5 * known.scale;
        const auto measured = known.x.matmul(A.t());
        const auto y = measured.slice(0, 0, 1) + 0.3 * sd;
        const auto law = known.density->given(A, y, sd);
        if (!law) return found.not_asked("what a measurement leaves is not worked out");
        // log p(x | y) = log p(x) + log N(y; A x, sd²) − log p(y)
        const auto error =
            -(y - measured).square().sum(1) / (2 * sd * sd) - std::log(sd * std::sqrt(2 * std::numbers::pi));
        const auto some = known.x.slice(0, 0, 200);
        const auto rest = law->log_prob(some) - known.density->log_prob(some) - error.slice(0, 0, 200);
        found.at_most((rest - rest[0]).abs().max().item<double>(), 1e-6, "log p(x | y) − log p(x) p(y | x) differs by");
        const auto evidence = error.exp();
        const double n = static_cast<double>(known.x.size(0)), mean = of_one(evidence.mean());
        found.at_most(std::abs(of_one(rest[0]) + std::log(mean)),
                      4.5 * of_one(evidence.std()) / std::sqrt(n) / mean + 1e-3, "log p(y) off that of examples by");
        // A law for each row: E[x | y_i] leaves an error that y does not see.
        const auto all = measured + sd * Random(5, "laws").normal(measured.sizes(), at::kDouble);
        const auto rows = std::min<std::int64_t>(known.x.size(0), 2000);
        const auto x = known.x.slice(0, 0, rows), seen = all.slice(0, 0, rows);
        const auto each = known.density->given(A, seen, sd);
        const auto left = x - each->posterior_mean(at::zeros_like(x), of_rows(x, 0), of_rows(x, 1));
        for (const auto& [with, what] : {std::pair(at::ones_like(seen), "1"), std::pair(seen, "y")}) {
            const auto product = left * with;
            const auto unit = product.std(0) / std::sqrt(static_cast<double>(rows)) + 1e-9 * known.scale;
            found.at_most((product.mean(0) / unit).abs().max().item<double>(), 4.5,
                          fmt::format("E (x − E[x | y])·{} in standard errors", what));
        }
    });
}

}  // namespace

const std::vector<Law> dataset_laws{
    {"shape, sizes, range and fingerprint are plain and always the same", sizes_make_sense},
    {"examples are finite float32 of its shape, as many as were asked for", examples_are_finite},
    {"an example depends on its number alone, not on batch, order or what was asked before", same_number_same_example},
    {"two threads see the examples that one sees", from_two_threads},
    {"examples that are made follow the seed", seed_makes_examples},
    {"test examples are no training examples", testing_is_not_training},
    {"test examples that are made have the law of training examples", testing_has_the_law_of_training},
    {"labels are classes, named and counted as they come", labels_are_classes},
    {"batches hold the conditions that it says", conditions_are_as_said},
    {"values lie in its range, and on its levels", values_lie_in_range},
    {"an example beyond the last is refused in words", no_example_beyond_the_last},
    {"log p of examples has the entropy and the deviation that are said", log_density_has_its_moments},
    {"the density integrates to 1", density_integrates_to_one},
    {"a density answers row by row, in the type of its rows", answers_by_rows_and_type},
    {"the denoiser follows the slope of the log-density", denoiser_is_the_slope},
    {"the error of the denoiser is orthogonal to what it sees", error_is_orthogonal},
    {"the denoiser holds from no noise to nothing but noise", from_no_noise_to_nothing_else},
    {"the variance that is left is the slope of the denoiser", variance_is_the_slope_of_the_mean},
    {"modes come as often as they weigh", modes_have_their_weights},
    {"examples of a class have the law of that class", classes_have_their_laws},
    {"what a measurement leaves obeys Bayes' rule", given_obeys_bayes},
};

}  // namespace dtk::laws
