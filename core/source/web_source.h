// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "core/base/limits.h"
#include "core/net/download.h"
#include "core/source/source.h"

namespace pkgfs {

/// Packages that are named by URL (docs/rules/resolution.md, 7.2). A file is kept as `{directory}/{SHA-256 of the URL}`
/// with its ETag beside it, believed for some minutes, then checked with a HEAD request. When the server can't be
/// reached the kept file is used, with a warning.
class WebSource final : public Source {
 public:
  struct Options {
    std::string directory;
    std::chrono::seconds retry_period{300};
    std::uint64_t max_bytes = limits::kDownloadBytes;
    bool offline = false;
    DownloadObserver* observer = nullptr;
  };
  /// Says what the package in a file is. Throws Error.
  using Describe = std::function<PackageInfo(const std::string& path)>;

  /// Where the file of `url` is kept below `directory`; it needn't be there.
  [[nodiscard]] static std::string path_of(const std::string& directory, const Url& url);

  /// What is passed in must outlive this. `client` may be null when offline.
  WebSource(Options options, Describe describe, HttpClient* client, const CancelFlag& cancel);

  /// The one package at the URL; its `dist` has the URL and the path of the kept file, which is opened in place.
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSource& specifier) override;
  [[nodiscard]] std::vector<Answer> query_all(std::span<const PackageSource> specifiers) override;

 private:
  struct Fetched {
    std::string path;
    bool is_new = false;  // downloaded just now
  };
  /// The file that is kept of a URL.
  struct Kept {
    bool exists = false;
    std::optional<std::chrono::seconds> age;  // since it was last found current; none if that is in the future
  };

  [[nodiscard]] static Kept look(const std::string& path);
  [[nodiscard]] bool is_fresh(const Kept& kept) const;
  [[nodiscard]] Fetched fetch(const Url& url, const CancelFlag& cancel);
  void download_to(const Url& url, const std::string& part, const std::string& path, const CancelFlag& cancel);
  [[nodiscard]] bool is_unchanged(const Url& url, const std::string& etag, const CancelFlag& cancel);
  [[nodiscard]] std::vector<PackageSummary> query_one(const PackageSource& specifier, const CancelFlag& cancel);

  Options options_;
  Describe describe_;
  HttpClient* client_;
  const CancelFlag& cancel_;
};

}  // namespace pkgfs
