#include "cli/table.h"

#include <algorithm>

#include "cli/text.h"

namespace davit::cli {

std::string Table::render(const Terminal& terminal) const {
  std::vector<size_t> widths(columns_.size(), 0);
  for (const auto& row : rows_)
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i)
      widths[i] = std::max(widths[i], display_width(row[i].text));
  bool titled = false;
  for (size_t i = 0; i < widths.size(); ++i) {
    if (widths[i] == 0) continue;
    const std::string_view title = columns_[i].title;
    titled = titled || !title.empty();
    widths[i] = std::max(widths[i], title.size());
  }

  const auto line = [&](const std::vector<Cell>& row) {
    std::string text;
    size_t gap = 0;  // blanks that are owed: none at the end of a line
    bool first = true;
    for (size_t i = 0; i < row.size() && i < widths.size(); ++i) {
      if (widths[i] == 0) continue;
      if (!first) gap += 2;
      first = false;
      const size_t padding = widths[i] - display_width(row[i].text);
      if (columns_[i].align == Align::right) gap += padding;
      if (!row[i].text.empty()) {
        text.append(gap, ' ');
        gap = 0;
        text += terminal.in(row[i].colour, row[i].text);
      }
      if (columns_[i].align == Align::left) gap += padding;
    }
    return text + "\n";
  };

  std::string text;
  if (titled) {
    std::vector<Cell> titles;
    for (const Column& column : columns_) titles.emplace_back(column.title, Colour::bold);
    text += line(titles);
  }
  for (const auto& row : rows_) text += line(row);
  return text;
}

}  // namespace davit::cli
