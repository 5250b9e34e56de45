// Building a stage's parts, and the chain of functions around its network.
#include "engine/stage.hpp"

#include <ATen/autocast_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/categories.hpp>
#include <dtk/optimizer.hpp>

#include "base/stream_seeds.hpp"
#include "engine/latent_data.hpp"
#include "engine/start.hpp"
#include "engine/tokenised_data.hpp"

namespace dtk {

namespace {
/// In the place of a metric that cannot be built without the data.
class MissingMetric final : public Metric {
 public:
    explicit MissingMetric(const Error& error) : error_(error) {}
    MetricCard card() const override { return {}; }
    MetricResult measure(const EvaluationInput&, const Random&) const override { throw error_; }
    bool needs_samples() const override { return false; }

 private:
    Error error_;
};
/// Does the file name a codec that is not built?
bool lacks_codec(const Stage& stage) { return stage.spec().reading->find("codec") && !stage.part<Codec>(); }
}  // namespace

void Stage::build(const PluginSpec& plugin, Diagnostics& mistakes) {
    asked_in_vain_ = false;
    try {
        parts_[plugin.kind].push_back(plugin.make(*this));
        if (plugin.kind == "tokenizer") {
            const auto tokenizer = part<Tokenizer>();
            auto& data = parts_[Dataset::kind].front();
            teach(*tokenizer, dataset(), remembered_ ? remembered_->tokenizer : "");
            data = std::static_pointer_cast<Dataset>(std::make_shared<TokenisedData>(part<Dataset>(), tokenizer));
        }
        if (plugin.kind == "codec")
            latents_ = std::make_shared<LatentData>(part<Dataset>(), part<Codec>(), random("codec"));
    } catch (const Error& error) {
        if (remembered_ && plugin.kind == "dataset") {
            missing_data_ = error.what();
            parts_[plugin.kind].push_back(remembered_data(*remembered_, missing_data_));
            return;
        }
        if (!missing_data_.empty() && plugin.kind == "metric") {
            parts_[plugin.kind].push_back(std::shared_ptr<Metric>(std::make_shared<MissingMetric>(error)));
            return;
        }
        // What is wrong with the part it asked for has been said.
        if (!asked_in_vain_ || mistakes.empty()) mistakes.add_plugin(plugin.place, error);
    }
}

Stage::Stage(StageSpec& spec, std::int64_t seed, Trained trained, bool running, Diagnostics& mistakes,
             std::optional<RememberedData> remembered)
    : spec_(spec),
      seed_(seed),
      find_trained_(std::move(trained)),
      running_(running),
      remembered_(std::move(remembered)) {
    bool model_fits = false;
    for (const auto& part : stage_parts)
        for (const auto& plugin : spec.list(part.kind)) {
            const std::string_view kind = part.kind;
            const bool has_data = this->part<Dataset>() != nullptr, has_process = this->part<Process>() != nullptr;
            if (kind != "dataset" && !has_data) continue;
            if (kind != "dataset" && kind != "tokenizer" && kind != "codec" && lacks_codec(*this)) continue;
            const bool needs_process = kind != "dataset" && kind != "tokenizer" && kind != "codec" &&
                                       kind != "observation" && kind != "process" && kind != "metric";
            if (needs_process && !has_process) continue;
            if (part.when == StagePart::When::training && !model_fits) continue;
            build(plugin, mistakes);
            if (kind == "codec" && this->part<Codec>()) check_codec(mistakes);
            if (kind == "model") model_fits = check_model(mistakes);
        }
    check_tokens(mistakes);
    check_sampling(mistakes);
    const auto laws = list<Average>();
    if (spec_.train && spec_.train->snapshot_every > 0 && laws.size() == spec_.list("average").size() &&
        std::ranges::none_of(laws, [](const auto& law) { return law->power().has_value(); }))
        mistakes.add(spec_.reading->place("train"),
                     "`snapshot_every` keeps copies of averages by a power of the time, and there is none",
                     "add [[average]] use = \"power\", or two, of width 0.05 and 0.1");
}

void Stage::check_codec(Diagnostics& mistakes) const {
    const auto& plugin = spec_.part("codec");
    const auto codec = part<Codec>();
    for (const auto& named : codec->named_tensors())
        if (named.trained)
            mistakes.add(plugin.place,
                         fmt::format("codec `{}` owns a tensor `{}` to be trained", plugin.name, named.name),
                         "train it in an earlier stage, and let the codec name that");
    if (spec_.reading->find("observation") && !codec->is_identity())
        mistakes.add(spec_.reading->place("observation"),
                     "[observation] says what is known of examples, and the chain lives in latents",
                     "remove [codec], or the observation");
}

bool Stage::check_model(Diagnostics& mistakes) const {
    const auto model = part<Model>();
    if (!model) return false;
    bool fits = true;
    const auto& plugin = spec_.part("model");
    try {
        if (model->predicts() != PredictionType::label)
            process().accept(model->predicts());
        else if (spec_.sample)
            mistakes.add(plugin.place,
                         fmt::format("`{}` is a classifier, which samples cannot be drawn from", plugin.name),
                         "remove [sample]");
    } catch (const Error& error) {
        mistakes.add_plugin(plugin.place, error);
        fits = false;
    }
    if (spec_.train && model->parameters().empty())
        mistakes.add(spec_.reading->place("train"), fmt::format("model `{}` has no parameters to train", plugin.name),
                     "remove [train], or use a model that learns");
    if (!spec_.reading->find("train") && !spec_.reading->find("init") && !model->parameters().empty())
        mistakes.add(plugin.place, fmt::format("model `{}` has parameters, and there is no [train]", plugin.name),
                     "add [train] with steps, `init = \"RUN\"` for those of a run that has trained, or use a model "
                     "without parameters");
    const auto told = condition_space(), read = model->reads();
    if ((told.vector > 0 && read.vector == 0) || (told.token_width > 0 && read.token_width == 0))
        mistakes.add(plugin.place,
                     fmt::format("a conditioner makes {}, which model `{}` does not look at",
                                 told.vector > 0 && read.vector == 0 ? "a vector" : "tokens", plugin.name),
                     "use a model that does, or remove the conditioner");
    if (spec_.train && spec_.train->recompute && !model->recomputes())
        mistakes.add(spec_.reading->place("train"),
                     fmt::format("`recompute` = true, and model `{}` keeps its inner values", plugin.name),
                     "remove it, or use a model of blocks, such as unet or dit");
    std::vector<std::string> names;
    for (const auto& named : model->named_tensors()) names.push_back(named.name);
    std::sort(names.begin(), names.end());
    if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end())
        mistakes.add(plugin.place, fmt::format("model `{}` has two tensors called `{}`", plugin.name, *twice),
                     "give each parameter, buffer and child a name of its own");
    return fits;
}

