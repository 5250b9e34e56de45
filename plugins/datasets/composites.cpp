// Pictures that a caption says exactly: one group of things, or two of different colours,
//   "a blue bag", "two red sneakers above a blue bag"
// Things are grey images of the data `of`, Fashion-MNIST unless it says otherwise, or shapes drawn here. A thing of
// grey g ∈ [0, 1] is scaled by the mean over each pixel's area, tinted and laid over the canvas c, of a pale colour:
//   x = (1 − a) c + a (0.45 + 0.55 g) · colour,   a = min(1, 3 g),   in 256 levels of [−1, 1].
// Everything of example i follows from the seed and i. What its captions say can be read off a picture: colours by the
// corner of the colour cube that is nearest to a pixel less its grey, place by where the colours lie; which thing it
// is, and whether there are two of it, a classifier is asked, trained on the same data with show = "groups".
#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>

#include <fmt/format.h>

#include <dtk/build_context.hpp>
#include <dtk/captions.hpp>

namespace {

using at::Tensor;

struct Colour {
    const char* name;
    std::array<float, 3> rgb;
};
constexpr std::array<Colour, 6> colours{{{"red", {1, 0, 0}},
                                         {"yellow", {1, 1, 0}},
                                         {"green", {0, 1, 0}},
                                         {"cyan", {0, 1, 1}},
                                         {"blue", {0, 0, 1}},
                                         {"magenta", {1, 0, 1}}}};
constexpr auto n_colours = static_cast<std::int64_t>(colours.size());
constexpr std::array<const char*, 4> relations{"above", "below", "left of", "right of"};
const std::vector<std::string> shape_names{"disc", "square", "triangle", "ring", "cross"};

/// What one example shows.
struct Group {
    std::int64_t thing = 0, colour = 0, count = 1;
    bool operator==(const Group&) const = default;
};
struct Scene {
    std::vector<Group> groups;
    std::int64_t relation = 0;  ///< of the first to the second, where there are two
    bool beside() const { return relation >= 2; }
};

struct Box {
    std::int64_t top, left, height, width;
};

/// Where group k of the scene lies on a canvas of that size.
Box place_of(const Scene& scene, std::size_t k, std::int64_t size) {
    if (scene.groups.size() == 1) return {0, 0, size, size};
    const bool second_half = (k == 0) == (scene.relation == 1 || scene.relation == 3);
    const auto half = size / 2, from = second_half ? half : 0;
    return scene.beside() ? Box{0, from, size, half} : Box{from, 0, half, size};
}

/// "T-shirt/top" → "t-shirt"
std::string noun(const std::string& name) {
    std::string word = name.substr(0, name.find('/'));
    for (auto& c : word) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return word;
}

std::string plural(const std::string& word) {
    const bool hisses = word.ends_with("s") || word.ends_with("x") || word.ends_with("ch") || word.ends_with("sh");
    return word + (hisses ? "es" : "s");
}

/// The words for scenes, and scenes of words.
class Language {
 public:
    explicit Language(const std::vector<std::string>& things) {
        for (const auto& name : things) nouns_.push_back(noun(name));
        for (std::int64_t thing = 0; thing < static_cast<std::int64_t>(nouns_.size()); ++thing)
            for (std::int64_t colour = 0; colour < n_colours; ++colour)
                for (std::int64_t count = 1; count <= 2; ++count)
                    group_.emplace(text({thing, colour, count}), Group{thing, colour, count});
    }
    const std::vector<std::string>& nouns() const { return nouns_; }

    std::string text(const Group& group) const {
        const auto& word = nouns_[static_cast<std::size_t>(group.thing)];
        const auto* colour = colours[static_cast<std::size_t>(group.colour)].name;
        return group.count == 1 ? fmt::format("a {} {}", colour, word) : fmt::format("two {} {}", colour, plural(word));
    }
    std::string text(const Scene& scene) const {
        const auto first = text(scene.groups.front());
        return scene.groups.size() == 1
                   ? first
                   : fmt::format("{} {} {}", first, relations[static_cast<std::size_t>(scene.relation)],
                                 text(scene.groups.back()));
    }
    /// Errors: Error for a text of no such scene.
    Scene scene(const std::string& caption) const {
        if (const auto alone = group_.find(caption); alone != group_.end()) return {{alone->second}};
        for (std::size_t r = 0; r < relations.size(); ++r) {
            const auto between = fmt::format(" {} ", relations[r]);
            const auto at = caption.find(between);
            if (at == caption.npos) continue;
            const auto first = group_.find(caption.substr(0, at)),
                       second = group_.find(caption.substr(at + between.size()));
            if (first != group_.end() && second != group_.end() && first->second.colour != second->second.colour)
                return {{first->second, second->second}, static_cast<std::int64_t>(r)};
        }
        throw dtk::Error(fmt::format("\"{}\" is no caption that can be read off a picture", caption),
                         fmt::format("they are such as \"{}\", and two groups have two colours",
                                     text({{{0, 0, 2}, {1 % static_cast<std::int64_t>(nouns_.size()), 4, 1}}, 0})));
    }

