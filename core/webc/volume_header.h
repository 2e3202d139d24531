// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/function_ref.h"
#include "core/webc/buffer.h"
#include "core/webc/writer.h"

namespace pkgfs::webc {

/// Calls `take` with the bytes of `content`, in pieces. Throws Error naming a host file that can't be read.
void read_content(const Content& content, FunctionRef<void(Bytes)> take);

/// The header of one volume that is being written, and the file bodies that follow it (docs/rules/webc-format.md, 5).
/// The constructor reads every body once, for its hash. The nodes of the tree must outlive this.
class VolumeHeader {
 public:
  /// `hashed` is true for version 3. `where` begins messages: `volume "/public"`. Throws Error(kUnsupported) for a name
  /// or a link that can't be stored, and as `read_content`.
  VolumeHeader(const WriterNode& root, bool hashed, std::string where);

  [[nodiscard]] const Buffer& bytes() const { return bytes_; }
  /// The bytes of all bodies together.
  [[nodiscard]] std::uint64_t data_length() const { return data_length_; }
  /// The bodies in the order in which they must be written, because the header has their offsets.
  [[nodiscard]] const std::vector<const Content*>& bodies() const { return bodies_; }

 private:
  struct OpenDirectory;

  void write_tree(const WriterNode& root);
  [[nodiscard]] OpenDirectory open_directory(const WriterNode& node);
  void add_hash(OpenDirectory& directory, const Sha256& hash);
  [[nodiscard]] Sha256 write_file(const WriterNode& node);
  [[nodiscard]] Sha256 write_symlink(const WriterNode& node);
  void put_times(const WriterNode& node);
  [[noreturn]] void refuse(const WriterNode& node, const std::string& what) const;

  bool hashed_;
  std::string where_;
  Buffer bytes_;
  std::uint64_t data_length_ = 0;
  std::vector<const Content*> bodies_;
};

}  // namespace pkgfs::webc
