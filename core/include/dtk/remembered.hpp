#pragma once
#include <functional>
#include <string>
#include <vector>

#include <dtk/api.hpp>

namespace dtk {

/// Numbers that a metric finds, and that depend on the data, on its own fields and random numbers and on what `what`
/// says, but on no sample and no network that is measured: what true samples would give. The cells of a study that
/// measure with the same data and seed find them once; elsewhere this is find().
DTK_API std::vector<double> remembered(const std::string& what, const std::function<std::vector<double>()>& find);

}  // namespace dtk