void Stage::check_sampling(Diagnostics& mistakes) const {
    const auto data = part<Dataset>();
    const auto metrics = list<Metric>();
    if (metrics.size() == spec_.list("metric").size())
        for (std::size_t i = 0; i < metrics.size(); ++i)
            if (metrics[i]->needs_samples() && !spec_.reading->find("sample"))
                mistakes.add(
                    spec_.list("metric")[i].place,
                    fmt::format("`{}` measures samples, and there is no [sample]", spec_.list("metric")[i].name),
                    "add [sample] with n");
    if (!data || lacks_codec(*this)) return;
    const auto sampler = part<Sampler>();
    const auto model = part<Model>();
    const auto guidances = list<Guidance>();
    if (guidances.size() == spec_.list("guidance").size())
        for (std::size_t i = 0; i < guidances.size(); ++i) {
            const auto& plugin = spec_.list("guidance")[i];
            if (guidances[i]->moves_steps() && sampler && !sampler->draws_reverse_steps())
                mistakes.add(plugin.place,
                             fmt::format("guidance `{}` moves the mean of reverse steps, and sampler `{}` draws none",
                                         plugin.name, spec_.part("sampler").name),
                             "use a sampler of reverse steps, such as ddpm, or guidance of the score");
            if (guidances[i]->needs_null_condition() && model && !knows_null_condition())
                mistakes.add(
                    plugin.place,
                    fmt::format("guidance `{}` asks the network without its condition, and model `{}` was never "
                                "trained so",
                                plugin.name, spec_.part("model").name),
                    "set conditional = true in [model] and drop_condition in [train], such as 0.1");
        }
    if (const auto seen = part<Observation>()) check_observation(*seen, mistakes);
    const auto space = this->space();
    if (spec_.sample && part<Process>()) try {
            check_start(*spec_.sample, *this);
        } catch (const Error& error) {
            mistakes.add(spec_.reading->place("sample"), error.what(), error.help());
        }
    if (spec_.sample && !spec_.sample->labels.empty()) check_labels(mistakes);
}

