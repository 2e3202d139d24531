// SPDX-License-Identifier: MIT
#include "core/load/unpack_limit.h"

#include <string>

#include "core/base/error.h"

namespace pkgfs {

void UnpackLimit::refuse(std::uint64_t bytes, std::uint64_t packed, std::string_view when) const {
  const std::string size = "more than " + std::to_string(bytes > most_ ? most_ : limits::kUnpackedFreely) + " bytes";
  std::string text = "it holds " + size + " when " + std::string(when);
  if (bytes <= most_) {
    text = std::to_string(packed) + " of its bytes hold " + size + " when " + std::string(when) + ", over " +
           std::to_string(limits::kUnpackedRatio) + " times as many, as in a decompression bomb";
  }
  throw Error(ErrorCode::kUnsupported, text + "; --max-unpacked=SIZE allows more");
}

}  // namespace pkgfs
