// Aligned columns. Cells are printable text; widths are columns on a terminal.
#pragma once

#include <string>
#include <vector>

#include "cli/terminal.h"

namespace davit::cli {

struct Cell {
  Cell(std::string text, Colour colour = Colour::none) : text(std::move(text)), colour(colour) {}
  Cell(const char* text) : text(text) {}
  std::string text;
  Colour colour = Colour::none;
};

class Table {
 public:
  enum class Align { left, right };
  struct Column {
    const char* title;
    Align align = Align::left;
  };
  // Columns in which no row has anything are left out. Titles that are all empty make no header
  // line.
  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  void add(std::vector<Cell> row) { rows_.push_back(std::move(row)); }
  bool empty() const { return rows_.empty(); }
  // Lines without trailing blanks.
  std::string render(const Terminal& terminal) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<Cell>> rows_;
};

}  // namespace davit::cli