void Stage::check_tokens(Diagnostics& mistakes) const {
    const auto tokenizer = part<Tokenizer>();
    const auto model = part<Model>();
    if (tokenizer && model && list<Conditioner>().size() == spec_.list("conditioner").size() &&
        condition_space().vocabulary > 0)
        mistakes.add(spec_.part("tokenizer").place, "[tokenizer] makes tokens of the captions, and nobody reads them",
                     "add a conditioner that does, such as text_transformer or bag_of_tokens, or remove it");
    if (!spec_.sample || spec_.sample->prompts.empty()) return;
    const auto place = spec_.reading->place("sample");
    if (!spec_.reading->find("tokenizer"))
        mistakes.add(place, "`prompts` asks for texts, and there is no [tokenizer]",
                     "train with a [tokenizer] over data with captions, or remove `prompts`");
    if (tokenizer) try {
            prompt_tokens(*tokenizer, spec_.sample->prompts);
        } catch (const Error& error) {
            mistakes.add(place, error.what(), error.help());
        }
}

void Stage::check_labels(Diagnostics& mistakes) const {
    const auto* table = spec_.reading->find("sample")->as_table();
    const auto* list = table ? table->get("labels") : nullptr;
    const auto place = list ? place_of(*list) : spec_.reading->place("sample");
    const auto classes = this->classes();
    const auto there = classes.with_examples();
    for (const auto& label : spec_.sample->labels) try {
            if (const auto number = classes.number_of(label); std::ranges::find(there, number) == there.end())
                mistakes.add(
                    place, fmt::format("`labels` asks for class {}, of which training has no examples", label),
                    fmt::format("the classes of data `{}` are {}", spec_.part("dataset").name, classes.text()));
        } catch (const Error& error) {
            mistakes.add(place, fmt::format("`labels` {}", error.what()), error.help());
        }
    if (classes.count > 0 && part<Model>() && !looks_at_classes())
        mistakes.add(place,
                     fmt::format("`labels` asks for classes, and model `{}` is told none: conditional = false",
                                 spec_.part("model").name),
                     "train with conditional = true in [model], guide by a classifier, or remove `labels`");
}

bool Stage::looks_at_classes() const {
    const auto conditional = spec_.part("model").resolved["conditional"].value<bool>();
    return conditional.value_or(true) || !spec_.list("guidance").empty() || !spec_.list("conditioner").empty();
}

