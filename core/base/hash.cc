// SPDX-License-Identifier: MIT
#include "core/base/hash.h"

#include <algorithm>
#include <boost/archive/iterators/base64_from_binary.hpp>
#include <boost/archive/iterators/binary_from_base64.hpp>
#include <boost/archive/iterators/dataflow_exception.hpp>
#include <boost/archive/iterators/transform_width.hpp>
#include <new>
#include <vector>

#include "core/base/error.h"
#include "core/base/libcrypto.h"

namespace pkgfs {
namespace {

std::string hex(const Sha256& digest, std::string_view digits) {
  std::string text;
  text.reserve(digest.size() * 2);
  for (const std::uint8_t byte : digest) {
    text += digits[byte >> 4U];
    text += digits[byte & 0xfU];
  }
  return text;
}

int nibble(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  if (c >= 'A' && c <= 'F') {
    return c - 'A' + 10;
  }
  return -1;
}

}  // namespace

struct Sha256Hasher::State {
  const Libcrypto& crypto = libcrypto();
  EVP_MD_CTX* context = crypto.md_ctx_new();
  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { crypto.md_ctx_free(context); }
};

Sha256Hasher::Sha256Hasher() : state_(std::make_unique<State>()) {
  const Libcrypto& crypto = state_->crypto;
  if (state_->context == nullptr) {
    throw std::bad_alloc();
  }
  if (crypto.digest_init_ex(state_->context, crypto.sha256(), nullptr) != 1) {
    throw Error(ErrorCode::kInternal, "libcrypto can't start a SHA-256 computation");
  }
}

Sha256Hasher::~Sha256Hasher() = default;

void Sha256Hasher::update(std::span<const std::byte> bytes) {
  if (state_->crypto.digest_update(state_->context, bytes.data(), bytes.size()) != 1) {
    throw Error(ErrorCode::kInternal, "libcrypto failed in a SHA-256 computation");
  }
}

Sha256 Sha256Hasher::finish() {
  Sha256 digest{};
  if (state_->crypto.digest_final_ex(state_->context, digest.data(), nullptr) != 1) {
    throw Error(ErrorCode::kInternal, "libcrypto failed in a SHA-256 computation");
  }
  return digest;
}

Sha256 sha256(std::span<const std::byte> bytes) {
  Sha256Hasher hasher;
  hasher.update(bytes);
  return hasher.finish();
}

Sha256 sha256(std::string_view text) { return sha256(std::as_bytes(std::span(text.data(), text.size()))); }

std::string to_hex(const Sha256& digest) { return hex(digest, "0123456789abcdef"); }

std::string to_upper_hex(const Sha256& digest) { return hex(digest, "0123456789ABCDEF"); }

std::optional<Sha256> sha256_from_hex(std::string_view text) {
  Sha256 digest{};
  if (text.size() != digest.size() * 2) {
    return std::nullopt;
  }
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const int high = nibble(text[2 * i]);
    const int low = nibble(text[2 * i + 1]);
    if (high < 0 || low < 0) {
      return std::nullopt;
    }
    digest[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return digest;
}

std::string base64_encode(std::span<const std::uint8_t> bytes) {
  namespace it = boost::archive::iterators;
  using Digits = it::base64_from_binary<it::transform_width<std::span<const std::uint8_t>::iterator, 6, 8>>;
  // Boost makes a digit of whole bytes only, so the missing ones are added as zeros.
  std::vector<std::uint8_t> padded(bytes.begin(), bytes.end());
  const std::size_t padding = (3 - bytes.size() % 3) % 3;
  padded.resize(bytes.size() + padding);
  const std::span<const std::uint8_t> all(padded);
  std::string text(Digits(all.begin()), Digits(all.end()));
  std::fill(text.end() - static_cast<std::ptrdiff_t>(padding), text.end(), '=');
  return text;
}

std::optional<std::string> base64_decode(std::string_view text) {
  namespace it = boost::archive::iterators;
  using Bytes = it::transform_width<it::binary_from_base64<std::string::const_iterator>, 8, 6>;
  if (text.size() % 4 != 0) {
    return std::nullopt;
  }
  const std::size_t padding = text.ends_with("==") ? 2 : (text.ends_with('=') ? 1 : 0);
  std::string digits(text);
  std::fill(digits.end() - static_cast<std::ptrdiff_t>(padding), digits.end(), 'A');
  std::string bytes;
  try {
    bytes.assign(Bytes(digits.cbegin()), Bytes(digits.cend()));
  } catch (const it::dataflow_exception&) {
    return std::nullopt;
  }
  bytes.resize(bytes.size() - padding);
  // Another spelling of the same bytes is not accepted.
  const auto* raw = reinterpret_cast<const std::uint8_t*>(bytes.data());
  if (base64_encode(std::span(raw, bytes.size())) != text) {
    return std::nullopt;
  }
  return bytes;
}

}  // namespace pkgfs
