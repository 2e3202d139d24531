// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

namespace pkgfs {

/// An absolute http or https URL. libcurl parses it. So the check of where a token may go and the request itself never
/// disagree about the host.
class Url {
 public:
  /// Throws Error(kUsage) `"{text}" isn't a usable URL: {why}` for any other text. A URL with a user name or password
  /// is refused, too, because it would be written to logs and caches.
  [[nodiscard]] static Url parse(std::string_view text);

  /// The text that was parsed, unchanged.
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] const std::string& scheme() const { return scheme_; }  // lower case
  [[nodiscard]] const std::string& host() const { return host_; }      // lower case; IPv6 in brackets
  [[nodiscard]] const std::string& path() const { return path_; }      // at least "/"
  /// The host, and `:` and the port unless it is the scheme's default.
  [[nodiscard]] std::string authority() const;
  [[nodiscard]] bool is_https() const { return scheme_ == "https"; }
  /// Whether the host is this machine: localhost, *.localhost, 127.0.0.0/8 or [::1].
  [[nodiscard]] bool is_loopback() const;

 private:
  std::string text_;
  std::string scheme_;
  std::string host_;
  std::string port_;  // empty: the scheme's default
  std::string path_;
};

/// `text` for messages: "…" replaces the part of a URL that may be a password. `text` may be any text.
[[nodiscard]] std::string without_password(std::string_view text);

}  // namespace pkgfs
