// SPDX-License-Identifier: MIT
#include "core/load/libarchive.h"

#include "core/base/shared_library.h"

namespace pkgfs {
namespace {

Libarchive load() {
  const SharedLibrary library("libarchive.so.13", "to read tarballs", "libarchive13");
  Libarchive archive{};
  library.bind(archive.entry_filetype, "archive_entry_filetype");
  library.bind(archive.entry_hardlink, "archive_entry_hardlink");
  library.bind(archive.entry_mtime, "archive_entry_mtime");
  library.bind(archive.entry_mtime_is_set, "archive_entry_mtime_is_set");
  library.bind(archive.entry_pathname, "archive_entry_pathname");
  library.bind(archive.entry_symlink, "archive_entry_symlink");
  library.bind(archive.error_string, "archive_error_string");
  library.bind(archive.read_data_block, "archive_read_data_block");
  library.bind(archive.read_free, "archive_read_free");
  library.bind(archive.read_new, "archive_read_new");
  library.bind(archive.read_next_header, "archive_read_next_header");
  library.bind(archive.read_open, "archive_read_open");
  library.bind(archive.read_support_format_tar, "archive_read_support_format_tar");
  return archive;
}

}  // namespace

const Libarchive& libarchive() {
  static const Libarchive archive = load();
  return archive;
}

}  // namespace pkgfs
