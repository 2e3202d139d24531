// SPDX-License-Identifier: MIT
#pragma once

#include <exception>
#include <string>
#include <utility>

#include <grpcpp/support/status.h>

#include "core/base/error.h"

namespace pkgfs::csi {

/// Ends a call with a status that the specification of CSI prescribes, where no ErrorCode says it.
class Refusal : public std::exception {
 public:
  Refusal(grpc::StatusCode code, std::string text) : code_(code), text_(std::move(text)) {}
  [[nodiscard]] grpc::StatusCode code() const noexcept { return code_; }
  [[nodiscard]] const char* what() const noexcept override { return text_.c_str(); }

 private:
  grpc::StatusCode code_;
  std::string text_;
};

/// The status for an Error. The kubelet tries again after every status, and shows its text in the events of the pod.
[[nodiscard]] grpc::Status to_status(const Error& error);
/// The status of the exception that is being handled. Call it in a `catch (...)`.
[[nodiscard]] grpc::Status current_status();

}  // namespace pkgfs::csi
