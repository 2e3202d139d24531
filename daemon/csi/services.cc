// SPDX-License-Identifier: MIT
#include "daemon/csi/services.h"

#include "core/base/log.h"

namespace pkgfs::csi {

grpc::Status IdentityService::GetPluginInfo(grpc::ServerContext*, const ::csi::v1::GetPluginInfoRequest*,
                                            ::csi::v1::GetPluginInfoResponse* reply) {
  return answer(counts_, "GetPluginInfo", [&] {
    reply->set_name(name_);
    reply->set_vendor_version(PKGFS_VERSION);
  });
}

grpc::Status IdentityService::GetPluginCapabilities(grpc::ServerContext*,
                                                    const ::csi::v1::GetPluginCapabilitiesRequest*,
                                                    ::csi::v1::GetPluginCapabilitiesResponse* reply) {
  return answer(counts_, "GetPluginCapabilities", [&] {
    reply->add_capabilities()->mutable_service()->set_type(::csi::v1::PluginCapability::Service::CONTROLLER_SERVICE);
  });
}

grpc::Status IdentityService::Probe(grpc::ServerContext*, const ::csi::v1::ProbeRequest*,
                                    ::csi::v1::ProbeResponse* reply) {
  return answer(counts_, "Probe", [&] { reply->mutable_ready()->set_value(true); });
}

grpc::Status RegistrationService::GetInfo(grpc::ServerContext*, const ::pluginregistration::InfoRequest*,
                                          ::pluginregistration::PluginInfo* reply) {
  reply->set_type("CSIPlugin");
  reply->set_name(name_);
  reply->set_endpoint(endpoint_);
  reply->add_supported_versions("1.0.0");
  return grpc::Status::OK;
}

grpc::Status RegistrationService::NotifyRegistrationStatus(grpc::ServerContext*,
                                                           const ::pluginregistration::RegistrationStatus* request,
                                                           ::pluginregistration::RegistrationStatusResponse*) {
  if (request->plugin_registered()) {
    log::info("the kubelet has registered the driver \"{}\"", name_);
  } else {
    log::warn("the kubelet refuses the driver \"{}\": {}", name_, request->error());
  }
  return grpc::Status::OK;
}

}  // namespace pkgfs::csi
