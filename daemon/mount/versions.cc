// SPDX-License-Identifier: MIT
#include "daemon/mount/versions.h"

#include <algorithm>
#include <new>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/packages/fresh_tree.h"

namespace pkgfs {
namespace {

constexpr const char* kCountsWhat = "Unable to count the references to the versions of a mount";

/// Of a version in messages: the id of its package. If that is a hash that wasn't computed, the package's file or URL.
std::string version_name(const OpenedTree& opened) {
  const PackageHash* const hash = opened.tree.id.hash();
  return hash != nullptr && !hash->known() ? opened.root->name() : opened.tree.id.to_string();
}

/// Lets go of all that the tree holds.
void empty(OpenedTree& opened) {
  opened.tree.file_system.reset();
  opened.tree.packages.clear();
  opened.tree.commands.clear();
  opened.root.reset();
}

}  // namespace

std::set<std::string> root_names(vfs::FileSystem& tree) {
  std::set<std::string> names;
  (void)tree.read_dir(tree.root(), 0, [&](const vfs::DirEntry& entry) {
    names.emplace(entry.name);
    return true;
  });
  return names;
}

Versions::Versions(OpenedTree& first, bool from_start, std::optional<RestoredVersions> restored,
                   std::optional<std::string> identity)
    : first_(first) {
  VersionFacts facts;
  if (restored) {
    facts = restored->first;
    make_layer(fuse::SharedMemory::adopt(std::move(restored->counts), sizeof(vfs::GenerationCounts), kCountsWhat),
               false);
  } else {
    facts.identity = identity ? *std::move(identity) : identity_of(first);
    facts.counted = from_start;
  }
  const MutexLock lock(mutex_);
  versions_.push_back(std::make_unique<Version>(make(facts, first, nullptr)));
  usage_ = versions_.front()->usage.get();
  last_turn_ = facts.turn;
  last_number_ = facts.number;
  if (!restored) {
    if (from_start) {
      make_layer(fuse::SharedMemory::create("pkgfs-versions", sizeof(vfs::GenerationCounts), kCountsWhat), true);
      layer_->add(0, *first.tree.file_system, true);
      layer_->show(0);
    }
    return;
  }
  notes_ = std::move(restored->notes);
  layer_->add(facts.number, *first.tree.file_system, facts.counted);
  for (RestoredVersion& each : restored->others) {
    auto own = std::make_unique<OpenedTree>(std::move(each.opened));
    OpenedTree& opened = *own;
    versions_.push_back(std::make_unique<Version>(make(each.facts, opened, std::move(own))));
    versions_.back()->lazy = std::make_unique<LazyMount>(opened.tree);
    layer_->add(each.facts.number, *opened.tree.file_system, each.facts.counted);
    last_turn_ = std::max(last_turn_, each.facts.turn);
    last_number_ = std::max(last_number_, each.facts.number);
  }
  const Version& to_show = get(layer_->shown());
  layer_->prepare_to_show(to_show.facts.number);
  layer_->list_names_only(true);  // the kernel may not have been told of the last change
  usage_ = to_show.usage.get();
}

void Versions::resume(bool runs) {
  if (layer_ == nullptr) {
    return;
  }
  const MutexLock lock(mutex_);
  const std::uint64_t shown = layer_->shown();
  const Version& found = get(shown);
  if (found.facts.number != shown) {
    constexpr const char* kWhat = "the version that the mount shows can't be opened";
    if (runs) {
      throw Error(ErrorCode::kMount, kWhat);
    }
    log::write(log::Level::kError, std::string(kWhat) + "; until a refresh succeeds, it shows " + found.name);
    last_number_ = std::max(last_number_, shown);
    lost_shown_ = true;
  }
  usage_ = found.usage.get();
  layer_->show(found.facts.number);
}

void Versions::begin_lazily() {
  const MutexLock lock(mutex_);
  for (const std::unique_ptr<Version>& version : versions_) {
    if (version->lazy != nullptr) {
      version->lazy->begin();
    }
  }
}

VersionNotes Versions::notes() const {
  const MutexLock lock(mutex_);
  return notes_;
}

void Versions::note(VersionNotes notes) {
  const MutexLock lock(mutex_);
  notes_ = std::move(notes);
}

Versions::~Versions() = default;

void Versions::make_layer(fuse::SharedMemory memory, bool is_new) {
  if (!memory.allocate(0, sizeof(vfs::GenerationCounts))) {
    throw Error(ErrorCode::kFull, std::string(kCountsWhat) + ": there is no memory");
  }
  memory_.emplace(std::move(memory));
  // The memory of another daemon has the counts already, and new memory is all zeros.
  counts_ = is_new ? new (memory_->data()) vfs::GenerationCounts
                   : std::launder(reinterpret_cast<vfs::GenerationCounts*>(memory_->data()));
  layer_ = std::make_unique<vfs::Generations>(*counts_);
  if (is_new) {
    layer_->begin(first_.tree.file_system->fingerprint());
  }
}

Versions::Version Versions::make(VersionFacts facts, OpenedTree& opened, std::unique_ptr<OpenedTree> own) {
  return {.facts = facts,
          .opened = &opened,
          .own = std::move(own),
          .name = version_name(opened),
          .usage = std::make_unique<fuse::UsageCounter>(*opened.tree.file_system),
          .lazy = nullptr};
}

vfs::FileSystem& Versions::tree() const {
  return layer_ == nullptr ? *first_.tree.file_system : static_cast<vfs::FileSystem&>(*layer_);
}

void Versions::begin() {
  if (layer_ != nullptr) {
    return;
  }
  const MutexLock lock(mutex_);
  make_layer(fuse::SharedMemory::create("pkgfs-versions", sizeof(vfs::GenerationCounts), kCountsWhat), true);
  layer_->add(0, *first_.tree.file_system, false);
  layer_->show(0);
}

std::uint64_t Versions::add(OpenedTree opened, std::string identity) {
  const std::uint64_t number = layer_->next(last_number_);
  if (number == 0) {
    throw Error(ErrorCode::kUnsupported, std::to_string(vfs::GenerationCounts::kSlots - 1) +
                                             " older versions are open: programs use them, or the mount can't close "
                                             "them (--io-uring=on)");
  }
  auto own = std::make_unique<OpenedTree>(std::move(opened));
  OpenedTree& tree = *own;
  auto version = std::make_unique<Version>(
      make({.number = number, .identity = std::move(identity), .counted = true, .turn = 0}, tree, std::move(own)));
  version->lazy = std::make_unique<LazyMount>(tree.tree);
  version->lazy->begin();
  layer_->add(number, *tree.tree.file_system, true);
  last_number_ = number;
  const MutexLock lock(mutex_);
  versions_.push_back(std::move(version));
  return number;
}

void Versions::show(std::uint64_t number) {
  const MutexLock lock(mutex_);
  for (const std::unique_ptr<Version>& version : versions_) {
    if (version->facts.number == layer_->shown()) {
      version->facts.turn = ++last_turn_;  // until now
    }
  }
  const auto version = std::ranges::find(versions_, number, [](const auto& each) { return each->facts.number; });
  (*version)->facts.turn = ++last_turn_;
  usage_ = (*version)->usage.get();
  layer_->show(number);
}

const Versions::Version& Versions::get(std::uint64_t number) const {
  const auto version = std::ranges::find(versions_, number, [](const auto& each) { return each->facts.number; });
  return version == versions_.end() ? *versions_.front() : **version;
}

const OpenedTree& Versions::shown() const {
  const MutexLock lock(mutex_);
  return *get(shown_number()).opened;
}

std::string Versions::shown_identity() const {
  const MutexLock lock(mutex_);
  return get(shown_number()).facts.identity;
}

std::string Versions::shown_name() const {
  const MutexLock lock(mutex_);
  return get(shown_number()).name;
}

std::string Versions::name_of(std::uint64_t number) const {
  const MutexLock lock(mutex_);
  return get(number).name;
}

std::optional<std::uint64_t> Versions::find(const std::string& identity) const {
  const MutexLock lock(mutex_);
  for (const std::unique_ptr<Version>& version : versions_) {
    if (version->facts.identity == identity) {
      return version->facts.number;
    }
  }
  return std::nullopt;
}

std::set<std::string> Versions::identities() const {
  const MutexLock lock(mutex_);
  std::set<std::string> all;
  for (const std::unique_ptr<Version>& version : versions_) {
    all.insert(version->facts.identity);
  }
  return all;
}

std::vector<const Versions::Version*> Versions::older() const {
  std::vector<const Version*> older;
  for (const std::unique_ptr<Version>& version : versions_) {
    if (version->facts.number != shown_number()) {
      older.push_back(version.get());
    }
  }
  std::ranges::sort(older, std::greater(), [](const Version* version) { return version->facts.turn; });
  return older;
}

std::vector<const Versions::Version*> Versions::kept(unsigned keep_old) const {
  std::vector<const Version*> kept;
  for (const Version* const version : older()) {
    if (!version->facts.counted || keep_old > 0) {
      kept.push_back(version);
      keep_old -= version->facts.counted ? 1 : 0;
    }
  }
  return kept;
}

std::optional<std::uint64_t> Versions::former(unsigned keep_old) const {
  const MutexLock lock(mutex_);
  const std::vector<const Version*> all = kept(keep_old);
  return all.empty() ? std::nullopt : std::optional(all.front()->facts.number);
}

std::vector<std::string> Versions::kept_names(unsigned keep_old) const {
  const MutexLock lock(mutex_);
  std::vector<std::string> names;
  for (const Version* const version : kept(keep_old)) {
    names.push_back(version->name);
  }
  return names;
}

std::vector<std::uint64_t> Versions::leaving(unsigned keep_old) const {
  const MutexLock lock(mutex_);
  const std::vector<const Version*> staying = kept(keep_old);
  std::vector<std::uint64_t> numbers;
  for (const Version* const version : older()) {
    if (std::ranges::find(staying, version) == staying.end()) {
      numbers.push_back(version->facts.number);
    }
  }
  return numbers;
}

std::vector<std::uint64_t> Versions::unused(unsigned keep_old) const {
  std::vector<std::uint64_t> numbers = leaving(keep_old);
  std::erase_if(numbers, [this](std::uint64_t number) { return !layer_->is_unused(number); });
  return numbers;
}

vfs::FileSystem& Versions::tree_of(std::uint64_t number) const {
  const MutexLock lock(mutex_);
  return *get(number).opened->tree.file_system;
}

void Versions::give_back(std::uint64_t number) {
  const MutexLock lock(mutex_);
  layer_->give_back(number, *get(number).opened->tree.file_system);
}

bool Versions::close(std::uint64_t number) {
  std::unique_ptr<Version> closed;
  {
    const MutexLock lock(mutex_);
    const auto version = std::ranges::find(versions_, number, [](const auto& each) { return each->facts.number; });
    closed = std::move(*version);
    versions_.erase(version);
  }
  if (closed->lazy != nullptr) {
    closed->lazy->save_blocks();
  }
  const bool is_first = closed->own == nullptr;
  if (is_first) {
    empty(*closed->opened);
  }
  return is_first;
}

std::set<std::string> Versions::names(std::uint64_t number) const { return root_names(tree_of(number)); }

std::set<std::string> Versions::all_names() const {
  // Directories are read without the lock, which others need: only the calling thread closes versions.
  std::vector<vfs::FileSystem*> trees;
  {
    const MutexLock lock(mutex_);
    for (const std::unique_ptr<Version>& version : versions_) {
      trees.push_back(version->opened->tree.file_system.get());
    }
  }
  std::set<std::string> all;
  for (vfs::FileSystem* const tree : trees) {
    all.merge(root_names(*tree));
  }
  return all;
}

std::vector<int> Versions::lazy_fds() const {
  const MutexLock lock(mutex_);
  std::vector<int> descriptors;
  for (const std::unique_ptr<Version>& version : versions_) {
    if (version->lazy != nullptr && version->lazy->is_lazy()) {
      descriptors.push_back(version->lazy->whole_fd());
    }
  }
  return descriptors;
}

std::size_t Versions::count() const {
  const MutexLock lock(mutex_);
  return versions_.size();
}

std::optional<std::vector<std::shared_ptr<LazySource>>> Versions::lazy_sources() const {
  const MutexLock lock(mutex_);
  const Version& version = get(shown_number());
  return version.own == nullptr || version.lazy == nullptr ? std::nullopt : std::optional(version.lazy->sources());
}

KeptTree Versions::keep() const {
  const MutexLock lock(mutex_);
  if (layer_ == nullptr) {
    return keep_first(first_, versions_.front()->facts.identity);
  }
  std::vector<VersionToKeep> all;
  for (const std::unique_ptr<Version>& version : versions_) {
    all.push_back({version->facts, version->opened});
  }
  return keep_versions(all, memory_->fd(), notes_);
}

}  // namespace pkgfs
