// SPDX-License-Identifier: MIT
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/net/address_range.h"

namespace pkgfs {

/// Says which addresses a client may connect to, so that a server can't use pkgfs to reach this machine or a private
/// network (docs/rules/resolution.md, 7.7). It judges the address that libcurl connects to, after the look-up of the
/// name and at each redirect.
///
/// The user, on the command line, in the settings or in a local package, names servers. A URL that the user wrote may
/// lead to any address, and so may other URLs at its server; but without https, which proves that it is the same one,
/// not to a more local range than that in which the server was first seen. Any other server may be in the public
/// network, and in the ranges of the named servers that announced its URL. Thread-safe.
class AddressPolicy {
 public:
  /// The user named `url`.
  void name(const std::string& url);
  /// The server at `origin` announced `url`.
  void announce(const std::string& url, const std::string& origin);
  /// Proxies, which may be reached anywhere, at their own port.
  void set_proxies(const std::vector<std::string>& urls);

  /// One hop of a request for `requested`, at the URL `now` (after redirects), to `address`.
  struct Hop {
    std::string requested;
    std::string now;
  };
  /// Why this hop may not use `address` with its port; nothing if it may.
  [[nodiscard]] std::optional<std::string> refusal(const Hop& hop, const sockaddr& address) const;
  /// A connection to `address` was made, and the request is about to be sent: remembers the range of a named server.
  void connected(const Hop& hop, const sockaddr& address);
  /// Looks up the named servers that announced `url` and weren't connected to, for example because their answers are
  /// cached. Waits for name servers. Returns whether something new is known.
  [[nodiscard]] bool look_up_origins(const std::string& url);

 private:
  /// The URLs on whose behalf `requested` is: those that announced it, itself if the user named it or nothing did.
  [[nodiscard]] std::vector<std::string> origins_of(const std::string& requested) const PKGFS_REQUIRES(mutex_);
  [[nodiscard]] bool is_proxy(const sockaddr& address) const PKGFS_REQUIRES(mutex_);
  /// The entry in `named_` of the authority of `url`; null if the user didn't name it.
  [[nodiscard]] const std::optional<AddressRange>* find_named(const std::string& url) const PKGFS_REQUIRES(mutex_);

  mutable Mutex mutex_;
  /// By authority, with the widest range that it was first seen in. URLs are parsed when a request is made, since that
  /// needs libcurl.
  mutable std::map<std::string, std::optional<AddressRange>> named_ PKGFS_GUARDED_BY(mutex_);
  mutable std::set<std::string> unparsed_ PKGFS_GUARDED_BY(mutex_);
  std::set<std::string> texts_ PKGFS_GUARDED_BY(mutex_);                              // all URLs that were named
  std::map<std::string, std::set<std::string>> announced_ PKGFS_GUARDED_BY(mutex_);   // URL -> origins
  std::set<std::pair<std::string, std::uint16_t>> proxies_ PKGFS_GUARDED_BY(mutex_);  // address as text, and port
};

}  // namespace pkgfs
