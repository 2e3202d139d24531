// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/thread_annotations.h"
#include "core/vfs/absent_names.h"
#include "core/vfs/counting_file_system.h"
#include "core/vfs/served_journal.h"
#include "core/vfs/served_names.h"

namespace pkgfs::vfs {

/// Many trees below directories of names (docs/SERVE.md). A tree is opened when its name is first looked up, and can be
/// closed when the kernel has no reference to it.
///
/// Directories of names, links, and the root directories of trees are nodes of this class, with inodes of their own.
/// The inode of any other entry has the slot of its tree in it, and the inode of the tree. So requests below the root
/// of a tree take no lock and allocate nothing. The root directory of a tree keeps its node while the tree is closed. A
/// look-up or a listing in it opens the same tree again. So the kernel need not forget the root of a tree that is to be
/// closed, and no directory of names has to be told of it. This matters: while one look-up in a directory waits, the
/// kernel lets no notice about a name in it pass, and behind that notice would wait all other look-ups.
///
/// `lookup` and `read_dir` return `kMustWait` where a search is needed. The caller then calls `wait_for`, and asks
/// again when it is told. A search that fails is remembered for `kRemembered`. If it has found that there is no such
/// package, `lookup` returns ENOENT. After any other failure, the name leads to a directory in which everything fails
/// with the error, so that `problem` can explain it. If a tree can't be opened again, its root fails with the error,
/// but with EIO instead of ENOENT: the kernel must not take an entry of the tree for absent.
///
/// Any program can look up any number of names. So at most `kMostNodes` nodes are kept: those that were looked up
/// longest ago are forgotten, except for open trees and what leads to a node. A request for one of these gets ESTALE,
/// and the kernel looks its path up again.
///
/// With a journal, another process, the successor, can go on with the nodes (`restore`). There, a tree that was open is
/// opened again when the kernel first asks for something in it. Its inodes mean the same only if the tree is the same:
/// otherwise they are stale (ESTALE) for ever, and so is its root.
///
/// Thread-safe. `is_unused`, `hide`, `detach`, `give_back` and `close` are for one thread.
class ServedFileSystem final : public CountingFileSystem {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::size_t kSlots = 4096;
  static constexpr auto kRemembered = std::chrono::seconds(30);
  static constexpr std::size_t kMostNodes = 16384;
  /// No errno has this number, so that no error of a package can be taken for it.
  static constexpr int kMustWait = 1 << 16U;

  struct Options {
    bool immutable = true;                      // all trees are (FileSystem::is_immutable)
    std::chrono::milliseconds patience{30000};  // after which a search counts as failed (ETIMEDOUT)
    std::int64_t modified = 1;                  // the time that directories of names and links show at first
    /// Trees. When three quarters of them are open, those that were unused for longest are closed before their time.
    std::size_t most_open = kSlots;
  };
  /// `names` must outlive this.
  ServedFileSystem(ServedNames& names, const Options& options);
  ~ServedFileSystem() override;

  /// Notes all in `journal`, which must outlive this, and goes on from `notes`, what its predecessor has noted there.
  /// Ignores notes that make no sense. Call it before any other function; at most once.
  void use_journal(ServedJournal& journal, std::vector<ServedNote> notes);
  /// The process that might have gone on instead of this one has ended (ServedJournal::other_references). Requests that
  /// are being answered may still count there.
  void is_alone_now();
  /// Why the tree of `inode`, which a predecessor has opened, can't answer: 0: it can, or it isn't such an inode;
  /// kMustWait: it isn't open yet (`wait_for`); else an errno. Once this returns 0, no function returns kMustWait for
  /// the inode. Takes no lock unless there are such trees.
  [[nodiscard]] int obstacle(Inode inode) const {
    return unopened_.load(std::memory_order_acquire) == 0 ? 0 : obstacle_of(inode, false);
  }
  /// The same for what is in `dir`, which may also be the root directory of such a tree. There, a look-up may have to
  /// wait nevertheless: the tree may have been closed meanwhile.
  [[nodiscard]] int obstacle_below(Inode dir) const {
    return unopened_.load(std::memory_order_acquire) == 0 ? 0 : obstacle_of(dir, true);
  }

