// The emoji of Debian's package ruby-gemojione (EmojiOne 2, CC-BY-SA-4.0; none of it is part of dtk): pictures of 64×64
// laid on white, with their names as captions and their categories as classes.
#include <fstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <dtk/captioned_images.hpp>

namespace {

namespace fs = std::filesystem;
using json = nlohmann::json;

std::string lower(std::string text) {
    for (auto& c : text) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return text;
}

struct Emoji final : dtk::CaptionedImages {
    struct Config : dtk::CaptionedImages::Config {
        fs::path folder = "/usr/share/rubygems-integration/all/gems/gemojione-3.3.0";
        bool tones = false, flags = false, keywords = false;
        void fields(dtk::Fields& f) {
            f("folder", folder, "the gem's folder, with config/index.json and assets/png");
            f("tones", tones, "those in a tone of skin, too");
            f("flags", flags, "flags of countries, too");
            f("keywords", keywords, "captions are names and keywords");
            dtk::CaptionedImages::Config::fields(f);
        }
    };
    explicit Emoji(const Config& config) : CaptionedImages(found(config), config) {}

 private:
    static std::vector<dtk::CaptionedImage> found(const Config& c) {
        const auto file = c.folder / "config" / "index.json";
        std::ifstream in(file);
        const auto index = json::parse(in, nullptr, /*allow_exceptions=*/false);
        if (!index.is_object())
            throw dtk::Error(fmt::format("{} is no index of emoji", file.string()),
                             "apt-get install ruby-gemojione, or say in `folder` where it is");
        std::vector<dtk::CaptionedImage> images;
        for (const auto& [key, one] : index.items()) {
            if (!one.is_object()) continue;
            auto name = one.value("name", std::string());
            const auto category = one.value("category", std::string()), unicode = one.value("unicode", std::string());
            if (name.empty() || unicode.empty() || category.empty())
                throw dtk::Error(fmt::format("{}: `{}` has no name, unicode or category", file.string(), key),
                                 "install the package anew");
            if ((!c.tones && key.find("_tone") != key.npos) || (!c.flags && category == "flags")) continue;
            if (c.keywords)
                for (const auto& word : one.value("keywords", json::array()))
                    if (word.is_string()) name += " " + word.get<std::string>();
            images.push_back({c.folder / "assets" / "png" / (unicode + ".png"), lower(name), category});
        }
        std::ranges::sort(images, {}, &dtk::CaptionedImage::path);
        return images;
    }
};
}  // namespace

DTK_PLUGIN(Dataset, emoji, Emoji, "emoji of Debian's ruby-gemojione with their names and categories")
