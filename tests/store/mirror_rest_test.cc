// An append-only mirror on a server that enforces it, `rclone serve restic --append-only`: what
// davit's own prunes and somebody with the password can do to it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/errors.h"
#include "base/files.h"
#include "store/open.h"
#include "support/fixture_file.h"
#include "support/mirror_world.h"
#include "support/restic.h"
#include "support/skip.h"

namespace davit::store {
namespace {

using ::testing::IsEmpty;

TEST(MirrorOnRclone, AppendOnlyKeepsItFromWhoeverHasThePassword) {
  DAVIT_NEEDS_RESTIC();
  DAVIT_NEEDS_FIXTURE(rest, DAVIT_REST "/rest");
  const std::string url = "rest:http://" + rest.at("APPEND") + "/" + base::make_uuid() + "/";
  const std::shared_ptr<Store> server = open_store(url);
  jobs::MirrorWorld world(server, /*append_only=*/true);
  const auto check = [&] {
    EXPECT_THAT(world.mirror_errors(), IsEmpty());
    const auto run =
        test::Restic(url, test::kQuickPassword).run({"check", "--read-data", "--no-lock"});
    EXPECT_EQ(run.exit_code, 0) << run.output;
  };
  const base::Id first = world.save(1);
  EXPECT_GT(world.sync().copied, 4u);
  EXPECT_EQ(world.difference(), "");
  world.save(10);
  world.stores->remove({Kind::snapshot, first});
  world.prune();
  EXPECT_EQ(world.sync().removed, 0u);
  EXPECT_EQ(world.book.list()[0].state, "in sync");
  EXPECT_TRUE(server->find_size({Kind::snapshot, first}));
  EXPECT_THAT(test::ids_of(*server, Kind::lock), IsEmpty());
  check();

  for (const Kind kind : {Kind::config, Kind::key, Kind::data, Kind::index, Kind::snapshot}) {
    const auto ids = kind == Kind::config ? std::vector<base::Id>{{}} : test::ids_of(*server, kind);
    ASSERT_FALSE(ids.empty());
    for (const auto& id : ids) {
      EXPECT_THROW(server->remove({kind, id}), base::IoError) << kind_name(kind);
      EXPECT_THROW(server->put({kind, id}, base::as_bytes("encrypted by somebody else")),
                   base::Error)
          << kind_name(kind);
    }
  }
  check();
  // What the primary lost comes back from there.
  const Name pack{Kind::data, test::ids_of(*world.files, Kind::data).front()};
  world.files->remove(pack);
  EXPECT_TRUE(world.repository->heal(pack));
  EXPECT_TRUE(world.files->find_size(pack));
}

}  // namespace
}  // namespace davit::store
