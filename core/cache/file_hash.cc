// SPDX-License-Identifier: MIT
#include "core/cache/file_hash.h"

#include <sys/stat.h>

#include <cerrno>
#include <map>
#include <tuple>
#include <utility>

#include "core/base/byte_source.h"
#include "core/base/error.h"
#include "core/base/source_hash.h"
#include "core/base/thread_annotations.h"

namespace pkgfs {
namespace {

using FileKey = std::tuple<dev_t, ino_t, off_t, time_t, long, time_t, long>;

FileKey key_of(const struct stat& st) {
  return {st.st_dev,          st.st_ino,         st.st_size,        st.st_mtim.tv_sec,
          st.st_mtim.tv_nsec, st.st_ctim.tv_sec, st.st_ctim.tv_nsec};
}

/// A daemon may run for months, and files come and go.
constexpr std::size_t kMostKnown = std::size_t{1} << 17U;

}  // namespace

Sha256 hash_file(const std::string& path) { return hash_or_throw(*MappedFile::open(path), path); }

struct FileHashes::State {
  Mutex mutex;
  std::map<std::string, std::pair<FileKey, Sha256>> known PKGFS_GUARDED_BY(mutex);
};

std::shared_ptr<FileHashes::State> FileHashes::shared_;

void FileHashes::share() { shared_ = std::make_shared<State>(); }

FileHashes::FileHashes() : state_(shared_ != nullptr ? shared_ : std::make_shared<State>()) {}
FileHashes::~FileHashes() = default;

const Sha256& FileHashes::of(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) {
    throw system_error("Unable to open \"" + path + "\"", errno);
  }
  const FileKey key = key_of(st);
  {
    const MutexLock lock(state_->mutex);
    if (const auto at = state_->known.find(path); at != state_->known.end() && at->second.first == key) {
      return last_ = at->second.second;
    }
  }
  last_ = hash_file(path);
  const MutexLock lock(state_->mutex);
  if (state_->known.size() >= kMostKnown) {
    state_->known.clear();
  }
  state_->known.insert_or_assign(path, std::pair(key, last_));
  return last_;
}

}  // namespace pkgfs
