// SPDX-License-Identifier: MIT
// Risk: a tree that is read lazily isn't the golden one, or blocks that are gone again are served wrongly.
#include <fcntl.h>
#include <unistd.h>

#include <random>

#include <nlohmann/json.hpp>

#include "core/base/private_directory.h"
#include "core/lazy/sparse_file.h"
#include "tests/net/net.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

class LazyTrees : public NetTest, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    if (const std::string why = fuse_missing(); !why.empty()) {
      GTEST_SKIP() << why;
    }
  }
  /// Forgets random blocks of all containers that are being fetched, as another daemon does after wrong bytes. Leaves
  /// the bytes there, because the daemon has mapped the directory data, which share blocks with files.
  void evict() {
    const fs::path place = checkouts() / "__temp__";
    const auto directory = PrivateDirectory::find(place.string());
    if (!directory) {
      return;
    }
    for (const auto& each : fs::directory_iterator(place)) {
      const auto file =
          each.path().extension() == ".lazy" ? SparseFile::find(*directory, each.path().stem().string()) : nullptr;
      for (std::uint64_t block = 0; file != nullptr && block < file->blocks(); ++block) {
        if (random_() % 2 == 0) {
          file->mark_missing({block, 1});
          ++evicted_;
        }
      }
    }
  }
  /// Reads up to 25 files, each after blocks went away.
  void expect_files(const Tree& tree, const MountedPackage& mount) {
    int files = 0;
    for (const auto& [path, entry] : tree) {
      if (entry.type != "file" || entry.length == 0 || ++files > 25) {
        continue;
      }
      evict();
      const UniqueFd fd(::open((mount.path().string() + path).c_str(), O_RDONLY | O_CLOEXEC));
      ASSERT_TRUE(fd) << path;
      ::posix_fadvise(fd.get(), 0, 0, POSIX_FADV_DONTNEED);  // the kernel has it
      EXPECT_EQ(file_sha256(mount.path().string() + path), entry.sha256) << path;
    }
  }
  std::minstd_rand random_{5};
  int evicted_ = 0;  // blocks
  const Arguments lazily_{"--no-commands", "--mtime=stored", "--lazy=on", "--background=off", "--push=off"};
};

TEST_P(LazyTrees, EqualTheGoldenOnesAlthoughBlocksGoAway) {
  const std::string& set = GetParam();
  const ordered_json golden = read_json(fixtures() / "expected" / (set + ".json"));
  const TestRegistry server({registry(set)});
  int mounts = 0;
  for (const auto& [root, expected] : golden.items()) {
    if (!expected.contains("tree") || mounts == 2) {
      continue;
    }
    SCOPED_TRACE(set + " " + root);
    Arguments options = lazily_;
    options.insert(options.end(), {"--registry", server.endpoint()});
    const MountedPackage mount(kPkgfs, root, options, {.environment = environment()});
    if (!mount.ok()) {
      continue;  // registry_trees_test.cc knows which ones differ over the network
    }
    ++mounts;
    const Tree tree = tree_from_json(expected.at("tree"));
    expect_files(tree, mount);  // most of these packages are complete after their headers came
    EXPECT_EQ(difference(tree, list_tree(mount.path())), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Sets, LazyTrees, ::testing::ValuesIn(fixture_names("expected", ".json")),
                         [](const auto& set) { return test_name(set.param); });

/// Containers of some blocks, by their paths below the fixtures or the shared fixtures.
class LazyContainers : public LazyTrees {};

TEST_P(LazyContainers, EqualALocalMountAlthoughBlocksGoAway) {
  const bool is_ours = GetParam().starts_with("webc/");
  const auto shared = shared_fixtures();
  if (!is_ours && !shared.has_value()) {
    GTEST_SKIP() << "the third-party packages aren't here (PKGFS_SHARED_FIXTURES)";
  }
  const fs::path container = (is_ours ? fixtures() : *shared) / GetParam();
  TestRegistry server({registry("stubs")});
  server.add_package(container, "test/real", "1.0.0");
  Arguments options = lazily_;
  options.insert(options.end(), {"--registry", registry("stubs"), "--registry", server.endpoint()});
  const MountedPackage local(kPkgfs, container, options, {.environment = environment()});
  ASSERT_TRUE(local.ok()) << local.result().describe();
  const MountedPackage mount(kPkgfs, "test/real@1.0.0", options, {.environment = environment()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Tree tree = list_tree(local.path());
  expect_files(tree, mount);
  if (fs::file_size(container) > (1U << 20U)) {
    EXPECT_GT(evicted_, 0);
  }  // else it may be complete, and in the cache, as soon as its headers came
  EXPECT_EQ(difference(tree, list_tree(mount.path())), "");
}

INSTANTIATE_TEST_SUITE_P(Packages, LazyContainers,
                         ::testing::Values("webc/big4m-v3.webc", "webc/many-v2.webc", "webc/many-v3.webc",
                                           "webc/sizes-v1.webc", "webc/sizes-v2.webc", "webc/sizes-v3.webc",
                                           "third-party/bash-1.0.16-f097441a-a80b-4e0d-87d7-684918ef4bb6.webc",
                                           "third-party/dash-1.0.18-f0d13233-bcda-4cf1-9a23-3460bffaae2a.webc",
                                           "third-party/staticserver.webc"),
                         [](const auto& file) { return test_name(file.param); });

}  // namespace
}  // namespace pkgfs::test
