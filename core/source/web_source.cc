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

namespace pkgfs {
namespace {

constexpr std::size_t kEtagBytes = 4096;

/// Since the file was last found to be current; none if there is no file, or that is in the future.
struct Kept {
  bool exists = false;
  std::optional<std::chrono::seconds> age;
};

Kept look(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return {};
  }
  const std::time_t now = std::time(nullptr);
  return {true, status.st_mtim.tv_sec <= now ? std::optional(std::chrono::seconds(now - status.st_mtim.tv_sec))
                                             : std::nullopt};
}

void touch(const std::string& path) {
  const std::array<timespec, 2> times{timespec{0, UTIME_NOW}, timespec{0, UTIME_NOW}};
  ::utimensat(AT_FDCWD, path.c_str(), times.data(), 0);
}

}  // namespace

WebSource::WebSource(Options options, Describe describe, HttpClient* client, const CancelFlag& cancel)
    : options_(std::move(options)), describe_(std::move(describe)), client_(client), cancel_(cancel) {}

std::vector<PackageSummary> WebSource::query(const PackageSource& specifier) { return query_one(specifier, cancel_); }

std::vector<Source::Answer> WebSource::query_all(std::span<const PackageSource> specifiers) {
  std::vector<Answer> answers(specifiers.size());
  for_each_in_parallel(specifiers.size(), limits::kParallelRequests, cancel_,
                       [&](std::size_t i, const CancelFlag& cancel) {
                         try {
                           answers[i].packages = query_one(specifiers[i], cancel);
                         } catch (const QueryError& error) {
                           answers[i].error = error;
                         } catch (const Error& error) {
                           if (error.code() == ErrorCode::kInterrupted) {
                             throw;
                           }
                           answers[i].error.emplace(specifiers[i], error);
                         }
                       });
  return answers;
}

std::vector<PackageSummary> WebSource::query_one(const PackageSource& specifier, const CancelFlag& cancel) {
  if (specifier.url() == nullptr) {
    throw QueryError(QueryError::Kind::kUnsupported, specifier);
  }
  const Url url = Url::parse(specifier.url()->text);
  const std::string path = fetch(url, cancel);
  try {
    std::vector<PackageSummary> answer;
    answer.push_back({describe_(path), {url.text(), path, std::nullopt}});
    return answer;
  } catch (Error& error) {
    throw std::move(error).context("Unable to load \"" + path + "\", from \"" + url.text() + "\"");
  }
}

std::string WebSource::fetch(const Url& url, const CancelFlag& cancel) {
  const std::string key = to_upper_hex(sha256(url.text()));
  std::string path = options_.directory + "/" + key;
  const std::string etag_path = path + ".etag";
  Kept kept = look(path);
  if (kept.exists && (options_.offline || (kept.age && *kept.age <= options_.retry_period))) {
    if (!kept.age || *kept.age > options_.retry_period) {
      log::warn("offline: \"{}\" was last checked long ago", url.text());
    }
    return path;
  }
  if (options_.offline) {
    throw Error(ErrorCode::kNetwork,
                "\"" + url.text() + "\" isn't in the cache, and with --offline it can't be fetched");
  }
  const std::string temporary = options_.directory + "/__temp__";
  make_private_directory(temporary);
  const FileLock lock(temporary + "/" + key + ".lock", cancel);
  kept = look(path);
  if (kept.exists && kept.age && *kept.age <= options_.retry_period) {
    return path;  // another process has just fetched it
  }
  const auto etag = kept.exists ? read_small_file(etag_path, kEtagBytes) : std::nullopt;
  try {
    if (etag && is_unchanged(url, *etag, cancel)) {
      touch(path);
      return path;
    }
    const std::string part = temporary + "/" + key + ".part";
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
      write_file_atomically(etag_path, *done.etag);
    }
    sync_directory(options_.directory);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kNetwork || !kept.exists) {
      throw;
    }
    log::warn("Download failed, using the file that was fetched earlier: {}", error.what());
  }
  return path;
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
