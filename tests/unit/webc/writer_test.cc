// SPDX-License-Identifier: MIT
#include "core/webc/writer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include "core/base/limits.h"
#include "core/base/unique_fd.h"
#include "core/webc/bytes.h"
#include "tests/unit/webc/webc_files.h"

namespace pkgfs::webc {
namespace {

namespace fs = std::filesystem;
using test::load;

// The tree of `volume` as nodes, to be written again.
WriterNode copy(const Volume& volume, EntryRef ref, std::string name, const EntryInfo& info) {
  WriterNode node;
  node.name = std::move(name);
  node.kind = info.kind;
  node.modified = static_cast<std::uint64_t>(info.modified.value_or(0));
  node.target = std::string(info.target);
  if (info.kind == EntryKind::kFile) {
    node.content = Blob{.source = volume.source(), .offset = info.offset, .length = info.length};
  }
  if (info.kind == EntryKind::kDirectory) {
    EXPECT_TRUE(volume.list(ref, [&](const DirRecord& record) {
      node.children.push_back(copy(volume, record.ref, std::string(record.name), record.info));
      return true;
    }));
    std::reverse(node.children.begin(), node.children.end());  // the writer sorts
  }
  return node;
}

Writer rewrite(const Container& container) {
  Writer writer(container.version(), container.manifest().to_json());
  for (const Atom& atom : container.atoms()) {
    writer.add_atom(atom.name, atom.body);
  }
  for (const auto& volume : container.volumes()) {
    writer.add_volume(volume->name(), copy(*volume, kRootRef, "", volume->info(kRootRef).value()));
  }
  return writer;
}

TEST(Writer, RepeatsTheReferencesSections) {
  const pkgfs::test::CapturedLog log;
  std::size_t files = 0;
  for (const char* folder : {"webc", "sources"}) {
    for (const auto& entry : fs::directory_iterator(pkgfs::test::fixtures() / folder)) {
      const auto path = entry.path();
      if (path.extension() != ".webc" || path.stem().string().ends_with("-v1")) {
        continue;
      }
      // 1.5 is a half float there and a single float here; the same value, another spelling.
      const bool other_cbor =
          path.stem().string().starts_with("id-extra") || path.stem().string().starts_with("commands-v");
      SCOPED_TRACE(path.filename().string());
      ++files;
      const auto original = Container::open(load(path));
      const auto again = Container::open(test::memory("again", rewrite(*original).to_bytes()));
      EXPECT_TRUE(verify(*again, VerifyDepth::kContent).size() == verify(*original, VerifyDepth::kContent).size());
      const Index& a = *original->index();
      const Index& b = *again->index();
      EXPECT_TRUE(other_cbor || a.manifest.checksum == b.manifest.checksum);
      EXPECT_EQ(a.atoms.checksum, b.atoms.checksum);
      ASSERT_EQ(a.volumes.size(), b.volumes.size());
      for (std::size_t i = 0; i < a.volumes.size(); ++i) {
        EXPECT_EQ(a.volumes[i].first, b.volumes[i].first);
        EXPECT_EQ(a.volumes[i].second.checksum, b.volumes[i].second.checksum);
        EXPECT_EQ(a.volumes[i].second.length, b.volumes[i].second.length);
      }
      EXPECT_TRUE(other_cbor || std::ranges::equal(original->source()->bytes(), again->source()->bytes()));
    }
  }
  EXPECT_GT(files, 70U);
}

TEST(Writer, WritesFilesFromDisk) {
  const pkgfs::test::TempDir dir;
  const std::string big(3'000'000, 'x');
  WriterNode root;
  root.children.push_back({.name = "big",
                           .kind = EntryKind::kFile,
                           .modified = 7,
                           .content = HostFile{"big", [path = dir.write("big", big)] {
                                                 return UniqueFd(::open(path.c_str(), O_RDONLY));
                                               }}});
  root.children.push_back({.name = "link", .kind = EntryKind::kSymlink, .modified = 0, .target = "big"});
  Writer writer(Version::kV3, Json::object());
  writer.add_volume("/data", std::move(root));
  const fs::path path = dir.path() / "out.webc";
  const UniqueFd fd(::open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  ASSERT_TRUE(fd);
  const std::uint64_t length = writer.write(fd.get());
  EXPECT_EQ(length, fs::file_size(path));
  EXPECT_EQ(test::to_bytes(pkgfs::test::read_text(path)), writer.to_bytes());
  const auto container = Container::open(load(path));
  EXPECT_TRUE(verify(*container, VerifyDepth::kContent).empty());
  const auto walk = test::walk(*container->find_volume("/data"));
  ASSERT_EQ(walk.entries.size(), 2U);
  EXPECT_EQ(as_text(test::body(*container->find_volume("/data"), walk.entries[0].record.info)), big);
  EXPECT_EQ(walk.entries[0].record.info.modified, 7);
  EXPECT_EQ(walk.entries[1].record.info.target, "big");
}

TEST(Writer, WritesDeepTrees) {
  WriterNode root;
  root.children.push_back({.name = "f", .kind = EntryKind::kFile, .content = std::string("x")});
  for (int i = 0; i < 2000; ++i) {
    WriterNode outer;
    outer.children.push_back(std::move(root));
    outer.children[0].name = "d";
    root = std::move(outer);
  }
  Writer writer(Version::kV3, Json::object());
  writer.add_volume("/", std::move(root));
  const auto container = Container::open(test::memory("deep", writer.to_bytes()));
  EXPECT_TRUE(verify(*container, VerifyDepth::kContent).empty());
  EXPECT_EQ(test::walk(*container->find_volume("/")).entries.size(), 2001U);
}

// A directory in a directory, `levels` deep.
WriterNode nested(std::size_t levels) {
  WriterNode root;
  for (std::size_t i = 0; i < levels; ++i) {
    WriterNode outer;
    outer.children.push_back(std::move(root));
    outer.children[0].name = "d";
    root = std::move(outer);
  }
  return root;
}

TEST(Writer, TakesNoStackForDeepTrees) {
  Writer writer(Version::kV3, Json::object());
  writer.add_volume("/", nested(limits::kTreeDepth));
  pthread_attr_t attributes;
  ::pthread_attr_init(&attributes);
  ::pthread_attr_setstacksize(&attributes, 128U << 10U);
  pthread_t thread{};
  ASSERT_EQ(::pthread_create(
                &thread, &attributes,
                [](void* argument) -> void* {
                  EXPECT_FALSE(static_cast<Writer*>(argument)->to_bytes().empty());
                  return nullptr;
                },
                &writer),
            0);
  ::pthread_attr_destroy(&attributes);
  ::pthread_join(thread, nullptr);
}

TEST(Writer, RefusesWhatNoReaderWalks) {
  Writer writer(Version::kV3, Json::object());
  writer.add_volume("/", nested(limits::kTreeDepth + 1));
  EXPECT_THROW((void)writer.to_bytes(), Error);
}

TEST(Writer, RefusesWhatCanNotBeRead) {
  const auto bytes_of = [](Version version, std::vector<WriterNode> children) {
    Writer writer(version, Json::object());
    WriterNode root;
    root.children = std::move(children);
    writer.add_volume("v", std::move(root));
    return writer.to_bytes();
  };
  EXPECT_THROW((void)bytes_of(Version::kV3, {{.name = "a/b"}}), Error);
  EXPECT_THROW((void)bytes_of(Version::kV3, {{.name = ""}}), Error);
  EXPECT_THROW((void)bytes_of(Version::kV3, {{.name = "a"}, {.name = "a"}}), Error);
  EXPECT_THROW((void)bytes_of(Version::kV2, {{.name = "l", .kind = EntryKind::kSymlink, .target = "x"}}), Error);
  EXPECT_THROW((void)bytes_of(Version::kV3, {{.name = "l", .kind = EntryKind::kSymlink}}), Error);
  EXPECT_THROW((void)bytes_of(
                   Version::kV3,
                   {{.name = "f",
                     .kind = EntryKind::kFile,
                     .content = HostFile{"/nonexistent", [] { return UniqueFd(::open("/nonexistent", O_RDONLY)); }}}}),
               Error);
  EXPECT_NO_THROW((void)bytes_of(Version::kV3, {{.name = "a"}, {.name = "b"}}));
  EXPECT_THROW(Writer(Version::kV1, Json::object()), Error);
}

}  // namespace
}  // namespace pkgfs::webc
