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
#include "core/base/private_directory.h"
#include "core/cache/containers_by_hash.h"
#include "core/cache/containers_by_url.h"
#include "core/cache/lazy_files.h"
#include "core/cache/profile_files.h"
#include "core/lazy/access_profile.h"
#include "core/lazy/partial_containers.h"
#include "core/source/container_summary.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/json_output.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/settings.h"
#include "daemon/cli/text_output.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/packages/interrupt.h"

namespace pkgfs {
namespace {

using nlohmann::json;

std::int64_t unix_seconds(std::chrono::system_clock::time_point time) {
  return std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count();
}

/// A container that a mount has fetched in parts, and that isn't complete.
struct Partial {
  std::uint64_t whole_size = 0;
  bool is_in_use = false;
};

/// An entry of one of the two caches, or what lazy mounts recorded of a package.
struct Item {
  const char*
      kind;  // "package": the key is the hash of the content; "url": the hash of the URL; "profile": of a package
  std::string key;
  std::string path;
  std::uint64_t size = 0;  // of a partial entry, the bytes that are there
  std::chrono::system_clock::time_point used;
  std::function<bool()> remove;  // false if a process has begun to use it; throws Error
  std::optional<Partial> partial;
};

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

/// The two caches in the cache directory.
struct Caches {
  explicit Caches(const Settings& settings)
      : packages(settings.packages_directory()), urls(settings.urls_directory()) {}

  /// All complete entries, the longest unused first.
  std::vector<Item> items() {
    std::vector<Item> all;
    for (const ContainersByHash::Entry& entry : packages.entries()) {
      all.push_back({"package",
                     to_hex(entry.hash),
                     entry.path,
                     entry.size,
                     entry.used,
                     [this, entry] {
                       packages.remove(entry);
                       return true;
                     },
                     {}});
    }
    for (const ContainersByUrl::Entry& entry : urls.entries()) {
      all.push_back({"url",
                     entry.key,
                     entry.path,
                     entry.size,
                     entry.used,
                     [this, entry] {
                       urls.remove(entry.path);
                       return true;
                     },
                     {}});
    }
    std::ranges::stable_sort(all, {}, &Item::used);
    return all;
  }

  /// All partial entries, the longest unused first.
  [[nodiscard]] std::vector<Item> partial_items() const {
    std::vector<Item> all = partial_items("package", packages.temporary_directory());
    std::ranges::move(partial_items("url", urls.temporary_directory()), std::back_inserter(all));
    std::ranges::stable_sort(all, {}, &Item::used);
    return all;
  }

  /// What lazy mounts recorded of packages.
  [[nodiscard]] std::vector<Item> profile_items() const {
    std::vector<Item> all;
    for (const profile_files::File& file : profile_files::list(packages.directory())) {
      all.push_back({"profile",
                     to_hex(file.hash),
                     file.path,
                     file.size,
                     file.used,
                     [file] {
                       profile_files::remove(file);
                       return true;
                     },
                     {}});
    }
    return all;
  }

  ContainersByHash packages;
  ContainersByUrl urls;

