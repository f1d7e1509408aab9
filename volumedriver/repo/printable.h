// Which code points restic writes into names as they are; all others are escaped. Names are hashed,
// so the table is part of the format: that of Go 1.21 to 1.25 (Unicode 15.0).
#pragma once

namespace davit::repo {

bool is_printable(char32_t code_point);

}  // namespace davit::repo
