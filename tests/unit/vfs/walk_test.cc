// SPDX-License-Identifier: MIT
// Risk: a walk that leaves something out, comes in another order, or keeps references for ever.
#include "core/vfs/walk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <map>
#include <string>
#include <vector>

#include "core/base/limits.h"

namespace pkgfs::vfs {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// A tree of paths: "/" behind a directory's, "@target" behind a link's. Counts the references that it gave; entries
/// and listings can be broken.
class Tree final : public FileSystem {
 public:
  explicit Tree(const std::vector<std::string>& paths) {
    for (const std::string& path : paths) {
      add(path);
    }
  }

  [[nodiscard]] Inode root() const override { return 1; }
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override {
    const auto found = nodes_.at(dir).names.find(name);
    if (found == nodes_.at(dir).names.end()) {
      return fail(ENOENT);
    }
    if (const int error = broken_entries[std::string(name)]; error != 0) {
      return fail(error);
    }
    ++references_[found->second];
    ++lookups;
    return Entry{found->second, attributes(found->second)};
  }
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override { return attributes(inode); }
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from,
                                      FunctionRef<bool(const DirEntry&)> visit) override {
    ++listings;
    const auto& names = nodes_.at(dir).names;
    std::uint64_t at = 0;
    for (const auto& [name, inode] : names) {
      if (++at > from && !visit({.name = name, .next = at, .attributes = attributes(inode)})) {
        return {};
      }
    }
    const int error = broken_listings[nodes_.at(dir).name];
    return error != 0 ? fail(error) : Result<void>{};
  }
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override {
    return std::string_view(nodes_.at(inode).target);
  }
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode /*inode*/) override { return fail(EIO); }
  void forget(Inode inode, std::uint64_t count) override { references_.at(inode) -= static_cast<int>(count); }

  [[nodiscard]] std::map<Inode, int> kept() const {
    std::map<Inode, int> kept = references_;
    std::erase_if(kept, [](const auto& one) { return one.second == 0; });
    return kept;
  }

  std::map<std::string, int> broken_entries;
  std::map<std::string, int> broken_listings;
  int lookups = 0;
  int listings = 0;

 private:
  struct Node {
    std::string name;
    FileType type = FileType::kDirectory;
    std::string target;
    std::map<std::string, Inode, std::less<>> names;
  };
  [[nodiscard]] Attributes attributes(Inode inode) const { return {.type = nodes_.at(inode).type, .size = inode}; }
  void add(std::string_view path) {
    Inode here = 1;
    while (!path.empty()) {
      const std::size_t end = path.find_first_of("/@");
      const std::string name(path.substr(0, end));
      const auto [child, is_new] = nodes_.at(here).names.try_emplace(name, nodes_.size() + 1);
      here = child->second;
      Node& node = nodes_[here];
      node.name = name;
      if (end == std::string_view::npos || path[end] == '@') {
        node.type = end == std::string_view::npos ? FileType::kFile : FileType::kSymlink;
        node.target = end == std::string_view::npos ? "" : path.substr(end + 1);
        return;
      }
      path = path.substr(end + 1);
    }
  }

  std::map<Inode, Node> nodes_{{1, {}}};
  std::map<Inode, int> references_;
};

std::string text_of(const WalkStep& step) {
  std::string text = step.leaving ? "leave " : "";
  text += step.path.empty() ? "/" : step.path;
  return step.error == 0 ? text : text + " errno " + std::to_string(step.error);
}

std::vector<std::string> steps(FileSystem& fs, const WalkOptions& options = {}) {
  std::vector<std::string> all;
  for (TreeWalk walk(fs, fs.root(), options); walk.next();) {
    all.push_back(text_of(walk.step()));
  }
  return all;
}

TEST(TreeWalk, IsDepthFirstInTheOrderOfNames) {
  Tree tree({"b", "a/y", "a/x/", "c@a"});
  EXPECT_THAT(steps(tree), ElementsAre("/a", "/a/x", "leave /a/x", "/a/y", "leave /a", "/b", "/c", "leave /"));
  EXPECT_THAT(tree.kept(), IsEmpty());
}

TEST(TreeWalk, TellsDepthAndWhatIsLast) {
  Tree tree({"a/x", "b"});
  TreeWalk walk(tree, tree.root());
  ASSERT_TRUE(walk.next());
  EXPECT_EQ(walk.step().name, "a");
  EXPECT_EQ(walk.step().depth, 0U);
  EXPECT_FALSE(walk.step().last);
  ASSERT_TRUE(walk.next());
  EXPECT_EQ(walk.step().name, "x");
  EXPECT_EQ(walk.step().depth, 1U);
  EXPECT_TRUE(walk.step().last);
  ASSERT_TRUE(walk.next());
  EXPECT_TRUE(walk.step().leaving);
  EXPECT_EQ(walk.step().name, "a");
  EXPECT_EQ(walk.step().depth, 0U);
  EXPECT_FALSE(walk.step().last);
}

TEST(TreeWalk, GoesAroundWhatIsSkipped) {
  Tree tree({"a/x", "b/y"});
  std::vector<std::string> seen;
  for (TreeWalk walk(tree, tree.root()); walk.next();) {
    seen.push_back(text_of(walk.step()));
    if (walk.step().name == "a") {
      walk.skip();
    }
  }
  EXPECT_THAT(seen, ElementsAre("/a", "/b", "/b/y", "leave /b", "leave /"));
  EXPECT_THAT(tree.kept(), IsEmpty());
}

