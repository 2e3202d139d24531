// SPDX-License-Identifier: MIT
#include "core/net/http_message.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "core/base/printable.h"
#include "core/net/libcurl.h"

namespace pkgfs {
namespace {

struct Phrase {
  int status;
  const char* text;
};

/// Of our own, so that messages are the same with HTTP/2, which sends no phrases.
constexpr std::array kPhrases{
    Phrase{200, "OK"},
    Phrase{204, "No Content"},
    Phrase{206, "Partial Content"},
    Phrase{304, "Not Modified"},
    Phrase{400, "Bad Request"},
    Phrase{401, "Unauthorized"},
    Phrase{403, "Forbidden"},
    Phrase{404, "Not Found"},
    Phrase{405, "Method Not Allowed"},
    Phrase{406, "Not Acceptable"},
    Phrase{407, "Proxy Authentication Required"},
    Phrase{408, "Request Timeout"},
    Phrase{410, "Gone"},
    Phrase{413, "Payload Too Large"},
    Phrase{416, "Range Not Satisfiable"},
    Phrase{422, "Unprocessable Entity"},
    Phrase{429, "Too Many Requests"},
    Phrase{451, "Unavailable For Legal Reasons"},
    Phrase{500, "Internal Server Error"},
    Phrase{501, "Not Implemented"},
    Phrase{502, "Bad Gateway"},
    Phrase{503, "Service Unavailable"},
    Phrase{504, "Gateway Timeout"},
};

constexpr std::size_t kShownHeader = 80;  // characters of a header in a message

const char* name_of(HttpRequest::Method method) {
  switch (method) {
    case HttpRequest::Method::kHead:
      return "HEAD";
    case HttpRequest::Method::kPost:
      return "POST";
    case HttpRequest::Method::kPut:
      return "PUT";
    case HttpRequest::Method::kGet:
      break;
  }
  return "GET";
}

}  // namespace

std::string server_text(std::string_view text) { return shortened(printable(text), kLongestServerText); }

std::string describe(const HttpRequest& request) {
  return std::string(name_of(request.method)) + " \"" + server_text(request.url.text()) + "\"";
}

HttpError HttpError::after(int attempts) const {
  std::vector<std::string> messages = chain();
  if (attempts > 1) {
    messages.front() += " in " + std::to_string(attempts) + " attempts";
  }
  return {code(), std::move(messages), transient_, timed_out_};
}

const std::string* HttpResponse::header(const std::string& lower_case_name) const {
  const auto found = headers.find(lower_case_name);
  return found == headers.end() ? nullptr : &found->second;
}

std::string HttpResponse::status_text() const {
  const auto* found =
      std::find_if(kPhrases.begin(), kPhrases.end(), [this](const Phrase& phrase) { return phrase.status == status; });
  std::string text = std::to_string(status);
  if (found != kPhrases.end()) {
    text += std::string(" ") + found->text;
  }
  const std::string* wait = header("retry-after");
  if (status == 503 && wait != nullptr) {
    text += " (Retry After: " + wait->substr(0, kShownHeader) + ")";
  }
  return text;
}

std::optional<std::chrono::seconds> HttpResponse::retry_after() const {
  const std::string* value = header("retry-after");
  if (value == nullptr) {
    return std::nullopt;
  }
  constexpr long kDay = 86400;
  long seconds = 0;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), seconds);
  if (error == std::errc() && end == value->data() + value->size()) {
    return std::chrono::seconds(std::clamp(seconds, 0L, kDay));
  }
  const std::time_t date = libcurl().getdate(value->c_str(), nullptr);
  if (date == -1) {
    return std::nullopt;
  }
  return std::chrono::seconds(std::clamp(static_cast<long>(date - std::time(nullptr)), 0L, kDay));
}

}  // namespace pkgfs
