// SPDX-License-Identifier: MIT
// Risk: a mount of a large package grows until the kernel kills it; a directory that was evicted, or is too large for a
// node for each entry, shows something else than before; memory is freed while a thread reads it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <thread>

#include "core/vfs/directory_cache.h"
#include "core/vfs/large_directory.h"
#include "core/vfs/mapped_path_file_system.h"
#include "core/vfs/overlay_file_system.h"
#include "core/vfs/union_file_system.h"
#include "core/vfs/walk.h"
#include "core/vfs/webc_volume_file_system.h"
#include "core/webc/container.h"
#include "core/webc/writer.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

using namespace std::string_literals;

/// Everything that can be asked about an entry.
struct Asked {
  Inode inode = 0;
  Attributes attributes;
  std::uint64_t parent = 0;
  Place place;
  std::string path;
  std::string link;
  std::uint64_t offset = 0;
};

Asked ask(FileSystem& fs, Inode inode) {
  Asked asked;
  asked.inode = inode;
  asked.attributes = fs.metadata(inode).value_or(Attributes{});
  asked.place = fs.place(inode).value_or(Place{});
  asked.parent = fs.parent_number(inode).value_or(0);
  asked.link = fs.read_link(inode).value_or("");
  asked.offset = fs.extent(inode).value_or(Extent{}).offset;
  return asked;
}

std::vector<Asked> ask_everything(FileSystem& fs) {
  std::vector<Asked> all;
  for (TreeWalk walk(fs, fs.root()); walk.next();) {
    if (!walk.step().leaving && walk.step().error == 0) {
      all.push_back(ask(fs, walk.step().inode));
      all.back().path = walk.step().path;
    }
  }
  return all;
}

void expect_same(const Asked& a, const Asked& b, bool inodes = true) {
  SCOPED_TRACE(a.path);
  if (inodes) {
    EXPECT_EQ(a.inode, b.inode);
    EXPECT_EQ(a.place.directory, b.place.directory);
  }
  EXPECT_EQ(a.place.next, b.place.next);
  EXPECT_EQ(a.parent, b.parent);
  EXPECT_EQ(a.link, b.link);
  EXPECT_EQ(a.offset, b.offset);
  EXPECT_EQ(a.attributes.type, b.attributes.type);
  EXPECT_EQ(a.attributes.mode, b.attributes.mode);
  EXPECT_EQ(a.attributes.size, b.attributes.size);
  EXPECT_EQ(a.attributes.number, b.attributes.number);
  EXPECT_EQ(a.attributes.modified, b.attributes.modified);
  EXPECT_EQ(a.attributes.mount_ancestor, b.attributes.mount_ancestor);
}

/// The volumes of a container at two nested paths, in little memory.
std::unique_ptr<FileSystem> tree(const std::string& name, std::size_t memory) {
  const auto bytes = test::read_text(test::fixtures() / "webc" / (name + ".webc"));
  const auto container = webc::Container::open(test::blob_of(bytes).source);
  std::vector<Mount> mounts;
  for (const char* path : {"/", "/deep/er"}) {
    for (const auto& volume : container->volumes()) {
      mounts.push_back({.fs = std::make_unique<WebcVolumeFileSystem>(volume),
                        .mount_path = path,
                        .package = "p",
                        .volume = volume->name()});
    }
  }
  mounts.push_back(test::mount_of("", "/deep", {{"/bin/one", "1"}, {"/er/two", "2"}}));
  return make_union_file_system(std::move(mounts), {.memory = memory});
}

class Evicted : public testing::TestWithParam<const char*> {};

