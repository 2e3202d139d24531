// SPDX-License-Identifier: MIT
#pragma once

#include <clocale>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "core/base/error.h"
#include "core/load/gzip_stream.h"
#include "core/load/libarchive.h"
#include "core/load/unpack_limit.h"

namespace pkgfs {

/// Reads the entries of a gzip'd tar. GzipStream unpacks the file, because it checks everything. libarchive reads the
/// tar format. Only the thread that made the object may use it: the object changes the locale of this thread as long as
/// it lives.
class TarReader {
 public:
  /// `packed` must outlive this. Throws Error.
  TarReader(std::span<const std::byte> packed, const UnpackLimit& limit);

  /// The next entry, valid until the next call; null at the end. Throws Error(kCorrupt), and what UnpackLimit throws.
  [[nodiscard]] struct archive_entry* next();

  /// A part of the content of the current entry. There may be holes between the parts.
  struct Part {
    std::span<const std::byte> bytes;
    std::uint64_t offset = 0;
    bool end = false;  // not a part, but the end: `offset` is the size, because there may be a hole at the end
  };
  /// The next part. Throws as `next`.
  [[nodiscard]] Part next_part();

  /// Reads the rest of the file, from the end of the tar on, to check that, too. Throws as `next`.
  void finish();

 private:
  /// Gives the thread a UTF-8 locale. libarchive converts names with it; the locale "C" would refuse or mangle all but
  /// ASCII.
  class Utf8Locale {
   public:
    Utf8Locale();
    ~Utf8Locale();
    Utf8Locale(const Utf8Locale&) = delete;
    Utf8Locale& operator=(const Utf8Locale&) = delete;

   private:
    locale_t locale_;
    locale_t before_ = nullptr;
  };

  struct Free {
    void operator()(struct archive* archive) const { libarchive().read_free(archive); }
  };

  /// libarchive's callback. An exception must not pass through C code, so it is kept in `failure_`.
  static la_ssize_t read(struct archive* archive, void* self, const void** buffer);
  /// The next unpacked bytes, within the limits.
  std::span<const std::byte> unpack();
  [[noreturn]] void fail();

  Utf8Locale locale_;
  GzipStream stream_;
  UnpackLimit limit_;
  std::uint64_t packed_;  // bytes of the whole file
  std::optional<Error> failure_;
  std::unique_ptr<struct archive, Free> archive_;  // calls `read`, so it ends first
};

}  // namespace pkgfs
