// SPDX-License-Identifier: MIT
#include "fuse/request_buffer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "core/base/log.h"
#include "fuse/request_header.h"

namespace pkgfs::fuse {

RequestBuffer::RequestBuffer(fuse_session* session, RequestStore* store, std::size_t thread)
    : session_(session), store_(store) {
  if (store == nullptr) {
    return;
  }
  slot_ = thread < RequestStore::kThreads ? store->open_slot(thread) : nullptr;
  buffer_.mem = slot_;
  if (slot_ == nullptr) {
    log::debug("the requests of one thread can't be kept for a successor of this daemon");
  }
}

RequestBuffer::~RequestBuffer() {
  if (slot_ == nullptr) {
    std::free(buffer_.mem);
  }
}

int RequestBuffer::read() {
  if (buffer_.mem == nullptr) {
    buffer_.mem = std::malloc(store_->slot_bytes());
    if (buffer_.mem == nullptr) {
      return -ENOMEM;
    }
  }
  ssize_t length = 0;
  do {
    length = ::read(fuse_session_fd(session_), buffer_.mem, store_->slot_bytes());
  } while (length < 0 && errno == ENOENT);  // the request was interrupted before it was copied
  const int error = errno;
  if (fuse_session_exited(session_) != 0) {
    return 0;
  }
  if (length < 0) {
    switch (error) {
      case ENODEV:  // unmounted, or the connection was aborted
        fuse_session_exit(session_);
        return 0;
      case EINVAL:
        give_up_slot();
        return -EINTR;
      default:
        return -error;
    }
  }
  if (static_cast<std::size_t>(length) < sizeof(fuse_in_header)) {
    return -EIO;
  }
  buffer_.size = static_cast<std::size_t>(length);
  return static_cast<int>(length);
}

void RequestBuffer::give_up_slot() {
  log::debug("the kernel's requests are too long to be kept for a successor of this daemon");
  if (slot_ == nullptr) {
    std::free(buffer_.mem);
  }
  slot_ = nullptr;
  store_ = nullptr;
  buffer_ = {};
}

void RequestBuffer::put(std::span<const char> request) {
  auto* const memory = static_cast<char*>(buffer_.mem);
  RequestStore::put(memory, request);
  if (store_ != nullptr && request.size() < store_->slot_bytes()) {
    memory[request.size()] = '\0';  // a recovered request may hold a text without an end
  }
  buffer_.size = request.size();
  buffer_.flags = {};
}

RequestStore::Kept RequestBuffer::keep() const {
  if (store_ == nullptr) {
    return {};
  }
  return store_->keep({static_cast<const char*>(buffer_.mem), buffer_.size});
}

}  // namespace pkgfs::fuse
