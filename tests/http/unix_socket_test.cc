#include "http/unix_socket.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/errors.h"
#include "base/files.h"
#include "support/temp_dir.h"
#include "support/unix_client.h"

namespace davit::http {
namespace {

TEST(UnixSocket, HasItsModeWhateverTheUmask) {
  const test::TempDir dir;
  for (const mode_t mode : {0600u, 0666u}) {
    const mode_t before = ::umask(0027);
    const base::Fd socket = listen_unix(dir / "s", mode);
    ::umask(before);
    struct stat status;
    ASSERT_EQ(::lstat((dir / "s").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 07777, mode);
    base::remove_file(dir / "s");
  }
}

TEST(UnixSocket, ReplacesAStaleSocketAndNothingElse) {
  const test::TempDir dir;
  listen_unix(dir / "s", 0600).reset();  // its file stays, as after a kill
  const base::Fd living = listen_unix(dir / "s", 0600);
  EXPECT_THROW(listen_unix(dir / "s", 0600), base::Conflict);
  base::write_file_atomic(dir / "file", base::as_bytes("somebody's"));
  EXPECT_THROW(listen_unix(dir / "file", 0600), base::Conflict);
  ASSERT_EQ(::symlink("file", (dir / "link").c_str()), 0);
  EXPECT_THROW(listen_unix(dir / "link", 0600), base::Conflict);
  EXPECT_EQ(base::as_text(base::get_file(dir / "file")), "somebody's");
  EXPECT_THROW(listen_unix(dir / std::string(120, 's'), 0600), base::UsageError);
}

}  // namespace
}  // namespace davit::http
