// SPDX-License-Identifier: MIT
#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/csi/capabilities.h"
#include "daemon/csi/services.h"

namespace pkgfs::csi {
namespace {

using ::csi::v1::VolumeUsage;

std::string condition_text(const NodeVolumes::Health& health) {
  switch (health.state) {
    case MountState::kDead:
      return "the mount has ended; the driver makes it anew, and containers of the pod must be started again then";
    case MountState::kStuck:
      return "the mount doesn't answer";
    default:
      return health.was_rebound ? "the mount ended and was made anew; a container that ran then keeps the dead one "
                                  "until it is started again"
                                : "the mount answers";
  }
}

}  // namespace

grpc::Status NodeService::NodePublishVolume(grpc::ServerContext*, const ::csi::v1::NodePublishVolumeRequest* request,
                                            ::csi::v1::NodePublishVolumeResponse*) {
  return answer(counts_, "NodePublishVolume", [&] {
    check_field("volume_id", request->volume_id());
    check_path_field("target_path", request->target_path());
    if (!request->has_volume_capability()) {
      throw Error(ErrorCode::kUsage, "volume_capability is missing");
    }
    check_capability(request->volume_capability());
    const auto& context = request->volume_context();
    if (const auto pod = context.find("csi.storage.k8s.io/pod.name"); pod != context.end()) {
      const auto space = context.find("csi.storage.k8s.io/pod.namespace");
      log::info("volume \"{}\" is for the pod \"{}{}\"", request->volume_id(),
                space == context.end() ? "" : space->second + "/", pod->second);
    }
    volumes_.publish(request->volume_id(), request->target_path(), copied(request->volume_context()),
                     copied(request->secrets()));
  });
}

grpc::Status NodeService::NodeUnpublishVolume(grpc::ServerContext*,
                                              const ::csi::v1::NodeUnpublishVolumeRequest* request,
                                              ::csi::v1::NodeUnpublishVolumeResponse*) {
  return answer(counts_, "NodeUnpublishVolume", [&] {
    check_field("volume_id", request->volume_id());
    check_path_field("target_path", request->target_path());
    volumes_.unpublish(request->volume_id(), request->target_path());
  });
}

grpc::Status NodeService::NodeGetVolumeStats(grpc::ServerContext*, const ::csi::v1::NodeGetVolumeStatsRequest* request,
                                             ::csi::v1::NodeGetVolumeStatsResponse* reply) {
  return answer(counts_, "NodeGetVolumeStats", [&] {
    check_field("volume_id", request->volume_id());
    check_field("volume_path", request->volume_path());
    const NodeVolumes::Health health = volumes_.health(request->volume_id(), request->volume_path());
    if (health.size) {
      const auto add = [&](VolumeUsage::Unit unit, std::uint64_t total, std::uint64_t available) {
        VolumeUsage* const usage = reply->add_usage();
        usage->set_unit(unit);
        usage->set_total(static_cast<std::int64_t>(total));
        usage->set_available(static_cast<std::int64_t>(available));
        usage->set_used(static_cast<std::int64_t>(total - available));
      };
      add(VolumeUsage::BYTES, health.size->bytes, health.size->free_bytes);
      add(VolumeUsage::INODES, health.size->inodes, 0);
    }
    reply->mutable_volume_condition()->set_abnormal(health.state != MountState::kLive || health.was_rebound);
    reply->mutable_volume_condition()->set_message(condition_text(health));
  });
}

grpc::Status NodeService::NodeGetCapabilities(grpc::ServerContext*, const ::csi::v1::NodeGetCapabilitiesRequest*,
                                              ::csi::v1::NodeGetCapabilitiesResponse* reply) {
  return answer(counts_, "NodeGetCapabilities", [&] {
    using Rpc = ::csi::v1::NodeServiceCapability::RPC;
    for (const Rpc::Type type : {Rpc::GET_VOLUME_STATS, Rpc::VOLUME_CONDITION}) {
      reply->add_capabilities()->mutable_rpc()->set_type(type);
    }
  });
}

grpc::Status NodeService::NodeGetInfo(grpc::ServerContext*, const ::csi::v1::NodeGetInfoRequest*,
                                      ::csi::v1::NodeGetInfoResponse* reply) {
  return answer(counts_, "NodeGetInfo", [&] { reply->set_node_id(node_id_); });
}

}  // namespace pkgfs::csi
