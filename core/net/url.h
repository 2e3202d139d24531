// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <string_view>

namespace pkgfs {

/// An absolute http or https URL, taken apart by libcurl: the parser that decides where a request goes also decides
/// who may see a token.
class Url {
 public:
  /// Throws Error(kUsage) `"{text}" isn't a usable URL: {why}` for anything else, and for a URL with a user or
  /// password, which would end up in logs and caches.
  [[nodiscard]] static Url parse(std::string_view text);

  /// As given.
  [[nodiscard]] const std::string& text() const { return text_; }
  [[nodiscard]] const std::string& scheme() const { return scheme_; }  // lower case
  [[nodiscard]] const std::string& host() const { return host_; }      // lower case; IPv6 in brackets
  [[nodiscard]] const std::string& path() const { return path_; }      // at least "/"
  /// Host, and port if it isn't the scheme's own.
  [[nodiscard]] std::string authority() const;
  [[nodiscard]] bool is_https() const { return scheme_ == "https"; }
  /// localhost, *.localhost, 127.0.0.0/8 or [::1]: what is sent there stays on this machine.
  [[nodiscard]] bool is_loopback() const;

 private:
  std::string text_;
  std::string scheme_;
  std::string host_;
  std::string port_;  // empty: the scheme's own
  std::string path_;
};

/// `text` for messages: what may be a password in a URL becomes "…", whether or not the URL can be used.
[[nodiscard]] std::string without_password(std::string_view text);

}  // namespace pkgfs