 private:
  static std::vector<Item> partial_items(const char* kind, const std::string& directory) {
    std::vector<Item> all;
    for (const PartialContainer& partial : partial_containers(directory)) {
      const auto remove = [directory, key = partial.key] {
        const auto opened = PrivateDirectory::find(directory);
        return opened && lazy_files::remove(*opened, key).has_value();
      };
      all.push_back({kind, partial.key, partial.path, partial.bytes_present, partial.used, remove,
                     Partial{partial.size, partial.is_in_use}});
    }
    return all;
  }
};

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

json item_json(const Item& item) {
  json row{{"kind", item.kind}, {"sha256", item.key}, {"size", item.size}, {"path", item.path}};
  if (item.partial) {
    row["partial"] = {{"whole_size", item.partial->whole_size}, {"in_use", item.partial->is_in_use}};
  }
  return row;
}

bool is_profile(const Item& item) { return std::string_view(item.kind) == "profile"; }

/// What follows the size of an entry in a list: ` of 1.2 GB`, and marks in brackets.
std::string remarks(const Item& item) {
  std::string text;
  if (item.partial) {
    text = " of " + size_text(item.partial->whole_size);
  }
  if (std::string_view(item.kind) == "url") {
    text += "  (url)";
  } else if (is_profile(item)) {
    text += "  (profile)";
  }
  if (item.partial) {
    text += item.partial->is_in_use ? "  (partial, in use)" : "  (partial)";
  }
  return text;
}

int list(Caches& caches, const Options& options, const Io& io) {
  json document = json::array();
  std::uint64_t total = 0;
  std::vector<Item> items = caches.items();
  const std::size_t whole = items.size();
  std::ranges::move(caches.partial_items(), std::back_inserter(items));
  const std::size_t packages = items.size();
  std::ranges::move(caches.profile_items(), std::back_inserter(items));
  std::ranges::stable_sort(items, {}, &Item::used);
  for (const Item& item : items) {
    throw_if_cancelled();
    total += item.size;
    const bool has_name = !item.partial && !is_profile(item);
    const std::string name = has_name ? name_of(item.path) : item.path;
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
    if (const std::size_t profiles = items.size() - packages; profiles > 0) {
      writer << profiles << (profiles == 1 ? " profile, " : " profiles, ");
    }
    writer << size_text(total) << '\n';
  }
  return kExitOk;
}

/// What is wrong with a profile; empty if nothing is, if it is gone, or if it can't be read, as one of another user.
std::string damage_of(const Item& profile) {
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
  for (const Item& profile : caches.profile_items()) {
    std::string why;
    if (failures.attempt([&] { why = damage_of(profile); }) && !why.empty()) {
      found({{"path", profile.path}, {"problem", why}}, why, [&] { (void)profile.remove(); });
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

bool is_old(const Item& item, const Options& options) {
  return options.older_than && std::chrono::system_clock::now() - item.used >= *options.older_than;
}

/// The items that --older-than and --max-size select, or all. `items` is sorted, the longest unused first.
std::vector<Item> chosen(const std::vector<Item>& items, const Options& options) {
  std::uint64_t left = std::transform_reduce(items.begin(), items.end(), std::uint64_t{0}, std::plus<>(),
                                             [](const Item& item) { return item.size; });
  std::vector<Item> result;
  for (const Item& item : items) {
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
  std::vector<Item> items = chosen(caches.items(), options);
  // As the rest of interrupted downloads, they go whatever the options select.
  std::ranges::copy_if(caches.partial_items(), std::back_inserter(items),
                       [](const Item& item) { return !item.partial->is_in_use; });
  // Their removal frees next to nothing, and a package that goes for its size may be fetched again.
  std::ranges::copy_if(caches.profile_items(), std::back_inserter(items), [&](const Item& item) {
    return is_old(item, options) || (!options.older_than && !options.max_size);
  });
  for (const Item& item : items) {
    bool is_removed = options.dry_run;
    if (!is_removed && (!failures.attempt([&] { is_removed = item.remove(); }) || !is_removed)) {
      continue;
    }
    freed += item.size;
    if (options.json) {
      document.push_back(item_json(item));
    } else {
      const char* const mark = item.partial ? "  (partial)" : is_profile(item) ? "  (profile)" : "";
      TextWriter(*io.out) << (options.dry_run ? "would remove " : "removed ") << item.key << "  "
                          << size_text(item.size) << mark << '\n';
    }
  }
  // A running download writes all the time; one that has not written for this long was interrupted.
  constexpr auto kAbandoned = std::chrono::hours(1);
  freed += caches.packages.remove_leftovers(kAbandoned, options.dry_run);
  freed += caches.urls.remove_leftovers(kAbandoned, options.dry_run);
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
