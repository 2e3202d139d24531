// SPDX-License-Identifier: MIT
#include "tests/bench/workloads.h"

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <functional>
#include <random>
#include <stdexcept>
#include <string_view>
#include <thread>

#include "core/base/unique_fd.h"

extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace pkgfs::bench {

void fail(const std::string& what) { throw std::runtime_error(what + ": " + std::strerror(errno)); }

namespace {

std::uint64_t hash(std::span<const char> bytes, std::uint64_t state = 0xcbf29ce484222325U) {
  constexpr std::uint64_t kPrime = 0x100000001b3U;
  std::size_t at = 0;
  for (; at + sizeof(std::uint64_t) <= bytes.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, sizeof(word));
    state = (state ^ word) * kPrime;
    state ^= state >> 29U;
  }
  for (; at < bytes.size(); ++at) {
    state = (state ^ static_cast<unsigned char>(bytes[at])) * kPrime;
  }
  return state;
}

UniqueFd open_file(const std::string& path) {
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    fail(path);
  }
  return fd;
}

/// Like `find -ls`: lists every directory, and looks at every entry.
void walk(int parent, const char* name, Seen& seen) {
  const int fd = ::openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* directory = fd < 0 ? nullptr : ::fdopendir(fd);
  if (directory == nullptr) {
    fail(name);
  }
  Words below;
  while (const dirent* entry = ::readdir(directory)) {  // NOLINT(concurrency-mt-unsafe)
    const std::string_view leaf = entry->d_name;
    if (leaf == "." || leaf == "..") {
      continue;
    }
    struct stat status{};
    if (::fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) {
      fail(entry->d_name);
    }
    seen.entries += 1;
    seen.sum += hash(leaf);
    if (S_ISDIR(status.st_mode)) {
      below.emplace_back(leaf);
    } else {
      seen.bytes += static_cast<std::uint64_t>(status.st_size);
    }
  }
  for (const std::string& child : below) {
    walk(fd, child.c_str(), seen);
  }
  ::closedir(directory);
}

/// Reads a file from its start to its end, as cat does.
void read_file(const std::string& path, std::span<char> buffer, Seen& seen) {
  const UniqueFd fd = open_file(path);
  for (;;) {
    const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
    if (got < 0) {
      fail(path);
    }
    if (got == 0) {
      break;
    }
    const auto length = static_cast<std::size_t>(got);
    seen.bytes += length;
    seen.sum += static_cast<unsigned char>(buffer[0]);
    seen.sum += static_cast<unsigned char>(buffer[length - 1]);
  }
  seen.entries += 1;
}

/// Runs `work(number of the thread)` in threads and adds up what they saw; one thread is the caller's own.
Seen in_threads(int threads, const std::function<void(int, Seen&)>& work) {
  std::vector<Seen> seen(static_cast<std::size_t>(threads));
  std::vector<std::exception_ptr> errors(static_cast<std::size_t>(threads));
  const auto guarded = [&](int number) {
    try {
      work(number, seen[static_cast<std::size_t>(number)]);
    } catch (...) {
      errors[static_cast<std::size_t>(number)] = std::current_exception();
    }
  };
  std::vector<std::thread> others;
  for (int number = 1; number < threads; ++number) {
    others.emplace_back(guarded, number);
  }
  guarded(0);
  for (std::thread& other : others) {
    other.join();
  }
  Seen total;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    if (errors[i]) {
      std::rethrow_exception(errors[i]);
    }
    total.add(seen[i]);
  }
  return total;
}

constexpr std::size_t kPage = 4096;

std::size_t pages_of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0 || static_cast<std::size_t>(status.st_size) < kPage) {
    fail("not a large file");
  }
  return static_cast<std::size_t>(status.st_size) / kPage;
}

}  // namespace

Seen walk() {
  Seen seen;
  walk(AT_FDCWD, ".", seen);
  return seen;
}

Seen read_all(const Words& paths, int threads) {
  constexpr std::size_t kBuffer = 128 << 10U;  // what cat uses
  std::atomic<std::size_t> next = 0;
  return in_threads(threads, [&](int, Seen& seen) {
    std::vector<char> buffer(kBuffer);
    for (std::size_t i = next++; i < paths.size(); i = next++) {
      read_file(paths[i], buffer, seen);
    }
  });
}

Seen lstat_all(const Words& paths, int times) {
  Seen seen;
  for (int time = 0; time < times; ++time) {
    for (const std::string& path : paths) {
      struct stat status{};
      if (::lstat(path.c_str(), &status) != 0) {
        fail(path);
      }
      seen.entries += 1;
      seen.bytes += S_ISREG(status.st_mode) ? static_cast<std::uint64_t>(status.st_size) : 0;
    }
  }
  return seen;
}

