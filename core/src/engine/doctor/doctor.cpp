// dtk doctor RUN: what is wrong with a run, the most likely first.
#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/json.hpp"
#include "base/words.hpp"
#include "engine/commands.hpp"
#include "engine/doctor/checks.hpp"
#include "engine/say.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace doctor {
namespace {

struct Check {
    const char* subject;  ///< "nothing was found in …"
    Findings (*look)(Examined& run);
};

/// What causes stands before what it causes: of two findings that are as likely the earlier one is named first.
constexpr Check checks[] = {
    {"numbers of the data", &data_not_finite},
    {"outliers of the data", &data_outliers},
    {"variation of the data", &data_constant},
    {"copies among the data", &data_copies},
    {"scale of the data", &data_scale},
    {"range of the data", &data_range},
    {"classes of the data", &data_classes},
    {"weights", &weights_not_finite},
    {"finite losses", &training_not_finite},
    {"signal at the last step", &signal_at_the_start},
    {"noise at the first step", &noise_at_the_end},
    {"learning rate and length of training", &training_cures},
    {"clipped gradients", &clipped_steps},
    {"precision", &low_precision},
    {"gradients of every tensor", &unmoved_parameters},
    {"training against held-out examples", &overfitting},
    {"use of the class", &ignored_class},
    {"average against the parameters", &stale_average},
    {"sampler and its steps", &sampling_cures},
    {"clipped estimates", &clipped_estimates},
    {"log of training", &training_log},
    {"error by noise level", &network_fit},
    {"finite samples", &samples_not_finite},
    {"mean and spread of the samples", &samples_drift},
};

const char* name_of(Likelihood likelihood) {
    switch (likelihood) {
        case Likelihood::certain:
            return "certain";
        case Likelihood::likely:
            return "likely";
        case Likelihood::possible:
            return "possible";
        case Likelihood::symptom:
            break;
    }
    return "symptom";
}

/// What was found in one stage, printed → how much.
std::size_t diagnose_stage(Examined& run, Progress::Mode mode) {
    Findings all;
    std::vector<std::string> looked, not_looked;
    Progress progress("look", std::size(checks), mode);
    std::int64_t done = 0;
    for (const auto& check : checks) {
        progress.at(done++, [&] { return std::string(check.subject); });
        try {
            for (auto& finding : check.look(run)) all.push_back(std::move(finding));
            looked.emplace_back(check.subject);
        } catch (const Error& why) {
            not_looked.push_back(fmt::format("{}: {}", check.subject, why.what()));
        } catch (const c10::Error& why) {
            not_looked.push_back(fmt::format("{}: {}", check.subject, why.what_without_backtrace()));
        }
    }
    progress.at(done);
    progress.finish();
    std::stable_sort(all.begin(), all.end(),
                     [](const Finding& a, const Finding& b) { return a.likelihood < b.likelihood; });
    int number = 0;
    for (const auto& finding : all) {
        say(harmless(fmt::format("\n{}. {}  ({})", ++number, finding.what, name_of(finding.likelihood))));
        for (const auto& figure : finding.figures) say(harmless("   " + figure));
        say(harmless("   cure: " + finding.cure));
    }
    if (all.empty()) say("\nnothing was found");
    say(fmt::format("\nlooked at      {}", fmt::join(looked, ", ")));
    for (std::size_t i = 0; i < not_looked.size(); ++i)
        say(harmless(fmt::format("{:<15}{}", i == 0 ? "not looked at" : "", not_looked[i])));
    return all.size();
}

}  // namespace
}  // namespace doctor

int diagnose_run(const DiagnoseRequest& request) {
    return guarded([&] {
        std::size_t found = 0;
        for (const auto& folder : request.stages) {
            if (!fs::exists(folder / "stage.toml"))
                throw UserError(fmt::format("{} is not the folder of a run or of one of its stages", folder.string()),
                                "a run's folder holds stage.toml once it has begun");
            auto record = read_json(request.run / "run.json");
            if (!record.is_object()) record = nlohmann::json::object();
            doctor::Examined run(folder, std::move(record), request.overrides);
            const auto& train = run.stage().spec().train;
            say(harmless(
                fmt::format("{}{}{}", folder.string(),
                            run.record().contains("status") ? ", " + run.record().value("status", std::string()) : "",
                            train ? fmt::format(", step {} of {}", run.steps(), train->steps) : "")));
            found += doctor::diagnose_stage(run, request.progress);
        }
        return static_cast<int>(found == 0 ? done : failed);
    });
}

}  // namespace dtk
