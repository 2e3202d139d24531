// SPDX-License-Identifier: MIT
#include "core/base/key_hash.h"

#ifndef PKGFS_LINKED_CRYPTO
#include <sha2.h>

#include <optional>

#include "core/base/error.h"
#include "core/base/shared_library.h"
#endif

namespace pkgfs {

#ifdef PKGFS_LINKED_CRYPTO

Sha256 sha256_of_key(std::string_view text) { return sha256(text); }

#else
namespace {

/// The functions of libmd that pkgfs uses.
struct Libmd {
  decltype(&::SHA256Init) init;
  decltype(&::SHA256Update) update;
  decltype(&::SHA256Final) final;
};

std::optional<Libmd> load_libmd() {
  try {
    const SharedLibrary library("libmd.so.0", "to compute SHA-256", "libmd0");
    Libmd functions{};
    library.bind(functions.init, "SHA256Init");
    library.bind(functions.update, "SHA256Update");
    library.bind(functions.final, "SHA256Final");
    return functions;
  } catch (const Error&) {
    return std::nullopt;  // libcrypto does it
  }
}

}  // namespace

Sha256 sha256_of_key(std::string_view text) {
  static const std::optional<Libmd> libmd = load_libmd();
  if (!libmd) {
    return sha256(text);
  }
  SHA2_CTX context;
  Sha256 digest{};
  libmd->init(&context);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the interface of libmd
  libmd->update(&context, reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  libmd->final(digest.data(), &context);
  return digest;
}

#endif

}  // namespace pkgfs
