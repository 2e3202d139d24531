// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// Counts allocations on the heap. In a program that links this, malloc, its like and operator new are replaced. Counts
/// only the threads that called `count_this_thread`. Callgrind doesn't profile the work of the heap itself.
namespace pkgfs::bench::allocations {

struct Counts {
  std::uint64_t own = 0;
  std::uint64_t libfuse = 0;  // that libfuse itself made: one for each request, at least

  Counts operator-(const Counts& before) const { return {own - before.own, libfuse - before.libfuse}; }
};

void count_this_thread();
/// Of all threads.
[[nodiscard]] Counts count();

/// From now on keeps where the first few of `own` come from, the innermost function first.
void keep_stacks();
/// As "MODULE+0xOFFSET", for addr2line.
[[nodiscard]] std::vector<std::vector<std::string>> stacks();

}  // namespace pkgfs::bench::allocations
