// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/cache/container_fetcher.h"
#include "core/source/graphql.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"

namespace pkgfs {

/// A registry on the network, and the token that pkgfs sends to it.
struct RemoteRegistry {
  std::string endpoint;
  std::optional<std::string> token;
};

/// The settings that decide where packages come from. Each one comes from the command line, else the environment, else
/// Wasmer's `wasmer.toml`, else a default (docs/rules/integration.md, 4).
struct Settings {
  std::vector<std::string> directories;    // local registries, asked first
  std::vector<RemoteRegistry> registries;  // asked in this order, each only for packages that none before it has
  std::string cache_dir;
  std::optional<std::string> proxy;  // none: libcurl reads the environment
  std::optional<std::string> ca_file;
  graphql::Prefer prefer = graphql::Prefer::kV3;
  bool offline = false;
  bool wait = true;  // when a server asks pkgfs to come back later
  VerifyDownloads verify_downloads = VerifyDownloads::kFail;
  std::uint64_t max_download = limits::kDownloadBytes;
  std::chrono::seconds timeout{30};                       // the longest silence of a server
  std::chrono::seconds query_deadline{600};               // for an answer of a registry, with all attempts
  std::optional<std::chrono::seconds> download_deadline;  // for a download, with all attempts; none: unlimited
  std::chrono::seconds query_time{600};  // how long a cached answer of a registry is used without asking again

  /// The directories in `cache_dir`, named as Wasmer names them: packages by hash, downloads by the hash of their URL,
  /// and answers of registries.
  [[nodiscard]] std::string packages_directory() const { return cache_dir + "/checkouts"; }
  [[nodiscard]] std::string urls_directory() const { return cache_dir + "/downloads"; }
  /// Not Wasmer's: images for `--engine=erofs`.
  [[nodiscard]] std::string images_directory() const { return cache_dir + "/images"; }
  /// Not Wasmer's: manifests and lock files of packages in OCI registries.
  [[nodiscard]] std::string artifacts_directory() const { return cache_dir + "/oci"; }
  [[nodiscard]] std::string queries_directory() const { return cache_dir + "/queries"; }

  /// One line of `pkgfs config`.
  struct Row {
    std::string name;
    std::string value;   // without secrets
    std::string origin;  // "--registry", "WASMER_REGISTRY", the file's path, "default"
  };
  std::vector<Row> rows;
};

/// If this variable of the environment is set, it has logins at OCI registries: the text of a file as "docker login"
/// writes it. Then pkgfs reads no such file and runs no credential helper. So a service can pass on the login of a
/// client, and a client can't make it run a program.
inline constexpr const char* kLoginsVariable = "DOCKER_AUTH_CONFIG";

/// $HOME, else the home directory of the account, since services have no $HOME.
[[nodiscard]] std::string home_directory(const Environment& environment);

/// Throws Error(kUsage) that names the wrong setting and its origin. If `wasmer.toml` can't be read, pkgfs warns and
/// goes on without it; Wasmer ignores it silently.
[[nodiscard]] Settings load_settings(const NetworkFlags& flags, const Environment& environment);

}  // namespace pkgfs
