// SPDX-License-Identifier: MIT
#include "core/load/zlib.h"

#include "core/base/shared_library.h"

namespace pkgfs {
namespace {

Zlib load_zlib() {
  const SharedLibrary library("libz.so.1", "to read and write gzip", "zlib1g");
  Zlib zlib{};
  library.bind(zlib.inflate_init2, "inflateInit2_");
  library.bind(zlib.inflate_reset, "inflateReset");
  library.bind(zlib.inflate, "inflate");
  library.bind(zlib.inflate_end, "inflateEnd");
  library.bind(zlib.deflate_init2, "deflateInit2_");
  library.bind(zlib.deflate, "deflate");
  library.bind(zlib.deflate_end, "deflateEnd");
  return zlib;
}

}  // namespace

const Zlib& zlib() {
  static const Zlib zlib = load_zlib();
  return zlib;
}

}  // namespace pkgfs
