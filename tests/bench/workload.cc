// SPDX-License-Identifier: MIT
// One workload of the benchmark, in a process of its own: the same system calls for every file system. Prints as JSON
// the time that it took and what it saw. Reads its lists before the clock starts.
//   bench_workload walk ROOT
//   bench_workload read ROOT LIST THREADS
//   bench_workload lstat ROOT LIST TIMES
//   bench_workload absent ROOT LIST TIMES
//   bench_workload open ROOT FILE TIMES
//   bench_workload sequential ROOT FILE
//   bench_workload random ROOT FILE THREADS COUNT SEED
//   bench_workload mmap ROOT FILE COUNT SEED
//   bench_workload exec ROOT FILE TIMES
//   bench_workload command ROOT PROGRAM ARGUMENT...    elapsed until it ends
//   bench_workload ready MOUNTPOINT PROGRAM ARGUMENT...   elapsed until it has ended and MOUNTPOINT answers
//   bench_workload mount KIND IMAGE MOUNTPOINT         what mount(8) can't: an image without a loop device
//   bench_workload contents ROOT LIST                  a hash of every byte, for comparison, not for time
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <exception>
#include <fstream>
#include <functional>
#include <stdexcept>

#include "tests/bench/workloads.h"

namespace pkgfs::bench {
namespace {

Words read_list(const std::string& file) {
  std::ifstream in(file);
  Words paths;
  for (std::string line; std::getline(in, line);) {
    paths.push_back(line);
  }
  if (paths.empty()) {
    throw std::runtime_error("nothing in " + file);
  }
  return paths;
}

void mount_image(const std::string& kind, const std::string& image, const std::string& mountpoint) {
  if (::mount(image.c_str(), mountpoint.c_str(), kind.c_str(), MS_RDONLY, nullptr) != 0) {
    fail(image);
  }
}

std::uint64_t cpu(const timeval& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000U + static_cast<std::uint64_t>(time.tv_usec) * 1000U;
}

struct Cpu {
  std::uint64_t user = 0;
  std::uint64_t system = 0;

  static Cpu now() {
    rusage own{};
    rusage children{};
    ::getrusage(RUSAGE_SELF, &own);
    ::getrusage(RUSAGE_CHILDREN, &children);
    return {cpu(own.ru_utime) + cpu(children.ru_utime), cpu(own.ru_stime) + cpu(children.ru_stime)};
  }
};

/// Everything that isn't measured (lists, arguments), then what is.
std::function<Seen()> prepare(const Words& words) {
  const std::string& name = words.at(0);
  const auto number = [&](std::size_t at) { return std::stoi(words.at(at)); };
  const std::string& target = words.at(name == "walk" ? 1 : 2);
  const auto list = [&] { return read_list(target); };
  const Words rest(words.begin() + 2, words.end());
  if (name == "walk") {
    return walk;
  }
  if (name == "read") {
    return [paths = list(), threads = number(3)] { return read_all(paths, threads); };
  }
  if (name == "lstat") {
    return [paths = list(), times = number(3)] { return lstat_all(paths, times); };
  }
  if (name == "absent") {
    Words paths = list();
    for (std::string& path : paths) {
      path += ".absent";
    }
    return [paths = std::move(paths), times = number(3)] { return absent(paths, times); };
  }
  if (name == "open") {
    return [target, times = number(3)] { return open_often(target, times); };
  }
  if (name == "sequential") {
    return [target] { return sequential(target); };
  }
  if (name == "random") {
    return [target, threads = number(3), count = number(4), seed = number(5)] {
      return random_reads(target, threads, count, seed);
    };
  }
  if (name == "mmap") {
    return [target, count = number(3), seed = number(4)] { return touch_mapping(target, count, seed); };
  }
  if (name == "exec") {
    return [target, times = number(3)] { return exec_often(target, times); };
  }
  if (name == "command") {
    return [rest] {
      start(rest[0], rest);
      return Seen{};
    };
  }
  if (name == "ready") {
    return [mountpoint = words[1], rest] { return ready(mountpoint, rest); };
  }
  if (name == "mount") {
    return [kind = words[1], target, mountpoint = words.at(3)] {
      mount_image(kind, target, mountpoint);
      return Seen{};
    };
  }
  if (name == "contents") {
    return [paths = list()] { return contents(paths); };
  }
  throw std::runtime_error("unknown workload " + name);
}

void measure(const Words& words) {
  const std::function<Seen()> workload = prepare(words);
  // Entering the mount beforehand would keep "ready" from seeing it appear.
  if (words[0] != "ready" && words[0] != "mount" && ::chdir(words.at(1).c_str()) != 0) {
    fail(words[1]);
  }
  const Cpu before = Cpu::now();
  const auto begin = std::chrono::steady_clock::now();
  const Seen seen = workload();
  const auto end = std::chrono::steady_clock::now();
  const Cpu after = Cpu::now();
  const auto elapsed = std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count();
  std::printf("{\"ns\":%lld,\"user_ns\":%llu,\"system_ns\":%llu,\"entries\":%llu,\"bytes\":%llu,\"sum\":%llu}\n",
              static_cast<long long>(elapsed), static_cast<unsigned long long>(after.user - before.user),
              static_cast<unsigned long long>(after.system - before.system),
              static_cast<unsigned long long>(seen.entries), static_cast<unsigned long long>(seen.bytes),
              static_cast<unsigned long long>(seen.sum));
}

}  // namespace
}  // namespace pkgfs::bench

int main(int argc, char** argv) {
  try {
    pkgfs::bench::measure(std::vector<std::string>(argv + 1, argv + argc));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bench_workload: %s\n", error.what());
    return 1;
  }
}
