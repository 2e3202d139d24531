// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/export/byte_sink.h"
#include "core/export/tree_reader.h"

namespace pkgfs {

/// Writes a tar archive in the pax format (POSIX.1-2017, pax, "pax Interchange Format"). Owner and group are 0, without
/// names. An entry has an extended header only if a ustar header can't hold its path, link target, size or time.
///
/// libarchive isn't used here: it converts names by the locale of the process, and a later version of it may write
/// other bytes for the same entries.
class TarWriter {
 public:
  /// `out` must outlive this.
  explicit TarWriter(ByteSink& out) : out_(out) {}

  /// A directory, or the header of a file, whose bytes must follow through `content`. An empty path is that of the
  /// root.
  void add(const ExportEntry& entry);
  void add_link(const ExportEntry& link, std::string_view target);
  /// A file that isn't from a tree, with mode 0644 and the time 0; its bytes follow through `content`.
  void add_file(std::string_view path, std::uint64_t size);
  /// The same for a whole file.
  void add_file(std::string_view path, std::string_view text);
  /// Bytes of the last file.
  void content(std::span<const std::byte> bytes);
  /// Writes the padding after the last byte of a file. Throws Error(kInternal) if bytes are missing.
  void end_file();
  /// Writes the end of the archive.
  void finish();

 private:
  struct Header;
  void write_header(const Header& header);
  void write_block(const Header& header, std::uint64_t size, std::int64_t modified);

  ByteSink& out_;
  std::uint64_t left_ = 0;     // bytes that the last file still needs
  std::uint64_t padding_ = 0;  // after them
};

/// Writes a whole tree. Throws Error.
void write_tar(vfs::FileSystem& fs, ByteSink& out);

}  // namespace pkgfs
