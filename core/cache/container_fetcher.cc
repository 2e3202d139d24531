// SPDX-License-Identifier: MIT
#include "core/cache/container_fetcher.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "core/base/age_text.h"
#include "core/base/error.h"
#include "core/base/file_kind.h"
#include "core/base/log.h"
#include "core/cache/download_observer.h"
#include "core/net/download.h"
#include "core/net/http_client.h"
#include "core/net/partial_file.h"
#include "core/net/url.h"

namespace pkgfs {
namespace {

/// Tells the observer of one download. Its end is told once, by the destructor: as a failure unless `succeeded` was
/// called, and not at all after `unneeded`.
class ObservedDownload final : public DownloadProgress {
 public:
  ObservedDownload(DownloadObserver* observer, std::string name) : observer_(observer), name_(std::move(name)) {}
  ~ObservedDownload() override {
    if (observer_ != nullptr && !is_unneeded_) {
      observer_->finished(name_, size_, success_);
    }
  }
  ObservedDownload(const ObservedDownload&) = delete;
  ObservedDownload& operator=(const ObservedDownload&) = delete;

  void started(std::uint64_t have, std::optional<std::uint64_t> total) override {
    if (observer_ != nullptr) {
      observer_->started(name_, have, total);
    }
  }
  void received(std::uint64_t have) override {
    if (observer_ != nullptr) {
      observer_->received(name_, have);
    }
  }
  /// All bytes are here; they may still turn out to be the wrong ones.
  void complete(std::uint64_t size) { size_ = size; }
  void succeeded() { success_ = true; }
  /// There was nothing to download.
  void unneeded() { is_unneeded_ = true; }

 private:
  DownloadObserver* observer_;
  std::string name_;
  std::uint64_t size_ = 0;
  bool success_ = false;
  bool is_unneeded_ = false;
};

/// Removes a partial file when it goes out of scope.
class Discarder {
 public:
  explicit Discarder(const std::string& part) : part_(part) {}
  ~Discarder() { PartialFile::discard(part_); }
  Discarder(const Discarder&) = delete;
  Discarder& operator=(const Discarder&) = delete;

 private:
  const std::string& part_;
};

/// A URL that a registry announced: the registry is at fault for an unusable one, not the command line.
Url announced_url(const std::string& text) {
  try {
    return Url::parse(text);
  } catch (const Error& error) {
    throw Error(ErrorCode::kNetwork, error);
  }
}

/// Whether `error` may come from damage of the file that was used. If pkgfs is interrupted, or the disk has no room
/// for what a tarball unpacks to, or the process has no file descriptors left, the file may be good, and must stay.
bool blames_file(const Error& error) { return !error.is_of_run() && error.code() != ErrorCode::kFull; }

/// `, after a redirect to "…"`; empty without one.
std::string said(const std::vector<std::string>& redirects) {
  std::string urls;
  for (const std::string& url : redirects) {
    urls += (urls.empty() ? "\"" : " and \"") + server_text(without_password(url)) + "\"";
  }
  return urls.empty() ? "" : (redirects.size() == 1 ? ", after a redirect to " : ", after redirects to ") + urls;
}

/// The error for a page at `url`. The address of a package's page in a browser leads to such a page.
Error no_package(const Url& url, const std::vector<std::string>& redirects) {
  return {ErrorCode::kUnsupported,
          {"\"" + url.text() + "\" isn't a package: the server sent an HTML page" + said(redirects),
           "a package of a registry is named without a URL, for example \"namespace/name@^1.2\""}};
}

}  // namespace

ContainerFetcher::ContainerFetcher(Options options)
    : options_(std::move(options)), packages_(options_.packages_directory), urls_(options_.urls_directory) {}

std::optional<std::string> ContainerFetcher::fetch(const Announced& wanted, const CancelFlag& cancel, const Use& use) {
  if (use_cached(wanted.hash, use)) {
    return packages_.path_of(wanted.hash);
  }
  const Url url = announced_url(wanted.url);
  if (use_by_url(url, wanted.hash, use)) {
    return urls_.path_of(url);
  }
  if (is_offline()) {
    throw Error(ErrorCode::kNetwork, "it isn't in the cache \"" + packages_.directory() +
                                         "\", and with --offline it can't be downloaded from \"" +
                                         server_text(wanted.url) + "\"");
  }
  const PartialEntry partial = packages_.reserve(wanted.hash, cancel, longest_wait());
  if (use_cached(wanted.hash, use)) {
    return packages_.path_of(wanted.hash);  // another process has just downloaded it
  }
  return download_announced(wanted, url, partial, cancel, use);
}

std::optional<std::chrono::milliseconds> ContainerFetcher::longest_wait() const {
  const auto deadline = options_.client->download_deadline();
  return deadline
             ? std::optional(std::chrono::ceil<std::chrono::milliseconds>(*deadline - std::chrono::steady_clock::now()))
             : std::nullopt;
}

bool ContainerFetcher::use_cached(const Sha256& hash, const Use& use) {
  const auto path = packages_.find(hash);
  if (!path) {
    return false;
  }
  try {
    use(*path);
    return true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kNotFound) {
      return false;  // removed since `find`
    }
    if (!blames_file(error)) {
      throw;
    }
    const auto actual = packages_.hash_or_set_aside(hash);
    if (actual && *actual == hash) {
      throw;  // the registry published a broken package: another download would be the same
    }
    if (actual) {
      packages_.set_aside(hash, error.what());
    }
    return false;
  }
}

