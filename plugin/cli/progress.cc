#include "cli/progress.h"

#include <algorithm>
#include <cmath>

#include "base/bytes.h"

namespace davit::cli {

namespace {

constexpr size_t kMaxLines = 8;
constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr double kMeasureSeconds = 0.5;
constexpr double kSmoothing = 0.3;  // weight of the newest measurement
constexpr size_t kMinBar = 10, kMaxBar = 40;

std::string bar(double fraction, size_t columns) {
  const auto full = static_cast<size_t>(std::lround(fraction * static_cast<double>(columns)));
  return "[" + std::string(full, '#') + std::string(columns - full, '-') + "]";
}

}  // namespace

void ProgressLines::update(const Json& status, Instant now) {
  const auto [found, is_new] = works_.try_emplace(printable(text(status, "volume")));
  Work& work = found->second;
  const std::string phase = printable(text(status, "phase"));
  const uint64_t bytes_done = number(status, "bytes_done");
  if (is_new || phase != work.phase || bytes_done < work.measured_bytes) {
    work = Work();
    work.phase = phase;
    work.measured_at = now;
    work.measured_bytes = bytes_done;
  }
  const double seconds = std::chrono::duration<double>(now - work.measured_at).count();
  if (seconds >= kMeasureSeconds) {
    const double rate = static_cast<double>(bytes_done - work.measured_bytes) / seconds;
    work.bytes_per_second = work.bytes_per_second == 0
                                ? rate
                                : (1 - kSmoothing) * work.bytes_per_second + kSmoothing * rate;
    work.measured_at = now;
    work.measured_bytes = bytes_done;
  }
  work.files_done = number(status, "files_done");
  work.bytes_done = bytes_done;
  work.total_bytes = number(status, "total_bytes");
  work.errors = number(status, "error_count");
  work.fraction = -1;
  if (status.contains("percent_done")) {
    work.fraction = std::clamp(real(status, "percent_done"), 0.0, 1.0);
  } else if (work.total_bytes > 0) {
    work.fraction =
        std::min(1.0, static_cast<double>(bytes_done) / static_cast<double>(work.total_bytes));
  }
  work.seconds_left = -1;
  if (status.contains("seconds_remaining")) {
    work.seconds_left =
        static_cast<int64_t>(std::clamp(real(status, "seconds_remaining"), 0.0, 1e9));
  } else if (work.total_bytes > bytes_done && work.bytes_per_second > 1) {
    const double left = static_cast<double>(work.total_bytes - bytes_done) / work.bytes_per_second;
    work.seconds_left = static_cast<int64_t>(std::min(left, 1e9));
  }
}

std::string ProgressLines::render(const std::string& volume, size_t name_columns, const Work& work,
                                  size_t columns) {
  std::string head = volume;
  if (name_columns > 0) head.append(name_columns - display_width(volume) + 2, ' ');
  head += work.phase;
  std::string tail;
  if (work.fraction >= 0) {
    const std::string percent = std::to_string(static_cast<int>(work.fraction * 100)) + "%";
    tail += "  " + std::string(4 - percent.size(), ' ') + percent;
  }
  if (work.total_bytes > 0) {
    tail += "  " + base::human_size(work.bytes_done) + " of " + base::human_size(work.total_bytes);
  } else if (work.bytes_done > 0) {
    tail += "  " + base::human_size(work.bytes_done);
  }
  if (work.fraction < 0 && work.files_done > 0)
    tail += "  " + counted(work.files_done, "file", "files");
  if (work.bytes_per_second >= 1)
    tail += "  " + base::human_size(static_cast<uint64_t>(work.bytes_per_second)) + "/s";
  if (work.seconds_left >= 0) tail += "  " + clock_text(work.seconds_left) + " left";
  if (work.errors > 0) tail += "  " + counted(work.errors, "error", "errors");

  const size_t used = display_width(head) + display_width(tail) + 4;
  if (work.fraction >= 0 && columns >= used + kMinBar)
    head += "  " + bar(work.fraction, std::min(kMaxBar, columns - used));
  return cut_to_width(head + tail, columns);
}

std::vector<std::string> ProgressLines::render(size_t columns, size_t max_lines) const {
  size_t name_columns = 0;
  for (const auto& [volume, work] : works_)
    name_columns = std::max(name_columns, display_width(volume));
  std::vector<std::string> lines;
  const bool too_many = works_.size() > max_lines;
  const size_t shown = too_many ? max_lines - 1 : works_.size();
  for (const auto& [volume, work] : works_) {
    if (lines.size() == shown) break;
    lines.push_back(render(volume, name_columns, work, columns));
  }
  if (too_many)
    lines.push_back(cut_to_width("and " + count_text(works_.size() - shown) + " more", columns));
  return lines;
}

void Progress::update(const Json& status) {
  if (style_ == Style::none) return;
  if (style_ == Style::phases) {
    const std::string volume = printable(text(status, "volume")),
                      phase = printable(text(status, "phase"));
    if (phases_[volume] != phase)
      terminal_.write("davit: " + (volume.empty() ? "" : volume + ": ") + phase + "\n");
    phases_[volume] = phase;
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  lines_.update(status, now);
  if (drawn_ > 0 && now - drawn_at_ < kRedraw) return;
  // A line that fills the last column would wrap on some terminals.
  const size_t columns = terminal_.columns();
  const auto lines = lines_.render(columns > 1 ? columns - 1 : 1, kMaxLines);
  std::string picture = erasure();
  for (const std::string& line : lines) picture += line + "\n";
  terminal_.write(picture);  // at once: it must not flicker
  drawn_ = lines.size();
  drawn_at_ = now;
}

std::string Progress::erasure() const {
  return drawn_ == 0 ? "" : "\x1b[" + std::to_string(drawn_) + "A\x1b[J";
}

void Progress::clear() {
  terminal_.write(erasure());
  drawn_ = 0;
}

}  // namespace davit::cli
