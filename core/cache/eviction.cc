// SPDX-License-Identifier: MIT
#include "core/cache/eviction.h"

#include <fcntl.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/base/unique_fd.h"
#include "core/cache/containers_by_hash.h"

namespace pkgfs {
namespace {

/// A lease on a file: it exists only if no other descriptor of the file is open. A process that wants to open the file
/// meanwhile waits until the lease ends, a moment later.
class Lease {
 public:
  explicit Lease(const std::string& path) : fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)) {
    // The kernel sends a signal if a process waits. SIGIO would end this process; SIGURG is ignored.
    is_held_ = fd_ && ::fcntl(fd_.get(), F_SETSIG, SIGURG) == 0 && ::fcntl(fd_.get(), F_SETLEASE, F_WRLCK) == 0;
  }
  [[nodiscard]] bool is_held() const { return is_held_; }

 private:
  UniqueFd fd_;  // its end is that of the lease
  bool is_held_ = false;
};

}  // namespace

std::uint64_t evict(ContainersByHash& cache, std::uint64_t limit) {
  std::uint64_t freed = 0;
  std::vector<ContainersByHash::Entry> entries;
  try {
    freed = cache.remove_partial(std::chrono::seconds(0));
    entries = cache.entries();
  } catch (const std::exception&) {
    log::debug("\"{}\" can't be pruned: {}", cache.directory(), current_error());
    return freed;
  }
  std::ranges::stable_sort(entries, {}, &ContainersByHash::Entry::used);
  std::uint64_t left = 0;
  for (const ContainersByHash::Entry& entry : entries) {
    left += entry.size;
  }
  for (const ContainersByHash::Entry& entry : entries) {
    if (left <= limit) {
      break;
    }
    const Lease lease(entry.path);
    if (!lease.is_held()) {
      continue;
    }
    try {
      cache.remove(entry);
      left -= entry.size;
      freed += entry.size;
      log::info("\"{}\" is removed, because the disk is full", entry.path);
    } catch (const Error& error) {
      log::debug("{}", error);
    }
  }
  return freed;
}

}  // namespace pkgfs