bool ContainerFetcher::use_by_url(const Url& url, const Sha256& hash, const Use& use) const {
  const auto found = urls_.find(url);
  if (!found || !has_copy_of(url, hash)) {
    return false;
  }
  use(found->path);
  return true;
}

bool ContainerFetcher::has_copy_of(const Url& url, const Sha256& hash) const {
  try {
    return urls_.content_hash(url) == hash;
  } catch (const Error& error) {
    if (!blames_file(error)) {
      throw;
    }
    log::debug("{}", error);
    return false;
  }
}

std::optional<std::string> ContainerFetcher::download_announced(const Announced& wanted, const Url& url,
                                                                const PartialEntry& partial, const CancelFlag& cancel,
                                                                const Use& use) {
  std::string mismatch;
  std::vector<std::string> redirects;
  {
    ObservedDownload observed(options_.observer, wanted.name);
    Downloaded downloaded;
    try {
      downloaded = download(*options_.client,
                            {.url = url,
                             .bearer = token_for(url, options_.tokens),
                             .expected = wanted.hash,
                             .max_bytes = options_.max_bytes,
                             .may_leave_https = wanted.is_hash_safe && options_.verify == VerifyDownloads::kFail,
                             .name = wanted.name,
                             .progress = &observed},
                            partial.part, cancel);
    } catch (Error& error) {
      if (error.code() == ErrorCode::kInterrupted) {
        throw;
      }
      throw std::move(error).context("Unable to download \"" + server_text(wanted.url) + "\"");
    }
    observed.complete(downloaded.size);
    redirects = downloaded.redirects;
    if (downloaded.left_https) {
      log::warn("{} came over a connection without encryption{}; its hash is checked, but others could see it",
                wanted.name, said(redirects));
    }
    if (downloaded.sha256 == wanted.hash) {
      packages_.commit(partial, downloaded.file, wanted.hash);
      observed.succeeded();
    } else {
      mismatch = "image hash mismatch! expected hash '" + to_upper_hex(wanted.hash) + "', but the computed hash is '" +
                 to_upper_hex(downloaded.sha256) + "' (source '" + server_text(wanted.url) + "')";
    }
  }
  if (mismatch.empty()) {
    std::string path = packages_.path_of(wanted.hash);
    use(path);
    return path;
  }
  const Discarder discarder(partial.part);
  if (options_.verify == VerifyDownloads::kFail) {
    std::vector<std::string> chain{mismatch};
    if (is_html_file(partial.part)) {
      chain.push_back("the server sent an HTML page instead of the package" + said(redirects));
    }
    throw Error(ErrorCode::kCorrupt, std::move(chain));
  }
  if (options_.verify == VerifyDownloads::kWarn) {
    log::warn("{}: {}", wanted.name, mismatch);
  }
  use(partial.part);
  return std::nullopt;
}

ContainerFetcher::FromUrl ContainerFetcher::fetch(const Url& url, const CancelFlag& cancel, const Use& use) {
  constexpr int kMostTries = 5;
  std::string path;
  for (int tries = 0; tries < kMostTries; ++tries) {
    std::string used;
    path = use_of_url(url, cancel, [&](const std::string& file) {
      used = urls_.state_of(url);
      use(file);
    });
    // The ETag beside the file is removed before the file is replaced, and the next one is written after that.
    if (std::string version = version_of(url); !used.empty() && used == urls_.state_of(url)) {
      return {std::move(path), std::move(version)};
    }
    log::debug("another process has replaced the file of \"{}\" in the cache", url.text());
  }
  return {std::move(path), {}};
}

