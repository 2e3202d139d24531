// SPDX-License-Identifier: MIT
#include "core/net/url.h"

#include <arpa/inet.h>

#include <algorithm>
#include <memory>

#include "core/base/ascii.h"
#include "core/base/error.h"
#include "core/net/http_message.h"
#include "core/net/libcurl.h"

namespace pkgfs {
namespace {

using Handle = std::unique_ptr<CURLU, decltype(Libcurl::url_cleanup)>;

std::string part(const Handle& url, CURLUPart what, unsigned flags = 0) {
  char* text = nullptr;
  if (libcurl().url_get(url.get(), what, &text, flags) != CURLUE_OK) {
    return {};
  }
  std::string copy(text);
  libcurl().free(text);
  return copy;
}

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw Error(ErrorCode::kUsage,
              "\"" + server_text(without_password(text)) + "\" isn't a usable URL: " + std::string(why));
}

}  // namespace

Url Url::parse(std::string_view text) {
  const Handle handle(libcurl().url(), libcurl().url_cleanup);
  if (handle == nullptr) {
    throw std::bad_alloc();
  }
  if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) <= ' ' || c == 0x7F; })) {
    refuse(text, "it has a blank or a control character");
  }
  if (text.find("://") == std::string_view::npos) {
    refuse(text, "it doesn't begin with http:// or https://");
  }
  Url url;
  url.text_ = text;
  if (const CURLUcode code = libcurl().url_set(handle.get(), CURLUPART_URL, url.text_.c_str(), 0); code != CURLUE_OK) {
    refuse(text, libcurl().url_strerror(code));
  }
  url.scheme_ = to_lower(part(handle, CURLUPART_SCHEME));
  if (url.scheme_ != "http" && url.scheme_ != "https") {
    refuse(text, "only http and https are");
  }
  if (!part(handle, CURLUPART_USER).empty() || !part(handle, CURLUPART_PASSWORD).empty()) {
    refuse(text, "it holds a user name or password");
  }
  url.host_ = to_lower(part(handle, CURLUPART_HOST));
  if (url.host_.empty()) {
    refuse(text, "it has no host");
  }
  url.port_ = part(handle, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
  url.path_ = part(handle, CURLUPART_PATH);
  return url;
}

std::string without_password(std::string_view text) {
  const std::size_t scheme = text.find("://");
  const std::size_t begin = scheme != std::string_view::npos ? scheme + 3 : text.starts_with("//") ? 2 : 0;
  if (begin == 0 && text.find('/') == std::string_view::npos) {
    return std::string(text);  // a name with a tag
  }
  const std::string_view authority = text.substr(begin, text.find_first_of("/?#", begin) - begin);
  const std::size_t at = authority.rfind('@');
  const std::size_t colon = authority.find(':');
  if (at == std::string_view::npos || colon > at) {
    return std::string(text);
  }
  return std::string(text.substr(0, begin + colon + 1)) + "…" + std::string(text.substr(begin + at));
}

std::string Url::authority() const { return port_.empty() ? host_ : host_ + ":" + port_; }

bool Url::is_loopback() const {
  if (host_ == "localhost" || host_.ends_with(".localhost") || host_ == "[::1]") {
    return true;
  }
  in_addr address{};
  return ::inet_pton(AF_INET, host_.c_str(), &address) == 1 && (ntohl(address.s_addr) >> 24U) == 127;
}

}  // namespace pkgfs
