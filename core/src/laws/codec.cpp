// Laws of codecs: examples as latents, and back.
#include <thread>

#include <fmt/ranges.h>

#include "laws/bench.hpp"
#include "laws/law.hpp"
#include "laws/on_pretend.hpp"

namespace dtk::laws {

namespace {

constexpr std::int64_t examples = 64;

/// Calls look(codec, bench, x) on every bench; x: some of its training examples.
template <class Look>
void on_benches(const Trial& trial, Findings& found, const Look& look) {
    const at::NoGradGuard no_grad;
    for (const auto& bench : trial.benches()) {
        const Within within(found, bench.name);
        const auto codec = trial.make<Codec>(bench);
        codec->train(false);
        const auto there = bench.data->size();
        const auto n = there > 0 ? std::min(examples, there) : examples;
        look(*codec, bench, bench.data->examples(at::arange(n)).x);
    }
}

std::vector<std::int64_t> sizes_of(std::int64_t rows, std::vector<std::int64_t> shape) {
    shape.insert(shape.begin(), rows);
    return shape;
}

void shapes_are_said(const Trial& trial, Findings& found) {
    on_benches(trial, found, [&](const Codec& codec, const Bench& bench, const Tensor& all) {
        const auto space = codec.space();
        found.expect(!space.shape.empty() && space.elements() > 0,
                     fmt::format("the latents are said to be [{}]", fmt::join(space.shape, ", ")));
        found.expect(space.classes == 0 || space.classes == bench.data->classes(),
                     fmt::format("{} classes of latents, {} of the data", space.classes, bench.data->classes()));
        for (const std::int64_t n : {1, 3}) {
            const auto x = all.slice(0, 0, n);
            const auto latents = codec.encode(x);
            const auto sizes = sizes_of(n, space.shape);
            const auto shaped = [&](const Tensor& z) { return z.defined() && z.sizes() == at::IntArrayRef(sizes); };
            found.expect(shaped(latents.mean),
                         fmt::format("latents of {} examples are [{}], said to be [{}]", n,
                                     fmt::join(latents.mean.sizes(), ", "), fmt::join(sizes, ", ")));
            found.expect(!latents.variance.defined() || shaped(latents.variance), "the variance has another shape");
            if (found.broken()) return;
            found.expect(latents.mean.scalar_type() == x.scalar_type() && latents.mean.isfinite().all().item<bool>(),
                         fmt::format("latents of {} are {}, or not finite", c10::toString(x.scalar_type()),
                                     c10::toString(latents.mean.scalar_type())));
            const auto back = codec.decode(latents.mean);
            found.expect(
                back.sizes() == x.sizes() && back.scalar_type() == x.scalar_type(),
                fmt::format("what is decoded is {} of [{}], examples are [{}]", c10::toString(back.scalar_type()),
                            fmt::join(back.sizes(), ", "), fmt::join(x.sizes(), ", ")));
            found.expect(back.isfinite().all().item<bool>(), "what is decoded is not finite");
        }
    });
}

void latents_lie_in_their_range(const Trial& trial, Findings& found) {
    found.not_asked("its latents have no range");
    on_benches(trial, found, [&](const Codec& codec, const Bench&, const Tensor& x) {
        const auto space = codec.space();
        found.expect(space.levels == 0 || space.range, "levels are said, and no range");
        if (!space.range) return;
        const auto [least, most] = *space.range;
        const auto z = codec.encode(x).mean.to(at::kDouble);
        found.at_most(std::max(least - z.min().item<double>(), z.max().item<double>() - most), 1e-5 * (most - least),
                      fmt::format("latents beyond {} … {}", least, most));
        if (space.levels < 2) return;
        const auto level = (z - least) * ((space.levels - 1) / (most - least));
        found.at_most((level - level.round()).abs().max().item<double>(), 1e-3 + 1e-6 * space.levels,
                      "latents off a level, in widths");
    });
}

void variance_is_none_or_some(const Trial& trial, Findings& found) {
    found.not_asked("its latents have no spread");
    on_benches(trial, found, [&](const Codec& codec, const Bench&, const Tensor& x) {
        const auto variance = codec.encode(x).variance;
        if (!variance.defined()) return;
        found.expect(variance.isfinite().all().item<bool>(), "the variance of latents is not finite");
        found.at_most(-variance.min().item<double>(), 0, "minus the least variance");
    });
}

void comes_back(const Trial& trial, Findings& found) {
    on_benches(trial, found, [&](const Codec& codec, const Bench& bench, const Tensor& x) {
        if (!bench.networks.empty()) return found.not_asked("nobody has trained the network it is made of");
        const auto back = codec.decode(codec.encode(x).mean).to(at::kDouble), all = x.to(at::kDouble);
        found.at_most((back - all).square().mean().item<double>(), all.var(0).mean().item<double>(),
                      "squared error of what comes back (the mean of the data has their variance)");
    });
}

void identity_is_one(const Trial& trial, Findings& found) {
    found.not_asked("it is none");
    on_benches(trial, found, [&](const Codec& codec, const Bench& bench, const Tensor& x) {
        if (!codec.is_identity()) return;
        const auto latents = codec.encode(x);
        found.expect(same_bits(latents.mean, x), "a latent is not the example");
        found.expect(!latents.variance.defined() || latents.variance.eq(0).all().item<bool>(),
                     "its latents have a spread");
        const auto z = x + 0.125;
        found.expect(same_bits(codec.decode(z), z), "what is decoded is not the latent");
        const auto space = codec.space();
        found.expect(space.shape == bench.data->shape() && space.range == bench.data->range() &&
                         space.levels == bench.data->levels(),
                     "its space is not that of the data");
    });
}

/// |a − b| in units of what a is, at least 1.
double apart(const Tensor& a, const Tensor& b) {
    return distance(a, b) / std::max(1.0, a.to(at::kDouble).abs().max().item<double>());
}

/// Mean, and variance where there is one.
std::vector<Tensor> parts_of(const Latents& latents) {
    return latents.variance.defined() ? std::vector{latents.mean, latents.variance} : std::vector{latents.mean};
}

void rows_are_their_own(const Trial& trial, Findings& found) {
    on_benches(trial, found, [&](const Codec& codec, const Bench&, const Tensor& x) {
        const auto whole = parts_of(codec.encode(x));
        const auto back = codec.decode(whole[0]);
        for (std::int64_t first = 0; first < x.size(0); first += 17) {
            const auto rows = [&](const Tensor& all) { return all.slice(0, first, first + 17); };
            const auto some = parts_of(codec.encode(rows(x)));
            for (std::size_t i = 0; i < whole.size(); ++i)
                found.at_most(apart(rows(whole[i]), some[i]), 1e-5, "in a smaller batch latents move by");
            found.at_most(apart(rows(back), codec.decode(rows(whole[0]))), 1e-5,
                          "in a smaller batch what is decoded moves by");
        }
        const auto turned = parts_of(codec.encode(x.flip(0)));
        for (std::size_t i = 0; i < whole.size(); ++i)
            found.at_most(apart(whole[i], turned[i].flip(0)), 1e-5, "in another order latents move by");
    });
}

void same_twice(const Trial& trial, Findings& found) {
    on_benches(trial, found, [&](const Codec& codec, const Bench& bench, const Tensor& x) {
        const auto given = x.clone();
        const auto first = parts_of(codec.encode(given));
        found.expect(same_bits(given, x), "it wrote into the examples");
        const auto z = first[0].clone(), back = codec.decode(z).clone();
        found.expect(same_bits(z, first[0]), "it wrote into the latents");
        codec.encode(-x + 0.5), codec.decode(-z);
        const auto kept = parts_of(codec.encode(x));
        for (std::size_t i = 0; i < first.size(); ++i)
            found.expect(same_bits(first[i], kept[i]),
                         "asked again, it has other latents: it remembers what it was asked");
        found.expect(same_bits(codec.decode(z), back), "asked again, it decodes otherwise");

        // At the same time, and the first thing that it is asked.
        const auto fresh = trial.make<Codec>(bench);
        fresh->train(false);
        std::vector<std::vector<Tensor>> seen(2);
        std::vector<std::string> wrong(2);
        std::vector<std::thread> threads;
        for (std::size_t i = 0; i < 2; ++i)
            threads.emplace_back([&, i] {
                const at::NoGradGuard no_grad;
                try {
                    seen[i] = parts_of(fresh->encode(x));
                    seen[i].push_back(fresh->decode(z));
                } catch (const std::exception& error) {
                    wrong[i] = error.what();
                }
            });
        for (auto& thread : threads) thread.join();
        for (std::size_t i = 0; i < 2; ++i) {
            found.expect(wrong[i].empty(), "from two threads it throws " + wrong[i]);
            if (!wrong[i].empty()) continue;
            for (std::size_t k = 0; k < first.size(); ++k)
                found.expect(same_bits(seen[i][k], first[k]), "from two threads at once it has other latents");
            found.expect(same_bits(seen[i].back(), back), "from two threads at once it decodes otherwise");
        }
    });
}

void float64_too(const Trial& trial, Findings& found) {
    on_benches(trial, found, [&](const Codec& codec, const Bench&, const Tensor& x) {
        const auto z = codec.encode(x).mean;
        found.at_most(apart(z, codec.encode(x.to(at::kDouble)).mean), 1e-5, "latents of float64 examples are off by");
        const auto back = codec.decode(z.to(at::kDouble));
        found.expect(back.scalar_type() == at::kDouble,
                     fmt::format("float64 latents are decoded to {}", c10::toString(back.scalar_type())));
        found.at_most(apart(codec.decode(z), back), 1e-5, "what float64 latents are decoded to is off by");
    });
}

/// The same kind of data with other values in them.
class OtherValues final : public Dataset {
 public:
    explicit OtherValues(std::shared_ptr<Dataset> of) : of_(std::move(of)) {}
    std::vector<std::int64_t> shape() const override { return of_->shape(); }
    std::int64_t size() const override { return of_->size(); }
    std::int64_t test_size() const override { return of_->test_size(); }
    Batch examples(const Tensor& index) const override { return changed(of_->examples(index)); }
    Batch test_examples(const Tensor& index) const override { return changed(of_->test_examples(index)); }
    std::int64_t classes() const override { return of_->classes(); }
    ConditionSpace condition_space() const override { return of_->condition_space(); }
    std::optional<std::pair<double, double>> range() const override { return of_->range(); }
    int levels() const override { return of_->levels(); }