  /// Calls `ready` once, when the caller should ask again: the name in `dir` was searched for, or the tree of `dir` was
  /// opened (then `name` is empty, or `dir` is an inode in a tree), or that failed. `ready` may be called before the
  /// function returns, else by another thread. Returns a number for `leave`; 0 if `ready` was called.
  [[nodiscard]] std::uint64_t wait_for(Inode dir, std::string_view name, const std::function<void()>& ready);
  /// `ready` isn't called any more, unless it is being called now. If nothing else waits, the search ends.
  void leave(std::uint64_t waiter);
  /// Why the name that leads to `inode` can't be shown. Of a directory of names: the failures in it that are
  /// remembered, a line for each. Empty if there is none.
  [[nodiscard]] std::string problem(Inode inode);

  // For the thread that closes trees.

  struct OpenSlot {
    std::size_t slot;
    Inode root;              // the node of its root directory
    std::string path;        // for messages
    Clock::time_point used;  // when `idle` last saw that it was
    bool early;              // too many trees are open
  };
  /// The trees that no request has used since `idle` before `now`; more if too many are open. Also lets searches fail
  /// that wait for too long, and forgets what is too old. Of the trees of a process before, it first begins to open
  /// some: for a tree that isn't open, the kernel can't be asked to forget its entries.
  [[nodiscard]] std::vector<OpenSlot> idle(Clock::time_point now, std::chrono::milliseconds idle);
  [[nodiscard]] FileSystem& tree_of(std::size_t slot) const;
  /// The inode here of `inode` in the tree of `slot`, the root included; 0 if there is none.
  [[nodiscard]] Inode inode_of(std::size_t slot, Inode inode) const;
  [[nodiscard]] std::size_t slot_of_inode(Inode inode) const;
  /// The names since the last call that the kernel knows to be absent from directories of the tree, with inodes here:
  /// it can't forget these directories before. Requests that are being answered may still add names.
  [[nodiscard]] std::unique_ptr<AbsentNames> take_absent(std::size_t slot);
  /// Whether the kernel has no reference to an entry below the root of the tree.
  [[nodiscard]] bool is_unused(std::size_t slot) const { return *slots_[slot]->references == 0; }
  /// From now on, no look-up finds the tree from its root: they wait for `give_back` or `close`. Requests for entries
  /// that the kernel knows, and those that began before, still use it.
  void hide(std::size_t slot);
  /// From now on, no request finds the hidden tree. The kernel knows no entry of it any more, so only a request for a
  /// file handle of before gets ESTALE. Requests that began before may still use it.
  void detach(std::size_t slot);
  void give_back(std::size_t slot);
  /// Returns a detached tree, which the caller destroys. Requests open it again.
  [[nodiscard]] std::shared_ptr<HeldTree> close(std::size_t slot);

  struct Counts {
    std::size_t open = 0;      // trees
    std::size_t nodes = 0;     // names that the kernel may know
    std::uint64_t opened = 0;  // trees, since the start
    std::uint64_t closed = 0;
    std::uint64_t failed = 0;  // searches
  };
  [[nodiscard]] Counts counts() const;
  /// The open trees.
  [[nodiscard]] std::vector<std::shared_ptr<HeldTree>> open_trees() const;
  /// `path` is a link that leads to `text` now.
  void link_changed(const std::string& path, const std::string& text);
  /// The directories of names that were listed before the last call, and after the one before it. The kernel should
  /// forget their listings: it keeps them for as long as the time of the directory stays, and no request makes it wait
  /// until that is known. The kernel may still be adding a listing of after the last call to what it keeps.
  [[nodiscard]] std::vector<Inode> take_kept_listings();

