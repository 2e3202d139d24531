// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <mutex>
#include <utility>

#include "core/base/byte_source.h"
#include "core/base/thread_annotations.h"

namespace pkgfs {
namespace {

Mutex registry_mutex;

// The table of mappings that the signal handler reads. Blocks are never freed and slots are reused. The handler reads
// atomics only, since it may take no lock.
struct Slot {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::atomic<bool> damaged{false};
  bool used PKGFS_GUARDED_BY(registry_mutex) = false;
};

constexpr std::size_t kBlockSlots = 64;
struct Block {
  std::array<Slot, kBlockSlots> slots;
  std::atomic<Block*> next{nullptr};
};

Block first_block;
struct sigaction previous_action;
std::uintptr_t page_size = 4096;

Slot& slot_at(std::size_t index) {
  Block* block = &first_block;
  for (; index >= kBlockSlots; index -= kBlockSlots) {
    block = block->next.load(std::memory_order_acquire);
  }
  return block->slots[index];
}

// Maps a page of zeros in the place of a lost page, so that the faulting load continues.
bool replace_lost_page(std::uintptr_t address) {
  for (Block* block = &first_block; block != nullptr; block = block->next.load(std::memory_order_acquire)) {
    for (Slot& slot : block->slots) {
      const std::uintptr_t begin = slot.begin.load(std::memory_order_acquire);
      if (begin == 0 || address < begin || address >= slot.end.load(std::memory_order_acquire)) {
        continue;
      }
      slot.damaged.store(true, std::memory_order_release);
      void* page = reinterpret_cast<void*>(address & ~(page_size - 1));  // NOLINT(performance-no-int-to-ptr)
      return ::mmap(page, page_size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page;
    }
  }
  return false;
}

void on_sigbus(int signal, siginfo_t* info, void* context) {
  const int saved = errno;
  const bool replaced = replace_lost_page(reinterpret_cast<std::uintptr_t>(info->si_addr));
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

std::size_t acquire_slot(std::span<const std::byte> bytes) {
  const MutexLock lock(registry_mutex);
  std::size_t index = 0;
  for (Block* block = &first_block;; block = block->next.load(std::memory_order_relaxed)) {
    for (Slot& slot : block->slots) {
      if (!slot.used) {
        const auto begin = reinterpret_cast<std::uintptr_t>(bytes.data());
        slot.used = true;
        slot.damaged.store(false, std::memory_order_relaxed);
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

void release_slot(std::size_t index) {
  const MutexLock lock(registry_mutex);
  Slot& slot = slot_at(index);
  slot.begin.store(0, std::memory_order_release);
  slot.end.store(0, std::memory_order_release);
  slot.used = false;
}

}  // namespace

std::shared_ptr<MappedFile> MappedFile::open(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
  if (!fd) {
    throw system_error("Unable to open \"" + path + "\"", errno);
  }
  return adopt(std::move(fd), path);
}

std::shared_ptr<MappedFile> MappedFile::adopt(UniqueFd fd, std::string name) {
  return std::shared_ptr<MappedFile>(new MappedFile(std::move(fd), std::move(name)));
}

MappedFile::MappedFile(UniqueFd fd, std::string name) : name_(std::move(name)), fd_(std::move(fd)) {
  struct stat status{};
  if (::fstat(fd_.get(), &status) != 0) {
    throw system_error("Unable to read \"" + name_ + "\"", errno);
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(ErrorCode::kUnsupported, "\"" + name_ + "\" is not a regular file");
  }
  install_handler();
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, fd_.get(), 0);
    if (address == MAP_FAILED) {
      throw system_error("Unable to map \"" + name_ + "\"", errno);
    }
    bytes_ = {static_cast<const std::byte*>(address), size};
  }
  slot_ = acquire_slot(bytes_);
}

MappedFile::~MappedFile() {
  release_slot(slot_);
  if (!bytes_.empty()) {
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
  }
}

bool MappedFile::damaged() const { return slot_at(slot_).damaged.load(std::memory_order_acquire); }

Result<void> MappedFile::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
    return fail(EIO);
  }
  while (!out.empty()) {
    const ssize_t count = ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count <= 0) {
      slot_at(slot_).damaged.store(true, std::memory_order_release);
      return fail(EIO);
    }
    out = out.subspan(static_cast<std::size_t>(count));
    offset += static_cast<std::uint64_t>(count);
  }
  return {};
}

bool MappedFile::read_at_once(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
    return false;
  }
  iovec piece{.iov_base = out.data(), .iov_len = out.size()};
  if (can_ask_.load(std::memory_order_relaxed)) {
    const ssize_t count = ::preadv2(fd_.get(), &piece, 1, static_cast<off_t>(offset), RWF_NOWAIT);
    if (count >= 0 || errno != EOPNOTSUPP) {
      return count == static_cast<ssize_t>(out.size());
    }
    can_ask_.store(false, std::memory_order_relaxed);
  }
  return read(offset, out).has_value();
}

Result<void> MemoryBytes::read(std::uint64_t offset, std::span<std::byte> out) const {
  if (offset > bytes_.size() || out.size() > bytes_.size() - offset) {
    return fail(EIO);
  }
  std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
  return {};
}

}  // namespace pkgfs
