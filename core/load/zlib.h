// SPDX-License-Identifier: MIT
#pragma once

#include <zlib.h>

namespace pkgfs {

/// The functions of zlib that pkgfs uses. `inflate_init2` is what the macro inflateInit2() calls. The library is loaded
/// when the first tarball is opened.
struct Zlib {
  decltype(&::inflateInit2_) inflate_init2;
  decltype(&::inflateReset) inflate_reset;
  decltype(&::inflate) inflate;
  decltype(&::inflateEnd) inflate_end;
};

/// Loads the library on the first call. Throws Error(kUnsupported) if none fits. Thread-safe.
[[nodiscard]] const Zlib& zlib();

}  // namespace pkgfs
