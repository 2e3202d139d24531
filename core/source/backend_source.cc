// SPDX-License-Identifier: MIT
#include "core/source/backend_source.h"

#include <mutex>
#include <utility>

#include <nlohmann/json.hpp>

#include "core/base/limits.h"
#include "core/base/log.h"
#include "core/base/parallel.h"

namespace pkgfs {
namespace {

/// The registry answers, but not to us: what it said to somebody else earlier is no substitute.
class RefusedToken : public Error {
 public:
  using Error::Error;
};

}  // namespace

/// What the registry says of one name in this run.
struct BackendSource::Known {
  std::mutex mutex;  // held while it is looked up: who needs the same name waits
  std::optional<webc::Json> response;
  std::optional<Error> failure;  // as good as a response: nobody asks again
  bool from_registry = false;    // and not from the cache
};

BackendSource::BackendSource(Options options, HttpClient* client, QueryCache cache, const CancelFlag& cancel)
    : options_(std::move(options)), client_(client), cache_(std::move(cache)), cancel_(cancel) {}

BackendSource::~BackendSource() = default;

std::vector<PackageSummary> BackendSource::query(const PackageSource& specifier) {
  return query_one(specifier, cancel_);
}

std::vector<Source::Answer> BackendSource::query_all(std::span<const PackageSource> specifiers) {
  std::vector<Answer> answers(specifiers.size());
  for_each_in_parallel(specifiers.size(), limits::kParallelRequests, cancel_,
                       [&](std::size_t i, const CancelFlag& cancel) {
                         answers[i] = answer_of(specifiers[i], [&] { return query_one(specifiers[i], cancel); });
                       });
  return answers;
}

std::vector<PackageSummary> BackendSource::query_one(const PackageSource& specifier, const CancelFlag& cancel) {
  if (specifier.named() != nullptr) {
    return by_name(specifier, cancel);
  }
  if (specifier.hash() != nullptr) {
    return by_hash(specifier, cancel);
  }
  throw QueryError(QueryError::Kind::kUnsupported, specifier);
}

std::vector<PackageSummary> BackendSource::by_name(const PackageSource& specifier, const CancelFlag& cancel) {
  const NamedIdent& ident = *specifier.named();
  const std::string full_name = ident.full_name();
  if (!graphql::is_safe(full_name)) {
    throw QueryError(QueryError::Kind::kUnsupported, specifier);
  }
  Known& entry = known(full_name);
  const std::lock_guard lock(entry.mutex);
  if (!entry.response && !entry.failure) {
    look_up(entry, full_name, true, cancel);
  }
  graphql::Published published;
  const auto select = [&] {
    if (entry.failure) {
      throw QueryError(specifier, *entry.failure);
    }
    published = graphql::published(*entry.response, ident, options_.prefer);
  };
  select();
  if (published.packages.empty() && !entry.from_registry && !options_.offline) {
    // An earlier answer without a match proves nothing.
    look_up(entry, full_name, false, cancel);
    select();
  }
  if (!published.found) {
    throw QueryError(QueryError::Kind::kNotFound, specifier);
  }
  if (published.packages.empty()) {
    throw QueryError(specifier, published.archived);
  }
  return std::move(published.packages);
}

void BackendSource::look_up(Known& known, const std::string& full_name, bool believe_cache, const CancelFlag& cancel) {
  std::optional<QueryCache::Entry> cached = cache_.find(full_name);
  if (cached && (options_.offline || (believe_cache && cached->is_fresh(options_.cache_time)))) {
    if (!cached->is_fresh(options_.cache_time)) {
      log::warn("offline: what is known of \"{}\" is from {} ago", full_name, age_text(cached->age));
    }
    known.response = std::move(cached->response);
    return;
  }
  if (options_.offline) {
    known.failure.emplace(ErrorCode::kNetwork, "nothing is known of \"" + full_name + "\" from " + options_.endpoint +
                                                   ", and with --offline it isn't asked");
    return;
  }
  try {
    webc::Json response = ask(graphql::package_query(full_name), cached.has_value(), cancel);
    graphql::check_published(response);
    cache_.store(full_name, response);
    known.response = std::move(response);
    known.failure.reset();
    known.from_registry = true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInterrupted) {
      throw;
    }
    known.from_registry = true;  // not again in this run
    if (!cached || dynamic_cast<const RefusedToken*>(&error) != nullptr) {
      known.failure = error;
      return;
    }
    const std::string text = "the registry " + options_.endpoint + " can't be used; going on with what it said of \"" +
                             full_name + "\" " + age_text(cached->age) + " ago";
    if (is_first_failure(error)) {
      log::warn("{} ({})", text, error.what());
    } else {
      log::info("{}", text);
    }
    known.response = std::move(cached->response);
  }
}

std::vector<PackageSummary> BackendSource::by_hash(const PackageSource& specifier, const CancelFlag& cancel) {
  if (options_.offline) {
    throw QueryError(specifier, Error(ErrorCode::kNetwork, "with --offline the registry " + options_.endpoint +
                                                               " isn't asked for the package of a hash"));
  }
  const PackageHash& hash = *specifier.hash();
  auto found = graphql::release(ask(graphql::release_query(hash.to_string()), false, cancel), hash);
  if (!found) {
    throw QueryError(QueryError::Kind::kNoMatches, specifier);
  }
  std::vector<PackageSummary> answer;
  answer.push_back(std::move(*found));
  return answer;
}

BackendSource::Known& BackendSource::known(const std::string& full_name) {
  const std::lock_guard lock(mutex_);
  auto& entry = known_[full_name];
  if (entry == nullptr) {
    entry = std::make_unique<Known>();
  }
  return *entry;
}

bool BackendSource::is_first_failure(const Error& error) {
  const std::lock_guard lock(mutex_);
  const bool is_first = !unreachable_.has_value();
  if (is_first) {
    unreachable_ = error;
  }
  return is_first;
}

webc::Json BackendSource::ask(std::string body, bool has_substitute, const CancelFlag& cancel) {
  {
    const std::lock_guard lock(mutex_);
    if (unreachable_) {
      throw Error(*unreachable_);  // a large tree shouldn't wait for each of its packages
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
      chain.emplace_back(options_.token ? "the registry doesn't accept the token"
                                        : "the registry wants a token (--token, WASMER_TOKEN, or \"wasmer login\")");
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
