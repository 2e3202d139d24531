// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

/// Memory that threads read without a lock while another thread replaces it: "epoch-based reclamation" (K. Fraser,
/// Practical lock-freedom, 2004). A reader announces itself with a ReadSection. A writer first takes away the pointer
/// that leads readers to the memory, and then gives the memory to RetiredMemory. RetiredMemory frees it once no reader
/// can use it.
namespace pkgfs {

namespace detail {

// Written only when memory is retired, which is seldom.
extern std::atomic<std::uint64_t> reader_epoch;

/// What one thread announces. 64 bytes apart, so that threads don't write to each other's cache lines.
struct alignas(64) ReaderSlot {
  std::atomic<std::uint64_t> epoch{0};  // when the outermost section began; 0: in none
  unsigned depth = 0;                   // of sections; only the thread itself uses it
  std::atomic<bool> taken{true};
  ReaderSlot* next = nullptr;

  /// Sequentially consistent: the store comes before the reader's first look at any pointer.
  void begin() { epoch.store(reader_epoch.load(std::memory_order_acquire), std::memory_order_seq_cst); }
  void end() { epoch.store(0, std::memory_order_release); }
};

extern constinit thread_local ReaderSlot* reader_slot;
/// Finds or makes the slot of this thread. The thread gives the slot back when it ends. Throws std::bad_alloc.
ReaderSlot& take_reader_slot();

}  // namespace detail

/// As long as this object lives, RetiredMemory frees nothing to which this thread finds a pointer. The constructor
/// takes no lock, and allocates only in a thread's first section. Sections of one thread may be nested. While a thread
/// is inside of a section, no memory is freed that is retired meanwhile. So a thread shouldn't wait there.
class ReadSection {
 public:
  ReadSection() : slot_(detail::reader_slot != nullptr ? *detail::reader_slot : detail::take_reader_slot()) {
    if (slot_.depth++ == 0) {
      slot_.begin();
    }
  }
  ~ReadSection() {
    if (--slot_.depth == 0) {
      slot_.end();
    }
  }
  ReadSection(const ReadSection&) = delete;
  ReadSection& operator=(const ReadSection&) = delete;

 private:
  detail::ReaderSlot& slot_;
};

/// As long as this object lives, the thread's ReadSection is suspended. If the thread is in nested sections, nothing is
/// suspended. For long work inside of a section; the caller must not use pointers from before.
class ReadPause {
 public:
  ReadPause()
      : slot_(detail::reader_slot != nullptr && detail::reader_slot->depth == 1 ? detail::reader_slot : nullptr) {
    if (slot_ != nullptr) {
      slot_->depth = 0;
      slot_->end();
    }
  }
  ~ReadPause() {
    if (slot_ != nullptr) {
      slot_->depth = 1;
      slot_->begin();
    }
  }
  ReadPause(const ReadPause&) = delete;
  ReadPause& operator=(const ReadPause&) = delete;

 private:
  detail::ReaderSlot* slot_;
};

/// Memory that readers may still use. Not thread-safe: its owner's lock guards it.
class RetiredMemory {
 public:
  /// Before the call, the owner takes away every pointer that leads readers to `memory`, with sequentially consistent
  /// stores. If memory is too short to record it, `memory` is never freed, because readers may still use it.
  template <typename T>
  void add(std::unique_ptr<T> memory) noexcept {
    add({0, memory.release(), [](void* pointer) { delete static_cast<T*>(pointer); }});
  }
  /// Frees the memory that no reader can use any more.
  void free_unread();
  [[nodiscard]] std::size_t count() const { return items_.size(); }

  RetiredMemory() = default;
  RetiredMemory(const RetiredMemory&) = delete;
  RetiredMemory& operator=(const RetiredMemory&) = delete;
  /// Frees everything. No reader may be left.
  ~RetiredMemory();

 private:
  struct Item {
    std::uint64_t epoch;  // a section that began in this epoch or later has no pointer to `memory`
    void* memory;
    void (*free)(void*);
  };
  void add(Item item) noexcept;

  std::vector<Item> items_;  // by `epoch`
  std::size_t lost_ = 0;     // number of objects that are never freed
};

}  // namespace pkgfs
