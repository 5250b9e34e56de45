#pragma once
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <dtk/plugin.hpp>

#include "base/build.hpp"

namespace dtk {

/// A plugin as its file's symbols tell it; nothing of the file has been executed.
struct PluginFile {
    std::string kind;  ///< in small letters, as in an experiment file
    std::string name;
    std::filesystem::path file;
    std::string symbol;
    InterfaceVersion interface_version;
    std::string build_id;
    bool is_default = false;
    std::filesystem::path folder;                 ///< the search folder it was found in
    std::vector<std::filesystem::path> shadowed;  ///< files of that name in later folders
    std::vector<std::filesystem::path> twins;     ///< other files of that name in the same folder: an error to name it
};

/// A file that lies in a search folder and is no usable plugin.
struct SkippedFile {
    std::filesystem::path file;
    std::string reason;
};

/// What is known of a plugin after it was loaded once, in a child process, and remembered by the hash of its file.
struct Probe {
    std::string summary;
    std::string problem;  ///< why it cannot be used; empty when it can
    std::string help;     ///< what to do about it
};

/// Finds plugins by reading files, loads the ones that are used, keeps them for ever.
class DTK_API Registry {
 public:
    /// Folders in order of precedence; ones that do not exist are passed over.
    explicit Registry(std::vector<std::filesystem::path> folders);

    const std::vector<std::filesystem::path>& folders() const { return folders_; }
    const std::vector<PluginFile>& plugins() const { return plugins_; }  ///< sorted by kind and name
    const std::vector<SkippedFile>& skipped() const { return skipped_; }
    std::vector<std::string> kinds() const;
    std::vector<std::string> names(const std::string& kind) const;

    /// The plugin of that kind and name, or of that kind's default when name is empty. Errors: Error with what is near.
    const PluginFile& find(const std::string& kind, const std::string& name) const;
    /// Loads it, once. Errors: Error where the file cannot be loaded or was built for another dtk.
    const Descriptor& load(const PluginFile& plugin) const;
    /// Summaries of these plugins, from the cache or by loading each in a child process that may die of it.
    std::vector<Probe> probe(const std::vector<PluginFile>& plugins) const;

 private:
    /// The plugin whose summary says that other toolkits call it so; null where there is none.
    const PluginFile* named_elsewhere(const std::string& kind, const std::string& name) const;
    void read_folder(const std::filesystem::path& folder);
    void read_file(const std::filesystem::path& folder, const std::filesystem::path& file);

    std::vector<std::filesystem::path> folders_;
    std::vector<PluginFile> plugins_;
    std::vector<SkippedFile> skipped_;
    mutable std::map<std::string, Probe> usable_;  ///< what was learnt in this process, by file and symbol
};

/// The search order: those given, then $DTK_PLUGIN_PATH, the user's data folder, the folder beside the program.
DTK_API std::vector<std::filesystem::path> plugin_folders(const std::vector<std::filesystem::path>& first);

/// A plugin is missing, broken or built for something else: exit code 3.
class DTK_API PluginError : public Error {
 public:
    using Error::Error;
    ~PluginError() override;
};

}  // namespace dtk
