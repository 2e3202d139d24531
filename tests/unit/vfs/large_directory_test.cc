// SPDX-License-Identifier: MIT
// Risk: a directory too large for a node for each entry shows something else than such nodes would, or takes memory for
// each entry all the same.
#include <gtest/gtest.h>

#include <map>

#include "core/vfs/large_directory.h"
#include "core/vfs/mapped_path_file_system.h"
#include "core/vfs/overlay_file_system.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/asked.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

using namespace std::string_literals;

/// Lists what another file system lists, but stores it from the last name to the first.
class Backwards : public FileSystem {
 public:
  explicit Backwards(std::unique_ptr<FileSystem> inner) : inner_(std::move(inner)) {}
  [[nodiscard]] Inode root() const override { return inner_->root(); }
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override { return inner_->lookup(dir, name); }
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override { return inner_->metadata(inode); }
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from,
                                      FunctionRef<bool(const DirEntry&)> visit) override {
    return inner_->read_dir(dir, from, visit);
  }
  [[nodiscard]] Result<void> list_stored(Inode dir, std::uint64_t from, StoredVisitor visit) override {
    std::vector<DirEntry>& entries = stored_[dir];
    if (entries.empty()) {
      (void)inner_->read_dir(dir, 0, [&](const DirEntry& entry) {
        entries.push_back(entry);
        return true;
      });
      std::ranges::reverse(entries);
    }
    for (std::uint64_t at = from; at < entries.size(); ++at) {
      entries[at].next = at + 1;
      if (!visit(at, entries[at])) {
        break;
      }
    }
    return {};
  }
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override { return inner_->read_link(inode); }
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override { return inner_->open(inode); }
  [[nodiscard]] Result<Extent> extent(Inode inode) override { return inner_->extent(inode); }
  [[nodiscard]] std::uint64_t numbers() const override { return inner_->numbers(); }

 protected:
  [[nodiscard]] FileSystem& inner() { return *inner_; }

 private:
  std::unique_ptr<FileSystem> inner_;
  std::map<Inode, std::vector<DirEntry>> stored_;
};

enum class Shape { kOneLayer, kWithCommands, kTwoLayers, kBackwards, kVersion2 };