  [[nodiscard]] Inode root() const override { return kRoot; }
  [[nodiscard]] Result<Entry> lookup(Inode dir, std::string_view name) override;
  [[nodiscard]] Result<Attributes> metadata(Inode inode) override;
  [[nodiscard]] Result<void> read_dir(Inode dir, std::uint64_t from, FunctionRef<bool(const DirEntry&)> visit) override;
  [[nodiscard]] Result<std::uint64_t> parent_number(Inode dir) override;
  [[nodiscard]] Result<std::string_view> read_link(Inode inode) override;
  [[nodiscard]] Result<std::unique_ptr<OpenFile>> open(Inode inode) override;
  [[nodiscard]] Result<Extent> extent(Inode inode) override;
  [[nodiscard]] bool is_immutable() const override { return options_.immutable; }
  [[nodiscard]] bool is_intact(Inode inode) override;
  void hold(Inode inode) override;
  void forget(Inode inode, std::uint64_t count) override;
  [[nodiscard]] Result<Origin> origin(Inode inode) override;

 private:
  static constexpr Inode kRoot = 1;
  static constexpr std::size_t kNoSlot = kSlots;
  /// Of a listing, sorted by the place. It is made of the name, so that it stays when other names come and go.
  struct Shown {
    std::uint64_t place = 0;
    ServedNames::Listed name;
  };
  struct Listing {
    std::vector<Shown> names;
    int error = 0;  // an errno for the end of the listing, as names may lack
  };

  struct Slot {
    std::atomic<FileSystem*> tree{nullptr};  // null: free, detached or to be opened again
    std::atomic<std::uint64_t> own_references{0};
    std::atomic<std::uint64_t>* references = &own_references;  // or those of the journal
    /// ServedJournal::other_references
    std::atomic<std::atomic<std::uint64_t>*> other_references{nullptr};
    std::atomic<bool> used{false};      // since `idle` last looked
    std::atomic<bool> unopened{false};  // the tree of a predecessor is to be opened again
    std::size_t index = 0;
    std::uint64_t base = 0;                     // of the numbers that stat shows
    std::atomic<AbsentNames*> absent{nullptr};  // that of Held; never null while there is a tree
  };
  /// What only a thread with the lock needs of a slot.
  struct Held {
    std::shared_ptr<HeldTree> tree;  // null: the slot is free
    std::unique_ptr<AbsentNames> absent;
    Inode root = 0;
    std::string path;
    Clock::time_point used;
    bool hidden = false;
    Clock::time_point opened_next{};  // not before then, to be closed, if it is `unopened`
  };
  using Kind = ServedNote::Kind;
  struct Node {
    Kind kind = Kind::kNames;
    Inode inode = 0;
    std::string path;
    std::string text;  // of a link; or why it failed
    Attributes attributes;
    std::uint64_t references = 0;
    std::uint64_t looked = 0;  // up, last: the number of that look-up
    bool current = true;       // the name leads here
    bool noted = false;        // in the journal, as it is
    int error = 0;             // of kFailed; ESTALE for a tree that changed while it was closed
    Clock::time_point until;   // of a link or a failure: when to search again
    // Of a tree.
    std::string state;
    std::size_t slot = kNoSlot;
    std::uint64_t fingerprint = 0;
    std::shared_ptr<const void> recipe;
    // Of a directory of names.
    std::shared_ptr<const Listing> listing;
    std::uint64_t listing_hash = 0;  // of `listing`, also of the one of a predecessor; 0: there was none
    Clock::time_point listed;
    bool is_listing = false;  // a thread makes a listing, since `asked`
    Clock::time_point asked;
  };
  using NodePointer = std::shared_ptr<Node>;
  struct Search {
    std::uint64_t number = 0;
    std::string path;
    Inode tree = 0;         // the root directory whose tree is to be opened again; 0: a name is looked up
    std::string state;      // of the name
    bool begun = false;     // false: the tree is being closed at the moment
    bool kept = false;      // it goes on although nothing waits for it
    bool to_close = false;  // the tree is opened only so that it can be closed: nothing has waited for it
    Clock::time_point deadline;
    Clock::time_point latest;  // until when it may wait for a free thread
    std::uint64_t seen = 1;    // its progress at the deadline before
    std::vector<std::pair<std::uint64_t, std::function<void()>>> waiters;
  };
  struct Failure {
    std::string state;  // of the name
    int error = 0;
    std::string reason;
    Clock::time_point until;
  };
  struct Inner {
    Slot* slot;
    FileSystem* tree;
    Inode inode;
  };

