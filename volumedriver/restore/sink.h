// Makes entries beneath one directory descriptor. Every name is one component, every call is
// relative to an open directory and follows no link, and nothing that exists is opened or replaced:
// whatever a snapshot says, nothing outside is touched.
//
// The walking thread alone moves the sink and makes entries; finish_file and release are for any
// thread.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/descent.h"
#include "repo/tree.h"
#include "restore/restorer.h"

namespace davit::restore {

// A directory that is being filled. Its own metadata is set by whoever gives up the last share: the
// walk has one until it leaves, and so has each file that has not been made yet.
struct PendingDirectory {
  repo::Node node;
  std::string path;
  std::atomic<size_t> shares{1};
  std::list<PendingDirectory>::iterator self;
};

class Sink {
 public:
  // `directory` is borrowed; `root` is its node.
  Sink(int directory, const repo::Node& root);

  const base::Descent::Handle& here() const { return descent_.here(); }
  PendingDirectory* directory() const { return levels_.back(); }

  // A new directory in the current one, which becomes the current one.
  void enter(const repo::Node& node);
  // Back up. Not for the root.
  void leave();

  // Symlinks, fifos, devices, with their metadata. Sockets are skipped.
  void make_special(const repo::Node& node);

  // For what may have several names. alone: it has not, or none of them was met; nothing was made.
  // first: it was made, and is open as `made` if it is a regular file. further: it is another name
  // of what was made.
  enum class Link { alone, first, further };
  Link link(const repo::Node& node, base::Fd& made);

  // A new regular file, open for writing. Of `go_mode`, its node's, it has the permissions already
  // where the process's mask allows it, and those of its owner. `path` names it in errors.
  static base::Fd create(int directory, const std::string& name, uint32_t go_mode,
                         const std::string& path);
  // After the last byte. `status`: what fstat says of it since then.
  void finish_file(int fd, const struct stat& status, const repo::Node& node,
                   const std::string& path);
  void release(PendingDirectory* directory, int fd);

  // After everything else: removes what only served to make links, then the root's own metadata.
  void finish();

  void report(const std::string& path, const std::string& reason);
  std::string path_of(const std::string& name) const;
  // Once all threads have ended.
  Result& result() { return result_; }

 private:
  PendingDirectory* add(const repo::Node& node, std::string path);
  void make_object(int directory, const std::string& name, const repo::Node& node, base::Fd& made);
  int hub();

  const base::Descent::Handle root_;
  base::Descent descent_;
  std::vector<PendingDirectory*> levels_;

  // Names of a file are made as links of one in the hub, a directory that only exists meanwhile;
  // the last takes that one itself.
  struct Group {
    uint64_t number = 0;
    repo::Node first;  // to compare
    uint64_t names_left = 0;
    std::string
        fifo_path;  // a fifo's first name: links are not counted, so it has no name in the hub
  };
  void report_missing(const repo::Node& node, const Group& group);

  std::map<std::pair<uint64_t, uint64_t>, Group> groups_;  // by device and inode
  std::string hub_name_;
  base::Fd hub_;
  uint64_t next_number_ = 0;

  std::mutex mutex_;  // of what follows
  std::list<PendingDirectory> pending_;
  Result result_;
};

}  // namespace davit::restore
