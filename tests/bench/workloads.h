// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pkgfs::bench {

using Words = std::vector<std::string>;

/// What a workload saw; must be equal for all file systems that show the same tree.
struct Seen {
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  std::uint64_t sum = 0;

  void add(const Seen& other) {
    entries += other.entries;
    bytes += other.bytes;
    sum += other.sum;
  }
};

/// Throws with `what` and the text of errno.
[[noreturn]] void fail(const std::string& what);

// All paths are relative to the working directory, which is the root of the tree.

/// Like `find -ls`: lists every directory, and looks at every entry.
Seen walk();
/// Reads every file from its start to its end, as cat does.
Seen read_all(const Words& paths, int threads);
Seen lstat_all(const Words& paths, int times);
/// Looks for paths that aren't there.
Seen absent(const Words& paths, int times);
Seen open_often(const std::string& path, int times);
/// Reads one file in pieces of 1 MiB.
Seen sequential(const std::string& path);
/// `count` times 4 KiB at random places, shared among threads.
Seen random_reads(const std::string& path, int threads, int count, int seed);
/// Maps a file and touches `count` random pages.
Seen touch_mapping(const std::string& path, int count, int seed);
/// Starts a program, which is searched for as the shell does, and waits for its end.
void start(const std::string& path, std::span<const std::string> words);
Seen exec_often(const std::string& path, int times);
/// Runs the command in `words`; by its end `mountpoint` must have been mounted.
Seen ready(const std::string& mountpoint, std::span<const std::string> words);
/// A hash over every byte of every file.
Seen contents(const Words& paths);

}  // namespace pkgfs::bench
