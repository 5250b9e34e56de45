#pragma once
// Pieces of an HTML page that needs nothing but itself: no network and no script.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/chart.hpp"

namespace dtk::page {

/// As text inside an element or an attribute.
DTK_API std::string escaped(std::string_view text);

/// In so many digits, or – where there is no number.
std::string shown(double value, int digits = 4);

/// A table in a box that scrolls by itself where it is too wide. All of it is text but for `caption` and cells, which
/// are HTML.
struct Table {
    struct Row {
        std::vector<std::string> cells;  ///< the first is the row's heading
        std::string look = {};           ///< class
    };
    std::string caption;
    std::vector<std::string> head;
    std::vector<Row> rows = {};
};
std::string html(const Table& table);

/// A chart with what it shows in words and the numbers behind it.
struct Figure {
    Chart chart;
    std::string alt, caption;           ///< text; HTML
    std::optional<Table> numbers = {};  ///< otherwise the chart's own points
};
/// The charts of one page, which are drawn together at its end: starting the program that draws takes longer than
/// drawing.
class Pictures {
 public:
    /// The figure's text, with marks where its drawings will stand: one for a desk, one for a phone.
    std::string add(const Figure& figure);
    /// Draws every chart and puts it in its place; where nothing can draw, the reason.
    void draw(std::string& page) const;

 private:
    std::vector<std::pair<Chart, std::string>> charts_;  ///< with what its ids begin with
};

std::string details(const std::string& summary, const std::string& content, const std::string& id = {});

/// A file of that type within the page.
DTK_API std::string data_url(std::string_view type, const std::string& bytes);

/// The whole page around what stands in its main part.
std::string document(const std::string& title, const std::string& content);

}  // namespace dtk::page
