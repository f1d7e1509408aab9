// Restic and we on one repository, by the same URL: on a real sshd and on rclone.
#include <gtest/gtest.h>

#include "base/errors.h"
#include "base/files.h"
#include "repo/repository.h"
#include "store/open.h"
#include "support/fixture_file.h"
#include "support/made_repository.h"
#include "support/restic.h"
#include "support/skip.h"
#include "support/temp_dir.h"
#include "upkeep/check.h"

namespace davit::store {
namespace {

// How both reach a place that was empty.
struct Way {
  std::string url;
  StoreOptions options;
  std::vector<std::string> arguments, environment;  // restic's
};

void share_a_repository(const Way& way) {
  const auto run = [&](std::vector<std::string> words) {
    words.insert(words.end(), way.arguments.begin(), way.arguments.end());
    std::vector<std::string> environment = way.environment;
    environment.push_back("RESTIC_PROGRESS_FPS=0");
    const auto result = test::Restic(way.url, "password").run(words, environment);
    EXPECT_EQ(result.exit_code, 0) << words[0] << ": " << result.output;
  };
  // Ours, for restic.
  const test::Files ours{{"big", test::noise(1, 3'000'000)}, {"d/small", "content"}, {"empty", ""}};
  test::TempDir directory;
  {
    const auto repository = repo::Repository::init(open_store(way.url, way.options), "password");
    const base::Id snapshot = test::save_files(*repository, ours, test::packs_of(500'000));
    run({"check", "--read-data"});
    run({"restore", snapshot.hex(), "--target", directory / "restored"});
  }
  for (const auto& [path, content] : ours)
    EXPECT_EQ(base::as_text(base::get_file(directory / ("restored/" + path), 10 << 20)), content)
        << path;
  // Restic's, for us; and what it removes and repacks.
  base::make_directories(directory / "theirs");
  const std::string content = test::noise(2, 2'000'000);
  base::write_file_atomic(directory / "theirs/file", base::as_bytes(content));
  run({"backup", directory / "theirs"});
  run({"forget", "--prune", "--max-unused", "0", "--keep-last", "1", "--group-by", ""});
  const auto repository = repo::Repository::open(open_store(way.url, way.options), "password");
  repository->refresh_index();
  const auto snapshots = test::ids_of(repository->store(), Kind::snapshot);
  ASSERT_EQ(snapshots.size(), 1u);
  const test::Files read = test::read_files(*repository, snapshots[0]);
  EXPECT_EQ(read.at(directory.path().substr(1) + "/theirs/file"), content);
  upkeep::CheckOptions options;
  options.read_data = true;
  const auto report = upkeep::check(*repository, options);
  EXPECT_TRUE(report.ok()) << report.errors.at(0);
  EXPECT_GT(report.bytes_read, content.size());
}

TEST(ResticAndWe, UseOneRepositoryOverSftp) {
  DAVIT_NEEDS_RESTIC();
  DAVIT_NEEDS_FIXTURE(ssh, DAVIT_SSHD "/ssh");
  test::TempDir directory;
  Way way;
  way.url =
      "sftp://" + ssh.at("USER") + "@127.0.0.1:" + ssh.at("PORT") + "/" + directory / "repository";
  way.options.sftp_key_file = ssh.at("KEY");
  way.options.sftp_known_hosts_file = ssh.at("KNOWN_HOSTS");
  way.arguments = {"-o", "sftp.command=ssh -p " + ssh.at("PORT") + " -i " + ssh.at("KEY") +
                             " -o UserKnownHostsFile=" + ssh.at("KNOWN_HOSTS") +
                             " -o StrictHostKeyChecking=yes -l " + ssh.at("USER") +
                             " 127.0.0.1 -s sftp"};
  share_a_repository(way);
}

TEST(ResticAndWe, UseOneRepositoryOverRestWithTlsAndAPassword) {
  DAVIT_NEEDS_RESTIC();
  DAVIT_NEEDS_FIXTURE(rest, DAVIT_REST "/rest");
  Way way;
  way.url =
      "rest:https://davit:a%20pass%2Fword@" + rest.at("GUARDED") + "/" + base::make_uuid() + "/";
  way.options.ca_file = rest.at("CA");
  way.environment = {"RESTIC_CACERT=" + rest.at("CA")};
  way.arguments = {"--cacert", rest.at("CA")};
  share_a_repository(way);
}

}  // namespace
}  // namespace davit::store
