// SPDX-License-Identifier: MIT
#include "fuse/file_operations.h"

#include <algorithm>
#include <memory>

#include "core/vfs/file_system.h"
#include "fuse/call.h"
#include "fuse/content_prefetcher.h"
#include "fuse/servers.h"

namespace pkgfs::fuse {
namespace {

/// What `read_extent` returns if it has handed the request over, so that another thread replies.
constexpr auto kRepliesLater = static_cast<std::size_t>(-1);

/// Reads a file that the kernel opened without a request, or one whose bytes are a run of a container.
Result<std::size_t> read_extent(fuse_req_t req, fuse_ino_t ino, const Result<vfs::Extent>& extent, std::uint64_t offset,
                                std::span<char> buffer) {
  if (!extent) {
    return fail(extent.error());
  }
  const ByteRun& run = extent->run;
  if (offset >= run.length) {
    return extent->source->is_intact() ? Result<std::size_t>(0) : fail(EIO);
  }
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(buffer.size(), run.length - offset));
  const std::span<std::byte> out = std::as_writable_bytes(buffer.first(count));
  if (!extent->source->read_at_once(run, offset, out)) {
    if (!extent->source->is_here(run, offset, count)) {
      Call::waiting_reads(req).add(req, Servers::current_request(), ino, *extent, offset, count,
                                   Servers::keep_request());
      return kRepliesLater;
    }
    Servers::about_to_wait();
    if (const Result<void> done = extent->source->read_run(run, offset, out); !done) {
      return fail(done.error());
    }
  }
  if (ContentPrefetcher* const prefetcher = Call::options(req).prefetcher; prefetcher != nullptr && offset == 0) {
    prefetcher->file_was_read(Call::inode(req, ino), run.length);
  }
  return count;
}

/// Reads a file that `open` has opened.
Result<std::size_t> read_open(fuse_req_t req, fuse_ino_t ino, vfs::OpenFile& file, std::uint64_t offset,
                              std::span<char> buffer) {
  const Result<vfs::Extent> extent = file.extent();
  return extent ? read_extent(req, ino, extent, offset, buffer) : file.read(offset, std::as_writable_bytes(buffer));
}

}  // namespace

void FileOperations::open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* fi) {
  Call::guard(req, Request::kOpen, [&] {
    if ((fi->flags & O_ACCMODE) != O_RDONLY || (fi->flags & O_TRUNC) != 0) {
      return EROFS;
    }
    if (Call::skips_open(req)) {
      return ENOSYS;  // the kernel opens this and all other files itself from now on, and keeps their pages
    }
    Result<std::unique_ptr<vfs::OpenFile>> file = Call::fs(req).open(Call::inode(req, ino));
    if (!file) {
      return file.error();
    }
    fi->keep_cache = 1;
    fi->noflush = 1;
    // The kernel's, until `release`. Without a handle, `read` finds the bytes by the inode.
    vfs::OpenFile* const raw = Call::options(req).without_handles ? nullptr : file->release();
    fi->fh = reinterpret_cast<std::uint64_t>(raw);
    if (fuse_reply_open(req, fi) != 0) {
      delete raw;
    }
    return 0;
  });
}

void FileOperations::read(fuse_req_t req, fuse_ino_t ino, std::size_t size, off_t offset, fuse_file_info* fi) {
  Call::guard(req, Request::kRead, [&](Statistics::Measure& measure) {
    const std::span<char> buffer = Call::reply_buffer(req, size);
    const auto from = static_cast<std::uint64_t>(offset);
    auto* const file = reinterpret_cast<vfs::OpenFile*>(fi->fh);  // NOLINT(performance-no-int-to-ptr)
    const Result<std::size_t> count =
        file == nullptr ? read_extent(req, ino, Call::fs(req).extent(Call::inode(req, ino)), from, buffer)
                        : read_open(req, ino, *file, from, buffer);
    if (!count) {
      return count.error();
    }
    if (*count == kRepliesLater) {
      return 0;
    }
    measure.bytes_read(*count);
    fuse_reply_buf(req, buffer.data(), *count);
    return 0;
  });
}

void FileOperations::release(fuse_req_t req, fuse_ino_t /*ino*/, fuse_file_info* fi) {
  const Statistics::Measure measure(Call::statistics(req), Request::kRelease);
  delete reinterpret_cast<vfs::OpenFile*>(fi->fh);  // NOLINT(performance-no-int-to-ptr)
  fuse_reply_err(req, 0);
}

}  // namespace pkgfs::fuse
