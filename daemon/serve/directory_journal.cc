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
/// Between the inodes of a daemon and those of the one that is to replace it. No daemon gives out so many.
constexpr vfs::Inode kGap = vfs::Inode{1} << 32U;
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
  });
  copy->records_.last() = other.last() + kGap;
  for (std::size_t slot = 0; slot < fuse::KeptRecords::kCounters; ++slot) {
    if (const std::uint64_t count = other.counter(slot); count > 0) {
      copy->records_.counter(slot) = count;
      ++other.counter(slot);
    }
  }
  return copy;
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
    if (other_ && note.slot) {
      ++other_->counter(*note.slot);  // for one that was free there
    }
    if (!records_.put(note.inode, write_note(note)) && !std::exchange(is_full_, true)) {
      log::warn("the journal is full: if this daemon is killed, programs get ESTALE from some of what they use");
    }
    count(note.inode, note.references);
  } catch (const std::exception&) {
    records_.erase(note.inode);
  }
}

}  // namespace pkgfs
