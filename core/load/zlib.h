// SPDX-License-Identifier: MIT
#pragma once

#include <zlib.h>

namespace pkgfs {

/// The functions of zlib that pkgfs uses, under their names in snake_case. `inflate_init2` and `deflate_init2` are
/// the functions that the macros inflateInit2() and deflateInit2() call. The library is loaded only when `zlib()` is
/// first called.
struct Zlib {
  decltype(&::inflateInit2_) inflate_init2;
  decltype(&::inflateReset) inflate_reset;
  decltype(&::inflate) inflate;
  decltype(&::inflateEnd) inflate_end;
  decltype(&::deflateInit2_) deflate_init2;
  decltype(&::deflate) deflate;
  decltype(&::deflateEnd) deflate_end;
};

/// Loads the library at the first call. Throws Error(kUnsupported) if this machine has no libz.so.1. Thread-safe.
[[nodiscard]] const Zlib& zlib();

}  // namespace pkgfs
