// SPDX-License-Identifier: MIT
#include <cstdint>
#include <optional>

#include "core/package/wasmer_toml.h"

namespace pkgfs {
namespace {

constexpr std::string_view kHeader("\0asm\1\0\0\0", 8);
constexpr char kCustomSection = 0;
constexpr char kTagSection = 13;  // declares exceptions

/// Reads an unsigned LEB128 number of up to 32 bits and removes it from the front of `bytes`.
std::optional<std::uint32_t> take_u32(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 35 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<std::uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
    if ((byte & 0x80U) == 0) {
      return value > UINT32_MAX ? std::nullopt : std::optional(static_cast<std::uint32_t>(value));
    }
  }
  return std::nullopt;
}

/// Reads a length and that many bytes, and removes both.
std::optional<std::string_view> take_sized(std::string_view& bytes) {
  const std::optional<std::uint32_t> length = take_u32(bytes);
  if (!length || *length > bytes.size()) {
    return std::nullopt;
  }
  const std::string_view taken = bytes.substr(0, *length);
  bytes.remove_prefix(*length);
  return taken;
}

/// Whether the sections of a module declare exceptions; nothing if they aren't well-formed.
std::optional<bool> declares_exceptions(std::string_view bytes) {
  if (!bytes.starts_with(kHeader)) {
    return std::nullopt;
  }
  bytes.remove_prefix(kHeader.size());
  bool found = false;
  while (!bytes.empty()) {
    const char id = bytes.front();
    bytes.remove_prefix(1);
    std::optional<std::string_view> section = take_sized(bytes);
    if (!section || id < 0 || id > kTagSection) {
      return std::nullopt;
    }
    if (id == kCustomSection) {
      const std::optional<std::string_view> name = take_sized(*section);
      if (!name) {
        return std::nullopt;
      }
      found = found || name->find("exception") != std::string_view::npos;
    }
    found = found || id == kTagSection;
  }
  return found;
}

}  // namespace

std::vector<std::string> wasm_features(std::string_view module_bytes) {
  const std::optional<bool> exceptions = declares_exceptions(module_bytes);
  if (!exceptions) {
    return {};
  }
  std::vector<std::string> names = {"simd", "bulk-memory", "reference-types", "multi-value", "threads"};
  if (*exceptions) {
    names.emplace_back("exception-handling");
  }
  names.emplace_back("multi-memory");
  return names;
}

}  // namespace pkgfs
