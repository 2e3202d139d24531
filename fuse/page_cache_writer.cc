// SPDX-License-Identifier: MIT
#include "fuse/page_cache_writer.h"

#include <cerrno>
#include <span>
#include <string>
#include <system_error>

#include "core/base/log.h"
#include "core/vfs/walk.h"

namespace pkgfs::fuse {
namespace {

constexpr std::uint64_t kCheckEvery = 4U << 20U;  // bytes
constexpr auto kPause = std::chrono::seconds(1);

}  // namespace

int PageCacheWriter::write(const vfs::DirEntry& entry, bool ask_first, const std::atomic<bool>& stopping) {
  const Result<vfs::Extent> extent = fs_.extent(entry.inode);
  if (!extent) {
    return extent.error();
  }
  if (const int error = ask_first ? cache_->store(entry.inode, {}) : 0; error != 0) {
    return error;
  }
  if (stopping) {
    return EINTR;
  }
  const auto content = std::span(buffer_).first(static_cast<std::size_t>(extent->run.length));
  if (const Result<void> read = extent->source->read(extent->run.offset, content); !read) {
    return read.error();  // a reader of the file gets the error
  }
  const int error = cache_->store(entry.inode, content);
  if (error == 0) {
    statistics_.add_prefetched(content.size());
    since_check_ += content.size();
  }
  return error;
}

bool PageCacheWriter::list(vfs::Inode directory, std::uint64_t from) {
  const std::string path = vfs::path_of(fs_, directory);
  if (path.empty()) {
    return false;
  }
  const int error = cache_->list(path, from);
  if (error == EPERM || error == ENOSYS) {
    log::debug("files that no reader has listed are not prefetched: {}", std::generic_category().message(error));
    cache_->end_listing();
    can_list_ = false;
  }
  return error == 0;
}

bool PageCacheWriter::is_memory_short() {
  if (since_check_ < kCheckEvery) {
    return false;
  }
  since_check_ = 0;
  if (!cache_->is_memory_short()) {
    return false;
  }
  log::debug("memory is short: no files are prefetched for {} s", kPause.count());
  pause_until_ = std::chrono::steady_clock::now() + kPause;
  since_check_ = kCheckEvery;
  return true;
}

}  // namespace pkgfs::fuse
