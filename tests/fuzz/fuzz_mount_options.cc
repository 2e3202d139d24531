// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <string>
#include <vector>

#include "daemon/cli/mount_words.h"
#include "daemon/cli/options.h"

using namespace pkgfs;

static std::string outcome(const std::vector<std::string>& args, const MountWordRules& rules) try {
  const MountOptions options = parse_mount_options(args, rules);
  return std::to_string(options.fmask) + options.package + options.tree.network.lock.value_or("");
} catch (const Error& error) {
  return error.what();
}

/// The value of `-o`, not empty, behind a byte that chooses the rules. Its words one by one, each in an `-o` of its
/// own, have the same effect or the same error; but for words with quotation marks, which no escape can write.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const MountWordRules rules{.from_mount = (text[0] & 1) != 0, .sloppy = (text[0] & 2) != 0};
  const std::string all = text.substr(text.empty() ? 0 : 1);
  std::vector<std::string> one_by_one = {"package", "/mnt"};
  for (const std::string& word : split_mount_words(all)) {
    std::string& option = one_by_one.emplace_back("--options=");
    for (const char c : word) {
      option += (c == ',' || c == '\\' ? "\\" : "") + std::string(1, c);
    }
  }
  const bool same = outcome({"package", "/mnt", "--options=" + all}, rules) == outcome(one_by_one, rules);
  return same || all.empty() || all.find('"') != all.npos ? 0 : (std::abort(), 1);
}
