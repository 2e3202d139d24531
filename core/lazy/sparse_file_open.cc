// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <random>
#include <thread>
#include <utility>

#include "core/base/error.h"
#include "core/base/log.h"
#include "core/cache/cache_files.h"
#include "core/lazy/sparse_file.h"

namespace pkgfs {

/// Opens a SparseFile, or makes it. An opener that gets the map's flock alone may make the file anew, remove it, or
/// begin another boot. Then it gives that lock back for a shared one. Because other processes can do the same at that
/// moment, it looks at everything again after that.
class SparseFile::Opener {
 public:
  Opener(const PrivateDirectory& directory, const std::string& key, const std::string& boot)
      : directory_(directory),
        key_(key),
        data_name_(key + std::string(cache_files::kLazy)),
        map_name_(key + std::string(cache_files::kLazyMap)),
        path_(directory.path_of(data_name_)),
        map_path_(directory.path_of(map_name_)),
        boot_(boot) {}

  std::shared_ptr<SparseFile> open(const Version& version) {
    return repeat([&] {
      map_ = directory_.open_file(map_name_, PrivateDirectory::Content::kTrusted);
      return attempt(&version);
    });
  }

  std::shared_ptr<SparseFile> find() {
    return repeat([&] {
      map_ = directory_.find_file(map_name_);
      return map_ ? attempt(nullptr) : Outcome::kNone;
    });
  }

  /// Why the last attempt failed.
  [[nodiscard]] Error busy() const {
    return {ErrorCode::kBusy, "Unable to open '" + path_ + "': another process uses " +
                                  (has_other_version_ ? "it for another version of the file" : "it at the moment")};
  }

 private:
  enum class Outcome {
    kOpen,
    kAgain,  // another process is about to change something
    kNone,   // there is no file
  };

  /// Null if there is no file, or if no attempt led to a result.
  template <typename Attempt>
  std::shared_ptr<SparseFile> repeat(const Attempt& attempt) {
    constexpr int kAttempts = 40;
    std::minstd_rand random(static_cast<unsigned>(::getpid()) ^ static_cast<unsigned>(::gettid()));
    for (int i = 0; i < kAttempts; ++i) {
      const Outcome outcome = attempt();
      if (outcome == Outcome::kNone) {
        return nullptr;
      }
      if (outcome == Outcome::kOpen) {
        return make();
      }
      map_.reset();  // two openers that both have the shared lock must not wait for each other
      std::this_thread::sleep_for(std::chrono::microseconds(500 + random() % 8000));
    }
    return nullptr;
  }

  /// False if another process has the lock.
  [[nodiscard]] bool lock(int kind) const {
    while (::flock(map_.get(), kind | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) {
        return false;
      }
      if (errno != EINTR) {
        throw system_error("Unable to lock '" + map_path_ + "'", errno);
      }
    }
    return true;
  }