  [[nodiscard]] static std::string path_in(const std::string& directory, std::string_view name);
  /// The number that stat shows of a directory of names, or of a link.
  [[nodiscard]] static std::uint64_t number_of(std::string_view path);
  [[nodiscard]] static bool is_inner(Inode inode) { return inode >> 63U != 0; }
  [[nodiscard]] static Result<Inode> to_inner(std::size_t slot, Inode inode);
  [[nodiscard]] Inner find_inner(Inode inode) const;
  /// The same, and marks the slot as used if its tree is open.
  [[nodiscard]] Inner use_inner(Inode inode) const;
  /// Marks the slot as used.
  static void touch(Slot& slot);
  /// One more reference to an inode of the slot.
  static void add_reference(Slot& slot);

  [[nodiscard]] NodePointer find_node(Inode inode) const PKGFS_REQUIRES(mutex_);
  [[nodiscard]] NodePointer current_node(const std::string& path) const PKGFS_REQUIRES(mutex_);
  NodePointer make_node(Kind kind, const std::string& path) PKGFS_REQUIRES(mutex_);
  void drop(const NodePointer& node) PKGFS_REQUIRES(mutex_);
  /// With one more reference. Notes the node first.
  [[nodiscard]] Entry held(Node& node) PKGFS_REQUIRES(mutex_);
  /// Notes the node as it is now, if there is a journal.
  void note(Node& node) PKGFS_REQUIRES(mutex_);
  /// A node has changed, of which the kernel may know.
  void changed(Node& node) PKGFS_REQUIRES(mutex_) {
    if (node.noted) {
      note(node);
    }
  }
  void erase_note(Node& node) PKGFS_REQUIRES(mutex_);
  /// Makes the node of a predecessor, unless the note makes no sense.
  void restore(ServedNote& note) PKGFS_REQUIRES(mutex_);
  void restore_slot(Node& node, const ServedNote& note) PKGFS_REQUIRES(mutex_);
  /// The slot of the node has a tree of a predecessor, which isn't open yet.
  [[nodiscard]] bool is_unopened(const Node& node) const PKGFS_REQUIRES(mutex_) {
    return node.slot != kNoSlot && slots_[node.slot]->unopened;
  }
  /// The inodes of the node's slot are stale from now on. While the kernel knows some, no other tree gets the slot.
  void give_up_unopened(Node& node) PKGFS_REQUIRES(mutex_);
  /// Gives up trees of a predecessor in which the kernel knows nothing any more.
  void free_unopened() PKGFS_REQUIRES(mutex_);
  /// `below`: what is in a root directory counts, too.
  [[nodiscard]] int obstacle_of(Inode inode, bool below) const PKGFS_EXCLUDES(mutex_);
  /// The errno of a request for an inode in a tree that isn't there.
  [[nodiscard]] static int missing(const Slot& slot) { return slot.unopened ? kMustWait : ESTALE; }
  /// The slot with this number, which is made if there is none.
  Slot& make_slot(std::size_t index) PKGFS_REQUIRES(mutex_);
  /// The root directory of the tree to which an inode in a tree belongs; 0: no tree has its slot.
  [[nodiscard]] Inode held_root(Inode inode) const PKGFS_REQUIRES(mutex_) {
    const std::size_t slot = slot_of_inode(inode);
    return slot < held_.size() ? held_[slot].root : 0;
  }
  /// Whether names below this directory of names have nodes.
  [[nodiscard]] bool has_names(const Node& node) const PKGFS_REQUIRES(mutex_);
  /// Forgets a quarter of the nodes, if there are too many. The one with the inode `made` stays.
  void evict(Inode made) PKGFS_REQUIRES(mutex_);
  /// Whether a package was found in the directory of names.
  [[nodiscard]] bool has_found(const std::string& path) const PKGFS_REQUIRES(mutex_);
  /// Null: there is none, it is too old, or the name had another state.
  [[nodiscard]] const Failure* failure_of(const std::string& path, const std::string& state) const
      PKGFS_REQUIRES(mutex_);
  void remember(const Search& search, int error, const std::string& reason) PKGFS_REQUIRES(mutex_);
  /// The tree of the root directory `dir`. kMustWait: it must be opened.
  [[nodiscard]] Result<Inner> tree_at(const Node& dir) const PKGFS_REQUIRES(mutex_);
  [[nodiscard]] Result<Entry> lookup_name(const NodePointer& dir, std::string_view name) PKGFS_EXCLUDES(mutex_);
  /// `shown`: the inode here of the directory.
  [[nodiscard]] static Result<Entry> lookup_inner(const Inner& dir, Inode shown, std::string_view name);
  [[nodiscard]] static Result<void> list_inner(const Inner& dir, std::uint64_t from,
                                               FunctionRef<bool(const DirEntry&)> visit);
  /// The number that stat will show of an entry of a directory of names.
  [[nodiscard]] std::uint64_t listed_number(const std::string& path, ServedNames::Meaning::Kind kind) const
      PKGFS_EXCLUDES(mutex_);
  /// If the directory was listed before, begins to renew its listing, which may change its time. Waits for nothing.
  void refresh(const std::string& path) PKGFS_EXCLUDES(mutex_);
  /// Lets another thread make a listing, unless there is a recent one, or a thread makes one already.
  void begin_listing(const NodePointer& dir) PKGFS_EXCLUDES(mutex_);
  /// Waits for a recent listing, but not for long.
  [[nodiscard]] std::shared_ptr<const Listing> listing_of(const NodePointer& dir) PKGFS_EXCLUDES(mutex_);
  void take_listing(const NodePointer& dir, std::vector<ServedNames::Listed> all, int error) PKGFS_REQUIRES(mutex_);
  /// `all` and the names in `dir` that were looked up.
  [[nodiscard]] std::vector<Shown> with_used(const Node& dir, std::vector<ServedNames::Listed> all) const
      PKGFS_REQUIRES(mutex_);

