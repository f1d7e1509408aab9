// Small whole files and directories of davit's own (never of a user's volume).
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/bytes.h"

namespace davit::base {

// Replaces `path` so that after any crash it holds either the old or the new bytes: a temporary file beside
// it, fsync, rename, fsync of the directory. Durable when it returns. Passes fault points "write_atomic:…".
void write_file_atomic(const std::string& path, ByteView bytes, mode_t mode = 0600);
// Nothing where there is no such file. Throws UsageError when it is larger than `max_bytes`.
std::optional<Bytes> find_file(const std::string& path, size_t max_bytes = 64 << 20);
// Throws NotFound.
Bytes get_file(const std::string& path, size_t max_bytes = 64 << 20);
// Durable removal; false when there was none.
bool remove_file(const std::string& path);

// Makes the directory and its parents; an existing one is left as it is.
void make_directories(const std::string& path, mode_t mode = 0700);
void sync_directory(const std::string& path);
// rename(2), then syncs both directories. Throws Conflict when `to` exists (RENAME_NOREPLACE).
void rename_durably(const std::string& from, const std::string& to);
// Names in a directory (not . and ..), unsorted; nothing there: empty.
std::vector<std::string> list_directory(const std::string& path);
// Removes a tree of any depth (over PATH_MAX too) beneath `directory`/`name`, following no link, with
// a bounded number of descriptors. No such entry is no error. `stop` true ends it early.
void remove_tree(int directory, const std::string& name, const std::function<bool()>& stop = {});
void remove_tree(const std::string& path);

}  // namespace davit::base
