// y = x_i + sd·z of some residues i of a chain, the first axis of an example: a motif around which the rest is built.
#include <charconv>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/observation.hpp>

namespace {

using at::Tensor;

struct Motif final : dtk::Observation {
    struct Config : dtk::Observation::Config {
        std::string residues;
        void fields(dtk::Fields& f) {
            f.required("residues", residues, "which are known, counted from 1: \"5-12, 20, 31-36\"");
            dtk::Observation::Config::fields(f);
        }
    };
    Motif(const Config& config, const dtk::BuildContext& context) : Motif(config, context, places(config, context)) {}

    Tensor of(const Tensor& x) const override {
        return x.flatten(1).index_select(1, places_.to(x.device(), /*non_blocking=*/true));
    }
    Tensor elements() const override { return places_; }

 private:
    Motif(const Config& config, const dtk::BuildContext& context, const Tensor& places)
        : Observation(config, context, places.numel()), places_(places) {}

    static dtk::Error not_understood(std::string_view part) {
        return dtk::Error(fmt::format("`{}` in `residues` names no residues", part),
                          "write numbers and ranges, as in residues = \"5-12, 20\"");
    }

    static std::int64_t number(std::string_view text, std::string_view part) {
        while (text.starts_with(' ')) text.remove_prefix(1);
        while (text.ends_with(' ')) text.remove_suffix(1);
        std::int64_t value = 0;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc() || end != text.data() + text.size()) throw not_understood(part);
        return value;
    }

    /// The places of the elements of those residues.
    static Tensor places(const Config& c, const dtk::BuildContext& context) {
        const auto shape = context.space().shape;
        if (shape.size() < 2)
            throw dtk::Error(
                fmt::format("a motif is some residues of a chain, and the data have shape {}", fmt::join(shape, " × ")),
                "use observation `elements`");
        const auto known = at::zeros(shape, at::kBool);
        std::string_view rest = c.residues;
        while (true) {
            const auto comma = rest.find(',');
            const auto part = rest.substr(0, comma);
            const auto dash = part.find('-');
            const auto first = number(part.substr(0, dash), part),
                       last = dash == std::string_view::npos ? first : number(part.substr(dash + 1), part);
            if (first < 1 || last > shape[0] || first > last)
                throw dtk::Error(fmt::format("there are no residues {} of a chain of {}", part, shape[0]),
                                 fmt::format("the first is 1, the last {}", shape[0]));
            if (known.slice(0, first - 1, last).any().item<bool>())
                throw dtk::Error(fmt::format("residues {} are named twice", part), "name each once");
            known.slice(0, first - 1, last).fill_(true);
            if (comma == std::string_view::npos) break;
            rest.remove_prefix(comma + 1);
        }
        if (c.sd == 0 && known.all().item<bool>())
            throw dtk::Error("all residues are known exactly, so that nothing is left to be drawn",
                             "leave some of them out, or say in `sd` what error they have");
        return known.flatten().nonzero().flatten();
    }

    Tensor places_;
};
}  // namespace

DTK_PLUGIN(Observation, motif, Motif, "some residues of a chain (motif scaffolding)")
