// Data that are the rows of a tensor.
#include <dtk/rows_dataset.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <dtk/error.hpp>
#include <dtk/gzip.hpp>

namespace dtk {

namespace {

/// So many numbers are looked at before anything is trained.
constexpr std::int64_t most_looked_at = 100'000'000;

std::optional<std::int64_t> whole_number(const std::string& text) {
    std::int64_t value = 0;
    const auto* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    return error == std::errc() && stop == end ? std::optional(value) : std::nullopt;
}

/// Does `a` stand before `b`, where digits that follow one another count as a number?
bool natural_less(std::string_view a, std::string_view b) {
    const auto digit = [](char c) { return c >= '0' && c <= '9'; };
    const auto whole_a = a, whole_b = b;
    const auto number = [&](std::string_view& text) {
        std::size_t end = 0;
        while (end < text.size() && digit(text[end])) ++end;
        auto digits = text.substr(0, end);
        text.remove_prefix(end);
        digits.remove_prefix(std::min(digits.find_first_not_of('0'), digits.size()));
        return std::pair(digits.size(), digits);
    };
    while (!a.empty() && !b.empty()) {
        if (digit(a[0]) && digit(b[0])) {
            const auto x = number(a), y = number(b);
            if (x != y) return x < y;
        } else {
            if (a[0] != b[0]) return static_cast<unsigned char>(a[0]) < static_cast<unsigned char>(b[0]);
            a.remove_prefix(1), b.remove_prefix(1);
        }
    }
    return a.empty() != b.empty() ? a.empty() : whole_a < whole_b;
}

Tensor numbers_of(const std::vector<std::string>& labels, const std::vector<std::string>& names, const char* what) {
    std::map<std::string, std::int64_t> number;
    for (const auto& name : names) number.emplace(name, static_cast<std::int64_t>(number.size()));
    std::vector<std::int64_t> all;
    for (const auto& label : labels) {
        const auto found = number.find(label);
        if (found == number.end())
            throw Error(fmt::format("{} have the label `{}`, which no training example has", what, label),
                        fmt::format("training has {}", fmt::join(names, ", ")));
        all.push_back(found->second);
    }
    return at::tensor(all, at::kLong);
}

void check(const Rows& rows, const char* what) {
    if (rows.x.dim() < 1 || rows.x.size(0) == 0) throw Error(fmt::format("there are no {}", what), "give some rows");
    if (!rows.label.empty() && static_cast<std::int64_t>(rows.label.size()) != rows.x.size(0))
        throw Error(fmt::format("{} labels for {} {}", rows.label.size(), rows.x.size(0), what),
                    "there must be one for each");
    if (!rows.x.is_floating_point() || rows.x.numel() > most_looked_at) return;
    const auto sound = at::isfinite(rows.x).flatten(1).all(1);
    if (const auto bad = (~sound).sum().item<std::int64_t>(); bad > 0)
        throw Error(fmt::format("{} of {} {} hold what is no finite number, row {} the first", bad, rows.x.size(0),
                                what, sound.to(at::kByte).argmin().item<std::int64_t>()),
                    "leave those rows out, or fill them in");
}

void check_numbers(const Tensor& index, std::int64_t size) {
    if (index.numel() > 0 && (index.min().item<std::int64_t>() < 0 || index.max().item<std::int64_t>() >= size))
        throw Error(fmt::format("examples {} … {} were asked for, and there are {}", index.min().item<std::int64_t>(),
                                index.max().item<std::int64_t>(), size));
}

}  // namespace

std::vector<std::string> ordered_labels(std::vector<std::string> labels) {
    std::ranges::sort(labels, [](const auto& a, const auto& b) {
        const auto x = whole_number(a), y = whole_number(b);
        if (x && y && *x != *y) return *x < *y;
        if (x.has_value() != y.has_value()) return x.has_value();
        return natural_less(a, b);
    });
    labels.erase(std::ranges::unique(labels).begin(), labels.end());
    return labels;
}

RowsDataset::RowsDataset(RowsSource source) : source_(std::move(source)) {
    auto &train = source_.train, &test = source_.test;
    const bool apart = test.x.defined();
    for (auto* rows : {&train, &test})
        if (rows->x.defined() && rows->x.dim() == 1) rows->x = rows->x.unsqueeze(1);
    check(train, "training examples");
    if (apart) {
        check(test, "test examples");
        if (!std::ranges::equal(train.x.sizes().slice(1), test.x.sizes().slice(1)))
            throw Error(fmt::format("training examples are {}, test examples {}",
                                    fmt::join(train.x.sizes().slice(1), "×"), fmt::join(test.x.sizes().slice(1), "×")),
                        "are they from one set?");
        if (train.label.empty() != test.label.empty())
            throw Error("labels for only one of training and test examples", "give both or none");
    }
    names_ = ordered_labels(train.label);
    if (!names_.empty()) label_ = numbers_of(train.label, names_, "training examples");
    if (!names_.empty() && apart) test_label_ = numbers_of(test.label, names_, "test examples");

    // Evenly along the file, class by class.
    const auto n = train.x.size(0);
    if (apart || source_.held_out == 0) {
        training_ = at::arange(n, at::kLong);
        testing_ = at::arange(apart ? test.x.size(0) : 0, at::kLong);
        return;
    }
    std::vector<std::vector<std::int64_t>> members(std::max<std::size_t>(1, names_.size()));
    for (std::int64_t i = 0; i < n; ++i)
        members[label_.defined() ? static_cast<std::size_t>(label_.const_data_ptr<std::int64_t>()[i]) : 0].push_back(i);
    std::vector<std::int64_t> kept, held;
    for (const auto& rows : members) {
        const auto m = rows.size();
        const auto out =
            std::min(m - 1, static_cast<std::size_t>(std::ceil(static_cast<double>(m) * source_.held_out)));
        for (std::size_t k = 0; k < m; ++k) ((k + 1) * out / m > k * out / m ? held : kept).push_back(rows[k]);
    }
    std::ranges::sort(kept), std::ranges::sort(held);
    if (held.empty())
        throw Error(fmt::format("of {} examples none is left for testing", n), "give more, or rows for testing");
    training_ = at::tensor(kept, at::kLong);
    testing_ = at::tensor(held, at::kLong);
}

std::vector<std::int64_t> RowsDataset::shape() const {
    return rows(source_.train.x, {}, at::zeros({1}, at::kLong)).x.sizes().slice(1).vec();
}

Batch RowsDataset::rows(const Tensor& x, const Tensor& label, const Tensor& place) const {
    Batch batch{.x = x.index_select(0, place).to(at::kFloat)};
    if (label.defined()) batch.condition.label = label.index_select(0, place);
    if (!source_.pixels) return batch;
    if (batch.x.dim() == 3)
        batch.x = batch.x.unsqueeze(1);
    else if (batch.x.size(1) != 1 && batch.x.size(1) != 3)
        batch.x = batch.x.permute({0, 3, 1, 2}).contiguous();
    batch.x.mul_(2).sub_(255).div_(255);
    return batch;
}

Batch RowsDataset::examples(const Tensor& index) const {
    check_numbers(index, size());
    return rows(source_.train.x, label_, training_.index_select(0, index));
}

Batch RowsDataset::test_examples(const Tensor& index) const {
    check_numbers(index, test_size());
    const bool apart = source_.test.x.defined();
    return rows(apart ? source_.test.x : source_.train.x, apart ? test_label_ : label_,
                testing_.index_select(0, index));
}

std::vector<std::int64_t> RowsDataset::class_counts() const {
    if (!label_.defined()) return {};
    const auto counts = at::bincount(label_.index_select(0, training_), {}, classes());
    return {counts.const_data_ptr<std::int64_t>(), counts.const_data_ptr<std::int64_t>() + counts.numel()};
}

std::string RowsDataset::fingerprint() const { return sha256_of_files(source_.files); }

}  // namespace dtk
