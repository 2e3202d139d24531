// SPDX-License-Identifier: MIT
// What a transfer that has ended returns or throws.
#include <cerrno>
#include <new>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "core/base/ascii.h"
#include "core/base/system_limits.h"
#include "core/net/transfer.h"

namespace pkgfs {
namespace {

bool is_transient_code(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
    case CURLE_OPERATION_TIMEDOUT:
    case CURLE_PARTIAL_FILE:
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return true;
    default:
      return false;
  }
}

}  // namespace

/// libcurl doesn't say that no file descriptor was free, or no thread for the look-up of a name.
void Transfer::throw_if_of_machine(CURLcode code, const std::string& failed) const {
  if (code == CURLE_COULDNT_CONNECT && socket_error_ != 0) {
    if (Error error = system_error(failed, socket_error_); error.is_of_machine()) {
      throw std::move(error);
    }
  }
  if (code != CURLE_COULDNT_RESOLVE_HOST && code != CURLE_COULDNT_RESOLVE_PROXY) {
    return;
  }
  if (constexpr std::size_t kForName = 4; !can_open_more(kForName)) {  // the look-up of a name needs so many
    throw system_error(failed, EMFILE);
  }
  if (std::string_view(message_.data()).find("thread failed to start") != std::string_view::npos) {
    throw start_error(failed + ": no thread can look up the name of the server", EAGAIN);
  }
}

HttpResponse Transfer::take_response(CURLcode code) {
  if (thrown_) {
    std::rethrow_exception(thrown_);
  }
  const std::string failed = describe(request_) + " failed";
  if (code != CURLE_OK && !refused_.empty()) {
    throw RefusedAddress({failed, refused_});
  }
  if (too_large_) {
    const std::string limit = std::to_string(request_.max_bytes);
    throw HttpError(ErrorCode::kNetwork, {failed, "the answer has more than " + limit + " bytes"}, false);
  }
  if (verdict_ != Pace::Verdict::kFine) {
    throw HttpError(ErrorCode::kNetwork, {failed, overdue_text()}, true, true);
  }
  if (const std::string* to = response_.header("location");
      code == CURLE_UNSUPPORTED_PROTOCOL && to != nullptr && must_keep_https() && to_lower(*to).starts_with("http:")) {
    throw HttpError(ErrorCode::kNetwork,
                    {failed, "the server redirects from https to \"" + server_text(without_password(*to)) +
                                 "\", where others could read and change what is sent"},
                    false);
  }
  if (const std::string* to = response_.header("location"); code == CURLE_LOGIN_DENIED && to != nullptr) {
    throw HttpError(ErrorCode::kNetwork,
                    {failed, fmt::format("the server redirects to \"{}\", and pkgfs follows no URL with a user name",
                                         server_text(without_password(*to)))},
                    false);
  }
  if (code == CURLE_OUT_OF_MEMORY) {
    throw system_error(failed, ENOMEM);
  }
  if (code != CURLE_OK) {
    throw_if_of_machine(code, failed);
    const char* detail = message_.front() != '\0' ? message_.data() : libcurl().easy_strerror(code);
    throw HttpError(ErrorCode::kNetwork, {failed, detail}, is_transient_code(code), code == CURLE_OPERATION_TIMEDOUT);
  }
  if (!head_ended_) {  // libcurl takes it for a response without a body
    throw HttpError(ErrorCode::kNetwork, {failed, "the connection ended within the headers of the response"}, true);
  }
  const char* url = nullptr;
  libcurl().easy_getinfo(easy_.get(), CURLINFO_EFFECTIVE_URL, &url);
  response_.status = status();
  response_.url = url == nullptr ? request_.url.text() : url;
  return std::move(response_);
}

}  // namespace pkgfs
