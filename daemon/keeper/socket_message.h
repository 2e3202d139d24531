// SPDX-License-Identifier: MIT
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

namespace pkgfs {

/// A message of a Unix socket with its text and what the kernel passes beside it: descriptors, or the credentials of
/// the sender (unix(7)). For sendmsg(2) and recvmsg(2).
class SocketMessage {
 public:
  static constexpr std::size_t kMostDescriptors = 2;

  /// `text` is sent, or gets what is received; it must outlive this object.
  explicit SocketMessage(std::span<char> text) : text_{text.data(), text.size()} {
    header_.msg_iov = &text_;
    header_.msg_iovlen = 1;
  }
  SocketMessage(const SocketMessage&) = delete;
  SocketMessage& operator=(const SocketMessage&) = delete;

  /// Sends to `address`, of `size` bytes, which must outlive this object.
  void to(void* address, socklen_t size) {
    header_.msg_name = address;
    header_.msg_namelen = size;
  }
  /// Sends duplicates of `descriptors`, at most kMostDescriptors.
  void attach(std::span<const int> descriptors) {
    make_room();
    header_.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const first = CMSG_FIRSTHDR(&header_);
    first->cmsg_level = SOL_SOCKET;
    first->cmsg_type = SCM_RIGHTS;
    first->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(first), descriptors.data(), descriptors.size_bytes());
  }
  /// Makes room for what comes beside the text.
  void make_room() {
    header_.msg_control = space_.data();
    header_.msg_controllen = space_.size();
  }
  [[nodiscard]] msghdr* header() { return &header_; }
  /// Copies what of this type was received beside the text, if it has the size of `value`. False: nothing has.
  template <typename Value>
  [[nodiscard]] bool received(int type, Value& value) {
    cmsghdr* const found = find(type);
    if (found == nullptr || found->cmsg_len != CMSG_LEN(sizeof(value))) {
      return false;
    }
    std::memcpy(&value, CMSG_DATA(found), sizeof(value));
    return true;
  }
  /// Closes the descriptors that were received, if they aren't those that were expected. The kernel may have put more
  /// of them into `space_` than `received` takes.
  void close_descriptors() {
    const cmsghdr* const found = find(SCM_RIGHTS);
    for (std::size_t at = CMSG_LEN(0); found != nullptr && at + sizeof(int) <= found->cmsg_len; at += sizeof(int)) {
      int descriptor = -1;
      std::memcpy(&descriptor, reinterpret_cast<const char*>(found) + at, sizeof(descriptor));
      ::close(descriptor);
    }
  }

 private:
  static constexpr std::size_t kBytes = CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(kMostDescriptors * sizeof(int));

  /// Null: nothing of this type was received.
  [[nodiscard]] cmsghdr* find(int type) {
    for (cmsghdr* each = CMSG_FIRSTHDR(&header_); each != nullptr; each = CMSG_NXTHDR(&header_, each)) {
      if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == type) {
        return each;
      }
    }
    return nullptr;
  }

  iovec text_;
  msghdr header_{};
  alignas(cmsghdr) std::array<char, kBytes> space_{};
};

}  // namespace pkgfs
