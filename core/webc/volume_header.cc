// SPDX-License-Identifier: MIT
#include "core/webc/volume_header.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/base/unique_fd.h"
#include "core/webc/bytes.h"
#include "core/webc/v2v3.h"

namespace pkgfs::webc {
namespace {

void read_host_file(const HostFile& file, FunctionRef<void(Bytes)> take) {
  const std::string failed = "Unable to read \"" + file.name + "\"";
  const UniqueFd fd = file.open();
  struct stat status{};
  if (!fd || ::fstat(fd.get(), &status) != 0) {
    throw system_error(failed, errno);
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::kIo, failed + ": it was replaced by what isn't a regular file");
  }
  Buffer buffer(std::size_t{1} << 18U);
  while (true) {
    const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      throw system_error(failed, errno);
    }
    if (count == 0) {
      return;
    }
    take(Bytes(buffer).first(static_cast<std::size_t>(count)));
  }
}

}  // namespace

void read_content(const Content& content, FunctionRef<void(Bytes)> take) {
  if (const auto* text = std::get_if<std::string>(&content)) {
    take(std::as_bytes(std::span(text->data(), text->size())));
  } else if (const auto* blob = std::get_if<Blob>(&content)) {
    take(blob->bytes());
  } else {
    read_host_file(std::get<HostFile>(content), take);
  }
}

// A directory whose table is written and whose children are being written.
struct VolumeHeader::OpenDirectory {
  std::size_t hash_at = 0;
  std::vector<const WriterNode*> children;  // sorted
  std::vector<std::size_t> records;         // where the table has them
  Buffer hashes;                            // of the children so far
};

VolumeHeader::VolumeHeader(const WriterNode& root, bool hashed, std::string where)
    : hashed_(hashed), where_(std::move(where)) {
  write_tree(root);
}

void VolumeHeader::refuse(const WriterNode& node, const std::string& what) const {
  throw Error(ErrorCode::kUnsupported, where_ + ": " + in_quotes(node.name) + " " + what);
}

void VolumeHeader::put_times(const WriterNode& node) {
  if (hashed_) {
    put(bytes_, std::uint64_t{0});
    put(bytes_, node.modified);
    put(bytes_, std::uint64_t{0});
  }
}

// Depth first, without recursion: a user's directory may be nested as deep as it likes. The reader's limit is the
// writer's.
void VolumeHeader::write_tree(const WriterNode& root) {
  std::vector<OpenDirectory> way;
  way.push_back(open_directory(root));
  while (true) {
    OpenDirectory& here = way.back();
    const std::size_t done = here.hashes.size() / sizeof(Sha256);
    if (done == here.children.size()) {
      const Sha256 digest = sha256(here.hashes);
      if (hashed_) {
        set(bytes_, here.hash_at, digest);
      }
      way.pop_back();
      if (way.empty()) {
        return;
      }
      add_hash(way.back(), digest);
      continue;
    }
    const WriterNode& child = *here.children[done];
    set(bytes_, here.records[done], std::uint64_t{bytes_.size()});
    if (child.kind != EntryKind::kDirectory) {
      add_hash(here, child.kind == EntryKind::kSymlink ? write_symlink(child) : write_file(child));
      continue;
    }
    if (way.size() > limits::kTreeDepth) {
      refuse(child, "is nested too deeply");
    }
    way.push_back(open_directory(child));
  }
}

void VolumeHeader::add_hash(OpenDirectory& directory, const Sha256& hash) {
  if (hashed_) {
    set(bytes_, directory.records[directory.hashes.size() / sizeof(Sha256)] + 8, hash);
  }
  put(directory.hashes, hash);
}

VolumeHeader::OpenDirectory VolumeHeader::open_directory(const WriterNode& node) {
  OpenDirectory open;
  for (const WriterNode& child : node.children) {
    if (const char* why = name_problem(child.name)) {
      refuse(child, std::string("can't be stored: the name ") + why);
    }
    open.children.push_back(&child);
  }
  std::ranges::sort(open.children, {}, [](const WriterNode* child) { return std::string_view(child->name); });
  bytes_.push_back(kDirectoryTag);
  const std::size_t length_at = bytes_.size();
  put(bytes_, std::uint64_t{0});
  put_times(node);
  open.hash_at = bytes_.size();
  if (hashed_) {
    put(bytes_, Sha256{});
  }
  for (std::size_t i = 0; i < open.children.size(); ++i) {
    const WriterNode& child = *open.children[i];
    if (i > 0 && child.name == open.children[i - 1]->name) {
      refuse(child, "is there twice");
    }
    open.records.push_back(bytes_.size());
    put(bytes_, std::uint64_t{0});
    if (hashed_) {
      put(bytes_, Sha256{});
    }
    put(bytes_, std::uint64_t{child.name.size()});
    put(bytes_, child.name);
  }
  set(bytes_, length_at, std::uint64_t{bytes_.size() - length_at - 8});
  return open;
}

Sha256 VolumeHeader::write_file(const WriterNode& node) {
  Sha256Hasher hasher;
  const std::uint64_t start = data_length_;
  read_content(node.content, [&](Bytes piece) {
    hasher.update(piece);
    data_length_ += piece.size();
  });
  const Sha256 digest = hasher.finish();
  bodies_.push_back(&node.content);
  bytes_.push_back(kFileTag);
  put(bytes_, start);
  put(bytes_, data_length_);
  put(bytes_, digest);
  put_times(node);
  return digest;
}

Sha256 VolumeHeader::write_symlink(const WriterNode& node) {
  if (!hashed_) {
    refuse(node, "is a symbolic link, which version 2 can't hold");
  }
  if (const char* why = link_problem(node.target)) {
    refuse(node, std::string("can't be stored: the target ") + why);
  }
  const Sha256 digest = sha256(node.target);
  bytes_.push_back(kSymlinkTag);
  put(bytes_, std::uint64_t{node.target.size()});
  put(bytes_, node.target);
  put(bytes_, digest);
  put_times(node);
  return digest;
}

}  // namespace pkgfs::webc
