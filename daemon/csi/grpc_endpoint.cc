// SPDX-License-Identifier: MIT
#include "daemon/csi/grpc_endpoint.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>

#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>

#include "core/base/error.h"
#include "core/base/log.h"

namespace pkgfs::csi {
namespace {

/// The orchestrator's messages have a few KiB; a lock file in an attribute has at most 1 MiB (attributes.cc).
constexpr int kMostMessageBytes = 4 << 20U;
constexpr auto kGrace = std::chrono::seconds(5);
/// After a refusal of accept(2), such as too many open files.
constexpr auto kPause = std::chrono::milliseconds(100);

}  // namespace

GrpcEndpoint::GrpcEndpoint(const std::string& path, const std::vector<grpc::Service*>& services) {
  const std::string what = "Unable to listen at \"" + path + "\"";
  std::error_code failed;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), failed);
  if (failed) {
    throw system_error(what, failed.value());
  }
  listener_ = std::make_unique<UnixListener>(path, what, UnixListener::Access::kOwnerOnly);
  stop_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!stop_) {
    throw system_error(what, errno);
  }
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMostMessageBytes);
  for (grpc::Service* service : services) {
    builder.RegisterService(service);
  }
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) {
    throw Error(ErrorCode::kInternal, {what, "gRPC doesn't start"});
  }
  thread_ = std::thread([this] { accept_clients(); });
}

GrpcEndpoint::~GrpcEndpoint() {
  const std::uint64_t one = 1;
  (void)!::write(stop_.get(), &one, sizeof(one));
  thread_.join();
  server_->Shutdown(std::chrono::system_clock::now() + kGrace);
}

void GrpcEndpoint::accept_clients() {
  std::array<pollfd, 2> watched{
      {{.fd = listener_->fd(), .events = POLLIN, .revents = 0}, {.fd = stop_.get(), .events = POLLIN, .revents = 0}}};
  while (true) {
    if (::poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) {
      log::warn("the driver can't wait for connections: {}", std::generic_category().message(errno));
      std::this_thread::sleep_for(kPause);
      continue;
    }
    if (watched[1].revents != 0) {
      return;
    }
    const int client = ::accept4(listener_->fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (client >= 0) {
      grpc::AddInsecureChannelFromFd(server_.get(), client);  // owns the descriptor from now on
    } else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
      std::this_thread::sleep_for(kPause);
    }
  }
}

}  // namespace pkgfs::csi
