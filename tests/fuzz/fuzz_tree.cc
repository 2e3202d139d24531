// SPDX-License-Identifier: MIT
#include <cstdlib>

#include "tests/fuzz/package_set.h"

using namespace pkgfs;
using namespace pkgfs::fuzz;

/// A set of packages, damaged in a few places: the merged tree is refused, or every file that no edit concerns has the
/// bytes that were written, and is where it was, unless something damaged is there or above.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) try {
  FuzzedDataProvider bytes(data, size);
  const TreeOptions options{.view = bytes.ConsumeBool() ? View::kMerged : View::kPackage};
  PackageSet set(bytes);
  const Files before = read_files(*set.load(options).file_system);
  set.damage(bytes);
  const PackageTree tree = set.load(options);
  const Files after = read_files(*tree.file_system);
  bool right = true;
  for (const auto& [path, file] : after) {
    const auto written = set.untouched(file.origin);
    right = right && (!written || file.content == *written);
  }
  for (const auto& [path, file] : before) {
    const auto now = after.find(path);
    const bool stays = now != after.end() && now->second.origin == file.origin;
    const bool hidden = now != after.end() ? !set.untouched(now->second.origin) : is_hidden(*tree.file_system, path);
    right = right && (stays || hidden || set.mappings_touched() || !set.untouched(file.origin));
  }
  return right ? 0 : (std::abort(), 1);
} catch (const Error&) {
  return 0;
}
