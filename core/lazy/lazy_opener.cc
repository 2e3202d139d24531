// SPDX-License-Identifier: MIT
#include "core/lazy/lazy_opener.h"

#include <algorithm>
#include <utility>

#include "core/base/file_kind.h"
#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "core/cache/cache_files.h"
#include "core/cache/containers_by_hash.h"
#include "core/cache/containers_by_url.h"
#include "core/cache/download_observer.h"
#include "core/cache/profile_files.h"
#include "core/lazy/first_requests.h"
#include "core/lazy/keep_complete.h"
#include "core/lazy/lazy_counters.h"
#include "core/net/http_client.h"
#include "core/net/range_request.h"

namespace pkgfs {
namespace {

/// Tells an observer of one download, also of its end.
class Observed {
 public:
  Observed(DownloadObserver* observer, const LazySource& source) : observer_(observer), source_(source) {
    if (observer_ != nullptr) {
      observer_->started(source_.package(), source_.bytes_here(), source_.bytes().size());
    }
  }
  ~Observed() {
    if (observer_ != nullptr) {
      const bool whole = source_.state() == LazySource::State::kWhole;
      observer_->finished(source_.package(), whole ? source_.bytes().size() : 0, whole);
    }
  }
  Observed(const Observed&) = delete;
  Observed& operator=(const Observed&) = delete;

  void received(std::uint64_t have) {
    if (observer_ != nullptr) {
      observer_->received(source_.package(), have);
    }
  }

