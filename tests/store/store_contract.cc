#include "store_contract.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/errors.h"
#include "support/skip.h"

namespace davit::store {

void StoreContract::SetUp() {
  place_ = GetParam()();
  if (!place_) DAVIT_SKIP("the server of this store does not run here: run it by ctest");
  store_ = place_->open();
  store_->prepare();
}

Name StoreContract::name(Kind kind, uint8_t first, uint8_t last) {
  Name name{kind, {}};
  name.id.bytes[0] = first;
  name.id.bytes[31] = last;
  return name;
}

base::Bytes StoreContract::bytes(size_t size, uint8_t salt) {
  base::Bytes result(size);
  for (size_t i = 0; i < size; ++i) result[i] = static_cast<uint8_t>(i * 131 + (i >> 8) + salt);
  return result;
}

std::vector<std::pair<std::string, uint64_t>> StoreContract::listed(Store& store, Kind kind) {
  std::vector<std::pair<std::string, uint64_t>> files;
  store.list(kind,
             [&](const FileInfo& file) { files.emplace_back(file.id.hex(), file.size_bytes); });
  std::sort(files.begin(), files.end());
  return files;
}

TEST_P(StoreContract, GivesBackWhatWasPutAlsoToAnother) {
  for (const Kind kind : kAll) {
    const Name file = kind == Kind::config ? Name{} : name(kind, 0x5a, 1);
    const auto content = bytes(1000 + static_cast<size_t>(kind));
    store_->put(file, content);
    EXPECT_EQ(store_->get(file, 1 << 20), content);
    EXPECT_EQ(place_->open()->get(file, 1 << 20), content) << to_string(file);
    EXPECT_EQ(store_->find_size(file), content.size());
  }
}

TEST_P(StoreContract, JoinsThePiecesInOrder) {
  const auto content = bytes(300'000);
  std::vector<base::ByteView> pieces;
  for (size_t at = 0, length = 0; at < content.size(); at += length) {
    length = std::min<size_t>((at * 7 + 1) % 4001, content.size() - at);
    pieces.push_back(base::ByteView(content).subspan(at, length));
    if (length == 0) ++length, pieces.push_back(base::ByteView(content).subspan(at, 1));
  }
  store_->put(name(Kind::data, 1), pieces);
  EXPECT_EQ(store_->get(name(Kind::data, 1), 1 << 20), content);
}

TEST_P(StoreContract, KeepsADraftFromItsCommitOnly) {
  const auto content = bytes(300'000);
  const auto draft = store_->begin_draft(Kind::data, 1000);
  for (base::ByteView rest = content; !rest.empty();) {
    const size_t length = std::min<size_t>(rest.size() * 7 % 40'001 + 1, rest.size());
    draft->append(rest.first(length));
    rest = rest.subspan(length);
  }
  {
    const auto given_up = store_->begin_draft(Kind::data, 1000);
    given_up->append(content);
  }
  EXPECT_TRUE(listed(*store_, Kind::data).empty());
  base::Bytes middle(100'000);
  draft->read(150'000, middle);
  EXPECT_TRUE(std::equal(middle.begin(), middle.end(), content.begin() + 150'000));
  draft->commit(name(Kind::data, 1));
  EXPECT_EQ(place_->open()->get(name(Kind::data, 1), 1 << 20), content);
  EXPECT_EQ(listed(*store_, Kind::data).size(), 1u);
}

TEST_P(StoreContract, KeepsEmptyAndLargeFiles) {
  store_->put(name(Kind::lock, 1), base::ByteView());
  EXPECT_EQ(store_->get(name(Kind::lock, 1), 0).size(), 0u);
  EXPECT_EQ(listed(*store_, Kind::lock).at(0).second, 0u);
  const auto large = bytes(20 << 20);
  store_->put(name(Kind::data, 2), large);
  EXPECT_EQ(store_->get(name(Kind::data, 2), large.size()), large);
}

TEST_P(StoreContract, ReadsRangesExactly) {
  const auto content = bytes(10'000);
  const Name file = name(Kind::data, 3);
  store_->put(file, content);
  for (const auto& [offset, length] : std::vector<std::pair<size_t, size_t>>{
           {0, 1}, {0, 10'000}, {9'999, 1}, {1234, 4567}, {10'000, 0}}) {
    base::Bytes out(length);
    store_->get_range(file, offset, out);
    EXPECT_TRUE(
        std::equal(out.begin(), out.end(), content.begin() + static_cast<ptrdiff_t>(offset)));
  }
  base::Bytes out(2);
  EXPECT_THROW(store_->get_range(file, 9'999, out), base::Corrupt);
  EXPECT_THROW(store_->get_range(file, 1'000'000, out), base::Corrupt);
  EXPECT_THROW(store_->get_range(file, UINT64_MAX - 1, out), base::Corrupt);
}

TEST_P(StoreContract, RefusesToReadMoreThanWasAskedFor) {
  store_->put(name(Kind::index, 4), bytes(101));
  EXPECT_THROW(store_->get(name(Kind::index, 4), 100), base::Corrupt);
  EXPECT_EQ(store_->get(name(Kind::index, 4), 101).size(), 101u);
}

TEST_P(StoreContract, SaysThatAFileIsNotThere) {
  for (const Kind kind : kAll) {
    const Name file = kind == Kind::config ? Name{} : name(kind, 0x77);
    base::Bytes out(1);
    EXPECT_THROW(store_->get(file, 100), base::NotFound);
    EXPECT_THROW(store_->get_range(file, 0, out), base::NotFound);
    EXPECT_EQ(store_->find_size(file), std::nullopt);
    store_->remove(file);  // is no error
  }
}

TEST_P(StoreContract, ListsEveryFileOfAKindAndNoOther) {
  store_->put(Name{}, bytes(5));
  std::vector<std::pair<std::string, uint64_t>> expected;
  for (unsigned i = 0; i < 300; ++i) {
    const Name file = name(Kind::data, static_cast<uint8_t>(i), static_cast<uint8_t>(i >> 4));
    store_->put(file, bytes(i));
    expected.emplace_back(file.id.hex(), i);
  }
  // A later put under the same name counts once.
  std::sort(expected.begin(), expected.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second > b.second;
  });
  expected.erase(std::unique(expected.begin(), expected.end(),
                             [](const auto& a, const auto& b) { return a.first == b.first; }),
                 expected.end());
  store_->put(name(Kind::key, 9), bytes(9));
  EXPECT_EQ(listed(*store_, Kind::data), expected);
  EXPECT_EQ(listed(*place_->open(), Kind::data), expected);
  EXPECT_EQ(listed(*store_, Kind::key).size(), 1u);
  EXPECT_TRUE(listed(*store_, Kind::snapshot).empty());
}

TEST_P(StoreContract, TakesTheSameFileTwice) {
  const Name file = name(Kind::snapshot, 6);
  store_->put(file, bytes(77));
  store_->put(file, bytes(77));
  EXPECT_EQ(store_->get(file, 100), bytes(77));
  EXPECT_EQ(listed(*store_, Kind::snapshot).size(), 1u);
}

TEST_P(StoreContract, RemovesForEveryone) {
  const auto other = place_->open();
  for (const Kind kind : kAll) {
    const Name file = kind == Kind::config ? Name{} : name(kind, 8);
    store_->put(file, bytes(10));
    other->remove(file);
    EXPECT_THROW(store_->get(file, 100), base::NotFound);
    if (kind != Kind::config) {
      EXPECT_TRUE(listed(*store_, kind).empty());
    }
  }
}

TEST_P(StoreContract, MayBePreparedAgain) {
  store_->put(name(Kind::key, 1), bytes(10));
  store_->prepare();
  place_->open()->prepare();
  EXPECT_EQ(store_->get(name(Kind::key, 1), 100), bytes(10));
}

TEST_P(StoreContract, ServesManyThreadsAtOnce) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (uint8_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (uint8_t i = 0; i < 40; ++i) {
        // Two threads write each file, with the same bytes; all read while others write.
        const Name file = name(Kind::data, i, t / 2);
        const auto content = bytes(5000 + i, t / 2);
        store_->put(file, content);
        if (store_->get(file, 1 << 20) != content) ++wrong;
        store_->list(Kind::data, [&](const FileInfo& info) {
          if (info.size_bytes != 5000u + info.id.bytes[0]) ++wrong;
        });
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(listed(*store_, Kind::data).size(), 80u);
}

TEST_P(StoreContract, EndsAListWhenItsCallerHasEnough) {
  for (uint8_t i = 0; i < 5; ++i) store_->put(name(Kind::index, i), bytes(i));
  int seen = 0;
  const auto enough = [&](const FileInfo&) {
    if (++seen == 2) throw base::Cancelled();
  };
  EXPECT_THROW(store_->list(Kind::index, enough), base::Cancelled);
  EXPECT_EQ(seen, 2);
  EXPECT_EQ(listed(*store_, Kind::index).size(), 5u);
}

TEST_P(StoreContract, TellsAbsenceFromAnEmptyRange) {
  EXPECT_THROW(store_->get_range(name(Kind::data, 1), 0, {}), base::NotFound);
  base::Bytes out(5);
  EXPECT_THROW(store_->get_range(name(Kind::data, 1), 7, out), base::NotFound);
  store_->put(name(Kind::data, 1), bytes(3));
  EXPECT_NO_THROW(store_->get_range(name(Kind::data, 1), 3, {}));
}

TEST_P(StoreContract, DescribesItself) {
  EXPECT_FALSE(store_->describe().empty());
  EXPECT_GE(store_->connections(), 1u);
}

}  // namespace davit::store
