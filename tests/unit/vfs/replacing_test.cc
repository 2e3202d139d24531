// SPDX-License-Identifier: MIT
// Risk: a tree that another one replaces shows parts of both, loses inodes that didn't change, or frees a layer that an
// operation or the kernel still uses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "core/vfs/live_layers.h"
#include "core/vfs/live_overlay_file_system.h"
#include "core/vfs/union_file_system.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

using test::mount_of;
using test::tree_of;
using testing::ElementsAre;

Mount with_key(Mount mount, const std::string& key) {
  mount.key = key;
  return mount;
}

std::unique_ptr<LiveOverlayFileSystem> tree_with(std::vector<Mount> mounts,
                                                 const LiveOverlayFileSystem* replaced = nullptr) {
  OverlayOptions options;
  options.replaceable = true;
  if (replaced != nullptr) {
    options.first_number = replaced->next_number();
  }
  auto made = make_union_file_system(std::move(mounts), options);
  return std::unique_ptr<LiveOverlayFileSystem>(dynamic_cast<LiveOverlayFileSystem*>(made.release()));
}

template <typename... Mounts>
std::vector<Mount> all_of(Mounts... mounts) {
  std::vector<Mount> all;
  (all.push_back(std::move(mounts)), ...);
  return all;
}

/// A layer that says whether it still exists.
class Tracked final : public FileSystem {
 public:
  explicit Tracked(std::shared_ptr<int> token) : token_(std::move(token)) {}
  [[nodiscard]] Inode root() const override { return 1; }
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override {
    return dir == 1 && name == "f" ? Result<Entry>(Entry{2, {.number = 2}}) : fail(ENOENT);
  }
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override {
    Attributes attributes;
    attributes.type = inode == 1 ? FileType::kDirectory : FileType::kFile;
    attributes.number = inode;
    return attributes;
  }
  [[nodiscard]] Result<void> read_dir(Inode, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override {
    if (from == 0) {
      visit({.name = "f", .inode = 2, .next = 1, .attributes = *metadata(2)});
    }
    return {};
  }
  [[nodiscard]] std::uint64_t numbers() const override { return 2; }
  [[nodiscard]] Result<std::string_view> read_link(Inode) override { return fail(EINVAL); }
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode) override { return fail(EIO); }

 private:
  std::shared_ptr<int> token_;
};

TEST(LiveLayers, WhatIsRetiredWaitsForTheOperationsThatBeganBefore) {
  LiveLayers layers({}, true);
  std::vector<int> ended;
  auto first = layers.use();
  layers.retire([&] { ended.push_back(1); });
  auto second = layers.use();
  layers.retire([&] { ended.push_back(2); });
  auto third = layers.use();
  second.reset();
  EXPECT_THAT(ended, ElementsAre()) << "the first operation may use it, too";
  first.reset();
  EXPECT_THAT(ended, ElementsAre(1, 2));
  layers.retire([&] { ended.push_back(3); });
  EXPECT_THAT(ended, ElementsAre(1, 2));
  third.reset();
  EXPECT_THAT(ended, ElementsAre(1, 2, 3));
  layers.retire([&] { ended.push_back(4); });
  EXPECT_THAT(ended, ElementsAre(1, 2, 3, 4));
}

TEST(LiveLayers, ManyMomentsEndInTheirOrder) {
  constexpr int kMany = 200'000;  // with a recursion, the stack would end
  LiveLayers layers({}, true);
  auto use = layers.use();
  int ended = 0;
  bool in_order = true;
  for (int i = 0; i < kMany; ++i) {
    layers.retire([&, i] { in_order = in_order && ended++ == i; });
  }
  layers.retire([&] { layers.retire([&] { ++ended; }); });
  EXPECT_EQ(ended, 0);
  use.reset();
  EXPECT_EQ(ended, kMany + 1);
  EXPECT_TRUE(in_order);
}

TEST(LiveLayers, ALayerLivesAsLongAsItHasUsers) {
  const auto token = std::make_shared<int>();
  LiveLayers layers({}, true);
  const std::size_t room = layers.room();
  const std::uint32_t number = layers.add({.fs = std::make_unique<Tracked>(token), .package = "p", .volume = "v"});
  EXPECT_EQ(token.use_count(), 2);
  layers.add_user(number);
  layers.drop_users(number, 1);
  auto use = layers.use();
  layers.drop_users(number, 1);
  EXPECT_FALSE(layers.try_add_user(number));
  EXPECT_EQ(token.use_count(), 2);
  EXPECT_EQ(layers.room(), room - 1);
  use.reset();
  EXPECT_EQ(token.use_count(), 1);
  EXPECT_EQ(layers.room(), room);
}

