// SPDX-License-Identifier: MIT
#include "daemon/doctor/check_packages.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <optional>
#include <system_error>
#include <thread>

#include <nlohmann/json.hpp>

#include "core/base/cancel.h"
#include "core/base/thread_annotations.h"
#include "core/net/http_client.h"
#include "daemon/cli/settings.h"
#include "daemon/cli/text_output.h"
#include "daemon/doctor/check_cache.h"

namespace pkgfs::doctor {
namespace {

namespace stdfs = std::filesystem;

constexpr std::size_t kMostAnswer = std::size_t{1} << 20U;
constexpr auto kServerLimit = std::chrono::seconds(5);
constexpr long kMostSkew = 300;  // seconds

/// Sets a flag after `limit`, unless it is destroyed before.
class Deadline {
 public:
  Deadline(CancelFlag& flag, std::chrono::milliseconds limit)
      : thread_([this, &flag, limit] {
          MutexLock lock(mutex_);
          if (!lock.wait_for(ended_, limit, [this]() PKGFS_REQUIRES(mutex_) { return over_; })) {
            flag.cancel();
          }
        }) {}
  ~Deadline() {
    {
      const MutexLock lock(mutex_);
      over_ = true;
    }
    ended_.notify_one();
    thread_.join();
  }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  Mutex mutex_;
  std::condition_variable ended_;
  bool over_ PKGFS_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

/// How far this machine's clock is ahead of the server's, in seconds; nothing if the server does not tell the time.
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
    found.advice = registry.token ? "the registry does not accept the token: log in again (wasmer login)"
                                  : "the registry wants a token: wasmer login, or WASMER_TOKEN";
  } else if (response.status != kOk) {
    found.advice = "try again later; --offline uses what is in the cache";
  } else if (!nlohmann::json::accept(response.body)) {
    found.said = endpoint + " answers, but not as a registry does";
    found.advice = "check --registry, WASMER_REGISTRY and the proxy";
  } else {
    found.level = Level::kOk;
    found.said =
        fmt::format("{} answers in {:.0f} ms{}", endpoint, 1000 * seconds, registry.token ? ", with a token" : "");
  }
  return found;
}

void check_registry(Findings& findings, const Settings& settings, const RemoteRegistry& registry,
                    const CancelFlag& interrupt) {
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
                        .max_bytes = kMostAnswer};
    CancelFlag cancel(&interrupt);
    const Deadline deadline(cancel, limit);
    const HttpResponse response = client.fetch_once(request, cancel);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    findings.push_back(judge(endpoint, registry, response, took.count()));
    if (const std::optional<long> skew = skew_of(response); skew && std::abs(*skew) > kMostSkew) {
      findings.push_back({"clock", Level::kWarning,
                          fmt::format("this clock is {} s {} that of {}", std::abs(*skew),
                                      *skew > 0 ? "ahead of" : "behind", endpoint),
                          "set the clock: timedatectl set-ntp true; certificates and cached answers depend on it"});
    }
  } catch (...) {
    if (interrupt.is_cancelled()) {
      throw;
    }
    const Error error = current_error();
    if (error.is_of_machine()) {
      findings.push_back({"registry", Level::kProblem,
                          fmt::format("{} can't be asked: {}", endpoint, printable(error.chain().back())),
                          kRaiseLimit});
      return;
    }
    const bool late = error.code() == ErrorCode::kInterrupted;
    const std::string why =
        late ? fmt::format("no answer within {} s", limit.count()) : printable(error.chain().back());
    findings.push_back({"registry", Level::kProblem, fmt::format("{} can't be reached: {}", endpoint, why),
                        "check the network and the proxy; --offline uses what is in the cache"});
  }
}

void check_directory(Findings& findings, const std::string& directory) {
  std::error_code error;
  const stdfs::directory_iterator entries(directory, error);
  if (error) {
    findings.push_back({"registry", Level::kProblem, fmt::format("{}: {}", printable(directory), error.message()),
                        "check --registry and WASMER_REGISTRY"});
  } else {
    findings.push_back({"registry", Level::kOk, printable(directory) + " can be read", ""});
  }
}

}  // namespace

void check_packages(Findings& findings, const NetworkFlags& flags, const Environment& environment,
                    const CancelFlag& interrupt) {
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
    throw_if_cancelled();
    check_directory(findings, directory);
  }
  for (const RemoteRegistry& registry : settings->registries) {
    if (settings->offline) {
      findings.push_back({"registry", Level::kOk, printable(registry.endpoint) + " wasn't asked (--offline)", ""});
    } else {
      check_registry(findings, *settings, registry, interrupt);
    }
  }
}

}  // namespace pkgfs::doctor
