// The SFTP store on a real server, OpenSSH's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <utime.h>

#include <ctime>
#include <random>
#include <sstream>

#include "base/errors.h"
#include "base/files.h"
#include "base/patience.h"
#include "store/layout.h"
#include "store/sftp_store.h"
#include "store_contract.h"
#include "support/cutting_proxy.h"
#include "support/fixture_file.h"
#include "support/loop_mount.h"
#include "support/program.h"
#include "support/skip.h"
#include "support/temp_dir.h"

#ifdef __SANITIZE_ADDRESS__
// libssh2 1.10 loses the numbers of an ECDSA key that it reads, and what it has of the first packet
// of a server whose SFTP ends within it. That these are its own shows in whole stacks only:
// libcrypto keeps no frame pointers.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() { return "fast_unwind_on_malloc=0"; }
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libssh2_userauth_publickey_fromfile_ex\nleak:libssh2_sftp_init\n";
}
#endif

namespace davit::store {
namespace {

using namespace std::chrono_literals;
using base::IoError;
using test::CuttingProxy;
using test::FixtureFile;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using Direction = CuttingProxy::Direction;

#define DAVIT_NEEDS_SSHD(name) DAVIT_NEEDS_FIXTURE(name, DAVIT_SSHD "/ssh")

SftpOptions options_of(const FixtureFile& ssh) {
  SftpOptions options;
  options.access.key_file = ssh.at("KEY");
  options.access.known_hosts_file = ssh.at("KNOWN_HOSTS");
  return options;
}

std::string url_of(const FixtureFile& ssh, const std::string& path) {
  return "sftp://" + ssh.at("USER") + "@127.0.0.1:" + ssh.at("PORT") + "/" + path;
}

// A directory on the server, which is this machine.
struct SftpPlace : StorePlace {
  explicit SftpPlace(const FixtureFile& ssh)
      : address(sftp::parse_address(url_of(ssh, directory / "made/by prepare"))),
        options(options_of(ssh)) {
    options.spool_directory = directory.path();
  }
  std::unique_ptr<Store> open() override { return std::make_unique<SftpStore>(address, options); }
  // The same server by another way.
  std::unique_ptr<SftpStore> open_at(int port, SftpOptions with) const {
    sftp::Address there = address;
    there.server.port = static_cast<uint16_t>(port);
    return std::make_unique<SftpStore>(there, std::move(with));
  }
  std::string operator/(const std::string& path) const { return address.path + "/" + path; }

