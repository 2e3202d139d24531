// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <set>
#include <string>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/lazy/access_profile.h"

/// A profile of accesses without its checksum: it is refused with an Error, or each block is one of the container, and
/// none is in it twice.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace pkgfs;
  std::string text(reinterpret_cast<const char*>(data), size);
  text += " " + to_hex(sha256(text)).substr(0, 8);
  AccessProfile profile;
  try {
    profile = AccessProfile::parse(text);
  } catch (const Error&) {
    return 0;
  }
  std::set<std::uint64_t> blocks;
  for (const AccessProfile::Ranges& ranges :
       {profile.opening, profile.mounts[0], profile.mounts[1], profile.mounts[2]}) {
    for (const BlockRange& range : ranges) {
      for (std::uint64_t block = range.first; block < range.end(); ++block) {
        if (!blocks.insert(block).second || block * SparseFile::kBlock >= profile.size) {
          std::abort();
        }
      }
    }
  }
  return blocks.size() <= 2 * AccessProfile::kMostBlocks && profile.text() == text ? 0 : (std::abort(), 0);
}
