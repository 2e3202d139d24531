// SPDX-License-Identifier: MIT
#include "daemon/keeper/description.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace pkgfs::keeper {
namespace {

/// Receives one message. Returns how many descriptors came with it, or a negative number: it isn't of the expected
/// form, or its descriptors don't have the numbers from `first` on.
int receive_part(Description& description, int first) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kDescribedAtOnce * sizeof(int))> space{};
  iovec text{&description, sizeof(description)};
  msghdr header{};
  header.msg_iov = &text;
  header.msg_iovlen = 1;
  header.msg_control = space.data();
  header.msg_controllen = space.size();
  // Without MSG_CMSG_CLOEXEC: the successor inherits them.
  if (::recvmsg(kControl, &header, 0) != static_cast<ssize_t>(sizeof(description)) ||
      (header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0 || description.message != kDescription ||
      description.connection.back() != '\0') {
    return -1;
  }
  const cmsghdr* const passed = CMSG_FIRSTHDR(&header);
  if (passed == nullptr || passed->cmsg_level != SOL_SOCKET || passed->cmsg_type != SCM_RIGHTS) {
    return -1;
  }
  const int count = static_cast<int>((passed->cmsg_len - CMSG_LEN(0)) / sizeof(int));
  for (int i = 0; i < count; ++i) {
    int descriptor = -1;
    std::memcpy(&descriptor, CMSG_DATA(passed) + static_cast<std::size_t>(i) * sizeof(int), sizeof(descriptor));
    if (descriptor != first + i) {
      return -1;
    }
  }
  return count;
}

/// Writes `text` in place of `word`, as far as there is room.
void write_over(char* word, const char* text) {
  const std::size_t room = std::strlen(word);
  std::memset(word, 0, room);
  std::memcpy(word, text, std::min(room, std::strlen(text)));
}

}  // namespace

Told read_command_line(int argc, char** argv, int& containers) {
  constexpr int kFewest = 6;
  // NOLINTNEXTLINE(cert-err34-c): what isn't a number isn't the version either
  if (argc < kFewest || std::atoi(argv[1]) != kVersion) {
    return Told::kNothing;
  }
  if (std::strcmp(argv[2], kLaterContainers) == 0) {
    return ::fcntl(kControl, F_GETFD) < 0 ? Told::kNothing : Told::kLater;
  }
  char* end = nullptr;
  containers = static_cast<int>(std::strtol(argv[2], &end, 10));
  return containers < 0 || *end != '\0' || ::fcntl(kContainers - 1, F_GETFD) < 0 ? Told::kNothing : Told::kAll;
}

bool receive_description(char** argv, int& containers) {
  Description description;
  int next = kDevice;
  do {
    const int count = receive_part(description, next);
    if (count <= 0) {
      return false;
    }
    next += count;
  } while (next < kContainers + static_cast<int>(description.containers));
  containers = next - kContainers;
  std::array<char, 16> number{};
  std::snprintf(number.data(), number.size(), "%d", containers);
  write_over(argv[2], number.data());
  write_over(argv[3], description.connection.data());
  return containers == static_cast<int>(description.containers);
}

}  // namespace pkgfs::keeper