 private:
    std::vector<std::string> nouns_;
    std::map<std::string, Group> group_;
};

/// Grey images of things, by what they are.
class Things {
 public:
    virtual ~Things() = default;
    virtual std::vector<std::string> names() const = 0;
    virtual std::string fingerprint() const { return {}; }
    /// Thing number ⌊u·all⌋ of a kind, `side` pixels wide and high. u: in [0, 1) → [side, side] in [0, 1]
    virtual Tensor image(std::int64_t kind, double u, std::int64_t side, bool testing) const = 0;
};

/// Share of each of `from` source pixels that belongs to each of `to` pixels: [to, from], rows sum to 1.
Tensor area_weights(std::int64_t from, std::int64_t to) {
    auto weights = at::zeros({to, from});
    auto* w = weights.mutable_data_ptr<float>();
    const double step = static_cast<double>(from) / static_cast<double>(to);
    for (std::int64_t i = 0; i < to; ++i) {
        const double begin = static_cast<double>(i) * step, end = begin + step;
        for (auto j = static_cast<std::int64_t>(begin); j < from && static_cast<double>(j) < end; ++j) {
            const double shared = std::min(end, static_cast<double>(j + 1)) - std::max(begin, static_cast<double>(j));
            w[i * from + j] = static_cast<float>(std::max(shared, 0.0) / step);
        }
    }
    return weights;
}

/// Those of a data set of grey images with classes.
class ThingsOfData final : public Things {
 public:
    explicit ThingsOfData(std::shared_ptr<dtk::Dataset> of) : of_(std::move(of)) {
        const auto shape = of_->shape();
        if (shape.size() != 3 || shape[0] != 1 || !of_->range() || of_->classes() == 0 || of_->size() == 0)
            throw dtk::Error("`of` must be a set of grey images with classes, such as idx",
                             "use one, or items = \"shapes\"");
    }
    std::vector<std::string> names() const override {
        auto names = of_->class_names();
        for (auto i = static_cast<std::int64_t>(names.size()); i < of_->classes(); ++i)
            names.push_back(fmt::format("thing{}", i));
        return names;
    }
    std::string fingerprint() const override { return of_->fingerprint(); }
    Tensor image(std::int64_t kind, double u, std::int64_t side, bool testing) const override {
        std::call_once(read_, [&] {
            training_ = sorted(false);
            testing_ = sorted(true);
        });
        const auto& all = (testing ? testing_ : training_).at(static_cast<std::size_t>(kind));
        if (all.size(0) == 0)
            throw dtk::Error(
                fmt::format("there is no example of class {} among the {} data", kind, testing ? "test" : "training"),
                "use data with examples of every class");
        const auto n = static_cast<double>(all.size(0));
        const auto grey = all[static_cast<std::int64_t>(u * n)].to(at::kFloat) / 255;
        return at::matmul(at::matmul(area_weights(grey.size(0), side), grey), area_weights(grey.size(1), side).t());
    }

 private:
    /// By class: [n, height, width] in 256 greys.
    std::vector<Tensor> sorted(bool testing) const {
        const auto n = testing ? of_->test_size() : of_->size();
        const auto [least, most] = *of_->range();
        std::vector<std::vector<Tensor>> parts(static_cast<std::size_t>(of_->classes()));
        constexpr std::int64_t portion = 2000;
        for (std::int64_t first = 0; first < n; first += portion) {
            const auto index = at::arange(first, std::min(n, first + portion), at::kLong);
            const auto batch = testing ? of_->test_examples(index) : of_->examples(index);
            const auto grey =
                ((batch.x.squeeze(1) - least) * (255 / (most - least))).round().clamp(0, 255).to(at::kByte);
            for (std::int64_t kind = 0; kind < of_->classes(); ++kind)
                parts[static_cast<std::size_t>(kind)].push_back(grey.index({batch.condition.label == kind}));
        }
        std::vector<Tensor> all;
        for (const auto& of_kind : parts) all.push_back(at::cat(of_kind));
        return all;
    }

