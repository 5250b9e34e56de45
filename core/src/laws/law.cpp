// Which laws a kind has, and how they are tried.
#include "laws/law.hpp"

#include <clocale>
#include <cmath>
#include <filesystem>
#include <map>

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>

#include "base/words.hpp"
#include "laws/bench.hpp"
#include "laws/picture.hpp"
#include "laws/pretend.hpp"

namespace dtk::laws {

void Findings::expect(bool holds, const std::string& what) {
    asked_ = true;
    if (holds || broken_) return;
    broken_ = true;
    wrong_ = where_.empty() ? what : what + "; " + where_;
}

void Findings::at_most(double value, double limit, const std::string& what) {
    const auto text = fmt::format("{} = {:.3g}, at most {:.3g}", what, value, limit);
    expect(value <= limit, text);
    if (const double share = limit > 0 ? value / limit : 0; !broken_ && share > share_) {
        share_ = share;
        nearest_ = text;
    }
}

void Findings::not_asked(const std::string& why) {
    if (why_not_.empty()) why_not_ = why;
}

std::string Findings::with(std::string where) {
    std::swap(where_, where);
    return where;
}

std::string Findings::text() const { return broken_ ? wrong_ : asked_ ? nearest_ : why_not_; }

namespace {

/// What a plugin must leave as it was.
struct GlobalState {
    Tensor generator = at::detail::getDefaultCPUGenerator().get_state();
    std::int64_t threads = at::get_num_threads();
    bool gradients = at::GradMode::is_enabled();
    bool deterministic = at::globalContext().deterministicAlgorithms();
    caffe2::TypeMeta type = at::get_default_dtype();
    std::string locale = std::setlocale(LC_ALL, nullptr);
    std::filesystem::path folder = std::filesystem::current_path();

    void compare(const GlobalState& now, Findings& found) const {
        found.expect(at::equal(generator, now.generator),
                     "it drew from LibTorch's global generator; numbers come from the Random it is given");
        found.expect(threads == now.threads,
                     fmt::format("it changed the number of threads from {} to {}", threads, now.threads));
        found.expect(gradients == now.gradients, "it left gradients switched otherwise than before");
        found.expect(deterministic == now.deterministic, "it changed whether algorithms are deterministic");
        found.expect(type == now.type, "it changed the default dtype");
        found.expect(locale == now.locale, fmt::format("it changed the locale to {}", now.locale));
        found.expect(folder == now.folder, fmt::format("it changed the working folder to {}", now.folder.string()));
    }
};

LawVerdict verdict_of(const std::string& law, const Findings& found) {
    return {law,
            found.broken()      ? LawVerdict::Outcome::broken
            : found.was_asked() ? LawVerdict::Outcome::holds
                                : LawVerdict::Outcome::not_asked,
            found.text()};
}

class AllLaws final : public Laws {
 public:
    void try_on(const Registry& registry, const PluginFile& plugin, const toml::table& named,
                const std::filesystem::path& folder, const std::string& only,
                const std::function<void(const std::string& law)>& begin,
                const std::function<void(const LawVerdict& verdict)>& told) override {
        at::set_num_threads(1);
        pretend::begin();  // before autograd, which makes a thread for each device that there is when it begins
        try_laws(Trial(registry, plugin, named, folder), only, begin, told);
    }
    void draw(const Registry& registry, const PluginFile& plugin, const toml::table& named,
              const std::filesystem::path& folder, const std::filesystem::path& picture) override {
        laws::draw(Trial(registry, plugin, named, folder), picture);
    }
};

}  // namespace

const std::vector<Law>& laws_of(const std::string& kind) {
    static const std::map<std::string, const std::vector<Law>*> all{
        {"schedule", &schedule_laws},   {"grid", &grid_laws},
        {"process", &process_laws},     {"model", &model_laws},
        {"loss", &loss_laws},           {"times", &times_laws},
        {"weighting", &weighting_laws}, {"sampler", &sampler_laws},
        {"guidance", &guidance_laws},   {"observation", &observation_laws},
        {"dataset", &dataset_laws},     {"tokenizer", &tokenizer_laws},
        {"codec", &codec_laws},         {"conditioner", &conditioner_laws},
        {"metric", &metric_laws},       {"optimizer", &optimizer_laws},
        {"rate", &rate_laws},           {"average", &average_laws},
    };
    static const std::vector<Law> none;
    const auto found = all.find(kind);
    return found == all.end() ? none : *found->second;
}

void try_laws(const Trial& trial, const std::string& only, const std::function<void(const std::string& law)>& begin,
              const std::function<void(const LawVerdict& verdict)>& told) {
    const GlobalState before;
    const auto is_wanted = [&](const std::string& says) { return says.find(only) != says.npos; };
    const auto try_one = [&](const std::string& says, const auto& law) {
        begin(says);
        Findings found;
        try {
            law(found);
        } catch (const Error& error) {
            found.expect(false,
                         error.help().empty() ? error.what() : fmt::format("{}; {}", error.what(), error.help()));
        } catch (const std::exception& error) {
            found.expect(false, fmt::format("it throws {}", without_stack(error.what())));
        } catch (...) {
            found.expect(false, "it throws something that is no exception");
        }
        told(verdict_of(says, found));
        return !found.broken();
    };
    // Without a plugin that can be built there is nothing more to ask.
    if (!try_one("it is built with its defaults, or as its author says", [&](Findings& found) {
            const auto& benches = trial.benches();
            found.expect(!benches.empty(), "nothing fits it");
        }))
        return;
    for (const auto& law : laws_of(trial.plugin().kind))
        if (is_wanted(law.says))
            try_one(law.says, [&](Findings& found) {
                if (const auto why = trial.excuse(law.says); !why.empty()) return found.not_asked(why);
                law.holds(trial, found);
            });
    if (const std::string untouched = "nothing global is other than before"; is_wanted(untouched))
        try_one(untouched, [&](Findings& found) { before.compare({}, found); });
}

}  // namespace dtk::laws

extern "C" DTK_API dtk::Laws* dtk_open_laws() {
    static dtk::laws::AllLaws laws;
    return &laws;
}
