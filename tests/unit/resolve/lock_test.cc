// SPDX-License-Identifier: MIT
#include "core/resolve/lock_file.h"

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"
#include "tests/unit/resolve/builder.h"

namespace pkgfs::test {
namespace {

/// A root with two dependencies, one of them shared and aliased.
Resolution resolved() {
  MemorySource source;
  source.add(TestPackage(named_id("acme/lib@1.2.0")).dep("acme/base@^1").hash("lib").summary());
  source.add(TestPackage(named_id("acme/base@1.0.0")).command("run").fs("v", "/b").hash("base").summary());
  const TestPackage root = TestPackage(named_id("acme/app@1.0.0"))
                               .dep("acme/lib@^1", "l")
                               .dep("acme/base", "b")
                               .entrypoint("run")
                               .fs("v", "/app", "b", "/sub")
                               .hash("app");
  Resolution resolution = resolve(root.info(), source);
  resolution.graph.nodes.front().dist = root.summary().dist;
  return resolution;
}

TEST(LockFile, GivesTheSameResolutionBack) {
  const Resolution before = resolved();
  const LockFile lock = parse_lock(print_lock(make_lock(before)));
  LockSource source(lock);
  const Resolution after = resolve(lock.packages.front().summary.pkg, source);
  EXPECT_EQ(to_dot(before.graph), to_dot(after.graph));
  EXPECT_EQ(before.order, after.order);
  EXPECT_EQ(before.package.entrypoint, after.package.entrypoint);
  ASSERT_EQ(after.package.filesystem.size(), before.package.filesystem.size());
  for (std::size_t i = 0; i < after.package.filesystem.size(); ++i) {
    EXPECT_EQ(after.package.filesystem[i].mount_path, before.package.filesystem[i].mount_path);
    EXPECT_EQ(after.package.filesystem[i].original_path, before.package.filesystem[i].original_path);
    EXPECT_EQ(after.package.filesystem[i].package, before.package.filesystem[i].package);
  }
  EXPECT_EQ(after.graph.nodes[1].dist->webc_sha256, before.graph.nodes[1].dist->webc_sha256);
  EXPECT_EQ(after.graph.nodes[1].dist->url, before.graph.nodes[1].dist->url);
}

TEST(LockFile, SameResolutionSameBytes) {
  EXPECT_EQ(print_lock(make_lock(resolved())), print_lock(make_lock(resolved())));
}

TEST(LockFile, LocalFilesKeepTheirPath) {
  LockFile lock = make_lock(resolved());
  lock.packages.front().summary.dist.url = "file:///some%20where/a.webc";
  EXPECT_EQ(parse_lock(print_lock(lock)).packages.front().summary.dist.path, "/some where/a.webc");
}

TEST(LockFile, AnswersNothingElse) {
  const LockFile lock = make_lock(resolved());
  LockSource source(lock);
  EXPECT_THROW(static_cast<void>(source.query(PackageSpecifier::parse("acme/base@^2"))), QueryError);
}

TEST(LockFile, NonsenseIsRefused) {
  const std::string good = print_lock(make_lock(resolved()));
  EXPECT_NO_THROW(static_cast<void>(parse_lock(good)));
  const auto refused = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    EXPECT_THROW(static_cast<void>(parse_lock(text)), Error) << from << " -> " << to;
  };
  refused("\"pkgfs_lock\": 1", "\"pkgfs_lock\": 2");
  refused("\"pkgfs_lock\": 1", "\"pkgfs_lock\": \"1\"");
  refused("acme/app@1.0.0\"", "acme/app\"");
  refused("acme/app@1.0.0\"", "acme/lib@1.2.0\"");
  refused("\"id\": \"acme/base@1.0.0\"", "\"id\": \"acme/gone@1.0.0\"");
  refused("\"sha256\": \"", "\"sha256\": \"x");
  refused("\"specifier\": \"acme/lib@^1\"", "\"specifier\": \"\"");
  refused("\"commands\": []", "\"commands\": {}");
  for (std::size_t length = 0; length + 2 < good.size(); length += 7) {
    EXPECT_THROW(static_cast<void>(parse_lock(std::string_view(good).substr(0, length))), Error) << length;
  }
}

}  // namespace
}  // namespace pkgfs::test
