// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <mutex>
#include <system_error>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/base/cancel.h"
#include "core/base/unique_fd.h"
#include "core/cache/containers_by_hash.h"
#include "core/net/http_client.h"
#include "daemon/cli/settings.h"
#include "daemon/cli/text_output.h"
#include "daemon/doctor/doctor.h"

namespace pkgfs::doctor {
namespace {

namespace stdfs = std::filesystem;

constexpr std::uint64_t kMebibyte = 1U << 20U;
constexpr std::uint64_t kFull = 16 * kMebibyte;
constexpr std::uint64_t kShort = 1024 * kMebibyte;
/// Younger ones may be going on.
constexpr std::chrono::hours kLeftoverAge{1};
constexpr auto kServerLimit = std::chrono::seconds(5);
constexpr long kMostSkew = 300;  // seconds

/// Why nothing can be written into `directory`; 0: it can.
int write_error(const std::string& directory) {
  const UniqueFd file(::open(directory.c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, S_IRUSR | S_IWUSR));
  if (file) {
    return 0;
  }
  const int error = errno;
  if (error != EOPNOTSUPP && error != EISDIR) {
    return error;
  }
  return ::faccessat(AT_FDCWD, directory.c_str(), W_OK | X_OK, AT_EACCESS) == 0 ? 0 : errno;
}

/// `path`, or the nearest above it that is there.
std::string nearest(const std::string& path) {
  stdfs::path place = path;
  std::error_code error;
  while (!stdfs::exists(place, error) && place.has_relative_path()) {
    place = place.parent_path();
  }
  return place;
}

void check_space(Findings& findings, const std::string& place) {
  struct statvfs status{};
  if (::statvfs(place.c_str(), &status) != 0) {
    return;
  }
  const std::uint64_t free = status.f_bavail * status.f_frsize;
  const std::string said = size_text(free) + " are free";
  if (free < kShort) {
    findings.push_back({"space", free < kFull ? Level::kProblem : Level::kWarning,
                        "only " + said + " at " + printable(place),
                        "pkgfs cache prune --older-than 30d, or --cache-dir elsewhere"});
  } else {
    findings.push_back({"space", Level::kOk, said, ""});
  }
}

void check_leftovers(Findings& findings, const std::string& cache_dir) {
  try {
    const std::uint64_t bytes = ContainersByHash(cache_dir + "/checkouts").remove_leftovers(kLeftoverAge, true);
    if (bytes > 0) {
      findings.push_back({"downloads", Level::kWarning, size_text(bytes) + " of downloads that were broken off",
                          "the next download goes on from them; \"pkgfs cache prune --older-than 30d\" removes them"});
    } else {
      findings.push_back({"downloads", Level::kOk, "none was broken off", ""});
    }
  } catch (const Error& error) {
    findings.push_back({"downloads", Level::kWarning, printable(error.message()), "look at its permissions"});
  }
}

/// Sets a flag after a while, unless it ends before.
class Deadline {
 public:
  Deadline(CancelFlag& flag, std::chrono::milliseconds limit)
      : thread_([this, &flag, limit] {
          std::unique_lock lock(mutex_);
          if (!ended_.wait_for(lock, limit, [this] { return over_; })) {
            flag.cancel();
          }
        }) {}
  ~Deadline() {
    {
      const std::lock_guard lock(mutex_);
      over_ = true;
    }
    ended_.notify_one();
    thread_.join();
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable ended_;
  bool over_ = false;
  std::thread thread_;
};

/// The difference of our clock to what the server says it is; nothing if it says nothing.
std::optional<long> skew_of(const HttpResponse& response) {
  const std::string* const date = response.header("date");
  std::tm parts{};
  if (date == nullptr || ::strptime(date->c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts) == nullptr) {
    return std::nullopt;
  }
  return std::time(nullptr) - ::timegm(&parts);
}

Finding judge(const std::string& endpoint, const RemoteRegistry& registry, const HttpResponse& response,
              double seconds) {
  constexpr int kOk = 200;
  constexpr int kUnauthorized = 401;
  constexpr int kForbidden = 403;
  Finding found{.check = "registry",
                .level = Level::kProblem,
                .said = endpoint + " answers " + response.status_text(),
                .advice = {}};
  if (response.status == kUnauthorized || response.status == kForbidden) {
    found.advice = registry.token ? "the token isn't accepted: log in again (wasmer login)"
                                  : "it wants a token: wasmer login, or WASMER_TOKEN";
  } else if (response.status != kOk) {
    found.advice = "try later; what is in the cache can be used with --offline";
  } else if (!nlohmann::json::accept(response.body)) {
    found.said = endpoint + " answers, but not as a registry does";
    found.advice = "look at --registry, WASMER_REGISTRY and the proxy";
  } else {
    found.level = Level::kOk;
    found.said =
        fmt::format("{} answers in {:.0f} ms{}", endpoint, 1000 * seconds, registry.token ? ", with a token" : "");
  }
  return found;
}

void check_registry(Findings& findings, const Settings& settings, const RemoteRegistry& registry) {
  const std::string endpoint = printable(registry.endpoint);
  const auto limit = std::min<std::chrono::seconds>(kServerLimit, settings.timeout);
  const auto begin = std::chrono::steady_clock::now();
  try {
    HttpClient client({.user_agent = "pkgfs/" PKGFS_VERSION,
                       .proxy = settings.proxy,
                       .ca_file = settings.ca_file,
                       .connect_timeout = limit,
                       .stall_timeout = limit,
                       .retry = {}});
    HttpRequest request{.method = HttpRequest::Method::kPost,
                        .url = Url::parse(registry.endpoint),
                        .headers = {{"Content-Type", "application/json"}, {"Accept", "application/json"}},
                        .body = R"({"query":"{ __typename }"})",
                        .bearer = registry.token,
                        .max_bytes = kMebibyte};
    CancelFlag cancel;
    const Deadline deadline(cancel, limit);
    const HttpResponse response = client.fetch_once(request, cancel);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    findings.push_back(judge(endpoint, registry, response, took.count()));
    if (const std::optional<long> skew = skew_of(response); skew && std::abs(*skew) > kMostSkew) {
      findings.push_back(
          {"clock", Level::kWarning,
           fmt::format("it is {} s {} that of {}", std::abs(*skew), *skew > 0 ? "before" : "behind", endpoint),
           "set it: timedatectl set-ntp true; certificates and cached answers depend on it"});
    }
  } catch (const Error& error) {
    const bool late = error.code() == ErrorCode::kInterrupted;
    const std::string why =
        late ? fmt::format("no answer within {} s", limit.count()) : printable(error.chain().back());
    findings.push_back({"registry", Level::kProblem, fmt::format("{} can't be reached: {}", endpoint, why),
                        "look at the network and the proxy; what is in the cache can be used with --offline"});
  }
}

void check_directory(Findings& findings, const std::string& directory) {
  std::error_code error;
  const stdfs::directory_iterator entries(directory, error);
  if (error) {
    findings.push_back({"registry", Level::kProblem, fmt::format("{}: {}", printable(directory), error.message()),
                        "look at --registry and WASMER_REGISTRY"});
  } else {
    findings.push_back({"registry", Level::kOk, printable(directory) + " can be read", ""});
  }
}

}  // namespace

void check_cache(Findings& findings, const std::string& cache_dir) {
  const std::string place = nearest(cache_dir);
  const std::string name = printable(cache_dir);
  struct stat status{};
  const int error = write_error(place);
  if (error != 0) {
    findings.push_back(
        {"cache", Level::kProblem, fmt::format("{} can't be written: {}", name, std::generic_category().message(error)),
         error == EROFS ? "--cache-dir (or WASMER_CACHE_DIR) on a file system that can be written"
                        : fmt::format("as root: chown -R {} {}; or --cache-dir elsewhere", ::geteuid(), name)});
  } else if (place != cache_dir) {
    findings.push_back({"cache", Level::kOk, name + " isn't there yet; it will be made", ""});
  } else if (::stat(cache_dir.c_str(), &status) == 0 && status.st_uid != ::geteuid()) {
    findings.push_back(
        {"cache", Level::kWarning,
         fmt::format("{} belongs to user {}, and you are {}: what you download there may be no use to others", name,
                     status.st_uid, ::geteuid()),
         "set WASMER_CACHE_DIR, or HOME, to your own"});
  } else {
    findings.push_back({"cache", Level::kOk, name + " can be written", ""});
  }
  check_space(findings, place);
  check_leftovers(findings, cache_dir);
}

void check_packages(Findings& findings, const NetworkFlags& flags, const Environment& environment) {
  std::optional<Settings> settings;
  try {
    settings = load_settings(flags, environment);
  } catch (const Error& error) {
    findings.push_back(
        {"settings", Level::kProblem, printable(error.message()), "\"pkgfs config\" shows what is set where"});
    return;
  }
  const std::size_t registries = settings->directories.size() + settings->registries.size();
  findings.push_back({"settings", Level::kOk,
                      fmt::format("{} {}, cache {}", registries, registries == 1 ? "registry" : "registries",
                                  printable(settings->cache_dir)),
                      ""});
  check_cache(findings, settings->cache_dir);
  for (const std::string& directory : settings->directories) {
    check_directory(findings, directory);
  }
  for (const RemoteRegistry& registry : settings->registries) {
    if (settings->offline) {
      findings.push_back({"registry", Level::kOk, printable(registry.endpoint) + " wasn't asked (--offline)", ""});
    } else {
      check_registry(findings, *settings, registry);
    }
  }
}

}  // namespace pkgfs::doctor
