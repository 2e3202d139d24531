// SPDX-License-Identifier: MIT
#include "daemon/csi/refusal.h"

#include "core/base/printable.h"
#include "daemon/volumes/volume_protocol.h"

namespace pkgfs::csi {
namespace {

/// A status travels in the trailer of an answer, of which clients accept 8 KiB, percent-encoded.
constexpr std::size_t kLongestText = 2000;

grpc::StatusCode code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUsage:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case ErrorCode::kNotFound:
      return grpc::StatusCode::NOT_FOUND;
    case ErrorCode::kCorrupt:
    case ErrorCode::kUnsupported:
    case ErrorCode::kResolve:
    case ErrorCode::kLoad:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case ErrorCode::kPermission:
      return grpc::StatusCode::PERMISSION_DENIED;
    case ErrorCode::kFull:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case ErrorCode::kBusy:
    case ErrorCode::kNetwork:
    case ErrorCode::kInterrupted:
      return grpc::StatusCode::UNAVAILABLE;
    case ErrorCode::kIo:
    case ErrorCode::kMount:
    case ErrorCode::kInternal:
      return grpc::StatusCode::INTERNAL;
  }
  return grpc::StatusCode::INTERNAL;
}

grpc::Status status(grpc::StatusCode code, const std::string& text) {
  return {code, shortened(printable(text), kLongestText)};
}

}  // namespace

grpc::Status to_status(const Error& error) { return status(code_of(error.code()), one_line(error)); }

grpc::Status current_status() {
  try {
    throw;
  } catch (const Refusal& refusal) {
    return status(refusal.code(), refusal.what());
  } catch (...) {
    return to_status(current_error());
  }
}

}  // namespace pkgfs::csi