    std::shared_ptr<dtk::Dataset> of_;
    mutable std::once_flag read_;
    mutable std::vector<Tensor> training_, testing_;
};

/// Plain shapes, each turned and made fuller or thinner a little.
class Shapes final : public Things {
 public:
    std::vector<std::string> names() const override { return shape_names; }
    Tensor image(std::int64_t kind, double u, std::int64_t side, bool) const override {
        constexpr int fine = 4;  // points of a pixel's side
        const double turn = (u - 0.5) * 0.3, c = std::cos(turn), s = std::sin(turn);
        auto image = at::zeros({side, side});
        auto* grey = image.mutable_data_ptr<float>();
        const double n = static_cast<double>(side * fine);
        for (std::int64_t i = 0; i < side * fine; ++i)
            for (std::int64_t j = 0; j < side * fine; ++j) {
                const double x = 2 * (static_cast<double>(j) + 0.5) / n - 1,
                             y = 2 * (static_cast<double>(i) + 0.5) / n - 1;
                if (covers(kind, c * x + s * y, c * y - s * x))
                    grey[i / fine * side + j / fine] += 1.0F / (fine * fine);
            }
        return image;
    }

 private:
    /// Does the shape in [−1, 1]² cover the point?
    static bool covers(std::int64_t kind, double x, double y) {
        const double r = std::hypot(x, y);
        switch (kind) {
            case 0:
                return r < 0.9;
            case 1:
                return std::abs(x) < 0.72 && std::abs(y) < 0.72;
            case 2:
                return y < 0.72 && y > 2 * std::abs(x) - 0.85;
            case 3:
                return r < 0.92 && r > 0.55;
            default:
                return std::min(std::abs(x), std::abs(y)) < 0.24 && std::max(std::abs(x), std::abs(y)) < 0.88;
        }
    }
};

struct Composites final : dtk::Dataset, dtk::Captioned, dtk::ReadsAttributes {
    struct Config {
        std::int64_t size = 32;
        std::string items = "data", show = "scenes";
        dtk::Part<dtk::Dataset> of{"idx"};
        double pairs = 0.5, held_out = 0;
        void fields(dtk::Fields& f) {
            f("size", size, dtk::in(16, 256), "height and width, pixels");
            f("items", items, {"data", "shapes"}, "things are images of the data `of`, or shapes that are drawn");
            f("of", of, "grey images with classes, whose names are the words for them");
            f("show", show, {"scenes", "groups"},
              "whole pictures, or one group of each, alone in the middle, with its kind and number as its class");
            f("pairs", pairs, dtk::in(0, 1), "share of the pictures with two groups");
            f("held_out", held_out, dtk::in(0, 0.5),
              "share of the combinations of thing and colour that no training picture shows and every test picture "
              "does");
            f.require(size % 2 == 0, "size", fmt::format("= {} is odd", size), "two halves must be alike");
        }
    } c;

    Composites(const Config& config, const dtk::BuildContext& context)
        : c(config),
          random_(context.random("dataset").stream("composites")),
          things_(config.items == "data"
                      ? std::shared_ptr<Things>(std::make_shared<ThingsOfData>(config.of.make(context)))
                      : std::make_shared<Shapes>()),
          language_(things_->names()) {
        const auto kinds = static_cast<std::int64_t>(language_.nouns().size());
        const auto held = static_cast<std::int64_t>(c.held_out * static_cast<double>(kinds * n_colours));
        // Those of one diagonal after the other, so that every thing and every colour is seen.
        for (std::int64_t i = 0; i < kinds * n_colours; ++i) {
            const Group group{i % kinds, (i % kinds + i / kinds) % n_colours};
            (i < held ? unseen_ : seen_).push_back(group);
        }
    }

    std::vector<std::int64_t> shape() const override { return {3, c.size, c.size}; }
    std::int64_t size() const override { return 0; }
    std::optional<std::pair<double, double>> range() const override { return std::pair{-1.0, 1.0}; }
    int levels() const override { return 256; }
    std::string fingerprint() const override { return things_->fingerprint(); }
    std::int64_t classes() const override {
        return c.show == "groups" ? 2 * static_cast<std::int64_t>(language_.nouns().size()) : 0;
    }
    std::vector<std::string> class_names() const override {
        std::vector<std::string> names;
        for (const auto& word : language_.nouns())
            if (classes() > 0) names.insert(names.end(), {word, "two " + plural(word)});
        return names;
    }
    dtk::Batch examples(const Tensor& index) const override { return drawn(index, false); }
    dtk::Batch test_examples(const Tensor& index) const override { return drawn(index, true); }
    std::vector<std::string> captions(const Tensor& index) const override { return said(index, false); }
    std::vector<std::string> test_captions(const Tensor& index) const override { return said(index, true); }

