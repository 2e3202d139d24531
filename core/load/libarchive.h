// SPDX-License-Identifier: MIT
#pragma once

#include <archive.h>
#include <archive_entry.h>

namespace pkgfs {

/// The functions of libarchive that pkgfs uses, under their names without `archive_`. Few packages are tarballs, so the
/// library is loaded only when `libarchive()` is first called. It also loads libxml2 and ICU.
struct Libarchive {
  decltype(&::archive_entry_filetype) entry_filetype;
  decltype(&::archive_entry_hardlink) entry_hardlink;
  decltype(&::archive_entry_mtime) entry_mtime;
  decltype(&::archive_entry_mtime_is_set) entry_mtime_is_set;
  decltype(&::archive_entry_pathname) entry_pathname;
  decltype(&::archive_entry_symlink) entry_symlink;
  decltype(&::archive_error_string) error_string;
  decltype(&::archive_read_data_block) read_data_block;
  decltype(&::archive_read_free) read_free;
  decltype(&::archive_read_new) read_new;
  decltype(&::archive_read_next_header) read_next_header;
  decltype(&::archive_read_open) read_open;
  decltype(&::archive_read_support_format_tar) read_support_format_tar;
};

/// Loads the library at the first call. Throws Error(kUnsupported) if this machine has no libarchive.so.13.
/// Thread-safe.
[[nodiscard]] const Libarchive& libarchive();

}  // namespace pkgfs
