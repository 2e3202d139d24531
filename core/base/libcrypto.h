// SPDX-License-Identifier: MIT
#pragma once

#include <openssl/evp.h>
#include <openssl/opensslv.h>

namespace pkgfs {

/// libcrypto's functions, under their names without `EVP_`. It is loaded when the first digest is computed: most mounts
/// compute none, and to relocate it is a fifth of what they take to start.
struct Libcrypto {
  decltype(&::EVP_MD_CTX_new) md_ctx_new;
  decltype(&::EVP_MD_CTX_free) md_ctx_free;
  decltype(&::EVP_sha256) sha256;
  decltype(&::EVP_DigestInit_ex) digest_init_ex;
  decltype(&::EVP_DigestUpdate) digest_update;
  decltype(&::EVP_DigestFinal_ex) digest_final_ex;
};

/// The one that was loaded, or linked statically. Throws Error(kUnsupported) if there is none that fits. Thread-safe.
[[nodiscard]] const Libcrypto& libcrypto();

}  // namespace pkgfs
