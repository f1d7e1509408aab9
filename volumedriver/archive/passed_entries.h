// Entries of a directory that are what the scan cache says, kept until it is known whether all of
// them are: then nobody wants them, as the directory's tree is in the repository. One thread.
#pragma once

#include <cstdint>
#include <vector>

#include "archive/node.h"
#include "base/bytes.h"
#include "repo/scan_cache.h"

namespace davit::archive {

// The node of a file or other entry that the cache knows, made without looking at more than its
// status.
repo::Node make_known_node(const repo::ScanView& known, const Status& status, uint64_t device_id);

class PassedEntries {
 public:
  void add(const repo::ScanView& known, const Status& status);
  void add_directory(repo::Node node);
  // Gives them away, in the order in which they came.
  template <typename Take>
  void drain(uint64_t device_id, Take&& take) {
    size_t status = 0, directory = 0;
    for (base::ByteView rest = records_; !rest.empty();) {
      const auto known = repo::ScanView::parse(rest);
      rest = rest.subspan(known.bytes.size());
      if (known.kind == repo::ScanView::Kind::enter)
        take(directories_[directory++]);
      else
        take(make_known_node(known, statuses_[status++].expand(known), device_id));
    }
    *this = {};
  }
  // What they take, more or less.
  size_t size_bytes() const {
    return records_.size() + statuses_.size() * sizeof(Rest) +
           directories_.size() * sizeof(repo::Node);
  }

 private:
  // What a record lacks of a status.
  struct Rest {
    uint32_t mode, uid, gid, links, major, minor;
    Status expand(const repo::ScanView& known) const;
  };

  base::Bytes records_;  // a directory's has its name only
  std::vector<Rest> statuses_;
  std::vector<repo::Node> directories_;
};

}  // namespace davit::archive
