// SPDX-License-Identifier: MIT
#include "fuse/live_journal.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/base/limits.h"

namespace pkgfs::fuse {
namespace {

constexpr std::uint64_t kJournalMagic = 0x6c61'6e72'6f6a'6b70;  // "pkjornal"
/// One higher with each change of the layout.
constexpr std::uint32_t kJournalLayout = 1;

}  // namespace

struct LiveJournal::Layout {
  struct alignas(4096) Header {
    std::uint64_t magic = 0;
    std::uint32_t layout = 0;
    std::uint64_t bytes = 0;
    std::atomic<std::uint64_t> serial;
    std::atomic<std::uint64_t> beyond_nodes;
    std::atomic<std::uint64_t> beyond_handles;
    // Parts that have memory. To look at another part would give it memory, or end the process where there is none.
    std::array<std::atomic<bool>, 1024> node_parts;
    std::array<std::atomic<bool>, 64> handle_parts;
  };
  struct Place {
    std::atomic<std::uint32_t> state;  // kUsed
    std::uint32_t parent;
    std::atomic<std::uint64_t> lookups;
    std::uint64_t number;
    std::uint64_t generation;
    std::uint64_t text_hash;
    std::uint8_t type;
    std::uint8_t name_bytes;
    std::array<char, 262> name;
  };
  struct Handle {
    std::atomic<std::uint64_t> handle;  // 0: none
    std::uint64_t node;
  };
  static constexpr std::uint32_t kUsed = 1;
  static constexpr std::uint32_t kNodesOfPart = 64;
  static constexpr std::uint32_t kHandlesOfPart = 256;
  static_assert(kNodes / kNodesOfPart <= 1024 && kHandles / kHandlesOfPart <= 64);

  Header header;
  std::array<Place, kNodes> nodes;
  std::array<Handle, kHandles> handles;
};

LiveJournal::LiveJournal(SharedMemory memory)
    : memory_(std::move(memory)), layout_(reinterpret_cast<Layout*>(memory_.data())) {}

LiveJournal LiveJournal::create() {
  const std::string what = "Unable to create the journal of live directories";
  LiveJournal journal(SharedMemory::create("pkgfs-live", sizeof(Layout), what));
  if (!journal.memory_.allocate(0, sizeof(Layout::Header))) {
    throw system_error(what, errno);
  }
  Layout::Header& header = journal.layout_->header;
  header.layout = kJournalLayout;
  header.bytes = sizeof(Layout);
  header.beyond_nodes = kNodes;
  header.beyond_handles = kHandles;
  header.magic = kJournalMagic;
  return journal;
}

LiveJournal LiveJournal::adopt(UniqueFd file) {
  const std::string what = "The journal of an earlier daemon can't be adopted";
  LiveJournal journal(SharedMemory::adopt(std::move(file), sizeof(Layout), what));
  const Layout::Header& header = journal.layout_->header;
  if (header.magic != kJournalMagic) {
    throw Error(ErrorCode::kCorrupt, {what, "its file holds something else"});
  }
  if (header.layout != kJournalLayout || header.bytes != sizeof(Layout)) {
    throw Error(ErrorCode::kUnsupported, {what, "its layout is number " + std::to_string(header.layout) +
                                                    ", and that of this pkgfs is " + std::to_string(kJournalLayout)});
  }
  return journal;
}

bool LiveJournal::put(std::uint32_t place, const Node& node) {
  std::atomic<bool>& has_memory = layout_->header.node_parts.at(place / Layout::kNodesOfPart);
  if (node.name.size() > limits::kNameBytes) {
    return false;
  }
  if (!has_memory) {
    constexpr std::size_t kBytes = sizeof(Layout::Place) * Layout::kNodesOfPart;
    if (!memory_.allocate(offsetof(Layout, nodes) + place / Layout::kNodesOfPart * kBytes, kBytes)) {
      return false;
    }
    has_memory = true;
  }
  Layout::Place& at = layout_->nodes.at(place);
  at.parent = node.parent;
  at.number = node.number;
  at.generation = node.generation;
  at.text_hash = node.text_hash;
  at.type = static_cast<std::uint8_t>(node.type);
  at.name_bytes = static_cast<std::uint8_t>(node.name.size());
  node.name.copy(at.name.data(), node.name.size());
  at.lookups.store(1, std::memory_order_relaxed);
  at.state.store(Layout::kUsed, std::memory_order_release);
  return true;
}

std::atomic<std::uint64_t>& LiveJournal::lookups(std::uint32_t place) { return layout_->nodes.at(place).lookups; }

void LiveJournal::erase(std::uint32_t place) { layout_->nodes.at(place).state.store(0, std::memory_order_release); }

std::optional<LiveJournal::Node> LiveJournal::node(std::uint32_t place) const {
  if (!layout_->header.node_parts.at(place / Layout::kNodesOfPart)) {
    return std::nullopt;
  }
  const Layout::Place& at = layout_->nodes.at(place);
  if (at.state.load(std::memory_order_acquire) != Layout::kUsed || at.type > 2 ||
      (at.parent != kRoot && at.parent >= kNodes)) {
    return std::nullopt;
  }
  Node node{.parent = at.parent,
            .type = static_cast<vfs::FileType>(at.type),
            .number = at.number,
            .generation = at.generation,
            .text_hash = at.text_hash,
            .name = std::string(at.name.data(), at.name_bytes)};
  const bool is_name = !node.name.empty() && node.name != "." && node.name != ".." &&
                       node.name.find_first_of(std::string_view("/\0", 2)) == std::string::npos;
  return is_name ? std::optional(std::move(node)) : std::nullopt;
}

bool LiveJournal::put_handle(std::uint32_t place, std::uint64_t handle, std::uint64_t node) {
  std::atomic<bool>& has_memory = layout_->header.handle_parts.at(place / Layout::kHandlesOfPart);
  if (!has_memory) {
    constexpr std::size_t kBytes = sizeof(Layout::Handle) * Layout::kHandlesOfPart;
    if (!memory_.allocate(offsetof(Layout, handles) + place / Layout::kHandlesOfPart * kBytes, kBytes)) {
      return false;
    }
    has_memory = true;
  }
  Layout::Handle& at = layout_->handles.at(place);
  at.node = node;
  at.handle.store(handle, std::memory_order_release);
  return true;
}

void LiveJournal::erase_handle(std::uint32_t place) {
  layout_->handles.at(place).handle.store(0, std::memory_order_release);
}

bool LiveJournal::is_handle(std::uint32_t place, std::uint64_t handle) const {
  return layout_->header.handle_parts.at(place / Layout::kHandlesOfPart) &&
         layout_->handles.at(place).handle.load(std::memory_order_acquire) == handle;
}

std::uint64_t LiveJournal::node_of_handle(std::uint32_t place, std::uint64_t handle) const {
  return handle != 0 && is_handle(place, handle) ? layout_->handles.at(place).node : 0;
}

bool LiveJournal::has_handle(std::uint32_t place) const {
  return layout_->header.handle_parts.at(place / Layout::kHandlesOfPart) &&
         layout_->handles.at(place).handle.load(std::memory_order_acquire) != 0;
}

std::uint64_t LiveJournal::next_serial() { return ++layout_->header.serial; }
std::atomic<std::uint64_t>& LiveJournal::beyond_nodes() { return layout_->header.beyond_nodes; }
std::atomic<std::uint64_t>& LiveJournal::beyond_handles() { return layout_->header.beyond_handles; }

}  // namespace pkgfs::fuse
