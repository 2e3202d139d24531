// SPDX-License-Identifier: MIT
#include "daemon/mount/mount_settings.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

namespace pkgfs {
namespace {

/// There are more threads than CPUs, because some of them wait for a disk.
constexpr unsigned kMinThreads = 4;
constexpr unsigned kMaxThreads = 16;

}  // namespace

bool is_made_to_be_refreshed(const MountOptions& options) {
  return options.follow.has_value() || options.keep_old > 0 || !options.on_change.empty();
}

std::string refresh_obstacle(vfs::FileSystem& tree, bool follows_manifest) {
  constexpr vfs::Inode kStableRoot = 1;
  return follows_manifest ? "--follow-manifest takes over what changes in the package directory"
         : tree.changes() != nullptr
             ? "it shows a package directory, whose changes it shows already; --follow-manifest takes over those of "
               "wasmer.toml"
         : tree.root() != kStableRoot ? "the package has too many files"
                                      : "";
}

std::string mount_source(const OpenedTree& opened, const std::string& package) {
  if (opened.tree.id.named() != nullptr) {
    return opened.tree.id.to_string();
  }
  // The working directory, to which a relative path belongs, is not visible at the mount.
  std::error_code not_a_path;
  const std::filesystem::path path = std::filesystem::canonical(package, not_a_path);
  return not_a_path ? package : path.string();
}

fuse::CpuLatency::Use cpu_latency_use(std::optional<bool> asked) {
  using enum fuse::CpuLatency::Use;
  return !asked ? kAuto : *asked ? kOn : kOff;
}

fuse::AdapterOptions adapter_options(const MountOptions& options, std::function<fuse::Usage()> usage,
                                     fuse::ContentPrefetcher* prefetcher, fuse::CpuLatency& cpu_latency, bool is_kept,
                                     std::function<std::string()> stats) {
  return {.uid = options.uid.value_or(::geteuid()),
          .gid = options.gid.value_or(::getegid()),
          .file_mask = options.fmask,
          // The kernel answers others from its caches without asking: their permissions keep them out.
          .directory_mask = static_cast<std::uint16_t>(options.dmask | (options.allow_root ? 0077 : 0)),
          .live_timeout = options.live_timeout,
          .skip_open = options.skip_open,
          .without_handles = is_kept,
          .below_overlay = options.writable,
          .passthrough = options.passthrough,
          .prefetcher = prefetcher,
          .cpu_latency = &cpu_latency,
          .usage = std::move(usage),
          .stats = std::move(stats)};
}

std::vector<std::string> ids_of(const LoadedPackages& packages) {
  std::vector<std::string> ids;
  for (const auto& [id, package] : packages) {
    ids.push_back(id.to_string());
  }
  return ids;
}

MountFacts mount_facts(const PackageTree& tree, std::string source, const std::string& mountpoint) {
  MountFacts facts;
  facts.package = std::move(source);
  facts.packages = ids_of(tree.packages);
  facts.mountpoint = mountpoint;
  facts.pid = ::getpid();
  facts.since = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
  return facts;
}

fuse::MountSettings mount_settings(const MountOptions& options, const MountFacts& facts) {
  fuse::MountSettings settings{.mountpoint = facts.mountpoint,
                               .source = facts.package,
                               .allow_other = options.allow_other.value_or(::geteuid() == 0),
                               .auto_unmount = options.auto_unmount,
                               .debug = options.debug,
                               .io_uring = options.io_uring,
                               .nosymfollow = options.nosymfollow,
                               .security = options.security,
                               .extra = {}};
  if (options.noexec) {
    settings.extra.emplace_back("noexec");
  }
  if (options.allow_root) {
    settings.extra.emplace_back("allow_root");
  }
  return settings;
}

fuse::ServerOptions server_options(const MountOptions& options, const fuse::ContentPrefetcher* prefetcher) {
  const unsigned threads = std::clamp(2 * std::thread::hardware_concurrency(), kMinThreads, kMaxThreads);
  return {.threads = std::max(threads, options.threads + kMinThreads),
          .on_duty = options.threads,
          .poll = options.poll,
          .others_busy = prefetcher == nullptr ? nullptr : &prefetcher->is_busy()};
}

}  // namespace pkgfs
