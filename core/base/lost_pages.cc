// SPDX-License-Identifier: MIT
#include "core/base/lost_pages.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <mutex>
#include <utility>

#include "core/base/read_faults.h"
#include "core/base/thread_annotations.h"

namespace pkgfs::lost_pages {

std::atomic<std::uint64_t> detail::events{0};

namespace {

using Clock = std::chrono::steady_clock;

Mutex table_mutex;     // guards which slots are in use
Mutex recovery_mutex;  // one thread at a time reads a lost page again
std::uintptr_t page_size = 4096;
struct sigaction previous_action;

/// A run of pages in whose place zeros were mapped at least once. Made by the handler, and then only changed.
struct Run {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  /// The number of the last event of this run, times two; plus one while the zeros are there.
  std::atomic<std::uint64_t> state{0};
  std::atomic<Run*> next{nullptr};
  // Used under `recovery_mutex` only.
  Clock::time_point tried;
  bool told = false;

  [[nodiscard]] bool is_lost() const { return state.load(std::memory_order_acquire) % 2 == 1; }
};

/// The handler can't allocate. If this many runs are in use, it replaces a whole file.
constexpr std::size_t kRuns = 4096;
std::array<Run, kRuns> runs;
std::atomic<std::size_t> runs_used{0};

/// A mapped file. Slots are never freed, but used again. The handler reads atomics only, since it may take no lock.
struct Slot {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<int> fd{-1};
  std::atomic<Run*> lost{nullptr};
  std::atomic<const std::string*> name{nullptr};
  Run whole;
  bool used PKGFS_GUARDED_BY(table_mutex) = false;
};

constexpr std::size_t kBlockSlots = 64;
struct Block {
  std::array<Slot, kBlockSlots> slots;
  std::atomic<Block*> next{nullptr};
};
Block first_block;

Slot& slot_at(std::size_t index) {
  Block* block = &first_block;
  for (; index >= kBlockSlots; index -= kBlockSlots) {
    block = block->next.load(std::memory_order_acquire);
  }
  return block->slots[index];
}

Slot* slot_of(std::uintptr_t address) {
  for (Block* block = &first_block; block != nullptr; block = block->next.load(std::memory_order_acquire)) {
    for (Slot& slot : block->slots) {
      const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
      if (begin != 0 && address >= begin && address < slot.end.load(std::memory_order_acquire)) {
        return &slot;
      }
    }
  }
  return nullptr;
}

std::uintptr_t page_of(std::uintptr_t address) { return address & ~(page_size - 1); }
std::uintptr_t pages_end(std::uintptr_t address) { return page_of(address + page_size - 1); }
void* pointer(std::uintptr_t address) { return reinterpret_cast<void*>(address); }  // NOLINT(performance-no-int-to-ptr)

std::uint64_t next_event() { return detail::events.fetch_add(1, std::memory_order_acq_rel) + 1; }

/// Marks `run` as lost, and only then maps the zeros: a thread that reads zeros there finds the mark.
bool replace(Run& run) {
  run.state.store(next_event() * 2 + 1, std::memory_order_release);
  const std::uintptr_t begin = run.begin.load(std::memory_order_relaxed);
  const std::size_t size = run.end.load(std::memory_order_relaxed) - begin;
  void* const place = pointer(begin);
  return ::mmap(place, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == place;
}

void put_into(Slot& slot, Run& run) {
  Run* first = slot.lost.load(std::memory_order_acquire);
  do {
    if (first == &run) {
      return;
    }
    run.next.store(first, std::memory_order_relaxed);
  } while (!slot.lost.compare_exchange_weak(first, &run, std::memory_order_acq_rel));
}

/// The whole file counts as lost: the table of runs is full, or the kernel allows no more mappings.
bool replace_whole(Slot& slot) {
  for (Run* run = slot.lost.load(std::memory_order_acquire); run != &slot.whole;
       run = run->next.load(std::memory_order_acquire)) {
    if (run == nullptr) {
      slot.whole.begin.store(slot.begin.load(std::memory_order_relaxed), std::memory_order_relaxed);
      slot.whole.end.store(pages_end(slot.end.load(std::memory_order_relaxed)), std::memory_order_relaxed);
      put_into(slot, slot.whole);
      break;
    }
  }
  return replace(slot.whole);
}

/// Maps zeros in the place of the lost page at `address`. If the file ends before it, in the place of all that follows.
bool replace_lost(std::uintptr_t address) {
  Slot* const slot = slot_of(address);
  if (slot == nullptr) {
    return false;
  }
  const std::uintptr_t page = page_of(address);
  for (Run* run = slot->lost.load(std::memory_order_acquire); run != nullptr;
       run = run->next.load(std::memory_order_acquire)) {
    if (page >= run->begin.load(std::memory_order_acquire) && page < run->end.load(std::memory_order_acquire)) {
      return replace(*run) || replace_whole(*slot);
    }
  }
  const std::size_t index = runs_used.fetch_add(1, std::memory_order_relaxed);
  if (index >= kRuns) {
    runs_used.store(kRuns, std::memory_order_relaxed);
    return replace_whole(*slot);
  }
  Run& run = runs[index];
  std::uintptr_t end = page + page_size;
  struct stat status{};
  const std::uintptr_t begin = slot->begin.load(std::memory_order_relaxed);
  if (::fstat(slot->fd.load(std::memory_order_relaxed), &status) == 0 &&
      page >= begin + static_cast<std::uintptr_t>(status.st_size)) {
    end = pages_end(slot->end.load(std::memory_order_relaxed));
  }
  run.begin.store(page, std::memory_order_relaxed);
  run.end.store(end, std::memory_order_relaxed);
  put_into(*slot, run);
  return replace(run) || replace_whole(*slot);
}

void on_sigbus(int signal, siginfo_t* info, void* context) {
  const int saved = errno;
  const bool replaced = replace_lost(reinterpret_cast<std::uintptr_t>(info->si_addr));
  errno = saved;
  if (replaced) {
    return;
  }
  // The fault is in no mapping of ours: do what would happen without this handler.
  if ((previous_action.sa_flags & SA_SIGINFO) != 0 && previous_action.sa_sigaction != nullptr) {
    previous_action.sa_sigaction(signal, info, context);
  } else if (previous_action.sa_handler == SIG_DFL) {
    ::sigaction(SIGBUS, &previous_action, nullptr);  // the load faults again and ends the process
  } else if (previous_action.sa_handler != SIG_IGN) {
    previous_action.sa_handler(signal);
  }
}

void install_handler() {
  static std::once_flag once;
  std::call_once(once, [] {
    page_size = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
    struct sigaction action{};
    action.sa_sigaction = on_sigbus;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigemptyset(&action.sa_mask);
    ::sigaction(SIGBUS, &action, &previous_action);
  });
}

/// Reads the page at `page` of the file. 0 or the errno; ENODATA: the file ends before.
int read_page(const Slot& slot, std::uintptr_t page) {
  std::array<std::byte, 512> some{};  // the kernel reads the whole page for them
  const auto offset = static_cast<off_t>(page - slot.begin.load(std::memory_order_relaxed));
  for (;;) {
    const ssize_t count = ::pread(slot.fd.load(std::memory_order_relaxed), some.data(), some.size(), offset);
    if (count >= 0 || errno != EINTR) {
      return count > 0 ? 0 : count == 0 ? ENODATA : errno;
    }
  }
}

/// Tries to undo the loss of `run`, of which the caller needs the page at `page`. False: the page is still lost.
bool recover(Slot& slot, Run& run, std::uintptr_t page) {
  const MutexLock lock(recovery_mutex);
  const std::uint64_t state = run.state.load(std::memory_order_acquire);
  if (state % 2 == 0) {
    return true;
  }
  const auto now = Clock::now();
  if (run.told && now - run.tried < read_faults::kPause) {
    return false;
  }
  run.tried = now;
  const std::uintptr_t begin = run.begin.load(std::memory_order_relaxed);
  const std::uint64_t offset = begin - slot.begin.load(std::memory_order_relaxed);
  const std::size_t size = run.end.load(std::memory_order_relaxed) - begin;
  const std::string& name = *slot.name.load(std::memory_order_acquire);
  if (const int error = read_page(slot, page); error != 0) {
    if (!std::exchange(run.told, true)) {
      read_faults::tell_lost(name, {offset, size}, error);
    }
    return false;
  }
  if (::mmap(pointer(begin), size, PROT_READ, MAP_SHARED | MAP_FIXED, slot.fd.load(std::memory_order_relaxed),
             static_cast<off_t>(offset)) != pointer(begin)) {
    return false;
  }
  // If the handler has replaced the page once more meanwhile, the state is another one, and the page stays lost.
  std::uint64_t expected = state;
  if (!run.state.compare_exchange_strong(expected, next_event() * 2, std::memory_order_acq_rel)) {
    return false;
  }
  if (std::exchange(run.told, false)) {
    read_faults::tell_found(name, {offset, size});
  }
  return true;
}

std::size_t acquire_slot(std::span<const std::byte> bytes, int fd, const std::string& name) {
  const MutexLock lock(table_mutex);
  std::size_t index = 0;
  for (Block* block = &first_block;; block = block->next.load(std::memory_order_relaxed)) {
    for (Slot& slot : block->slots) {
      if (!slot.used) {
        const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
        slot.used = true;
        slot.fd.store(fd, std::memory_order_relaxed);
        slot.name.store(&name, std::memory_order_relaxed);
        slot.lost.store(nullptr, std::memory_order_relaxed);
        slot.end.store(begin + bytes.size(), std::memory_order_release);
        slot.begin.store(begin, std::memory_order_release);
        return index;
      }
      ++index;
    }
    if (block->next.load(std::memory_order_relaxed) == nullptr) {
      block->next.store(new Block, std::memory_order_release);
    }
  }
}

}  // namespace

Outcome check(std::span<const std::byte> part, std::uint64_t before) {
  const auto begin = reinterpret_cast<std::uintptr_t>(part.data());
  Slot* const slot = ever() && !part.empty() ? slot_of(begin) : nullptr;
  Outcome outcome = Outcome::kRight;
  for (Run* run = slot == nullptr ? nullptr : slot->lost.load(std::memory_order_acquire); run != nullptr;
       run = run->next.load(std::memory_order_acquire)) {
    const std::uintptr_t first = std::max(begin, run->begin.load(std::memory_order_acquire));
    if (first >= std::min(begin + part.size(), run->end.load(std::memory_order_acquire))) {
      continue;
    }
    if (run->is_lost() && !recover(*slot, *run, page_of(first))) {
      return Outcome::kLost;
    }
    if (run->state.load(std::memory_order_acquire) / 2 > before) {
      outcome = Outcome::kAgain;
    }
  }
  return outcome;
}

Registration::Registration(std::span<const std::byte> bytes, int fd, const std::string& name) : slot_(0) {
  install_handler();
  slot_ = acquire_slot(bytes, fd, name);
}

Registration::~Registration() {
  const MutexLock lock(table_mutex);
  Slot& slot = slot_at(slot_);
  slot.begin.store(0, std::memory_order_release);
  slot.end.store(0, std::memory_order_release);
  slot.used = false;
}

bool Registration::lost_any() const { return slot_at(slot_).lost.load(std::memory_order_acquire) != nullptr; }

}  // namespace pkgfs::lost_pages
