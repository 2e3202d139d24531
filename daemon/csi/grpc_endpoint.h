// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <grpcpp/server.h>
#include <grpcpp/support/status.h>

#include "core/base/unique_fd.h"
#include "daemon/http/unix_listener.h"

namespace pkgfs::csi {

/// Serves gRPC services at a Unix socket that only this user may use. gRPC itself would take the socket away from a
/// driver that listens there already, so this object accepts the connections and gives them to gRPC. The services must
/// outlive it.
class GrpcEndpoint {
 public:
  /// Makes the directories above `path`. Throws Error as UnixListener does.
  GrpcEndpoint(const std::string& path, const std::vector<grpc::Service*>& services);
  /// Lets running calls end for a few seconds, and removes the socket.
  ~GrpcEndpoint();
  GrpcEndpoint(const GrpcEndpoint&) = delete;
  GrpcEndpoint& operator=(const GrpcEndpoint&) = delete;

 private:
  void accept_clients();

  std::unique_ptr<UnixListener> listener_;
  UniqueFd stop_;  // an eventfd
  std::unique_ptr<grpc::Server> server_;
  std::thread thread_;
};

}  // namespace pkgfs::csi
