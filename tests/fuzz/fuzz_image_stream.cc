// A whole image stream: the first byte says in what pieces it comes, the rest is the tar. To get
// past the checksums, headers' sums are made right before; the second byte says whether.
#include <algorithm>
#include <map>
#include <string>

#include "archive/image_check.h"
#include "archive/image_members.h"
#include "archive/tar_reader.h"
#include "fuzz/fuzz.h"

namespace {

using namespace davit;

void mend_checksums(base::Bytes& bytes) {
  for (size_t at = 0; at + 512 <= bytes.size(); at += 512) {
    uint8_t* const block = bytes.data() + at;
    if (std::equal(block + 257, block + 262, "ustar") == false) continue;
    std::fill(block + 148, block + 156, uint8_t{' '});
    unsigned sum = 0;
    for (size_t i = 0; i < 512; ++i) sum += block[i];
    for (size_t i = 6; i-- > 0; sum >>= 3) block[148 + i] = static_cast<uint8_t>('0' + (sum & 7));
    block[154] = 0;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  base::Bytes stream(data + 2, data + size);
  if (data[1] & 1) mend_checksums(stream);
  const size_t piece = 1 + data[0] * size_t{16};
  return fuzz::attempt(data, size, [&](base::ByteView) {
    size_t at = 0;
    archive::TarReader reader([&] {
      const base::ByteView part =
          base::ByteView(stream).subspan(at, std::min(piece, stream.size() - at));
      at += part.size();
      return base::to_bytes(part);
    });
    archive::ImageMembers members(1000);
    archive::ImageCheck check;
    while (const auto member = reader.next_member()) {
      archive::Frame* const frame = members.add(*member);
      base::Bytes content;
      for (base::ByteView part; !(part = reader.read()).empty();) base::append(content, part);
      DAVIT_CHECK(content.size() == member->size_bytes);
      if (!frame) continue;
      std::string name;
      for (const std::string& component : archive::split_member_name(*member))
        name += (name.empty() ? "" : "/") + component;
      DAVIT_CHECK(archive::find_member(members.root(), name) == frame);
      if (archive::ImageCheck::wants(name, content.size(),
                                     content.empty() ? uint8_t{0} : content[0]))
        check.add(name, content);
    }
    DAVIT_CHECK(at == stream.size());  // it was read to its end
    members.tie_links();
    check.verify(members.root());
  });
}
