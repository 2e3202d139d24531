// SPDX-License-Identifier: MIT
#include "daemon/csi/driver_metrics.h"

namespace pkgfs::csi {
namespace {

void add_head(std::string& text, const std::string& name, const char* type, const char* help) {
  text += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
}

void add(std::string& text, const std::string& name, const char* type, const char* help, std::uint64_t value) {
  add_head(text, name, type, help);
  text += name + " " + std::to_string(value) + "\n";
}

}  // namespace

std::string metrics_text(const CallCounts::Table& calls, const NodeVolumes::Counts& counts) {
  std::string text;
  add(text, "pkgfs_csi_mounts", "gauge", "Mounts of packages that the driver has on this node.", counts.mounts);
  add(text, "pkgfs_csi_volumes", "gauge", "Volumes of pods on this node.", counts.publications);
  add(text, "pkgfs_csi_rebinds_total", "counter", "Volumes that got a new mount after the old one had ended.",
      counts.rebinds);
  add_head(text, "pkgfs_csi_calls_total", "counter", "Calls of the orchestrator, by status (0: success).");
  for (const auto& [call, count] : calls) {
    text += "pkgfs_csi_calls_total{call=\"" + call.first + "\",status=\"" + std::to_string(call.second) + "\"} " +
            std::to_string(count) + "\n";
  }
  return text;
}

}  // namespace pkgfs::csi
