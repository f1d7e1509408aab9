// Tar streams made by hand, right ones and wrong ones, and the images that engines send in them.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"

namespace davit::test {

class TarMaker {
 public:
  // A ustar header with whatever is said; `type` '\0' and names up to 100 bytes included.
  TarMaker& header(const std::string& name, char type, uint64_t size_bytes,
                   const std::string& link_target = "");
  TarMaker& content(const std::string& bytes);  // padded to whole blocks
  TarMaker& file(const std::string& name, const std::string& bytes);
  TarMaker& directory(const std::string& name) { return header(name, '5', 0); }
  TarMaker& symlink(const std::string& name, const std::string& target);
  TarMaker& hard_link(const std::string& name, const std::string& target);
  // In front of a member.
  TarMaker& pax(const std::map<std::string, std::string>& records, char type = 'x');
  TarMaker& pax_raw(const std::string& records) {
    return header("pax", 'x', records.size()).content(records);
  }
  TarMaker& gnu_long(char type, const std::string& name);  // 'L' or 'K'
  TarMaker& raw(const std::string& bytes);
  TarMaker& end() { return raw(std::string(1024, '\0')); }

  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

// `size` into a header's size field, in base 256; and its checksum made right again.
void set_size_base256(std::string& block, uint64_t size_bytes);
void set_checksum(std::string& block);

// "sha256:…" of the bytes, and the same as a blob's member name.
std::string digest_of(const std::string& bytes);
std::string blob_of(const std::string& bytes);

// As Docker up to 24 and Podman write it: <id>/layer.tar, a layer that occurs again as a symbolic
// link, <id>.json, manifest.json, repositories.
std::string docker_archive(const std::vector<std::string>& layers, const std::string& tag);
// As Docker from 25 on writes it: blobs, index.json, oci-layout and, where `with_manifest`,
// manifest.json.
std::string oci_layout(const std::vector<std::string>& layers, const std::string& tag,
                       bool with_manifest = true);

// Gives `bytes` in pieces of `piece` bytes, then nothing.
std::function<base::Bytes()> in_pieces(const std::string& bytes, size_t piece);

}  // namespace davit::test
