// Pictures of a folder, also in folders below, with a text each: the file NAME.txt beside NAME.png, or a line of a
// table, `captions`, that says NAME.png and after a comma or a tab the caption (a first line "file,caption" is none).
// Of several lines in a .txt the first that is not empty counts. Pictures are brought to one size as by data set
// image_folder.
#include <fstream>
#include <map>

#include <fmt/format.h>

#include <dtk/captioned_images.hpp>
#include <dtk/images.hpp>

namespace {

namespace fs = std::filesystem;

std::string trimmed(std::string text) {
    const auto* space = " \t\r\n";
    text.erase(0, std::min(text.find_first_not_of(space), text.size()));
    text.erase(text.find_last_not_of(space) + 1);
    if (text.size() > 1 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
    return text;
}

/// The first line with something in it; empty where there is none.
std::string text_in(const fs::path& file) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);)
        if (line = trimmed(line); !line.empty()) return line;
    return {};
}

std::map<std::string, std::string> table_in(const fs::path& file) {
    std::ifstream in(file);
    if (!in) throw dtk::Error(fmt::format("{} cannot be read", file.string()), "say in `captions` where the table is");
    std::map<std::string, std::string> all;
    std::int64_t number = 0;
    for (std::string line; std::getline(in, line);) {
        ++number;
        if (trimmed(line).empty()) continue;
        const auto tab = line.find('\t');
        const auto parting = tab != line.npos ? tab : line.find(',');
        const auto name = trimmed(line.substr(0, parting));
        const auto caption = parting == line.npos ? std::string() : trimmed(line.substr(parting + 1));
        if (number == 1 && (name == "file" || name == "file_name" || name == "name")) continue;
        if (name.empty() || caption.empty())
            throw dtk::Error(fmt::format("{}:{} says no caption of a file: {}", file.string(), number, line),
                             "write NAME.png, a comma or a tab, and the caption");
        if (!all.emplace(name, caption).second)
            throw dtk::Error(fmt::format("{}:{} says a second caption of {}", file.string(), number, name), "keep one");
    }
    return all;
}

struct CaptionedFolder final : dtk::CaptionedImages {
    struct Config : dtk::CaptionedImages::Config {
        fs::path folder, captions;
        void fields(dtk::Fields& f) {
            f.required("folder", folder, "PNG and JPEG images, also in folders below");
            f("captions", captions, "a table of names and captions; empty: a .txt beside each picture");
            dtk::CaptionedImages::Config::fields(f);
        }
    };
    explicit CaptionedFolder(const Config& config) : CaptionedImages(found(config), config) {}

 private:
    static std::vector<dtk::CaptionedImage> found(const Config& c) {
        const auto table = c.captions.empty() ? std::map<std::string, std::string>() : table_in(c.captions);
        std::vector<dtk::CaptionedImage> images;
        for (const auto& name : dtk::images_in(c.folder)) {
            const auto path = c.folder / name;
            const auto line = table.find(name);
            const auto caption = !c.captions.empty() ? (line == table.end() ? std::string() : line->second)
                                                     : text_in(fs::path(path).replace_extension(".txt"));
            if (caption.empty())
                throw dtk::Error(
                    fmt::format("{} has no caption", path.string()),
                    c.captions.empty()
                        ? fmt::format("write it into {}", fs::path(path).replace_extension(".txt").string())
                        : fmt::format("add a line for {} to {}", name, c.captions.string()));
            images.push_back({path, caption});
        }
        for (const auto& [name, caption] : table)
            if (std::ranges::none_of(images, [&](const auto& one) { return one.path == c.folder / name; }))
                throw dtk::Error(fmt::format("{} says a caption of {}, and there is no such picture in {}",
                                             c.captions.string(), name, c.folder.string()),
                                 "names are said from the folder on, as in cats/1.png");
        return images;
    }
};
}  // namespace

DTK_PLUGIN(Dataset, captioned_folder, CaptionedFolder, "PNG and JPEG images of a folder with a caption each")