 private:
  DownloadObserver* observer_;
  const LazySource& source_;
};

/// Waits until the whole file is in the cache. False if it has another hash, can't be moved there, or if no bytes come:
/// for BlockFetcher::patience, or for `kGiveUp` while requests fail. Throws Error, also if bytes can't be written.
bool become_whole(const LazySource& source, BlockFetcher& fetcher, const CancelFlag& cancel,
                  DownloadObserver* observer) {
  using Clock = std::chrono::steady_clock;
  constexpr auto kInterval = std::chrono::milliseconds(50);
  constexpr auto kGiveUp = std::chrono::seconds(5);
  Observed observed(observer, source);
  std::uint64_t have = source.bytes_here();
  Clock::time_point last = Clock::now();
  while (source.state() == LazySource::State::kLazy) {
    if (cancel.wait_for(kInterval)) {
      throw Error(ErrorCode::kInterrupted, "interrupted");
    }
    if (std::optional<Error> no_room = fetcher.room().error()) {
      throw *std::move(no_room);
    }
    const Clock::time_point now = Clock::now();
    const std::string problem = source.problem();
    if (const std::uint64_t known = std::exchange(have, source.bytes_here()); have != known) {
      last = now;
      observed.received(have);
    } else if (have == source.bytes().size() ? !problem.empty()
                                             : now - last >= (problem.empty() ? fetcher.patience()
                                                                              : std::min<std::chrono::milliseconds>(
                                                                                    fetcher.patience(), kGiveUp))) {
      log::warn("{}: the part that is here can't be completed, so all is downloaded anew: {}", source.package(),
                problem.empty() ? "the server sends nothing" : problem);
      return false;
    }
  }
  return source.state() == LazySource::State::kWhole;
}

}  // namespace

LazyOpener::LazyOpener(Options options)
    : options_(std::move(options)),
      packages_(std::make_shared<ContainersByHash>(options_.packages_directory)),
      urls_(std::make_shared<ContainersByUrl>(options_.urls_directory)),
      fetcher_(BlockFetcher::make(options_.fetcher)) {}

LazyOpener::Target LazyOpener::target_of(const ContainerFetcher::Announced& wanted) const {
  Target target{
      .remote = {.url = Url::parse(wanted.url),
                 .bearer = std::nullopt,
                 .name = wanted.name,
                 .max_size = options_.max_bytes,
                 .may_leave_https = false,  // directory data is used before the hash is known to be right
                 .renew = {}},
      .hash = wanted.hash,
      .cache = packages_->directory(),
      .temporary = packages_->temporary_directory(),
      .key = to_hex(wanted.hash),
      .keep = [packages = packages_,
               hash = wanted.hash](SparseFile& complete) { keep_by_hash(*packages, hash, complete); },
      .announced_profile = wanted.profile,
      .keep_profile = [directory = packages_->directory(), hash = wanted.hash](
                          const AccessProfile& changed) { profile_files::write(directory, hash, changed.text()); }};
  RemoteFile& remote = target.remote;
  remote.bearer = token_for(remote.url, options_.tokens);
  if (options_.renew) {
    remote.renew = [renew = options_.renew, hash = wanted.hash, tokens = options_.tokens](
                       HttpClient& http, const CancelFlag& stop) -> std::optional<RemoteFile::Place> {
      const std::optional<Url> url = renew(hash, http, stop);
      if (!url || (!url->is_loopback() && !url->is_https())) {
        return std::nullopt;
      }
      return RemoteFile::Place{.url = *url, .bearer = token_for(*url, tokens)};
    };
  }
  if (!remote.url.is_loopback() && (!remote.url.is_https() || !wanted.is_hash_safe)) {
    throw NotInParts{"it or its hash doesn't come over https"};
  }
  return target;
}

LazyOpener::Target LazyOpener::target_of(const Url& url) const {
  Target target = target_of_part(url);
  if (urls_->find(url)) {
    target.known_etag = urls_->etag_of(url);
    if (!target.known_etag || !target.known_etag->starts_with('"')) {
      throw NotInParts{"the cache has a copy without a strong ETag"};
    }
  }
  return target;
}

LazyOpener::Target LazyOpener::target_of_part(const Url& url) const {
  if (!url.is_loopback() && !url.is_https()) {
    throw NotInParts{"it doesn't come over https"};
  }
  return Target{.remote = {.url = url,
                           .bearer = std::nullopt,
                           .name = url.text(),
                           .max_size = options_.max_bytes,
                           .may_leave_https = false,
                           .renew = {}},
                .cache = urls_->directory(),
                .temporary = urls_->temporary_directory(),
                .key = ContainersByUrl::key_of(url),
                .keep = [urls = urls_, url, begun = std::chrono::steady_clock::now()](
                            SparseFile& complete) { keep_by_url(*urls, url, begun, complete); },
                .keep_profile = {}};
}

std::shared_ptr<LazySource> LazyOpener::source_of(std::shared_ptr<SparseFile> file, Target target,
                                                  AccessProfile profile, bool is_urgent) const {
  return LazySource::make(std::move(file),
                          {.remote = std::move(target.remote),
                           .hash = target.hash,
                           .keep = std::move(target.keep),
                           .background_rate = options_.background_rate,
                           .is_urgent = is_urgent,
                           .profile = std::move(profile),
                           .keep_profile = std::move(target.keep_profile)},
                          fetcher_);
}

std::shared_ptr<LazySource> LazyOpener::open(const ContainerFetcher::Announced& wanted,
                                             const std::shared_ptr<HttpClient>& client, const CancelFlag& cancel) {
  if (options_.lazy == Lazy::kOff || client == nullptr || packages_->find(wanted.hash)) {
    return nullptr;
  }
  return open_target(
      wanted.name, [&] { return target_of(wanted); },
      [&](const Target& target) { return file_of(target, *client, cancel); }, client);
}

std::shared_ptr<LazySource> LazyOpener::open(const Url& url, const std::shared_ptr<HttpClient>& client,
                                             const CancelFlag& cancel) {
  if (options_.lazy == Lazy::kOff || client == nullptr) {
    return nullptr;
  }
  return open_target(
      url.text(), [&] { return target_of(url); },
      [&](const Target& target) { return file_of(target, *client, cancel); }, client);
}

std::shared_ptr<LazySource> LazyOpener::reopen(const Url& url, const std::string& version,
                                               const std::shared_ptr<HttpClient>& client, const CancelFlag& cancel) {
  if (client == nullptr) {
    return nullptr;
  }
  return open_target(
      url.text(), [&] { return target_of_part(url); },
      [&](const Target& target) { return file_of_version(target, version, *client, cancel); }, client);
}

bool LazyOpener::complete(const ContainerFetcher::Announced& wanted, const std::shared_ptr<HttpClient>& client,
                          const CancelFlag& cancel, DownloadObserver* observer) {
  if (client == nullptr || packages_->find(wanted.hash)) {
    return false;
  }
  return complete_target(wanted.name, [&] { return target_of(wanted); }, client, cancel, observer);
}

bool LazyOpener::complete(const Url& url, const std::shared_ptr<HttpClient>& client, const CancelFlag& cancel,
                          DownloadObserver* observer) {
  return client != nullptr && complete_target(url.text(), [&] { return target_of(url); }, client, cancel, observer);
}

std::shared_ptr<LazySource> LazyOpener::open_target(const std::string& name, FunctionRef<Target()> find, FileOf file_of,
                                                    const std::shared_ptr<HttpClient>& client) {
  try {
    Target target = find();
    std::shared_ptr<SparseFile> file = file_of(target);
    fetcher_->lend(client);
    AccessProfile profile = profile_of(target, file->size());
    return source_of(std::move(file), std::move(target), std::move(profile), false);
  } catch (const NotInParts& reason) {
    log::debug("{} isn't read in parts: {}", name, reason.why);
  } catch (const Error& error) {
    if (error.is_of_run() || error.code() == ErrorCode::kFull) {
      throw;
    }
    log::debug("{} isn't read in parts: {}", name, error);
  }
  return nullptr;
}

bool LazyOpener::complete_target(const std::string& name, FunctionRef<Target()> find,
                                 const std::shared_ptr<HttpClient>& client, const CancelFlag& cancel,
                                 DownloadObserver* observer) {
  try {
    Target target = find();
    const auto directory = PrivateDirectory::find(target.temporary);
    std::shared_ptr<SparseFile> file = directory ? SparseFile::find(*directory, target.key) : nullptr;
    if (file == nullptr) {
      return false;
    }
    cache_files::require_control(target.cache);
    const bool is_by_url = !target.hash;
    using first_requests::Ask;
    if ((is_by_url || !file->is_complete()) &&
        first_requests::go_on(*file, target.remote, is_by_url ? Ask::kAlways : Ask::kIfMissing, *client, cancel,
                              fetcher_->counters()) != first_requests::Answer::kSame) {
      throw NotInParts{"the server has another version than the part that is here, or sends no ranges"};
    }
    fetcher_->lend(client);
    const std::shared_ptr<LazySource> source = source_of(std::move(file), std::move(target), {}, true);
    source->begin_background();
    return become_whole(*source, *fetcher_, cancel, observer);
  } catch (const NotInParts& reason) {
    log::info("{} is downloaded anew: {}", name, reason.why);
  } catch (const Error& error) {
    if (error.is_of_run() || error.code() == ErrorCode::kFull) {
      throw;
    }
    log::info("{} is downloaded anew: {}", name, error);
  }
  return false;
}

AccessProfile LazyOpener::profile_of(const Target& target, std::uint64_t size) const {
  if (!target.hash) {
    return {};
  }
  const auto own = profile_files::read(packages_->directory(), *target.hash, AccessProfile::kMostText);
  for (const std::string& text : {own.value_or(""), target.announced_profile}) {
    try {
      AccessProfile profile = text.empty() ? AccessProfile() : AccessProfile::parse(text);
      if (profile.size == size) {
        return profile;
      }
    } catch (const Error& error) {
      log::debug("{}: {}", target.remote.name, error);
    }
  }
  return {};
}

std::shared_ptr<SparseFile> LazyOpener::file_of_version(const Target& target, const std::string& version,
                                                        HttpClient& client, const CancelFlag& cancel) {
  const auto is_wanted = [&](const std::string& validator, std::uint64_t size) {
    return ContainerFetcher::version_of(validator, size) == version;
  };
  cache_files::require_control(target.cache);
  const PrivateDirectory directory = PrivateDirectory::make(target.temporary);
  std::shared_ptr<SparseFile> file = SparseFile::find(directory, target.key);
  if (file != nullptr && is_wanted(file->version().validator, file->size())) {
    return file;
  }
  const auto check = [&](const RemoteVersion& served) {
    if (!is_wanted(served.validator, served.size)) {
      throw NotInParts{"the server has another version"};
    }
    if (file != nullptr) {
      file->remove();  // a mount that uses it goes on with it, and the wanted version gets its place
      file.reset();    // gives up its lock, which keeps any other version away
    }
  };
  return first_requests::begin(directory, target.key, target.remote, std::nullopt, check, client, cancel,
                               fetcher_->counters());
}

std::shared_ptr<SparseFile> LazyOpener::file_of(const Target& target, HttpClient& client, const CancelFlag& cancel) {
  cache_files::require_control(target.cache);
  const PrivateDirectory directory = PrivateDirectory::make(target.temporary);
  std::shared_ptr<SparseFile> file = SparseFile::find(directory, target.key);
  using first_requests::Answer;
  using first_requests::Ask;
  const Ask ask = target.hash ? Ask::kIfMissing : options_.must_ask ? Ask::kMust : Ask::kAlways;
  const Answer answer = file == nullptr
                            ? Answer::kSame
                            : first_requests::go_on(*file, target.remote, ask, client, cancel, fetcher_->counters());
  if (answer != Answer::kSame) {
    log::debug("{}: {}", target.remote.name,
               answer == Answer::kNoRanges ? "the server sends no ranges"
                                           : "the server has another version than the part that is here");
    if (options_.must_ask && answer == Answer::kOtherVersion) {
      file->remove();  // a mount that uses it goes on with it, and the other version gets its place
    }
    file.reset();
  }
  if (file == nullptr) {
    try {
      const auto any = [](const RemoteVersion&) {};
      file = first_requests::begin(directory, target.key, target.remote, target.known_etag, any, client, cancel,
                                   fetcher_->counters());
    } catch (const RangeError& error) {
      if (error.reason() != RangeError::Reason::kUnchanged) {
        throw;
      }
      urls_->mark_current(target.remote.url);
      throw NotInParts{"the copy in the cache is current"};
    }
  }
  if (options_.lazy == Lazy::kAuto && file->size() <= kSmall) {
    // All of it, on the same connection: then it costs as many requests as a download, or one more.
    const std::uint64_t generation =
        first_requests::complete(*file, target.remote, target.hash, client, cancel, fetcher_->counters());
    if (!target.hash && is_html_file(file->path())) {
      file->remove();
      throw NotInParts{"it is an HTML page"};
    }
    if (!file->keep_complete(generation, [&] { target.keep(*file); })) {
      throw NotInParts{"another process found wrong bytes in it"};
    }
    throw NotInParts{"it is small"};
  }
  if (!first_requests::is_container(*file)) {
    file->remove();
    throw NotInParts{"it isn't a container, so it can't be read in parts"};
  }
  return file;
}

}  // namespace pkgfs
