// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/load/package_loader.h"
#include "core/source/graphql.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"

namespace pkgfs {

/// A registry on the network, and who we are there.
struct RemoteRegistry {
  std::string endpoint;
  std::optional<std::string> token;
};

/// Everything that decides where packages come from, from the command line, else the environment, else Wasmer's
/// `wasmer.toml`, else built in (docs/rules/integration.md, 4).
struct Settings {
  std::vector<std::string> directories;    // local registries, asked first
  std::vector<RemoteRegistry> registries;  // asked in this order, each only for what nobody before it has
  std::string cache_dir;
  std::optional<std::string> proxy;  // none: what the environment says, by libcurl's rules
  std::optional<std::string> ca_file;
  graphql::Prefer prefer = graphql::Prefer::kV3;
  bool offline = false;
  bool wait = true;  // when a server asks for it
  VerifyDownloads verify_downloads = VerifyDownloads::kFail;
  std::uint64_t max_download = limits::kDownloadBytes;
  std::chrono::seconds timeout{30};  // how long a server may send nothing
  std::chrono::seconds query_time{600};

  /// Wasmer's names for what is below `cache_dir`: packages by their hash, files by the URL that they came from,
  /// answers of registries.
  [[nodiscard]] std::string packages_directory() const { return cache_dir + "/checkouts"; }
  [[nodiscard]] std::string urls_directory() const { return cache_dir + "/downloads"; }
  [[nodiscard]] std::string queries_directory() const { return cache_dir + "/queries"; }

  /// One line of `pkgfs config`.
  struct Row {
    std::string name;
    std::string value;   // secrets are not shown
    std::string origin;  // "--registry", "WASMER_REGISTRY", the file's path, "default"
  };
  std::vector<Row> rows;
};

/// Throws Error(kUsage) naming the setting and its origin. A `wasmer.toml` that can't be used is a warning, as for
/// Wasmer, which ignores it without a word.
[[nodiscard]] Settings load_settings(const NetworkFlags& flags, const Environment& environment);

}  // namespace pkgfs
