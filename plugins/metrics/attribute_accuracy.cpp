// The share of samples that show all that their captions say. What can be read off a picture the data read exactly
// (dtk/captions.hpp: of composites, colour and place); what things it shows, a classifier is asked that an earlier
// stage has trained on the same data. Beside the whole and each part stand the shares of real pictures, gone through a
// codec where one is named, which are the most that can be had, and of samples held against the captions of others:
// chance.
#include <cmath>

#include <fmt/format.h>

#include <dtk/captions.hpp>
#include <dtk/classifier.hpp>
#include <dtk/codec.hpp>
#include <dtk/metric.hpp>

namespace {

using at::Tensor;

constexpr std::int64_t portion = 128;

/// Shares of pictures that show what their captions say.
struct Shares {
    double all = 0;
    std::vector<std::pair<std::string, double>> parts = {};  ///< of those whose captions say it
};

struct AttributeAccuracy final : dtk::Metric {
    struct Config {
        dtk::Reference classifier, codec;
        std::int64_t real = 1024;
        void fields(dtk::Fields& f) {
            f("classifier", classifier,
              "the earlier stage or the run that tells things apart; empty: what they are is not asked");
            f("codec", codec, "the autoencoder that real pictures go through before they are read; empty: none");
            f("real", real, dtk::at_least(10), "real pictures");
        }
    } c;
    AttributeAccuracy(const Config& config, const dtk::BuildContext& context) : c(config) {
        if (!dtk::known_as<dtk::ReadsAttributes>(context.dataset()) ||
            !dtk::known_as<dtk::Captioned>(context.dataset()))
            throw dtk::Error("attribute_accuracy needs data whose captions can be read off their pictures",
                             "use composites, or another metric");
        if (c.classifier) {
            classifier_ = std::dynamic_pointer_cast<dtk::Classifier>(context.trained(c.classifier).model);
            if (!classifier_ || classifier_->shape() != context.dataset().shape())
                throw dtk::Error(
                    fmt::format("`classifier` = \"{}\" is no classifier of such pictures", c.classifier.name()),
                    "name a stage whose model is a classifier of the same data with show = \"groups\"");
        }
        if (c.codec) {
            codec_ = std::dynamic_pointer_cast<dtk::Autoencoder>(context.trained(c.codec).model);
            if (!codec_ || codec_->shape() != context.dataset().shape())
                throw dtk::Error(fmt::format("`codec` = \"{}\" is no autoencoder of such pictures", c.codec.name()),
                                 "name a stage whose model has latents");
        }
    }
    dtk::MetricCard card() const override { return {dtk::Better::more, "share"}; }

    dtk::MetricResult measure(const dtk::EvaluationInput& input, const dtk::Random&) const override {
        const at::NoGradGuard no_grad;
        const auto n = input.samples.size(0);
        if (static_cast<std::int64_t>(input.captions.size()) != n)
            throw dtk::Error("the samples were not asked for in words, and there is nothing to hold them against",
                             "add [tokenizer] and a conditioner that reads, such as text_transformer");
        if (n < 2)
            throw dtk::Error("chance is what other samples' captions give, and there are none", "draw 2 or more");
        const auto made = shares(input.data, input.samples, input.captions, input.device);
        auto others = input.captions;
        std::ranges::rotate(others, others.begin() + (n + 1) / 2);
        const auto chance = shares(input.data, input.samples, others, input.device);
        const auto index = at::arange(c.real, at::kLong);
        const auto m = input.data.test_size() > 0 ? std::min(c.real, input.data.test_size()) : c.real;
        const auto& captioned = *dtk::known_as<dtk::Captioned>(input.data);
        const auto real_numbers = index.slice(0, 0, m);
        const auto real = shares(input.data, gone_through(input.data.test_examples(real_numbers).x, input.device),
                                 captioned.test_captions(real_numbers), input.device);
        const auto deviation = [](double share, std::int64_t of) {
            return std::sqrt(share * (1 - share) / static_cast<double>(of));
        };
        dtk::MetricResult result{.value = made.all,
                                 .expected = real.all,
                                 .expected_sd = std::hypot(deviation(real.all, n), deviation(real.all, m)),
                                 .tolerance = 1.0 / static_cast<double>(n),
                                 .note = fmt::format("share with all that the caption says; real pictures{}: {:.3f}",
                                                     codec_ ? " through the codec" : "", real.all),
                                 .n = n,
                                 .split = "test"};
        result.parts.emplace_back("of real", real.all > 0 ? made.all / real.all : std::nan(""));
        result.parts.emplace_back("chance", chance.all);
        for (std::size_t k = 0; k < made.parts.size(); ++k) {
            result.parts.push_back(made.parts[k]);
            result.parts.emplace_back("real " + real.parts[k].first, real.parts[k].second);
            result.parts.emplace_back("chance " + chance.parts[k].first, chance.parts[k].second);
        }
        return result;
    }

 private:
    Shares shares(const dtk::Dataset& data, const Tensor& pictures, const std::vector<std::string>& captions,
                  at::Device device) const {
        const auto seen = dtk::known_as<dtk::ReadsAttributes>(data)->attributes(pictures, captions);
        // A picture with a number that is none shows nothing.
        const auto finite = pictures.isfinite().flatten(1).all(1);
        auto all = finite.clone();
        Shares shares;
        const auto add = [&](const std::string& name, const Tensor& right, const Tensor& asked) {
            const auto is_right = right & finite;
            all = all & (is_right | ~asked);
            const auto of = asked.sum().item<double>();
            shares.parts.emplace_back(name, of > 0 ? (is_right & asked).sum().item<double>() / of : 0);
        };
        for (std::size_t k = 0; k < seen.names.size(); ++k)
            add(seen.names[k], seen.right.select(1, static_cast<std::int64_t>(k)),
                seen.asked.select(1, static_cast<std::int64_t>(k)));
        if (classifier_) add("class", named_right(seen, device), (seen.classes >= 0).any(1));
        shares.all = all.to(at::kDouble).mean().item<double>();
        return shares;
    }

    /// Does the classifier say of every view what the caption says? → [n] bool
    Tensor named_right(const dtk::Attributes& seen, at::Device device) const {
        const auto views = seen.views.flatten(0, 1);
        std::vector<Tensor> found;
        for (std::int64_t first = 0; first < views.size(0); first += portion) {
            const auto some = views.slice(0, first, first + portion).to(device);
            found.push_back(classifier_->forward(some, dtk::Time(0), {}).value.argmax(1).cpu());
        }
        return ((at::cat(found).view(seen.classes.sizes()) == seen.classes) | (seen.classes < 0)).all(1);
    }

    Tensor gone_through(const Tensor& x, at::Device device) const {
        if (!codec_) return x;
        std::vector<Tensor> all;
        for (std::int64_t first = 0; first < x.size(0); first += portion)
            all.push_back(codec_->decode(codec_->encode(x.slice(0, first, first + portion).to(device)).mean).cpu());
        return at::cat(all);
    }

    std::shared_ptr<dtk::Classifier> classifier_;
    std::shared_ptr<dtk::Autoencoder> codec_;
};
}  // namespace

DTK_PLUGIN(Metric, attribute_accuracy, AttributeAccuracy, "share of samples that show all that their captions say")
