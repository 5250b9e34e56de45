// Examples that are the lines of a table: columns of numbers, and one of them the class. The first line names the
// columns. Texts may stand in quotes (RFC 4180).
#include <algorithm>
#include <charconv>
#include <fstream>
#include <set>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/tokenizer.hpp>

#include <dtk/build_context.hpp>
#include <dtk/rows_dataset.hpp>

namespace {

namespace fs = std::filesystem;

struct Csv final : dtk::RowsDataset {
    struct Config {
        fs::path file, test_file;
        std::vector<std::string> columns;
        std::string label, separator = ",";
        double test = 0.1;
        void fields(dtk::Fields& f) {
            f.required("file", file, "the table; its first line names the columns");
            f("columns", columns, "those that are the elements of an example, in this order; empty: all but `label`");
            f("label", label, "the column that is the class, a number or a word; empty: without classes");
            f("separator", separator, {",", ";", "\t"}, "between the columns");
            f("test_file", test_file, "lines that training never sees; empty: a share of `file` is held out");
            f("test", test, dtk::inside(0, 1), "share of each class that is held out, evenly along the file");
        }
    };
    explicit Csv(const Config& c) : RowsDataset(source(c)) {}

 private:
    static dtk::RowsSource source(const Config& c) {
        dtk::RowsSource source;
        source.train = table(c.file, c);
        source.held_out = c.test;
        source.files = {c.file};
        if (!c.test_file.empty()) {
            source.test = table(c.test_file, c);
            source.files.push_back(c.test_file);
        }
        return source;
    }

    static std::vector<std::string> cells(const std::string& line, const Config& c) {
        const boost::escaped_list_separator<char> rule("", c.separator, "\"");
        const boost::tokenizer<boost::escaped_list_separator<char>> parts(line, rule);
        return {parts.begin(), parts.end()};
    }

    /// The columns of an example, and that of the class or −1.
    struct Columns {
        std::vector<std::size_t> x;
        std::ptrdiff_t label = -1;
    };
    static Columns columns(const std::vector<std::string>& head, const fs::path& file, const Config& c) {
        const auto place = [&](const std::string& name) {
            const auto found = std::ranges::find(head, name);
            if (found == head.end())
                throw dtk::Error(fmt::format("{} has no column `{}`", file.string(), name),
                                 fmt::format("it has {}", fmt::join(head, ", ")));
            return found - head.begin();
        };
        Columns columns;
        if (!c.label.empty()) columns.label = place(c.label);
        for (const auto& name : c.columns) columns.x.push_back(static_cast<std::size_t>(place(name)));
        for (std::size_t i = 0; c.columns.empty() && i < head.size(); ++i)
            if (static_cast<std::ptrdiff_t>(i) != columns.label) columns.x.push_back(i);
        if (std::set(columns.x.begin(), columns.x.end()).size() != columns.x.size())
            throw dtk::Error("a column is named twice in `columns`", "name each once");
        return columns;
    }

    static dtk::Rows table(const fs::path& file, const Config& c) {
        std::ifstream in(file);
        if (!in) throw dtk::Error(fmt::format("cannot read {}", file.string()), "is the path right?");
        std::string line;
        const auto next = [&] {
            while (std::getline(in, line)) {
                if (!line.empty() && line.back() == '\r') line.pop_back();
                if (!line.empty()) return true;
            }
            return false;
        };
        if (!next()) throw dtk::Error(fmt::format("{} is empty", file.string()), "its first line names the columns");
        if (line.starts_with("\xEF\xBB\xBF")) line.erase(0, 3);  // a byte-order mark
        const auto head = cells(line, c);
        const auto [x, label] = columns(head, file, c);
        dtk::Rows rows;
        std::vector<float> values;
        for (std::int64_t number = 1; next(); ++number) {
            const auto wrong = [&](const std::string& what, const char* help) {
                return dtk::Error(fmt::format("{}, row {}: {}", file.string(), number, what), help);
            };
            if (std::ranges::count(line, '"') % 2 != 0)
                throw wrong("a quote is not closed", "a text in quotes ends on its line");
            const auto cell = cells(line, c);
            if (cell.size() != head.size())
                throw wrong(fmt::format("{} columns where the first line names {}", cell.size(), head.size()),
                            "is `separator` right?");
            for (const auto i : x) {
                float value = 0;
                const auto* end = cell[i].data() + cell[i].size();
                const auto [stop, error] = std::from_chars(cell[i].data(), end, value);
                if (error != std::errc() || stop != end)
                    throw wrong(fmt::format("`{}` in column `{}` is no number", cell[i], head[i]),
                                "leave that column out of `columns`, or name it in `label`");
                values.push_back(value);
            }
            if (label >= 0) rows.label.push_back(cell[static_cast<std::size_t>(label)]);
        }
        rows.x = at::tensor(values, at::kFloat).view({-1, static_cast<std::int64_t>(x.size())});
        return rows;
    }
};
}  // namespace

DTK_PLUGIN(Dataset, csv, Csv, "lines of a table of comma-separated values, one column perhaps the class")
