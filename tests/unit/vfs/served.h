// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/vfs/served_file_system.h"

namespace pkgfs::vfs {

using namespace std::chrono_literals;
using Clock = ServedFileSystem::Clock;

inline constexpr Inode kTreeDirectory = (Inode{1} << 31U) | 1U;
inline constexpr Inode kTreeFile = (Inode{5} << 31U) | 7U;

/// A root with the directory "dir", which has the file "file".
class ServedTree final : public FileSystem {
 public:
  explicit ServedTree(std::uint64_t mark) : mark_(mark) {}
  [[nodiscard]] Inode root() const override { return 1; }
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override {
    if (dir == 1 && name == "dir") {
      return Entry{kTreeDirectory, *metadata(kTreeDirectory)};
    }
    return dir == kTreeDirectory && name == "file" ? Result<Entry>(Entry{kTreeFile, *metadata(kTreeFile)})
                                                   : fail(ENOENT);
  }
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override {
    return Attributes{.type = inode == kTreeFile ? FileType::kFile : FileType::kDirectory,
                      .size = mark_,
                      .number = inode == kTreeFile ? 9U
                                : inode == 1       ? 1U
                                                   : 2U};
  }
  [[nodiscard]] Result<void> read_dir(Inode, std::uint64_t, FunctionRef<bool(const DirEntry&)> visit) override {
    (void)visit({.name = "dir", .inode = kTreeDirectory, .next = 1, .attributes = *metadata(kTreeDirectory)});
    return {};
  }
  [[nodiscard]] Result<std::string_view> read_link(Inode) override { return fail(EINVAL); }
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode) override { return fail(EIO); }
  [[nodiscard]] bool is_immutable() const override { return true; }
  [[nodiscard]] std::uint64_t fingerprint() const override { return mark_; }

 private:
  std::uint64_t mark_;
};

class SmallHeld final : public HeldTree {
 public:
  SmallHeld(std::uint64_t mark, int& open) : tree_(mark), open_(open) { ++open_; }
  ~SmallHeld() override { --open_; }
  [[nodiscard]] FileSystem& tree() override { return tree_; }
  [[nodiscard]] std::shared_ptr<const void> recipe() const override { return recipe_; }

 private:
  ServedTree tree_;
  int& open_;
  std::shared_ptr<const void> recipe_ = std::make_shared<int>(1);
};

/// In "acme": "link" is a link to find, ".x" is absent, all else are trees. `finish` ends a search.
class FakeNames final : public ServedNames {
 public:
  [[nodiscard]] Meaning meaning_of(const std::string& directory, std::string_view name) override {
    if (directory.empty()) {
      return {.kind = Meaning::Kind::kDirectory};
    }
    return {.kind = name == ".x"     ? Meaning::Kind::kAbsent
                    : name == "link" ? Meaning::Kind::kFoundLink
                                     : Meaning::Kind::kTree,
            .text = {},
            .state = name == "locked" ? state : std::string()};
  }
  void find(std::uint64_t number, const std::string& path, std::shared_ptr<const void> recipe, Done done) override {
    searches.emplace(path, std::move(done));
    numbers[path] = number;
    recipes[path] = std::move(recipe);
  }
  void give_up(std::uint64_t number) override { given_up.insert(number); }
  [[nodiscard]] std::uint64_t progress(std::uint64_t) override { return how_far; }
  void end_late() override {}
  void list(const std::string& directory, ListDone done) override {
    if (hangs) {
      waiting = std::move(done);
    } else {
      done(directory.empty() ? listed : std::vector<Listed>{}, list_error);
    }
  }
  void finish(const std::string& path, Finding finding) {
    const Done done = std::move(searches.at(path));
    searches.erase(path);
    done(std::move(finding));
  }

  std::map<std::string, Done> searches;
  std::map<std::string, std::uint64_t> numbers;
  std::map<std::string, std::shared_ptr<const void>> recipes;
  std::set<std::uint64_t> given_up;
  std::vector<Listed> listed{{.name = "acme"}};
  bool hangs = false;  // `list`
  int list_error = 0;
  ListDone waiting;
  std::string state;          // of "locked"
  std::uint64_t how_far = 1;  // of all searches
};

class Served : public ::testing::Test {
 protected:
  [[nodiscard]] ServedNames::Finding tree(std::uint64_t mark) {
    return {.tree = std::make_shared<SmallHeld>(mark, open_), .link = {}, .error = 0, .reason = {}};
  }
  std::uint64_t wait(Inode dir, const std::string& name) {
    return fs_.wait_for(dir, name, [this] { ++ready_; });
  }
  /// Looks up "acme/NAME", whose tree has this mark.
  Inode open(const std::string& name, std::uint64_t mark) {
    EXPECT_EQ(fs_.lookup(acme_, name), fail(ServedFileSystem::kMustWait)) << name;
    (void)wait(acme_, name);
    names_.finish("acme/" + name, tree(mark));
    const Result<Entry> found = fs_.lookup(acme_, name);
    EXPECT_TRUE(found) << name;
    return found ? found->inode : 0;
  }
  void close_idle() {
    (void)fs_.idle(Clock::now(), 0ms);  // forgets that they were used
    for (const auto& idle : fs_.idle(Clock::now() + 1h, 1s)) {
      if (fs_.is_unused(idle.slot)) {
        fs_.hide(idle.slot);
        fs_.detach(idle.slot);
        (void)fs_.close(idle.slot);
      }
    }
  }

  FakeNames names_;
  int open_ = 0;
  int ready_ = 0;
  ServedFileSystem fs_{names_, {.immutable = true, .patience = 1000ms, .modified = 1}};
  Inode acme_ = fs_.lookup(fs_.root(), "acme")->inode;
};

}  // namespace pkgfs::vfs
