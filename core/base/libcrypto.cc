// SPDX-License-Identifier: MIT
#include "core/base/libcrypto.h"

#include "core/base/shared_library.h"

namespace pkgfs {
namespace {

static_assert(OPENSSL_VERSION_MAJOR == 3, "the library is loaded by the name that this version has");

Libcrypto load() {
#ifdef PKGFS_LINKED_CRYPTO
  return {::EVP_MD_CTX_new,    ::EVP_MD_CTX_free,  ::EVP_sha256,
          ::EVP_DigestInit_ex, ::EVP_DigestUpdate, ::EVP_DigestFinal_ex};
#else
  const SharedLibrary library("libcrypto.so.3", "to compute SHA-256", "libssl3");
  Libcrypto crypto{};
  library.bind(crypto.md_ctx_new, "EVP_MD_CTX_new");
  library.bind(crypto.md_ctx_free, "EVP_MD_CTX_free");
  library.bind(crypto.sha256, "EVP_sha256");
  library.bind(crypto.digest_init_ex, "EVP_DigestInit_ex");
  library.bind(crypto.digest_update, "EVP_DigestUpdate");
  library.bind(crypto.digest_final_ex, "EVP_DigestFinal_ex");
  return crypto;
#endif
}

}  // namespace

const Libcrypto& libcrypto() {
  static const Libcrypto crypto = load();
  return crypto;
}

}  // namespace pkgfs