std::vector<Layer> layers(Shape shape) {
  std::vector<std::unique_ptr<FileSystem>> volumes;
  switch (shape) {
    case Shape::kOneLayer:
      volumes.push_back(volume(7'000, 1));
      break;
    case Shape::kVersion2:
      volumes.push_back(volume(7'000, 1, webc::Version::kV2));
      break;
    case Shape::kBackwards:
      volumes.push_back(std::make_unique<Backwards>(volume(7'000, 1)));
      volumes.push_back(volume(1'000, 3));
      break;
    case Shape::kWithCommands:
      volumes.push_back(volume(7'000, 1));
      volumes.push_back(test::files({{"/bin/x", "x"}, {"/f100050", "hidden"}, {"/d100100/more", "m"}, {"/zz", "z"}}));
      break;
    case Shape::kTwoLayers:
      volumes.push_back(volume(5'000, 2));
      volumes.push_back(volume(5'000, 3));
      volumes.push_back(test::files({{"/d100000/in/file", "f"}, {"/a", "a"}}));
      break;
  }
  std::vector<Layer> layers;
  for (auto& one : volumes) {
    layers.push_back({.fs = std::move(*MappedPathFileSystem::make(std::move(one), "/", "/", 1)),
                      .package = "p",
                      .volume = "v" + std::to_string(layers.size())});
  }
  number_layers(layers);
  return layers;
}

class Large : public testing::TestWithParam<Shape> {};

TEST_P(Large, DirectoriesShowWhatANodeForEachEntryWouldShow) {
  const test::CapturedLog log;
  OverlayFileSystem large(layers(GetParam()), {});
  OverlayFileSystem nodes(layers(GetParam()), {}, OverlayFileSystem::Inodes::kAddresses);
  const auto wanted = ask_everything(nodes);
  const auto found = ask_everything(large);
  ASSERT_EQ(found.size(), wanted.size());
  ASSERT_GT(found.size(), LargeDirectory::kEntries);
  for (std::size_t i = 0; i < found.size(); ++i) {
    ASSERT_EQ(found[i].path, wanted[i].path);
    expect_same(found[i], wanted[i], false);
    EXPECT_EQ(find_path(large, found[i].path)->inode, found[i].inode) << found[i].path;
  }
  for (const char* absent : {"0", "f", "f1000000", "f10000", "f99", "d100000x", "zzz", "bin0", "l"}) {
    EXPECT_EQ(large.lookup(large.root(), absent).has_value(), nodes.lookup(nodes.root(), absent).has_value());
  }
}

TEST_P(Large, ListingsBeginAnywhere) {
  const test::CapturedLog log;
  OverlayFileSystem fs(layers(GetParam()), {});
  std::vector<std::string> names;
  ASSERT_TRUE(fs.read_dir(fs.root(), 0, [&](const DirEntry& entry) {
    names.emplace_back(entry.name);
    return true;
  }));
  ASSERT_TRUE(std::ranges::is_sorted(names));
  for (std::size_t from = 0; from <= names.size() + 2; from += 37) {
    std::size_t at = from;
    ASSERT_TRUE(fs.read_dir(fs.root(), from, [&](const DirEntry& entry) {
      EXPECT_EQ(entry.name, names.at(at));
      EXPECT_EQ(entry.next, ++at);
      return at < from + 40;
    }));
    EXPECT_EQ(at, std::max(from, std::min(from + 40, names.size())));
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, Large,
                         testing::Values(Shape::kOneLayer, Shape::kWithCommands, Shape::kTwoLayers, Shape::kBackwards,
                                         Shape::kVersion2));

TEST(Memory, OfADirectoryOfOneLayerIsTwoBytesAnEntry) {
  const test::CapturedLog log;
  auto layers = vfs::layers(Shape::kOneLayer);
  OverlayOptions options;
  OverlayMerger merger(layers, options, true);
  OverlayContent top;
  OverlayNode root;
  merger.make_root(root, top);
  const auto content = merger.merge(root, 1);
  ASSERT_NE(content->large, nullptr);
  EXPECT_GT(content->count, 7'000U);
  EXPECT_LT(content->bytes, content->count * 3);
}

/// A layer that fails from some moment on, as a container does that was cut.
class Failing final : public Backwards {
 public:
  explicit Failing(std::unique_ptr<FileSystem> inner, const bool& fails) : Backwards(std::move(inner)), fails_(fails) {}
  [[nodiscard]] Result<void> list_stored(Inode dir, std::uint64_t from, StoredVisitor visit) override {
    return fails_ ? fail(EIO) : inner().list_stored(dir, from, visit);
  }

 private:
  const bool& fails_;
};

TEST(Large, ALayerThatFailsIsAnErrorAndNotAMissingName) {
  bool fails = false;
  std::vector<Layer> layers;
  layers.push_back({.fs = std::make_unique<Failing>(volume(7'000, 1), fails), .package = "p", .volume = "v"});
  number_layers(layers);
  OverlayFileSystem fs(std::move(layers), {});
  const Result<Entry> before = fs.lookup(fs.root(), "f100017");
  ASSERT_TRUE(before);
  fails = true;
  EXPECT_EQ(fs.lookup(fs.root(), "f100017").error(), EIO);
  EXPECT_EQ(fs.lookup(fs.root(), "f100018").error(), EIO);
  EXPECT_EQ(fs.metadata(before->inode).error(), EIO);
  EXPECT_EQ(fs.read_dir(fs.root(), 3, [](const DirEntry&) { return true; }).error(), EIO);
  fails = false;
  EXPECT_TRUE(fs.lookup(fs.root(), "f100017"));
}

TEST(Large, ANameThatStandsTwiceShowsOnce) {
  const test::CapturedLog log;
  webc::WriterNode root;
  for (int i = 0; i < 5'000; ++i) {  // the record behind the 64th gets the first one's name afterwards
    const int number = i < 64 ? 2 * i : (i == 64 ? 127 : 2 * i - 2);
    root.children.push_back(
        {.name = "n" + std::to_string(1'000'000 + number), .kind = webc::EntryKind::kFile, .content = "x"s});
  }
  webc::Writer writer(webc::Version::kV2, webc::Json::object());
  writer.add_volume("v", std::move(root));
  std::vector<std::byte> bytes = writer.to_bytes();
  const std::string renamed = "n1000127";
  const auto at = std::ranges::search(bytes, std::as_bytes(std::span(renamed))).begin();
  ASSERT_NE(at, bytes.end());
  const std::string first = "n1000000";
  std::ranges::copy(std::as_bytes(std::span(first)), at);
  const auto container = webc::Container::open(std::make_shared<MemoryBytes>("twice", std::move(bytes)));
  std::vector<Layer> layers;
  layers.push_back(
      {.fs = std::make_unique<WebcVolumeFileSystem>(container->volumes().front()), .package = "p", .volume = "v"});
  number_layers(layers);
  OverlayFileSystem fs(std::move(layers), {});
  std::vector<std::string> names;
  ASSERT_TRUE(fs.read_dir(fs.root(), 0, [&](const DirEntry& entry) {
    names.emplace_back(entry.name);
    return true;
  }));
  EXPECT_TRUE(std::ranges::is_sorted(names));
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());
  EXPECT_EQ(names.size(), 4'999U);
  for (const std::string& name : names) {
    EXPECT_TRUE(fs.lookup(fs.root(), name)) << name;
  }
}

}  // namespace
}  // namespace pkgfs::vfs
