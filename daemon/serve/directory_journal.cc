// SPDX-License-Identifier: MIT
#include "daemon/serve/directory_journal.h"

#include <cstring>
#include <exception>
#include <limits>
#include <utility>

#include "core/base/log.h"
#include "daemon/serve/package_recipe.h"

namespace pkgfs {
namespace {

using vfs::ServedNote;

/// Inode 1 is the root.
constexpr vfs::Inode kFirstInode = 2;
/// The inodes of a daemon that is to replace another one. No daemon gives out so many.
constexpr vfs::Inode kRange = vfs::Inode{1} << 32U;
/// Added to the count of a slot that no other package may get. The kernel never has so many references.
constexpr std::uint64_t kPin = std::uint64_t{1} << 62U;
/// What a record has room for beside the rest of a note.
constexpr std::size_t kMostRecipe = fuse::KeptRecords::kMostBytes - (std::size_t{1} << 16U);
/// Of those that are too large, so many are named in the log.
constexpr std::size_t kMostNamed = 64;
constexpr std::uint64_t kNoSlot = std::numeric_limits<std::uint64_t>::max();

class Writer {
 public:
  void number(std::uint64_t number) {
    char bytes[sizeof(number)];
    std::memcpy(bytes, &number, sizeof(number));
    text_.append(bytes, sizeof(bytes));
  }
  void text(std::string_view text) {
    number(text.size());
    text_ += text;
  }
  [[nodiscard]] std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

/// After a failure, all else is 0 or empty.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : left_(bytes) {}
  std::uint64_t number() {
    std::uint64_t number = 0;
    const std::string_view bytes = take(sizeof(number));
    if (!bytes.empty()) {
      std::memcpy(&number, bytes.data(), sizeof(number));
    }
    return number;
  }
  std::string text() { return std::string(take(number())); }
  [[nodiscard]] bool is_right() const { return is_right_ && left_.empty(); }

 private:
  std::string_view take(std::uint64_t size) {
    if (!is_right_ || size > left_.size()) {
      is_right_ = false;
      return {};
    }
    const std::string_view taken = left_.substr(0, size);
    left_.remove_prefix(size);
    return taken;
  }

