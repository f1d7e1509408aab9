#include "restore/image_stream.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "base/errors.h"
#include "crypto/seal.h"
#include "restore/blob_ahead.h"
#include "restore/find_node.h"
#include "restore/tar_header.h"

namespace davit::restore {

namespace {

// More than anything that archive/image_stream.h takes.
constexpr size_t kMaxDepth = 100;
constexpr size_t kMaxMembers = 1'000'000;
constexpr size_t kMaxPieces = 100'000'000;
constexpr uint32_t kMaxPiece = 64 << 20;
constexpr uint64_t kAheadBytes = 64 << 20;

uint64_t plain_size(const repo::BlobLocation& location) {
  if (location.plain_length) return location.plain_length;
  return location.length < crypto::kSealOverhead ? 0 : location.length - crypto::kSealOverhead;
}

struct Member {
  TarType type = TarType::file;
  std::string name, link_target;
  uint64_t size_bytes = 0;
  size_t pieces = 0;  // the next ones of all
};

// What is in the image, and of which pieces.
class Listing {
 public:
  Listing(const repo::Repository& repository, const std::stop_token& stop)
      : repository_(repository), stop_(stop) {}

  void walk(const repo::Node& directory, const std::string& prefix, size_t depth) {
    if (stop_.stop_requested()) throw base::Cancelled();
    if (depth > kMaxDepth) refuse(prefix, "lies too deep");
    if (!directory.subtree) refuse(prefix, "has no list of its entries");
    for (const repo::Node& node : load_tree(repository_, *directory.subtree)) {
      if (members.size() >= kMaxMembers) refuse(prefix, "is one of too many");
      add(node, prefix + node.name);
      if (node.type == repo::NodeType::dir) walk(node, prefix + node.name + "/", depth + 1);
    }
  }

  std::vector<Member> members;
  std::vector<WantedPiece> pieces;
  uint64_t files = 0, content_bytes = 0;
  uint64_t size_bytes = kTarEnd;  // of the stream

 private:
  [[noreturn]] static void refuse(const std::string& name, const std::string& why) {
    throw base::Corrupt("the image in the snapshot cannot be loaded: " + name + " " + why);
  }

  void add(const repo::Node& node, std::string name) {
    Member member;
    switch (node.type) {
      case repo::NodeType::dir:
        member.type = TarType::directory;
        break;
      case repo::NodeType::symlink:
        member.type = TarType::symlink;
        member.link_target = node.linktarget;
        if (node.linktarget.empty()) refuse(name, "is a link to nothing");
        break;
      case repo::NodeType::file:
        if (node.links > 1) {
          const auto [first, is_new] = links_.try_emplace({node.device_id, node.inode}, name);
          if (!is_new) {
            member.type = TarType::hard_link;
            member.link_target = first->second;
            break;
          }
        }
        add_content(node, name);
        member.size_bytes = node.size;
        member.pieces = node.content.size();
        ++files;
        content_bytes += node.size;
        break;
      default:
        refuse(name, "is no file, directory or link");
    }
    member.name = std::move(name);
    size_bytes +=
        tar_header(member.type, member.name, member.link_target, member.size_bytes).size() +
        member.size_bytes + tar_padding(member.size_bytes);
    members.push_back(std::move(member));
  }

  void add_content(const repo::Node& node, const std::string& name) {
    if (node.content_missing) refuse(name, "has no list of its content");
    if (pieces.size() + node.content.size() > kMaxPieces) refuse(name, "has too many pieces");
    uint64_t size = 0;
    for (const base::Id& id : node.content) {
      const auto location = repository_.index().find(repo::BlobType::data, id);
      if (!location) refuse(name, "lacks its blob " + id.hex() + " in the repository");
      const uint64_t piece = plain_size(*location);
      if (piece == 0 || piece > kMaxPiece) refuse(name, "has a piece of an impossible size");
      pieces.push_back({id, static_cast<uint32_t>(piece)});
      size += piece;
    }
    if (size != node.size) refuse(name, "has another size than its content");
  }

