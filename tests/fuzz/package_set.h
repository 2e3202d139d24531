// SPDX-License-Identifier: MIT
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/tree/package_tree.h"
#include "core/webc/container.h"

namespace pkgfs::fuzz {

/// A file of a tree: the package, volume and path that it comes from, and its bytes; none if it can't be read.
struct ReadFile {
  std::vector<std::string> origin;
  std::optional<std::string> content;
};
using Files = std::map<std::string, ReadFile>;  // by path

/// Walks the whole tree and reads every file and link. Aborts if a file has another length than its attributes say.
[[nodiscard]] Files read_files(vfs::FileSystem& fs);
/// Whether `path` leads to something that is no file, or can't be looked up because of what is above it. False: there
/// is no such name.
[[nodiscard]] bool is_hidden(vfs::FileSystem& fs, std::string_view path);

/// A root package and packages that it may depend on, made of a fuzzer's bytes. Most are written here, with versions 2
/// and 3 of the format; the others are fixtures of version 1. All are sound until `damage`.
class PackageSet {
 public:
  /// Throws Error for a set that can't be written.
  explicit PackageSet(FuzzedDataProvider& bytes);

  /// Edits bytes of one or several containers, more often in the parts that describe others than in the bodies.
  void damage(FuzzedDataProvider& bytes);
  /// The tree of the set as it is now. A package that can't be opened is in no source. Throws Error.
  [[nodiscard]] PackageTree load(const TreeOptions& options) const;

  /// The bytes of a file, as written, if no byte that tells where the file is and what it contains has changed. Nothing
  /// for what no container has.
  [[nodiscard]] std::optional<std::string_view> untouched(const std::vector<std::string>& origin) const;
  /// Whether bytes have changed that are in no volume and no atom: manifests, indexes, lengths of sections.
  [[nodiscard]] bool mappings_touched() const;

 private:
  struct Member {
    std::string name;  // without the version, which is 1.0.0
    std::vector<std::byte> bytes;
    std::shared_ptr<const webc::Container> sound;  // as it was written
    [[nodiscard]] bool differs(std::uint64_t begin, std::uint64_t end) const;
    [[nodiscard]] bool is_reframed() const;
  };

  std::vector<Member> members_;  // the root first
};

}  // namespace pkgfs::fuzz
