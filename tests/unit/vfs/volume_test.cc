// SPDX-License-Identifier: MIT
// Risk: the file system of one volume returns other results than the layers above it rely on.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>

#include "core/vfs/digest_time.h"
#include "core/vfs/empty_file_system.h"
#include "core/vfs/walk.h"
#include "core/vfs/webc_volume_file_system.h"
#include "core/webc/container.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::test {
namespace {

using vfs::FileType;
using vfs::Inode;

std::string bytes_of(const char* fixture) { return read_text(fixtures() / "webc" / (std::string(fixture) + ".webc")); }

/// The first volume of the container with these bytes.
std::unique_ptr<vfs::WebcVolumeFileSystem> volume_of(const std::string& bytes, const vfs::VolumeOptions& options = {}) {
  const auto container = webc::Container::open(blob_of(bytes).source);
  return std::make_unique<vfs::WebcVolumeFileSystem>(container->volumes().front(), options);
}

Inode inode_of(vfs::FileSystem& fs, std::string_view path) { return vfs::find_path(fs, path)->inode; }

TEST(Volume, ListsLooksUpAndReadsTheSame) {
  const auto fs = volume_of(bytes_of("symlinks-v3"));
  std::vector<std::string> all;
  collect(*fs, fs->root(), "", all);
  EXPECT_NE(std::ranges::find(all, "/broken->nope"), all.end());
  EXPECT_NE(std::ranges::find(all, "/d/"), all.end());
  EXPECT_NE(std::ranges::find(all, "/d/up->../real.txt"), all.end());
  EXPECT_TRUE(fs->is_immutable());
}

TEST(Volume, EachKindOfEntryRefusesWhatTheOthersAreFor) {
  const auto fs = volume_of(bytes_of("symlinks-v3"));
  const Inode directory = inode_of(*fs, "d");
  const Inode file = inode_of(*fs, "d/inner.txt");
  const Inode link = inode_of(*fs, "d/up");
  EXPECT_EQ(fs->open(directory).error(), EISDIR);
  EXPECT_EQ(fs->open(link).error(), EINVAL);
  EXPECT_EQ(fs->extent(directory).error(), EISDIR);
  EXPECT_EQ(fs->extent(link).error(), EINVAL);
  EXPECT_EQ(fs->extent(file)->run.length, 5U);
  EXPECT_EQ(fs->read_link(file).error(), EINVAL);
  EXPECT_EQ(fs->read_link(link).value(), "../real.txt");
  EXPECT_EQ(fs->lookup(directory, "absent").error(), ENOENT);
  EXPECT_EQ(fs->lookup(file, "x").error(), ENOTDIR);
  EXPECT_EQ(fs->read_dir(file, 0, [](const vfs::DirEntry&) { return true; }).error(), ENOTDIR);
  EXPECT_EQ(fs->metadata(link)->type, FileType::kSymlink);
  EXPECT_EQ(fs->metadata(link)->mode, 0777U);
  EXPECT_EQ(fs->metadata(directory)->mode, 0755U);
  EXPECT_EQ(fs->metadata(file)->mode, 0644U);
}

TEST(Volume, AListingGoesOnWhereItStopped) {
  const auto fs = volume_of(bytes_of("symlinks-v3"));
  std::vector<std::string> whole;
  ASSERT_TRUE(fs->read_dir(fs->root(), 0, [&](const vfs::DirEntry& entry) {
    whole.emplace_back(entry.name);
    return true;
  }));
  EXPECT_TRUE(std::ranges::is_sorted(whole));
  std::vector<std::string> pieces;
  std::uint64_t from = 0;
  for (bool more = true; more;) {
    more = false;
    ASSERT_TRUE(fs->read_dir(fs->root(), from, [&](const vfs::DirEntry& entry) {
      pieces.emplace_back(entry.name);
      from = entry.next;
      more = true;
      return false;
    }));
  }
  EXPECT_EQ(pieces, whole);
}

TEST(Volume, OriginNamesTheVolumeAndTheHashOfAFile) {
  const auto fs = volume_of(bytes_of("symlinks-v3"));
  const auto file = fs->origin(inode_of(*fs, "d/inner.txt"));
  ASSERT_TRUE(file.has_value());
  ASSERT_TRUE(file->sha256.has_value());
  EXPECT_EQ(to_hex(*file->sha256), "33bf6fbd7cd8379785a21e233d8e09f824e7bab459168a96312c1c882c1d7e1f");
  EXPECT_EQ(file->volume, fs->origin(fs->root())->volume);
  EXPECT_FALSE(fs->origin(fs->root())->sha256.has_value());
}

TEST(Volume, AWrongHashIsFoundWhenTheFileIsOpened) {
  std::string bytes = bytes_of("symlinks-v3");
  const auto whole = volume_of(bytes, {.verify_on_open = true});
  EXPECT_FALSE(whole->is_immutable()) << "somebody has to call open";
  const Inode file = inode_of(*whole, "d/inner.txt");
  EXPECT_TRUE(whole->open(file).has_value());
  EXPECT_TRUE(whole->open(file).has_value()) << "hashed once";
  bytes[whole->extent(file)->run.offset] ^= 1;
  const CapturedLog log;
  const auto damaged = volume_of(bytes, {.verify_on_open = true});
  EXPECT_EQ(damaged->open(inode_of(*damaged, "d/inner.txt")).error(), EIO);
  EXPECT_NE(log.text().find("SHA-256 differs"), std::string::npos) << log.text();
  const auto trusting = volume_of(bytes);
  EXPECT_TRUE(trusting->open(inode_of(*trusting, "d/inner.txt")).has_value());
}

TEST(Volume, FilesMayBeProgramsIfThatIsAskedFor) {
  const std::string bytes = bytes_of("symlinks-v3");
  for (const bool asked : {false, true}) {
    const auto fs = volume_of(bytes, {.detect_executables = asked});
    const vfs::Attributes file = *fs->metadata(inode_of(*fs, "d/inner.txt"));
    EXPECT_EQ(file.may_be_program, asked);
    EXPECT_EQ(file.mode, 0644U) << "the layer above completes it";
    EXPECT_FALSE(fs->metadata(inode_of(*fs, "d"))->may_be_program);
    EXPECT_FALSE(fs->metadata(inode_of(*fs, "d/up"))->may_be_program);
  }
}

TEST(Volume, WhatHasNoTimeGetsOneOfItsHash) {
  const vfs::VolumeOptions options{.default_modified = 1'000'000'000, .digest_times = true};
  const auto v2 = volume_of(bytes_of("basic-v2"), options);
  EXPECT_EQ(v2->metadata(v2->root())->modified, 1'000'000'000);
  const Inode file = inode_of(*v2, "README.md");
  const Sha256 hash = *v2->origin(file)->sha256;
  EXPECT_EQ(v2->metadata(file)->modified, vfs::digest_time(std::as_bytes(std::span(hash))));
  const auto v1 = volume_of(bytes_of("basic-v1"), options);
  EXPECT_EQ(v1->metadata(inode_of(*v1, "README.md"))->modified, 1'000'000'000) << "stores no hash";
  const auto v3 = volume_of(bytes_of("times-v3"), options);
  const auto stored = volume_of(bytes_of("times-v3"));
  int zeros = 0;
  ASSERT_TRUE(v3->read_dir(v3->root(), 0, [&](const vfs::DirEntry& entry) {
    const std::int64_t time = stored->lookup(stored->root(), entry.name)->attributes.modified;
    if (time > 1) {
      EXPECT_EQ(entry.attributes.modified, time) << entry.name;
    } else {
      zeros += entry.attributes.modified > 1 ? 1 : 0;
    }
    return true;
  }));
  EXPECT_GT(zeros, 0) << "a stored time of 0 is none";
}

TEST(DigestTime, IsAnEvenSecondOfTheYearsThatZipKnows) {
  EXPECT_EQ(vfs::digest_time(0), 315'619'200);
  EXPECT_EQ(vfs::digest_time(~std::uint64_t{0}), 1'577'836'798);
  const std::array<std::byte, 4> hash{std::byte{0x80}};
  EXPECT_EQ(vfs::digest_time(std::span<const std::byte>(hash)), 946'728'000) << "the first byte counts most";
}

TEST(EmptyTree, IsADirectoryWithNothingInIt) {
  vfs::EmptyFileSystem fs;
  EXPECT_EQ(fs.metadata(fs.root())->type, FileType::kDirectory);
  EXPECT_EQ(fs.lookup(fs.root(), "x").error(), ENOENT);
  EXPECT_EQ(fs.open(fs.root()).error(), EISDIR);
  EXPECT_EQ(fs.read_link(fs.root()).error(), EINVAL);
  EXPECT_EQ(fs.parent_number(fs.root()).value(), fs.metadata(fs.root())->number);
}

}  // namespace
}  // namespace pkgfs::test
