#include "upkeep/overlay_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "support/made_repository.h"
#include "support/memory_store.h"
#include "support/temp_dir.h"
#include "support/test_repository.h"

namespace davit::upkeep {
namespace {

using store::Kind;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

base::Id id(uint8_t first) {
  base::Id made;
  made.bytes[0] = first;
  return made;
}

TEST(OverlayStore, ShowsWhatIsBeneathAndWhatWasDoneAndLeavesTheFormerAsItIs) {
  const test::TempDir directory;
  for (const std::string& place : {std::string(), directory / "made"}) {
    test::MemoryStore beneath;
    const base::Bytes one = test::random_bytes(5000, 1), two = test::random_bytes(300, 2);
    for (const uint8_t each : {1, 2}) beneath.put({Kind::data, id(each)}, one);
    OverlayStore store(beneath, place);
    EXPECT_EQ(store.get({Kind::data, id(1)}, 5000), one);
    const base::ByteView halves[] = {base::ByteView(two).first(100),
                                     base::ByteView(two).subspan(100)};
    store.put({Kind::data, id(3)}, halves);
    store.put({Kind::data, id(1)}, two);
    store.remove({Kind::data, id(2)});
    store.remove({Kind::data, id(9)});

    EXPECT_EQ(store.get({Kind::data, id(3)}, 300), two);
    EXPECT_EQ(store.get({Kind::data, id(1)}, 300), two);
    base::Bytes range(50);
    store.get_range({Kind::data, id(3)}, 90, range);
    EXPECT_TRUE(std::equal(range.begin(), range.end(), two.begin() + 90));
    range.resize(301);
    EXPECT_THROW(store.get_range({Kind::data, id(3)}, 0, range), base::Corrupt);
    EXPECT_THROW(store.get({Kind::data, id(3)}, 299), base::Corrupt);
    EXPECT_THROW(store.get({Kind::data, id(2)}, 5000), base::NotFound);
    EXPECT_EQ(store.find_size({Kind::data, id(2)}), std::nullopt);
    EXPECT_EQ(store.find_size({Kind::data, id(1)}), 300u);
    EXPECT_THAT(test::ids_of(store, Kind::data), ElementsAre(id(1), id(3)));
    EXPECT_THAT(test::ids_of(store, Kind::index), IsEmpty());
    // Put again after it was removed.
    store.put({Kind::data, id(2)}, two);
    EXPECT_EQ(store.get({Kind::data, id(2)}, 300), two);

    EXPECT_THAT(test::ids_of(beneath, Kind::data), ElementsAre(id(1), id(2)));
    EXPECT_EQ(beneath.get({Kind::data, id(1)}, 5000), one);
    EXPECT_EQ(beneath.get({Kind::data, id(2)}, 5000), one);
  }
}

}  // namespace
}  // namespace davit::upkeep
