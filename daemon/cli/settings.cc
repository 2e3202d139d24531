// SPDX-License-Identifier: MIT
#include "daemon/cli/settings.h"

#include <pwd.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <utility>

#include "core/base/files.h"
#include "core/base/log.h"
#include "core/net/url.h"
#include "core/package/wasmer_config.h"
#include "core/source/endpoint.h"

namespace pkgfs {
namespace {

constexpr std::size_t kConfigBytes = 1U << 20U;
constexpr std::uint32_t kStallSeconds = 30;
constexpr const char* kDefault = "default";

/// A value and its origin.
struct NamedValue {
  std::string value;
  std::string origin;
};

std::optional<NamedValue> from_environment(const Environment& environment, const char* name) {
  auto value = environment(name);
  if (!value || value->empty()) {
    return std::nullopt;
  }
  return NamedValue{std::move(*value), name};
}

std::string absolute(const std::string& path) { return std::filesystem::absolute(path).lexically_normal().string(); }

/// Whether `registry` names a directory: it has no "://", and the directory exists, or the name looks like a path, or
/// it can't be a domain.
bool is_directory_name(const std::string& registry) {
  if (registry.find("://") != std::string::npos) {
    return false;
  }
  std::error_code failed;
  return registry.find('/') != std::string::npos || registry.starts_with('.') ||
         std::filesystem::is_directory(registry, failed) ||
         (registry.find('.') == std::string::npos && registry != "localhost" && !registry.starts_with("localhost:"));
}

/// `http://user:secret@host` as `http://user:***@host`.
std::string without_password(const std::string& url) {
  const std::size_t scheme = url.find("://");
  const std::size_t begin = scheme == std::string::npos ? 0 : scheme + 3;
  const std::size_t end = url.rfind('@');  // the last one, since a password can have "@"
  const std::size_t colon = url.find(':', begin);
  if (end == std::string::npos || colon == std::string::npos || colon > end) {
    return url;
  }
  return url.substr(0, colon + 1) + "***" + url.substr(end);
}

/// Collects the settings. Each step adds the rows that `pkgfs config` shows, in this order.
class Builder {
 public:
  Builder(const NetworkFlags& flags, const Environment& environment) : flags_(flags), environment_(environment) {}

  Settings build() {
    read_directories();
    read_registries();
    read_proxy();
    read_webc_version();
    read_switches();
    return std::move(settings_);
  }

 private:
  void row(std::string name, std::string value, std::string origin) {
    settings_.rows.push_back({std::move(name), std::move(value), std::move(origin)});
  }

  [[noreturn]] static void refuse(const std::string& origin, const Error& why) {
    if (why.is_of_run()) {  // no fault of the setting
      Error error = why;
      throw std::move(error).context(origin);
    }
    throw Error(ErrorCode::kUsage, origin + ": " + why.message());
  }

  void read_directories() {
    NamedValue wasmer{home_directory(environment_) + "/.wasmer", kDefault};
    if (auto given = from_environment(environment_, "WASMER_DIR")) {
      wasmer = std::move(*given);
    }
    wasmer.value = absolute(wasmer.value);
    row("wasmer-dir", wasmer.value, wasmer.origin);
    config_path_ = wasmer.value + "/wasmer.toml";
    try {
      if (const auto text = read_small_file(config_path_, kConfigBytes)) {
        config_ = parse_wasmer_config(*text);
      }
    } catch (const Error& error) {
      if (::access(wasmer.value.c_str(), X_OK) != 0) {
        log::info("there is no configuration of Wasmer in \"{}\": {}", wasmer.value, error);
        return read_cache_directory(wasmer);  // for example the home directory of another user
      }
      log::warn("Wasmer's configuration \"{}\" is ignored: {}", config_path_, error);
    }
    read_cache_directory(wasmer);
  }

  void read_cache_directory(const NamedValue& wasmer) {
    NamedValue cache{wasmer.value + "/cache", wasmer.origin};
    if (flags_.cache_dir) {
      cache = {*flags_.cache_dir, "--cache-dir"};
    } else if (auto given = from_environment(environment_, "WASMER_CACHE_DIR")) {
      cache = std::move(*given);
    }
    settings_.cache_dir = absolute(cache.value);
    row("cache-dir", settings_.cache_dir, cache.origin);
  }

