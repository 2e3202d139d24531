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

/// Decides which addresses a client may connect to. So a server can't use pkgfs to reach this machine or a private
/// network (docs/rules/resolution.md, 7.7). The policy judges every address that libcurl connects to, after the look-up
/// of the host's name and after each redirect.
///
/// The user names URLs on the command line, in the settings or in a local package. A server that has such a URL is a
/// named server. A request belongs to the servers that announced its URL. If the user named the URL, or if nothing
/// announced it, the request also belongs to the server of the URL.
/// - A request for a URL that the user named may go to any address until it is redirected.
/// - With https, a request may go to any address of a named server to which it belongs. The certificate proves which
///   server it is.
/// - Without https, it may not go to a more local range (AddressRange) than the one in which that server was first
///   seen.
/// - To any other server, it may go in the public network, and in the ranges of the named servers to which it belongs.
///
/// Thread-safe.
class AddressPolicy {
 public:
  /// Records that the user named `url`.
  void name(const std::string& url);
  /// Records that the server of the URL `origin` announced `url`.
  void announce(const std::string& url, const std::string& origin);
  /// Sets the proxies. They may have any address, at their own port. Looks up their names, and so may wait for name
  /// servers.
  void set_proxies(const std::vector<std::string>& urls);

  /// One hop of a request: the request is for the URL `requested`, and goes to the URL `now` after redirects.
  struct Hop {
    std::string requested;
    std::string now;
  };
  /// Why this hop may not use `address` and its port; nothing if it may.
  [[nodiscard]] std::optional<std::string> refusal(const Hop& hop, const sockaddr& address) const;
  /// Call it when a connection to `address` exists and the request is about to be sent. Remembers the range of a named
  /// server if it isn't known yet.
  void connected(const Hop& hop, const sockaddr& address);
  /// Looks up the named servers that announced `url` and whose range isn't known yet, for example because their answers
  /// are cached. Waits for name servers. Returns whether one of them isn't in the public network, so that a refused hop
  /// may be allowed now.
  [[nodiscard]] bool look_up_origins(const std::string& url);

 private:
  /// The URLs whose servers decide about `requested`: those that announced it. `requested` is one of them if the user
  /// named it or if nothing announced it.
  [[nodiscard]] std::vector<std::string> origins_of(const std::string& requested) const PKGFS_REQUIRES(mutex_);
  [[nodiscard]] bool is_proxy(const sockaddr& address) const PKGFS_REQUIRES(mutex_);
  /// The entry in `named_` for the server of `url`; null if it isn't a named server.
  [[nodiscard]] const std::optional<AddressRange>* find_named(const std::string& url) const PKGFS_REQUIRES(mutex_);

  mutable Mutex mutex_;
  /// The named servers by authority, each with the range in which it was first seen; none: not seen yet. If a look-up
  /// gives several addresses, the least local range counts. URLs are parsed only when a request is made, because that
  /// needs libcurl.
  mutable std::map<std::string, std::optional<AddressRange>> named_ PKGFS_GUARDED_BY(mutex_);
  mutable std::set<std::string> unparsed_ PKGFS_GUARDED_BY(mutex_);
  std::set<std::string> texts_ PKGFS_GUARDED_BY(mutex_);                              // all URLs that were named
  std::map<std::string, std::set<std::string>> announced_ PKGFS_GUARDED_BY(mutex_);   // URL -> origins
  std::set<std::pair<std::string, std::uint16_t>> proxies_ PKGFS_GUARDED_BY(mutex_);  // address as text, and port
};

}  // namespace pkgfs
