#pragma once
// What tests of products of plugins share: every plugin with other values of its fields, a cover of all pairs, Gaussian
// data whose denoiser is arithmetic alone, and what samplers make of a start.
#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/declaration.hpp"
#include "support.hpp"

namespace product {

using at::Tensor;

/// A plugin and its fields.
struct Part {
    std::string name, fields;
    /// The fields as lines of a table of their own.
    std::string lines() const {
        auto text = fields;
        int depth = 0;
        for (auto& c : text) {
            depth += c == '[' ? 1 : c == ']' ? -1 : 0;
            if (c == ',' && depth == 0) c = '\n';
        }
        return text;
    }
    std::string toml() const { return fmt::format("{{use = \"{}\"{}{}}}", name, fields.empty() ? "" : ", ", fields); }
};

/// What else a field may be: every choice, both truths, the ends of its range; η both without noise and with all of it.
inline std::vector<std::string> other_values(const dtk::DeclaredField& field) {
    std::vector<std::string> values;
    const auto& accepts = field.accepts;
    if (field.type == "truth") values = {"false", "true"};
    if (field.type == "text")
        for (std::size_t from = 0, to = 0; to != accepts.npos && !accepts.empty(); from = to + 2)
            values.push_back("\"" + accepts.substr(from, (to = accepts.find(", ", from)) - from) + "\"");
    if (field.type == "number" || field.type == "whole number") {
        const std::string at_least = "≥ ", comma = ", ";
        const auto middle = accepts.find(comma);
        if (accepts.starts_with(at_least)) values.push_back(accepts.substr(at_least.size()));
        if (accepts.starts_with("[")) values.push_back(accepts.substr(1, middle - 1));
        if (accepts.ends_with("]"))
            values.push_back(accepts.substr(middle + comma.size(), accepts.size() - 1 - middle - comma.size()));
        if (field.key == "eta") values.push_back("1");
    }
    return values;
}

/// Every plugin of that kind, and once more for every other value of one of its fields.
inline std::vector<Part> parts(const std::string& kind, bool with_fields = true) {
    std::vector<Part> all;
    for (const auto& name : support::registry().names(kind)) {
        all.push_back({name, ""});
        if (!with_fields) continue;
        for (const auto& field : dtk::declared_fields(support::registry().load(support::registry().find(kind, name))))
            for (const auto& value : other_values(field))
                if (field.key != "steps" && value != field.default_value)
                    all.push_back({name, field.key + " = " + value});
    }
    return all;
}

/// The fields of that kind's plugins of which no value makes `shown` answer another tensor, be it beside a word of
/// another field, as "plugin, field". Those of plugins that it has no answer for are passed over. Errors: whatever
/// `shown` throws but Error, which is a refusal.
inline std::vector<std::string> idle_fields(
    const std::string& kind,
    const std::function<std::optional<Tensor>(const std::string& name, const std::string& fields)>& shown) {
    std::vector<std::string> idle;
    for (const auto& name : support::registry().names(kind)) {
        const auto answer = [&](const std::string& fields) -> std::optional<Tensor> {
            try {
                return shown(name, fields);
            } catch (const dtk::Error&) {
                return {};
            }
        };
        if (!answer("")) continue;
        std::map<std::string, std::vector<std::string>> settings;  // what to try of each field
        std::vector<std::string> beside{""};
        for (const auto& field : dtk::declared_fields(support::registry().load(support::registry().find(kind, name)))) {
            auto values = other_values(field);
            if (field.type == "number")
                for (const double value :
                     {0.9 * std::stod(field.default_value), 0.05 + std::stod(field.default_value), -2.0, 0.5, 2.0})
                    values.push_back(fmt::format("{:.17g}", value));
            if (field.type == "whole number") values.push_back(std::to_string(std::stoll(field.default_value) + 1));
            for (const auto& other : support::registry().names(field.type)) values.push_back('"' + other + '"');
            for (const auto& value : values) {
                settings[field.key].push_back(field.key + " = " + value);
                if (field.type == "text") beside.push_back(settings[field.key].back());
            }
        }
        for (const auto& [key, each] : settings) {
            const bool does = std::ranges::any_of(beside, [&, &key = key, &each = each](const std::string& other) {
                if (other.starts_with(key + " = ")) return false;
                const auto without = answer(other);
                return without && std::ranges::any_of(each, [&](const std::string& one) {
                           const auto with = answer(other + "\n" + one);
                           return with && !at::equal(*with, *without);
                       });
            });
            if (!does) idle.push_back(name + ", " + key);
        }
    }
    return idle;
}

/// N(mean, sd²) element by element, noised. Its denoiser is arithmetic alone and rounds a row alike wherever it stands.
struct GaussianData {
    Tensor mean = at::tensor({0.7, -0.4}, at::kDouble);
    double sd = 0.5;

