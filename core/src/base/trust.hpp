#pragma once
// Whose plugins are loaded. A plugin runs as the user does and can do what the user can, so nobody else may be able to
// put one where dtk finds it.
#include <dtk/api.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace dtk {

/// The user's word that plugins may be loaded from this folder: `--trust DIR`. Programs that dtk starts know it, too.
DTK_API void trust(const std::filesystem::path& folder);
/// The folders of which trust() was told.
DTK_API std::vector<std::filesystem::path> trusted();
DTK_API bool is_trusted(const std::filesystem::path& folder);

/// Why a file or folder may not be taken for the user's own, "every user can write there"; empty where it may: it
/// belongs to the user, to root, or to whoever owns dtk itself, and nobody else can write there. A group counts as
/// somebody else unless it has the name of the owner.
DTK_API std::string writable_by_others(const std::filesystem::path& path);

/// The folder of the run or study that a file is part of: the outermost one around it that holds run.json, study.json,
/// stage.toml, resolved.toml or result.json.
DTK_API std::optional<std::filesystem::path> record_around(const std::filesystem::path& file);

/// Must the user be asked before plugins are loaded from `folder`, which a file of the run or study in `record` names?
/// Where it lies in there: who sends a run would send the plugins with it. dtk itself writes whole paths only, so a
/// one that was given `relative` to the record is asked for, too.
DTK_API bool needs_word(const std::filesystem::path& folder, bool relative, const std::filesystem::path& record);

}  // namespace dtk
