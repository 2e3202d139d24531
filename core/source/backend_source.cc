// SPDX-License-Identifier: MIT
#include "core/source/backend_source.h"

#include <utility>

#include "core/base/age_text.h"
#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/net/address_policy.h"
#include "core/net/http_client.h"
#include "core/net/url.h"

namespace pkgfs {
namespace {

/// The registry refuses this user. A cached answer, which another user may have received, is no substitute then.
class RefusedToken : public Error {
 public:
  using Error::Error;
};

}  // namespace

BackendSource::BackendSource(Options options, HttpClient* client, RegistryAnswerCache cache, const CancelFlag& cancel)
    : options_(std::move(options)), client_(client), cache_(std::move(cache)), cancel_(cancel) {}

BackendSource::~BackendSource() = default;

std::vector<PackageSummary> BackendSource::query(const PackageSpecifier& specifier) {
  return query_one(specifier, cancel_);
}

std::vector<Source::Answer> BackendSource::query_all(std::span<const PackageSpecifier> specifiers) {
  return answers_in_parallel(specifiers, cancel_, [this](const PackageSpecifier& specifier, const CancelFlag& cancel) {
    return query_one(specifier, cancel);
  });
}

std::vector<PackageSummary> BackendSource::query_one(const PackageSpecifier& specifier, const CancelFlag& cancel) {
  if (specifier.named() != nullptr) {
    return by_name(specifier, cancel);
  }
  if (specifier.hash() != nullptr) {
    return by_hash(specifier, cancel);
  }
  throw QueryError(QueryError::Kind::kUnsupported, specifier);
}

std::vector<PackageSummary> BackendSource::by_name(const PackageSpecifier& specifier, const CancelFlag& cancel) {
  const NamedIdent& ident = *specifier.named();
  const std::string full_name = ident.full_name();
  if (!graphql::is_safe(full_name)) {
    throw QueryError(QueryError::Kind::kUnsupported, specifier);
  }
  Known& entry = known(full_name);
  const MutexLock lock(entry.mutex);
  if (!entry.response && !entry.failure) {
    look_up(entry, full_name, true, cancel);
  }
  graphql::Published published = matching(entry, specifier);
  if (!has_wanted(specifier, published.packages) && !entry.asked_registry && !options_.offline) {
    // The cached answer has no match, but a matching version may have been published since.
    look_up(entry, full_name, false, cancel);
    published = matching(entry, specifier);
  }
  if (!published.found) {
    throw QueryError(QueryError::Kind::kNotFound, specifier);
  }
  if (published.packages.empty() && !published.unusable.empty()) {
    const graphql::Published::Unusable& newest = published.unusable.back();
    throw QueryError(specifier, newest.id.version.to_string(), published.unusable.size(), newest.why);
  }
  if (published.packages.empty()) {
    throw QueryError(specifier, published.archived);
  }
  tell_of_unusable(published);
  const bool is_hash_safe = Url::parse(options_.endpoint).is_https();
  for (PackageSummary& package : published.packages) {
    package.dist.is_hash_safe = is_hash_safe;
    package.dist.registry = without_password(options_.endpoint);
  }
  announce(published.packages);
  return std::move(published.packages);
}

void BackendSource::tell_of_unusable(const graphql::Published& published) {
  const NamedId& newest = *published.packages.back().pkg.id.named();
  const MutexLock lock(mutex_);
  for (const graphql::Published::Unusable& left_out : published.unusable) {
    if (compare_precedence(left_out.id.version, newest.version) > 0 && told_.insert(left_out.id).second) {
      log::warn("\"{}\" can't be used, so that {} is the newest: {}", PackageId(left_out.id).to_string(),
                newest.version.to_string(), left_out.why.what());
    }
  }
}

graphql::Published BackendSource::matching(const Known& known, const PackageSpecifier& specifier) const {
  if (known.failure) {
    throw QueryError(specifier, *known.failure);
  }
  return graphql::published(*known.response, *specifier.named(), options_.prefer);
}

void BackendSource::look_up(Known& known, const std::string& full_name, bool use_fresh_cache,
                            const CancelFlag& cancel) {
  std::optional<RegistryAnswerCache::Entry> cached =
      options_.must_ask && !options_.offline ? std::nullopt : cache_.find(full_name);
  if (cached && (options_.offline || (use_fresh_cache && cached->is_fresh(options_.cache_time)))) {
    if (!cached->is_fresh(options_.cache_time)) {
      log::warn("offline: the cached answer for \"{}\" is from {} ago", full_name, age_text(cached->age));
    }
    known.response = std::move(cached->response);
    return;
  }
  if (options_.offline) {
    known.failure.emplace(ErrorCode::kNetwork, "there is no cached answer for \"" + full_name + "\" from " +
                                                   options_.endpoint + ", and with --offline it isn't asked");
    return;
  }
  try {
    webc::Json response = ask(graphql::package_query(full_name), cached.has_value(), cancel);
    try {
      graphql::check_published(response, full_name);
    } catch (Error& error) {
      throw std::move(error).context("\"" + options_.endpoint + "\" gave no usable answer");
    }
    cache_.store(full_name, response);
    known.response = std::move(response);
    known.failure.reset();
    known.asked_registry = true;
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    known.asked_registry = true;
    if (!cached || dynamic_cast<const RefusedToken*>(&error) != nullptr) {
      known.failure = error;
      return;
    }
    const std::string text = "the registry " + options_.endpoint + " can't be used; using its answer for \"" +
                             full_name + "\" from " + age_text(cached->age) + " ago";
    if (is_first_failure(error)) {
      log::warn("{} ({})", text, error);
    } else {
      log::info("{}", text);
    }
    known.response = std::move(cached->response);
  }
}

std::vector<PackageSummary> BackendSource::by_hash(const PackageSpecifier& specifier, const CancelFlag& cancel) {
  if (options_.offline) {
    throw QueryError(specifier, Error(ErrorCode::kNetwork, "with --offline the registry " + options_.endpoint +
                                                               " can't be asked for a package by its hash"));
  }
  const PackageHash& hash = *specifier.hash();
  auto found = graphql::release(ask(graphql::release_query(hash.to_string()), false, cancel), hash);
  if (!found) {
    throw QueryError(QueryError::Kind::kNoMatches, specifier);
  }
  found->dist.registry = without_password(options_.endpoint);  // a lock file needs to know which one announced the URL
  std::vector<PackageSummary> answer;
  answer.push_back(std::move(*found));
  announce(answer);
  return answer;
}

void BackendSource::announce(const std::vector<PackageSummary>& packages) const {
  if (client_ == nullptr || client_->addresses() == nullptr) {
    return;
  }
  for (const PackageSummary& package : packages) {
    client_->addresses()->announce(package.dist.url, options_.endpoint);
  }
}

BackendSource::Known& BackendSource::known(const std::string& full_name) {
  const MutexLock lock(mutex_);
  auto& entry = known_[full_name];
  if (entry == nullptr) {
    entry = std::make_unique<Known>();
  }
  return *entry;
}

bool BackendSource::is_first_failure(const Error& error) {
  const MutexLock lock(mutex_);
  const bool is_first = !unreachable_.has_value();
  if (is_first) {
    unreachable_ = error;
  }
  return is_first;
}

webc::Json BackendSource::ask(std::string body, bool has_substitute, const CancelFlag& cancel) {
  {
    const MutexLock lock(mutex_);
    if (unreachable_) {
      throw Error(*unreachable_);  // a large tree must not wait for a time-out with each of its packages
    }
  }
  const HttpRequest request{.method = HttpRequest::Method::kPost,
                            .url = Url::parse(options_.endpoint),
                            .headers = {{"Content-Type", "application/json"}},
                            .body = std::move(body),
                            .bearer = options_.token,
                            .max_bytes = limits::kAnswerBytes};
  constexpr int kImpatient = 2;
  const HttpResponse response =
      client_->fetch(request, cancel, has_substitute ? std::optional(kImpatient) : std::nullopt);
  constexpr int kUnauthorized = 401;
  constexpr int kForbidden = 403;
  if (response.status >= 400) {
    const bool refused = response.status == kUnauthorized || response.status == kForbidden;
    std::vector<std::string> chain{"\"" + options_.endpoint + "\" replied with " + response.status_text()};
    if (refused) {
      chain.emplace_back(
          options_.token ? "the registry doesn't accept the token"
                         : "the registry requires a token: give one with --token, WASMER_TOKEN or \"wasmer login\"");
    }
    if (refused) {
      throw RefusedToken(ErrorCode::kNetwork, std::move(chain));
    }
    throw Error(ErrorCode::kNetwork, std::move(chain));
  }
  try {
    return graphql::parse_response(response.body);
  } catch (Error& error) {
    throw std::move(error).context("\"" + options_.endpoint + "\" gave no usable answer");
  }
}

}  // namespace pkgfs
