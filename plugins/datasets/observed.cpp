// Other data, of which something is known before a sample is drawn: y = x + sd·z of some elements, z ~ N(0, I).
// Examples and density are those of the data themselves, the prior; what samples are to agree with stands in
// observation(), with p(x | y) where the density can tell it. What samplers such as `clamp`, `repaint` and `multiply`
// and the model `exact_conditional` ask for.
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/dataset.hpp>
#include <dtk/view.hpp>

namespace {

using at::Tensor;

struct Observed final : dtk::Dataset {
    struct Config {
        dtk::Choice<dtk::Dataset> of;
        std::vector<std::int64_t> coordinates, hidden;
        std::vector<double> values;
        std::int64_t example = 0;
        double sd = 0;
        void fields(dtk::Fields& f) {
            f("of", of, "the data that something is known of");
            f("coordinates", coordinates, dtk::at_least(0), "of vectors: which elements are known, the first is 0");
            f("values", values, dtk::any_number(), "of vectors: what they are, one number for each of `coordinates`");
            f("hidden", hidden, dtk::at_least(0), "of images: all is known but a box, [top, left, height, width]");
            f("example", example, dtk::at_least(0), "of images: the test example that is shown but for the box");
            f("sd", sd, dtk::at_least(0), "standard deviation of the error of what is known; 0: none");
        }
    };

    Observed(const Config& config, const dtk::View& view) : data_(config.of.make(view)) {
        if (data_->observation()) throw dtk::Error("`of` is observed already", "say all that is known in one place");
        if (config.coordinates.empty() == config.hidden.empty())
            throw dtk::Error(config.hidden.empty() ? "nothing is said of what is known"
                                                   : "both `coordinates` and `hidden` are given",
                             "give `coordinates` and `values` for vectors, as in coordinates = [0], values = [1.2], or "
                             "`hidden` for images, as in hidden = [7, 7, 14, 14]");
        seen_.sd = config.sd;
        if (config.hidden.empty())
            coordinates_known(config);
        else
            box_hidden(config);
        if (config.sd == 0 && seen_.known.all().item<bool>())
            throw dtk::Error("all elements are known exactly, so that nothing is left to be drawn",
                             "leave some of them out, or say in `sd` what error they have");
        if (const auto* density = data_->density())
            seen_.posterior =
                density->given(seen_.known.flatten().to(at::kDouble), seen_.value.flatten().to(at::kDouble), config.sd);
    }

    std::vector<std::int64_t> shape() const override { return data_->shape(); }
    std::int64_t size() const override { return data_->size(); }
    dtk::Batch examples(const Tensor& index) const override { return data_->examples(index); }
    std::int64_t test_size() const override { return data_->test_size(); }
    dtk::Batch test_examples(const Tensor& index) const override { return data_->test_examples(index); }
    std::int64_t classes() const override { return data_->classes(); }
    std::optional<std::pair<double, double>> range() const override { return data_->range(); }
    int levels() const override { return data_->levels(); }
    const dtk::Density* density() const override { return data_->density(); }
    std::string fingerprint() const override { return data_->fingerprint(); }
    const dtk::Observation* observation() const override { return &seen_; }

 private:
    void coordinates_known(const Config& c) {
        const auto shape = data_->shape();
        if (shape.size() != 1)
            throw dtk::Error(fmt::format("`coordinates` are of vectors, but the data are {}", fmt::join(shape, " × ")),
                             "say which box of the image is unknown, as in hidden = [7, 7, 14, 14]");
        if (c.values.size() != c.coordinates.size())
            throw dtk::Error(fmt::format("{} `values` for {} `coordinates`", c.values.size(), c.coordinates.size()),
                             "give one number for each");
        if (c.example != 0)
            throw dtk::Error("`example` is of images, whose shown part is known",
                             "leave it out where `values` say what is known");
        seen_.known = at::zeros(shape);
        seen_.value = at::zeros(shape);
        std::set<std::int64_t> met;
        for (std::size_t i = 0; i < c.values.size(); ++i) {
            const auto place = c.coordinates[i];
            if (place >= shape[0])
                throw dtk::Error(fmt::format("coordinate {} of data with {} elements", place, shape[0]),
                                 fmt::format("the first is 0, the last {}", shape[0] - 1));
            if (!met.insert(place).second)
                throw dtk::Error(fmt::format("coordinate {} is given twice", place), "name each known element once");
            seen_.known[place] = 1;
            seen_.value[place] = c.values[i];
        }
    }

    void box_hidden(const Config& c) {
        const auto shape = data_->shape();
        if (shape.size() != 3)
            throw dtk::Error(
                fmt::format("`hidden` is a box of an image, but the data have shape {}", fmt::join(shape, " × ")),
                "say what is known by `coordinates` and `values`");
        if (!c.values.empty())
            throw dtk::Error("`values` belong to `coordinates`",
                             "what is known of an image is that of a test `example`");
        if (c.hidden.size() != 4)
            throw dtk::Error(fmt::format("`hidden` has {} numbers, not 4", c.hidden.size()),
                             "write hidden = [top, left, height, width]");
        const auto top = c.hidden[0], left = c.hidden[1], height = c.hidden[2], width = c.hidden[3];
        if (height < 1 || width < 1 || top + height > shape[1] || left + width > shape[2])
            throw dtk::Error(
                fmt::format("a hidden box of {} × {} from row {} and column {} does not lie in images of {} × {}",
                            height, width, top, left, shape[1], shape[2]),
                "write hidden = [top, left, height, width], counted from 0");
        if (height == shape[1] && width == shape[2])
            throw dtk::Error("the hidden box is all of the image, so that nothing is known",
                             "make it smaller, or use the data as they are");
        if (const auto there = data_->test_size(); there > 0 && c.example >= there)
            throw dtk::Error(fmt::format("`example` = {}, but there are {} test examples", c.example, there),
                             fmt::format("the last is {}", there - 1));
        seen_.known = at::ones(shape);
        seen_.known.slice(1, top, top + height).slice(2, left, left + width).zero_();
        seen_.value = data_->test_examples(at::full({1}, c.example, at::kLong)).x[0] * seen_.known;
    }

    std::shared_ptr<dtk::Dataset> data_;
    dtk::Observation seen_;
};
}  // namespace

DTK_PLUGIN(Dataset, observed, Observed,
           "other data, of each of which some elements are known beforehand, exactly or with an error")
