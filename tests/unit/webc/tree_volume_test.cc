// SPDX-License-Identifier: MIT
// Trees that no writer makes: directories reached twice, stored in another order, overlapping.
#include "core/webc/tree_volume.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "core/webc/bytes.h"
#include "core/webc/v1.h"
#include "core/webc/v2v3.h"
#include "tests/unit/webc/webc_files.h"

namespace pkgfs::webc {
namespace {

using test::to_bytes;
using test::u64;

struct Ref {
  std::string name;
  std::uint64_t offset;
};

std::string records(const std::vector<Ref>& children) {
  std::string text;
  for (const Ref& child : children) {
    text += u64(child.offset) + u64(child.name.size()) + child.name;
  }
  return text;
}

std::string directory(const std::vector<Ref>& children) {
  const std::string body = records(children);
  return "\x1e" + u64(body.size()) + body;
}

// A volume of version 2 over a header alone.
std::shared_ptr<TreeVolume> volume_of(const std::string& header, Version version = Version::kV2) {
  auto source = test::memory("made.webc", to_bytes(header));
  const VolumeParts parts{
      .name = "v", .header = 0, .header_length = header.size(), .data = header.size(), .data_length = 0};
  return std::make_shared<TreeVolume>("v", source, make_tree(version, source->bytes(), parts));
}

std::vector<std::string> paths(const TreeVolume& volume) {
  std::vector<std::string> found;
  const test::Walk walk = test::walk(volume);
  EXPECT_FALSE(walk.endless);
  for (const auto& entry : walk.entries) {
    found.push_back(entry.path);
  }
  for (const auto& path : walk.eio) {
    found.push_back(path + " EIO");
  }
  return found;
}

using Paths = std::vector<std::string>;

constexpr std::size_t kEmpty = 9;  // an empty directory of version 2

std::size_t size_of(const std::vector<Ref>& children) { return directory(children).size(); }

TEST(TreeVolume, ServesDirectoriesStoredInAnotherOrder) {
  const pkgfs::test::CapturedLog log;
  // Breadth first and backwards: the root's "a" comes behind "b", and "a/c" before both.
  const std::vector<Ref> root_shape = {{"a", 0}, {"b", 0}};
  const std::uint64_t c = size_of(root_shape);
  const std::uint64_t b = c + kEmpty;
  const std::uint64_t a = b + kEmpty;
  const auto volume =
      volume_of(directory({{"a", a}, {"b", b}}) + directory({}) + directory({}) + directory({{"c", c}}));
  EXPECT_EQ(paths(*volume), (Paths{"/a", "/a/c", "/b"}));
  EXPECT_EQ(log.text(), "");
}

TEST(TreeVolume, TheOwnerOfASharedDirectoryDoesNotDependOnTheOrderOfVisits) {
  const pkgfs::test::CapturedLog log;
  // a/x is a's own; b/x points into a's range.
  const std::uint64_t a = size_of({{"a", 0}, {"b", 0}});
  const std::uint64_t x = a + size_of({{"x", 0}});
  const std::uint64_t b = x + kEmpty;
  const std::string header =
      directory({{"a", a}, {"b", b}}) + directory({{"x", x}}) + directory({}) + directory({{"x", x}});
  EXPECT_EQ(paths(*volume_of(header)), (Paths{"/a", "/a/x", "/b", "/b/x EIO"}));
  const auto volume = volume_of(header);
  std::vector<DirRecord> root;
  ASSERT_TRUE(volume->list(kRootRef, [&](const DirRecord& record) {
    root.push_back(record);
    return true;
  }));
  for (const std::size_t first : {1U, 0U}) {  // b before a
    int error = -1;
    ASSERT_TRUE(volume->list(root[first].ref, [&](const DirRecord& record) {
      error = record.error;
      return true;
    }));
    EXPECT_EQ(error, first == 1 ? EIO : 0);
  }
}

TEST(TreeVolume, OfSeveralReferencesOutsideTheirRangesTheFirstStoredOwns) {
  const pkgfs::test::CapturedLog log;
  // "0" comes last in the header and takes the range to its end, so "a" and "b" both point outside.
  const std::uint64_t low = size_of({{"0", 0}, {"a", 0}, {"b", 0}});
  const std::uint64_t high = low + kEmpty;
  const auto volume = volume_of(directory({{"0", high}, {"a", low}, {"b", low}}) + directory({}) + directory({}));
  EXPECT_EQ(paths(*volume), (Paths{"/0", "/a", "/b EIO"}));
}

TEST(TreeVolume, FilesMayHaveSeveralNames) {
  const std::uint64_t f = size_of({{"a", 0}, {"b", 0}});
  const auto volume = volume_of(directory({{"a", f}, {"b", f}}) + "\x1f" + std::string(48, '\0'));
  EXPECT_EQ(paths(*volume), (Paths{"/a", "/b"}));
}

TEST(TreeVolume, UnusableNamesAreLeftOutAndDoNotOwn) {
  const pkgfs::test::CapturedLog log;
  const std::uint64_t d = size_of({{"..", 0}, {"ok", 0}});
  const auto volume = volume_of(directory({{"..", d}, {"ok", d}}) + directory({}));
  EXPECT_EQ(paths(*volume), (Paths{"/ok"}));
  EXPECT_NE(log.text().find("volume \"v\", header offset 0x9: name \"..\" is reserved"), std::string::npos)
      << log.text();
}

TEST(TreeVolume, FindsDoubleNamesInUnsortedDirectories) {
  const pkgfs::test::CapturedLog log;
  const std::vector<Ref> shape = {{"b", 0}, {"d", 0}, {"a", 0}, {"d", 0}, {"b", 0}, {"c", 0}};
  const std::uint64_t f = size_of(shape);
  std::vector<Ref> children = shape;
  for (Ref& child : children) {
    child.offset = f;
  }
  const auto volume = volume_of(directory(children) + "\x1f" + std::string(48, '\0'));
  EXPECT_EQ(paths(*volume), (Paths{"/b", "/d", "/a", "/c"}));
}

TEST(TreeVolume, VisitorCanStop) {
  const std::uint64_t f = size_of({{"a", 0}, {"b", 0}});
  const auto volume = volume_of(directory({{"a", f}, {"b", f}}) + "\x1f" + std::string(48, '\0'));
  int seen = 0;
  EXPECT_TRUE(volume->list(kRootRef, [&](const DirRecord& record) {
    EXPECT_EQ(record.info.kind, EntryKind::kFile);
    EXPECT_EQ(volume->list(record.ref, [](const DirRecord&) { return true; }).error(), ENOTDIR);
    ++seen;
    return false;
  }));
  EXPECT_EQ(seen, 1);
}

// Many directories whose tables all run to the header's end: naively N * N records.
TEST(TreeVolume, OverlappingTablesAreNotQuadratic) {
  const pkgfs::test::CapturedLog log;
  constexpr std::uint64_t kCount = 20'000;
  std::vector<Ref> children;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    children.push_back({std::to_string(100'000 + i), 0});
  }
  const std::uint64_t heads = size_of(children);
  const std::uint64_t tail = heads + kCount * 25;
  for (std::uint64_t i = 0; i < kCount; ++i) {
    children[i].offset = heads + i * 25;
  }
  std::string header = directory(children);
  std::string shared = records(children);
  for (std::uint64_t i = 0; i < kCount; ++i) {
    const std::uint64_t record_end = heads + i * 25 + 25;  // the head's own record has a name that covers the rest
    header += "\x1e" + u64(tail + shared.size() - (heads + i * 25 + 9)) + u64(0) + u64(tail - record_end);
  }
  header += shared;
  const auto volume = volume_of(header);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_LT(test::walk(*volume).entries.size(), 2 * kCount + 2);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(8));
}

TEST(TreeVolume, CyclesOfVersion1EndAtTheFirstSight) {
  const pkgfs::test::CapturedLog log;
  const auto record = [](const std::string& name, std::uint64_t begin, std::uint64_t end) {
    return u64(name.size()) + u64(begin) + u64(end) + name;
  };
  // root [0, 58) holds "a" and "b", both [58, 92), whose "up" is the root again.
  const std::string root = record("a", 58, 92) + record("b", 58, 92);
  const std::string header = u64(root.size()) + root + u64(26) + record("up", 0, 58);
  ASSERT_EQ(header.size(), 92U);
  EXPECT_EQ(paths(*volume_of(header, Version::kV1)), (Paths{"/a", "/a/up EIO", "/b EIO"}));
}

TEST(TreeVolume, CanBeReadByManyThreads) {
  const auto container = Container::open(test::load(pkgfs::test::fixtures() / "bad/v3-dir-bomb.webc"));
  const pkgfs::test::CapturedLog log;
  std::vector<std::size_t> counts(4);
  {
    std::vector<std::jthread> threads;
    for (std::size_t& count : counts) {
      threads.emplace_back([&] { count = test::walk(*container->volumes()[0]).entries.size(); });
    }
  }
  EXPECT_EQ(counts, (std::vector<std::size_t>{31, 31, 31, 31}));
}

// Random bytes changed in sound containers: anything but a crash, an endless walk or a place outside the file.
TEST(TreeVolume, SurvivesMutations) {
  const pkgfs::test::CapturedLog log;
  std::uint64_t state = 1;
  const auto random = [&] {
    state = state * 6364136223846793005ULL + 1442695040888963407ULL;
    return state >> 33U;
  };
  for (const char* name : {"v1-ok", "v2-ok", "v3-ok"}) {
    const std::string text = pkgfs::test::read_text(pkgfs::test::fixtures() / "bad" / (std::string(name) + ".webc"));
    for (int round = 0; round < 400; ++round) {
      std::string bytes = text;
      for (int i = 0; i < 1 + round % 3; ++i) {
        bytes[random() % bytes.size()] = static_cast<char>(random());
      }
      try {
        const auto container = Container::open(test::memory("mutated", to_bytes(bytes)));
        for (const auto& volume : container->volumes()) {
          EXPECT_FALSE(test::walk(*volume).endless);
        }
        (void)verify(*container, VerifyDepth::kContent);
      } catch (const Error&) {  // refused
      }
    }
  }
}

}  // namespace
}  // namespace pkgfs::webc
