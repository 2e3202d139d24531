// SPDX-License-Identifier: MIT
#include "core/base/error.h"
#include "daemon/csi/capabilities.h"
#include "daemon/csi/services.h"

namespace pkgfs::csi {
grpc::Status ControllerService::CreateVolume(grpc::ServerContext*, const ::csi::v1::CreateVolumeRequest* request,
                                             ::csi::v1::CreateVolumeResponse* reply) {
  return answer(counts_, "CreateVolume", [&] {
    check_field("name", request->name());
    if (request->volume_capabilities().empty()) {
      throw Error(ErrorCode::kUsage, "volume_capabilities are missing");
    }
    for (const auto& capability : request->volume_capabilities()) {
      check_capability(capability);
    }
    if (request->has_volume_content_source()) {
      throw Error(ErrorCode::kUsage, "a package can't be made from a snapshot or another volume");
    }
    const auto& range = request->capacity_range();
    if (range.required_bytes() < 0 || range.limit_bytes() < 0 ||
        (range.limit_bytes() != 0 && range.limit_bytes() < range.required_bytes())) {
      throw Error(ErrorCode::kUsage, "capacity_range is no range");
    }
    const PackagePins::Pin pin = pins_.create(request->name(), copied(request->parameters()),
                                              copied(request->secrets()), range.required_bytes(), range.limit_bytes());
    ::csi::v1::Volume* const volume = reply->mutable_volume();
    volume->set_volume_id(request->name());
    volume->set_capacity_bytes(pin.capacity);
    volume->mutable_volume_context()->insert(pin.context.begin(), pin.context.end());
  });
}

grpc::Status ControllerService::DeleteVolume(grpc::ServerContext*, const ::csi::v1::DeleteVolumeRequest* request,
                                             ::csi::v1::DeleteVolumeResponse*) {
  return answer(counts_, "DeleteVolume", [&] {
    check_field("volume_id", request->volume_id());
    pins_.remove(request->volume_id());
  });
}

grpc::Status ControllerService::ValidateVolumeCapabilities(grpc::ServerContext*,
                                                           const ::csi::v1::ValidateVolumeCapabilitiesRequest* request,
                                                           ::csi::v1::ValidateVolumeCapabilitiesResponse* reply) {
  return answer(counts_, "ValidateVolumeCapabilities", [&] {
    check_field("volume_id", request->volume_id());
    if (request->volume_capabilities().empty()) {
      throw Error(ErrorCode::kUsage, "volume_capabilities are missing");
    }
    if (!pins_.exists(request->volume_id())) {
      throw Refusal(grpc::StatusCode::NOT_FOUND, "there is no volume \"" + request->volume_id() + "\"");
    }
    try {
      for (const auto& capability : request->volume_capabilities()) {
        check_capability(capability);
      }
    } catch (const Error& error) {
      reply->set_message(error.message());
      return;
    }
    auto* const confirmed = reply->mutable_confirmed();
    confirmed->mutable_volume_capabilities()->CopyFrom(request->volume_capabilities());
    *confirmed->mutable_volume_context() = request->volume_context();
    *confirmed->mutable_parameters() = request->parameters();
  });
}

grpc::Status ControllerService::ControllerGetCapabilities(grpc::ServerContext*,
                                                          const ::csi::v1::ControllerGetCapabilitiesRequest*,
                                                          ::csi::v1::ControllerGetCapabilitiesResponse* reply) {
  return answer(counts_, "ControllerGetCapabilities", [&] {
    using Rpc = ::csi::v1::ControllerServiceCapability::RPC;
    reply->add_capabilities()->mutable_rpc()->set_type(Rpc::CREATE_DELETE_VOLUME);
  });
}

}  // namespace pkgfs::csi
