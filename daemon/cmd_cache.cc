// SPDX-License-Identifier: MIT
#include <algorithm>
#include <functional>
#include <numeric>
#include <ostream>

#include <nlohmann/json.hpp>

#include "core/base/log.h"
#include "core/load/package_cache.h"
#include "core/source/container_summary.h"
#include "daemon/commands.h"
#include "daemon/exit_code.h"
#include "daemon/json_output.h"
#include "daemon/logging.h"
#include "daemon/settings.h"
#include "daemon/text_output.h"

namespace pkgfs {
namespace {

using nlohmann::json;
using Entry = PackageCache::Entry;

std::int64_t unix_seconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

/// What the entry calls itself; nothing for a package without a name and for one that can't be read.
std::string name_of(const Entry& entry) {
  try {
    const PackageSummary summary = container_summary(entry.path);
    return summary.pkg.id.named() == nullptr ? std::string() : summary.pkg.id.to_string();
  } catch (const Error& error) {
    log::debug("{}", error.what());
    return {};
  }
}

/// The longest unused first.
std::vector<Entry> by_use(const PackageCache& cache) {
  std::vector<Entry> entries = cache.entries();
  std::ranges::stable_sort(entries, {}, &Entry::used);
  return entries;
}

int list(const PackageCache& cache, const Options& options, const Io& io) {
  json document = json::array();
  std::uint64_t total = 0;
  const std::vector<Entry> entries = by_use(cache);
  for (const Entry& entry : entries) {
    total += entry.size;
    const std::string name = name_of(entry);
    if (options.json) {
      document.push_back({{"sha256", to_hex(entry.hash)},
                          {"package", name.empty() ? json() : json(name)},
                          {"size", entry.size},
                          {"used", unix_seconds(entry.used)},
                          {"path", entry.path}});
    } else {
      *io.out << to_hex(entry.hash) << "  " << time_text(unix_seconds(entry.used)) << "  " << size_text(entry.size)
              << (name.empty() ? "" : "  ") << printable(name) << '\n';
    }
  }
  if (options.json) {
    print_json(*io.out, document);
  } else {
    *io.out << entries.size() << (entries.size() == 1 ? " package, " : " packages, ") << size_text(total) << '\n';
  }
  return kExitOk;
}

int verify(PackageCache& cache, const Options& options, const Io& io) {
  std::size_t damaged = 0;
  json document = json::array();
  for (const Entry& entry : cache.entries()) {
    const auto actual = cache.content_hash(entry);
    if (!actual || *actual == entry.hash) {
      continue;
    }
    ++damaged;
    if (options.json) {
      document.push_back({{"path", entry.path}, {"expected", to_hex(entry.hash)}, {"actual", to_hex(*actual)}});
    } else {
      *io.out << (options.dry_run ? "damaged: " : "damaged, removed: ") << printable(entry.path)
              << ": its content has the hash " << to_hex(*actual) << '\n';
    }
    if (!options.dry_run) {
      cache.remove(entry);
    }
  }
  if (options.json) {
    print_json(*io.out, document);
  } else if (damaged == 0) {
    *io.out << "every entry is what its name says\n";
  }
  return damaged == 0 ? kExitOk : to_exit_code(ErrorCode::kCorrupt);
}

/// Which entries have to go, of `entries`, the longest unused first.
std::vector<Entry> chosen(const std::vector<Entry>& entries, const Options& options) {
  const auto now = std::chrono::system_clock::now();
  std::uint64_t left = std::transform_reduce(entries.begin(), entries.end(), std::uint64_t{0}, std::plus<>(),
                                             [](const Entry& entry) { return entry.size; });
  std::vector<Entry> result;
  for (const Entry& entry : entries) {
    const bool all = !options.older_than && !options.max_size;
    const bool is_old = options.older_than && now - entry.used >= *options.older_than;
    const bool is_too_much = options.max_size && left > *options.max_size;
    if (all || is_old || is_too_much) {
      left -= entry.size;
      result.push_back(entry);
    }
  }
  return result;
}

int prune(PackageCache& cache, const Options& options, const Io& io) {
  std::uint64_t freed = 0;
  json document = json::array();
  for (const Entry& entry : chosen(by_use(cache), options)) {
    freed += entry.size;
    if (options.json) {
      document.push_back({{"sha256", to_hex(entry.hash)}, {"size", entry.size}, {"path", entry.path}});
    } else {
      *io.out << (options.dry_run ? "would remove " : "removed ") << to_hex(entry.hash) << "  " << size_text(entry.size)
              << '\n';
    }
    if (!options.dry_run) {
      cache.remove(entry);
    }
  }
  // A download that is going on writes all the time.
  constexpr auto kAbandoned = std::chrono::hours(1);
  freed += cache.remove_leftovers(kAbandoned, options.dry_run);
  if (options.json) {
    print_json(*io.out, document);
  } else {
    *io.out << size_text(freed) << (options.dry_run ? " would be freed\n" : " freed\n");
  }
  return kExitOk;
}

}  // namespace

int cmd_cache(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kCache, args, 1, 1);
  set_log_level(options.log);
  PackageCache cache(load_settings(options.tree.network, io.environment).cache_dir + "/checkouts");
  const std::string& what = options.operands[0];
  const bool prunes = what == "prune";
  if (!prunes && (options.older_than || options.max_size)) {
    throw Error(ErrorCode::kUsage, "--older-than and --max-size are for \"pkgfs cache prune\"");
  }
  if (what == "list") {
    return list(cache, options, io);
  }
  if (what == "verify") {
    return verify(cache, options, io);
  }
  if (prunes) {
    return prune(cache, options, io);
  }
  if (what == "path") {
    *io.out << cache.directory() << '\n';
    return kExitOk;
  }
  throw Error(ErrorCode::kUsage, "\"pkgfs cache\" knows list, verify, prune and path, not \"" + what + "\"");
}

}  // namespace pkgfs
