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

// The number of the current epoch. It grows whenever memory is retired, which is seldom.
extern std::atomic<std::uint64_t> reader_epoch;

/// The announcement of one thread. Slots are 64 bytes apart, so that threads don't write to each other's cache lines.
struct alignas(64) ReaderSlot {
  std::atomic<std::uint64_t> epoch{0};  // when the outermost section began; 0: the thread is in none
  unsigned depth = 0;                   // number of nested sections; only the thread itself uses it
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

/// As long as this object lives, this thread may use all memory to which it finds a pointer: RetiredMemory doesn't free
/// it. The constructor takes no lock, and allocates only in a thread's first section. Sections of one thread may be
/// nested. Memory that is retired while a thread is in a section is freed only after that section. So a thread
/// shouldn't wait there.
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

/// Suspends the thread's ReadSection as long as this object lives, for long work inside of a section. If the thread is
/// in no section or in nested sections, it does nothing. In any case, the caller must not use pointers that it found
/// before.
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

/// Memory that readers may still use. Not thread-safe: the lock of its owner guards it.
class RetiredMemory {
 public:
  /// Takes over `memory`. Before the call, the owner removes every pointer that leads readers to it, with sequentially
  /// consistent stores. If too little memory is left to record `memory`, it is never freed, because readers may still
  /// use it.
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
  /// Frees all recorded memory. No reader may be left.
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
