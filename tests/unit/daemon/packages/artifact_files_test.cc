// SPDX-License-Identifier: MIT
// Risk: `pkgfs cache` removes a file that isn't pkgfs's, follows a link of another user, or takes a damaged file for a
// sound one.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "core/base/hash.h"
#include "core/base/limits.h"
#include "daemon/packages/artifact_files.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ArtifactFiles : public ::testing::Test {
 protected:
  [[nodiscard]] std::string oci() const { return (dir_.path() / "oci").string(); }
  fs::path write(const std::string& name, const std::string& text) const { return dir_.write("oci/" + name, text); }
  [[nodiscard]] std::vector<std::string> paths() const {
    std::vector<std::string> found;
    for (const artifact_files::File& file : artifact_files::list(oci())) {
      found.push_back(file.path().substr(oci().size() + 1));
    }
    return found;
  }
  [[nodiscard]] std::string damage(const std::string& name) const {
    for (const artifact_files::File& file : artifact_files::list(oci())) {
      if (file.path() == oci() + "/" + name) {
        return artifact_files::damage_of(file);
      }
    }
    return "it isn't listed";
  }

  TempDir dir_;
  const std::string login_ = std::string(64, 'a');
  const std::string name_ = std::string(64, 'b');
};

TEST_F(ArtifactFiles, OnlyThoseOfPkgfsAreListed) {
  EXPECT_THAT(paths(), IsEmpty()) << "without a directory";
  for (const std::string& strange :
       {std::string("salt"), name_ + ".json", "else/" + name_ + ".json", login_ + "/" + name_, login_ + "/a.json",
        login_ + "/" + name_ + ".txt", login_ + "/" + name_ + ".tag.0123abcd", login_ + "/deep/" + name_ + ".tag"}) {
    write(strange, "x");
  }
  fs::create_symlink(write("other/target", "x"), oci() + "/" + login_ + "/" + std::string(64, 'c') + ".json");
  EXPECT_THAT(paths(), IsEmpty());
  write("open/" + name_ + ".json", "x");
  write(login_ + "/" + name_ + ".tag", "x");
  write(login_ + "/" + name_ + ".scheme", "x");
  EXPECT_THAT(paths(),
              ElementsAre(login_ + "/" + name_ + ".scheme", login_ + "/" + name_ + ".tag", "open/" + name_ + ".json"));
}

TEST_F(ArtifactFiles, DamageIsNamed) {
  const std::string good = "open/" + to_hex(sha256("text"));
  const std::string other = "open/" + name_;
  write(good + ".json", "text");
  write(other + ".json", "text");
  write(good + ".tag", "sha256:" + name_);
  write(other + ".tag", "sha256:" + name_.substr(1));
  write(good + ".scheme", "https");
  write(other + ".scheme", "ftp");
  EXPECT_EQ(damage(good + ".json"), "");
  EXPECT_EQ(damage(other + ".json"), "its content has the hash " + to_hex(sha256("text")));
  EXPECT_EQ(damage(good + ".tag"), "");
  EXPECT_NE(damage(other + ".tag"), "");
  EXPECT_EQ(damage(good + ".scheme"), "");
  EXPECT_NE(damage(other + ".scheme"), "");
  write(other + ".json", std::string(limits::kAnswerBytes + 1, 'x'));
  EXPECT_THAT(damage(other + ".json"), HasSubstr("more than"));
  const auto listed = artifact_files::list(oci());
  fs::remove_all(oci());
  for (const artifact_files::File& file : listed) {
    EXPECT_EQ(artifact_files::damage_of(file), "") << "it is gone";
    artifact_files::remove(file);
  }
}

TEST_F(ArtifactFiles, TheLastFileTakesItsDirectoryAlong) {
  write(login_ + "/" + name_ + ".json", "x");
  write(login_ + "/" + name_ + ".tag", "x");
  write("salt", "x");
  const auto listed = artifact_files::list(oci());
  ASSERT_EQ(listed.size(), 2U);
  artifact_files::remove(listed[0]);
  EXPECT_TRUE(fs::exists(listed[1].path()));
  artifact_files::remove(listed[1]);
  EXPECT_FALSE(fs::exists(oci() + "/" + login_));
  EXPECT_TRUE(fs::exists(oci() + "/salt"));
}

TEST_F(ArtifactFiles, OnlyOldTemporaryFilesAreLeftovers) {
  const fs::path old = write(login_ + "/" + name_ + ".json.0123abcd", "four");
  const fs::path young = write(login_ + "/" + name_ + ".json.4567abcd", "x");
  const fs::path sound = write(login_ + "/" + name_ + ".json", "x");
  const fs::path strange = write(login_ + "/notes.0123abcd", "x");
  for (const fs::path& path : {old, sound, strange}) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - 2h);
  }
  EXPECT_EQ(artifact_files::remove_leftovers(oci(), 1h, true), 4U);
  EXPECT_TRUE(fs::exists(old));
  EXPECT_EQ(artifact_files::remove_leftovers(oci(), 1h, false), 4U);
  EXPECT_FALSE(fs::exists(old));
  for (const fs::path& path : {young, sound, strange}) {
    EXPECT_TRUE(fs::exists(path)) << path;
  }
}

TEST_F(ArtifactFiles, ALinkInThePlaceOfADirectoryThatOthersMayWriteToIsNotFollowed) {
  const fs::path victim = dir_.write("victim/" + name_ + ".json", "precious");
  const fs::path leftover = dir_.write("victim/" + name_ + ".json.0123abcd", "precious");
  fs::last_write_time(leftover, fs::file_time_type::clock::now() - 2h);
  fs::create_directories(oci());
  fs::permissions(oci(), fs::perms::all);
  fs::create_directory_symlink(victim.parent_path(), oci() + "/" + login_);
  EXPECT_THAT(paths(), IsEmpty());
  EXPECT_EQ(artifact_files::remove_leftovers(oci(), 1h, false), 0U);
  artifact_files::remove({.hash = name_, .directory = oci() + "/" + login_, .name = name_ + ".json", .used = {}});
  EXPECT_TRUE(fs::exists(victim));
  EXPECT_TRUE(fs::exists(leftover));
}

}  // namespace
}  // namespace pkgfs::test
