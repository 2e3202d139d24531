// SPDX-License-Identifier: MIT
#include "tests/unit/vfs/no_memory.h"

#include <cstdlib>
#include <new>

namespace {

thread_local bool refuses = false;

}  // namespace

// The other forms of the library call these.
void* operator new(std::size_t size) {
  void* const memory = refuses ? nullptr : std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) {
    throw std::bad_alloc();
  }
  return memory;
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t /*size*/) noexcept { std::free(memory); }

namespace pkgfs::test {

NoMemory::NoMemory() { refuses = true; }
NoMemory::~NoMemory() { refuses = false; }

}  // namespace pkgfs::test
