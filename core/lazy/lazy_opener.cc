// SPDX-License-Identifier: MIT
#include "core/lazy/lazy_opener.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "core/base/log.h"
#include "core/base/private_directory.h"
#include "core/cache/cache_files.h"
#include "core/cache/containers_by_hash.h"
#include "core/cache/download_observer.h"
#include "core/cache/profile_files.h"
#include "core/lazy/fetch_counted.h"
#include "core/lazy/lazy_counters.h"
#include "core/net/http_client.h"
#include "core/net/range_request.h"

namespace pkgfs {
namespace {

/// The first request asks for so many bytes. They have the index, and often the manifest, too.
constexpr std::uint64_t kFirstRequest = 2 * SparseFile::kBlock;

/// Thrown while a body begins that isn't wanted in parts.
struct NotInParts {
  const char* why;
};

RangeRequest request_for(const RemoteFile& remote, std::uint64_t first, std::uint64_t length) {
  return {.url = remote.url,
          .bearer = remote.bearer,
          .first = first,
          .length = length,
          .max_size = remote.max_size,
          .may_leave_https = remote.may_leave_https};
}

/// Fetches a part of `file` that is missing, which shows whether the server still has this version. False if not.
bool go_on(SparseFile& file, const RemoteFile& remote, HttpClient& client, const CancelFlag& cancel,
           LazyCounters& counters) {
  const auto claim = file.claim({file.missing({0, file.blocks()}).first, 1});
  if (!claim) {
    return true;  // another process fetches it at this moment
  }
  const std::uint64_t first = claim->range().first * SparseFile::kBlock;
  RangeRequest request = request_for(remote, first, std::min(SparseFile::kBlock, file.size() - first));
  request.version = RemoteVersion{file.version().validator, file.size()};
  try {
    fetch_counted(client, request, cancel, counters,
                  [&](const RemoteVersion&, std::uint64_t at, auto piece) { file.write(at, piece); });
    file.mark_present(claim->range());
    return true;
  } catch (const RangeError& error) {
    return error.reason() != RangeError::Reason::kOtherVersion;
  } catch (const HttpError& error) {
    log::debug("{}: {}", remote.name, error);
    return true;  // what is here may suffice
  }
}

/// Fetches the beginning of the container into a new file. Throws NotInParts, and as `fetch_range`.
std::shared_ptr<SparseFile> begin(const PrivateDirectory& directory, const std::string& key, Lazy lazy,
                                  const RemoteFile& remote, HttpClient& client, const CancelFlag& cancel,
                                  LazyCounters& counters) {
  std::shared_ptr<SparseFile> file;
  std::optional<SparseFile::Claim> claim;  // must not outlive the file
  std::uint64_t end = 0;
  fetch_counted(client, request_for(remote, 0, kFirstRequest), cancel, counters,
                [&](const RemoteVersion& version, std::uint64_t at, std::span<const std::byte> piece) {
                  if (file == nullptr) {
                    if (lazy == Lazy::kAuto && version.size <= LazyOpener::kSmall) {
                      throw NotInParts{"it is small"};
                    }
                    file = SparseFile::open(directory, key, {version.validator, version.size});
                    if (auto taken = file->claim(SparseFile::blocks_of(0, kFirstRequest))) {
                      claim.emplace(std::move(*taken));
                    }
                  }
                  if (claim) {  // else another process has begun meanwhile
                    file->write(at, piece);
                    end = at + piece.size();
                  }
                });
  if (file == nullptr) {
    throw NotInParts{"it is empty"};
  }
  if (claim) {
    file->mark_present({0, end == file->size() ? file->blocks() : end / SparseFile::kBlock});
    claim.reset();
  }
  return file;
}

/// Whether the file begins like a container. A tarball can't be read in parts.
bool is_container(const SparseFile& file) {
  constexpr std::string_view kMagic("\0webc", 5);
  std::array<char, kMagic.size()> start{};
  return ::pread(file.fd(), start.data(), start.size(), 0) == static_cast<ssize_t>(start.size()) &&
         std::string_view(start.data(), start.size()) == kMagic;
}

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
/// for `patience`, or for `kGiveUp` while requests fail. Throws Error(kInterrupted).
bool become_whole(const LazySource& source, std::chrono::milliseconds patience, const CancelFlag& cancel,
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
    const Clock::time_point now = Clock::now();
    const std::string problem = source.problem();
    if (const std::uint64_t known = std::exchange(have, source.bytes_here()); have != known) {
      last = now;
      observed.received(have);
    } else if (have == source.bytes().size()
                   ? !problem.empty()
                   : now - last >=
                         (problem.empty() ? patience : std::min<std::chrono::milliseconds>(patience, kGiveUp))) {
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
      fetcher_(BlockFetcher::make(options_.fetcher)) {}

RemoteFile LazyOpener::remote_of(const ContainerFetcher::Announced& wanted) const {
  RemoteFile remote{.url = Url::parse(wanted.url),
                    .bearer = std::nullopt,
                    .name = wanted.name,
                    .max_size = options_.max_bytes,
                    .may_leave_https = false,  // directory data is used before the hash is known to be right
                    .renew = {}};
  remote.bearer = token_for(remote.url, options_.tokens);
  if (options_.renew) {
    remote.renew = [renew = options_.renew, hash = wanted.hash](HttpClient& http, const CancelFlag& stop) {
      return renew(hash, http, stop);
    };
  }
  if (!remote.url.is_loopback() && (!remote.url.is_https() || !wanted.is_hash_safe)) {
    throw NotInParts{"it or its hash doesn't come over https"};
  }
  return remote;
}

std::shared_ptr<LazySource> LazyOpener::source_of(std::shared_ptr<SparseFile> file, RemoteFile remote,
                                                  const Sha256& hash, AccessProfile profile, bool is_urgent) const {
  return LazySource::make(
      std::move(file),
      {.remote = std::move(remote),
       .hash = hash,
       .keep =
           [packages = packages_, hash](SparseFile& complete) {
             try {
               (void)packages->commit(complete.path(), complete.fd(), hash);
             } catch (const Error&) {
               if (!packages->find(hash)) {
                 throw;
               }  // else another process that uses the same file was faster
             }
             complete.remove_map();
             packages->sync();
           },
       .background_rate = options_.background_rate,
       .is_urgent = is_urgent,
       .profile = std::move(profile),
       .keep_profile = [directory = packages_->directory(),
                        hash](const AccessProfile& changed) { profile_files::write(directory, hash, changed.text()); }},
      fetcher_);
}

std::shared_ptr<LazySource> LazyOpener::open(const ContainerFetcher::Announced& wanted,
                                             const std::shared_ptr<HttpClient>& client, const CancelFlag& cancel) {
  if (options_.lazy == Lazy::kOff || client == nullptr || packages_->find(wanted.hash)) {
    return nullptr;
  }
  try {
    RemoteFile remote = remote_of(wanted);
    std::shared_ptr<SparseFile> file = file_of(wanted, remote, *client, cancel);
    fetcher_->lend(client);
    AccessProfile profile = profile_of(wanted, file->size());
    return source_of(std::move(file), std::move(remote), wanted.hash, std::move(profile), false);
  } catch (const NotInParts& reason) {
    log::debug("{} is downloaded before it is used: {}", wanted.name, reason.why);
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    log::debug("{} is downloaded before it is used: {}", wanted.name, error);
  }
  return nullptr;
}

bool LazyOpener::complete(const ContainerFetcher::Announced& wanted, const std::shared_ptr<HttpClient>& client,
                          const CancelFlag& cancel, DownloadObserver* observer) {
  if (client == nullptr || packages_->find(wanted.hash)) {
    return false;
  }
  try {
    const auto directory = PrivateDirectory::find(packages_->temporary_directory());
    std::shared_ptr<SparseFile> file = directory ? SparseFile::find(*directory, to_hex(wanted.hash)) : nullptr;
    if (file == nullptr) {
      return false;
    }
    cache_files::require_control(packages_->directory());
    RemoteFile remote = remote_of(wanted);
    if (!file->is_complete() && !go_on(*file, remote, *client, cancel, fetcher_->counters())) {
      throw NotInParts{"the server has another version than the part that is here"};
    }
    fetcher_->lend(client);
    const std::shared_ptr<LazySource> source = source_of(std::move(file), std::move(remote), wanted.hash, {}, true);
    source->begin_background();
    return become_whole(*source, fetcher_->patience(), cancel, observer);
  } catch (const NotInParts& reason) {
    log::info("{} is downloaded anew: {}", wanted.name, reason.why);
  } catch (const Error& error) {
    if (error.is_of_run() || error.code() == ErrorCode::kFull) {
      throw;
    }
    log::info("{} is downloaded anew: {}", wanted.name, error);
  }
  return false;
}

AccessProfile LazyOpener::profile_of(const ContainerFetcher::Announced& wanted, std::uint64_t size) const {
  const auto own = profile_files::read(packages_->directory(), wanted.hash, AccessProfile::kMostText);
  for (const std::string& text : {own.value_or(""), wanted.profile}) {
    try {
      AccessProfile profile = text.empty() ? AccessProfile() : AccessProfile::parse(text);
      if (profile.size == size) {
        return profile;
      }
    } catch (const Error& error) {
      log::debug("{}: {}", wanted.name, error);
    }
  }
  return {};
}

std::shared_ptr<SparseFile> LazyOpener::file_of(const ContainerFetcher::Announced& wanted, const RemoteFile& remote,
                                                HttpClient& client, const CancelFlag& cancel) {
  cache_files::require_control(packages_->directory());
  const PrivateDirectory directory = PrivateDirectory::make(packages_->temporary_directory());
  const std::string key = to_hex(wanted.hash);
  std::shared_ptr<SparseFile> file = SparseFile::find(directory, key);
  if (file != nullptr && !go_on(*file, remote, client, cancel, fetcher_->counters())) {
    log::debug("{}: the server has another version than the part that is here", wanted.name);
    file.reset();
  }
  if (file == nullptr) {
    file = begin(directory, key, options_.lazy, remote, client, cancel, fetcher_->counters());
  }
  if (!is_container(*file)) {
    file->remove();
    throw NotInParts{"it isn't a container, so it can't be read in parts"};
  }
  return file;
}

}  // namespace pkgfs
