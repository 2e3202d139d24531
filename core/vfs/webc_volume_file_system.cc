// SPDX-License-Identifier: MIT
#include "core/vfs/webc_volume_file_system.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "core/base/log.h"
#include "core/base/source_hash.h"
#include "core/vfs/blob_file.h"
#include "core/vfs/digest_time.h"
#include "core/vfs/path_text.h"

namespace pkgfs::vfs {
namespace {

// An inode is the entry's place in the header, moved away from 0, which means "none".
Inode to_inode(webc::EntryRef ref) { return ref + 1; }
webc::EntryRef to_ref(Inode inode) { return inode - 1; }

FileType to_type(webc::EntryKind kind) {
  switch (kind) {
    case webc::EntryKind::kDirectory:
      return FileType::kDirectory;
    case webc::EntryKind::kFile:
      return FileType::kFile;
    case webc::EntryKind::kSymlink:
      return FileType::kSymlink;
  }
  return FileType::kFile;
}

}  // namespace

WebcVolumeFileSystem::WebcVolumeFileSystem(std::shared_ptr<const webc::Volume> volume, const VolumeOptions& options)
    : volume_(std::move(volume)), options_(options) {}

Inode WebcVolumeFileSystem::root() const { return to_inode(webc::kRootRef); }

std::int64_t WebcVolumeFileSystem::modified(const webc::EntryInfo& info) const {
  if (options_.digest_times && info.modified.value_or(0) == 0) {
    // The stored hash of a directory leaves out the names in it: a directory changes with its container.
    const bool hashed = !info.sha256.empty() && info.kind != webc::EntryKind::kDirectory;
    return hashed ? digest_time(info.sha256) : options_.default_modified;
  }
  return std::max<std::int64_t>(info.modified.value_or(options_.default_modified), 1);
}

Attributes WebcVolumeFileSystem::attributes(const webc::EntryInfo& info, std::uint64_t number) const {
  Attributes attributes;
  attributes.number = number;
  attributes.type = to_type(info.kind);
  attributes.size = info.length;
  attributes.modified = modified(info);
  switch (info.kind) {
    case webc::EntryKind::kDirectory:
      attributes.mode = 0755;
      attributes.size = 0;
      break;
    case webc::EntryKind::kSymlink:
      attributes.mode = 0777;
      break;
    case webc::EntryKind::kFile:
      attributes.may_be_program = options_.detect_executables;
      break;
  }
  return attributes;
}

Result<Entry> WebcVolumeFileSystem::lookup(Inode dir, std::string_view name) {
  Result<Entry> found = fail(ENOENT);
  const Result<void> listed = volume_->list(to_ref(dir), [&](const webc::DirRecord& record) {
    if (record.name != name) {
      return true;
    }
    if (record.error != 0) {
      found = fail(record.error);
    } else {
      found = Entry{to_inode(record.ref), attributes(record.info, record.number)};
    }
    return false;
  });
  if (!listed) {
    return fail(listed.error());
  }
  return if_intact(std::move(found));
}

Result<Attributes> WebcVolumeFileSystem::metadata(Inode inode) {
  const Result<webc::EntryInfo> info = volume_->info(to_ref(inode));
  if (!info) {
    return fail(info.error());
  }
  return attributes(*info, inode == root() ? kRootNumber : 0);
}

Result<void> WebcVolumeFileSystem::list_stored(Inode dir, std::uint64_t from, StoredVisitor visit) {
  return if_intact(volume_->list(to_ref(dir), from, [&](const webc::DirRecord& record) {
    DirEntry entry{.name = record.name, .inode = 0, .error = record.error, .next = record.next, .attributes = {}};
    entry.attributes.number = record.number;
    if (record.error == 0) {
      entry.inode = to_inode(record.ref);
      entry.attributes = attributes(record.info, record.number);
    }
    return visit(record.position, entry);
  }));
}

Result<void> WebcVolumeFileSystem::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  std::vector<DirEntry> entries;
  const Result<void> listed = list_stored(dir, 0, [&](std::uint64_t /*position*/, const DirEntry& entry) {
    entries.push_back(entry);
    return true;
  });
  if (!listed) {
    return listed;
  }
  const auto by_name = [](const DirEntry& a, const DirEntry& b) { return a.name < b.name; };
  if (!std::is_sorted(entries.begin(), entries.end(), by_name)) {
    std::sort(entries.begin(), entries.end(), by_name);
  }
  for (std::size_t i = from; i < entries.size(); ++i) {
    entries[i].next = i + 1;
    if (!visit(entries[i])) {
      break;
    }
  }
  return {};
}

