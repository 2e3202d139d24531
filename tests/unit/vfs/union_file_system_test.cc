// SPDX-License-Identifier: MIT
#include "core/vfs/union_file_system.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <thread>

#include "core/vfs/path_text.h"
#include "core/vfs/walk.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

using test::mount_of;
using test::tree_of;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

template <typename... Mounts>
std::unique_ptr<FileSystem> union_of(const OverlayOptions& options, Mounts... mounts) {
  std::vector<Mount> list;
  (list.push_back(std::move(mounts)), ...);
  return make_union_file_system(std::move(list), options);
}

// The rows of docs/rules/filesystem.md, 9.3, both list orders where order matters.

TEST(Union, NoMountsIsAnEmptyDirectory) {
  const auto fs = make_union_file_system({}, {});
  EXPECT_THAT(tree_of(*fs), IsEmpty());
  EXPECT_EQ(fs->metadata(fs->root())->number, kRootNumber);
}

TEST(Union, EarlierEntryWinsAtOneMountPath) {
  EXPECT_THAT(
      tree_of(*union_of({}, mount_of("a", "/m", {{"/x", "1"}}), mount_of("b", "/m", {{"/x", "2"}, {"/y", "3"}}))),
      ElementsAre("/m/", "/m/x=1", "/m/y=3"));
  EXPECT_THAT(
      tree_of(*union_of({}, mount_of("b", "/m", {{"/x", "2"}, {"/y", "3"}}), mount_of("a", "/m", {{"/x", "1"}}))),
      ElementsAre("/m/", "/m/x=2", "/m/y=3"));
}

TEST(Union, DeeperMountPathWinsInAnyOrder) {
  const auto outer = [] { return mount_of("outer", "/lib", {{"/py/os", "outer"}, {"/py/only", "o"}, {"/c", "c"}}); };
  const auto inner = [] { return mount_of("inner", "/lib/py", {{"/os", "inner"}}); };
  for (const bool outer_first : {true, false}) {
    const auto fs = outer_first ? union_of({}, outer(), inner()) : union_of({}, inner(), outer());
    EXPECT_THAT(tree_of(*fs), ElementsAre("/lib/", "/lib/c=c", "/lib/py/", "/lib/py/only=o", "/lib/py/os=inner"));
  }
}

TEST(Union, FileFirstHidesDirectoryAndDirectoryFirstHidesFile) {
  EXPECT_THAT(tree_of(*union_of({}, mount_of("a", "/", {{"/k", "file"}}), mount_of("b", "/", {{"/k/in", "x"}}))),
              ElementsAre("/k=file"));
  EXPECT_THAT(tree_of(*union_of({}, mount_of("b", "/", {{"/k/in", "x"}}), mount_of("a", "/", {{"/k", "file"}}))),
              ElementsAre("/k/", "/k/in=x"));
}

TEST(Union, AFileInTheMiddleStopsTheMerge) {
  EXPECT_THAT(tree_of(*union_of({}, mount_of("a", "/", {{"/k/a", "1"}}), mount_of("b", "/", {{"/k", "file"}}),
                                mount_of("c", "/", {{"/k/c", "3"}}))),
              ElementsAre("/k/", "/k/a=1"));
}

TEST(Union, AMountPointOverAFileIsADirectoryAndIsWarnedOf) {
  const test::CapturedLog log;
  const auto fs = union_of({}, mount_of("deep", "/k/sub", {{"/x", "1"}}), mount_of("b", "/", {{"/k", "file"}}),
                           mount_of("c", "/", {{"/k/c", "3"}}));
  // The file doesn't stop the merge here: the path is a directory, even if a layer has a file there
  // (docs/rules/filesystem.md, 9.2 rule 1).
  EXPECT_THAT(tree_of(*fs), ElementsAre("/k/", "/k/c=3", "/k/sub/", "/k/sub/x=1"));
  EXPECT_THAT(log.text(), HasSubstr("\"/k/sub\" of \"deep\" hides the file \"/k\" of \"b\""));
}

TEST(Union, ASourceFileIsTheMountPoint) {
  EXPECT_THAT(tree_of(*union_of({}, mount_of("a", "/etc/conf", {{"/d/conf.txt", "c"}}, "/d/conf.txt"))),
              ElementsAre("/etc/", "/etc/conf=c"));
  EXPECT_THAT(tree_of(*union_of({}, mount_of("a", "/etc/conf", {{"/f", "c"}}, "/f"),
                                mount_of("b", "/etc/conf/d", {{"/x", "1"}}))),
              ElementsAre("/etc/", "/etc/conf/", "/etc/conf/d/", "/etc/conf/d/x=1"));
}

TEST(Union, AMissingSourceIsLeftOutOrRefused) {
  const test::CapturedLog log;
  EXPECT_THAT(tree_of(*union_of({}, mount_of("a", "/m", {{"/x", "1"}}, "/nope"))), IsEmpty());
  EXPECT_THAT(log.text(), HasSubstr("maps \"/nope\" of its \"v\" volume, but that path doesn't exist"));
  std::vector<Mount> mounts;
  mounts.push_back(mount_of("a", "/m", {{"/x", "1"}}, "/nope"));
  EXPECT_THROW((void)make_union_file_system(std::move(mounts), {}, true), Error);
}

