// SPDX-License-Identifier: MIT
#pragma once

#include <openssl/evp.h>
#include <openssl/opensslv.h>

namespace pkgfs {

/// The functions of libcrypto that pkgfs uses, under their names in snake_case without `EVP_`. Most mounts compute no
/// digest, so the library is loaded only when `libcrypto()` is first called. Otherwise, a mount would spend a fifth of
/// its start-up time on loading the library.
struct Libcrypto {
  decltype(&::EVP_MD_CTX_new) md_ctx_new;
  decltype(&::EVP_MD_CTX_free) md_ctx_free;
  decltype(&::EVP_sha256) sha256;
  decltype(&::EVP_DigestInit_ex) digest_init_ex;
  decltype(&::EVP_DigestUpdate) digest_update;
  decltype(&::EVP_DigestFinal_ex) digest_final_ex;
};

/// Loads the library at the first call, unless pkgfs is linked with it (PKGFS_LINKED_CRYPTO). Throws
/// Error(kUnsupported) if this machine has no libcrypto.so.3. Thread-safe.
[[nodiscard]] const Libcrypto& libcrypto();

}  // namespace pkgfs
