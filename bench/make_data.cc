// Makes the data of the benchmarks, the same for the same seed:
//   davit-bench-data random FILE BYTES SEED      a file that cannot be compressed
//   davit-bench-data pages FILE BYTES SEED       a file of 8 KiB pages like those of databases
//   davit-bench-data touch FILE SHARE SEED       rewrites rows on that share (0..1) of its pages
//   davit-bench-data files DIRECTORY COUNT SEED  small files in nested directories
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <string>

#include "base/errors.h"
#include "base/fd.h"
#include "base/files.h"

namespace {

using davit::base::Fd;

constexpr size_t kPage = 8192;

// splitmix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t value = state_ += 0x9e3779b97f4a7c15;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
    value = (value ^ value >> 27) * 0x94d049bb133111eb;
    return value ^ value >> 31;
  }
  uint64_t below(uint64_t end) { return next() % end; }
  double share() { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

void make_random(const std::string& path, uint64_t size_bytes, uint64_t seed) {
  const Fd file = davit::base::open_file(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
  Random random(seed);
  davit::base::Bytes block(1 << 20);
  for (uint64_t left = size_bytes; left > 0;) {
    for (size_t at = 0; at < block.size(); at += 8)
      davit::base::store_le64(block.data() + at, random.next());
    const size_t count = std::min<uint64_t>(left, block.size());
    davit::base::write_all(file.get(), davit::base::ByteView(block).first(count));
    left -= count;
  }
}

// Words as frequent as those of a language: a few often, most seldom.
std::string word(Random& random) {
  const double rank = std::exp(random.share() * std::log(20'000.0));
  Random letters(static_cast<uint64_t>(rank));
  std::string text;
  for (uint64_t i = 2 + letters.below(8); i > 0; --i)
    text += static_cast<char>('a' + letters.below(26));
  return text;
}

// A page: header, array of row pointers from the front, rows from the back, a hole between.
void fill_page(uint8_t* page, uint64_t number, Random& random) {
  std::memset(page, 0, kPage);
  davit::base::store_le64(page, 0x1000000 + number * 24);
  size_t front = 24, back = kPage;
  const size_t hole = 200 + random.below(1200);
  for (uint64_t row = 0;; ++row) {
    std::string text(24, '\0');  // a row's header
    davit::base::store_le64(reinterpret_cast<uint8_t*>(text.data()), 700 + number / 50);
    davit::base::store_le64(reinterpret_cast<uint8_t*>(text.data()) + 12, number << 16 | row);
    uint8_t numbers[16];
    davit::base::store_le64(numbers, number * 60 + row);
    davit::base::store_le64(numbers + 8, random.next() & 0xffffffffff);
    text.append(reinterpret_cast<const char*>(numbers), sizeof numbers);
    for (uint64_t words = 2 + random.below(12); words > 0; --words) text += word(random) + ' ';
    for (int i = 0; i < 16; ++i) text += static_cast<char>(random.next());  // a digest or a UUID
    if (front + 4 + text.size() + hole > back) break;
    back = (back - text.size()) & ~size_t{7};
    std::memcpy(page + back, text.data(), text.size());
    davit::base::store_le32(page + front, static_cast<uint32_t>(back | text.size() << 17));
    front += 4;
  }
  davit::base::store_le32(page + 12, static_cast<uint32_t>(front | back << 16));
}

void make_pages(const std::string& path, uint64_t size_bytes, uint64_t seed) {
  const Fd file = davit::base::open_file(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);
  davit::base::Bytes block(256 * kPage);
  for (uint64_t page = 0; page < size_bytes / kPage;) {
    size_t filled = 0;
    for (; filled < block.size() && page < size_bytes / kPage; filled += kPage, ++page) {
      Random random(seed * 1'000'003 + page);
      fill_page(block.data() + filled, page, random);
    }
    davit::base::write_all(file.get(), davit::base::ByteView(block).first(filled));
  }
}

void touch_pages(const std::string& path, double share, uint64_t seed) {
  const Fd file = davit::base::open_file(path, O_RDWR);
  struct stat status;
  if (::fstat(file.get(), &status) != 0) davit::base::throw_errno("fstat", errno);
  Random random(seed);
  davit::base::Bytes page(kPage);
  for (uint64_t number = 0; number < static_cast<uint64_t>(status.st_size) / kPage; ++number) {
    if (random.share() >= share) continue;
    fill_page(page.data(), number, random);
    davit::base::pwrite_all(file.get(), page, number * kPage);
  }
}

// Sizes as in a source tree or a mail store: most below 4 KiB, a few of hundreds.
void make_files(const std::string& root, uint64_t count, uint64_t seed) {
  constexpr uint64_t kPerDirectory = 50, kPerParent = 40;
  std::string directory, content;
  for (uint64_t i = 0; i < count; ++i) {
    if (i % kPerDirectory == 0) {
      const uint64_t number = i / kPerDirectory;
      directory = root + "/part" + std::to_string(number / kPerParent) + "/dir" +
                  std::to_string(number % kPerParent);
      davit::base::make_directories(directory, 0755);
    }
    Random random(seed * 1'000'003 + i);
    const double normal =
        std::sqrt(-2 * std::log(1 - random.share())) * std::cos(6.283185307 * random.share());
    const auto size = static_cast<size_t>(std::min(std::exp(7.4 + 1.3 * normal), 400e3));
    const bool is_binary = random.below(5) == 0;
    content.clear();
    while (content.size() < size)
      content += is_binary ? std::string(1, static_cast<char>(random.next()))
                           : word(random) + (random.below(9) ? " " : "\n");
    content.resize(size);
    const Fd file = davit::base::open_file(directory + "/file" + std::to_string(i),
                                           O_CREAT | O_TRUNC | O_WRONLY, 0644);
    davit::base::write_all(file.get(), davit::base::as_bytes(content));
  }
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const std::string what = count > 1 ? arguments[1] : "";
    if (count != 5)
      throw davit::base::UsageError(
          "usage: davit-bench-data random|pages|touch|files PATH AMOUNT SEED");
    const uint64_t seed = std::stoull(arguments[4]);
    if (what == "random")
      make_random(arguments[2], std::stoull(arguments[3]), seed);
    else if (what == "pages")
      make_pages(arguments[2], std::stoull(arguments[3]), seed);
    else if (what == "touch")
      touch_pages(arguments[2], std::stod(arguments[3]), seed);
    else if (what == "files")
      make_files(arguments[2], std::stoull(arguments[3]), seed);
    else
      throw davit::base::UsageError("no such kind of data: " + what);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "davit-bench-data: %s\n", error.what());
    return 1;
  }
}
