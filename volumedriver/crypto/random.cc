#include <sys/mman.h>

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "crypto/seal.h"

namespace davit::crypto {
namespace {

// A page of the kernel's random bytes, used up from the front and cleared as it goes. The kernel
// wipes the page in a forked child (MADV_WIPEONFORK), which then reads `left` as 0 and fetches its
// own: two processes never draw the same bytes.
class Pool {
 public:
  Pool() {
    void* page =
        ::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;
    if (::madvise(page, sizeof(Page), MADV_WIPEONFORK) != 0) {
      ::munmap(page, sizeof(Page));
      return;
    }
    page_ = static_cast<Page*>(page);
  }
  ~Pool() {
    if (page_ == nullptr) return;
    std::memset(page_->bytes, 0, sizeof page_->bytes);
    ::munmap(page_, sizeof(Page));
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  void draw(std::span<uint8_t> out) {
    // Without the kernel's help with forks there is no pool; and large draws gain nothing from one.
    if (page_ == nullptr || out.size() > sizeof page_->bytes / 4) return base::random_fill(out);
    if (page_->left < out.size()) {
      base::random_fill(page_->bytes);
      page_->left = sizeof page_->bytes;
    }
    uint8_t* from = page_->bytes + sizeof page_->bytes - page_->left;
    std::memcpy(out.data(), from, out.size());
    std::memset(from, 0, out.size());
    page_->left -= out.size();
  }

 private:
  struct Page {
    size_t left;
    uint8_t bytes[4096 - sizeof(size_t)];
  };
  Page* page_ = nullptr;
};

}  // namespace

void random_bytes(std::span<uint8_t> out) {
  thread_local Pool pool;
  pool.draw(out);
}

}  // namespace davit::crypto
