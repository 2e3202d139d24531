// SPDX-License-Identifier: MIT
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <cstddef>
#include <span>

#include "fuse/request_store.h"

namespace pkgfs::fuse {

/// The memory in which one thread receives requests: a slot of a RequestStore, or else a buffer that libfuse allocates.
/// For that thread alone.
class RequestBuffer {
 public:
  /// `store` may be null; `thread` is the number of the thread's slot. `store` and `session` must outlive this object.
  /// If there is no slot with this number, the thread has a buffer of its own.
  RequestBuffer(fuse_session* session, RequestStore* store, std::size_t thread);
  ~RequestBuffer();
  RequestBuffer(const RequestBuffer&) = delete;
  RequestBuffer& operator=(const RequestBuffer&) = delete;

  /// Receives a request, as fuse_session_receive_buf does. In a slot, the request is kept as soon as the kernel has
  /// copied it.
  [[nodiscard]] int receive() { return store_ == nullptr ? fuse_session_receive_buf(session_, &buffer_) : read(); }
  /// The request that was received or put.
  [[nodiscard]] const fuse_buf& request() const { return buffer_; }
  /// Whether `put` may be called: not before libfuse has allocated the buffer.
  [[nodiscard]] bool has_memory() const { return buffer_.mem != nullptr; }
  /// Copies `request` here, as if it had been received.
  void put(std::span<const char> request);
  /// The request was answered, or is kept elsewhere: it is no longer kept here.
  void done() {
    if (slot_ != nullptr) {
      RequestStore::clear(slot_);
    }
  }
  /// Keeps a copy of the request. Without a store, does nothing.
  [[nodiscard]] RequestStore::Kept keep() const;

 private:
  /// Reads the device without libfuse, which would read as much as its own buffers hold.
  int read();
  /// Call it if the kernel sends longer requests than a slot holds. From now on, libfuse reads.
  void give_up_slot();

  fuse_session* session_;
  RequestStore* store_;
  char* slot_ = nullptr;  // null: requests aren't kept here
  fuse_buf buffer_{};
};

}  // namespace pkgfs::fuse
