// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/cache/download_observer.h"
#include "core/vfs/served_names.h"
#include "daemon/cli/io.h"
#include "daemon/cli/options.h"
#include "daemon/cli/settings.h"
#include "daemon/packages/running_opener.h"
#include "daemon/serve/held_package.h"
#include "daemon/serve/memory_shares.h"
#include "daemon/serve/name_syntax.h"
#include "daemon/serve/worker_pool.h"

namespace pkgfs {

/// The packages of all registries, of the cache and of lock files as names of a served directory (docs/SERVE.md).
///
/// A search first asks only what is local: registry directories and the cache. Few threads do that. If that isn't
/// enough, one of many other threads asks the registries. So a registry that doesn't answer holds up no local package.
/// Programs choose the names, so a name is never taken for a path of this machine.
class PackageNames final : public vfs::ServedNames {
 public:
  /// `flags` must not depend on the working directory (flags_from). `locks`: the directory of lock files; empty: none.
  /// Throws Error if a setting is wrong.
  PackageNames(TreeFlags flags, std::string locks, const Io& io);
  ~PackageNames() override;
  /// Throws Error if a registry directory doesn't exist. It may be away for a moment while a mount goes on.
  void check_directories() const;

  /// Called with the path of a link whose package turned out to be another one, and what it leads to now.
  using LinkChanged = std::function<void(const std::string& path, const std::string& link)>;
  void on_link_change(LinkChanged changed) { link_changed_ = std::move(changed); }

  [[nodiscard]] Meaning meaning_of(const std::string& directory, std::string_view name) override;
  void find(std::uint64_t number, const std::string& path, std::shared_ptr<const void> recipe, Done done) override;
  void give_up(std::uint64_t number) override;
  [[nodiscard]] std::uint64_t progress(std::uint64_t number) override;
  /// Ends checks of links that take longer than `patience`.
  void end_late() override;
  void list(const std::string& directory, ListDone done) override;
  /// Ends all searches. False: one didn't end within `limit`.
  [[nodiscard]] bool stop(std::chrono::milliseconds limit);
  /// The directories of this machine that the names are read from. Not all need exist.
  [[nodiscard]] std::vector<std::string> places() const;
  /// How many packages may be open at once, so that their memory stays within bounds.
  [[nodiscard]] std::size_t most_open() const { return memory_.most(); }
  /// How long a search may take (--timeout).
  [[nodiscard]] std::chrono::milliseconds patience() const { return settings_.timeout; }

 private:
  /// Counts the pieces of downloads that arrive.
  class Arrivals final : public DownloadObserver {
   public:
    [[nodiscard]] std::uint64_t count() const { return count_; }
    void started(std::string_view /*name*/, std::uint64_t /*have*/, std::optional<std::uint64_t> /*total*/) override {}
    void received(std::string_view /*name*/, std::uint64_t have) override {
      count_ += have_.exchange(have) != have ? 1 : 0;
    }
    void finished(std::string_view /*name*/, std::uint64_t /*have*/, bool /*success*/) override {}

   private:
    std::atomic<std::uint64_t> have_{0};
    std::atomic<std::uint64_t> count_{0};
  };
  struct Task {
    std::uint64_t number = 0;  // 0: a check of a link
    std::string path;
    std::shared_ptr<const PackageRecipe> recipe;
    Done done;
    RunningOpener running;
    Arrivals arrivals;
    std::atomic<bool> is_running{false};  // a thread works on it
    bool given_up = false;
  };
  using TaskPointer = std::shared_ptr<Task>;
  /// That of a link (`check_later`).
  struct Check {
    TaskPointer task;  // null: it has ended
    std::chrono::steady_clock::time_point begun;
  };