 private:
    Batch changed(Batch batch) const {
        const auto [least, most] = of_->range().value_or(std::pair{-1.0, 1.0});
        batch.x = (batch.x - least) * 0.5 + (0.9 * least + 0.1 * most);
        return batch;
    }
    std::shared_ptr<Dataset> of_;
};

void tensors_are_all_there_is(const Trial& trial, Findings& found) {
    on_benches(trial, found, [&](const Codec& codec, const Bench& bench, const Tensor& x) {
        const auto latents = parts_of(codec.encode(x));
        const auto back = codec.decode(latents[0]);
        // What a run that is gone on with does: the network's file fills the tensors of a codec that has measured
        // nothing.
        auto other = bench;
        other.data = std::make_shared<OtherValues>(bench.data);
        other.seed = 2;
        const auto copy = trial.tried<Codec>(other, "");
        if (!copy) return found.not_asked("it refuses such data with other values");
        copy->train(false);
        const auto from = codec.named_tensors(), to = copy->named_tensors();
        found.expect(from.size() == to.size(), "made again, it has other tensors");
        for (std::size_t i = 0; i < std::min(from.size(), to.size()) && !found.broken(); ++i) {
            found.expect(from[i].name == to[i].name && from[i].tensor->sizes() == to[i].tensor->sizes(),
                         fmt::format("made again, `{}` is `{}`, or of another shape", from[i].name, to[i].name));
            if (from[i].saved && !found.broken()) to[i].tensor->copy_(*from[i].tensor);
        }
        if (found.broken()) return;
        const auto again = parts_of(copy->encode(x));
        for (std::size_t i = 0; i < latents.size(); ++i)
            found.at_most(apart(latents[i], again[i]), 1e-6, "latents of a codec with the same tensors are off by");
        found.at_most(apart(back, copy->decode(latents[0])), 1e-6, "what it decodes is off by");
    });
}

void nothing_is_trained(const Trial& trial, Findings& found) {
    on_benches(trial, found, [&](const Codec& codec, const Bench&, const Tensor&) {
        for (const auto& named : codec.named_tensors())
            found.expect(!named.trained, fmt::format("its tensor `{}` is to be trained", named.name));
        found.expect(true, "");
    });
}

}  // namespace

const std::vector<Law> codec_laws{
    {"latents and what is decoded have the shapes that are said", shapes_are_said},
    {"latents lie in the range that is said", latents_lie_in_their_range},
    {"the variance of latents is not negative", variance_is_none_or_some},
    {"what went through latents is nearer than the mean of the data", comes_back},
    {"latents that are said to be the examples are", identity_is_one},
    {"latents of an example are its own, whatever the batch", rows_are_their_own},
    {"asked twice, and from two threads, it answers the same and writes into nothing", same_twice},
    {"float64 is coded as float32 is", float64_too},
    {"nothing in it is trained", nothing_is_trained},
    {"its tensors are all that it knows of the data", tensors_are_all_there_is},
    stays_on_its_device(),
};

}  // namespace dtk::laws