    dtk::Attributes attributes(const Tensor& pictures, const std::vector<std::string>& captions) const override {
        const auto n = pictures.size(0);
        dtk::Attributes all{{"colour", "place"},
                            at::ones({n, 2}, at::kBool),
                            at::zeros({n, 2}, at::kBool),
                            at::zeros({n, 2, 3, c.size, c.size}),
                            at::full({n, 2}, -1, at::kLong)};
        const auto seen = weights(pictures.to(at::kFloat));
        for (std::int64_t i = 0; i < n; ++i) {
            const auto scene = language_.scene(captions.at(static_cast<std::size_t>(i)));
            std::vector<Seen> middles;
            bool colours_right = true;
            for (std::size_t k = 0; k < scene.groups.size(); ++k) {
                const auto box = place_of(scene, k, c.size);
                colours_right = colours_right && main_colour(seen[i], box) == scene.groups[k].colour;
                middles.push_back(seen_of(seen[i][scene.groups[k].colour]));
                all.views[i][static_cast<std::int64_t>(k)].copy_(view(pictures[i], box));
                all.classes[i][static_cast<std::int64_t>(k)] = class_of(scene.groups[k]);
            }
            all.right[i][0] = colours_right;
            all.asked[i][1] = scene.groups.size() == 2;
            all.right[i][1] = scene.groups.size() == 1 || lie_so(scene.relation, middles[0], middles[1]);
        }
        return all;
    }

 private:
    /// How much of a colour is seen, and where its middle lies.
    struct Seen {
        double weight = 0, x = 0, y = 0;
    };

    static std::int64_t class_of(const Group& group) { return 2 * group.thing + group.count - 1; }

    /// Numbers of scene `u` as they are drawn, 2 for the scene, 11 for each group, 4 for the canvas.
    static constexpr std::int64_t numbers = 28;
    Tensor uniform(const Tensor& index, bool testing) const {
        return random_.stream(testing ? "test" : "train").samples(index).uniform({index.numel(), numbers}, at::kDouble);
    }

    Scene scene_of(const double* u, bool testing) const {
        const auto picked = [](const std::vector<Group>& of, double u) {
            return of[static_cast<std::size_t>(u * static_cast<double>(of.size()))];
        };
        const auto counted = [](Group group, double u) {
            group.count = u < 0.5 ? 1 : 2;
            return group;
        };
        Scene scene{{counted(picked(testing && !unseen_.empty() ? unseen_ : seen_, u[2]), u[3])},
                    static_cast<std::int64_t>(4 * u[1])};
        if (u[0] >= c.pairs) return scene;
        std::vector<Group> others;
        for (const auto& group : seen_)
            if (group.colour != scene.groups[0].colour) others.push_back(group);
        scene.groups.push_back(counted(picked(others, u[13]), u[14]));
        return scene;
    }

    std::vector<std::string> said(const Tensor& index, bool testing) const {
        const auto u = uniform(index, testing);
        std::vector<std::string> captions;
        for (std::int64_t i = 0; i < index.numel(); ++i)
            captions.push_back(language_.text(scene_of(u[i].const_data_ptr<double>(), testing)));
        return captions;
    }

    dtk::Batch drawn(const Tensor& index, bool testing) const {
        const auto u = uniform(index, testing);
        dtk::Batch batch{.x = at::empty({index.numel(), 3, c.size, c.size})};
        const bool groups = c.show == "groups";
        if (groups) batch.condition.label = at::empty({index.numel()}, at::kLong);
        for (std::int64_t i = 0; i < index.numel(); ++i) {
            const auto* own = u[i].const_data_ptr<double>();
            const auto scene = scene_of(own, testing);
            const auto picture = shown(scene, own, testing);
            batch.x[i].copy_(groups ? view(picture, place_of(scene, 0, c.size)) : picture);
            if (groups) batch.condition.label[i] = class_of(scene.groups[0]);
        }
        return batch;
    }

    Tensor shown(const Scene& scene, const double* u, bool testing) const {
        auto picture = at::empty({3, c.size, c.size});
        for (std::int64_t channel = 0; channel < 3; ++channel)
            picture[channel].fill_(0.75 + 0.15 * u[24] + 0.08 * u[25 + channel]);
        for (std::size_t k = 0; k < scene.groups.size(); ++k)
            lay(picture, scene.groups[k], place_of(scene, k, c.size), u + 4 + 11 * k, testing);
        return (255 * picture).round() / 127.5 - 1;
    }

