// SPDX-License-Identifier: MIT
#include "core/load/unpack_limit.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "core/base/error.h"

namespace pkgfs {

void UnpackLimit::refuse(std::uint64_t bytes, std::uint64_t packed, std::string_view when) const {
  const bool is_bomb = bytes <= most_;
  const std::uint64_t by_ratio = std::max(limits::kUnpackedFreely, packed * limits::kUnpackedRatio);
  const std::string why =
      is_bomb ? fmt::format(", over {} times its size, as in a decompression bomb", limits::kUnpackedRatio) : "";
  const std::string set = by_ratio_ && !is_bomb ? fmt::format(", the limit for {}", limits_->name) : "";
  throw Error(ErrorCode::kUnsupported,
              fmt::format("it holds more than {} bytes when {}{}{}; --max-unpacked=SIZE allows more",
                          is_bomb ? by_ratio : most_, when, set, why));
}

void UnpackLimit::refuse_beginning(std::uint64_t bytes, std::uint64_t read) const {
  throw Error(ErrorCode::kUnsupported,
              fmt::format("its first {} bytes hold {} bytes when unpacked, over {} times as many, as in a "
                          "decompression bomb; --max-unpacked=SIZE allows more",
                          read, bytes, limits::kUnpackedRatio));
}

void UnpackLimit::refuse_entries(std::string_view when) const {
  throw Error(ErrorCode::kUnsupported, fmt::format("it has more than {} entries{}, the limit for {}",
                                                   limits_->tarball_entries, when, limits_->name));
}

}  // namespace pkgfs
