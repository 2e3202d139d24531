// SPDX-License-Identifier: MIT
#include "core/net/address_range.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>

namespace pkgfs {
namespace {

struct Block4 {
  std::uint32_t first;
  unsigned bits;
  AddressRange range;
};

constexpr std::uint32_t v4(std::uint32_t a, std::uint32_t b, std::uint32_t c = 0, std::uint32_t d = 0) {
  return (a << 24U) | (b << 16U) | (c << 8U) | d;
}

constexpr std::array kBlocks4{
    Block4{v4(0, 0), 8, AddressRange::kLoopback},  // Linux connects 0.0.0.0 to itself
    Block4{v4(127, 0), 8, AddressRange::kLoopback},
    Block4{v4(169, 254), 16, AddressRange::kLinkLocal},
    Block4{v4(10, 0), 8, AddressRange::kPrivate},
    Block4{v4(100, 64), 10, AddressRange::kPrivate},
    Block4{v4(172, 16), 12, AddressRange::kPrivate},
    Block4{v4(192, 0, 0), 24, AddressRange::kPrivate},
    Block4{v4(192, 0, 2), 24, AddressRange::kPrivate},
    Block4{v4(192, 168), 16, AddressRange::kPrivate},
    Block4{v4(198, 18), 15, AddressRange::kPrivate},
    Block4{v4(198, 51, 100), 24, AddressRange::kPrivate},
    Block4{v4(203, 0, 113), 24, AddressRange::kPrivate},
    Block4{v4(224, 0), 4, AddressRange::kPrivate},
    Block4{v4(240, 0), 4, AddressRange::kPrivate},
    Block4{v4(168, 63, 129, 16), 32, AddressRange::kLinkLocal},  // Azure's host, which gives a machine its secrets
};

AddressRange range4(std::uint32_t address) {
  const auto found = std::ranges::find_if(
      kBlocks4, [&](const Block4& block) { return (address ^ block.first) >> (32U - block.bits) == 0; });
  return found == kBlocks4.end() ? AddressRange::kPublic : found->range;
}

using Bytes6 = std::array<std::uint8_t, 16>;

std::uint32_t v4_at(const Bytes6& bytes, std::size_t at) {
  return v4(bytes.at(at), bytes.at(at + 1), bytes.at(at + 2), bytes.at(at + 3));
}

bool begins(const Bytes6& bytes, std::span<const std::uint8_t> prefix) {
  return std::equal(prefix.begin(), prefix.end(), bytes.begin());
}

AddressRange range6(const Bytes6& bytes) {
  constexpr std::array<std::uint8_t, 12> kZeros{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  constexpr std::array<std::uint8_t, 12> kMapped{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  constexpr std::array<std::uint8_t, 12> kNat64{0, 0x64, 0xFF, 0x9B, 0, 0, 0, 0, 0, 0, 0, 0};
  if (begins(bytes, kZeros)) {
    const std::uint32_t last = v4_at(bytes, 12);
    return last <= 1 ? AddressRange::kLoopback : range4(last);  // :: and ::1, else an address of IPv4
  }
  if (begins(bytes, kMapped) || begins(bytes, kNat64)) {
    return range4(v4_at(bytes, 12));
  }
  if (bytes[0] == 0x20 && bytes[1] == 0x02) {
    return range4(v4_at(bytes, 2));  // 6to4
  }
  if (bytes[0] == 0xFE && (bytes[1] & 0xC0U) == 0x80) {
    return AddressRange::kLinkLocal;
  }
  const bool is_global = (bytes[0] & 0xE0U) == 0x20;  // 2000::/3 is all that is routed in the public network
  constexpr std::array<std::uint8_t, 4> kTeredo{0x20, 0x01, 0, 0};
  constexpr std::array<std::uint8_t, 4> kDocumentation{0x20, 0x01, 0x0D, 0xB8};
  const bool is_special = begins(bytes, kTeredo) || begins(bytes, kDocumentation);
  return is_global && !is_special ? AddressRange::kPublic : AddressRange::kPrivate;
}

}  // namespace

AddressRange range_of(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4_address{};
    std::memcpy(&v4_address, &address, sizeof v4_address);
    return range4(ntohl(v4_address.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6_address{};
    std::memcpy(&v6_address, &address, sizeof v6_address);
    Bytes6 bytes{};
    std::memcpy(bytes.data(), &v6_address.sin6_addr, bytes.size());
    return range6(bytes);
  }
  return AddressRange::kLoopback;
}

std::optional<AddressRange> range_of_host(const std::string& host) {
  std::string text = host;
  while (text.ends_with('.')) {
    text.pop_back();
  }
  if (text == "localhost" || text.ends_with(".localhost")) {
    return AddressRange::kLoopback;
  }
  if (text.starts_with('[') && text.ends_with(']')) {
    text = text.substr(1, text.find_first_of("%]") - 1);  // without a zone
  }
  if (const auto address = Address::parse(text)) {
    return range_of(address->get());
  }
  in_addr number{};  // "127.1", as a resolver reads it
  return ::inet_aton(text.c_str(), &number) != 0 ? std::optional(range4(ntohl(number.s_addr))) : std::nullopt;
}

Address::Address(const sockaddr& address, std::size_t length) {
  std::memcpy(&storage_, &address, std::min(length, sizeof storage_));
}

std::optional<Address> Address::parse(const std::string& text, std::uint16_t port) {
  Address address;
  sockaddr_in v4_address{};
  v4_address.sin_family = AF_INET;
  v4_address.sin_port = htons(port);
  if (::inet_pton(AF_INET, text.c_str(), &v4_address.sin_addr) == 1) {
    std::memcpy(&address.storage_, &v4_address, sizeof v4_address);
    return address;
  }
  sockaddr_in6 v6_address{};
  v6_address.sin6_family = AF_INET6;
  v6_address.sin6_port = htons(port);
  if (::inet_pton(AF_INET6, text.c_str(), &v6_address.sin6_addr) != 1) {
    return std::nullopt;
  }
  std::memcpy(&address.storage_, &v6_address, sizeof v6_address);
  return address;
}

const sockaddr& Address::get() const {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the interface of sockets
  return *reinterpret_cast<const sockaddr*>(&storage_);
}

const char* name_of(AddressRange range) {
  switch (range) {
    case AddressRange::kPublic:
      return "the public network";
    case AddressRange::kPrivate:
      return "a private network";
    case AddressRange::kLinkLocal:
      return "the local link";
    case AddressRange::kLoopback:
      break;
  }
  return "this machine";
}

std::string address_text(const sockaddr& address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  const void* bytes = nullptr;
  sockaddr_in v4_address{};
  sockaddr_in6 v6_address{};
  if (address.sa_family == AF_INET) {
    std::memcpy(&v4_address, &address, sizeof v4_address);
    bytes = &v4_address.sin_addr;
  } else if (address.sa_family == AF_INET6) {
    std::memcpy(&v6_address, &address, sizeof v6_address);
    bytes = &v6_address.sin6_addr;
  }
  return bytes != nullptr && ::inet_ntop(address.sa_family, bytes, text.data(), text.size()) != nullptr ? text.data()
                                                                                                        : "unknown";
}

std::uint16_t port_of(const sockaddr& address) {
  static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));
  sockaddr_in either{};
  std::memcpy(&either, &address, std::min(sizeof either, sizeof address));
  return address.sa_family == AF_INET || address.sa_family == AF_INET6 ? ntohs(either.sin_port) : std::uint16_t{0};
}

}  // namespace pkgfs
