// What plugins are tried on.
#include "laws/bench.hpp"

#include <cmath>
#include <limits>
#include <numbers>
#include <thread>

#include <fmt/format.h>

#include <dtk/densities.hpp>
#include <dtk/schedule.hpp>

#include "base/reader.hpp"
#include "engine/latent_data.hpp"
#include "engine/tokenised_data.hpp"
#include "laws/law.hpp"

namespace dtk::laws {

namespace {

/// Σ_k w_k N(m_k, s²·I). means: [K, d] float64
class NormalMixture final : public Density, public ClassDensities {
 public:
    NormalMixture(Tensor means, std::vector<double> weights, double sd)
        : means_(std::move(means)), weights_(std::move(weights)), s2_(sd * sd) {}

    Tensor log_prob(const Tensor& x) const override {
        return log_terms(x.to(at::kDouble), 1, 0).logsumexp(1).to(x.scalar_type());
    }
    Tensor posterior_mean(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override {
        return moments(x, alpha, sigma).first.to(x.scalar_type());
    }
    Tensor posterior_variance(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const override {
        return moments(x, alpha, sigma).second.to(x.scalar_type());
    }
    double entropy() const override { return of_log_prob().entropy; }
    double log_prob_sd() const override { return of_log_prob().sd; }
    std::vector<double> mode_weights() const override {
        return weights_.size() == 1 ? std::vector<double>{} : weights_;
    }
    Tensor nearest_mode(const Tensor& x) const override { return log_terms(x.to(at::kDouble), 1, 0).argmax(1); }
    std::shared_ptr<const Density> of_class(std::int64_t label) const override {
        return std::make_shared<NormalMixture>(means_.narrow(0, label, 1), std::vector{1.0}, std::sqrt(s2_));
    }

 private:
    /// log w_k N(x; α·m_k, (α²s² + σ²)·I) → [n, K]
    Tensor log_terms(const Tensor& x, const Tensor& alpha, const Tensor& sigma) const {
        const auto variance = (alpha * alpha * s2_ + sigma * sigma).unsqueeze(1);
        const auto d2 = (x.unsqueeze(1) - alpha.view({-1, 1, 1}) * means_on(x)).square().sum(2);
        return at::tensor(weights_, at::kDouble).log().to(x.device(), /*non_blocking=*/true) - d2 / (2 * variance) -
               0.5 * static_cast<double>(x.size(1)) * (2 * std::numbers::pi * variance).log();
    }
    Tensor log_terms(const Tensor& x, double alpha, double sigma) const {
        return log_terms(x, at::full({x.size(0)}, alpha, x.options()), at::full({x.size(0)}, sigma, x.options()));
    }
    Tensor means_on(const Tensor& x) const { return means_.to(x.device(), /*non_blocking=*/true); }
    std::pair<Tensor, Tensor> moments(const Tensor& state, const Tensor& of_alpha, const Tensor& of_sigma) const {
        const auto x = state.to(at::kDouble), alpha = of_alpha.to(at::kDouble), sigma = of_sigma.to(at::kDouble);
        const auto a = alpha.view({-1, 1, 1}), total = a * a * s2_ + sigma.view({-1, 1, 1}).square();
        const auto share = log_terms(x, alpha, sigma).softmax(1).unsqueeze(2);
        const auto means = means_on(x), mean = means + a * s2_ / total * (x.unsqueeze(1) - a * means);
        const auto all = (share * mean).sum(1);
        return {all, (share * (s2_ * sigma.view({-1, 1, 1}).square() / total + mean.square())).sum(1) - all.square()};
    }
    LogProbMoments of_log_prob() const {
        const auto d = static_cast<double>(means_.size(1));
        if (weights_.size() == 1)
            return {0.5 * d * std::log(2 * std::numbers::pi * std::numbers::e * s2_), std::sqrt(d / 2)};
        return moments_on_lattice(
            [&](const Tensor& x, const Tensor& y) {
                const auto at = at::stack({x.unsqueeze(1).expand({x.size(0), y.size(0)}).flatten(),
                                           y.unsqueeze(0).expand({x.size(0), y.size(0)}).flatten()},
                                          1);
                return log_prob(at).exp().view({x.size(0), y.size(0)});
            },
            6, 0.05);
    }

    Tensor means_;
    std::vector<double> weights_;
    double s2_;
};

/// Draws from such a mixture, as many as anybody asks for; an example's class is its component, or its number modulo
/// the classes where there is one component for all.
class MixtureData final : public Dataset {
 public:
    MixtureData(std::vector<std::int64_t> shape, Tensor means, std::vector<double> weights, double sd,
                std::int64_t classes)
        : shape_(std::move(shape)),
          means_(means),
          sd_(sd),
          classes_(classes),
          shares_(at::tensor(weights, at::kDouble).cumsum(0)),
          density_(std::move(means), std::move(weights), sd) {}
    std::vector<std::int64_t> shape() const override { return shape_; }
    std::int64_t size() const override { return 0; }
    Batch examples(const Tensor& index) const override { return drawn(index, "train"); }
    Batch test_examples(const Tensor& index) const override { return drawn(index, "test"); }
    std::int64_t classes() const override { return classes_; }
    const Density* density() const override { return &density_; }

 private:
    Batch drawn(const Tensor& index, const char* split) const {
        const auto random = Random(7, split).samples(index);
        const auto n = index.size(0);
        const auto part =
            at::searchsorted(shares_, random.stream("part").uniform({n}, at::kDouble)).clamp_max(shares_.size(0) - 1);
        auto sizes = shape_;
        sizes.insert(sizes.begin(), n);
        auto x = means_.index_select(0, part).view(sizes).to(at::kFloat) +
                 sd_ * random.stream("noise").normal(sizes, at::kFloat);
        Batch batch{.x = std::move(x)};
        if (classes_ > 0) batch.condition.label = shares_.size(0) == classes_ ? part : index % classes_;
        return batch;
    }
    std::vector<std::int64_t> shape_;
    Tensor means_;
    double sd_;
    std::int64_t classes_;
    Tensor shares_;
    NormalMixture density_;
};

class Pictures final : public Dataset {
 public:
    Pictures(std::vector<std::int64_t> shape, std::int64_t classes) : shape_(std::move(shape)), classes_(classes) {}
    std::vector<std::int64_t> shape() const override { return shape_; }
    std::int64_t size() const override { return count; }
    Batch examples(const Tensor& index) const override {
        auto sizes = shape_;
        sizes.insert(sizes.begin(), index.size(0));
        const auto smooth = Random(7, "pictures").samples(index).normal(sizes, at::kFloat).tanh();
        Batch batch{.x = (smooth * 127.5 + 127.5).round() / 127.5 - 1};
        if (classes_ > 0) batch.condition.label = index % classes_;
        return batch;
    }
    Batch test_examples(const Tensor& index) const override { return examples(index + count); }
    std::int64_t classes() const override { return classes_; }
    std::optional<std::pair<double, double>> range() const override { return std::pair{-1.0, 1.0}; }
    int levels() const override { return 256; }

    static constexpr std::int64_t count = 512;

 private:
    std::vector<std::int64_t> shape_;
    std::int64_t classes_;
};

class Exact final : public Model {
 public:
    Exact(std::shared_ptr<Dataset> data, std::shared_ptr<Process> process, PredictionType type)
        : data_(std::move(data)), process_(std::move(process)), type_(type) {}
    PredictionType predicts() const override { return type_; }
    bool knows_null_condition() const override { return true; }
    Prediction forward(const Tensor& x, const Time& t, const Condition& condition) override {
        const auto& levels = process_->levels();
        const auto rows = t.rows(x.size(0));
        const auto of = [&](auto level) { return Time(rows).map(level).rows(x).to(at::kDouble); };
        const auto alpha = of([&](double at) { return levels.alpha(at); }),
                   sigma = of([&](double at) { return levels.sigma(at); });
        const auto flat = x.flatten(1);
        auto x0 = data_->density()->posterior_mean(flat, alpha, sigma);
        if (const auto* classes = dynamic_cast<const ClassDensities*>(data_->density());
            classes && condition.label.defined() && !data_->density()->mode_weights().empty()) {
            const auto told = condition.given.defined() ? condition.given : at::ones({x.size(0)}, at::kBool);
            for (std::int64_t c = 0; c < data_->classes(); ++c)
                x0 = at::where((told & (condition.label == c)).unsqueeze(1),
                               classes->of_class(c)->posterior_mean(flat, alpha, sigma), x0);
        }
        return {type_, process_->convert({PredictionType::x0, x0.view(x.sizes()), {}}, type_, x, t), {}};
    }

 private:
    std::shared_ptr<Dataset> data_;
    std::shared_ptr<Process> process_;
    PredictionType type_;
};

/// Another Gaussian process but for what is said here.
class Altered final : public GaussianProcess {
 public:
    Altered(std::shared_ptr<Process> process, bool whole_steps, std::optional<NoiseLevels> levels)
        : kept_(std::move(process)),
          of_(gaussian(*kept_, "a bench")),
          whole_steps_(whole_steps),
          levels_(std::move(levels)) {}
    std::int64_t steps() const override { return levels().steps(); }
    bool whole_steps() const override { return whole_steps_; }
    const NoiseLevels& levels() const override { return levels_ ? *levels_ : of_.levels(); }
    Coefficient alpha(const Time& t) const override {
        return levels_ ? t.map([&](double t) { return levels_->alpha(t); }) : of_.alpha(t);
    }
    Coefficient sigma(const Time& t) const override {
        return levels_ ? t.map([&](double t) { return levels_->sigma(t); }) : of_.sigma(t);
    }
    Tensor prior(at::IntArrayRef sizes, const at::TensorOptions& options, const Random& random,
                 double t) const override {
        return of_.prior(sizes, options, random, t);
    }
    Tensor noise(at::IntArrayRef sizes, const at::TensorOptions& options, const Random& random) const override {
        return of_.noise(sizes, options, random);
    }
    Tensor mix(const Tensor& x0, const Tensor& noise, const Time& t) const override {
        return sum_of(alpha(t), x0, sigma(t), noise);
    }
    Tensor target(PredictionType type, const Tensor& x0, const NoisySample& xt, const Time& t) const override {
        return of_.target(type, x0, xt, t);
    }
    Tensor convert(const Prediction& prediction, PredictionType to, const Tensor& xt, const Time& t) const override {
        return of_.convert(prediction, to, xt, t);
    }
    Tensor reverse_step(const Tensor& xt, const Prediction& prediction, const Time& t, const Time& s,
                        const std::string& variance, const Random& random) const override {
        return of_.reverse_step(xt, prediction, t, s, variance, random);
    }
    Tensor bound_term(const Tensor& x0, const Tensor& xt, const Time& t, const Time& s, const Prediction& prediction,
                      const std::string& variance) const override {
        return of_.bound_term(x0, xt, t, s, prediction, variance);
    }
    Tensor prior_term(const Tensor& x0) const override { return of_.prior_term(x0); }
    std::vector<std::string> variances() const override { return of_.variances(); }
    void accept(PredictionType type) const override {
        if (levels().alpha(levels().last()) == 0 &&
            (type == PredictionType::eps || type == PredictionType::score || type == PredictionType::edm))
            throw Error("a network that predicts this says nothing where α = 0");
        of_.accept(type);
    }
    Normal reverse(const Tensor& xt, const Prediction& prediction, const Time& t, const Time& s,
                   const std::string& variance) const override {
        return of_.reverse(xt, prediction, t, s, variance);
    }
    Normal forward(const Tensor& xs, const Time& s, const Time& t) const override {
        const auto added = t.map(s, [&](double t, double s) { return levels().added_variance(t, s); });
        return {alpha(t) / alpha(s) * xs, added.beside(xs)};
    }
    double data_sd() const override { return of_.data_sd(); }

 private:
    std::shared_ptr<Process> kept_;
    const GaussianProcess& of_;
    bool whole_steps_;
    std::optional<NoiseLevels> levels_;
};

/// Written once more, for a table of fields that are given as text.
void lay(toml::table& table, const std::string& fields) {
    for (auto&& [key, value] : toml::parse(fields)) table.insert_or_assign(key, value);
}

std::string why(const Error& error) {
    return error.help().empty() ? error.what() : fmt::format("{}; {}", error.what(), error.help());
}

}  // namespace

const Dataset& Bench::dataset() const { return data ? *data : throw Error("there is no data set"); }
Space Bench::space() const {
    if (code) return code->space();
    return {dataset().shape(), dataset().range(), dataset().levels(), dataset().classes()};
}
const Process& Bench::process() const { return chain ? *chain : throw Error("there is no process"); }
const Model& Bench::model() const { return network ? *network : throw Error("there is no model"); }

TrainedNetwork Bench::trained(const Reference& reference) const {
    if (const auto found = networks.find(reference.name()); found != networks.end()) return found->second;
    if (!network) throw Error("there is no trained network `" + reference.name() + "`");
    return {network, chain, ""};
}

Denoiser Bench::denoiser() const {
    return {chain, [model = network](const Tensor& x, const Time& t, const Condition& condition) {
                return model->forward(x, t, condition);
            }};
}

Bench of_whole_steps(Bench bench) {
    bench.chain = std::make_shared<Altered>(bench.chain, true, std::nullopt);
    return bench;
}

Bench under_levels(Bench bench, const NoiseLevels& levels) {
    bench.chain = std::make_shared<Altered>(bench.chain, false, levels);
    return bench;
}

Bench ends_without_signal(Bench bench) {
    const auto T = bench.process().steps();
    return under_levels(std::move(bench), NoiseLevels::from_function(T, [](double u) {
                            return noise_level(u == 1 ? 0 : std::sqrt(1 - u * u), u);
                        }));
}

Batch examples(const Bench& bench, std::int64_t n, at::ScalarType type) {
    auto batch = bench.chain_data().examples(at::arange(n));
    batch.x = batch.x.to(type);
    return batch;
}

Batch part_of(const Batch& batch, std::int64_t first, std::int64_t n) {
    return {batch.x.slice(0, first, first + n), batch.condition.chunk(first, n), first,
            batch.of > 0 ? batch.of : batch.x.size(0)};
}

std::shared_ptr<Dataset> points() {
    const auto means = at::tensor({1.2, 0.4, -1.0, 0.8, -0.2, -1.4}, at::kDouble).view({3, 2});
    return std::make_shared<MixtureData>(std::vector<std::int64_t>{2}, means, std::vector{0.5, 0.3, 0.2}, 0.3, 3);
}

std::shared_ptr<Dataset> normal(std::vector<std::int64_t> shape, double mean, double sd, std::int64_t classes) {
    std::int64_t d = 1;
    for (const auto size : shape) d *= size;
    return std::make_shared<MixtureData>(std::move(shape), at::full({1, d}, mean, at::kDouble), std::vector{1.0}, sd,
                                         classes);
}

std::shared_ptr<Dataset> pictures(std::vector<std::int64_t> shape, std::int64_t classes) {
    return std::make_shared<Pictures>(std::move(shape), classes);
}

std::shared_ptr<Model> exact(std::shared_ptr<Dataset> data, std::shared_ptr<Process> process, PredictionType type) {
    auto model = std::make_shared<Exact>(std::move(data), std::move(process), type);
    model->train(false);
    return model;
}

Tensor new_numbers(std::int64_t n, std::int64_t number) {
    return at::arange(number * n, (number + 1) * n) + (std::int64_t{1} << 30);  // far from those that others look at
}

std::optional<Batch> new_examples(const Dataset& data, std::int64_t n, std::int64_t number) {
    const auto index = at::arange(number * n, (number + 1) * n);
    if (data.size() == 0) return data.examples(new_numbers(n, number));
    if (dynamic_cast<const Pictures*>(&data)) return data.examples(index + 2 * Pictures::count);
    return std::nullopt;
}

double distance(const Tensor& a, const Tensor& b) {
    if (a.sizes() != b.sizes()) return std::numeric_limits<double>::infinity();
    if (a.numel() == 0) return 0;
    const auto worst = (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
    return std::isnan(worst) ? std::numeric_limits<double>::infinity() : worst;
}

double apart(const Tensor& a, const Tensor& b) {
    return distance(a, b) / std::max(1.0, b.numel() > 0 ? b.to(at::kDouble).abs().max().item<double>() : 0.0);
}

bool same_in_threads(const std::function<Tensor()>& ask) {
    const auto alone = ask();
    std::vector<Tensor> answers(2);
    std::vector<std::exception_ptr> failures(2);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < 2; ++i)
        threads.emplace_back([&, i, gradients = at::GradMode::is_enabled()] {
            at::GradMode::set_enabled(gradients);
            try {
                for (int turn = 0; turn < 3; ++turn) answers[i] = ask();
            } catch (...) {
                failures[i] = std::current_exception();
            }
        });
    for (auto& thread : threads) thread.join();
    for (const auto& failure : failures)
        if (failure) std::rethrow_exception(failure);
    return same_bits(answers[0], alone) && same_bits(answers[1], alone);
}

bool same_bits(const Tensor& a, const Tensor& b) { return a.scalar_type() == b.scalar_type() && at::equal(a, b); }

Trial::Trial(const Registry& registry, const PluginFile& plugin, toml::table named, std::filesystem::path folder)
    : registry_(registry), plugin_(plugin), named_(std::move(named)), folder_(std::move(folder)) {}

std::shared_ptr<void> Trial::made(const std::string& kind, const toml::table& table, const Bench& bench) const {
    Diagnostics mistakes;
    ParseContext reading{registry_, mistakes, folder_, {&named_}};
    const auto spec = read_plugin(reading, kind, &table, {});
    if (!mistakes.empty()) throw mistakes.as_error();
    return spec.make(bench);
}

std::shared_ptr<void> Trial::other(const std::string& kind, const std::string& name, const std::string& fields,
                                   const Bench& bench) const {
    toml::table table;
    if (!name.empty()) table.insert_or_assign("use", name);
    lay(table, fields);
    return made(kind, table, bench);
}

std::shared_ptr<void> Trial::build(const Bench& bench, const std::string& more) const {
    toml::table table;
    if (const auto* own = named_.get_as<toml::table>(plugin_.kind)) table = *own;
    lay(table, more);
    table.insert_or_assign("use", plugin_.name);
    return made(plugin_.kind, table, bench);
}

std::shared_ptr<void> Trial::tried(const Bench& bench, const std::string& more) const {
    try {
        return build(bench, more);
    } catch (const Error&) {
        return nullptr;
    }
}

Bench Trial::under(Bench bench, const std::string& process_fields) const {
    toml::table table;
    if (const auto* own = named_.get_as<toml::table>("process")) table = *own;
    lay(table, process_fields);
    bench.chain = std::static_pointer_cast<Process>(made("process", table, bench));
    if (bench.data->density() && !named_.contains("model")) bench.network = exact(bench.data, bench.chain);
    return bench;
}

/// With what the author names in place of what stands on it, in the order of a stage.
Bench Trial::furnished(Bench bench) const {
    const auto part = [&]<class Part>(std::shared_ptr<Part>& into) {
        if (Part::kind == plugin_.kind) return;
        if (const auto* named = named_.get(Part::kind)) {
            const auto* table = named->as_table();
            into = std::static_pointer_cast<Part>(table ? made(Part::kind, *table, bench)
                                                        : other(Part::kind, named->value_or(std::string()), "", bench));
        }
    };
    part(bench.data);
    if (named_.contains(Tokenizer::kind) && plugin_.kind != Tokenizer::kind && bench.data) {
        std::shared_ptr<Tokenizer> tokenizer;
        part(tokenizer);
        teach(*tokenizer, *bench.data, "");
        bench.data = std::make_shared<TokenisedData>(bench.data, tokenizer);
    }
    part(bench.code);
    if (bench.code) bench.latents = std::make_shared<LatentData>(bench.data, bench.code, bench.random("latents"));
    if (plugin_.kind == "dataset" || plugin_.kind == "schedule" || plugin_.kind == "grid") return bench;
    part(bench.seen);
    if (plugin_.kind == std::string(Process::kind))
        bench.chain = std::static_pointer_cast<Process>(build(bench, ""));
    else
        bench = under(bench, "");
    part(bench.network);
    if (const auto* trained = named_.get_as<toml::table>("trained"))
        for (auto&& [name, parts] : *trained) {
            const auto* table = parts.as_table();
            const auto* model = table ? table->get_as<toml::table>("model") : nullptr;
            if (!model) throw Error(fmt::format("[trained.{}] names no model", name.str()));
            auto own = bench;
            const auto network = std::static_pointer_cast<Model>(made("model", *model, own));
            network->freeze();
            network->train(false);
            bench.networks[std::string(name.str())] = {network, own.chain, ""};
        }
    return bench;
}

std::optional<Bench> Trial::over(const std::string& name, std::shared_ptr<Dataset> data) const {
    if (named_.contains("dataset")) return {};
    try {
        auto ready = furnished({name, std::move(data)});
        build(ready, "");
        return ready;
    } catch (const Error&) {
        return {};
    }
}

const std::vector<Bench>& Trial::benches() const {
    if (benches_) return *benches_;
    std::vector<Bench> all, usable;
    if (named_.contains("dataset") && plugin_.kind != "dataset")
        all = {{"the data that its author names", nullptr}};
    else
        all = {{"points in the plane", points()}, {"pictures of 3 classes", pictures()}};
    std::string reasons;
    for (auto& bench : all) try {
            auto ready = furnished(bench);
            build(ready, "");
            usable.push_back(std::move(ready));
        } catch (const Error& error) {
            reasons += fmt::format("{}on {}: {}", reasons.empty() ? "" : "\n", bench.name, why(error));
        }
    if (usable.empty()) throw Error(reasons, "say in [check] what it needs");
    return benches_.emplace(std::move(usable));
}

}  // namespace dtk::laws