TEST(Replacing, ShowsTheOtherTree) {
  const test::TempDir dir;
  dir.write("f", "host");
  const auto fs = tree_with(all_of(with_key(test::live_mount(dir.path(), "/app"), "app"),
                                   with_key(mount_of("dep", "/lib", {{"/x", "1"}}), "dep")));
  EXPECT_THAT(tree_of(*fs), ElementsAre("/app/", "/app/f=host", "/lib/", "/lib/x=1"));
  fs->replace(*tree_with(all_of(with_key(test::live_mount(dir.path(), "/other"), "app"),
                                with_key(mount_of("new", "/lib/deep", {{"/y", "2"}}), "new")),
                         fs.get()));
  EXPECT_THAT(tree_of(*fs), ElementsAre("/lib/", "/lib/deep/", "/lib/deep/y=2", "/other/", "/other/f=host"));
  fs->replace(*tree_with({}, fs.get()));
  EXPECT_THAT(tree_of(*fs), ElementsAre());
}

TEST(Replacing, InodesOfWhatIsTheSameStay) {
  const test::TempDir dir;
  dir.write("d/f", "host");
  const auto make = [&](bool more, const LiveOverlayFileSystem* replaced) {
    std::vector<Mount> mounts = all_of(with_key(test::live_mount(dir.path(), "/app"), "app"),
                                       with_key(mount_of("dep", "/lib", {{"/x", "1"}}), "dep"));
    if (more) {
      mounts.push_back(mount_of("new", "/app/d/more", {{"/y", "2"}}));
      mounts.push_back(mount_of("new", "/lib", {{"/z", "3"}}));
    }
    return tree_with(std::move(mounts), replaced);
  };
  const auto fs = make(false, nullptr);
  const auto app = fs->lookup(fs->root(), "app");
  const auto inside = fs->lookup(app->inode, "d");
  const auto file = fs->lookup(inside->inode, "f");
  const auto package = fs->lookup(fs->root(), "lib");
  ASSERT_TRUE(app && inside && file && package);
  for (int i = 0; i < 3; ++i) {
    fs->replace(*make(i % 2 == 0, fs.get()));
    const auto app_now = fs->lookup(fs->root(), "app");
    const auto inside_now = fs->lookup(app->inode, "d");
    const auto file_now = fs->lookup(inside->inode, "f");
    ASSERT_TRUE(app_now && inside_now && file_now);
    EXPECT_EQ(app_now->inode, app->inode);
    EXPECT_EQ(inside_now->inode, inside->inode) << "a directory gets another layer";
    EXPECT_EQ(file_now->inode, file->inode);
    EXPECT_EQ(file_now->attributes.number, file->attributes.number);
    EXPECT_EQ(fs->lookup(inside->inode, "more").has_value(), i % 2 == 0);
    if (const auto more = fs->lookup(inside->inode, "more"); more) {
      EXPECT_GE(fs->lookup(more->inode, "y")->attributes.number, 1ULL << 48U);
      fs->forget(fs->lookup(more->inode, "y")->inode, 2);
      fs->forget(more->inode, 1);
    }
    for (const auto& found : {*app_now, *inside_now, *file_now}) {
      fs->forget(found.inode, 1);
    }
  }
  const auto lib = fs->lookup(fs->root(), "lib");
  ASSERT_TRUE(lib);
  EXPECT_EQ(fs->metadata(package->inode)->type, FileType::kDirectory) << "the kernel may still know it";
  for (const auto& found : {*app, *inside, *file, *package, *lib}) {
    fs->forget(found.inode, 1);
  }
}

/// A live layer with the directories "d" and "e". Calls a function at the next look-up of "d".
class Hooked final : public FileSystem {
 public:
  explicit Hooked(std::shared_ptr<std::function<void()>> hook) : hook_(std::move(hook)) {}
  [[nodiscard]] Inode root() const override { return 2; }
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override {
    if (dir != 2 || (name != "d" && name != "e")) {
      return fail(ENOENT);
    }
    if (name == "d" && *hook_) {
      std::exchange(*hook_, nullptr)();
    }
    const Inode inode = name == "d" ? 4 : 6;
    return Entry{inode, *metadata(inode)};
  }
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override {
    return Attributes{.type = FileType::kDirectory, .number = inode, .live = true};
  }
  [[nodiscard]] Result<void> read_dir(Inode, std::uint64_t, FunctionRef<bool(const DirEntry&)>) override { return {}; }
  [[nodiscard]] Result<std::string_view> read_link(Inode) override { return fail(EINVAL); }
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode) override { return fail(EIO); }

 private:
  std::shared_ptr<std::function<void()>> hook_;
};

