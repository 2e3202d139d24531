// SPDX-License-Identifier: MIT
// The listings of a ServedFileSystem.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <exception>
#include <string_view>
#include <utility>

#include "core/vfs/path_text.h"
#include "core/vfs/served_file_system.h"

namespace pkgfs::vfs {
namespace {

/// For so long, a directory of names shows the same listing.
constexpr auto kListingTime = std::chrono::seconds(1);
/// For so long, requests wait for a new listing. Then they show what is known: a registry directory may be on a server
/// that doesn't answer.
constexpr auto kListingWait = std::chrono::seconds(1);

}  // namespace

Result<void> ServedFileSystem::list_inner(const Inner& dir, std::uint64_t from,
                                          FunctionRef<bool(const DirEntry&)> visit) {
  return dir.tree->read_dir(dir.inode, from, [&](const DirEntry& entry) {
    DirEntry shown = entry;
    shown.inode = entry.inode == 0 ? 0 : to_inner(dir.slot->index, entry.inode).value_or(0);
    shown.attributes.number += dir.slot->base;
    return visit(shown);
  });
}

void ServedFileSystem::refresh(const std::string& path) {
  NodePointer node;
  {
    const MutexLock lock(mutex_);
    node = current_node(path);
    if (node == nullptr || node->listing == nullptr) {
      return;
    }
  }
  begin_listing(node);
}

std::vector<Inode> ServedFileSystem::take_kept_listings() {
  const MutexLock lock(mutex_);
  std::vector<Inode> all(earlier_kept_listings_.begin(), earlier_kept_listings_.end());
  earlier_kept_listings_ = std::exchange(kept_listings_, {});
  return all;
}

std::uint64_t ServedFileSystem::listed_number(const std::string& path, ServedNames::Meaning::Kind kind) const {
  const MutexLock lock(mutex_);
  if (const NodePointer node = current_node(path); node != nullptr) {
    return node->attributes.number;
  }
  return kind == ServedNames::Meaning::Kind::kTree ? base_for(path) + 1 : number_of(path);
}

void ServedFileSystem::begin_listing(const NodePointer& dir) {
  const auto now = Clock::now();
  {
    const MutexLock lock(mutex_);
    if (dir->is_listing || (dir->listing != nullptr && now - dir->listed < kListingTime)) {
      return;
    }
    dir->is_listing = true;
    dir->asked = now;
  }
  const auto done = [this, dir](std::vector<ServedNames::Listed> all, int error) {
    {
      const MutexLock lock(mutex_);
      take_listing(dir, std::move(all), error);
    }
    listed_.notify_all();
  };
  try {
    names_.list(dir->path, done);
  } catch (const std::exception&) {  // no thread can be started
    done({}, ENOMEM);
  }
}

std::shared_ptr<const ServedFileSystem::Listing> ServedFileSystem::listing_of(const NodePointer& dir) {
  begin_listing(dir);
  MutexLock lock(mutex_);
  lock.wait_until(listed_, dir->asked + kListingWait, [&]() PKGFS_REQUIRES(mutex_) { return !dir->is_listing; });
  return dir->listing != nullptr ? dir->listing : std::make_shared<const Listing>(Listing{with_used(*dir, {}), 0});
}

std::vector<ServedFileSystem::Shown> ServedFileSystem::with_used(const Node& dir,
                                                                 std::vector<ServedNames::Listed> all) const {
  const std::string prefix = dir.path.empty() ? "" : dir.path + "/";
  for (auto used = current_.lower_bound(prefix); used != current_.end() && used->first.starts_with(prefix); ++used) {
    const NodePointer node = find_node(used->second);
    const std::string name = used->first.substr(prefix.size());
    const bool is_found = node->kind != Kind::kFailed && (node->kind != Kind::kNames || has_found(used->first));
    if (!name.empty() && name.find('/') == std::string::npos && is_found) {
      using enum ServedNames::Meaning::Kind;
      all.push_back({.name = name,
                     .kind = node->kind == Kind::kLink   ? kLink
                             : node->kind == Kind::kTree ? kTree
                                                         : kDirectory});
    }
  }
  std::vector<Shown> shown;
  shown.reserve(all.size());
  for (ServedNames::Listed& each : all) {
    const std::uint64_t place = hash_of(0, each.name) >> 2U;  // more than that is no offset of a directory
    shown.push_back({.place = place, .name = std::move(each)});
  }
  const auto order = [](const Shown& each) { return std::pair(each.place, std::string_view(each.name.name)); };
  std::ranges::sort(shown, {}, order);
  const auto same = std::ranges::unique(shown, {}, order);
  shown.erase(same.begin(), same.end());
  return shown;
}

void ServedFileSystem::take_listing(const NodePointer& dir, std::vector<ServedNames::Listed> all, int error) {
  if (error != 0 && dir->listing != nullptr) {
    // What couldn't be read now may have the names that it had before.
    for (const Shown& each : dir->listing->names) {
      all.push_back(each.name);
    }
    error = dir->listing->error == 0 ? 0 : error;
  }
  std::vector<Shown> shown = with_used(*dir, std::move(all));
  const auto name_of = [](const Shown& each) { return std::string_view(each.name.name); };
  std::uint64_t hash = hash_of(0, static_cast<std::uint64_t>(error));
  for (const Shown& each : shown) {
    hash = hash_of(hash, name_of(each));
  }
  hash |= 1U;
  // Of the listing of a predecessor, only the hash is known.
  const bool is_same =
      dir->listing == nullptr
          ? dir->listing_hash == hash
          : dir->listing->error == error && std::ranges::equal(dir->listing->names, shown, {}, name_of, name_of);
  dir->is_listing = false;
  dir->listed = Clock::now();
  if (is_same && dir->listing != nullptr) {
    return;
  }
  const bool was_late = dir->listed - dir->asked >= kListingWait;  // a program has seen another listing
  if (!is_same && (dir->listing_hash != 0 || was_late)) {
    const auto time = std::chrono::system_clock::now().time_since_epoch();
    dir->attributes.modified = std::chrono::duration_cast<std::chrono::seconds>(time).count();
    dir->attributes.modified_ns = static_cast<std::uint32_t>(
        std::chrono::nanoseconds(time - std::chrono::seconds(dir->attributes.modified)).count());
  }
  dir->listing = std::make_shared<const Listing>(Listing{std::move(shown), error});
  dir->listing_hash = hash;
  changed(*dir);
}

Result<void> ServedFileSystem::read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) {
  if (is_inner(dir)) {
    const Inner found = use_inner(dir);
    if (found.tree == nullptr) {
      return fail(missing(*found.slot));
    }
    return list_inner(found, from, visit);
  }
  NodePointer node;
  Result<Inner> tree = fail(ENOTDIR);
  std::shared_ptr<const Listing> listing;
  {
    const MutexLock lock(mutex_);
    node = find_node(dir);
    if (node == nullptr) {
      return fail(ESTALE);
    }
    if (node->kind == Kind::kTree) {
      tree = tree_at(*node);
    }
    listing = from == 0 ? nullptr : node->listing;
    if (node->kind == Kind::kNames) {
      kept_listings_.insert(dir);
    }
  }
  if (node->kind == Kind::kTree) {
    return tree ? list_inner(*tree, from, visit) : fail(tree.error());
  }
  if (node->kind != Kind::kNames) {
    return fail(node->kind == Kind::kFailed ? node->error : ENOTDIR);
  }
  if (listing == nullptr) {
    listing = listing_of(node);
  }
  using Meaning = ServedNames::Meaning::Kind;
  auto at = std::ranges::lower_bound(listing->names, from, {}, &Shown::place);
  if (at == listing->names.end() && listing->error != 0) {
    return fail(listing->error);  // after what is known
  }
  for (; at != listing->names.end(); ++at) {
    const ServedNames::Listed& one = at->name;
    // Without an inode, so that the kernel has no reference to what no program looks up.
    const bool is_link = one.kind == Meaning::kLink || one.kind == Meaning::kFoundLink;
    const Attributes shown{.type = is_link ? FileType::kSymlink : FileType::kDirectory,
                           .number = listed_number(path_in(node->path, one.name), one.kind),
                           .live = true};
    if (!visit({.name = one.name, .inode = 0, .next = at->place + 1, .attributes = shown})) {
      break;
    }
  }
  return {};
}

}  // namespace pkgfs::vfs
