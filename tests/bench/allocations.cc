// SPDX-License-Identifier: MIT
#include "tests/bench/allocations.h"

#include <dlfcn.h>
#include <execinfo.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string_view>

#include "tests/bench/profile.h"

// glibc's own functions, under the names that it offers to programs that replace malloc.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* memory, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);
void __libc_free(void* memory);
}
// NOLINTEND(bugprone-reserved-identifier)

namespace pkgfs::bench::allocations {
namespace {

constexpr std::size_t kStacks = 4;
constexpr int kDepth = 32;
constexpr int kOwnFrames = 2;  // of `note` and of the replaced function

struct Stack {
  std::array<void*, kDepth> frames{};
  int depth = 0;
};

thread_local bool counting = false;
std::atomic<std::uint64_t> own{0};
std::atomic<std::uint64_t> from_libfuse{0};
std::atomic<bool> keeping{false};
std::atomic<std::size_t> kept{0};
std::array<Stack, kStacks> kept_stacks;
std::uintptr_t libfuse_begin = 0;
std::uintptr_t libfuse_end = 0;

int find_libfuse(dl_phdr_info* info, std::size_t /*size*/, void* /*data*/) {
  if (std::string_view(info->dlpi_name).find("libfuse3") == std::string_view::npos) {
    return 0;
  }
  libfuse_begin = info->dlpi_addr;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& part = info->dlpi_phdr[i];
    if (part.p_type == PT_LOAD) {
      libfuse_end = std::max(libfuse_end, libfuse_begin + part.p_vaddr + part.p_memsz);
    }
  }
  return 1;
}

[[gnu::noinline]] void note(const void* caller) {
  if (!counting) {
    return;
  }
  const auto address = reinterpret_cast<std::uintptr_t>(caller);
  if (address >= libfuse_begin && address < libfuse_end) {
    ++from_libfuse;
    return;
  }
  ++own;
  if (keeping) {
    if (const std::size_t number = kept++; number < kStacks) {
      counting = false;  // backtrace may allocate
      Stack& stack = kept_stacks[number];
      stack.depth = ::backtrace(stack.frames.data(), kDepth);
      counting = true;
    }
  }
}

std::string where(const void* frame) {
  Dl_info info{};
  if (::dladdr(frame, &info) == 0) {
    return "?+0x0";
  }
  std::array<char, 32> offset{};
  // The call, not what follows it.
  std::snprintf(offset.data(), offset.size(), "+0x%tx",
                static_cast<const char*>(frame) - static_cast<const char*>(info.dli_fbase) - 1);
  return std::string(info.dli_fname) + offset.data();
}

}  // namespace

void count_this_thread() {
  ::dl_iterate_phdr(find_libfuse, nullptr);
  counting = true;
}

Counts count() { return {own, from_libfuse}; }

void keep_stacks() {
  std::array<void*, 1> once{};
  (void)::backtrace(once.data(), 1);  // loads what it needs
  keeping = true;
}

std::vector<std::vector<std::string>> stacks() {
  std::vector<std::vector<std::string>> all;
  for (std::size_t i = 0; i < std::min(kept.load(), kStacks); ++i) {
    const Stack& stack = kept_stacks[i];
    std::vector<std::string>& one = all.emplace_back();
    for (int frame = kOwnFrames; frame < stack.depth; ++frame) {
      one.push_back(where(stack.frames[static_cast<std::size_t>(frame)]));
    }
  }
  return all;
}

}  // namespace pkgfs::bench::allocations

using pkgfs::bench::allocations::note;
// What the heap takes depends on what was taken before, all over the program.
using pkgfs::bench::profile::Pause;

extern "C" {

void* malloc(std::size_t size) noexcept {
  const Pause pause;
  note(__builtin_return_address(0));
  return __libc_malloc(size);
}

void* calloc(std::size_t count, std::size_t size) noexcept {
  const Pause pause;
  note(__builtin_return_address(0));
  return __libc_calloc(count, size);
}

void* realloc(void* memory, std::size_t size) noexcept {
  const Pause pause;
  note(__builtin_return_address(0));
  return __libc_realloc(memory, size);
}

void* memalign(std::size_t alignment, std::size_t size) noexcept {
  const Pause pause;
  note(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  const Pause pause;
  note(__builtin_return_address(0));
  return __libc_memalign(alignment, size);
}

int posix_memalign(void** memory, std::size_t alignment, std::size_t size) noexcept {
  const Pause pause;
  note(__builtin_return_address(0));
  void* const found = __libc_memalign(alignment, size);
  if (found == nullptr) {
    return ENOMEM;
  }
  *memory = found;
  return 0;
}

void free(void* memory) noexcept {
  const Pause pause;
  __libc_free(memory);
}
}
