// SPDX-License-Identifier: MIT
#include "daemon/mount/handover.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>

#include "daemon/keeper/socket_message.h"

namespace pkgfs {

std::optional<Handover> handover_of(const Environment& environment) {
  const std::optional<std::string> text = environment(keeper::kVariable);
  Handover told;
  long long ended = 0;
  int runs = 0;
  int version = 0;
  constexpr int kFields = 5;
  // NOLINTNEXTLINE(cert-err34-c): a number that is too large counts as another one, and no such descriptor exists
  if (!text ||
      std::sscanf(text->c_str(), "%d:%d:%d:%lld:%d", &version, &told.containers, &told.signal, &ended, &runs) !=
          kFields ||
      version != keeper::kVersion || told.containers < 0) {
    return std::nullopt;
  }
  told.ended = ended;
  told.runs = runs != 0;
  return told;
}

bool send_message(int socket, keeper::Message message, int descriptor) {
  std::array<char, keeper::kMessageBytes> bytes{message, 0};
  SocketMessage sending(bytes);
  if (descriptor >= 0) {
    sending.attach(std::array{descriptor});
  }
  return ::sendmsg(socket, sending.header(), MSG_NOSIGNAL) > 0;
}

bool receive_message(int socket, keeper::Message expected, int limit_ms) {
  UniqueFd none;
  return receive_message(socket, expected, limit_ms, none);
}

bool receive_message(int socket, keeper::Message expected, int limit_ms, UniqueFd& descriptor) {
  pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
  std::array<char, keeper::kMessageBytes> text{};
  SocketMessage message(text);
  message.make_room();
  if (::poll(&waiting, 1, limit_ms) != 1) {
    return false;
  }
  const ssize_t bytes = ::recvmsg(socket, message.header(), MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  int received = -1;
  if (bytes > 0 && message.received(SCM_RIGHTS, received)) {
    descriptor.reset(received);
  } else if (bytes >= 0) {  // an empty message may have some, too
    message.close_descriptors();
  }
  return bytes > 0 && text[0] == expected;
}

}  // namespace pkgfs