void Stage::check_observation(const Observation& seen, Diagnostics& mistakes) const {
    const auto& plugin = spec_.part("observation");
    if (!observation_used_ && mistakes.empty())
        mistakes.add(plugin.place, "[observation] says what is known, and samples are drawn without looking at it",
                     "add guidance by it, such as [[guidance]] use = \"tmpd\", or remove the table");
    if (!spec_.sample || seen.draws() == 0) return;
    if (spec_.sample->n % seen.draws() != 0)
        mistakes.add(
            plugin.place,
            fmt::format("{} samples are not a multiple of the {} `draws` for each y", spec_.sample->n, seen.draws()),
            fmt::format("set n of [sample] to {}", (spec_.sample->n / seen.draws() + 1) * seen.draws()));
    const auto there = dataset().test_size(), wanted = spec_.sample->n / seen.draws();
    if (there > 0 && wanted > there)
        mistakes.add(plugin.place,
                     fmt::format("{} samples, {} for each y, are for {} test examples, and there are {}",
                                 spec_.sample->n, seen.draws(), wanted, there),
                     "lower n of [sample], or raise `draws`");
}

bool Stage::drops_conditions() const {
    if (spec_.train) return spec_.train->drop_condition > 0;
    if (!spec_.init) return false;
    try {
        const auto network = find_trained_(spec_.init->run.name());
        return network.model->knows_null_condition() || std::ranges::any_of(network.conditioners, [](const auto& one) {
                   return one.conditioner->knows_null_condition();
               });
    } catch (const Error&) {  // what is wrong with [init] is said where it is read
        return false;
    }
}

const Observation* Stage::observation() const {
    observation_used_ = true;
    const auto seen = part<Observation>();
    asked_in_vain_ = asked_in_vain_ || (!seen && spec_.reading->find("observation"));
    return seen.get();
}

Space Stage::space() const {
    const auto& data = chain_data();
    return {data.shape(), data.range(), data.levels(), data.classes()};
}

const Dataset& Stage::chain_data() const {
    const auto& data = dataset();
    if (latents_) return *latents_;
    asked_in_vain_ = lacks_codec(*this);
    if (asked_in_vain_) throw Error("it asks for the examples before the codec is built");
    return data;
}

ConditionSpace Stage::condition_space() const {
    auto told = dataset().condition_space();
    for (const auto& one : list<Conditioner>()) told = one->makes(told);
    return told;
}

std::vector<NamedConditioner> Stage::conditioners() const {
    const auto all = list<Conditioner>();
    const auto& specs = spec_.list("conditioner");
    std::vector<NamedConditioner> named;
    for (std::size_t i = 0; i < all.size() && i < specs.size(); ++i) named.push_back({specs[i].label, all[i]});
    return named;
}

bool Stage::knows_null_condition() const {
    return model().knows_null_condition() ||
           std::ranges::any_of(list<Conditioner>(), [](const auto& one) { return one->knows_null_condition(); });
}

Random Stage::random(std::string_view stream) const {
    // What is drawn in a step of training has two streams: its times, and all else.
    const bool training = stream == "train" || stream.starts_with("train/");
    const char* own = stream == "init" ? "init" : stream == "train/t" ? "times" : training ? "noise" : nullptr;
    const auto seed = static_cast<std::uint64_t>(own ? stream_seed(*spec_.reading, own, seed_) : seed_);
    return own && !spec_.streams.empty() ? Random(seed, spec_.streams).stream(stream) : Random(seed, stream);
}

std::uint64_t Stage::data_seed() const {
    const auto seed = static_cast<std::uint64_t>(stream_seed(*spec_.reading, "data", seed_));
    if (spec_.streams.empty()) return seed;
    const auto own = Random(seed, spec_.streams).stream("order").integers(std::int64_t{1} << 62, {1});
    return static_cast<std::uint64_t>(own.item<std::int64_t>());
}

namespace {
template <class Part>
std::shared_ptr<Module> module_of(const Stage& stage) {
    return stage.part<Part>();
}
constexpr std::pair<const char*, std::shared_ptr<Module> (*)(const Stage&)> owners[] = {
    {"codec", &module_of<Codec>},
    {"model", &module_of<Model>},
    {"process", &module_of<Process>},
    {"loss", &module_of<Loss>},
    {"times", &module_of<Times>}};
}  // namespace

