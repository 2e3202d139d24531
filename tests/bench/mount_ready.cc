// SPDX-License-Identifier: MIT
// How long `pkgfs mount` takes until the mount answers, for a package of 10 files and one of 100,000: the two must not
// differ, since nothing is walked. Both take turns, so that a busy machine disturbs both alike.
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/support/containers/package_builder.h"
#include "tests/support/fixtures.h"
#include "tests/support/mount.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// `count` small files in directories of a thousand.
fs::path package(const fs::path& directory, int count) {
  PackageBuilder builder("bench/files" + std::to_string(count) + "@1.0.0");
  builder.directory("data", "").mount("/data", "data");
  webc::WriterNode& root = builder.volume("data");
  for (int number = 0; number < count; ++number) {
    if (number % 1000 == 0) {
      root.children.emplace_back().name = "d" + std::to_string(number / 1000);
    }
    webc::WriterNode& file = root.children.back().children.emplace_back();
    file.name = "file-" + std::to_string(number) + ".txt";
    file.kind = webc::EntryKind::kFile;
    file.content = std::to_string(number);
  }
  return builder.publish(directory);
}

/// Milliseconds from the start of the program to the first answer of the mount.
double mount_once(const fs::path& package, const fs::path& mountpoint) {
  const auto begin = std::chrono::steady_clock::now();
  const ProcessResult mounted = run({PKGFS_BINARY, "mount", package, mountpoint});
  struct stat status{};
  const bool answers = mounted.ok() && ::stat((mountpoint / "data").c_str(), &status) == 0;
  const auto end = std::chrono::steady_clock::now();
  const bool unmounted = run({PKGFS_BINARY, "unmount", mountpoint}).ok();
  if (!answers || !unmounted) {
    std::fprintf(stderr, "mounting %s failed: %s\n", package.c_str(), mounted.describe().c_str());
    force_unmount(mountpoint);
    std::exit(1);  // NOLINT(concurrency-mt-unsafe)
  }
  return std::chrono::duration<double, std::milli>(end - begin).count();
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

int measure(int rounds, double most) {
  if (const std::string why = fuse_missing(); !why.empty()) {
    std::printf("skipped: %s\n", why.c_str());
    return 0;
  }
  const TempDir dir;
  const fs::path mountpoint = dir.path() / "mnt";
  fs::create_directory(mountpoint);
  const fs::path small = package(dir.path(), 10);
  const fs::path large = package(dir.path(), 100'000);
  mount_once(small, mountpoint);  // warms the page cache
  mount_once(large, mountpoint);
  std::vector<double> few;
  std::vector<double> many;
  for (int round = 0; round < rounds; ++round) {
    few.push_back(mount_once(small, mountpoint));
    many.push_back(mount_once(large, mountpoint));
  }
  const double ratio = median(many) / median(few);
  std::printf("mount to ready, median of %d (least):\n", rounds);
  std::printf("       10 files  %6.1f ms  (%.1f)\n", median(few), *std::min_element(few.begin(), few.end()));
  std::printf("  100,000 files  %6.1f ms  (%.1f)\n", median(many), *std::min_element(many.begin(), many.end()));
  std::printf("  ratio          %6.2f\n", ratio);
  if (ratio > most) {
    std::printf("too slow: more than %.2f\n", most);
    return 1;
  }
  return 0;
}

}  // namespace
}  // namespace pkgfs::test

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 25;
  const double most = argc > 2 ? std::atof(argv[2]) : 1e9;
  return pkgfs::test::measure(std::max(rounds, 1), most);
}