  test::TempDir directory;
  sftp::Address address;
  SftpOptions options;
};

INSTANTIATE_TEST_SUITE_P(Sftp, StoreContract,
                         ::testing::Values([]() -> std::unique_ptr<StorePlace> {
                           const FixtureFile ssh = test::read_fixture(DAVIT_SSHD "/ssh");
                           return ssh.empty() ? nullptr : std::make_unique<SftpPlace>(ssh);
                         }));

const Name kFile{Kind::index, {}};

Name name(uint8_t first) {
  Name name{Kind::data, {}};
  name.id.bytes[0] = first;
  return name;
}

// Bytes that do not repeat, the same for the same seed.
std::string filler(uint64_t seed, size_t size_bytes) {
  std::mt19937_64 random(seed);
  std::string bytes(size_bytes, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

IoError failure(Store& store) {
  try {
    store.get(kFile, 100);
  } catch (const IoError& error) {
    return error;
  } catch (const base::NotFound&) {
    return IoError("not found", 0);
  }
  return IoError("no error", 0);
}

std::string words(const SftpPlace& place, const SftpOptions& options) {
  SftpStore store(place.address, options);
  const IoError error = failure(store);
  EXPECT_FALSE(error.transient()) << error.what();
  return error.what();
}

std::string text_of(const std::string& path) {
  return std::string(base::as_text(base::get_file(path)));
}

// The lines of a known_hosts file that hold `word`, for the server at `port`.
std::string known_as(const FixtureFile& ssh, const std::string& word, const std::string& port) {
  std::istringstream text(text_of(ssh.at("KNOWN_HOSTS")));
  std::string lines;
  for (std::string line; std::getline(text, line);)
    if (line.find(word) != line.npos)
      lines += "[127.0.0.1]:" + port + line.substr(line.find(' ')) + "\n";
  return lines;
}

TEST(SftpOnSshd, SaysWhoIsNotLetIn) {
  DAVIT_NEEDS_SSHD(ssh);
  SftpPlace place(ssh);
  place.open()->prepare();
  SftpOptions options = options_of(ssh);
  EXPECT_EQ(words(place, options), "not found");
  options.access.key_file = ssh.at("STRANGER_KEY");
  EXPECT_THAT(words(place, options), AllOf(HasSubstr("does not let " + ssh.at("USER") + " in"),
                                           HasSubstr("authorized_keys")));
  options.access.key_file = place.directory / "none";
  EXPECT_THAT(words(place, options),
              AllOf(HasSubstr("there is no key file"), HasSubstr("DAVIT_SFTP_KEY_FILE")));
  options.access.key_file = ssh.at("KNOWN_HOSTS");
  EXPECT_THAT(words(place, options), HasSubstr("no private key"));

  options.access.key_file = ssh.at("LOCKED_KEY");
  options.access.passphrase = [] { return std::string("hunter2"); };
  EXPECT_THAT(words(place, options),
              AllOf(HasSubstr("DAVIT_SFTP_KEY_PASSPHRASE_FILE"), Not(HasSubstr("hunter2"))));
  options.access.passphrase = [&] { return ssh.at("PASSPHRASE"); };
  EXPECT_EQ(words(place, options), "not found");
}

TEST(SftpOnSshd, SpeaksToServersItKnowsOnly) {
  DAVIT_NEEDS_SSHD(ssh);
  SftpPlace place(ssh);
  place.open()->prepare();
  const auto with = [&](const std::string& known_hosts) {
    SftpOptions options = options_of(ssh);
    options.access.known_hosts_file = place.directory / "known";
    base::write_file_atomic(options.access.known_hosts_file, base::as_bytes(known_hosts));
    return options;
  };
  const std::string fingerprint =
      test::run({"ssh-keygen", "-lf", std::string(DAVIT_SSHD) + "/host-ed25519.pub"}).output;
  const size_t sha = fingerprint.find("SHA256:");
  ASSERT_NE(sha, std::string::npos);
  const std::string shown = fingerprint.substr(sha, fingerprint.find(' ', sha) - sha);
  const std::string ed25519 = known_as(ssh, "ssh-ed25519", ssh.at("PORT"));

  // Unknown: what to add is said.
  SftpOptions options = options_of(ssh);
  options.access.known_hosts_file = place.directory / "none";
  EXPECT_THAT(words(place, options), AllOf(HasSubstr("is not known"), HasSubstr("SHA256:"),
                                           HasSubstr(place.directory / "none")));
  const std::string unknown = words(place, with("# nobody\n\n"));
  const size_t line =
      unknown.find("[127.0.0.1]:" + ssh.at("PORT") + " ", unknown.find("add this line"));
  ASSERT_NE(line, std::string::npos) << unknown;
  EXPECT_EQ(words(place, with(unknown.substr(line) + "\n")), "not found");
  // Known under another port, or name.
  EXPECT_THAT(words(place, with(known_as(ssh, "ssh-ed25519", "1"))), HasSubstr("is not known"));

  // Changed.
  const std::string stranger = text_of(ssh.at("STRANGER_KEY") + ".pub");
  const std::string changed =
      "[127.0.0.1]:" + ssh.at("PORT") + " " + stranger.substr(0, stranger.rfind(' ')) + "\n";
  EXPECT_THAT(words(place, with(changed)),
              AllOf(HasSubstr("is not the one in"), HasSubstr("ssh-ed25519 " + shown)));
  EXPECT_THROW(
      {
        try {
          SftpStore(place.address, with(changed)).put(kFile, base::as_bytes("x"));
        } catch (const wire::Untrusted&) {
          EXPECT_FALSE(SftpStore(place.address, options_of(ssh)).find_size(kFile));
          throw;
        }
      },
      wire::Untrusted);

  // The kind that is known is asked for, whichever the server likes best.
  EXPECT_EQ(words(place, with(ed25519)), "not found");
  EXPECT_EQ(words(place, with(known_as(ssh, "ecdsa-sha2", ssh.at("PORT")))), "not found");
  EXPECT_THAT(words(place, with(ed25519 + "@revoked * " + stranger)), HasSubstr("'@'"));
  // Hashed names.
  const SftpOptions hashed = with(ed25519);
  EXPECT_EQ(test::run({"ssh-keygen", "-H", "-f", hashed.access.known_hosts_file}).exit_code, 0);
  EXPECT_THAT(text_of(hashed.access.known_hosts_file), Not(HasSubstr("127.0.0.1")));
  EXPECT_EQ(words(place, hashed), "not found");
}

TEST(SftpOnSshd, TellsAMissingRepositoryFromAnEmptyOne) {
  DAVIT_NEEDS_SSHD(ssh);
  SftpPlace place(ssh);
  const auto store = place.open();
  EXPECT_THROW(store->list(Kind::snapshot, [](const FileInfo&) {}), IoError);
  try {
    store->put(kFile, base::as_bytes("x"));
    FAIL();
  } catch (const IoError& error) {
    EXPECT_THAT(error.what(), HasSubstr("is its disk mounted?"));
    EXPECT_FALSE(error.transient());
  }
  EXPECT_FALSE(base::find_file(place / "config"));
  store->prepare();
  int files = 0;
  store->list(Kind::snapshot, [&](const FileInfo&) { ++files; });
  EXPECT_EQ(files, 0);
  // Copying tools lose empty directories.
  store->put(Name{}, base::as_bytes("config"));
  base::remove_tree(place / "data");
  base::remove_tree(place / "snapshots");
  store->list(Kind::snapshot, [&](const FileInfo&) { ++files; });
  EXPECT_EQ(files, 0);
  store->put(name(7), base::as_bytes("x"));
  EXPECT_EQ(text_of(place / relative_path(name(7))), "x");
}

TEST(SftpOnSshd, ReplacesWhatIsDamagedAndNoConfig) {
  DAVIT_NEEDS_SSHD(ssh);
  SftpPlace place(ssh);
  const auto store = place.open();
  store->prepare();
  store->put(name(1), base::as_bytes("damaged"));
  store->put(name(1), base::as_bytes("correct"));
  EXPECT_EQ(base::as_text(store->get(name(1), 10)), "correct");
  store->put(Name{}, base::as_bytes("one"));
  EXPECT_THROW(store->put(Name{}, base::as_bytes("two")), base::Conflict);
  EXPECT_NO_THROW(store->put(Name{}, base::as_bytes("one")));
  EXPECT_EQ(text_of(place / "config"), "one");
  EXPECT_THAT(base::list_directory(place / "data"), ::testing::ElementsAre("01"));
  EXPECT_THAT(
      base::list_directory(place / ""),
      ::testing::UnorderedElementsAre("config", "data", "index", "keys", "locks", "snapshots"));
}

TEST(SftpOnSshd, RemovesWhatADeadProcessLeft) {
  DAVIT_NEEDS_SSHD(ssh);
  SftpPlace place(ssh);
  const auto store = place.open();
  store->prepare();
  const std::string old = place / "data/ab-tmp-davit-1", fresh = place / "index/ab-tmp-davit-2",
                    theirs = place / "index/ab-restic-temp-3";
  for (const std::string& path : {old, fresh, theirs})
    base::write_file_atomic(path, base::as_bytes("half"));
  const std::time_t two_days_ago = std::time(nullptr) - 2 * 86400;
  for (const std::string& path : {old, theirs}) {
    const utimbuf times{two_days_ago, two_days_ago};
    ASSERT_EQ(::utime(path.c_str(), &times), 0);
  }
  int files = 0;
  for (const Kind kind : {Kind::data, Kind::index})
    store->list(kind, [&](const FileInfo&) { ++files; });
  EXPECT_EQ(files, 0);
  store->prepare();
  EXPECT_FALSE(base::find_file(old));
  EXPECT_TRUE(base::find_file(fresh));
  EXPECT_TRUE(base::find_file(theirs));
}

TEST(SftpOnSshd, GivesTheGroupWhatTheConfigGives) {
  DAVIT_NEEDS_SSHD(ssh);
  SftpPlace place(ssh);
  const auto mode_of = [&](const std::string& path) {
    struct stat status {};
    EXPECT_EQ(::stat((place / path).c_str(), &status), 0) << path;
    return status.st_mode & 0777;
  };
  {
    const auto store = place.open();
    store->prepare();
    store->put(Name{}, base::as_bytes("config"));
    store->put(name(1), base::as_bytes("x"));
    EXPECT_EQ(mode_of("config"), 0600u);
    EXPECT_EQ(mode_of("data/01"), 0700u);
    EXPECT_EQ(mode_of(relative_path(name(1))), 0600u);
  }
  ASSERT_EQ(::chmod((place / "config").c_str(), 0640), 0);
  const auto store = place.open();
  store->put(name(2), base::as_bytes("x"));
  EXPECT_EQ(mode_of("data/02"), 0770u);
  EXPECT_EQ(mode_of(relative_path(name(2))), 0640u);
}

// The server dies, or the way to it, at any byte of a call: that is told as what may pass, and what
// can be seen is whole.
TEST(SftpOnSshd, ShowsNothingHalfWhereAConnectionIsCut) {
  DAVIT_NEEDS_SSHD(ssh);
  SftpPlace place(ssh);
  place.open()->prepare();
  CuttingProxy proxy("127.0.0.1:" + ssh.at("PORT"));
  const std::string port = proxy.address().substr(proxy.address().find(':') + 1);
  SftpOptions options = options_of(ssh);
  options.access.known_hosts_file = place.directory / "known";
  base::write_file_atomic(options.access.known_hosts_file,
                          base::as_bytes(known_as(ssh, "ssh-ed25519", port)));
  const std::string content = filler(1, 1'000'000);
  const Name file = name(9);
  const auto cut_call = [&](Direction direction, uint64_t bytes,
                            const std::function<void(Store&)>& call) {
    const auto store = place.open_at(std::stoi(port), options);
    const int before = proxy.cuts();
    proxy.cut_next(direction, bytes);
    try {
      call(*store);
    } catch (const IoError& error) {
      EXPECT_TRUE(error.transient()) << error.what();
    }
    EXPECT_EQ(proxy.cuts(), before + 1);
    // The same store goes on.
    EXPECT_NO_THROW(call(*store));
  };
  for (const uint64_t bytes : {0u, 1000u, 4000u, 500'000u, 999'000u}) {
    SCOPED_TRACE(bytes);
    cut_call(Direction::up, bytes, [&](Store& store) {
      store.put(file, base::as_bytes(content));
      EXPECT_EQ(text_of(place / relative_path(file)), content);
    });
    place.open()->remove(file);
  }
  for (const uint64_t bytes : {1500u, 3000u, 3500u}) {  // its answers, up to the last
    SCOPED_TRACE(bytes);
    const auto store = place.open_at(std::stoi(port), options);
    proxy.cut_next(Direction::down, bytes);
    try {
      store->put(file, base::as_bytes(content));
    } catch (const IoError& error) {
      EXPECT_TRUE(error.transient()) << error.what();
    }
    if (base::find_file(place / relative_path(file))) {
      EXPECT_EQ(text_of(place / relative_path(file)), content);
    }
    EXPECT_NO_THROW(store->put(file, base::as_bytes(content)));
  }
  for (const uint64_t bytes : {2000u, 900'000u}) {
    SCOPED_TRACE(bytes);
    cut_call(Direction::down, bytes,
             [&](Store& store) { EXPECT_EQ(base::as_text(store.get(file, 2'000'000)), content); });
  }
}

TEST(SftpOnSshd, ConnectsAgainWhenAKeptConnectionIsDead) {
  DAVIT_NEEDS_SSHD(ssh);
  SftpPlace place(ssh);
  CuttingProxy proxy("127.0.0.1:" + ssh.at("PORT"));
  const std::string port = proxy.address().substr(proxy.address().find(':') + 1);
  SftpOptions options = options_of(ssh);
  options.access.known_hosts_file = place.directory / "known";
  base::write_file_atomic(options.access.known_hosts_file,
                          base::as_bytes(known_as(ssh, "ssh-ed25519", port)));
  const auto store = place.open_at(std::stoi(port), options);
  proxy.cut_next(Direction::up, 200'000);
  store->prepare();
  // The connection that prepare() made ends within this put, which nobody notices.
  EXPECT_NO_THROW(store->put(name(1), base::as_bytes(filler(2, 500'000))));
  EXPECT_EQ(proxy.cuts(), 1);
  EXPECT_EQ(store->find_size(name(1)), 500'000u);
}

TEST(SftpStore, GivesUpOnASilentServer) {
  DAVIT_NEEDS_SSHD(ssh);
  SftpPlace place(ssh);
  const test::RawServer silent(
      [](test::RawServer::Connection& connection) { connection.wait_for_end(); });
  SftpOptions options = options_of(ssh);
  options.access.deadlines.connect = 200ms;
  const IoError error = failure(*place.open_at(silent.port(), options));
  EXPECT_TRUE(error.transient());
  EXPECT_THAT(error.what(), HasSubstr("not logged in within"));
  options.access.deadlines.connect = 15s;
  const test::RawServer another([](test::RawServer::Connection& connection) {
    connection.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
  });
  EXPECT_THAT(failure(*place.open_at(another.port(), options)).what(),
              HasSubstr("cannot speak SSH"));
  const IoError refused = failure(*place.open_at(1, options));
  EXPECT_TRUE(refused.transient());
  EXPECT_THAT(refused.what(), HasSubstr("does its sshd run"));
}

// A server of one's own, with these lines in its configuration.
struct OwnServer {
  explicit OwnServer(const std::string& lines) {
    EXPECT_EQ(test::run({DAVIT_SSHD_SCRIPT, "up", directory / "sshd", lines}).exit_code, 0);
    ssh = test::read_fixture(directory / "sshd/ssh");
  }
  ~OwnServer() { test::run({DAVIT_SSHD_SCRIPT, "down", directory / "sshd"}); }
  test::TempDir directory;
  FixtureFile ssh;
};

TEST(SftpStore, NoticesThatTheServersProcessHasEnded) {
  DAVIT_NEEDS_SSHD(ssh);
  // Before the first packet, within its length, within it, and after it, within an answer.
  for (const char* command :
       {"true", "head -c 3 /dev/zero", "/usr/lib/openssh/sftp-server | head -c 200",
        "head -c 9 | /usr/lib/openssh/sftp-server", "/usr/lib/openssh/sftp-server | head -c 330"}) {
    SCOPED_TRACE(command);
    const OwnServer own(std::string("ForceCommand ") + command);
    SftpOptions options = options_of(own.ssh);
    options.access.deadlines.connect = 3s;
    const auto began = std::chrono::steady_clock::now();
    SftpStore store(sftp::parse_address(url_of(own.ssh, "/none")), options);
    const IoError error = failure(store);
    EXPECT_TRUE(error.transient()) << error.what();
    EXPECT_LT(std::chrono::steady_clock::now() - began, 30s) << error.what();
  }
}

TEST(SftpStore, TellsAServerWithoutRoomFromOneWithoutSftp) {
  DAVIT_NEEDS_SSHD(ssh);
  const OwnServer full("MaxSessions 0");
  SftpStore store(sftp::parse_address(url_of(full.ssh, "/none")), options_of(full.ssh));
  const IoError error = failure(store);
  EXPECT_TRUE(error.transient()) << error.what();
}

TEST(SftpStore, EndsWhereTheCallerIsToldTo) {
  DAVIT_NEEDS_SSHD(ssh);
  SftpPlace place(ssh);
  const auto store = place.open();
  store->prepare();
  const std::string content = filler(4, 100'000);
  store->put(name(1), base::as_bytes(content));
  std::stop_source stop;
  stop.request_stop();
  const base::PatienceScope patience({1s, stop.get_token()});
  EXPECT_THROW(store->get(name(1), 1 << 20), base::Cancelled);
  EXPECT_THROW(store->put(name(2), base::as_bytes(content)), base::Cancelled);
  EXPECT_THAT(base::list_directory(place / "data"), ::testing::ElementsAre("01"));
}

TEST(SftpStore, SaysThatTheServersDiskIsFull) {
  DAVIT_NEEDS_MOUNTS();
  test::LoopMount disk("ext4", 64 << 20);
  // A server that sees it, too.
  test::TempDir directory;
  ASSERT_EQ(test::run({DAVIT_SSHD_SCRIPT, "up", directory / "sshd"}).exit_code, 0);
  const FixtureFile ssh = test::read_fixture(directory / "sshd/ssh");
  SftpStore store(sftp::parse_address(url_of(ssh, disk / "repository")), options_of(ssh));
  store.prepare();
  disk.fill_but(3 << 20);
  const std::string content = filler(3, 12 << 20);
  try {
    store.put(name(1), base::as_bytes(content));
    ADD_FAILURE() << "it fits";
  } catch (const IoError& error) {
    EXPECT_EQ(error.number(), ENOSPC) << error.what();
    EXPECT_FALSE(error.transient());
    EXPECT_THAT(error.what(), HasSubstr("there is no room"));
  }
  EXPECT_THAT(base::list_directory(disk / "repository/data"), ::testing::IsEmpty());
  disk.empty();
  EXPECT_NO_THROW(store.put(name(1), base::as_bytes(content)));
  EXPECT_EQ(store.find_size(name(1)), content.size());
  EXPECT_EQ(test::run({DAVIT_SSHD_SCRIPT, "down", directory / "sshd"}).exit_code, 0);
}

}  // namespace
}  // namespace davit::store
