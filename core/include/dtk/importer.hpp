#pragma once
// Data sets that `dtk data import` makes one file of dtk's own of.
#include <filesystem>
#include <string>

#include <dtk/api.hpp>

namespace dtk {

/// What a data set is beside Dataset where it reads what others publish, and another one reads what it can write.
class DTK_API Importer {
 public:
    virtual ~Importer();
    /// Writes its examples, whole and as its fields choose them, or nothing. → the same in words, and what reads them:
    /// "200 chains, 11,567 residues; data set chains reads them". Errors: Error.
    virtual std::string import_to(const std::filesystem::path& file) const = 0;
};

}  // namespace dtk
