// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/byte_source.h"
#include "core/base/hash.h"
#include "core/base/unique_fd.h"
#include "core/webc/container.h"

namespace pkgfs::webc {

/// A file of the host. It is read three times: for its own hash, for the hash of its section, and to write it.
struct HostFile {
  std::string name;  // for messages
  /// A new descriptor, open for reading, which may belong to anything; -1 with `errno` if it can't be opened.
  std::function<UniqueFd()> open;
};

/// Where the bytes of a file come from: memory, a part of a source, or a host file.
class Content : public std::variant<std::string, Blob, HostFile> {
 public:
  using variant::variant;
  Content(const std::filesystem::path&) = delete;  // it would become a text: the path itself
};

/// An entry to be written. The root of a volume is a directory; its name is ignored.
struct WriterNode {
  std::string name = {};
  EntryKind kind = EntryKind::kDirectory;
  std::uint64_t modified = 0;  // seconds since the epoch; version 3 only
  Content content = {};        // file
  std::string target = {};     // link; version 3 only
  std::vector<WriterNode> children = {};
};

/// "sha256:" and the base64 of `digest`: the form of a signature in the manifest's `atoms`.
[[nodiscard]] std::string atom_signature(const Sha256& digest);

/// Writes containers of version 2 or 3 in the layout of the reference. Children and volumes are sorted by name bytes.
/// Entries are stored depth first, and bodies in the same order. The bytes are those that the reference writes for the
/// same input. `write` has the headers and one buffer in memory, and streams the bodies. Not thread-safe.
class Writer {
 public:
  /// `version` is 2 or 3. Throws Error(kUnsupported) for 1.
  explicit Writer(Version version, Json manifest);

  /// `write` checks the names. The order of calls has no effect.
  void add_atom(std::string name, Content content);
  void add_volume(std::string name, WriterNode root);

  /// Writes the container to the empty regular file `fd`, whose position is 0, and returns its length. Throws Error for
  /// a bad or duplicate name, and for a link in version 2. It also throws for a host file that can't be read or changes
  /// meanwhile, and for a failed write.
  std::uint64_t write(int fd) const;
  /// The same container in memory.
  [[nodiscard]] std::vector<std::byte> to_bytes() const;

 private:
  Version version_;
  Json manifest_;
  WriterNode atoms_;
  std::vector<std::pair<std::string, WriterNode>> volumes_;
};

}  // namespace pkgfs::webc
