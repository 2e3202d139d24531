// SPDX-License-Identifier: MIT
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace pkgfs {

/// From where an address can be reached. The order counts: a host of one range may lead a client to its own range and
/// to those before it, since it can reach them itself. The registries of IANA for special-purpose addresses (RFC 6890)
/// say which blocks aren't public.
enum class AddressRange {
  kPublic,
  kPrivate,    // a private network, carrier-grade NAT, multicast, reserved
  kLinkLocal,  // the network cable; clouds keep credentials at 169.254.169.254 and 168.63.129.16
  kLoopback,   // this machine
};

/// The range of an IPv4 or IPv6 address; of an IPv6 address that stands for an IPv4 address, the range of that. Any
/// other family is kLoopback.
[[nodiscard]] AddressRange range_of(const sockaddr& address);

/// An address of IPv4 or IPv6.
class Address {
 public:
  Address(const sockaddr& address, std::size_t length);
  /// Nothing for a text that isn't an address.
  [[nodiscard]] static std::optional<Address> parse(const std::string& text, std::uint16_t port = 0);
  [[nodiscard]] const sockaddr& get() const;

 private:
  Address() = default;

  sockaddr_storage storage_{};
};

/// The range of a host that is written as an address ("10.0.0.1", "[::1]", "127.1") or is "localhost"; nothing for
/// other names.
[[nodiscard]] std::optional<AddressRange> range_of_host(const std::string& host);

/// `a private network`, for messages.
[[nodiscard]] const char* name_of(AddressRange range);
/// The address without its port, as text.
[[nodiscard]] std::string address_text(const sockaddr& address);
/// 0 if the address has none.
[[nodiscard]] std::uint16_t port_of(const sockaddr& address);

}  // namespace pkgfs
