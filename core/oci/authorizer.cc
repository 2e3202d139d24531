// SPDX-License-Identifier: MIT
#include "core/oci/authorizer.h"

#include <algorithm>
#include <span>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/net/address_policy.h"
#include "core/net/http_client.h"
#include "core/net/http_message.h"
#include "core/webc/json_fields.h"
#include "core/webc/parse_json.h"

namespace pkgfs::oci {
namespace {

constexpr std::uint64_t kTokenBytes = 1ULL << 20U;

std::string base64(const std::string& text) {
  return base64_encode(std::span(reinterpret_cast<const std::uint8_t*>(text.data()), text.size()));
}

std::string basic(const Credentials& credentials) {
  return "Basic " + base64(credentials.username + ":" + credentials.password);
}

/// For a query and for a form (application/x-www-form-urlencoded).
std::string encoded(std::string_view text) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
        c == '.') {
      result += c;
    } else {
      result += '%';
      result += kHex[byte >> 4U];
      result += kHex[byte & 0xfU];
    }
  }
  return result;
}

/// `service=…&scope=…`, with a `scope` for each word of the scope.
std::string query_of(const std::string& service, std::string_view scope) {
  std::string query = service.empty() ? "" : "service=" + encoded(service);
  while (!scope.empty()) {
    const std::size_t blank = std::min(scope.find(' '), scope.size());
    if (blank > 0) {
      query += (query.empty() ? "scope=" : "&scope=") + encoded(scope.substr(0, blank));
    }
    scope.remove_prefix(std::min(blank + 1, scope.size()));
  }
  return query;
}

/// The token in the answer of a server of tokens.
std::string token_of(const HttpResponse& response, const std::string& realm) {
  try {
    const webc::Json answer = webc::parse_json(response.body);
    webc::expect_map(answer, "");
    for (const char* key : {"token", "access_token"}) {
      if (const auto token = webc::optional_text(answer, key, ""); token && !token->empty()) {
        return *token;
      }
    }
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
  }
  // Nothing of the answer is shown, because a part of it may be a secret.
  throw Error(ErrorCode::kNetwork, "the answer of \"" + server_text(realm) + "\" has no token");
}

}  // namespace

void Authorizer::add(const Reference& reference, bool may_push) {
  const Url url = Url::parse(reference.api_url("https"));
  const MutexLock lock(mutex_);
  auto& repository = repositories_[url.authority() + url.path()];
  if (repository == nullptr) {
    repository = std::make_shared<Repository>(reference);
  }
  repository->may_push = repository->may_push || may_push;
}

bool Authorizer::is_empty() const {
  const MutexLock lock(mutex_);
  return repositories_.empty();
}

std::shared_ptr<Authorizer::Repository> Authorizer::find_repository(const Url& url) const {
  if (!url.is_https() && !url.is_loopback()) {
    return nullptr;
  }
  const std::string place = url.authority() + url.path();
  const auto found =
      std::ranges::find_if(repositories_, [&](const auto& entry) { return place.starts_with(entry.first); });
  return found == repositories_.end() ? nullptr : found->second;
}

bool Authorizer::covers(const Url& url) const {
  const MutexLock lock(mutex_);
  return find_repository(url) != nullptr;
}

std::optional<std::string> Authorizer::authorization(const Url& url) {
  const MutexLock lock(mutex_);
  const auto repository = find_repository(url);
  return repository == nullptr ? std::nullopt : repository->authorization;
}

std::optional<std::string> Authorizer::renew(const HttpRequest& request, const HttpResponse& refusal,
                                             HttpClient& client, const CancelFlag& cancel) {
  std::shared_ptr<Repository> repository;
  bool may_push = false;
  {
    const MutexLock lock(mutex_);
    repository = find_repository(request.url);
    if (repository == nullptr) {
      return std::nullopt;
    }
    may_push = repository->may_push;
  }
  const MutexLock logging_in(repository->logging_in);
  {
    const MutexLock lock(mutex_);
    if (repository->authorization && repository->authorization != request.authorization) {
      return repository->authorization;  // another thread has logged in meanwhile
    }
  }
  auto value = log_in(repository->reference, may_push, request, refusal, client, cancel);
  if (value == request.authorization) {
    value.reset();  // the registry has just refused it
  }
  const MutexLock lock(mutex_);
  repository->authorization = value;
  return value;
}

