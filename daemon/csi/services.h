// SPDX-License-Identifier: MIT
#pragma once

#include <atomic>
#include <string>

#include <csi.grpc.pb.h>
#include <registration.grpc.pb.h>

#include "daemon/csi/call.h"
#include "daemon/csi/node_volumes.h"
#include "daemon/csi/package_pins.h"

// The services of the driver. Each turns messages into calls of the classes that do the work. Calls that CSI has and
// that are missing here are answered with UNIMPLEMENTED.
namespace pkgfs::csi {

[[nodiscard]] inline StringMap copied(const google::protobuf::Map<std::string, std::string>& map) {
  return {map.begin(), map.end()};
}

class IdentityService final : public ::csi::v1::Identity::Service {
 public:
  IdentityService(std::string name, CallCounts& counts) : name_(std::move(name)), counts_(counts) {}

  grpc::Status GetPluginInfo(grpc::ServerContext* context, const ::csi::v1::GetPluginInfoRequest* request,
                             ::csi::v1::GetPluginInfoResponse* reply) override;
  grpc::Status GetPluginCapabilities(grpc::ServerContext* context,
                                     const ::csi::v1::GetPluginCapabilitiesRequest* request,
                                     ::csi::v1::GetPluginCapabilitiesResponse* reply) override;
  grpc::Status Probe(grpc::ServerContext* context, const ::csi::v1::ProbeRequest* request,
                     ::csi::v1::ProbeResponse* reply) override;

 private:
  std::string name_;
  CallCounts& counts_;
};

class NodeService final : public ::csi::v1::Node::Service {
 public:
  NodeService(std::string node_id, NodeVolumes& volumes, CallCounts& counts)
      : node_id_(std::move(node_id)), volumes_(volumes), counts_(counts) {}

  grpc::Status NodePublishVolume(grpc::ServerContext* context, const ::csi::v1::NodePublishVolumeRequest* request,
                                 ::csi::v1::NodePublishVolumeResponse* reply) override;
  grpc::Status NodeUnpublishVolume(grpc::ServerContext* context, const ::csi::v1::NodeUnpublishVolumeRequest* request,
                                   ::csi::v1::NodeUnpublishVolumeResponse* reply) override;
  grpc::Status NodeGetVolumeStats(grpc::ServerContext* context, const ::csi::v1::NodeGetVolumeStatsRequest* request,
                                  ::csi::v1::NodeGetVolumeStatsResponse* reply) override;
  grpc::Status NodeGetCapabilities(grpc::ServerContext* context, const ::csi::v1::NodeGetCapabilitiesRequest* request,
                                   ::csi::v1::NodeGetCapabilitiesResponse* reply) override;
  grpc::Status NodeGetInfo(grpc::ServerContext* context, const ::csi::v1::NodeGetInfoRequest* request,
                           ::csi::v1::NodeGetInfoResponse* reply) override;

 private:
  std::string node_id_;
  NodeVolumes& volumes_;
  CallCounts& counts_;
};

class ControllerService final : public ::csi::v1::Controller::Service {
 public:
  ControllerService(PackagePins& pins, CallCounts& counts) : pins_(pins), counts_(counts) {}

  grpc::Status CreateVolume(grpc::ServerContext* context, const ::csi::v1::CreateVolumeRequest* request,
                            ::csi::v1::CreateVolumeResponse* reply) override;
  grpc::Status DeleteVolume(grpc::ServerContext* context, const ::csi::v1::DeleteVolumeRequest* request,
                            ::csi::v1::DeleteVolumeResponse* reply) override;
  grpc::Status ValidateVolumeCapabilities(grpc::ServerContext* context,
                                          const ::csi::v1::ValidateVolumeCapabilitiesRequest* request,
                                          ::csi::v1::ValidateVolumeCapabilitiesResponse* reply) override;
  grpc::Status ControllerGetCapabilities(grpc::ServerContext* context,
                                         const ::csi::v1::ControllerGetCapabilitiesRequest* request,
                                         ::csi::v1::ControllerGetCapabilitiesResponse* reply) override;

 private:
  PackagePins& pins_;
  CallCounts& counts_;
};

/// What the kubelet's plugin watcher asks.
class RegistrationService final : public ::pluginregistration::Registration::Service {
 public:
  RegistrationService(std::string name, std::string endpoint)
      : name_(std::move(name)), endpoint_(std::move(endpoint)) {}

  grpc::Status GetInfo(grpc::ServerContext* context, const ::pluginregistration::InfoRequest* request,
                       ::pluginregistration::PluginInfo* reply) override;
  grpc::Status NotifyRegistrationStatus(grpc::ServerContext* context,
                                        const ::pluginregistration::RegistrationStatus* request,
                                        ::pluginregistration::RegistrationStatusResponse* reply) override;

 private:
  std::string name_;
  std::string endpoint_;
};

}  // namespace pkgfs::csi