    dtk::Denoiser denoiser(const std::shared_ptr<dtk::Process>& process, dtk::PredictionType type) const {
        return {process, [*this, process, type](const Tensor& x, const dtk::Time& t, const dtk::Condition&) {
                    const auto& chain = dtk::gaussian(*process, "the test");
                    const auto a = chain.alpha(t), noise = square(chain.sigma(t)), all = square(a) * (sd * sd) + noise;
                    const auto x0 = (a * (sd * sd) / all) * x + (noise / all) * mean.to(x.options()).expand_as(x);
                    return dtk::Prediction{type, process->convert({dtk::PredictionType::x0, x0, {}}, type, x, t), {}};
                }};
    }
    /// Where the probability flow takes x from t to s.
    Tensor flow(const Tensor& x, const dtk::NoiseLevels& noise, double t, double s) const {
        const auto spread = [&](double t) { return std::sqrt(noise.alpha_bar(t) * sd * sd + noise.sigma2(t)); };
        return noise.alpha(s) * mean + (x - noise.alpha(t) * mean) * (spread(s) / spread(t));
    }
};

/// Rows of levels, one of each factor, so that every pair of levels of two factors stands in some row: each row starts
/// from a pair that has not, and takes of every further factor what makes most new pairs with it.
inline std::vector<std::vector<std::size_t>> pairwise(const std::vector<std::size_t>& levels) {
    std::map<std::array<std::size_t, 4>, bool> met;  // factors i < j and a level of each
    for (std::size_t j = 0; j < levels.size(); ++j)
        for (std::size_t i = 0; i < j; ++i)
            for (std::size_t a = 0; a < levels[i]; ++a)
                for (std::size_t b = 0; b < levels[j]; ++b) met[{i, j, a, b}] = false;
    std::vector<std::vector<std::size_t>> rows;
    constexpr auto open = static_cast<std::size_t>(-1);
    for (const auto& [pair, done] : met) {
        if (done) continue;
        std::vector<std::size_t> row(levels.size(), open);
        row[pair[0]] = pair[2];
        row[pair[1]] = pair[3];
        const auto each_pair = [&](std::size_t f, std::size_t level, const auto& use) {
            for (std::size_t g = 0; g < levels.size(); ++g)
                if (g != f && row[g] != open)
                    use(met.at(g < f ? std::array{g, f, row[g], level} : std::array{f, g, level, row[g]}));
        };
        for (std::size_t f = 0; f < levels.size(); ++f) {
            if (row[f] != open) continue;
            std::size_t best = 0, most = 0;
            for (std::size_t k = 0; k < levels[f]; ++k) {
                const std::size_t level = (k + rows.size()) % levels[f];
                std::size_t fresh = 0;
                each_pair(f, level, [&](bool& seen) { fresh += !seen; });
                if (k == 0 || fresh > most) best = level, most = fresh;
            }
            row[f] = best;
        }
        for (std::size_t f = 0; f < levels.size(); ++f) each_pair(f, row[f], [](bool& seen) { seen = true; });
        rows.push_back(std::move(row));
    }
    return rows;
}

/// States after each step, the first one before them.
inline std::vector<Tensor> states(const dtk::Sampler& sampler, const dtk::Denoiser& denoise, const Tensor& x,
                                  const dtk::Random& random) {
    at::NoGradGuard no_grad;
    std::vector<Tensor> all{x};
    sampler.sample(denoise, sampler.times(denoise.process()), x, random,
                   [&](std::int64_t, const Tensor& state) { all.push_back(state); });
    return all;
}

inline Tensor sampled(const dtk::Sampler& sampler, const support::BuildContext& context, const Tensor& x,
                      const dtk::Random& random, const dtk::StepCallback& done = dtk::ignore_step) {
    at::NoGradGuard no_grad;
    return sampler.sample(support::denoiser(context, x), sampler.times(*context.chain), x, random, done);
}

}  // namespace product