  [[nodiscard]] bool is_in_place() const {
    struct stat ours{};
    struct stat there{};
    return ::fstat(map_.get(), &ours) == 0 &&
           ::fstatat(directory_.fd(), map_name_.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 &&
           FileId(ours) == FileId(there);
  }

  /// Without a version: any.
  Outcome attempt(const Version* version) {
    if (lock(LOCK_EX)) {
      if (!is_in_place()) {
        return Outcome::kAgain;
      }
      if (const Outcome outcome = prepare(version); outcome != Outcome::kOpen) {
        return outcome;
      }
    }
    if (!lock(LOCK_SH) || !is_in_place()) {
      return Outcome::kAgain;
    }
    const auto header = BlockMap::read_header(map_.get(), map_path_);
    has_other_version_ = header && version != nullptr && version_of(*header) != *version;
    if (!header || has_other_version_ || header->block_size != kBlock || header->boot != boot_) {
      return Outcome::kAgain;
    }
    header_ = *header;
    return open_data() ? Outcome::kOpen : Outcome::kAgain;
  }

  /// What only one process does, with the exclusive lock. kOpen: the file is there and has the version.
  Outcome prepare(const Version* version) {
    struct stat status{};
    if (::fstat(map_.get(), &status) != 0) {
      throw system_error("Unable to read '" + map_path_ + "'", errno);
    }
    if (status.st_size == 0) {  // it was just made, or its maker was killed
      if (version == nullptr) {
        return Outcome::kNone;
      }
      make_files(*version);
      return Outcome::kOpen;
    }
    const auto header = BlockMap::read_header(map_.get(), map_path_);
    const char* damage = nullptr;
    if (!header || header->size > kMostBytes) {
      damage = "its map is damaged";
    } else if (header->block_size != kBlock) {
      damage = "another version of pkgfs has made it, with blocks of another size";
    } else if (header_ = *header; !open_data()) {
      damage = is_there(data_name_) ? "it doesn't have the size that its map says" : "it is gone, but its map is there";
    } else if (version != nullptr && version_of(*header) != *version) {
      log::info("\"{}\" is begun anew: the server has another version of it", path_);
      remove_files();
      return Outcome::kAgain;
    } else if (boot_.empty() || header->boot != boot_ ? !BlockMap::begin_boot(map_.get(), *header, boot_, map_path_)
                                                      : !BlockMap::is_valid(map_.get(), *header, map_path_)) {
      damage = "its map is damaged";
    }
    if (damage == nullptr) {
      return Outcome::kOpen;
    }
    if (version == nullptr) {
      return Outcome::kNone;
    }
    log::warn("\"{}\" is begun anew: {}", path_, damage);
    remove_files();
    return Outcome::kAgain;
  }

  [[nodiscard]] static Version version_of(const MapHeader& header) { return {header.validator, header.size}; }

  [[nodiscard]] bool is_there(const std::string& name) const {
    struct stat status{};
    return ::fstatat(directory_.fd(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
  }

  /// Opens the sparse file. False if there is none of the right size.
  bool open_data() {
    data_ = directory_.find_file(data_name_);
    struct stat status{};
    return data_ && ::fstat(data_.get(), &status) == 0 && static_cast<std::uint64_t>(status.st_size) == header_.size;
  }

  /// Not in place: after a power cut, the disk might have a part of the old map with the new header.
  void remove_files() {
    directory_.remove(map_name_);  // first: see `remove`
    directory_.remove(data_name_);
  }

  /// Fills the empty map, after making the sparse file.
  void make_files(const Version& version) {
    try {
      directory_.remove(data_name_);
      const UniqueFd data = directory_.open_file(data_name_, PrivateDirectory::Content::kTrusted);
      if (::ftruncate(data.get(), static_cast<off_t>(version.size)) != 0) {
        const Error error = system_error("Unable to write '" + path_ + "'", errno);
        throw errno == EFBIG ? Error(ErrorCode::kFull, error) : error;
      }
      const MapHeader header{.validator = version.validator, .size = version.size, .block_size = kBlock, .boot = boot_};
      BlockMap::make(map_.get(), header, map_path_);
    } catch (...) {
      remove_files();
      throw;
    }
  }

  std::shared_ptr<SparseFile> make() {
    UniqueFd directory = duplicate(directory_.fd(), directory_.path());
    return std::shared_ptr<SparseFile>(
        new SparseFile(std::move(directory), key_, std::move(data_), std::move(map_), header_, path_, map_path_));
  }

  const PrivateDirectory& directory_;
  const std::string& key_;
  std::string data_name_;
  std::string map_name_;
  std::string path_;
  std::string map_path_;
  const std::string& boot_;
  UniqueFd map_;
  UniqueFd data_;
  MapHeader header_;
  bool has_other_version_ = false;
};

std::shared_ptr<SparseFile> SparseFile::find(const PrivateDirectory& directory, const std::string& key,
                                             const std::string& boot) {
  return Opener(directory, key, boot).find();
}

std::shared_ptr<SparseFile> SparseFile::open(const PrivateDirectory& directory, const std::string& key,
                                             const Version& version, const std::string& boot) {
  if (version.size == 0 || version.size > kMostBytes || version.validator.size() > kMostValidator) {
    throw Error(ErrorCode::kUnsupported, "Unable to fetch '" + directory.path_of(key) +
                                             "' in parts: its size or its validator is beyond the limits");
  }
  Opener opener(directory, key, boot);
  if (auto file = opener.open(version)) {
    return file;
  }
  throw opener.busy();
}

}  // namespace pkgfs