Result<std::string> WebcVolumeFileSystem::path_of_number(std::uint64_t number) {
  return number == kRootNumber ? Result<std::string>("/") : volume_->path_of_number(number);
}

Result<std::string_view> WebcVolumeFileSystem::read_link(Inode inode) {
  const Result<webc::EntryInfo> info = volume_->info(to_ref(inode));
  if (!info) {
    return fail(info.error());
  }
  if (info->kind != webc::EntryKind::kSymlink) {
    return fail(EINVAL);
  }
  return if_intact(Result<std::string_view>(info->target));
}

Result<Extent> WebcVolumeFileSystem::extent(Inode inode) {
  const Result<webc::EntryInfo> info = volume_->info(to_ref(inode));
  if (!info) {
    return fail(info.error());
  }
  if (info->kind != webc::EntryKind::kFile) {
    return fail(info->kind == webc::EntryKind::kDirectory ? EISDIR : EINVAL);
  }
  return Extent{volume_->source().get(), {.offset = info->offset, .length = info->length, .sha256 = info->sha256}};
}

Result<std::unique_ptr<OpenFile>> WebcVolumeFileSystem::open(Inode inode) {
  const Result<webc::EntryInfo> info = volume_->info(to_ref(inode));
  if (!info) {
    return fail(info.error());
  }
  if (info->kind != webc::EntryKind::kFile) {
    return fail(info->kind == webc::EntryKind::kDirectory ? EISDIR : EINVAL);
  }
  if (options_.verify_on_open) {
    const Result<void> right = check_content(to_ref(inode), *info);
    if (!right) {
      return fail(right.error());
    }
  }
  return std::make_unique<BlobFile>(Blob{volume_->source(), info->offset, info->length, info->sha256});
}

Result<void> WebcVolumeFileSystem::check_content(webc::EntryRef ref, const webc::EntryInfo& info) {
  if (info.sha256.empty()) {
    return {};  // version 1 stores none
  }
  if (is_verified(ref)) {
    return {};
  }
  const auto digest = hash_of(*volume_->source(), info.offset, info.length);
  if (!digest) {
    return fail(digest.error().error);
  }
  if (std::memcmp(digest->data(), info.sha256.data(), digest->size()) != 0) {
    read_faults::count(read_faults::Cause::kChecksum);
    const MutexLock lock(verified_mutex_);
    if (told_.insert(ref).second) {
      log::warn("{}: volume \"{}\", file body at offset {:#x}: its SHA-256 differs from the stored one",
                volume_->source()->name(), volume_->name(), info.offset);
    }
    return fail(EIO);
  }
  const MutexLock lock(verified_mutex_);
  verified_.insert(ref);
  return {};
}

bool WebcVolumeFileSystem::is_verified(webc::EntryRef ref) {
  const std::uint64_t stamp = volume_->source()->stamp();
  const MutexLock lock(verified_mutex_);
  if (stamp != verified_stamp_) {
    verified_stamp_ = stamp;
    verified_.clear();
    told_.clear();
  }
  return verified_.contains(ref);
}

Result<Origin> WebcVolumeFileSystem::origin(Inode inode) {
  const Result<webc::EntryInfo> info = volume_->info(to_ref(inode));
  if (!info) {
    return fail(info.error());
  }
  Origin origin;
  origin.volume = volume_->name();
  if (info->kind == webc::EntryKind::kFile && info->sha256.size() == Sha256{}.size()) {
    std::memcpy(origin.sha256.emplace().data(), info->sha256.data(), info->sha256.size());
  }
  return origin;
}

}  // namespace pkgfs::vfs
