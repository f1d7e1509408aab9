#include "archive/look_ahead.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <span>
#include <string>

#include "archive/same_entry.h"
#include "base/crew.h"
#include "base/errors.h"

namespace davit::archive {

namespace {

using repo::ScanOutline;
using repo::ScanView;
using Kind = ScanView::Kind;

// One share: the records of one block.
class Share {
 public:
  Share(const repo::Repository& repository, const repo::KeptScan& scan,
        const base::Descent::Handle& root, const std::stop_token& stop,
        std::span<std::atomic<bool>> changed)
      : repository_(repository),
        scan_(scan),
        directories_(scan.outline.directories),
        stop_(stop),
        changed_(changed),
        descent_(root) {}

  // `above`: the directories that began before the block and end in it or behind it, from the root
  // on.
  void look(const ScanOutline::Block& block, const std::vector<size_t>& above) {
    const base::Bytes records = scan_.load(block);
    next_ = static_cast<size_t>(
        std::partition_point(directories_.begin(), directories_.end(),
                             [&](const auto& one) { return one.begin < block.begin; }) -
        directories_.begin());
    for (const size_t index : above) enter(index, name_of(index), nullptr);
    for (base::ByteView rest = records; !rest.empty();) {
      const ScanView view = ScanView::parse(rest);
      if (view.kind == Kind::end || (levels_.empty() && view.kind != Kind::enter))
        throw base::Corrupt("the scan cache is damaged");
      take(view);
      rest = rest.subspan(view.bytes.size());
    }
    flush();
  }

  uint64_t looked_at() const { return looked_at_; }

 private:
  struct Level {
    size_t index;
    bool is_open;  // descent_ stands in it, or went on down from it
    uint64_t device;
  };

  void take(const ScanView& view) {
    Level* const level = levels_.empty() ? nullptr : &levels_.back();
    switch (view.kind) {
      case Kind::enter:
        flush();
        if (next_ >= directories_.size()) throw base::Corrupt("the scan cache is damaged");
        return enter(next_++, std::string(view.name), &view);
      case Kind::leave:
        flush();
        if (!repository_.index().contains(repo::BlobType::tree, view.tree())) change(level->index);
        return leave();
      case Kind::file:
      case Kind::other:
        if (level->is_open && !changed_[level->index]) entries_.push_back(view);
        return;
      case Kind::open:
      case Kind::end:
        return change(level->index);
    }
  }

  void change(size_t index) { changed_[index].store(true, std::memory_order_relaxed); }

  // The records of the directory's entries that are waiting.
  void flush() {
    if (stop_.stop_requested()) throw base::Cancelled();
    std::sort(entries_.begin(), entries_.end(), [](const ScanView& a, const ScanView& b) {
      return a.stamp().inode < b.stamp().inode;
    });
    for (const ScanView& view : entries_) {
      const Level& level = levels_.back();
      ++looked_at_;
      const auto status = try_status(descent_.here()->get(), std::string(view.name));
      if (status && is_same_entry(view, *status, level.device, repository_.index())) continue;
      change(level.index);
      break;
    }
    entries_.clear();
  }

  // `view`: its record, where it is in this share; it is looked at then.
  void enter(size_t index, const std::string& name, const ScanView* view) {
    Level level{index, levels_.empty() || levels_.back().is_open, 0};
    const bool is_root = levels_.empty();
    if (level.is_open) {
      base::Fd directory(is_root ? -1
                                 : base::open_directory_at(descent_.here()->get(), name.c_str()));
      const int here = is_root ? descent_.here()->get() : directory.get();
      level.is_open = here >= 0;
      if (level.is_open) {
        looked_at_ += view != nullptr;
        const Status status = get_status(here);
        level.device = device_of(status);
        if (!is_root && is_mount_root(status, levels_.back().device) && !is_subvolume(status))
          level.is_open = false;
        else if (view && !is_same_inode(view->stamp(), status))
          change(index);
      }
      if (level.is_open && !is_root) descent_.enter(name, std::move(directory));
    }
    if (!level.is_open) change(index);
    levels_.push_back(level);
  }

  void leave() {
    const Level level = levels_.back();
    levels_.pop_back();
    // Moved away meanwhile: what is left above is not where it was.
    if (level.is_open && !levels_.empty() && !descent_.leave()) lose();
  }

  void lose() {
    for (Level& level : levels_) {
      level.is_open = false;
      change(level.index);
    }
  }

  // A wrong one leads to entries that are not the same: each block's checksum is looked at by
  // whoever has it.
  std::string name_of(size_t index) const {
    const ScanView view = scan_.peek(directories_[index].begin);
    if (view.kind != Kind::enter) throw base::Corrupt("the scan cache is damaged");
    return std::string(view.name);
  }

  const repo::Repository& repository_;
  const repo::KeptScan& scan_;
  const std::span<const ScanOutline::Directory> directories_;
  const std::stop_token& stop_;
  const std::span<std::atomic<bool>> changed_;
  base::Descent descent_;
  std::vector<Level> levels_;
  std::vector<ScanView> entries_;
  size_t next_ = 0;
  uint64_t looked_at_ = 0;
};

// For each block, the directories that are open where it begins.
std::vector<std::vector<size_t>> find_above(const ScanOutline& outline) {
  std::vector<std::vector<size_t>> above;
  std::vector<size_t> open;
  size_t index = 0;
  for (const auto& block : outline.blocks) {
    for (; index < outline.directories.size() && outline.directories[index].begin < block.begin;
         ++index) {
      while (!open.empty() && outline.directories[open.back()].next <= index) open.pop_back();
      open.push_back(index);
    }
    while (!open.empty() && outline.directories[open.back()].end <= block.begin) open.pop_back();
    above.push_back(open);
  }
  return above;
}

}  // namespace

LookedAhead look_ahead(const repo::Repository& repository, const repo::KeptScan& scan,
                       const base::Descent::Handle& root, std::stop_token stop) {
  const auto& outline = scan.outline;
  const auto above = find_above(outline);
  std::vector<std::atomic<bool>> changed(outline.directories.size());
  std::atomic<uint64_t> looked_at{0};
  base::for_each_parallel("look", base::processor_count(), outline.blocks.size(), [&](size_t i) {
    Share share(repository, scan, root, stop, changed);
    share.look(outline.blocks[i], above[i]);
    looked_at += share.looked_at();
  });
  return {{changed.begin(), changed.end()}, looked_at};
}

}  // namespace davit::archive
