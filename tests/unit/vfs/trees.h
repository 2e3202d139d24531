// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/vfs/file_system.h"
#include "core/vfs/host_file_system.h"
#include "core/vfs/static_file_system.h"
#include "core/vfs/union_file_system.h"

namespace pkgfs::test {

/// A blob of a text.
inline Blob blob_of(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  auto source = std::make_shared<MemoryBytes>("text", std::vector<std::byte>(bytes.begin(), bytes.end()));
  return {source, 0, text.size()};
}

/// A tree of files with the given contents.
inline std::unique_ptr<vfs::FileSystem> files(const std::map<std::string, std::string>& contents) {
  std::vector<vfs::StaticFile> list;
  for (const auto& [path, text] : contents) {
    list.push_back({.path = path, .content = blob_of(text)});
  }
  return std::make_unique<vfs::StaticFileSystem>(std::move(list));
}

inline vfs::Mount mount_of(const std::string& package, const std::string& path,
                           const std::map<std::string, std::string>& contents, const std::string& source = "/") {
  return {.fs = files(contents), .mount_path = path, .source_path = source, .package = package, .volume = "v"};
}

/// A directory of the host that is shown live at `mount_path`.
inline vfs::Mount live_mount(const std::filesystem::path& path, const std::string& mount_path) {
  return {.fs = std::make_unique<vfs::HostFileSystem>(UniqueFd(::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)),
                                                      path.string()),
          .mount_path = mount_path,
          .package = "live",
          .volume = "host",
          .live = true};
}

inline std::string content_of(vfs::FileSystem& fs, vfs::Inode inode) {
  auto file = fs.open(inode);
  if (!file) {
    return "errno " + std::to_string(file.error());
  }
  std::string text(4096, '\0');
  const auto count = (*file)->read(0, std::as_writable_bytes(std::span(text)));
  text.resize(count.value_or(0));
  return text;
}

/// Every path below `dir`: "/" behind a directory's, else "=" and the content, or "->" and the link's text. Checks that
/// listing and lookup agree on the way.
inline void collect(vfs::FileSystem& fs, vfs::Inode dir, const std::string& path, std::vector<std::string>& out) {
  std::vector<std::pair<std::string, vfs::DirEntry>> entries;
  const auto listed = fs.read_dir(dir, 0, [&](const vfs::DirEntry& entry) {
    entries.emplace_back(entry.name, entry);
    return true;
  });
  if (!listed) {
    out.push_back(path + "/ errno " + std::to_string(listed.error()));
    return;
  }
  for (const auto& [name, entry] : entries) {
    const std::string where = path + "/" + name;
    const auto found = fs.lookup(dir, name);
    if (!found) {
      out.push_back(where + " errno " + std::to_string(found.error()));
      continue;
    }
    if (found->attributes.type != entry.attributes.type || found->attributes.number != entry.attributes.number) {
      out.push_back(where + " listing and lookup disagree");
    }
    switch (found->attributes.type) {
      case vfs::FileType::kDirectory:
        out.push_back(where + "/");
        collect(fs, found->inode, where, out);
        break;
      case vfs::FileType::kSymlink:
        out.push_back(where + "->" + std::string(fs.read_link(found->inode).value_or("?")));
        break;
      case vfs::FileType::kFile:
        out.push_back(where + "=" + content_of(fs, found->inode));
        break;
    }
    fs.forget(found->inode, 1);
  }
}

inline std::vector<std::string> tree_of(vfs::FileSystem& fs) {
  std::vector<std::string> out;
  collect(fs, fs.root(), "", out);
  return out;
}

}  // namespace pkgfs::test