std::vector<std::pair<std::string, std::shared_ptr<Module>>> Stage::modules() const {
    std::vector<std::pair<std::string, std::shared_ptr<Module>>> all;
    for (const auto& [kind, of] : owners)
        if (auto module = of(*this)) all.emplace_back(kind, std::move(module));
    for (const auto& [name, conditioner] : conditioners()) all.emplace_back("conditioner." + name, conditioner);
    return all;
}

std::vector<Module::Named> Stage::named_tensors() const {
    std::vector<Module::Named> all;
    for (const auto& [kind, module] : modules())
        for (auto& named : module->named_tensors())
            all.push_back({fmt::format("{}.{}", kind, named.name), named.tensor, named.trained, named.saved});
    return all;
}

TrainedNetwork Stage::trained(const Reference& reference) const {
    auto found = trained_.find(reference.name());
    if (found == trained_.end()) found = trained_.emplace(reference.name(), find_trained_(reference.name())).first;
    return found->second;
}

void Stage::to(at::Device device) {
    for (const auto& [kind, module] : modules()) module->to(device);
    for (const auto& [name, network] : trained_) {
        for (const auto& one : network.conditioners) one.conditioner->to(device);
        network.model->to(device);
        network.process->to(device);
    }
}

void Stage::train(bool on) {
    for (const auto& [kind, module] : modules()) module->train(on);
}

namespace {
/// Products in bfloat16 for as long as it lives.
class Autocast {
 public:
    explicit Autocast(at::DeviceType device) : device_(device), before_(at::autocast::is_autocast_enabled(device)) {
        at::autocast::set_autocast_dtype(device_, at::kBFloat16);
        at::autocast::set_autocast_enabled(device_, true);
        at::autocast::increment_nesting();
    }
    ~Autocast() {
        if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
        at::autocast::set_autocast_enabled(device_, before_);
    }

 private:
    at::DeviceType device_;
    bool before_;
};

using Ask = Denoiser::Ask;

/// What conditioners made of a condition, which is the same in all steps of a trajectory.
class KnownCondition {
 public:
    template <class Make>
    Condition of(const Condition& told, const Make& make) {
        if (at::GradMode::is_enabled() || told.random) return make();
        const auto same = [](const Tensor& a, const Tensor& b) { return a.is_same(b); };
        const bool known = same(told.label, told_.label) && same(told.tokens, told_.tokens) &&
                           same(told.token_mask, told_.token_mask) && same(told.vector, told_.vector) &&
                           same(told.given, told_.given) && told.named.empty();
        if (!known || !made_) {
            told_ = told;
            made_ = make();
        }
        auto now = told;
        now.tokens = made_->tokens;
        now.token_mask = made_->token_mask;
        now.vector = made_->vector;
        now.label = made_->label;
        now.named = made_->named;
        return now;
    }

