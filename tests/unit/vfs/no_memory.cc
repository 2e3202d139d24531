// SPDX-License-Identifier: MIT
#include "tests/unit/vfs/no_memory.h"

#include <cstdlib>
#include <new>

namespace {

thread_local bool refuses = false;

}  // namespace

// All forms, but for those with an alignment: AddressSanitizer has forms of its own, and compares the form that
// allocated with the form that frees.
void* operator new(std::size_t size, const std::nothrow_t& /*tag*/) noexcept {
  return refuses ? nullptr : std::malloc(size == 0 ? 1 : size);
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
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }
void operator delete[](void* memory, std::size_t /*size*/) noexcept { std::free(memory); }
void operator delete(void* memory, const std::nothrow_t& /*tag*/) noexcept { std::free(memory); }
void operator delete[](void* memory, const std::nothrow_t& /*tag*/) noexcept { std::free(memory); }

namespace pkgfs::test {

NoMemory::NoMemory() { refuses = true; }
NoMemory::~NoMemory() { refuses = false; }

}  // namespace pkgfs::test
