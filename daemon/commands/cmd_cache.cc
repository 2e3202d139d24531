// SPDX-License-Identifier: MIT
#include <algorithm>
#include <functional>
#include <iterator>
#include <numeric>
#include <optional>
#include <ostream>

#include <nlohmann/json.hpp>

#include "core/base/cancel.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/lazy/access_profile.h"
#include "core/source/container_summary.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/settings.h"
#include "daemon/cli/text_output.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/cache_items.h"
#include "daemon/commands/commands.h"
#include "daemon/packages/artifact_files.h"
#include "daemon/packages/interrupt.h"

namespace pkgfs {
namespace {

using nlohmann::json;

std::int64_t unix_seconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

/// The id of the package; empty for a package without a name and for one that can't be read.
std::string name_of(const std::string& path) {
  try {
    const PackageSummary summary = container_summary(path);
    return summary.pkg.id.named() == nullptr ? std::string() : summary.pkg.id.to_string();
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    log::debug("{}", error);
    return {};
  }
}

/// Remembers the first of several failures, so that the command can go on and fail at its end.
class Failures {
 public:
  /// Runs `work`; false if it threw Error. Throws Error(kInterrupted).
  bool attempt(const std::function<void()>& work) {
    throw_if_cancelled();
    try {
      work();
      return true;
    } catch (const Error& error) {
      if (error.is_of_run()) {
        throw;
      }
      if (count_++ == 0) {
        first_ = error;
      }
      return false;
    }
  }

  void throw_first() {
    if (count_ > 1) {
      first_->context(std::to_string(count_) + " entries failed; the first one");
    }
    if (first_) {
      throw Error(*first_);
    }
  }