  /// What tells one search from another.
  [[nodiscard]] static std::string key_of(const std::string& path, Inode tree, const std::string& state);
  [[nodiscard]] bool is_found(const std::string& path, const std::string& state) const PKGFS_REQUIRES(mutex_);
  /// One more waiter of a search.
  struct Joined {
    std::uint64_t waiter = 0;
    std::uint64_t to_begin = 0;  // the number of the search, if `begin` is to be called
    std::shared_ptr<const void> recipe;
  };
  /// Nothing: the caller needn't wait. `ready` may be empty (Search::to_close).
  [[nodiscard]] std::optional<Joined> join(const std::string& key, const std::string& path, Inode tree,
                                           const std::string& state, const std::function<void()>& ready)
      PKGFS_EXCLUDES(mutex_);
  /// `running` is held until the search has ended, also if nothing waits for it any more.
  void begin(std::uint64_t number, const std::string& key, const std::string& path, std::shared_ptr<const void> recipe,
             const std::shared_ptr<const void>& running = nullptr) PKGFS_EXCLUDES(mutex_);
  void found(std::uint64_t number, const std::string& key, ServedNames::Finding finding) PKGFS_EXCLUDES(mutex_);
  void take(const Search& search, ServedNames::Finding& finding) PKGFS_REQUIRES(mutex_);
  void take_tree(const Search& search, ServedNames::Finding& finding) PKGFS_REQUIRES(mutex_);
  /// Removes from `all` the trees that aren't open, and returns their roots: `open_to_close` is to open them now.
  [[nodiscard]] std::vector<NodePointer> take_unopened(std::vector<OpenSlot>& all, Clock::time_point now,
                                                       std::chrono::milliseconds idle) PKGFS_REQUIRES(mutex_);
  void open_to_close(const NodePointer& root) PKGFS_EXCLUDES(mutex_);
  /// Whether the slot has a tree, which needn't be open.
  [[nodiscard]] bool has_tree(std::size_t slot) const PKGFS_REQUIRES(mutex_) {
    return held_[slot].tree != nullptr || slots_[slot]->unopened;
  }
  /// Adds to `all` the trees that were unused for longest, if too many have slots.
  void add_longest_unused(std::vector<OpenSlot>& all) const PKGFS_REQUIRES(mutex_);
  /// Lets a search go on whose time is over, if it has made progress. Those that wait for it get ETIMEDOUT.
  [[nodiscard]] Search time_out(Search& search, Clock::time_point now) PKGFS_REQUIRES(mutex_);
  /// Removes from the nodes what is too old.
  void forget_old(Clock::time_point now) PKGFS_REQUIRES(mutex_);
  void take_link(const std::string& path, const std::string& text) PKGFS_REQUIRES(mutex_);
  [[nodiscard]] std::size_t free_slot() PKGFS_REQUIRES(mutex_);
  /// Notes that a free slot is the node's. False: a process that was to replace this one has used it meanwhile.
  [[nodiscard]] bool take_slot(Node& node, std::size_t slot) PKGFS_REQUIRES(mutex_);
  /// The node has a slot. `is_used`: a request has asked for the tree.
  void attach(const NodePointer& node, std::shared_ptr<HeldTree> tree, bool is_used) PKGFS_REQUIRES(mutex_);
  [[nodiscard]] std::uint64_t base_for(const std::string& path) const PKGFS_REQUIRES(mutex_);
  /// Whether a tree has these numbers.
  [[nodiscard]] bool has_base(std::uint64_t base) const PKGFS_REQUIRES(mutex_);

