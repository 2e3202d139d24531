// SPDX-License-Identifier: MIT
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

#include "core/base/function_ref.h"
#include "core/vfs/file_system.h"
#include "fuse/request_store.h"

namespace pkgfs::fuse {

class Statistics;

/// READ requests whose bytes are still at a server. They occupy no thread: the source's thread that has fetched the
/// bytes sends the reply. So any number of readers may wait for a server that is slow or gone, while all other requests
/// are answered. Thread-safe.
class WaitingReads {
 public:
  /// Makes the kernel drop the pages that it has of a file. May wait in the kernel. Called by a thread of its own.
  using DropPages = std::function<void(fuse_ino_t file)>;

  /// `statistics` must outlive this. `drop_pages` is called for a file of which wrong bytes were given.
  WaitingReads(Statistics& statistics, DropPages drop_pages);
  /// Calls `stop`.
  ~WaitingReads();
  WaitingReads(const WaitingReads&) = delete;
  WaitingReads& operator=(const WaitingReads&) = delete;

  /// Takes over `req`, which asks for `count` bytes of the file `ino` from its byte `from` on. `extent` is the content
  /// of the whole file. Replies once the bytes are here or can't be had; this may be before the function returns.
  /// `number` is the number that the kernel gave the request; 0 if it isn't known, and then the request can't be
  /// interrupted. If the kernel has sent the request again, only this one is answered. `kept` is the copy for a
  /// successor of this daemon. The source of `extent` must outlive this.
  void add(fuse_req_t req, std::uint64_t number, fuse_ino_t ino, const vfs::Extent& extent, std::uint64_t from,
           std::size_t count, RequestStore::Kept kept = {});
  /// Replies EINTR to the request with this number. False: it isn't waiting here.
  bool interrupt(std::uint64_t number);
  /// Whether a request waits here whose file is one of those that `is_one` chooses, or a reply is just being sent.
  [[nodiscard]] bool is_reading(FunctionRef<bool(fuse_ino_t file)> is_one) const;
  /// Replies EIO to all waiting requests. A later `add` replies EIO at once. After `stop` has returned, no other
  /// thread uses a request that `add` took over.
  void stop();

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the callbacks that sources hold
};

}  // namespace pkgfs::fuse
