// SPDX-License-Identifier: MIT
#include "core/export/erofs_directory.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace pkgfs {

namespace {

constexpr std::string_view kParent = "..";

}  // namespace

void ErofsDirectory::add(std::string_view name, erofs::EntryType type, std::uint64_t nid) {
  entries_.push_back(
      {.name_at = names_.size(), .nid = nid, .name_length = static_cast<std::uint8_t>(name.size()), .type = type});
  names_ += name;
}

std::string_view ErofsDirectory::name_of(const Entry& entry) const {
  return std::string_view(names_).substr(entry.name_at, entry.name_length);
}

void ErofsDirectory::complete() {
  if (std::exchange(complete_, true)) {
    return;
  }
  for (const std::string_view name : {std::string_view("."), kParent}) {
    const auto place =
        std::ranges::lower_bound(entries_, name, {}, [this](const Entry& entry) { return name_of(entry); });
    entries_.insert(place, {.name_at = names_.size(),
                            .nid = 0,
                            .name_length = static_cast<std::uint8_t>(name.size()),
                            .type = erofs::EntryType::kDirectory});
    names_ += name;
  }
}

std::pair<std::size_t, std::size_t> ErofsDirectory::block_from(std::size_t first) const {
  std::size_t used = 0;
  std::size_t end = first;
  for (; end < entries_.size(); ++end) {
    const std::size_t more = sizeof(erofs::DirectoryEntry) + entries_[end].name_length;
    if (used + more > erofs::kBlock) {
      break;
    }
    used += more;
  }
  return {end, used};
}

std::uint64_t ErofsDirectory::size() {
  complete();
  std::uint64_t size = 0;
  for (std::size_t first = 0; first < entries_.size();) {
    const auto [end, used] = block_from(first);
    size += end == entries_.size() ? used : erofs::kBlock;
    first = end;
  }
  return size;
}

void ErofsDirectory::write(
    std::uint64_t nid,
    FunctionRef<void(std::span<const std::byte> block, std::optional<std::size_t> parent_at)> write) {
  complete();
  for (std::size_t first = 0; first < entries_.size();) {
    const auto [end, used] = block_from(first);
    std::array<std::byte, erofs::kBlock> block{};
    std::optional<std::size_t> parent_at;
    std::size_t name_at = (end - first) * sizeof(erofs::DirectoryEntry);
    for (std::size_t i = first; i < end; ++i) {
      const Entry& entry = entries_[i];
      const std::string_view name = name_of(entry);
      const std::size_t at = (i - first) * sizeof(erofs::DirectoryEntry);
      const erofs::DirectoryEntry stored{
          .nid = name == "." ? nid : entry.nid, .name_at = static_cast<std::uint16_t>(name_at), .type = entry.type};
      if (name == kParent) {
        parent_at = at;
      }
      std::memcpy(block.data() + at, &stored, sizeof(stored));
      std::memcpy(block.data() + name_at, name.data(), name.size());
      name_at += name.size();
    }
    write(std::span<const std::byte>(block).first(end == entries_.size() ? used : block.size()), parent_at);
    first = end;
  }
}

}  // namespace pkgfs