  ServedNames& names_;
  Options options_;
  ServedJournal* journal_ = nullptr;      // may stay null
  std::atomic<std::size_t> unopened_{0};  // slots that are `unopened`
  /// A slot is made when it is first needed, before an inode with its number is known, and stays.
  std::array<std::unique_ptr<Slot>, kSlots> slots_;
  mutable Mutex mutex_;
  std::condition_variable listed_;                                  // a listing was made
  std::set<Inode> kept_listings_ PKGFS_GUARDED_BY(mutex_);          // since the last `take_kept_listings`
  std::set<Inode> earlier_kept_listings_ PKGFS_GUARDED_BY(mutex_);  // before it
  std::vector<Held> held_ PKGFS_GUARDED_BY(mutex_);                 // by slot; grows
  std::unordered_map<Inode, NodePointer> nodes_ PKGFS_GUARDED_BY(mutex_);
  std::map<std::string, Inode, std::less<>> current_ PKGFS_GUARDED_BY(mutex_);
  std::map<std::string, Search, std::less<>> searches_ PKGFS_GUARDED_BY(mutex_);  // by `key_of`
  std::vector<std::weak_ptr<const void>> opening_ PKGFS_GUARDED_BY(mutex_);       // by `open_to_close`; still running
  std::map<std::string, Failure, std::less<>> failures_ PKGFS_GUARDED_BY(mutex_);
  Inode last_node_ PKGFS_GUARDED_BY(mutex_) = kRoot;
  std::uint64_t last_number_ PKGFS_GUARDED_BY(mutex_) = 0;  // of searches and waiters
  std::uint64_t last_look_ PKGFS_GUARDED_BY(mutex_) = 0;
  std::uint64_t opened_ PKGFS_GUARDED_BY(mutex_) = 0;
  std::uint64_t closed_ PKGFS_GUARDED_BY(mutex_) = 0;
  std::uint64_t failed_ PKGFS_GUARDED_BY(mutex_) = 0;
};

}  // namespace pkgfs::vfs