 private:
  std::optional<Error> first_;
  std::size_t count_ = 0;
};

json item_json(const CacheItem& item) {
  json row{{"kind", item.kind}, {"sha256", item.key}, {"size", item.size}, {"path", item.path}};
  if (item.partial) {
    row["partial"] = {{"whole_size", item.partial->whole_size}, {"in_use", item.partial->is_in_use}};
  }
  return row;
}

/// The mark of an entry that isn't a package, such as `  (image)`.
std::string kind_mark(const CacheItem& item) { return item.is("package") ? "" : std::string("  (") + item.kind + ")"; }

/// What follows the size of an entry in a list: ` of 1.2 GB`, and marks in brackets.
std::string remarks(const CacheItem& item) {
  std::string text;
  if (item.partial) {
    text = " of " + size_text(item.partial->whole_size);
  }
  text += kind_mark(item);
  if (item.partial) {
    text += item.partial->is_in_use ? "  (partial, in use)" : "  (partial)";
  }
  return text;
}

int list(Caches& caches, const Options& options, const Io& io) {
  json document = json::array();
  std::uint64_t total = 0;
  std::vector<CacheItem> items = caches.items();
  const std::size_t whole = items.size();
  std::ranges::move(caches.partial_items(), std::back_inserter(items));
  const std::size_t packages = items.size();
  std::ranges::move(caches.profile_items(), std::back_inserter(items));
  const std::size_t records = items.size();
  std::ranges::move(caches.image_items(), std::back_inserter(items));
  const std::size_t images = items.size() - records;
  std::ranges::move(caches.artifact_items(), std::back_inserter(items));
  const std::size_t artifacts = items.size() - records - images;
  std::ranges::stable_sort(items, {}, &CacheItem::used);
  for (const CacheItem& item : items) {
    throw_if_cancelled();
    total += item.size;
    const bool has_name = !item.partial && !item.is("profile") && !item.is("artifact");
    const std::string name = item.is("image") ? item.label : has_name ? name_of(item.path) : item.path;
    if (options.json) {
      json row = item_json(item);
      row["package"] = name.empty() || !has_name ? json() : json(name);
      row["used"] = unix_seconds(item.used);
      document.push_back(std::move(row));
    } else {
      TextWriter(*io.out) << item.key << "  " << time_text(unix_seconds(item.used)) << "  " << size_text(item.size)
                          << remarks(item) << (name.empty() ? "" : "  ") << name << '\n';
    }
  }
  if (options.json) {
    print_json(*io.out, document);
  } else {
    TextWriter writer(*io.out);
    writer << whole << (whole == 1 ? " package, " : " packages, ");
    if (packages > whole) {
      writer << packages - whole << " partial, ";
    }
    if (const std::size_t profiles = records - packages; profiles > 0) {
      writer << profiles << (profiles == 1 ? " profile, " : " profiles, ");
    }
    if (images > 0) {
      writer << images << (images == 1 ? " image, " : " images, ");
    }
    if (artifacts > 0) {
      writer << artifacts << (artifacts == 1 ? " file of artifacts, " : " files of artifacts, ");
    }
    writer << size_text(total) << '\n';
  }
  return kExitOk;
}

/// What is wrong with a profile; empty if nothing is, if it is gone, or if it can't be read, as one of another user.
std::string damage_of(const CacheItem& profile) {
  try {
    (void)AccessProfile::parse(read_own_file(profile.path, AccessProfile::kMostText).value_or(AccessProfile().text()));
    return {};
  } catch (const Error& error) {
    if (error.is_of_run()) {
      throw;
    }
    return error.code() == ErrorCode::kCorrupt ? error.message() : std::string();
  }
}

int verify(Caches& caches, const Options& options, const Io& io) {
  std::size_t damaged = 0;
  Failures failures;
  json document = json::array();
  const auto found = [&](json row, const std::string& why, const std::function<void()>& remove) {
    ++damaged;
    const bool removed = !options.dry_run && failures.attempt(remove);
    if (!options.json) {
      TextWriter(*io.out) << (removed ? "damaged, removed: " : "damaged: ") << row["path"].get<std::string>() << ": "
                          << why << '\n';
    }
    row["removed"] = removed;
    document.push_back(std::move(row));
  };
  for (const ContainersByHash::Entry& entry : caches.packages.entries()) {
    std::optional<Sha256> actual;
    if (failures.attempt([&] { actual = caches.packages.content_hash(entry); }) && actual && *actual != entry.hash) {
      found({{"path", entry.path}, {"expected", to_hex(entry.hash)}, {"actual", to_hex(*actual)}},
            "its content has the hash " + to_hex(*actual), [&] { caches.packages.remove(entry); });
    }
  }
  for (const CachedImage& image : caches.images.entries()) {
    std::optional<Sha256> actual;
    if (failures.attempt([&] { actual = ImageCache::content_hash(image); }) && actual && *actual != image.hash) {
      found({{"path", image.path}, {"expected", to_hex(image.hash)}, {"actual", to_hex(*actual)}},
            "its content has the hash " + to_hex(*actual), [&] { ImageCache::remove(image); });
    }
  }
  for (const CacheItem& profile : caches.profile_items()) {
    std::string why;
    if (failures.attempt([&] { why = damage_of(profile); }) && !why.empty()) {
      found({{"path", profile.path}, {"problem", why}}, why, [&] { (void)profile.remove(); });
    }
  }
  for (const artifact_files::File& file : artifact_files::list(caches.artifacts)) {
    std::string why;
    if (failures.attempt([&] { why = artifact_files::damage_of(file); }) && !why.empty()) {
      found({{"path", file.path()}, {"problem", why}}, why, [&] { artifact_files::remove(file); });
    }
  }
  if (options.json) {
    print_json(*io.out, document);
  }
  failures.throw_first();
  if (!options.json && damaged == 0) {
    TextWriter(*io.out) << "every entry has the hash in its name\n";
  }
  return damaged == 0 ? kExitOk : to_exit_code(ErrorCode::kCorrupt);
}

bool is_old(const CacheItem& item, const Options& options) {
  return options.older_than && std::chrono::system_clock::now() - item.used >= *options.older_than;
}

/// The items that --older-than and --max-size select, or all. `items` is sorted, the longest unused first.
std::vector<CacheItem> chosen(const std::vector<CacheItem>& items, const Options& options) {
  std::uint64_t left = std::transform_reduce(items.begin(), items.end(), std::uint64_t{0}, std::plus<>(),
                                             [](const CacheItem& item) { return item.size; });
  std::vector<CacheItem> result;
  for (const CacheItem& item : items) {
    const bool all = !options.older_than && !options.max_size;
    const bool is_too_much = options.max_size && left > *options.max_size;
    if (all || is_old(item, options) || is_too_much) {
      left -= item.size;
      result.push_back(item);
    }
  }
  return result;
}

int prune(Caches& caches, const Options& options, const Io& io) {
  std::uint64_t freed = 0;
  Failures failures;
  json document = json::array();
  std::vector<CacheItem> all = caches.items();
  std::ranges::move(caches.image_items(), std::back_inserter(all));
  std::ranges::stable_sort(all, {}, &CacheItem::used);
  std::vector<CacheItem> items = chosen(all, options);
  // As the rest of interrupted downloads, they go whatever the options select.
  std::ranges::copy_if(caches.partial_items(), std::back_inserter(items),
                       [](const CacheItem& item) { return !item.partial->is_in_use; });
  // Their removal frees next to nothing, and a package that goes for its size may be fetched again.
  const auto is_small_and_chosen = [&](const CacheItem& item) {
    return is_old(item, options) || (!options.older_than && !options.max_size);
  };
  std::ranges::copy_if(caches.profile_items(), std::back_inserter(items), is_small_and_chosen);
  std::ranges::copy_if(caches.artifact_items(), std::back_inserter(items), is_small_and_chosen);
  for (const CacheItem& item : items) {
    bool is_removed = options.dry_run;
    if (!is_removed && (!failures.attempt([&] { is_removed = item.remove(); }) || !is_removed)) {
      continue;
    }
    freed += item.size;
    if (options.json) {
      document.push_back(item_json(item));
    } else {
      // A download from a URL has none here.
      const std::string mark = item.partial ? "  (partial)" : item.is("url") ? "" : kind_mark(item);
      TextWriter(*io.out) << (options.dry_run ? "would remove " : "removed ") << item.key << "  "
                          << size_text(item.size) << mark << '\n';
    }
  }
  // A running download writes all the time; one that has not written for this long was interrupted.
  constexpr auto kAbandoned = std::chrono::hours(1);
  freed += caches.packages.remove_leftovers(kAbandoned, options.dry_run);
  freed += caches.urls.remove_leftovers(kAbandoned, options.dry_run);
  freed += artifact_files::remove_leftovers(caches.artifacts, kAbandoned, options.dry_run);
  if (options.json) {
    print_json(*io.out, document);
  } else {
    TextWriter(*io.out) << size_text(freed) << (options.dry_run ? " would be freed\n" : " freed\n");
  }
  failures.throw_first();
  return kExitOk;
}

}  // namespace

int cmd_cache(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kCache, args, 1, 1);
  set_log_level(options.log);
  CancelFlag interrupt;
  const InterruptGuard guard(interrupt);
  Caches caches(load_settings(options.tree.network, io.environment));
  const std::string& what = options.operands[0];
  const bool prunes = what == "prune";
  if (!prunes && (options.older_than || options.max_size)) {
    throw Error(ErrorCode::kUsage, "--older-than and --max-size are for \"pkgfs cache prune\"");
  }
  if (what == "list") {
    return list(caches, options, io);
  }
  if (what == "verify") {
    return verify(caches, options, io);
  }
  if (prunes) {
    return prune(caches, options, io);
  }
  if (what == "path") {
    TextWriter(*io.out) << caches.packages.directory() << '\n';
    return kExitOk;
  }
  throw Error(ErrorCode::kUsage, "\"pkgfs cache\" doesn't have \"" + what + "\": use list, verify, prune or path");
}

}  // namespace pkgfs
