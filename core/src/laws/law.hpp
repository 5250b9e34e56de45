#pragma once
// Laws: what holds of every plugin of a kind, whoever wrote it, with the figures of what was tried.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <fmt/format.h>

#include <dtk/api.hpp>

#include "base/laws.hpp"

namespace dtk::laws {

class Trial;

/// What one law has found so far. The first thing that is wrong breaks it; what was measured is told beside it.
class DTK_API Findings {
 public:
    /// Broken unless `holds`; what: "the answer to 3 rows has the shape [3, 1]".
    void expect(bool holds, const std::string& what);
    /// Broken unless value ≤ limit. Of what holds the value that came nearest to its limit is told; what: "max |Δ|".
    void at_most(double value, double limit, const std::string& what);
    /// Where the law says nothing of this plugin, and why; a law that was broken stays so.
    void not_asked(const std::string& why);
    /// Told with every later finding: "points, conditional = true". → what was told before
    std::string with(std::string where);

    bool broken() const { return broken_; }
    bool was_asked() const { return asked_; }
    /// One line: what is wrong, or the value nearest to its limit, or why nothing was asked.
    std::string text() const;

 private:
    bool broken_ = false, asked_ = false;
    std::string where_, wrong_, why_not_, nearest_;
    double share_ = -1;  ///< of the limit, by the value nearest to it
};

/// `where` is told with what is found while it lives.
class Within {
 public:
    Within(Findings& found, std::string where) : found_(found), before_(found.with(std::move(where))) {}
    ~Within() { found_.with(std::move(before_)); }
    Within(const Within&) = delete;
    Within& operator=(const Within&) = delete;

 private:
    Findings& found_;
    std::string before_;
};

struct Law {
    std::string says;  ///< "a gradient reaches every parameter"
    void (*holds)(const Trial& trial, Findings& found);
};

/// Those of a kind, in the order in which they are tried: the cheap and plain ones first. Errors: none; a kind that is
/// not known has none.
DTK_API const std::vector<Law>& laws_of(const std::string& kind);

/// Tries every law of the plugin's kind whose words hold `only`, and that nothing of the process is other than before:
/// the global generator, threads, gradient mode, locale, folder. begin(law) is called before each, told(verdict) after
/// it.
DTK_API void try_laws(const Trial& trial, const std::string& only,
                      const std::function<void(const std::string& law)>& begin,
                      const std::function<void(const LawVerdict& verdict)>& told);

// One file each.
extern const std::vector<Law> schedule_laws, grid_laws, process_laws, model_laws, loss_laws, times_laws, weighting_laws,
    sampler_laws, guidance_laws, observation_laws, dataset_laws, codec_laws, conditioner_laws, metric_laws,
    optimizer_laws, rate_laws, average_laws, tokenizer_laws;

}  // namespace dtk::laws
