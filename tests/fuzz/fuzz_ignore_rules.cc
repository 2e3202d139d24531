// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/load/ignore_rules.h"

/// A path (a directory if it ends with "/"), then lines of an ignore file: the last pattern that matches decides, so
/// the second half of the lines decides where it has a verdict, else the first half.
extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using pkgfs::IgnoreFile;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  std::string_view path = text.substr(0, text.find('\n'));
  text.remove_prefix(path.size());  // and not the line break: a byte order mark is one at the beginning only
  const bool is_directory = path.ends_with('/');
  path.remove_suffix(is_directory ? 1 : 0);
  const std::size_t middle = text.find('\n', text.size() / 2);
  const std::string_view first = text.substr(0, middle);
  const std::string_view second = text.substr(first.size());
  IgnoreFile::Verdict expected = IgnoreFile(second).verdict(path, is_directory);
  if (expected == IgnoreFile::Verdict::kNone) {
    expected = IgnoreFile(first).verdict(path, is_directory);
  }
  if (IgnoreFile(text).verdict(path, is_directory) != expected) {
    std::abort();
  }
  return 0;
}
