// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/byte_source.h"
#include "core/base/hash.h"
#include "core/webc/container.h"

namespace pkgfs::webc {

/// Where the bytes of a file come from: memory, a run of a source, or a host file that is read (twice) while writing.
using Content = std::variant<std::string, Blob, std::filesystem::path>;

/// An entry to be written. The root of a volume is a directory whose name does not matter.
struct WriterNode {
  std::string name = {};
  EntryKind kind = EntryKind::kDirectory;
  std::uint64_t modified = 0;  // seconds since the epoch; version 3 only
  Content content = {};        // file
  std::string target = {};     // link; version 3 only
  std::vector<WriterNode> children = {};
};

/// "sha256:" and the base64 of `digest`, as the manifest's `atoms` want it.
[[nodiscard]] std::string atom_signature(const Sha256& digest);

/// Makes containers of version 2 or 3 in the layout of the reference: children sorted by name bytes, entries depth
/// first, bodies in the same order, volumes sorted by name. Only the zero padding of the index differs. Memory: the
/// headers, and one buffer; bodies stream.
class Writer {
 public:
  /// `version` is 2 or 3.
  explicit Writer(Version version, Json manifest);

  /// Names are checked by `write`; the order of calls does not matter.
  void add_atom(std::string name, Content content);
  void add_volume(std::string name, WriterNode root);

  /// Writes the container from offset 0 of the empty regular file `fd` and returns its length. Throws Error for a bad
  /// or double name, a link in version 2, a host file that can't be read or changes in between, and a failing write.
  std::uint64_t write(int fd) const;
  [[nodiscard]] std::vector<std::byte> to_bytes() const;

 private:
  Version version_;
  Json manifest_;
  WriterNode atoms_;
  std::vector<std::pair<std::string, WriterNode>> volumes_;
};

}  // namespace pkgfs::webc