TEST(Union, AFileCantBeTheRoot) {
  const test::CapturedLog log;
  EXPECT_THAT(tree_of(*union_of({}, mount_of("a", "/", {{"/x", "1"}}, "/x"))), IsEmpty());
  EXPECT_THAT(log.text(), HasSubstr("can't be mounted at \"/\""));
}

TEST(Union, ShadowHidesWhatIsBelowAMountAndKeepsTheFirstOfTwo) {
  const OverlayOptions shadow{.conflicts = Conflicts::kShadow};
  EXPECT_THAT(tree_of(*union_of(shadow, mount_of("outer", "/lib", {{"/py/only", "o"}, {"/c", "c"}}),
                                mount_of("inner", "/lib/py", {{"/os", "i"}}))),
              ElementsAre("/lib/", "/lib/c=c", "/lib/py/", "/lib/py/os=i"));
  EXPECT_THAT(tree_of(*union_of(shadow, mount_of("a", "/m", {{"/x", "1"}}), mount_of("b", "/m", {{"/y", "2"}}))),
              ElementsAre("/m/", "/m/x=1"));
}

TEST(Union, ErrorNamesBothOwners) {
  const OverlayOptions error{.conflicts = Conflicts::kError};
  EXPECT_NO_THROW((void)union_of(error, mount_of("a", "/m", {{"/d/x", "1"}}), mount_of("b", "/m", {{"/d/y", "2"}})));
  try {
    (void)union_of(error, mount_of("a", "/m", {{"/d/x", "1"}}), mount_of("b", "/m", {{"/d/x", "2"}}));
    FAIL() << "the conflict went unnoticed";
  } catch (const Error& conflict) {
    EXPECT_THAT(conflict.what(), testing::AllOf(HasSubstr("\"/m/d/x\" of a"), HasSubstr("hides that of b")));
  }
}

TEST(Union, TheFallbackIsBelowEverythingAndForcesNothing) {
  Mount commands = mount_of("", "/", {{"/bin/sh", "command"}, {"/bin/own", "command"}});
  commands.fallback = true;
  EXPECT_THAT(tree_of(*union_of({}, std::move(commands), mount_of("a", "/", {{"/bin/sh", "package"}}))),
              ElementsAre("/bin/", "/bin/own=command", "/bin/sh=package"));
  Mount again = mount_of("", "/", {{"/bin/sh", "command"}});
  again.fallback = true;
  EXPECT_THAT(tree_of(*union_of({}, std::move(again), mount_of("a", "/", {{"/bin", "a file"}}))),
              ElementsAre("/bin=a file"));
}

TEST(Union, ErrnoNumbers) {
  const auto fs = union_of({}, mount_of("a", "/m", {{"/x", "1"}}));
  const Inode file = find_path(*fs, "/m/x")->inode;
  const Inode dir = find_path(*fs, "/m")->inode;
  EXPECT_EQ(fs->lookup(dir, "nope").error(), ENOENT);
  EXPECT_EQ(fs->lookup(file, "y").error(), ENOTDIR);
  EXPECT_EQ(fs->lookup(dir, std::string(256, 'n')).error(), ENAMETOOLONG);
  EXPECT_EQ(fs->read_link(file).error(), EINVAL);
  EXPECT_EQ(fs->open(dir).error(), EISDIR);
}

TEST(Union, ListingGoesOnWhereItStopped) {
  const auto fs = union_of({}, mount_of("a", "/", {{"/a", ""}, {"/b", ""}, {"/c", ""}}));
  std::vector<std::string> seen;
  std::uint64_t next = 0;
  for (int i = 0; i < 4; ++i) {
    (void)fs->read_dir(fs->root(), next, [&](const DirEntry& entry) {
      seen.emplace_back(entry.name);
      next = entry.next;
      return false;
    });
  }
  EXPECT_THAT(seen, ElementsAre("a", "b", "c"));
}

TEST(Union, OriginNamesPackageVolumeAndPath) {
  const auto fs = union_of({}, mount_of("a", "/m", {{"/d/x", "1"}}, "/d"));
  const auto origin = fs->origin(find_path(*fs, "/m/x")->inode);
  ASSERT_TRUE(origin);
  EXPECT_EQ(origin->package, "a");
  EXPECT_EQ(origin->volume, "v");
  EXPECT_EQ(origin->path, "/d/x");
}

// Under ThreadSanitizer: first touches of the same directories from many threads.
TEST(Union, ManyThreadsMergeOneTree) {
  std::map<std::string, std::string> contents;
  for (int dir = 0; dir < 40; ++dir) {
    for (int file = 0; file < 10; ++file) {
      contents["/d" + std::to_string(dir) + "/f" + std::to_string(file)] = std::to_string(file);
    }
  }
  const auto fs =
      union_of({}, mount_of("a", "/", contents), mount_of("b", "/", contents), mount_of("c", "/d1", contents));
  std::vector<std::vector<std::string>> seen(4);
  std::vector<std::thread> threads;
  for (auto& mine : seen) {
    threads.emplace_back([&fs, &mine] { mine = tree_of(*fs); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  for (const auto& mine : seen) {
    EXPECT_EQ(mine, seen.front());
  }
  EXPECT_GT(seen.front().size(), 800U);
}

}  // namespace
}  // namespace pkgfs::vfs
