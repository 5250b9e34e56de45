// What is known beforehand: y of every row, what is measured of it, and the law that it leaves.
#include <dtk/observation.hpp>

#include <fmt/format.h>

namespace dtk {

Observation::~Observation() = default;

void Observation::Config::fields(Fields& f) {
    f("values", values, any_number(), "y; left out, it is measured of a test example x*, with an error of its own");
    f("example", example, at_least(0), "the test example that y is measured of");
    f("draws", draws, at_least(0),
      "draw so many samples in turn for the y of each of the first test examples; 0: all samples for one y");
    f("sd", sd, at_least(0), "standard deviation of y's error; 0: exact");
}

Observation::Observation(const Config& config, const BuildContext& context, std::int64_t size)
    : c_(config), data_(context.dataset()), random_(context.random("observation")), size_(size) {
    if (!c_.values.empty() && static_cast<std::int64_t>(c_.values.size()) != size)
        throw Error(fmt::format("{} `values` for the {} numbers that are known", c_.values.size(), size),
                    "give one for each, or leave them out to have them measured of a test example");
    if (!c_.values.empty() && (c_.example != 0 || c_.draws != 0))
        throw Error("`values` say what is known, and so does a test example",
                    "leave out `values`, or `example` and `draws`");
    if (c_.draws != 0 && c_.example != 0)
        throw Error("`draws` goes through the test examples, and `example` names one", "leave one of them out");
    if (const auto there = data_.test_size(); there > 0 && c_.example >= there)
        throw Error(fmt::format("`example` = {}, but there are {} test examples", c_.example, there),
                    fmt::format("the last is {}", there - 1));
}

Tensor Observation::y(std::int64_t first, std::int64_t rows) const {
    if (!c_.values.empty()) return at::tensor(c_.values, at::kDouble).expand({rows, size_});
    auto examples = at::full({rows}, c_.example, at::kLong);
    if (c_.draws > 0) examples = at::arange(first, first + rows).div(c_.draws, "floor");
    // Rows that only fill up a batch may lie beyond the last example.
    if (const auto there = data_.test_size(); there > 0) examples = examples.clamp_max(there - 1);
    const auto [distinct, row] = at::_unique(examples, /*sorted=*/true, /*return_inverse=*/true);
    auto y = of(data_.test_examples(distinct).x.to(at::kDouble));
    if (c_.sd > 0) y = y + c_.sd * random_.samples(distinct).normal(y.sizes(), y.options());
    return y.index_select(0, row);
}

std::shared_ptr<Density> Observation::posterior(const Tensor& y) const {
    const auto* density = data_.density();
    if (!density || !linear()) return nullptr;
    auto sizes = data_.shape();
    std::int64_t d = 1;
    for (const auto size : sizes) d *= size;
    sizes.insert(sizes.begin(), d);
    return density->given(of(at::eye(d, at::kDouble).view(sizes)).t().contiguous(), y, c_.sd);
}

const Observation& observation(const BuildContext& context, const char* who) {
    if (const auto* seen = context.observation()) return *seen;
    throw Error(fmt::format("{} needs to be told what is known of the samples", who),
                "add a table [observation], such as use = \"elements\" with coordinates = [0] and values = [1.2]");
}

const Observation& observed_elements(const BuildContext& context, const char* who) {
    const auto& seen = observation(context, who);
    if (!seen.elements().defined())
        throw Error(fmt::format("{} needs to know elements of the samples themselves", who),
                    "use an observation of elements, or guidance by this one, such as tmpd");
    return seen;
}

const Tensor& observed(const Condition& condition) {
    if (!condition.observed.defined())
        throw Error("nobody says what was observed", "draw samples of an experiment that has a table [observation]");
    return condition.observed;
}

KnownElements known_elements(const Observation& seen, const Tensor& y, const Tensor& x) {
    const auto places = seen.elements().to(x.device(), /*non_blocking=*/true);
    auto row = x.sizes().vec();
    row[0] = 1;
    const auto d = x.numel() / std::max<std::int64_t>(x.size(0), 1);
    return {at::zeros({1, d}, x.options().dtype(at::kBool)).index_fill(1, places, 1).view(row),
            at::zeros({x.size(0), d}, x.options()).index_copy(1, places, y.to(x.options())).view(x.sizes())};
}

}  // namespace dtk