TEST(Replacing, ANameThatIsLookedUpMeanwhileKeepsItsInode) {
  const auto hook = std::make_shared<std::function<void()>>();
  const auto make = [&](const LiveOverlayFileSystem* replaced) {
    std::vector<Mount> mounts;
    mounts.push_back({.fs = std::make_shared<Hooked>(hook),
                      .mount_path = "/",
                      .package = "live",
                      .volume = "v",
                      .live = true,
                      .key = "same"});
    if (replaced != nullptr) {
      mounts.push_back(mount_of("new", "/more", {{"/y", "2"}}));
    }
    return tree_with(std::move(mounts), replaced);
  };
  const auto fs = make(nullptr);
  const auto d = fs->lookup(fs->root(), "d");
  ASSERT_TRUE(d);
  Result<Entry> e = fail(EIO);
  *hook = [&] { e = fs->lookup(fs->root(), "e"); };  // while `replace` looks at "d"
  fs->replace(*make(fs.get()));
  ASSERT_TRUE(e);
  const auto e_now = fs->lookup(fs->root(), "e");
  ASSERT_TRUE(e_now);
  EXPECT_EQ(e_now->inode, e->inode) << "the kernel detaches what is mounted there";
  EXPECT_TRUE(fs->lookup(fs->root(), "more"));
  fs->forget(e->inode, 2);
  fs->forget(d->inode, 1);
}

TEST(Replacing, ALayerGoesWithItsLastInode) {
  const auto token = std::make_shared<int>();
  const auto make = [&](const std::string& path, bool live, const LiveOverlayFileSystem* replaced) {
    std::vector<Mount> mounts;
    mounts.push_back(
        {.fs = std::make_shared<Tracked>(token), .mount_path = path, .package = "p", .volume = "v", .live = live});
    return tree_with(std::move(mounts), replaced);
  };
  for (const bool live : {true, false}) {
    SCOPED_TRACE(live);
    const auto fs = make("/a", live, nullptr);
    const auto a = fs->lookup(fs->root(), "a");
    const auto file = fs->lookup(a->inode, "f");
    ASSERT_TRUE(a && file);
    fs->replace(*make("/b", live, fs.get()));
    EXPECT_EQ(token.use_count(), 3) << "both are needed";
    EXPECT_FALSE(fs->lookup(fs->root(), "a"));
    EXPECT_TRUE(fs->lookup(a->inode, "f")) << "what is open stays readable";
    fs->forget(file->inode, 2);
    EXPECT_EQ(token.use_count(), 3);
    fs->forget(a->inode, 1);
    EXPECT_EQ(token.use_count(), 2);
    for (int i = 0; i < 100; ++i) {
      fs->replace(*make("/c", live, fs.get()));
    }
    EXPECT_EQ(token.use_count(), 2);
  }
  EXPECT_EQ(token.use_count(), 1);
}

TEST(Replacing, OperationsInOtherThreadsSeeEitherTree) {
  const test::TempDir dir;
  dir.write("one/f", "1");
  dir.write("two/f", "2");
  const auto make = [&](int i, const LiveOverlayFileSystem* replaced) {
    std::vector<Mount> mounts =
        all_of(with_key(test::live_mount(dir.path() / "one", "/a"), "one"), mount_of("dep", "/lib", {{"/x", "1"}}));
    if (i % 2 == 0) {
      mounts.push_back(test::live_mount(dir.path() / "two", "/b"));
    }
    return tree_with(std::move(mounts), replaced);
  };
  const auto fs = make(0, nullptr);
  std::atomic<bool> stop{false};
  std::atomic<unsigned> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!stop) {
        for (const std::vector<std::string>& path : {std::vector<std::string>{"a", "f"}, {"b", "f"}, {"lib", "x"}}) {
          const auto directory = fs->lookup(fs->root(), path.front());
          if (!directory) {
            wrong += path.front() == "b" && directory.error() == ENOENT ? 0 : 1;
            continue;
          }
          const auto file = fs->lookup(directory->inode, path.back());
          wrong += file ? 0 : 1;
          if (file) {
            wrong += fs->open(file->inode) ? 0 : 1;
            fs->forget(file->inode, 1);
          }
          fs->forget(directory->inode, 1);
        }
        unsigned entries = 0;
        (void)fs->read_dir(fs->root(), 0, [&](const DirEntry&) { return ++entries != 0; });
        wrong += entries == 2 || entries == 3 ? 0 : 1;
      }
    });
  }
  for (int i = 1; i <= 200; ++i) {
    fs->replace(*make(i, fs.get()));
  }
  stop = true;
  for (std::thread& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong, 0U);
}

}  // namespace
}  // namespace pkgfs::vfs
