// SPDX-License-Identifier: MIT
// How PackageOpener uses the network: the HTTP client, downloads, and packages that are read over the network.
#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "core/base/log.h"
#include "core/cache/container_fetcher.h"
#include "core/cache/containers_by_hash.h"
#include "core/cache/containers_by_url.h"
#include "core/cache/eviction.h"
#include "core/lazy/lazy_opener.h"
#include "core/net/address_policy.h"
#include "core/net/http_client.h"
#include "core/net/url.h"
#include "core/source/backend_source.h"
#include "core/source/reach.h"
#include "daemon/cli/progress.h"
#include "daemon/packages/open_tree.h"

namespace pkgfs {
namespace {

/// The URL at which a registry has the container with this hash. Nothing if none has it. Throws Error(kInterrupted).
std::optional<Url> url_of(const Sha256& hash, const Settings& settings, HttpClient& client, const CancelFlag& cancel) {
  for (const RemoteRegistry& registry : settings.registries) {
    BackendSource source(
        {.endpoint = registry.endpoint, .token = registry.token, .prefer = settings.prefer, .offline = false}, &client,
        RegistryAnswerCache(settings.queries_directory()), cancel);
    try {
      return Url::parse(source.query(PackageSpecifier(PackageHash(hash))).front().dist.url);
    } catch (const Error& error) {
      if (error.is_of_run()) {
        throw;
      }
      log::debug("{}: {}", registry.endpoint, error);
    }
  }
  return std::nullopt;
}

std::vector<RegistryToken> tokens_of(const Settings& settings) {
  std::vector<RegistryToken> tokens;
  for (const RemoteRegistry& registry : settings.registries) {
    if (registry.token) {
      tokens.push_back({registry.endpoint, *registry.token});
    }
  }
  return tokens;
}

}  // namespace

HttpClient::Options PackageOpener::http_options() const {
  HttpClient::Options http;
  http.user_agent = "pkgfs/" PKGFS_VERSION;
  http.proxy = settings_.proxy;
  http.ca_file = settings_.ca_file;
  http.connect_timeout = std::min<std::chrono::milliseconds>(http.connect_timeout, settings_.timeout);
  http.stall_timeout = settings_.timeout;
  http.query_deadline = settings_.query_deadline;
  http.download_deadline = settings_.download_deadline;
  http.addresses = addresses_.get();
  http.authorizer = authorizer_.get();
  if (!settings_.wait) {
    http.retry.server_wait = {};
  }
  return http;
}

/// Lets containers be fetched while they are used, unless an option needs all of a container first. Or lets those be
/// completed that a lazy mount has begun; `observer` is told of these.
void PackageOpener::set_up_lazy(const TreeFlags& flags, DownloadObserver* observer) {
  // Also of the flags: `inspect` opens packages without these checks.
  const OpenOptions asked = open_options(flags);
  const bool reads_all = options_.verify != Verify::kNone || options_.detect_executables || options_.strict ||
                         asked.verify != Verify::kNone || asked.detect_executables || asked.strict;
  const bool is_lazy = flags.lazy != Lazy::kOff && !reads_all;
  if (client_ == nullptr || (!is_lazy && !flags.complete_begun) ||
      settings_.verify_downloads != VerifyDownloads::kFail) {
    return;
  }
  LazyOpener::Options lazy{.lazy = is_lazy ? flags.lazy : Lazy::kOff,
                           .packages_directory = settings_.packages_directory(),
                           .urls_directory = settings_.urls_directory(),
                           .tokens = tokens_of(settings_),
                           .max_bytes = settings_.max_download,
                           .background_rate = flags.background_rate,
                           .must_ask = must_ask_,
                           .renew = {},
                           .fetcher = {}};
  lazy.renew = [settings = settings_, authorizer = authorizer_](const Sha256& hash, HttpClient& client,
                                                                const CancelFlag& cancel) {
    // A package of an artifact comes from there only.
    return authorizer->is_empty() ? url_of(hash, settings, client, cancel) : std::nullopt;
  };
  lazy.fetcher.patience = settings_.timeout;
  if (flags.cache_limit) {
    lazy.fetcher.free_room = [by_hash = settings_.packages_directory(), by_url = settings_.urls_directory(),
                              limit = *flags.cache_limit] {
      ContainersByHash packages(by_hash);
      ContainersByUrl urls(by_url);
      return evict(packages, urls, limit) > 0;
    };
  }
  // The addresses and the logins are shared, since the sources outlive this object.
  lazy.fetcher.make_client = [http = http_options(), addresses = addresses_, authorizer = authorizer_] {
    return std::make_shared<HttpClient>(http);
  };
  lazy_ = std::make_unique<LazyOpener>(std::move(lazy));
  if (flags.complete_begun) {
    loader_->set_completing(*lazy_, client_, observer);
  } else {
    loader_->set_lazy(*lazy_, client_, observer);
  }
}

void PackageOpener::use_repository(const oci::Reference& reference, bool may_push) {
  authorizer_->add(reference, may_push);
  addresses_->name(reference.api_url("https"));
  addresses_->name(reference.api_url("http"));  // of use only for this machine
}

void PackageOpener::use_urls_of(const DependencyGraph& graph, std::size_t root) {
  const auto url_of_node = [&](std::size_t i) -> const std::string* {
    const auto& dist = graph.nodes[i].dist;
    return dist && !dist->path && !dist->registry ? &dist->url : nullptr;
  };
  if (const std::string* const url = url_of_node(root)) {
    addresses_->name(*url);
  }
  for (const DependencyGraph::Node& node : graph.nodes) {
    for (const DependencyGraph::Edge& edge : node.edges) {
      if (const std::string* const url = url_of_node(edge.target); url != nullptr && node.dist) {
        (void)reach_->refusal(*node.dist, PackageSpecifier::parse(*url));  // it was accepted when the mount was made
      }
    }
  }
}

std::shared_ptr<const Package> PackageOpener::reopen(const DistributionInfo& dist) {
  return loader_->reopen_in_parts(Url::parse(dist.url), dist.version, cancel_);
}

std::unique_ptr<oci::Repository> PackageOpener::repository(const oci::Reference& reference) {
  return client_ == nullptr ? nullptr : std::make_unique<oci::Repository>(reference, *client_, cancel_);
}

void PackageOpener::set_up_network(DownloadObserver* observer, const Io& io) {
  if (observer == nullptr && log::enabled(log::Level::kWarn)) {  // --quiet shows no progress
    progress_ = std::make_unique<ProgressPrinter>(*io.err, io.err_is_terminal);
    observer = progress_.get();
  }
  if (!settings_.offline) {
    client_ = std::make_shared<HttpClient>(http_options());
  }
  ContainerFetcher::Options fetching{.packages_directory = settings_.packages_directory(),
                                     .urls_directory = settings_.urls_directory(),
                                     .client = client_.get(),
                                     .tokens = tokens_of(settings_),
                                     .verify = settings_.verify_downloads,
                                     .max_bytes = settings_.max_download,
                                     .observer = observer,
                                     .must_ask = must_ask_};
  fetcher_ = std::make_unique<ContainerFetcher>(std::move(fetching));
  loader_ = std::make_unique<PackageLoader>(options_, *fetcher_, cancel_,
                                            [this](const DistributionInfo& dist) { return reach_->trusts(dist); });
}

}  // namespace pkgfs
