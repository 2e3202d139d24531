// SPDX-License-Identifier: MIT
#include "tests/support/fuse/kernel.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>

#include <cerrno>
#include <cstdlib>
#include <stdexcept>
#include <system_error>

namespace pkgfs::test {
namespace {

constexpr std::size_t kLargestAnswer = 1U << 18U;
constexpr auto kPatience = std::chrono::seconds(5);

fuse_custom_io socket_io() {
  fuse_custom_io functions{};  // newer libfuse has more of them
  functions.writev = [](int fd, iovec* iov, int count, void*) { return ::writev(fd, iov, count); };
  functions.read = [](int fd, void* buffer, size_t size, void*) { return ::read(fd, buffer, size); };
  return functions;
}

}  // namespace

Kernel::Kernel(fuse::Adapter& adapter, std::uint32_t capabilities, const fuse::ServerOptions* servers)
    : buffer_(std::make_unique<fuse_buf>()), answer_(kLargestAnswer, '\0') {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    throw std::system_error(errno, std::generic_category(), "socketpair");
  }
  kernel_ = ends[0];
  char name[] = "pkgfs";
  char* argv[] = {name, nullptr};
  fuse_args args = FUSE_ARGS_INIT(1, argv);
  session_ = fuse_session_new(&args, &adapter.operations(), sizeof(fuse_lowlevel_ops), &adapter);
  fuse_opt_free_args(&args);
  static const fuse_custom_io io = socket_io();
  const int taken = session_ == nullptr ? -ENOMEM : fuse_session_custom_io(session_, &io, ends[1]);
  if (taken != 0) {
    if (session_ != nullptr) {
      fuse_session_destroy(session_);
    }
    ::close(ends[0]);
    ::close(ends[1]);
    if (taken == -ENOTSUP) {  // by default since 3.18
      throw Unavailable(std::string("libfuse ") + fuse_pkgversion() + " was built without fuse_session_custom_io");
    }
    throw std::runtime_error("libfuse takes no session without a device");
  }
  fuse_init_in init{};
  init.major = FUSE_KERNEL_VERSION;
  init.minor = 34;
  init.max_readahead = 65536;
  init.flags = FUSE_DO_READDIRPLUS | FUSE_CACHE_SYMLINKS | FUSE_ASYNC_READ | capabilities;
  init_ = ask(FUSE_INIT, 0, &init, sizeof(init));
  if (servers != nullptr) {
    servers_ = std::make_unique<fuse::Servers>(session_, adapter.statistics(), *servers);
    servers_->start();
  }
}

Kernel::~Kernel() {
  servers_.reset();
  ::close(kernel_);
  fuse_session_destroy(session_);
  std::free(buffer_->mem);
}

std::uint64_t Kernel::send(fuse_opcode opcode, std::uint64_t node, const void* body, std::size_t size) {
  fuse_in_header header{};
  header.len = static_cast<std::uint32_t>(sizeof(header) + size);
  header.opcode = opcode;
  header.unique = ++unique_;
  header.nodeid = node;
  header.pid = thread_;
  request_.assign(reinterpret_cast<const char*>(&header), sizeof(header));
  request_.append(static_cast<const char*>(body), size);
  if (::write(kernel_, request_.data(), request_.size()) != static_cast<ssize_t>(request_.size())) {
    throw std::system_error(errno, std::generic_category(), "a request can't be sent");
  }
  unanswered_.insert(unique_);
  if (opcode == FUSE_INTERRUPT) {
    interrupted_[unique_] = static_cast<const fuse_interrupt_in*>(body)->unique;
  }
  return unique_;
}

std::uint64_t Kernel::send_again() {
  constexpr std::uint64_t kResent = std::uint64_t{1} << 63U;  // FUSE_UNIQUE_RESEND
  fuse_in_header header{};
  std::memcpy(&header, request_.data(), sizeof(header));
  unanswered_.erase(header.unique);
  header.unique |= kResent;
  std::memcpy(request_.data(), &header, sizeof(header));
  if (::write(kernel_, request_.data(), request_.size()) != static_cast<ssize_t>(request_.size())) {
    throw std::system_error(errno, std::generic_category(), "a request can't be sent");
  }
  unanswered_.insert(header.unique);
  return header.unique;
}

void Kernel::serve() {
  if (fuse_session_receive_buf(session_, buffer_.get()) <= 0) {
    throw std::runtime_error("the session doesn't take a request");
  }
  fuse_session_process_buf(session_, buffer_.get());
}

Reply Kernel::receive() {
  // Without servers, this thread has answered by now.
  const auto reply = receive_any(servers_ != nullptr ? kPatience : std::chrono::milliseconds(0));
  if (!reply) {
    throw std::runtime_error("no reply to request " + std::to_string(unique_));
  }
  if (reply->first != unique_) {
    throw std::runtime_error("a reply to another request than " + std::to_string(unique_));
  }
  return reply->second;
}

std::optional<std::pair<std::uint64_t, Reply>> Kernel::receive_any(std::chrono::milliseconds patience) {
  while (true) {
    pollfd waiting{.fd = kernel_, .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, static_cast<int>(patience.count())) != 1) {
      return std::nullopt;
    }
    const ssize_t length = ::read(kernel_, answer_.data(), answer_.size());
    fuse_out_header out{};
    if (length < static_cast<ssize_t>(sizeof(out))) {
      throw std::runtime_error("a short reply");
    }
    std::memcpy(&out, answer_.data(), sizeof(out));
    if (out.len != static_cast<std::uint32_t>(length)) {
      throw std::runtime_error("a reply of the wrong length to request " + std::to_string(out.unique));
    }
    if (out.unique != 0 && unanswered_.erase(out.unique) == 0) {  // 0: a notice of the daemon
      ++late_replies_;
      continue;
    }
    if (const auto found = interrupted_.find(out.unique);
        found != interrupted_.end() && !unanswered_.contains(found->second)) {
      continue;
    }
    return std::pair(out.unique,
                     Reply{.error = -out.error,
                           .body = answer_.substr(sizeof(out), static_cast<std::size_t>(length) - sizeof(out))});
  }
}

void Kernel::expect(std::uint64_t request) {
  unanswered_.insert(request);
  unique_ = std::max(unique_, request);
}

void Kernel::hang_up() { ::shutdown(kernel_, SHUT_RDWR); }

Reply Kernel::ask(fuse_opcode opcode, std::uint64_t node, const void* body, std::size_t size) {
  send(opcode, node, body, size);
  if (servers_ == nullptr) {
    serve();
  }
  return receive();
}

Reply Kernel::lookup(std::uint64_t directory, std::string_view name) {
  const std::string text(name);
  return ask(FUSE_LOOKUP, directory, text.c_str(), text.size() + 1);
}

std::uint64_t Kernel::node(std::uint64_t directory, std::string_view name) {
  return lookup(directory, name).as<fuse_entry_out>().nodeid;
}

}  // namespace pkgfs::test