  const repo::Repository& repository_;
  const std::stop_token& stop_;
  std::map<std::pair<uint64_t, uint64_t>, std::string> links_;  // (device, inode) -> first name
};

}  // namespace

struct ImageStream::Impl {
  Impl(const repo::Repository& repository, const ImageStreamOptions& options)
      : repository(repository), options(options), listing(repository, this->options.stop) {}

  const repo::Repository& repository;
  const ImageStreamOptions options;
  Listing listing;

  // Where read() is.
  std::optional<BlobAhead> ahead;
  size_t next_member = 0;
  size_t pieces_left = 0;  // of the current member
  size_t padding = 0;      // behind it
  bool is_piece = false;   // whether `bytes` came from `ahead`
  bool end_given = false;
  base::Bytes bytes;  // under way
  size_t at = 0;      // in it

  bool begin_next();
};

// Makes `bytes` what comes next; false at the end.
bool ImageStream::Impl::begin_next() {
  if (is_piece) ahead->recycle(std::move(bytes));
  is_piece = false;
  bytes.clear();
  at = 0;
  if (pieces_left > 0) {
    bytes = ahead->take();
    is_piece = true;
    --pieces_left;
    return true;
  }
  if (padding > 0) {
    bytes.assign(padding, uint8_t{0});
    padding = 0;
    return true;
  }
  if (next_member < listing.members.size()) {
    const Member& member = listing.members[next_member++];
    bytes = tar_header(member.type, member.name, member.link_target, member.size_bytes);
    pieces_left = member.pieces;
    padding = tar_padding(member.size_bytes);
    if (options.progress && member.type == TarType::file)
      options.progress->files_done.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  if (end_given) return false;
  end_given = true;
  bytes.assign(kTarEnd, uint8_t{0});
  return true;
}

ImageStream::ImageStream(const repo::Repository& repository, const base::Id& root,
                         const std::string& path, const ImageStreamOptions& options)
    : impl_(std::make_unique<Impl>(repository, options)) {
  const auto node = find_node(repository, root, path);
  if (!node || node->type != repo::NodeType::dir)
    throw base::NotFound("the snapshot holds no image: there is no " + path);
  impl_->listing.walk(*node, "", 0);
  if (options.progress) {
    options.progress->files_total = impl_->listing.files;
    options.progress->bytes_total = impl_->listing.content_bytes;
  }
}

ImageStream::~ImageStream() = default;

uint64_t ImageStream::size_bytes() const {
  return impl_->listing.size_bytes;
}

size_t ImageStream::read(std::span<uint8_t> out) {
  Impl& impl = *impl_;
  if (impl.options.stop.stop_requested()) throw base::Cancelled();
  if (!impl.ahead)
    impl.ahead.emplace(impl.repository, impl.listing.pieces, kAheadBytes, impl.options.stop);
  size_t filled = 0;
  while (filled < out.size()) {
    if (impl.at == impl.bytes.size() && !impl.begin_next()) break;
    const size_t count = std::min(out.size() - filled, impl.bytes.size() - impl.at);
    std::memcpy(out.data() + filled, impl.bytes.data() + impl.at, count);
    filled += count;
    impl.at += count;
    if (impl.is_piece && impl.options.progress)
      impl.options.progress->bytes_done.fetch_add(count, std::memory_order_relaxed);
  }
  return filled;
}

void ImageStream::rewind() {
  Impl& impl = *impl_;
  impl.ahead.reset();
  impl.next_member = impl.pieces_left = impl.padding = impl.at = 0;
  impl.is_piece = impl.end_given = false;
  impl.bytes.clear();
  if (impl.options.progress) {
    impl.options.progress->files_done = 0;
    impl.options.progress->bytes_done = 0;
  }
}

}  // namespace davit::restore
