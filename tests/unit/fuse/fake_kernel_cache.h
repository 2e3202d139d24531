// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <cerrno>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/base/thread_annotations.h"
#include "fuse/kernel_cache.h"
#include "tests/support/fuse/gate.h"

/// A kernel's page cache whose answers a test chooses: a real one evicts pages when it likes.
namespace pkgfs::fuse {

/// What a KernelCache was asked; outlives it.
struct Kernel {
  Mutex mutex;
  std::vector<std::pair<vfs::Inode, std::string>> stored PKGFS_GUARDED_BY(mutex);
  std::set<vfs::Inode> unknown PKGFS_GUARDED_BY(mutex);
  std::vector<std::pair<std::string, std::uint64_t>> listed PKGFS_GUARDED_BY(mutex);
  bool in_use PKGFS_GUARDED_BY(mutex) = false;  // by a listing
  bool destroyed PKGFS_GUARDED_BY(mutex) = false;
  std::atomic<int> list_error{0};
  std::atomic<int> asked{0};  // calls of `store`
  std::atomic<bool> memory_short{false};
  std::atomic<int> memory_checks{0};
  test::Gate gate;  // of `store`
};

class FakeCache final : public KernelCache {
 public:
  explicit FakeCache(Kernel& kernel) : kernel_(kernel) {}
  ~FakeCache() override {
    const MutexLock lock(kernel_.mutex);
    kernel_.destroyed = true;
  }
  [[nodiscard]] int store(vfs::Inode file, std::span<const std::byte> content) override {
    kernel_.gate.pass();
    ++kernel_.asked;
    const MutexLock lock(kernel_.mutex);
    if (kernel_.unknown.contains(file)) {
      return ENOENT;
    }
    if (!content.empty()) {
      kernel_.stored.emplace_back(file, std::string(reinterpret_cast<const char*>(content.data()), content.size()));
    }
    return 0;
  }
  [[nodiscard]] int list(const std::string& path, std::uint64_t from) override {
    const MutexLock lock(kernel_.mutex);
    kernel_.listed.emplace_back(path, from);
    if (kernel_.list_error != 0) {
      return kernel_.list_error;
    }
    kernel_.in_use = true;
    kernel_.unknown.clear();
    return 0;
  }
  void end_listing() override {
    const MutexLock lock(kernel_.mutex);
    kernel_.in_use = false;
  }
  [[nodiscard]] bool is_memory_short() override {
    ++kernel_.memory_checks;
    return kernel_.memory_short;
  }

 private:
  Kernel& kernel_;
};

}  // namespace pkgfs::fuse