 private:
    Condition told_;
    std::optional<Condition> made_;
};

Ask in_bf16(Ask ask) {
    return [ask = std::move(ask)](const Tensor& x, const Time& t, const Condition& condition) {
        const Autocast autocast(x.device().type());
        auto prediction = ask(x, t, condition);
        prediction.value = prediction.value.to(x.scalar_type());
        return prediction;
    };
}

Ask in_chunks(Ask ask, std::int64_t rows) {
    return [ask = std::move(ask), rows](const Tensor& x, const Time& t, const Condition& condition) {
        std::vector<Tensor> values, variances;
        Prediction prediction;
        for (std::int64_t first = 0; first < x.size(0); first += rows) {
            prediction = ask(rows_padded(x, first, rows), t.chunk(first, rows), condition.chunk(first, rows));
            values.push_back(prediction.value);
            if (prediction.variance) variances.push_back(prediction.variance->expand_as(prediction.value));
        }
        prediction.value = at::cat(values).slice(0, 0, x.size(0));
        if (prediction.variance) prediction.variance = at::cat(variances).slice(0, 0, x.size(0));
        return prediction;
    };
}

/// Chen, Zhang & Hinton, "Analog Bits", 2022: in training every second example is shown its own first estimate.
Ask self_conditioned(Ask ask, const Random& random, std::shared_ptr<Process> process) {
    return [ask = std::move(ask), &random, process = std::move(process)](const Tensor& x, const Time& t,
                                                                         Condition condition) {
        condition.self_condition = at::zeros_like(x);
        const auto first = [&] {
            at::NoGradGuard no_grad;
            return process->convert(ask(x, t, condition), PredictionType::x0, x, t);
        }();
        auto shown = random.stream("self-condition").uniform({x.size(0)}, x.options()) < 0.5;
        while (shown.dim() < x.dim()) shown = shown.unsqueeze(-1);
        condition.self_condition = at::where(shown, first, at::zeros_like(x));
        return ask(x, t, condition);
    };
}
}  // namespace

Denoiser Stage::denoiser(const DenoiserOptions& options, Condition condition) const {
    const auto model = part<Model>();
    const auto process = part<Process>();
    const auto& plugin = spec_.part("model").name;
    const auto* tokens = dynamic_cast<const CategoricalProcess*>(process.get());
    Ask ask = [=, random = options.random, recompute = options.recompute, conditioners = conditioners(),
               known = std::make_shared<KnownCondition>()](const Tensor& x, const Time& t, Condition told) {
        told.random = random;
        told.recompute = recompute;
        if (!conditioners.empty()) told = known->of(told, [&] { return conditioned(conditioners, told, x.size(0)); });
        if (model->self_conditions() && !told.self_condition.defined()) told.self_condition = at::zeros_like(x);
        auto prediction = model->forward(x, t, told);
        if (prediction.type != model->predicts())
            throw PluginError(fmt::format("model `{}` says that it predicts {} and answers {}", plugin,
                                          name_of(model->predicts()), name_of(prediction.type)));
        if (prediction.type == PredictionType::label) return prediction;
        auto expected = x.sizes().vec();
        if (tokens) expected.push_back(tokens->categories());
        if (prediction.value.sizes() != expected)
            throw PluginError(fmt::format("model `{}` answers a tensor of shape {} for x of shape {}", plugin,
                                          fmt::join(prediction.value.sizes(), "×"), fmt::join(x.sizes(), "×")),
                              tokens ? fmt::format("its answer must be {}, with the log-odds of every category",
                                                   fmt::join(expected, "×"))
                                     : "its answer must be shaped as x");
        return prediction;
    };
    if (options.bf16) ask = in_bf16(std::move(ask));
    if (options.rows > 0) ask = in_chunks(std::move(ask), options.rows);
    if (model->self_conditions() && options.random) ask = self_conditioned(std::move(ask), *options.random, process);
    // Padding is not asked for.
    Ask counted = [ask = std::move(ask), rows = rows_asked_](const Tensor& x, const Time& t, const Condition& told) {
        *rows += x.size(0);
        return ask(x, t, told);
    };
    Denoiser denoise(process, std::move(counted), std::move(condition));
    if (options.guided)
        for (const auto& guidance : list<Guidance>()) denoise = guidance->around(std::move(denoise));
    if (!options.clip || model->predicts() == PredictionType::label) return denoise;
    const auto [least, most] = *options.clip;
    return denoise.replaced([=](const Tensor& x, const Time& t, const Condition& told) {
        const auto prediction = denoise(x, t, told);
        if (prediction.type == PredictionType::logits) return prediction;  // of what the data can be, and nothing else
        const auto x0 = process->convert(prediction, PredictionType::x0, x, t);
        return Prediction{PredictionType::x0, x0.clamp(least, most), prediction.variance};
    });
}

}  // namespace dtk
