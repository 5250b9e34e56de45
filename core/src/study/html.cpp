// Pieces of an HTML page.
#include "study/html.hpp"

#include <algorithm>
#include <cmath>

#include <openssl/evp.h>

#include <dtk/error.hpp>

namespace dtk::page {

namespace {

// A page as narrow as a phone shows charts drawn for that. Paper is white, and shows what is folded away on a screen.
constexpr const char* style = R"(
:root { color-scheme: light dark; --ink: #1b1b1b; --paper: #fff; --faint: #5c5c5c; --line: #d9d9d9; --card: #f5f5f2; --link: #0b57a4; --good: #00704f; --bad: #b04000 }
@media screen and (prefers-color-scheme: dark) { :root {
  --ink: #e8e6e3; --paper: #16181a; --faint: #aaa7a1; --line: #3a3d40; --card: #202326; --link: #86b9f2; --good: #4fd0a5; --bad: #ff9b5e;
  --chart-paper: #16181a; --chart-ink: #e8e6e3; --chart-axis: #b5b2ac; --chart-grid: #303336; --chart-band: #2b2f33; --chart-grey: #9a9a9a;
  --chart-0: #4a9fe0; --chart-1: #f5813f; --chart-2: #2cc295; --chart-3: #e3a1c9; --chart-4: #f2b63a; --chart-5: #a5dcff; --chart-6: #e8e6e3 } .half img { filter: invert(.92) hue-rotate(180deg) } }
* { box-sizing: border-box }
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; overflow-wrap: break-word }
h1 { font-size: 1.75rem; line-height: 1.2; margin: .5rem 0 1rem } h2 { font-size: 1.3rem; margin: 3rem 0 .5rem } h3 { font-size: 1.05rem; margin: 1.75rem 0 .25rem }
p, ul { margin: .5rem 0 } a { color: var(--link) }
.verdict { font-size: 1.15rem; border-left: 4px solid var(--link); padding-left: .9rem } .faint, figcaption, caption { color: var(--faint) } .better { color: var(--good) } .worse { color: var(--bad) }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 2px }
.scroll { overflow-x: auto; margin: .75rem 0 } table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums } caption { text-align: left; padding-bottom: .4rem } caption span { display: block; position: sticky; left: 0; max-width: min(58rem, calc(100vw - 2rem)) }
th, td { padding: .3rem .45rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line) } thead th { vertical-align: bottom; border-bottom: 2px solid var(--line) }
thead th { white-space: normal } tbody th { font-weight: inherit } th:first-child, td:first-child { text-align: left; padding-left: .3rem; position: sticky; left: 0; background: var(--paper) } tr.baseline > * { background: var(--card) } tr.truth { color: var(--faint) } .words td { text-align: left }
figure { margin: .75rem 0 1.5rem } .chart svg { display: block; max-width: 100%; height: auto } .narrow { display: none } figcaption { margin-top: .4rem; overflow-wrap: anywhere }
.row { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem .8rem } .row figure { margin: 0 } .row img { display: block; width: 100%; background: #fff; image-rendering: pixelated } .half { overflow: hidden } .half img { width: 200%; image-rendering: auto } .right img { margin-left: -100% }
details { margin: .6rem 0; border-top: 1px solid var(--line); padding-top: .5rem } figure details { border: 0; padding: 0 } summary { cursor: pointer; width: fit-content; max-width: 100% }
pre { overflow-x: auto; background: var(--card); padding: .7rem; border-radius: 6px; font-size: .85rem } code { overflow-wrap: anywhere }
.warning { border-left: 4px solid #c77700; padding-left: .8rem }
@media screen and (max-width: 40rem) { .wide { display: none } .narrow { display: block } h1 { font-size: 1.4rem }  }
@media print {
  main { max-width: none; padding: 0 } body { font-size: 10.5pt } table { font-size: 8pt } th, td { padding: .15rem .35rem; white-space: normal } pre { white-space: pre-wrap; overflow-wrap: anywhere }
  h2, h3, summary { break-after: avoid } .chart, tr, .row figure { break-inside: avoid } .scroll { overflow: visible }
  ::details-content { content-visibility: visible; block-size: auto } details:not([open]) > :not(summary) { display: revert } a { color: inherit; text-decoration: none }
}
)";

constexpr int wide = 920, narrow = 358;
constexpr std::size_t most_numbers = 25;

/// Those of the rows that stand in a table, evenly spaced, the last among them.
std::vector<std::size_t> some_of(std::size_t size) {
    std::vector<std::size_t> kept;
    const auto count = std::min(size, most_numbers);
    for (std::size_t i = 0; i < count; ++i) kept.push_back(count > 1 ? i * (size - 1) / (count - 1) : 0);
    return kept;
}

/// The points of a chart: beside each other where all series have the same x, below each other otherwise.
Table points_of(const Chart& chart) {
    Table table{.caption = chart.title, .head = {chart.x_label}};
    std::vector<const Series*> shown_series;
    for (const auto& series : chart.series)
        if (!series.x.empty() && !series.name.empty()) shown_series.push_back(&series);
    if (shown_series.empty()) return table;
    const auto& first = *shown_series.front();
    if (std::ranges::all_of(shown_series, [&](const auto* s) { return s->x == first.x; })) {
        for (const auto* s : shown_series) table.head.push_back(s->name);
        for (const auto i : some_of(first.x.size())) {
            auto& row = table.rows.emplace_back(Table::Row{{shown(first.x[i])}});
            for (const auto* s : shown_series) row.cells.push_back(shown(s->y[i]));
        }
        return table;
    }
    table.head = {"", chart.x_label, chart.y_label};
    for (const auto* s : shown_series)
        for (const auto i : some_of(s->x.size()))
            table.rows.push_back({{escaped(s->name), shown(s->x[i]), shown(s->y[i])}});
    return table;
}

/// As wide as asked for, without the title that the page gives it.
Chart fitted(Chart chart, int width) {
    chart.title.clear();
    if (width == narrow && chart.rows.empty()) chart.height = std::min(chart.height, 340);
    chart.width = width;
    chart.text_size = width == wide ? 14 : 12;
    return chart;
}

/// What stands in the page for a drawing that is still to be made. No text of the page can hold it: it is no HTML.
std::string mark(std::size_t number) { return fmt::format("<\x01{}>", number); }

}  // namespace

std::string escaped(std::string_view text) {
    std::string safe;
    for (const char c : text) {
        switch (c) {
            case '&':
                safe += "&amp;";
                break;
            case '<':
                safe += "&lt;";
                break;
            case '>':
                safe += "&gt;";
                break;
            case '"':
                safe += "&quot;";
                break;
            default:
                safe += c;
        }
    }
    return safe;
}

std::string shown(double value, int digits) {
    if (!std::isfinite(value)) return "–";
    return (value < 0 ? "−" : "") + fmt::format("{:.{}g}", std::abs(value), digits);
}

std::string html(const Table& table) {
    const auto plain = [](const std::string& text) {
        std::string words;
        bool inside = false;
        for (const char c : text) {
            if (c == '<') inside = true;
            if (!inside) words += c;
            if (c == '>') inside = false;
        }
        return words;
    };
    std::string text = fmt::format(
        "<div class=\"scroll\" tabindex=\"0\" role=\"group\" "
        "aria-label=\"{}\"><table><caption><span>{}</span></caption><thead><tr>",
        plain(table.caption), table.caption);
    for (const auto& head : table.head)
        text += head.empty() ? "<td></td>" : fmt::format("<th scope=\"col\">{}</th>", escaped(head));
    text += "</tr></thead><tbody>\n";
    for (const auto& row : table.rows) {
        text += row.look.empty() ? "<tr>" : fmt::format("<tr class=\"{}\">", row.look);
        for (std::size_t i = 0; i < row.cells.size(); ++i)
            text += (i == 0 ? "<th scope=\"row\">" : "<td>") + row.cells[i] + (i == 0 ? "</th>" : "</td>");
        text += "</tr>\n";
    }
    return text + "</tbody></table></div>\n";
}

std::string Pictures::add(const Figure& figure) {
    // Ids from the words, so that the same study gives the same page.
    const auto id = fmt::format("c{:x}-", std::hash<std::string>{}(figure.alt) & 0xffffff);
    const auto drawing = [&](int width, const std::string& ids) {
        charts_.emplace_back(fitted(figure.chart, width), ids);
        return mark(charts_.size() - 1);
    };
    const auto desk = drawing(wide, id), phone = drawing(narrow, id + "n-");
    return fmt::format(
        "<figure><div class=\"chart\" role=\"img\" aria-label=\"{}\"><div class=\"wide\">{}</div><div "
        "class=\"narrow\">{}</div></div><figcaption>{}</figcaption>{}</figure>\n",
        escaped(figure.alt), desk, phone, figure.caption,
        details("The numbers", html(figure.numbers ? *figure.numbers : points_of(figure.chart))));
}

void Pictures::draw(std::string& page) const {
    std::vector<std::string> drawings;
    try {
        drawings = svg_elements(charts_);
    } catch (const Error& error) {
        drawings.assign(charts_.size(), fmt::format("<p>No picture: {}.</p>", escaped(error.what())));
    }
    for (std::size_t i = 0; i < drawings.size(); ++i) {
        const auto place = mark(i);
        if (const auto at = page.find(place); at != page.npos) page.replace(at, place.size(), drawings[i]);
    }
}

std::string details(const std::string& summary, const std::string& content, const std::string& id) {
    return fmt::format("<details><summary>{}</summary><div{}>{}</div></details>\n", summary,
                       id.empty() ? "" : fmt::format(" id=\"{}\"", id), content);
}

std::string data_url(std::string_view type, const std::string& bytes) {
    std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
    const int size =
        ::EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                          reinterpret_cast<const unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
    text.resize(static_cast<std::size_t>(size));
    return fmt::format("data:{};base64,{}", type, text);
}

std::string document(const std::string& title, const std::string& content) {
    return fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
        "content=\"width=device-width, initial-scale=1\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src "
        "data:\">\n<title>{}</title>\n<style>{}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</html>\n",
        escaped(title), style, content);
}

}  // namespace dtk::page
