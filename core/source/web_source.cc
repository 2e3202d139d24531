// SPDX-License-Identifier: MIT
#include "core/source/web_source.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <utility>

#include "core/base/files.h"
#include "core/base/log.h"
#include "core/base/parallel.h"
#include "core/source/query_cache.h"

namespace pkgfs {
namespace {

constexpr std::size_t kEtagBytes = 4096;

void touch(const std::string& path) {
  const std::array<timespec, 2> times{timespec{0, UTIME_NOW}, timespec{0, UTIME_NOW}};
  ::utimensat(AT_FDCWD, path.c_str(), times.data(), 0);
}

}  // namespace

WebSource::Kept WebSource::look(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return {};
  }
  const std::time_t now = std::time(nullptr);
  Kept kept{true, std::nullopt};
  if (status.st_mtim.tv_sec <= now) {
    kept.age = std::chrono::seconds(now - status.st_mtim.tv_sec);
  }
  return kept;
}

std::string WebSource::path_of(const std::string& directory, const Url& url) {
  return directory + "/" + to_upper_hex(sha256(url.text()));
}

WebSource::WebSource(Options options, Describe describe, HttpClient* client, const CancelFlag& cancel)
    : options_(std::move(options)), describe_(std::move(describe)), client_(client), cancel_(cancel) {}

std::vector<PackageSummary> WebSource::query(const PackageSpecifier& specifier) {
  return query_one(specifier, cancel_);
}

std::vector<Source::Answer> WebSource::query_all(std::span<const PackageSpecifier> specifiers) {
  std::vector<Answer> answers(specifiers.size());
  for_each_in_parallel(specifiers.size(), limits::kParallelRequests, cancel_,
                       [&](std::size_t i, const CancelFlag& cancel) {
                         answers[i] = answer_of(specifiers[i], [&] { return query_one(specifiers[i], cancel); });
                       });
  return answers;
}

std::vector<PackageSummary> WebSource::query_one(const PackageSpecifier& specifier, const CancelFlag& cancel) {
  if (specifier.url() == nullptr) {
    throw QueryError(QueryError::Kind::kUnsupported, specifier);
  }
  const Url url = Url::parse(specifier.url()->text);
  Fetched fetched = fetch(url, cancel);
  std::vector<PackageSummary> answer;
  try {
    try {
      answer.push_back({describe_(fetched.path), {url.text(), fetched.path, std::nullopt}});
    } catch (const Error& error) {
      if (fetched.is_new || options_.offline) {
        throw;
      }
      log::warn("the file that was kept of \"{}\" is of no use and fetched again: {}", url.text(), error.what());
      ::unlink(fetched.path.c_str());
      fetched = fetch(url, cancel);
      answer.push_back({describe_(fetched.path), {url.text(), fetched.path, std::nullopt}});
    }
  } catch (Error& error) {
    throw std::move(error).context("Unable to load \"" + fetched.path + "\", from \"" + url.text() + "\"");
  }
  return answer;
}

WebSource::Fetched WebSource::fetch(const Url& url, const CancelFlag& cancel) {
  const std::string path = path_of(options_.directory, url);
  Kept kept = look(path);
  if (kept.exists && (options_.offline || is_fresh(kept))) {
    if (!is_fresh(kept)) {
      log::warn("offline: \"{}\" was last checked {} ago", url.text(), age_text(kept.age));
    }
    return {path, false};
  }
  if (options_.offline) {
    throw Error(ErrorCode::kNetwork,
                "\"" + url.text() + "\" isn't in the cache, and with --offline it can't be fetched");
  }
  try {
    const std::string temporary = options_.directory + "/__temp__";
    make_private_directory(temporary);
    const std::string key = path.substr(options_.directory.size() + 1);
    const FileLock lock(temporary + "/" + key + ".lock", cancel);
    kept = look(path);
    if (kept.exists && is_fresh(kept)) {
      return {path, false};  // another process has just fetched it
    }
    const auto etag = kept.exists ? read_small_file(path + ".etag", kEtagBytes) : std::nullopt;
    if (etag && is_unchanged(url, *etag, cancel)) {
      touch(path);
      return {path, false};
    }
    download_to(url, temporary + "/" + key + ".part", path, cancel);
    return {path, true};
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInterrupted || !kept.exists) {
      throw;
    }
    log::warn("Download failed, using what was fetched of \"{}\" {} ago: {}", url.text(), age_text(kept.age),
              error.what());
    return {path, false};
  }
}

bool WebSource::is_fresh(const Kept& kept) const { return kept.age && *kept.age <= options_.retry_period; }

void WebSource::download_to(const Url& url, const std::string& part, const std::string& path,
                            const CancelFlag& cancel) {
  const std::string etag_path = path + ".etag";
  const DownloadRequest request{.url = url,
                                .bearer = std::nullopt,
                                .max_bytes = options_.max_bytes,
                                .name = url.text(),
                                .observer = options_.observer};
  const Downloaded done = download(*client_, request, part, cancel);
  ::unlink(etag_path.c_str());  // the old one must not be found beside the new file
  if (::rename(part.c_str(), path.c_str()) != 0) {
    throw system_error("Unable to save the downloaded file to \"" + path + "\"", errno);
  }
  touch(path);
  if (done.etag) {
    write_file_atomically(etag_path, *done.etag, Durability::kUnsynced);
  }
  sync_directory(options_.directory);
  if (options_.observer != nullptr) {
    options_.observer->finished(request.name, done.size, true);
  }
}

bool WebSource::is_unchanged(const Url& url, const std::string& etag, const CancelFlag& cancel) {
  try {
    const HttpResponse response = client_->fetch({.method = HttpRequest::Method::kHead,
                                                  .url = url,
                                                  .headers = {{"Accept", "application/webc"}},
                                                  .body = {},
                                                  .bearer = std::nullopt},
                                                 cancel);
    const std::string* now = response.header("etag");
    return response.status == 200 && now != nullptr && *now == etag;
  } catch (const HttpError& error) {
    log::debug("{}", error.what());
    return false;  // the GET will say what is wrong
  }
}

}  // namespace pkgfs