  void work(const TaskPointer& task, bool offline);
  void end(const TaskPointer& task, Finding finding);
  /// Whether one more failure may be a warning. Programs choose the names that fail, so only so many may in a minute.
  [[nodiscard]] bool may_warn();
  [[nodiscard]] Finding search(Task& task, const NameSyntax& syntax, bool offline);
  /// Whether servers may be asked about such a name.
  [[nodiscard]] bool may_ask(const NameSyntax& syntax) const { return syntax.is_plain && !flags_.network.offline; }
  [[nodiscard]] static TreeOptions options_of(const TreeFlags& flags, const MemoryShares::Share& memory);
  /// `changed`: Finding.
  [[nodiscard]] std::shared_ptr<HeldPackage> open(Task& task, const NameSyntax& syntax, const TreeFlags& flags,
                                                  bool& changed);
  /// The same tree as before, by the recipe of the task. Throws Error if a package of it can't be had any more.
  [[nodiscard]] std::shared_ptr<HeldPackage> open_again(Task& task, const TreeFlags& flags);
  /// Finds the package, as if it had never been open. But the lock file is that of the recipe, if there is one.
  [[nodiscard]] std::shared_ptr<HeldPackage> open_anew(Task& task, const NameSyntax& syntax, const TreeFlags& given);
  [[nodiscard]] Finding find_link(Task& task, const NameSyntax& syntax, const TreeFlags& flags, bool offline);
  /// Asks the registries whether a link that was found locally leads to another version now. The next look-up gets the
  /// answer.
  void check_later(const std::string& path, const std::string& link);
  void check_link(const TaskPointer& task, const std::string& link);
  void end_check(const std::string& path);
  [[nodiscard]] std::string lock_path(const std::string& name) const { return locks_ + "/" + name + ".lock"; }
  /// A listing while it is made.
  struct Listing {
    std::vector<Listed> names;
    int error = 0;       // the errno of the first failure for which names may lack; 0: none do
    std::string reason;  // of that
  };
  void add_names(const std::string& directory, Listing& all);
  /// Logs a listing that isn't complete. The same reason is a warning only once.
  void report(const std::string& directory, const Listing& all);
  // The parts of `add_names`. Each adds names of `directory` to `all`.

  /// `name`, unless it is absent.
  void add_meaning(const std::string& directory, const std::string& name, Listing& all);
  /// The files of the host directory `from` with this ending, without it.
  void add_files(const std::string& directory, const std::string& from, std::string_view ending, Listing& all);
  void add_registry(const std::filesystem::path& registry, const std::string& directory, Listing& all);
  void add_cached(const std::string& directory, Listing& all);
  // What reads this machine for them. A failure goes into `all`.

  /// Takes a failure, unless it means that `place` has no names that the daemon may read.
  static void take_failure(const std::string& place, const std::error_code& failed, Listing& all);
  /// The names in a directory of this machine.
  [[nodiscard]] static std::vector<std::string> names_in(const std::string& directory, Listing& all);
  [[nodiscard]] static bool has_directory(const std::filesystem::path& path, Listing& all);
  /// The versions of which a registry directory has a container in `directory`.
  [[nodiscard]] static std::vector<std::string> versions_in(const std::string& directory, Listing& all);
  static void add_package(const std::string& name, const std::vector<std::string>& versions, Listing& all);
  /// Where the answers of a registry are cached.
  [[nodiscard]] std::string answers_of(const RemoteRegistry& registry) const;
  /// The packages of which the cache has an answer of a registry.
  [[nodiscard]] std::vector<std::string> cached_names(Listing& all) const;
  /// The versions of a package whose containers are in the cache.
  [[nodiscard]] std::vector<std::string> cached_versions(const std::string& full_name, Listing& all) const;
  /// Whether a registry directory has packages of this name, or of this namespace.
  [[nodiscard]] bool is_local(const std::string& full_name) const;

  TreeFlags flags_;
  std::string locks_;
  Io io_;
  Settings settings_;
  MemoryShares memory_;
  LinkChanged link_changed_;
  Mutex mutex_;
  std::map<std::uint64_t, TaskPointer> tasks_ PKGFS_GUARDED_BY(mutex_);
  std::map<std::string, Check> checks_ PKGFS_GUARDED_BY(mutex_);  // by path
  bool stopping_ PKGFS_GUARDED_BY(mutex_) = false;
  std::chrono::steady_clock::time_point warned_since_ PKGFS_GUARDED_BY(mutex_);
  unsigned warnings_ PKGFS_GUARDED_BY(mutex_) = 0;
  std::string unlisted_ PKGFS_GUARDED_BY(mutex_);  // the last reason of `report`
  WorkerPool local_;
  WorkerPool remote_;
  WorkerPool checking_;
  WorkerPool listing_;
};

}  // namespace pkgfs
