// SPDX-License-Identifier: MIT
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace pkgfs {

/// How near an address is to this machine, the farthest range first. A server in one range may lead a client to its own
/// range and to those before it, which it can reach itself. IANA's registries of special-purpose addresses (RFC 6890)
/// say which blocks aren't public.
enum class AddressRange {
  kPublic,
  kPrivate,    // a private network, carrier-grade NAT, multicast, or reserved
  kLinkLocal,  // the same network segment; clouds give machines secrets at 169.254.169.254 and 168.63.129.16
  kLoopback,   // this machine
};

/// The range of an IPv4 or IPv6 address. An IPv6 address that stands for an IPv4 address has the range of that. An
/// address of another family counts as kLoopback.
[[nodiscard]] AddressRange range_of(const sockaddr& address);

/// An address of IPv4 or IPv6, with a port.
class Address {
 public:
  Address(const sockaddr& address, std::size_t length);
  /// Parses an address without a port. Nothing for a text that isn't an address.
  [[nodiscard]] static std::optional<Address> parse(const std::string& text, std::uint16_t port = 0);
  [[nodiscard]] const sockaddr& get() const;

 private:
  Address() = default;

  sockaddr_storage storage_{};
};

/// The range of a host that is written as an address ("10.0.0.1", "[::1]", "127.1"), or that is "localhost" or ends
/// with ".localhost". Nothing for any other name.
[[nodiscard]] std::optional<AddressRange> range_of_host(const std::string& host);

/// The name of a range for messages: `a private network`.
[[nodiscard]] const char* name_of(AddressRange range);
/// The address as text, without its port. "unknown" for a family other than IPv4 and IPv6.
[[nodiscard]] std::string address_text(const sockaddr& address);
/// The port of an address; 0 if it has none.
[[nodiscard]] std::uint16_t port_of(const sockaddr& address);

}  // namespace pkgfs
