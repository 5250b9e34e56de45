#pragma once
// Pictures of samples beside the data, and of the loss.
#include <filesystem>
#include <string>
#include <vector>

#include <dtk/dataset.hpp>

#include "base/classes.hpp"

namespace dtk {

/// The first n true examples that training never sees: what samples are held against in pictures.
Tensor true_examples(const Dataset& data, std::int64_t n);

/// A grid for images, a scatter plot for points in the plane, a curve of the density on the line; nothing for others.
/// in_turn: the classes that were asked for, which then stand one below the other, and in the PNG's text "Labels". →
/// the file's name, empty where there is none. Errors: Error when the picture cannot be made.
std::string draw_picture(const std::filesystem::path& folder, const std::string& name, const Tensor& samples,
                         const Dataset& data, const std::string& provenance,
                         const std::vector<std::string>& in_turn = {});

/// Examples of data by themselves: images in rows by their class, named in an .svg; points with a colour for each
/// class, of more than two elements the first two; a curve of the density of numbers. label: [n], undefined where there
/// are no classes. → is there such a picture? Errors: Error when it cannot be made.
DTK_API bool draw_data(const std::filesystem::path& file, const Tensor& x, const Tensor& label, const Dataset& data,
                       const Classes& classes);

/// loss.svg: the loss over the steps and the held-out error beside it, and both by noise level, from the folder's
/// metrics.jsonl. One that cannot be made is said to be so.
void draw_loss(const std::filesystem::path& folder);

}  // namespace dtk