  std::string_view left_;
  bool is_right_ = true;
};

}  // namespace

std::string write_note(const ServedNote& note) {
  Writer out;
  out.number(static_cast<std::uint64_t>(note.kind));
  out.number(note.current ? 1 : 0);
  out.number(note.inode);
  out.text(note.path);
  out.text(note.text);
  out.text(note.state);
  out.number(static_cast<std::uint64_t>(note.error));
  out.number(note.attributes.mode);
  out.number(note.attributes.modified_ns);
  out.number(static_cast<std::uint64_t>(note.attributes.modified));
  out.number(note.attributes.size);
  out.number(note.attributes.number);
  out.number(note.attributes.links);
  out.number(note.attributes.live ? 1 : 0);
  out.number(note.listed);
  out.number(note.slot ? *note.slot : kNoSlot);
  out.number(note.base);
  out.number(note.fingerprint);
  const auto* const recipe = static_cast<const PackageRecipe*>(note.recipe.get());
  out.text(recipe == nullptr ? std::string_view() : recipe->text);
  return out.take();
}

std::optional<ServedNote> read_note(std::string_view bytes) {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  Reader in(bytes);
  ServedNote note;
  const std::uint64_t kind = in.number();
  note.kind = static_cast<ServedNote::Kind>(kind);
  note.current = in.number() == 1;
  note.inode = in.number();
  note.path = in.text();
  note.text = in.text();
  note.state = in.text();
  note.error = static_cast<int>(in.number());
  note.attributes.mode = static_cast<std::uint16_t>(in.number());
  const std::uint64_t nanoseconds = in.number();
  note.attributes.modified_ns = static_cast<std::uint32_t>(nanoseconds);
  note.attributes.modified = static_cast<std::int64_t>(in.number());
  note.attributes.size = in.number();
  note.attributes.number = in.number();
  note.attributes.links = static_cast<std::uint32_t>(in.number());
  note.attributes.live = in.number() == 1;
  note.listed = in.number();
  if (const std::uint64_t slot = in.number(); slot != kNoSlot) {
    note.slot = slot;
  }
  note.base = in.number();
  note.fingerprint = in.number();
  note.recipe = unread_recipe(in.text());
  const bool is_right =
      in.is_right() && kind <= static_cast<std::uint64_t>(ServedNote::Kind::kFailed) && nanoseconds < kSecond;
  return is_right ? std::optional(std::move(note)) : std::nullopt;
}

std::unique_ptr<DirectoryJournal> DirectoryJournal::copy_of(UniqueFd file) {
  auto copy = std::make_unique<DirectoryJournal>();
  copy->other_.emplace(fuse::KeptRecords::adopt(std::move(file)));
  fuse::KeptRecords& other = *copy->other_;
  other.visit([&](std::uint64_t inode, std::string_view bytes, std::uint64_t count) {
    (void)copy->records_.put(inode, bytes);
    copy->records_.set_count(inode, count);
    if (const std::optional<ServedNote> note = read_note(bytes); note && note->slot) {
      copy->pinned_.insert(*note->slot);
    }
  });
  // The stopped daemon never gives out these inodes, also if a later attempt to replace it fails.
  copy->records_.last() = other.last().fetch_add(kRange);
  for (std::size_t slot = 0; slot < fuse::KeptRecords::kCounters; ++slot) {
    copy->records_.counter(slot) = other.counter(slot) % kPin + (copy->pinned_.contains(slot) ? kPin : 0);
  }
  return copy;
}

DirectoryJournal::DirectoryJournal(UniqueFd file) : records_(fuse::KeptRecords::adopt(std::move(file))) {
  for (std::size_t slot = 0; slot < fuse::KeptRecords::kCounters; ++slot) {
    records_.counter(slot) = records_.counter(slot) % kPin;  // it may have been killed before `is_alone_now`
  }
}

void DirectoryJournal::is_alone_now() noexcept {
  for (const std::size_t slot : std::exchange(pinned_, {})) {
    if (slot < fuse::KeptRecords::kCounters) {
      records_.counter(slot).fetch_sub(kPin);
    }
  }
}

std::vector<ServedNote> DirectoryJournal::notes() const {
  std::vector<ServedNote> all;
  records_.visit([&](std::uint64_t inode, std::string_view bytes, std::uint64_t count) {
    if (std::optional<ServedNote> note = read_note(bytes); note && note->inode == inode) {
      note->references = count;
      all.push_back(*std::move(note));
    }
  });
  return all;
}

vfs::Inode DirectoryJournal::next_inode() { return kFirstInode + records_.last()++; }

void DirectoryJournal::put(const ServedNote& note) noexcept {
  try {
    const auto* const recipe = static_cast<const PackageRecipe*>(note.recipe.get());
    if (recipe != nullptr && recipe->text.size() > kMostRecipe) {
      {
        const MutexLock lock(mutex_);
        if (too_large_.size() < kMostNamed) {
          too_large_.emplace(note.path, false);
        }
      }
      ServedNote small = note;
      small.recipe = nullptr;
      put(small);
      return;
    }
    if (!records_.put(note.inode, write_note(note))) {
      const MutexLock lock(mutex_);
      is_full_ = true;
    }
    count(note.inode, note.references);
  } catch (const std::exception&) {
    records_.erase(note.inode);
  }
}

void DirectoryJournal::report() {
  std::vector<std::string> large;
  bool is_full = false;
  {
    const MutexLock lock(mutex_);
    is_full = is_full_ && !std::exchange(is_full_said_, true);
    for (auto& [path, is_said] : too_large_) {
      if (!std::exchange(is_said, true)) {
        large.push_back(path);
      }
    }
  }
  if (is_full) {
    log::warn("the journal is full: if this daemon is killed, programs get ESTALE from some of what they use");
  }
  for (const std::string& path : large) {
    log::warn(
        "\"{}\" has a resolution that is too large for the journal: if this daemon is killed, open files get ESTALE",
        path);
  }
}

}  // namespace pkgfs
