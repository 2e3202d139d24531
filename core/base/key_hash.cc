// SPDX-License-Identifier: MIT
#include "core/base/key_hash.h"

#include <sha2.h>

namespace pkgfs {

Sha256 sha256_of_key(std::string_view text) {
  SHA2_CTX context;
  Sha256 digest{};
  ::SHA256Init(&context);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the interface of libmd
  ::SHA256Update(&context, reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  ::SHA256Final(digest.data(), &context);
  return digest;
}

}  // namespace pkgfs