std::optional<std::string> Authorizer::log_in(const Reference& reference, bool may_push, const HttpRequest& request,
                                              const HttpResponse& refusal, HttpClient& client,
                                              const CancelFlag& cancel) const {
  const std::string* const header = refusal.header("www-authenticate");
  const auto challenges = header == nullptr ? std::vector<Challenge>() : parse_challenges(*header);
  const auto with = [&](std::string_view scheme) { return std::ranges::find(challenges, scheme, &Challenge::scheme); };
  const auto bearer = with("bearer");
  if (bearer == challenges.end() && with("basic") == challenges.end()) {
    log::debug("{} asks for no login that pkgfs knows", reference.registry());
    return std::nullopt;
  }
  const std::optional<Credentials> credentials = find_(reference);
  if (bearer == challenges.end()) {
    return credentials && !credentials->username.empty() ? std::optional(basic(*credentials)) : std::nullopt;
  }
  if (credentials && !credentials->registry_token.empty()) {
    return "Bearer " + credentials->registry_token;
  }
  return bearer_token(*bearer, reference, may_push, credentials, request.url, client, cancel);
}

std::optional<std::string> Authorizer::bearer_token(const Challenge& challenge, const Reference& reference,
                                                    bool may_push, const std::optional<Credentials>& credentials,
                                                    const Url& registry, HttpClient& client,
                                                    const CancelFlag& cancel) const {
  const std::string realm = challenge.parameter("realm");
  const std::string failed = "The login at \"" + reference.registry() + "\" failed";
  std::optional<Url> url;
  try {
    url = Url::parse(realm);
  } catch (const Error& error) {
    throw Error(ErrorCode::kNetwork, error).context(failed);
  }
  if (!url->is_https() && !(url->is_loopback() && registry.is_loopback())) {
    throw Error(ErrorCode::kNetwork,
                {failed, "the registry asks to log in at \"" + server_text(realm) + "\", which isn't encrypted"});
  }
  if (covers(*url)) {  // that request would wait for itself
    throw Error(ErrorCode::kNetwork, {failed, "the registry names a part of the repository as the place to log in, \"" +
                                                  server_text(realm) + "\""});
  }
  if (client.addresses() != nullptr) {
    client.addresses()->announce(realm, registry.text());
  }
  std::string scope = challenge.parameter("scope");
  if (scope.empty()) {
    scope = "repository:" + reference.repository() + (may_push ? ":pull,push" : ":pull");
  }
  const std::string query = query_of(challenge.parameter("service"), scope);
  const bool by_form = credentials && !credentials->identity_token.empty();
  const std::string to = by_form ? realm : realm + (realm.find('?') == std::string::npos ? "?" : "&") + query;
  if (client.addresses() != nullptr) {
    client.addresses()->announce(to, registry.text());
  }
  HttpRequest ask{.url = Url::parse(to), .headers = {}, .body = {}, .bearer = std::nullopt};
  ask.max_bytes = kTokenBytes;
  if (by_form) {
    ask.method = HttpRequest::Method::kPost;
    ask.headers.emplace_back("Content-Type", "application/x-www-form-urlencoded");
    ask.body =
        "grant_type=refresh_token&client_id=pkgfs&" + query + "&refresh_token=" + encoded(credentials->identity_token);
  } else if (credentials && !credentials->username.empty()) {
    ask.authorization = basic(*credentials);
  }
  const HttpResponse response = client.fetch(ask, cancel);
  if (response.status == 401 || response.status == 403 || response.status == 400) {
    log::debug("{} gives no token: {}", server_text(realm), response.status_text());
    return std::nullopt;
  }
  if (response.status != 200) {
    throw Error(ErrorCode::kNetwork, {failed, "\"" + server_text(realm) + "\" answers " + response.status_text()});
  }
  return "Bearer " + token_of(response, realm);
}

}  // namespace pkgfs::oci
