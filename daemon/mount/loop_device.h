// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include "core/base/unique_fd.h"

namespace pkgfs {

/// A read-only loop device of a file. The kernel frees it when this object is gone and nothing is mounted from it.
class LoopDevice {
 public:
  /// Throws Error naming `file`.
  explicit LoopDevice(const std::string& file);
  /// Such as "/dev/loop3".
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
  UniqueFd device_;
};

/// The file of the loop device `device`, such as "/dev/loop3"; empty if it has none.
[[nodiscard]] std::string loop_file(const std::string& device);

}  // namespace pkgfs
