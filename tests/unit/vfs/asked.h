// SPDX-License-Identifier: MIT
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "core/vfs/walk.h"
#include "core/vfs/webc_volume_file_system.h"
#include "core/webc/container.h"
#include "core/webc/writer.h"

/// For tests that compare two file systems by everything that can be asked about their entries.
namespace pkgfs::vfs {

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

inline Asked ask(FileSystem& fs, Inode inode) {
  Asked asked;
  asked.inode = inode;
  asked.attributes = fs.metadata(inode).value_or(Attributes{});
  asked.place = fs.place(inode).value_or(Place{});
  asked.parent = fs.parent_number(inode).value_or(0);
  asked.link = fs.read_link(inode).value_or("");
  asked.offset = fs.extent(inode).value_or(Extent{}).run.offset;
  return asked;
}

inline std::vector<Asked> ask_everything(FileSystem& fs) {
  std::vector<Asked> all;
  for (TreeWalk walk(fs, fs.root()); walk.next();) {
    if (!walk.step().leaving && walk.step().error == 0) {
      all.push_back(ask(fs, walk.step().inode));
      all.back().path = walk.step().path;
    }
  }
  return all;
}

inline void expect_same(const Asked& a, const Asked& b, bool inodes = true) {
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

/// A volume with `files` files, directories and links in its root, of which every `step`-th number is used.
inline std::unique_ptr<FileSystem> volume(int files, int step, webc::Version version = webc::Version::kV3) {
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

}  // namespace pkgfs::vfs
