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
constexpr std::chrono::milliseconds kStep{20};  // polled, because a signal handler can't notify a condition variable

std::string login_failed(const Reference& reference) { return "The login at \"" + reference.registry() + "\" failed"; }

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

/// The scope to ask for: the one of the challenge, and whatever `reference` needs. Registries ask for the scope of the
/// present request only, and `push` begins with a question.
std::string scope_of(const std::string& asked, const Reference& reference, bool may_push) {
  const std::string own = "repository:" + reference.repository() + ":";
  if (asked.empty()) {
    return own + (may_push ? "pull,push" : "pull");
  }
  if (!may_push) {
    return asked;
  }
  std::string scope;
  for (std::string_view rest = asked; !rest.empty();) {
    const std::size_t blank = std::min(rest.find(' '), rest.size());
    const std::string_view word = rest.substr(0, blank);
    if (!word.empty() && !word.starts_with(own)) {
      scope.append(word).append(" ");
    }
    rest.remove_prefix(std::min(blank + 1, rest.size()));
  }
  return scope + own + "pull,push";
}

/// Whether `request` is for a blob of another repository (Repository::push_blob). A login may be right although the
/// registry refuses such a request: it may not read that repository. Nor does it count for other requests if no login
/// for both repositories can be had.
bool is_of_other_repository(const HttpRequest& request) {
  return request.method == HttpRequest::Method::kPost && request.url.text().find("?mount=") != std::string::npos;
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
  std::shared_ptr<Repository> found;
  for (const auto& [beginning, repository] : repositories_) {
    if (place.starts_with(beginning)) {
      found = repository;  // the longest one comes last: a repository may lie below another one
    }
  }
  return found;
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
  const std::string* const header = refusal.header("www-authenticate");
  const std::string challenge = header == nullptr ? std::string() : *header;
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
  if (auto joined = join_login(*repository, request, challenge, cancel)) {
    return *std::move(joined);
  }
  // What concerns only this request isn't for the others: they try themselves.
  const auto end_in_vain = [&](std::optional<Error> error, bool is_own) {
    if (is_of_other_repository(request)) {
      end_login(*repository, request.authorization, std::nullopt);
    } else {
      const Failure failure{.time = Clock::now(), .challenge = challenge, .error = std::move(error)};
      end_login(*repository, std::nullopt, is_own ? std::nullopt : std::optional(failure));
    }
  };
  try {
    auto value = log_in(repository->reference, may_push, request, refusal, client, cancel);
    if (!value || value == request.authorization) {  // the registry has just refused it
      end_in_vain(std::nullopt, false);
      return std::nullopt;
    }
    end_login(*repository, value, std::nullopt);
    return value;
  } catch (const Error& error) {
    end_in_vain(error, error.is_of_run() || (request.deadline && Clock::now() >= *request.deadline));
    throw;
  } catch (...) {
    end_in_vain(std::nullopt, true);
    throw;
  }
}

std::optional<std::optional<std::string>> Authorizer::join_login(Repository& repository, const HttpRequest& request,
                                                                 const std::string& challenge,
                                                                 const CancelFlag& cancel) {
  const Clock::time_point begun = Clock::now();
  MutexLock lock(mutex_);
  while (true) {
    if (repository.authorization && repository.authorization != request.authorization) {
      return repository.authorization;  // another thread has logged in meanwhile
    }
    if (!repository.logging_in) {
      break;
    }
    if (cancel.is_cancelled()) {
      throw Error(ErrorCode::kInterrupted, "interrupted");
    }
    if (request.deadline && Clock::now() >= *request.deadline) {
      throw Error(ErrorCode::kNetwork,
                  {login_failed(repository.reference), "it wasn't complete in the time that --deadline gives"});
    }
    (void)lock.wait_for(login_ended_, kStep);
  }
  if (const auto& failure = repository.failure) {
    const bool was_awaited = failure->time >= begun;
    if (was_awaited || (failure->challenge == challenge && Clock::now() - failure->time < failure_time_)) {
      if (failure->error) {
        throw Error(*failure->error);
      }
      return std::optional<std::string>();
    }
  }
  repository.logging_in = true;
  return std::nullopt;
}

void Authorizer::end_login(Repository& repository, std::optional<std::string> value, std::optional<Failure> failure) {
  {
    const MutexLock lock(mutex_);
    repository.authorization = std::move(value);
    repository.failure = std::move(failure);
    repository.logging_in = false;
  }
  login_ended_.notify_all();
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
  const std::optional<Credentials> credentials = find_(reference, cancel);
  if (bearer == challenges.end()) {
    return credentials && !credentials->username.empty() ? std::optional(basic(*credentials)) : std::nullopt;
  }
  if (credentials && !credentials->registry_token.empty()) {
    return "Bearer " + credentials->registry_token;
  }
  return bearer_token(*bearer, reference, may_push, credentials, request, client, cancel);
}

std::optional<std::string> Authorizer::bearer_token(const Challenge& challenge, const Reference& reference,
                                                    bool may_push, const std::optional<Credentials>& credentials,
                                                    const HttpRequest& request, HttpClient& client,
                                                    const CancelFlag& cancel) const {
  const Url& registry = request.url;
  const std::string realm = challenge.parameter("realm");
  const std::string failed = login_failed(reference);
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
  const std::string query =
      query_of(challenge.parameter("service"), scope_of(challenge.parameter("scope"), reference, may_push));
  const bool by_form = credentials && !credentials->identity_token.empty();
  const std::string to = by_form ? realm : realm + (realm.find('?') == std::string::npos ? "?" : "&") + query;
  if (client.addresses() != nullptr) {
    client.addresses()->announce(to, registry.text());
  }
  HttpRequest ask{.url = Url::parse(to), .headers = {}, .body = {}, .bearer = std::nullopt};
  ask.max_bytes = kTokenBytes;
  ask.deadline = Clock::now() + kTokenTime;
  if (request.deadline) {
    ask.deadline = std::min(*ask.deadline, *request.deadline);
  }
  if (by_form) {
    ask.method = HttpRequest::Method::kPost;
    ask.may_redirect = false;  // the body has the token
    ask.headers.emplace_back("Content-Type", "application/x-www-form-urlencoded");
    ask.body =
        "grant_type=refresh_token&client_id=pkgfs&" + query + "&refresh_token=" + encoded(credentials->identity_token);
  } else if (credentials && !credentials->username.empty()) {
    ask.authorization = basic(*credentials);
  }
  HttpResponse response;
  try {
    response = client.fetch(ask, cancel);
  } catch (const HttpError& error) {
    // No HttpError: these attempts were for the login, and the caller's don't begin anew.
    throw Error(error.code(), error).context(failed);
  }
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
