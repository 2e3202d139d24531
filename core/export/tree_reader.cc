// SPDX-License-Identifier: MIT
#include "core/export/tree_reader.h"

#include <algorithm>
#include <cerrno>
#include <string>

#include "core/base/cancel.h"
#include "core/vfs/walk.h"

namespace pkgfs {

Error unreadable_entry(std::string_view path, int errnum) {
  const Error error = system_error("\"/" + std::string(path) + "\" in the tree", errnum);
  return errnum == EIO || errnum == ELOOP ? Error(ErrorCode::kCorrupt, error) : error;
}

void TreeReader::run(TreeTarget& target) {
  constexpr std::size_t kBatch = 1024;
  const Result<vfs::Attributes> root = fs_.metadata(fs_.root());
  if (!root) {
    throw unreadable_entry("", root.error());
  }
  target.enter({.path = {}, .name = {}, .inode = fs_.root(), .attributes = *root});
  const vfs::WalkOptions options = fs_.is_immutable() ? vfs::WalkOptions{.batch = kBatch} : vfs::WalkOptions{};
  for (vfs::TreeWalk walk(fs_, fs_.root(), options); walk.next();) {
    throw_if_cancelled();
    const vfs::WalkStep& step = walk.step();
    const std::string_view path = step.path.empty() ? step.path : step.path.substr(1);
    if (step.error != 0) {
      throw unreadable_entry(path, step.error);
    }
    ExportEntry entry{.path = path, .name = step.name, .inode = step.inode, .attributes = step.attributes};
    if (!step.leaving) {
      visit(entry, target);
    } else if (path.empty()) {
      entry.attributes = *root;
      target.leave(entry);
    } else {
      target.leave(entry);
    }
  }
}

void TreeReader::visit(const ExportEntry& entry, TreeTarget& target) {
  switch (entry.attributes.type) {
    case vfs::FileType::kDirectory:
      target.enter(entry);
      return;
    case vfs::FileType::kSymlink: {
      const Result<std::string_view> text = fs_.read_link(entry.inode);
      if (!text) {
        throw unreadable_entry(entry.path, text.error());
      }
      const std::string copy(*text);  // it may lie in a mapped file
      if (!fs_.is_intact(entry.inode)) {
        throw unreadable_entry(entry.path, EIO);
      }
      target.link(entry, copy);
      return;
    }
    case vfs::FileType::kFile:
      break;
  }
  ExportEntry file = entry;
  if (file.attributes.may_be_program) {
    const Result<vfs::Attributes> shown = fs_.metadata(entry.inode);
    if (!shown) {
      throw unreadable_entry(entry.path, shown.error());
    }
    file.attributes = *shown;
  }
  target.file(file);
}

void TreeReader::copy(const ExportEntry& file, FunctionRef<void(std::span<const std::byte>)> consume) {
  constexpr std::uint64_t kPiece = 1U << 20U;
  const std::uint64_t size = file.attributes.size;
  if (size == 0) {
    return;
  }
  const Result<std::unique_ptr<vfs::OpenFile>> open = fs_.open(file.inode);
  if (!open) {
    throw unreadable_entry(file.path, open.error());
  }
  piece_.resize(kPiece);
  for (std::uint64_t offset = 0; offset < size;) {
    throw_if_cancelled();
    const auto room = std::span(piece_).first(static_cast<std::size_t>(std::min(kPiece, size - offset)));
    const Result<std::size_t> got = (*open)->read(offset, room);
    if (!got) {
      throw unreadable_entry(file.path, got.error());
    }
    if (*got == 0) {
      throw Error(ErrorCode::kIo, "\"/" + std::string(file.path) + "\" became shorter while it was read");
    }
    consume(room.first(*got));
    offset += *got;
  }
}

}  // namespace pkgfs
