// SPDX-License-Identifier: MIT
#pragma once

#include <openssl/evp.h>
#include <openssl/opensslv.h>

namespace pkgfs {

/// The functions of libcrypto that pkgfs uses, named as there but without `EVP_`. The library is loaded when the first
/// digest is computed: most mounts compute none, and relocating it takes a fifth of their start.
struct Libcrypto {
  decltype(&::EVP_MD_CTX_new) md_ctx_new;
  decltype(&::EVP_MD_CTX_free) md_ctx_free;
  decltype(&::EVP_sha256) sha256;
  decltype(&::EVP_DigestInit_ex) digest_init_ex;
  decltype(&::EVP_DigestUpdate) digest_update;
  decltype(&::EVP_DigestFinal_ex) digest_final_ex;
};

/// Loads the library on the first call, unless it is linked statically. Throws Error(kUnsupported) if none fits.
/// Thread-safe.
[[nodiscard]] const Libcrypto& libcrypto();

}  // namespace pkgfs