  void read_registries() {
    std::vector<NamedValue> named;
    named.reserve(flags_.registries.size());
    for (const std::string& registry : flags_.registries) {
      named.push_back({registry, "--registry"});
    }
    if (named.empty()) {
      if (auto given = from_environment(environment_, "WASMER_REGISTRY")) {
        named.push_back(std::move(*given));
      } else if (config_.active_registry) {
        named.push_back({*config_.active_registry, config_path_});
      } else {
        named.push_back({std::string(kDefaultRegistry), kDefault});
      }
    }
    for (const NamedValue& registry : named) {
      if (is_directory_name(registry.value)) {
        settings_.directories.push_back(registry.value);
        row("registry", registry.value, registry.origin);
        continue;
      }
      try {
        RemoteRegistry remote{graphql_endpoint(registry.value), std::nullopt};
        row("registry", remote.endpoint, registry.origin);
        read_token(registry.value, remote);
        settings_.registries.push_back(std::move(remote));
      } catch (const Error& error) {
        refuse(registry.origin, error);
      }
    }
  }

  /// A token on the command line or in the environment is for the first registry only; no other one may see it.
  void read_token(const std::string& name, RemoteRegistry& remote) {
    std::string origin = config_path_;
    if (settings_.registries.empty() && flags_.token) {
      remote.token = flags_.token;
      origin = "--token";
    } else if (const auto given = from_environment(environment_, "WASMER_TOKEN");
               settings_.registries.empty() && given) {
      remote.token = given->value;
      origin = given->origin;
    } else {
      remote.token = config_.token_of(name, remote.endpoint);
    }
    row("token", remote.token ? "(set, not shown)" : "(none)", remote.token ? origin : kDefault);
  }

  void read_proxy() {
    if (config_.proxy && !config_.proxy->empty()) {
      settings_.proxy = config_.proxy;
      row("proxy", without_password(*config_.proxy), config_path_);
    } else {
      row("proxy", "(as http_proxy, https_proxy and no_proxy say)", kDefault);
    }
    if (auto given = from_environment(environment_, "SSL_CERT_FILE")) {
      settings_.ca_file = given->value;
      row("ca-file", given->value, given->origin);
    } else {
      row("ca-file", "(the system's)", kDefault);
    }
  }

  void read_webc_version() {
    const auto given = from_environment(environment_, "WASMER_WEBC_VERSION");
    if (given && given->value != "2" && given->value != "3") {
      throw Error(ErrorCode::kUsage, given->origin + ": unknown webc version: '" + given->value + "'");
    }
    if (given && given->value == "2") {
      settings_.prefer = graphql::Prefer::kV2;
    }
    row("webc-version", given ? given->value : "3", given ? given->origin : kDefault);
  }

  void read_switches() {
    const auto origin = [](bool set, const char* flag) { return set ? flag : kDefault; };
    settings_.offline = flags_.offline;
    row("offline", flags_.offline ? "yes" : "no", origin(flags_.offline, "--offline"));
    if (flags_.any_age) {
      settings_.query_time = std::chrono::hours(24 * 36500);
    }
    settings_.wait = !flags_.no_wait;
    row("wait", settings_.wait ? "yes" : "no", origin(flags_.no_wait, "--no-wait"));
    settings_.verify_downloads = flags_.verify_downloads.value_or(VerifyDownloads::kFail);
    constexpr std::array kVerifyNames{"fail", "warn", "off"};
    row("verify-downloads", kVerifyNames.at(static_cast<std::size_t>(settings_.verify_downloads)),
        origin(flags_.verify_downloads.has_value(), "--verify-downloads"));
    settings_.max_download = flags_.max_download.value_or(limits::kDownloadBytes);
    row("max-download", std::to_string(settings_.max_download),
        origin(flags_.max_download.has_value(), "--max-download"));
    settings_.timeout = std::chrono::seconds(flags_.timeout.value_or(kStallSeconds));
    row("timeout", std::to_string(settings_.timeout.count()), origin(flags_.timeout.has_value(), "--timeout"));
    if (flags_.deadline) {
      settings_.query_deadline = std::chrono::seconds(*flags_.deadline);
      settings_.download_deadline = settings_.query_deadline;
    }
    row("deadline", std::to_string(settings_.query_deadline.count()),
        origin(flags_.deadline.has_value(), "--deadline"));
    row("query-time", std::to_string(settings_.query_time.count()), kDefault);
  }

  const NetworkFlags& flags_;
  const Environment& environment_;
  std::string config_path_;
  WasmerConfig config_;
  Settings settings_;
};

}  // namespace

std::string home_directory(const Environment& environment) {
  if (const auto home = from_environment(environment, "HOME")) {
    return home->value;
  }
  std::array<char, 4096> buffer{};
  passwd account{};
  passwd* found = nullptr;
  if (::getpwuid_r(::getuid(), &account, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) {
    return account.pw_dir;
  }
  return "/";
}

Settings load_settings(const NetworkFlags& flags, const Environment& environment) {
  return Builder(flags, environment).build();
}

}  // namespace pkgfs
