// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "core/webc/container.h"

namespace pkgfs::test {

/// A package "acme/x@1.0.0" with much of something, as strangers may make it. Has one volume, "/data", with the file
/// "hello". Writing it takes no longer than its size.
struct BulkPackage {
  std::vector<std::string> mount_paths = {};  // of the volume
  std::vector<std::string> sources = {};      // of the mappings, which only version 2 knows; empty: the volume's root
  std::vector<std::string> commands = {};     // without atoms, so that all are broken
  std::vector<std::string> directories = {};  // of the volume

  /// Writes it to `x.webc` below `directory` and answers the path.
  [[nodiscard]] std::string write(const std::filesystem::path& directory,
                                  webc::Version version = webc::Version::kV3) const;
};

/// `count` names of one length, in order: the prefix and a number.
[[nodiscard]] std::vector<std::string> numbered(const std::string& prefix, std::size_t count);
/// "/a/a/a…", with `depth` names.
[[nodiscard]] std::string deep_path(std::size_t depth);
/// "/a", "/a/a" and so on.
[[nodiscard]] std::vector<std::string> nested_paths(std::size_t count);

}  // namespace pkgfs::test
