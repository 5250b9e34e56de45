#include <dtk/chain_files.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include <dtk/error.hpp>
#include <dtk/geometry.hpp>
#include <dtk/secondary_structure.hpp>

#include "base/files.hpp"
#include "study/html.hpp"

namespace dtk {

namespace fs = std::filesystem;

namespace {

constexpr std::int64_t most_models = 100;  // of a file
constexpr std::array<const char*, 4> backbone{"N", "CA", "C", "O"};

/// Coordinates of chains as text needs them.
struct Models {
    Tensor x;     ///< [models, L, atoms, 3] float64
    Tensor mask;  ///< [models, L]
    std::int64_t models, residues, atoms;
    explicit Models(const Tensor& all)
        : x((all.dim() == 3 ? all.unsqueeze(2) : all).to(at::kCPU, at::kDouble).contiguous()),
          mask(residues_of(x)),
          models(x.size(0)),
          residues(x.size(1)),
          atoms(x.size(2)) {
        if (!x.isfinite().all().item<bool>()) throw Error("a coordinate is no finite number");
    }
    /// Calls each(model, residue, atom's name, its place) for all that there are.
    template <class Each>
    void for_atoms(std::int64_t model, const Each& each) const {
        const auto* place = x.const_data_ptr<double>() + model * residues * atoms * 3;
        const auto* there = mask.const_data_ptr<float>() + model * residues;
        for (std::int64_t i = 0; i < residues; ++i)
            for (std::int64_t a = 0; a < atoms && there[i] > 0; ++a)
                each(i + 1, atoms == 1 ? "CA" : backbone.at(static_cast<std::size_t>(a)), place + (i * atoms + a) * 3);
    }
};

/// Letters that a title may have in both formats: printable ASCII, without quotes.
std::string plain(const std::string& title) {
    std::string text;
    for (const char c : title) text += c < ' ' || c > '~' || c == '\'' || c == '"' ? ' ' : c;
    return text.substr(0, 60);
}

}  // namespace

Depicts::~Depicts() = default;
DepictsChains::~DepictsChains() = default;

std::string pdb_of(const Tensor& x, const std::string& title) {
    const Models all(x);
    constexpr double least = -999.999, most = 9999.999;
    constexpr std::int64_t most_residues = 9999;
    if (all.residues > most_residues)
        throw Error(fmt::format("a chain of {} residues does not fit into the PDB format", all.residues),
                    "look at the .cif file");
    auto text = fmt::format("TITLE     {}\n", plain(title));
    for (std::int64_t m = 0; m < all.models; ++m) {
        text += fmt::format("MODEL     {:>4}\n", m + 1);
        std::int64_t serial = 0, last = 0;
        all.for_atoms(m, [&](std::int64_t residue, const char* atom, const double* p) {
            if (std::min({p[0], p[1], p[2]}) < least || std::max({p[0], p[1], p[2]}) > most)
                throw Error(fmt::format("atom {} of residue {} is too far away for the PDB format", atom, residue),
                            "look at the .cif file");
            text += fmt::format("ATOM  {:>5} {:<4} GLY A{:>4}    {:>8.3f}{:>8.3f}{:>8.3f}{:>6.2f}{:>6.2f}{:>12}\n",
                                ++serial, fmt::format(" {}", atom), residue, p[0], p[1], p[2], 1.0, 0.0,
                                fmt::format("{}", atom[0]));
            last = residue;
        });
        if (last > 0) text += fmt::format("TER   {:>5}      GLY A{:>4}\n", serial + 1, last);
        text += "ENDMDL\n";
    }
    return text + "END\n";
}

std::string mmcif_of(const Tensor& x, const std::string& title) {
    const Models all(x);
    auto text = fmt::format(
        "data_dtk\n_entry.id dtk\n_struct.entry_id dtk\n_struct.title '{}'\nloop_\n_entity.id\n_entity.type\n1 "
        "polymer\n"
        "loop_\n",
        plain(title));
    for (const auto* key :
         {"group_PDB", "id", "type_symbol", "label_atom_id", "label_alt_id", "label_comp_id", "label_asym_id",
          "label_entity_id", "label_seq_id", "pdbx_PDB_ins_code", "Cartn_x", "Cartn_y", "Cartn_z", "occupancy",
          "B_iso_or_equiv", "auth_seq_id", "auth_asym_id", "pdbx_PDB_model_num"})
        text += fmt::format("_atom_site.{}\n", key);
    std::int64_t serial = 0;
    for (std::int64_t m = 0; m < all.models; ++m)
        all.for_atoms(m, [&](std::int64_t residue, const char* atom, const double* p) {
            text += fmt::format("ATOM {} {} {} . GLY A 1 {} ? {:.3f} {:.3f} {:.3f} 1.00 0.00 {} A {}\n", ++serial,
                                atom[0], atom, residue, p[0], p[1], p[2], residue, m + 1);
        });
    return text + "#\n";
}

namespace {

constexpr double panel = 150, margin = 10, heading = 34, before = 130;
/// Across, up, towards who looks: principal axes, turned round cyclically, which are rotations.
constexpr std::array<std::array<std::int64_t, 3>, 3> views{{{0, 1, 2}, {1, 2, 0}, {2, 0, 1}}};

/// Blue at 0, over green, to red at 1.
std::string colour_of_place(double share) {
    constexpr std::array<std::array<double, 3>, 5> along{
        {{44, 79, 214}, {26, 163, 163}, {63, 174, 73}, {232, 164, 28}, {214, 39, 40}}};
    const double place = std::clamp(share, 0.0, 1.0) * (along.size() - 1);
    const auto i = std::min(static_cast<std::size_t>(place), along.size() - 2);
    std::string colour = "#";
    for (std::size_t k = 0; k < 3; ++k)
        colour +=
            fmt::format("{:02x}", std::lround(std::lerp(along[i][k], along[i + 1][k], place - static_cast<double>(i))));
    return colour;
}

const char* colour_of(std::int64_t secondary) {
    switch (static_cast<Secondary>(secondary)) {
        case Secondary::helix:
            return "#d62728";
        case Secondary::strand:
            return "#1f77b4";
        case Secondary::loop:
            break;
    }
    return "#888";
}

/// A chain that exists, turned to its principal axes.
Tensor turned(const Tensor& x) {
    const auto off = x - x.mean(0);
    auto axes = std::get<2>(at::linalg_svd(off, /*full_matrices=*/true)).t().clone();  // columns, the widest first
    if (at::linalg_det(axes).item<double>() < 0) axes.select(1, 2).neg_();
    return off.matmul(axes).contiguous();
}

/// Segments from the farthest to the nearest, which are darker and wider.
std::string drawn(const Tensor& x, const std::array<std::int64_t, 3>& view, double scale, double left, double top,
                  const std::vector<std::string>& colours) {
    const auto* place = x.const_data_ptr<double>();
    const auto n = x.size(0);
    const auto at = [&](std::int64_t i, int axis) { return place[3 * i + view[static_cast<std::size_t>(axis)]]; };
    std::vector<std::int64_t> order(static_cast<std::size_t>(std::max<std::int64_t>(0, n - 1)));
    std::iota(order.begin(), order.end(), 0);
    const auto depth = [&](std::int64_t i) { return at(i, 2) + at(i + 1, 2); };
    std::ranges::stable_sort(order, {}, depth);
    const double far = order.empty() ? 0 : depth(order.front()), near = order.empty() ? 0 : depth(order.back());
    std::string svg;
    const double middle = panel / 2;
    for (const auto i : order) {
        const double front = near > far ? (depth(i) - far) / (near - far) : 1;
        svg += fmt::format(
            "<path d=\"M{:.1f} {:.1f}L{:.1f} {:.1f}\" stroke=\"{}\" stroke-width=\"{:.1f}\" opacity=\"{:.2f}\"/>\n",
            left + middle + scale * at(i, 0), top + middle - scale * at(i, 1), left + middle + scale * at(i + 1, 0),
            top + middle - scale * at(i + 1, 1), colours[static_cast<std::size_t>(i)], 1.5 + 2.5 * front,
            0.45 + 0.55 * front);
    }
    return svg;
}

}  // namespace

std::string svg_of_chains(const Tensor& x, const std::vector<std::string>& names) {
    const auto all = (x.dim() == 4 ? x.select(2, 1) : x).to(at::kCPU, at::kDouble).nan_to_num();
    const auto mask = residues_of(all);
    const auto secondary = secondary_structure(all, mask);
    std::vector<Tensor> chains;
    double widest = 1;
    for (std::int64_t row = 0; row < all.size(0); ++row) {
        const auto n = mask[row].sum().item<std::int64_t>();
        chains.push_back(n > 0 ? turned(all[row].slice(0, 0, n)) : all[row].slice(0, 0, 0).contiguous());
        if (n > 0) widest = std::max(widest, chains.back().abs().max().item<double>());
    }
    const double scale = (panel / 2 - 6) / widest, step = panel + margin;
    const double width = before + 6 * step, height = heading + static_cast<double>(chains.size()) * step;
    auto svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" viewBox=\"0 0 {0:.0f} "
        "{1:.0f}\" "
        "font-family=\"sans-serif\" font-size=\"13\" fill=\"none\" stroke-linecap=\"round\">\n"
        "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
        "<g fill=\"#333\"><text x=\"{2:.0f}\" y=\"20\">from three sides, blue at the first residue, red at the "
        "last</text>\n"
        "<text x=\"{3:.0f}\" y=\"20\">helices red, strands blue; {4:.0f} Å are as wide as a panel</text>\n",
        width, height, before, before + 3 * step, panel / scale);
    for (std::size_t row = 0; row < chains.size(); ++row)
        svg +=
            fmt::format("<text x=\"4\" y=\"{:.0f}\">{}</text>\n", heading + static_cast<double>(row) * step + panel / 2,
                        page::escaped(row < names.size() ? names[row] : ""));
    svg += "</g>\n";
    for (std::size_t row = 0; row < chains.size(); ++row) {
        const auto n = chains[row].size(0);
        std::vector<std::string> by_place, by_structure;
        for (std::int64_t i = 0; i + 1 < n; ++i) {
            by_place.push_back(
                colour_of_place(static_cast<double>(i) / static_cast<double>(std::max<std::int64_t>(1, n - 2))));
            by_structure.emplace_back(colour_of(secondary[static_cast<std::int64_t>(row)][i].item<std::int64_t>()));
        }
        const double top = heading + static_cast<double>(row) * step;
        double left = before;
        for (const auto* colours : {&by_place, &by_structure})
            for (const auto& view : views) svg += drawn(chains[row], view, scale, left, top, *colours), left += step;
    }
    return svg + "</svg>\n";
}