TEST(TreeWalk, DirectoriesOnlyLooksUpNothingElse) {
  Tree tree({"a/x", "b/c/y", "z"});
  EXPECT_THAT(steps(tree, {.directories_only = true}),
              ElementsAre("/a", "leave /a", "/b", "/b/c", "leave /b/c", "leave /b", "leave /"));
  EXPECT_EQ(tree.lookups, 3);
}

TEST(TreeWalk, ABatchAtATimeComesToTheSame) {
  Tree tree({"a", "b/x", "b/y", "c", "d/", "e"});
  const std::vector<std::string> whole = steps(tree);
  for (const std::size_t batch : {1U, 2U, 3U, 5U}) {
    EXPECT_EQ(steps(tree, {.batch = batch}), whole) << batch;
    bool was_last = false;
    for (TreeWalk walk(tree, tree.root(), {.batch = batch}); walk.next();) {
      was_last = walk.step().path == "/e" ? walk.step().last : was_last;
      EXPECT_FALSE(walk.step().path == "/c" && walk.step().last);
    }
    EXPECT_TRUE(was_last) << batch;
  }
}

TEST(TreeWalk, ErrorsAreStepsAndTheWalkGoesOn) {
  Tree tree({"a", "b/x", "c"});
  tree.broken_entries["a"] = EIO;
  tree.broken_listings["b"] = EACCES;
  EXPECT_THAT(steps(tree), ElementsAre("/a errno 5", "/b", "/b/x", "leave /b errno 13", "/c", "leave /"));
  EXPECT_THAT(tree.kept(), IsEmpty());
}

TEST(TreeWalk, DirectoriesThatAreTooDeepAreNotEntered) {
  std::string path;
  for (std::size_t i = 0; i < limits::kTreeDepth + 5; ++i) {
    path += "d/";
  }
  Tree tree({path});
  std::size_t entered = 0;
  std::size_t refused = 0;
  for (TreeWalk walk(tree, tree.root()); walk.next();) {
    entered += walk.step().leaving ? 1 : 0;
    refused += walk.step().error == ELOOP ? 1 : 0;
  }
  EXPECT_EQ(entered, limits::kTreeDepth);
  EXPECT_EQ(refused, 1U);
  EXPECT_THAT(tree.kept(), IsEmpty());
}

TEST(TreeWalk, ReturnsItsReferencesWhenItEndsEarly) {
  Tree tree({"a/b/c/d"});
  {
    TreeWalk walk(tree, tree.root());
    while (walk.next() && walk.step().name != "c") {
    }
    EXPECT_EQ(tree.kept().size(), 3U);
  }
  EXPECT_THAT(tree.kept(), IsEmpty());
}

/// The errno, or the type and number of what was found.
int look_up(Tree& tree, std::string_view path, Follow follow) {
  const Result<Entry> found = find_path(tree, path, follow);
  if (found && found->inode != tree.root()) {
    tree.forget(found->inode, 1);
  }
  EXPECT_THAT(tree.kept(), IsEmpty()) << path;
  return found ? 0 : found.error();
}

FileType type_of(Tree& tree, std::string_view path, Follow follow) {
  return find_path(tree, path, follow)->attributes.type;
}

TEST(FindPath, UnderstandsDotsAndSlashes) {
  Tree tree({"a/b/f", "g"});
  for (const char* path : {"", "/", "a", "/a/b/f", "//a///b/f", "a/./b/../b/f", "../../a/b/f", "a/b/"}) {
    EXPECT_EQ(look_up(tree, path, Follow::kAll), 0) << path;
    EXPECT_EQ(look_up(tree, path, Follow::kNone), 0) << path;
  }
  EXPECT_EQ(look_up(tree, "a/x", Follow::kAll), ENOENT);
  EXPECT_EQ(look_up(tree, "g/x", Follow::kAll), ENOTDIR);
  EXPECT_EQ(look_up(tree, "g/", Follow::kAll), ENOTDIR);
  EXPECT_EQ(look_up(tree, "g/..", Follow::kAll), ENOTDIR);
}

TEST(FindPath, FollowsAsManyLinksAsItIsTold) {
  Tree tree({"d/f", "to_d@d", "to_f@/d/f", "d/up@../g", "g", "loop@loop", "empty@", "far@to_d/up"});
  EXPECT_EQ(type_of(tree, "to_f", Follow::kAll), FileType::kFile);
  EXPECT_EQ(type_of(tree, "to_f", Follow::kAllButLast), FileType::kSymlink);
  EXPECT_EQ(type_of(tree, "to_f", Follow::kNone), FileType::kSymlink);
  EXPECT_EQ(type_of(tree, "to_d/", Follow::kAllButLast), FileType::kDirectory);
  EXPECT_EQ(type_of(tree, "to_d/f", Follow::kAllButLast), FileType::kFile);
  EXPECT_EQ(find_path(tree, "to_d/f", Follow::kNone).error(), ENOTDIR);
  EXPECT_EQ(type_of(tree, "far", Follow::kAll), FileType::kFile);
  EXPECT_EQ(find_path(tree, "loop", Follow::kAll).error(), ELOOP);
  EXPECT_EQ(find_path(tree, "empty", Follow::kAll).error(), ENOENT);
}

TEST(FindPath, KeepsNoReferenceButTheAnswers) {
  Tree tree({"d/e/f", "link@d/e"});
  for (const char* path : {"d/e/f", "link/f", "link/../e/f", "link/x", "d/e/f/x"}) {
    (void)look_up(tree, path, Follow::kAll);
  }
  ASSERT_TRUE(find_path(tree, "link/f", Follow::kAll));
  EXPECT_EQ(tree.kept().size(), 1U);
}

}  // namespace
}  // namespace pkgfs::vfs
