// SPDX-License-Identifier: MIT
// Risk: `pkgfs cache` takes a container that a mount has fetched in parts for a damaged or complete one, or removes it
// while the mount uses it.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/hash.h"
#include "core/cache/profile_files.h"
#include "core/lazy/access_profile.h"
#include "core/lazy/sparse_file.h"
#include "tests/support/fixtures.h"
#include "tests/unit/daemon/commands/run.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

class PartialEntries : public ::testing::Test {
 protected:
  [[nodiscard]] test::Run cache(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"cache", "--cache-dir=" + dir_.path().string()});
    return run(arguments);
  }
  /// One of three blocks is there. `cache`: "checkouts" or "downloads".
  [[nodiscard]] std::shared_ptr<SparseFile> partial(const std::string& cache, char digit) const {
    const auto directory = PrivateDirectory::make((dir_.path() / cache / "__temp__").string());
    auto file = SparseFile::open(directory, std::string(64, digit), {"\"etag\"", 3 * SparseFile::kBlock - 1});
    file->write(0, std::vector<std::byte>(SparseFile::kBlock, std::byte{1}));
    file->mark_present({0, 1});
    return file;
  }
  [[nodiscard]] bool is_there(const std::string& cache, char digit) const {
    const fs::path path = dir_.path() / cache / "__temp__" / std::string(64, digit);
    EXPECT_EQ(fs::exists(path.string() + ".lazy"), fs::exists(path.string() + ".lazy-map"));
    return fs::exists(path.string() + ".lazy");
  }

  TempDir dir_;
};

TEST_F(PartialEntries, AreListed) {
  const auto used = partial("checkouts", 'a');
  const std::string path = partial("downloads", 'B')->path();
  const test::Run text = cache({"list"});
  EXPECT_THAT(text.out, HasSubstr("  4.0 KiB of 12.0 KiB  (partial, in use)  " + used->path() + "\n")) << text.err;
  EXPECT_THAT(text.out, HasSubstr("  4.0 KiB of 12.0 KiB  (url)  (partial)  " + path + "\n"));
  EXPECT_THAT(text.out, HasSubstr("\n0 packages, 2 partial, 8.0 KiB\n"));

  const json rows = json::parse(cache({"list", "--json"}).out);
  ASSERT_EQ(rows.size(), 2U);
  const json& row = rows[rows[0].at("kind") == "package" ? 0 : 1];
  EXPECT_EQ(row.at("sha256"), std::string(64, 'a'));
  EXPECT_EQ(row.at("size"), SparseFile::kBlock);
  EXPECT_EQ(row.at("path"), used->path());
  EXPECT_EQ(row.at("partial"), json({{"whole_size", 3 * SparseFile::kBlock - 1}, {"in_use", true}}));
  EXPECT_TRUE(row.at("package").is_null());
}

TEST_F(PartialEntries, AreNotDamaged) {
  static_cast<void>(partial("checkouts", 'a'));
  const test::Run verify = cache({"verify"});
  EXPECT_EQ(verify.code, 0) << verify.err;
  EXPECT_EQ(verify.out, "every entry has the hash in its name\n");
  EXPECT_TRUE(is_there("checkouts", 'a'));
}

TEST_F(PartialEntries, ArePrunedUnlessTheyAreInUse) {
  for (const std::vector<std::string>& form :
       {std::vector<std::string>{"prune"}, {"prune", "--older-than=30d"}, {"prune", "--max-size=2G"}}) {
    const auto used = partial("checkouts", 'a');
    static_cast<void>(partial("checkouts", 'b'));
    static_cast<void>(partial("downloads", 'B'));
    std::vector<std::string> dry = form;
    dry.emplace_back("--dry-run");
    const test::Run planned = cache(dry);
    EXPECT_THAT(planned.out, HasSubstr("would remove " + std::string(64, 'b') + "  4.0 KiB  (partial)\n"));
    EXPECT_THAT(planned.out, HasSubstr("\n8.0 KiB would be freed\n"));
    EXPECT_TRUE(is_there("checkouts", 'b') && is_there("downloads", 'B'));

    const test::Run done = cache(form);
    EXPECT_EQ(done.code, 0) << done.err;
    EXPECT_THAT(done.out, HasSubstr("removed " + std::string(64, 'b') + "  4.0 KiB  (partial)\n"));
    EXPECT_THAT(done.out, Not(HasSubstr(std::string(64, 'a'))));
    EXPECT_THAT(done.out, HasSubstr("\n8.0 KiB freed\n"));
    EXPECT_FALSE(is_there("checkouts", 'b') || is_there("downloads", 'B'));
    EXPECT_TRUE(is_there("checkouts", 'a'));
    EXPECT_TRUE(used->has({0, 1}));
  }
}

/// Profiles of lazy mounts, without their packages: 'a' is old.
class Profiles : public PartialEntries {
 protected:
  void SetUp() override {
    profile_files::write(directory(), hash('a'), text_);
    profile_files::write(directory(), hash('b'), text_);
    const timespec old{.tv_sec = 1'700'000'000, .tv_nsec = 0};
    const std::array<timespec, 2> times{old, old};
    ASSERT_EQ(::utimensat(AT_FDCWD, path('a').c_str(), times.data(), 0), 0);
  }
  [[nodiscard]] std::string directory() const { return (dir_.path() / "checkouts").string(); }
  static Sha256 hash(char digit) { return *sha256_from_hex(std::string(64, digit)); }
  [[nodiscard]] fs::path path(char digit) const { return directory() + "/" + std::string(64, digit) + ".profile"; }

  std::string text_ = AccessProfile{.size = 100, .opening = {{0, 1}}, .mounts = {}}.text();
};

TEST_F(Profiles, AreListed) {
  const test::Run text = cache({"list"});
  EXPECT_THAT(text.out, HasSubstr("  (profile)  " + path('a').string() + "\n"));
  EXPECT_THAT(text.out, HasSubstr("\n0 packages, 2 profiles, "));
  const json rows = json::parse(cache({"list", "--json"}).out);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].at("kind"), "profile");
  EXPECT_EQ(rows[0].at("sha256"), std::string(64, 'a'));
  EXPECT_EQ(rows[0].at("size"), text_.size());
}

TEST_F(Profiles, DamagedOnesAreRemoved) {
  EXPECT_EQ(cache({"verify"}).code, 0);
  std::ofstream(path('b')) << "1 2 3";
  EXPECT_EQ(cache({"verify", "--dry-run"}).code, 4);
  EXPECT_TRUE(fs::exists(path('b')));
  const test::Run verify = cache({"verify"});
  EXPECT_EQ(verify.code, 4) << verify.err;
  EXPECT_THAT(verify.out, HasSubstr("damaged, removed: " + path('b').string() + ": it isn't a profile"));
  EXPECT_FALSE(fs::exists(path('b')));
  EXPECT_TRUE(fs::exists(path('a')));
}

TEST_F(Profiles, ArePrunedByAgeButNotForTheirSize) {
  EXPECT_EQ(cache({"prune", "--max-size=1"}).code, 0);
  EXPECT_TRUE(fs::exists(path('a')));
  const test::Run old = cache({"prune", "--older-than=1d"});
  EXPECT_THAT(old.out, HasSubstr("removed " + std::string(64, 'a')));
  EXPECT_FALSE(fs::exists(path('a')));
  EXPECT_TRUE(fs::exists(path('b')));
  EXPECT_THAT(cache({"prune"}).out, HasSubstr("(profile)"));
  EXPECT_FALSE(fs::exists(path('b')));
}

}  // namespace
}  // namespace pkgfs::test