void DepictsChains::depict(const fs::path& folder, const std::string& name, const Tensor& x,
                           const Tensor& truth) const {
    constexpr std::int64_t shown = 5;
    const auto some = x.slice(0, 0, std::min<std::int64_t>(shown, x.size(0)));
    std::vector<std::string> names;
    std::vector<Tensor> rows{some.to(at::kCPU, at::kFloat)};
    const char* what = truth.defined() ? "sample" : "example";
    for (std::int64_t i = 0; i < some.size(0); ++i) names.push_back(fmt::format("{} {}", what, i + 1));
    if (truth.defined()) {
        rows.push_back(truth.slice(0, 0, std::min<std::int64_t>(shown, truth.size(0))).to(at::kFloat));
        for (std::int64_t i = 0; i < rows.back().size(0); ++i) names.push_back(fmt::format("held-out chain {}", i + 1));
    }
    write_atomically(folder / (name + ".svg"), svg_of_chains(at::cat(rows), names));
    if (!truth.defined()) return;
    const auto models = x.slice(0, 0, std::min(most_models, x.size(0)));
    write_atomically(folder / (name + ".cif"), mmcif_of(models, name));
    write_atomically(folder / (name + ".pdb"), pdb_of(models, name));
}

void DepictsChains::depict_way(const fs::path& folder, const std::string& name, const Tensor& x) const {
    constexpr std::int64_t shown = 8, most_ways = 4;
    const auto first = x.select(1, 0).to(at::kCPU, at::kFloat);
    const auto states = first.size(0), n = std::min(shown, states);
    std::vector<std::string> names;
    std::vector<Tensor> rows;
    for (std::int64_t i = 0; i < n; ++i) {
        const auto at = n == 1 ? states - 1 : i * (states - 1) / (n - 1);
        rows.push_back(first[at]);
        names.push_back(fmt::format("state {} of {}", at + 1, states));
    }
    write_atomically(folder / (name + ".svg"), svg_of_chains(at::stack(rows), names));
    for (std::int64_t i = 0; i < std::min(most_ways, x.size(1)); ++i) {
        const auto own = fmt::format("{}-{}", name, i + 1);
        write_atomically(folder / (own + ".pdb"), pdb_of(x.select(1, i), own));
    }
}

}  // namespace dtk
