// SPDX-License-Identifier: MIT
#include "core/net/http_client.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "core/base/log.h"
#include "core/net/address_policy.h"
#include "core/net/http_authorizer.h"
#include "core/net/transfer.h"
#include "core/net/transfer_loop.h"

namespace pkgfs {
namespace {

constexpr int kUnauthorized = 401;

}  // namespace

HttpClient::HttpClient(Options options) : options_(std::move(options)), loop_(std::make_unique<TransferLoop>()) {}
HttpClient::~HttpClient() = default;

void HttpClient::rest() noexcept { loop_->rest(); }

bool HttpClient::is_transient(int status) {
  constexpr std::array kTransient{408, 429, 500, 502, 503, 504};
  return std::ranges::find(kTransient, status) != kTransient.end();
}

HttpResponse HttpClient::fetch_once(const HttpRequest& request, const CancelFlag& cancel, const HttpSink& sink) {
  if (options_.addresses != nullptr) {
    std::call_once(proxies_told_, [&] { tell_proxies(); });
  }
  HttpAuthorizer* const authorizer = options_.authorizer;
  if (authorizer == nullptr || !authorizer->covers(request.url)) {
    return exchange(request, cancel, sink);
  }
  HttpRequest authorized = request;
  authorized.may_leave_https = false;
  authorized.authorization = authorizer->authorization(request.url);
  HttpResponse response = exchange(authorized, cancel, sink);
  if (response.status != kUnauthorized || !response.redirects.empty()) {
    return response;
  }
  std::optional<std::string> renewed = authorizer->renew(authorized, response, *this, cancel);
  if (!renewed) {
    return response;
  }
  authorized.authorization = std::move(renewed);
  return exchange(authorized, cancel, sink);
}

HttpResponse HttpClient::exchange(const HttpRequest& request, const CancelFlag& cancel, const HttpSink& sink) {
  log::debug("{}", describe(request));
  const auto once = [&] {
    Transfer transfer(request, sink, cancel, options_);
    const CURLcode code = loop_->run(transfer);
    return transfer.take_response(code);
  };
  try {
    return once();
  } catch (const RefusedAddress&) {
    if (!options_.addresses->look_up_origins(request.url.text())) {
      throw;
    }
  }
  return once();
}

void HttpClient::tell_proxies() {
  std::vector<std::string> proxies;
  if (options_.proxy) {
    proxies.push_back(*options_.proxy);
  }
  for (const char* name : {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"}) {
    // NOLINTNEXTLINE(concurrency-mt-unsafe): nothing changes the environment
    if (const char* value = std::getenv(name); value != nullptr && *value != '\0') {
      proxies.emplace_back(value);
    }
  }
  if (!proxies.empty()) {
    options_.addresses->set_proxies(proxies);
  }
}

std::optional<std::chrono::steady_clock::time_point> HttpClient::download_deadline() const {
  return options_.download_deadline ? std::optional(std::chrono::steady_clock::now() + *options_.download_deadline)
                                    : std::nullopt;
}

HttpResponse HttpClient::fetch(const HttpRequest& given, const CancelFlag& cancel, std::optional<int> attempts) {
  HttpRequest request = given;
  request.deadline = given.deadline.value_or(std::chrono::steady_clock::now() + options_.query_deadline);
  RetryPolicy policy = options_.retry;
  policy.attempts = attempts.value_or(policy.attempts);
  Backoff backoff(policy, cancel, request.deadline);
  const std::string what = describe(request);
  while (true) {
    const auto begun = std::chrono::steady_clock::now();
    try {
      HttpResponse response = fetch_once(request, cancel);
      if (!is_transient(response.status)) {
        return response;
      }
      const auto wait = response.retry_after();
      if (wait ? !backoff.again_after(*wait, what) : !backoff.again(what)) {
        return response;
      }
    } catch (const HttpError& error) {
      if (!error.is_transient() || !backoff.again_after(error, begun, what)) {
        throw error.after(backoff.attempts());
      }
    }
  }
}

}  // namespace pkgfs