TEST_P(Evicted, DirectoriesAreTheSameWhenTheyAreMergedAgain) {
  const test::CapturedLog log;
  const auto roomy = tree(GetParam(), std::size_t{1} << 30U);
  const auto known = ask_everything(*roomy);
  ASSERT_GT(known.size(), 20U);
  for (const std::size_t memory : {std::size_t{1}, std::size_t{5'000}}) {
    const auto fs = tree(GetParam(), memory);
    auto order = ask_everything(*fs);
    ASSERT_EQ(order.size(), known.size());
    for (std::size_t i = 0; i < known.size(); ++i) {
      expect_same(known[i], order[i]);
    }
    std::shuffle(order.begin(), order.end(), std::mt19937(3));
    order.resize(std::min<std::size_t>(order.size(), 100));
    for (const Asked& one : order) {
      expect_same(one, ask(*fs, one.inode));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Containers, Evicted, testing::Values("many-v1", "many-v3", "symlinks-v3", "deep-v3"),
                         [](const auto& name) {
                           std::string text = name.param;
                           std::ranges::replace(text, '-', '_');
                           return text;
                         });

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

/// A volume with `files` files, directories and links in its root, of which every `step`-th number is used.
std::unique_ptr<FileSystem> volume(int files, int step, webc::Version version = webc::Version::kV3) {
  webc::WriterNode root;
  for (int i = 0; i < files; ++i) {
    const std::string number = std::to_string(100'000 + i * step);
    root.children.push_back({.name = "f" + number, .kind = webc::EntryKind::kFile, .content = number});
    if (i % 100 == 0) {
      root.children.push_back({.name = "d" + number, .children = {{.name = "in", .children = {}}}});
    }
    if (i % 700 == 0 && version == webc::Version::kV3) {
      const char* const target = i % 1400 == 0 ? "../../../out" : "f100000";
      root.children.push_back({.name = "l" + number, .kind = webc::EntryKind::kSymlink, .target = target});
    }
  }
  webc::Writer writer(version, webc::Json::object());
  writer.add_volume("v", std::move(root));
  const auto container = webc::Container::open(std::make_shared<MemoryBytes>("big", writer.to_bytes()));
  return std::make_unique<WebcVolumeFileSystem>(container->volumes().front());
}

TEST(Evicted, LinksThatLeadOutAreToldOnce) {
  const test::CapturedLog log;
  std::vector<Mount> mounts;
  mounts.push_back({.fs = volume(1, 1), .mount_path = "/", .package = "p", .volume = "v"});
  const auto fs = make_union_file_system(std::move(mounts), {.memory = 1});
  for (int i = 0; i < 2; ++i) {
    (void)ask_everything(*fs);
    const std::string text = log.text();
    const std::size_t told = text.find("leads out of its volume");
    EXPECT_NE(told, std::string::npos);
    EXPECT_EQ(told, text.rfind("leads out of its volume"));
  }
}

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

std::unique_ptr<OverlayContent> content(std::uint64_t number, std::size_t bytes) {
  auto made = std::make_unique<OverlayContent>();
  made->number = number;
  made->directory = number + 1'000'000;
  made->bytes = bytes;
  return made;
}

TEST(DirectoryCache, KeepsItsBudgetAndWhatIsUsed) {
  DirectoryCache cache(100'000);
  for (std::uint64_t number = 1; number <= 10'000; ++number) {
    const ReadSection reading;
    cache.add(content(number, 1'000));
    EXPECT_LE(cache.bytes(), 101'000U);
    EXPECT_NE(cache.find(7) == nullptr, number >= 7);
  }
  const ReadSection reading;
  EXPECT_EQ(cache.find(1), nullptr);
  EXPECT_GT(cache.bytes(), 80'000U);
}

TEST(DirectoryCache, RemembersSomeOfTheEvicted) {
  DirectoryCache cache(100'000);
  for (std::uint64_t number = 1; number <= 150; ++number) {
    const ReadSection reading;
    cache.add(content(number, 1'000));
  }
  const ReadSection reading;
  EXPECT_EQ(cache.find(1), nullptr);
  EXPECT_EQ(cache.evicted(1), 1'000'001U);
  EXPECT_EQ(cache.evicted(150), 0U);
  for (std::uint64_t number = 151; number <= 100'000; ++number) {
    cache.add(content(number, 1'000));
  }
  std::size_t known = 0;
  for (std::uint64_t number = 1; number <= 100'000; ++number) {
    known += cache.evicted(number) != 0 ? 1 : 0;
  }
  EXPECT_GT(known, 90U);
  EXPECT_LT(known, 1'000U) << "a table that never forgets grows without a bound";
}

/// A directory in a directory, `depth` deep, each with `files` files.
std::unique_ptr<FileSystem> deep_volume(int depth, int files) {
  webc::WriterNode root;
  webc::WriterNode* here = &root;
  for (int level = 0; level < depth; ++level) {
    for (int file = 0; file < files; ++file) {
      here->children.push_back({.name = "f" + std::to_string(file), .kind = webc::EntryKind::kFile, .content = "x"s});
    }
    here->children.insert(here->children.begin(), webc::WriterNode{.name = std::string(200, 'd')});
    here = &here->children.front();
  }
  webc::Writer writer(webc::Version::kV3, webc::Json::object());
  writer.add_volume("v", std::move(root));
  const auto container = webc::Container::open(std::make_shared<MemoryBytes>("deep", writer.to_bytes()));
  return std::make_unique<WebcVolumeFileSystem>(container->volumes().front());
}

TEST(Evicted, AChainOfDirectoriesIsMergedAgainInBoundedMemory) {
  const test::CapturedLog log;
  std::vector<Mount> mounts;
  mounts.push_back({.fs = deep_volume(60, 50), .mount_path = "/", .package = "p", .volume = "v"});
  const auto fs = make_union_file_system(std::move(mounts), {.memory = 1});
  const auto known = ask_everything(*fs);
  ASSERT_EQ(known.size(), 60U * 51);
  const Asked& deepest = known[59];
  expect_same(deepest, ask(*fs, deepest.inode));
  EXPECT_EQ(fs->origin(deepest.inode)->path, deepest.path);
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

TEST(Evicted, DirectoriesAreReadByOtherThreadsMeanwhile) {
  const test::CapturedLog log;
  const auto fs = tree("many-v3", 20'000);
  const auto known = ask_everything(*fs);
  std::atomic<bool> ends{false};
  const auto read = [&](unsigned seed) {
    std::mt19937 random(seed);
    while (!ends) {
      const Asked& one = known[random() % known.size()];
      const Result<Attributes> found = fs->metadata(one.inode);
      ASSERT_TRUE(found) << found.error();
      ASSERT_EQ(found->number, one.attributes.number);
      if (one.attributes.type == FileType::kDirectory) {
        (void)fs->read_dir(one.inode, 0, [&](const DirEntry& entry) {
          EXPECT_EQ(fs->lookup(one.inode, entry.name)->inode, entry.inode);
          return true;
        });
      } else {
        EXPECT_EQ(fs->extent(one.inode).value_or(Extent{}).offset, one.offset);
      }
    }
  };
  std::vector<std::thread> readers;
  for (unsigned seed = 0; seed < 4; ++seed) {
    readers.emplace_back(read, seed);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(700));
  ends = true;
  for (std::thread& reader : readers) {
    reader.join();
  }
}

}  // namespace
}  // namespace pkgfs::vfs