std::string ContainerFetcher::use_of_url(const Url& url, const CancelFlag& cancel, const Use& use) {
  UrlFile file = find_or_download(url, cancel);
  try {
    try {
      use(file.path);
    } catch (const Error& error) {
      if (file.is_new || is_offline() || !blames_file(error)) {
        throw;
      }
      log::warn("the cached file of \"{}\" can't be used and is downloaded again: {}", url.text(), error);
      urls_.remove(file.path);
      file = find_or_download(url, cancel);
      use(file.path);
    }
  } catch (Error& error) {
    throw std::move(error).context("Unable to load \"" + file.path + "\", from \"" + url.text() + "\"");
  }
  return std::move(file.path);
}

ContainerFetcher::UrlFile ContainerFetcher::find_or_download(const Url& url, const CancelFlag& cancel) {
  auto found = urls_.find(url);
  if (found && is_fresh(*found)) {
    return {found->path, false};
  }
  if (is_offline()) {
    if (!found) {
      throw Error(ErrorCode::kNetwork,
                  "\"" + url.text() + "\" isn't in the cache, and with --offline it can't be downloaded");
    }
    log::warn("offline: \"{}\" was last checked {} ago", url.text(), age_text(found->age));
    return {found->path, false};
  }
  try {
    const PartialEntry partial = urls_.reserve(url, cancel, longest_wait());
    found = urls_.find(url);
    if (found && is_fresh(*found)) {
      return {found->path, false};  // another process has just downloaded or checked it
    }
    if (std::optional<std::string> path = download_url(url, found.has_value(), partial, cancel)) {
      return {*std::move(path), true};
    }
    urls_.mark_current(url);
    return {found->path, false};
  } catch (const Error& error) {
    if (error.is_of_run() || !found || options_.must_ask) {
      throw;
    }
    log::warn("Download failed, using the file of \"{}\" that was downloaded {} ago: {}", url.text(),
              age_text(found->age), error);
    return {found->path, false};
  }
}

std::string ContainerFetcher::version_of(const std::string& validator, std::uint64_t size) {
  return validator + " " + std::to_string(size);
}

std::string ContainerFetcher::version_of(const Url& url) const {
  std::error_code failed;
  const std::uintmax_t size = std::filesystem::file_size(urls_.path_of(url), failed);
  if (failed) {
    return {};
  }
  if (const auto etag = urls_.etag_of(url); etag && etag->starts_with('"')) {
    return version_of(*etag, size);
  }
  if (const auto date = urls_.date_of(url)) {
    return version_of(*date, size);
  }
  const std::optional<Sha256> hash = urls_.content_hash(url);
  return hash ? to_hex(*hash) : std::string();
}

bool ContainerFetcher::has_copy_of(const std::string& url, const Sha256& hash) const {
  return has_copy_of(announced_url(url), hash);
}

bool ContainerFetcher::is_fresh(const Url& url) const {
  const auto found = urls_.find(url);
  return found && is_fresh(*found);
}

bool ContainerFetcher::is_fresh(const ContainersByUrl::Found& found) const {
  return !(options_.must_ask && !is_offline()) && found.age && *found.age <= options_.url_lifetime;
}

std::optional<std::string> ContainerFetcher::download_url(const Url& url, bool has_copy, const PartialEntry& partial,
                                                          const CancelFlag& cancel) {
  ObservedDownload observed(options_.observer, url.text());
  DownloadRequest request{
      .url = url, .bearer = std::nullopt, .max_bytes = options_.max_bytes, .name = url.text(), .progress = &observed};
  if (has_copy) {
    request.etag = urls_.etag_of(url);
    request.last_modified = urls_.date_of(url);
  }
  const Downloaded downloaded = download(*options_.client, request, partial.part, cancel);
  if (downloaded.is_unchanged) {
    observed.unneeded();
    return std::nullopt;
  }
  observed.complete(downloaded.size);
  if (is_html_file(partial.part)) {
    PartialFile::discard(partial.part);
    throw no_package(url, downloaded.redirects);
  }
  std::string path = urls_.commit(partial, downloaded.file, url, downloaded.etag, downloaded.last_modified);
  observed.succeeded();
  return path;
}

}  // namespace pkgfs
