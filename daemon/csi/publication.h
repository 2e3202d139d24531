// SPDX-License-Identifier: MIT
#pragma once

#include <optional>
#include <string>

namespace pkgfs::csi {

/// A volume at a target path: what one pod uses. The table of volumes keeps it as the id of a user (VolumeTable::User),
/// so that it outlives the driver.
struct Publication {
  std::string volume_id;  // as the orchestrator names it
  std::string target;     // absolute, without symbolic links
  std::string sub_path;   // the directory of the package that is shown; empty: all

  /// No field may contain a line break.
  [[nodiscard]] std::string to_id() const { return volume_id + "\n" + target + "\n" + sub_path; }
  /// The inverse of `to_id`; nothing for any other text.
  [[nodiscard]] static std::optional<Publication> from_id(const std::string& id) {
    const std::size_t first = id.find('\n');
    const std::size_t second = first == std::string::npos ? first : id.find('\n', first + 1);
    if (second == std::string::npos || id.find('\n', second + 1) != std::string::npos || id[first + 1] != '/') {
      return std::nullopt;
    }
    return Publication{id.substr(0, first), id.substr(first + 1, second - first - 1), id.substr(second + 1)};
  }
};

}  // namespace pkgfs::csi