Seen absent(const Words& paths, int times) {
  Seen seen;
  for (int time = 0; time < times; ++time) {
    for (const std::string& path : paths) {
      struct stat status{};
      if (::lstat(path.c_str(), &status) == 0 || errno != ENOENT) {
        fail("not absent: " + path);
      }
      seen.entries += 1;
    }
  }
  return seen;
}

Seen open_often(const std::string& path, int times) {
  Seen seen;
  for (int time = 0; time < times; ++time) {
    static_cast<void>(open_file(path));
    seen.entries += 1;
  }
  return seen;
}

Seen sequential(const std::string& path) {
  constexpr std::size_t kBuffer = 1 << 20U;
  std::vector<char> buffer(kBuffer);
  Seen seen;
  read_file(path, buffer, seen);
  return seen;
}

Seen random_reads(const std::string& path, int threads, int count, int seed) {
  return in_threads(threads, [&](int number, Seen& seen) {
    const UniqueFd fd = open_file(path);
    std::uniform_int_distribution<std::size_t> any(0, pages_of(fd.get()) - 1);
    std::mt19937_64 random(static_cast<std::uint64_t>(seed + number));
    std::vector<char> buffer(kPage);
    for (int i = number; i < count; i += threads) {
      if (::pread(fd.get(), buffer.data(), kPage, static_cast<off_t>(any(random) * kPage)) != ssize_t{kPage}) {
        fail(path);
      }
      seen.entries += 1;
      seen.bytes += kPage;
      seen.sum += hash(buffer);
    }
  });
}

Seen touch_mapping(const std::string& path, int count, int seed) {
  const UniqueFd fd = open_file(path);
  const std::size_t pages = pages_of(fd.get());
  void* mapping = ::mmap(nullptr, pages * kPage, PROT_READ, MAP_SHARED, fd.get(), 0);
  if (mapping == MAP_FAILED) {  // NOLINT(performance-no-int-to-ptr)
    fail(path);
  }
  const auto* bytes = static_cast<const unsigned char*>(mapping);
  std::uniform_int_distribution<std::size_t> any(0, pages - 1);
  std::mt19937_64 random(static_cast<std::uint64_t>(seed));
  Seen seen;
  for (int i = 0; i < count; ++i) {
    seen.sum += bytes[any(random) * kPage];
    seen.entries += 1;
  }
  ::munmap(mapping, pages * kPage);
  return seen;
}

void start(const std::string& path, std::span<const std::string> words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) {
    arguments.push_back(const_cast<char*>(word.c_str()));  // NOLINT(cppcoreguidelines-pro-type-const-cast)
  }
  arguments.push_back(nullptr);
  pid_t child = 0;
  errno = ::posix_spawnp(&child, path.c_str(), nullptr, nullptr, arguments.data(), environ);
  int status = 0;
  if (errno != 0 || ::waitpid(child, &status, 0) != child) {
    fail(path);
  }
  if (status != 0) {
    throw std::runtime_error(path + (WIFEXITED(status) ? " ended with status " + std::to_string(WEXITSTATUS(status))
                                                       : " was ended by signal " + std::to_string(WTERMSIG(status))));
  }
}

Seen exec_often(const std::string& path, int times) {
  Seen seen;
  const Words words{path};
  for (int time = 0; time < times; ++time) {
    start("./" + path, words);
    seen.entries += 1;
  }
  return seen;
}

Seen ready(const std::string& mountpoint, std::span<const std::string> words) {
  struct stat before{};
  struct stat after{};
  if (::stat(mountpoint.c_str(), &before) != 0) {
    fail(mountpoint);
  }
  start(words[0], words);
  if (::stat(mountpoint.c_str(), &after) != 0 || before.st_dev == after.st_dev) {
    throw std::runtime_error("not mounted: " + mountpoint);
  }
  return {};
}

Seen contents(const Words& paths) {
  constexpr std::size_t kBuffer = 1 << 20U;
  std::vector<char> buffer(kBuffer);
  Seen seen;
  for (const std::string& path : paths) {
    const UniqueFd fd = open_file(path);
    std::uint64_t state = hash(path);
    std::size_t filled = 0;
    for (bool end = false; !end;) {  // whole buffers, so that the hash doesn't depend on how much a read returns
      const ssize_t got = ::read(fd.get(), buffer.data() + filled, buffer.size() - filled);
      if (got < 0) {
        fail(path);
      }
      end = got == 0;
      filled += static_cast<std::size_t>(got);
      seen.bytes += static_cast<std::uint64_t>(got);
      if (end || filled == buffer.size()) {
        state = hash({buffer.data(), filled}, state);
        filled = 0;
      }
    }
    seen.sum += state;
    seen.entries += 1;
  }
  return seen;
}

}  // namespace pkgfs::bench