    /// Where in that many free pixels a thing begins, at most an eighth of the picture from the middle.
    std::int64_t offset(std::int64_t free, double u) const {
        const auto used = std::min(free, c.size / 4);
        return (free - used) / 2 + static_cast<std::int64_t>(u * static_cast<double>(used + 1));
    }

    /// The things of a group, each in a cell of its own. u: four numbers for each
    void lay(Tensor& picture, const Group& group, const Box& box, const double* u, bool testing) const {
        const bool upright = box.height > box.width;
        const auto longer = (upright ? box.height : box.width) / group.count,
                   shorter = upright ? box.width : box.height;
        for (std::int64_t k = 0; k < group.count; ++k, u += 4) {
            const auto most = static_cast<double>(std::min(longer, shorter));
            const auto side = static_cast<std::int64_t>(std::lround(most * (0.75 + 0.2 * u[1])));
            const auto top = box.top + (upright ? k * longer : 0) + offset((upright ? longer : shorter) - side, u[2]),
                       left = box.left + (upright ? 0 : k * longer) + offset((upright ? shorter : longer) - side, u[3]);
            const auto grey = things_->image(group.thing, u[0], side, testing);
            const auto alpha = (3 * grey).clamp_max(1), shade = 0.45 + 0.55 * grey;
            for (std::int64_t channel = 0; channel < 3; ++channel) {
                auto part = picture[channel].narrow(0, top, side).narrow(1, left, side);
                const double full =
                    colours[static_cast<std::size_t>(group.colour)].rgb[static_cast<std::size_t>(channel)];
                part.copy_((1 - alpha) * part + alpha * shade * full);
            }
        }
    }

    /// The group alone, in the middle of a grey picture.
    Tensor view(const Tensor& picture, const Box& box) const {
        auto alone = at::zeros({3, c.size, c.size});
        alone.narrow(1, (c.size - box.height) / 2, box.height)
            .narrow(2, (c.size - box.width) / 2, box.width)
            .copy_(picture.narrow(1, box.top, box.height).narrow(2, box.left, box.width));
        return alone;
    }

    /// How much of each colour pictures show, pixel by pixel: [n, 6, height, width]. A pixel counts for the corner of
    /// the colour cube that it is nearest to without its grey, by how far it is from grey.
    static Tensor weights(const Tensor& pictures) {
        const auto v = ((pictures + 1) / 2).clamp(0, 1);
        const auto least = v.amin(1, true), spread = v.amax(1, true) - least;
        const auto pure = (v - least) / spread.clamp_min(1e-3);
        std::vector<Tensor> apart;
        for (const auto& colour : colours) {
            const auto corner = at::tensor({colour.rgb[0], colour.rgb[1], colour.rgb[2]}).view({1, 3, 1, 1});
            apart.push_back((pure - corner).abs().sum(1));
        }
        const auto nearest = at::stack(apart, 1).argmin(1, true);
        return (nearest == at::arange(n_colours).view({1, n_colours, 1, 1})) * (spread - 0.25).clamp_min(0);
    }

    /// The colour that there is most of. weights: of one picture; −1: there is none
    static std::int64_t main_colour(const Tensor& weights, const Box& box) {
        const auto sums = weights.narrow(1, box.top, box.height).narrow(2, box.left, box.width).sum({1, 2});
        return sums.max().item<float>() > 0 ? sums.argmax().item<std::int64_t>() : -1;
    }

    /// weights: of one colour
    static Seen seen_of(const Tensor& weights) {
        const double all = weights.sum().item<double>();
        if (all == 0) return {};
        const auto middle = [&](std::int64_t axis) {
            return (weights.sum(1 - axis) * at::arange(weights.size(axis))).sum().item<double>() / all;
        };
        return {all, middle(1), middle(0)};
    }

    bool lie_so(std::int64_t relation, const Seen& a, const Seen& b) const {
        if (a.weight == 0 || b.weight == 0) return false;
        const double dx = b.x - a.x, dy = b.y - a.y;
        const double along = relation == 0 ? dy : relation == 1 ? -dy : relation == 2 ? dx : -dx;
        const double across = std::abs(relation < 2 ? dx : dy);
        return along > across && along > static_cast<double>(c.size) / 8;
    }

    dtk::Random random_;
    std::shared_ptr<Things> things_;
    Language language_;
    std::vector<Group> seen_, unseen_;
};
}  // namespace

DTK_PLUGIN(Dataset, composites, Composites,
           "things on a canvas and exact captions, \"two red sneakers above a blue bag\"")
