// SPDX-License-Identifier: MIT
#include "core/cache/eviction.h"

#include <fcntl.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <iterator>
#include <string>
#include <vector>

#include "core/base/error.h"
#include "core/base/function_ref.h"
#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "core/base/unique_fd.h"
#include "core/cache/cache_files.h"
#include "core/cache/containers_by_hash.h"
#include "core/cache/containers_by_url.h"
#include "core/cache/lazy_files.h"

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

/// What may be removed.
struct Candidate {
  cache_files::Clock::time_point used;
  std::uint64_t size = 0;
  std::string path;
  std::function<bool()> remove;  // false if it is in use; throws Error
};

/// Adds what `find` returns. Adds nothing if it throws.
void add(std::vector<Candidate>& all, const std::string& directory,
         FunctionRef<void(std::vector<Candidate>& found)> find) {
  std::vector<Candidate> found;
  try {
    find(found);
  } catch (const std::exception&) {
    log::debug("\"{}\" can't be pruned: {}", directory, current_error());
    return;
  }
  all.insert(all.end(), std::make_move_iterator(found.begin()), std::make_move_iterator(found.end()));
}

/// The containers fetched in parts in `directory`.
void add_parts(std::vector<Candidate>& all, const std::string& directory) {
  add(all, directory, [&](std::vector<Candidate>& found) {
    const auto opened = PrivateDirectory::find(directory);
    for (const lazy_files::Pair& pair : opened ? lazy_files::list(*opened) : std::vector<lazy_files::Pair>()) {
      found.push_back(
          {pair.used, pair.bytes, directory + "/" + pair.key + std::string(cache_files::kLazy), [directory, pair] {
             const auto now = PrivateDirectory::find(directory);
             return now && lazy_files::remove(*now, pair.key, pair.used).has_value();
           }});
    }
  });
}

}  // namespace

std::uint64_t evict(ContainersByHash& packages, ContainersByUrl& urls, std::uint64_t limit) {
  std::vector<Candidate> all;
  add(all, packages.directory(), [&](std::vector<Candidate>& found) {
    for (const ContainersByHash::Entry& entry : packages.entries()) {
      found.push_back({entry.used, entry.size, entry.path, [&packages, entry] {
                         const Lease lease(entry.path);
                         if (lease.is_held()) {
                           packages.remove(entry);
                         }
                         return lease.is_held();
                       }});
    }
  });
  add(all, urls.directory(), [&](std::vector<Candidate>& found) {
    for (const ContainersByUrl::Entry& entry : urls.entries()) {
      found.push_back({entry.used, entry.size, entry.path, [&urls, entry] {
                         const Lease lease(entry.path);
                         return lease.is_held() && urls.remove_if_free(entry);
                       }});
    }
  });
  add_parts(all, packages.temporary_directory());
  add_parts(all, urls.temporary_directory());
  std::ranges::stable_sort(all, {}, &Candidate::used);
  std::uint64_t left = 0;
  for (const Candidate& each : all) {
    left += each.size;
  }
  std::uint64_t freed = 0;
  for (const Candidate& each : all) {
    if (left <= limit) {
      break;
    }
    try {
      if (each.remove()) {
        left -= each.size;
        freed += each.size;
        log::info("\"{}\" is removed, because the disk is full", each.path);
      }
    } catch (const Error& error) {
      log::debug("{}", error);
    }
  }
  return freed;
}

}  // namespace pkgfs
