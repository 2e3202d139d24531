// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace pkgfs::csi {

/// A volume at a target path: what one pod uses. The table of volumes keeps it as the id of a user (VolumeTable::User),
/// so that it outlives the driver.
struct Publication {
  std::string volume_id;  // as the orchestrator names it
  std::string target;     // absolute, without symbolic links
  std::string sub_path;   // the directory of the package that is shown; empty: all
  /// Whether the mount ended while the pod used it. Another one is shown now; containers that ran keep the dead one.
  bool was_rebound = false;

  /// No field may contain a line break.
  [[nodiscard]] std::string to_id() const {
    return volume_id + "\n" + target + "\n" + sub_path + (was_rebound ? "\nrebound" : "");
  }
  /// The inverse of `to_id`; nothing for any other text.
  [[nodiscard]] static std::optional<Publication> from_id(const std::string& id) {
    std::vector<std::string> fields(1);
    for (const char c : id) {
      if (c == '\n') {
        fields.emplace_back();
      } else {
        fields.back() += c;
      }
    }
    const bool was_rebound = fields.size() == 4 && fields[3] == "rebound";
    if ((fields.size() != 3 && !was_rebound) || !fields[1].starts_with('/')) {
      return std::nullopt;
    }
    return Publication{fields[0], fields[1], fields[2], was_rebound};
  }
};

}  // namespace pkgfs::csi
