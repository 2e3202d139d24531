// SPDX-License-Identifier: MIT
#include "daemon/mount/handover.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cstdio>

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

bool send_message(int socket, keeper::Message message) {
  const std::array<char, keeper::kMessageBytes> bytes{message, 0};
  return ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL) > 0;
}

bool receive_message(int socket, keeper::Message expected, int limit_ms) {
  pollfd waiting{.fd = socket, .events = POLLIN, .revents = 0};
  std::array<char, keeper::kMessageBytes> message{};
  return ::poll(&waiting, 1, limit_ms) == 1 && ::recv(socket, message.data(), message.size(), MSG_DONTWAIT) > 0 &&
         message[0] == expected;
}

}  // namespace pkgfs
