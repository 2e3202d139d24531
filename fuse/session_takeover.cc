// SPDX-License-Identifier: MIT
// The members of Session for a mount that another daemon has served before.
#define FUSE_USE_VERSION 314
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <vector>

#include "core/base/error.h"
#include "core/base/unique_fd.h"
#include "fuse/session.h"

namespace pkgfs::fuse {

bool ask_to_resend(int device) {
  constexpr int kResend = 7;  // FUSE_NOTIFY_RESEND, which the headers of Debian 12 don't have
  fuse_out_header message{};
  message.len = sizeof(message);
  message.error = kResend;
  return ::write(device, &message, sizeof(message)) == static_cast<ssize_t>(sizeof(message));
}

std::vector<std::byte> Session::reply_to(std::vector<std::byte> request) {
  constexpr std::size_t kMostReply = 4096;  // the reply to INIT has some 80 bytes
  const char* const what = "Unable to answer the first request of the kernel";
  const int device = fuse_session_fd(session_);
  const UniqueFd kept(::fcntl(device, F_DUPFD_CLOEXEC, 0));
  std::array<int, 2> ends{};
  if (!kept || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()) != 0) {
    throw system_error(what, errno);
  }
  const UniqueFd mine(ends[0]);
  const UniqueFd libfuse(ends[1]);
  // libfuse writes replies to the descriptor of its session, whatever that is.
  if (::dup3(libfuse.get(), device, O_CLOEXEC) < 0) {
    throw system_error(what, errno);
  }
  fuse_buf buffer{};
  buffer.size = request.size();
  buffer.mem = request.data();
  fuse_session_process_buf(session_, &buffer);
  std::vector<std::byte> reply(kMostReply);
  const ssize_t size = ::read(mine.get(), reply.data(), reply.size());
  reply.resize(static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  if (::dup3(kept.get(), device, O_CLOEXEC) < 0) {
    throw system_error(what, errno);
  }
  return reply;
}

bool Session::resend() { return ask_to_resend(fuse_session_fd(session_)); }

void Session::take_back() {
  if (!servers_->take_back()) {
    (void)resend();
  }
}

}  // namespace pkgfs::fuse
