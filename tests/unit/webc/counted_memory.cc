// SPDX-License-Identifier: MIT
#include "tests/unit/webc/counted_memory.h"

#include <malloc.h>

#include <algorithm>
#include <cstdlib>
#include <new>

namespace {

thread_local std::size_t held = 0;
thread_local std::size_t most = 0;
thread_local std::size_t calls = 0;

constexpr std::size_t kHead = 8;  // of a chunk of glibc

void release(void* memory) {
  if (memory != nullptr) {
    held -= std::min(held, ::malloc_usable_size(memory) + kHead);
    std::free(memory);
  }
}

}  // namespace

// All forms, but for those with an alignment: AddressSanitizer has forms of its own, and compares the form that
// allocated with the form that frees.
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory != nullptr) {
    ++calls;
    held += ::malloc_usable_size(memory) + kHead;
    most = std::max(most, held);
  }
  return memory;
}
void* operator new[](std::size_t size, const std::nothrow_t& tag) noexcept { return operator new(size, tag); }
void* operator new(std::size_t size) {
  void* const memory = operator new(size, std::nothrow);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}
void* operator new[](std::size_t size) { return operator new(size); }
void operator delete(void* memory) noexcept { release(memory); }
void operator delete[](void* memory) noexcept { release(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept { release(memory); }
void operator delete[](void* memory, std::size_t /*size*/) noexcept { release(memory); }
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept { release(memory); }
void operator delete[](void* memory, const std::nothrow_t& /*tag*/) noexcept { release(memory); }

namespace pkgfs::test {

CountedMemory::CountedMemory() { held = most = calls = 0; }
std::size_t CountedMemory::peak() const { return most; }
std::size_t CountedMemory::allocations() const { return calls; }

}  // namespace pkgfs::test
