// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace pkgfs {

/// A SHA-256 digest: 32 raw bytes.
using Sha256 = std::array<std::uint8_t, 32>;

/// Computes a SHA-256 from pieces, with OpenSSL's libcrypto. The constructor throws Error(kUnsupported) if libcrypto
/// can't be loaded. Every method throws Error(kInternal) if libcrypto fails. Not thread-safe.
class Sha256Hasher {
 public:
  Sha256Hasher();
  ~Sha256Hasher();
  Sha256Hasher(const Sha256Hasher&) = delete;
  Sha256Hasher& operator=(const Sha256Hasher&) = delete;

  void update(std::span<const std::byte> bytes);
  /// The digest of all bytes that `update` got. The hasher must not be used afterwards.
  [[nodiscard]] Sha256 finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// The digest of `bytes` or `text`. Throws as Sha256Hasher.
[[nodiscard]] Sha256 sha256(std::span<const std::byte> bytes);
[[nodiscard]] Sha256 sha256(std::string_view text);

/// 64 lower-case hex digits.
[[nodiscard]] std::string to_hex(const Sha256& digest);
/// 64 upper-case hex digits, as the reference prints container hashes in messages.
[[nodiscard]] std::string to_upper_hex(const Sha256& digest);
/// Parses exactly 64 hex digits of either case; nothing for any other text.
[[nodiscard]] std::optional<Sha256> sha256_from_hex(std::string_view hex);

/// Standard base64 with padding (RFC 4648 section 4).
[[nodiscard]] std::string base64_encode(std::span<const std::uint8_t> bytes);
/// The inverse of `base64_encode`; nothing if `text` isn't exactly what `base64_encode` would print.
[[nodiscard]] std::optional<std::string> base64_decode(std::string_view text);

}  // namespace pkgfs
