// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pkgfs::fuse {

/// What the kernel says of itself at the beginning of a mount. Plain bytes: a child may write it for its parent.
struct KernelAnswer {
  enum class Stage : std::uint8_t { kNothing, kNamespace, kDevice, kMount, kInit, kDone };
  Stage failed = Stage::kNothing;  // where it ended; kDone: everything went well
  int error = 0;                   // why, else
  bool as_user = false;            // in a user namespace: this process itself may not mount
  std::uint32_t major = 0;         // of the protocol
  std::uint32_t minor = 0;
  std::uint32_t flags = 0;
};

/// Makes a FUSE mount that nobody can see, in namespaces of its own, and reads the kernel's first request. Only for a
/// child process that ends afterwards: the mount goes with it. Needs CAP_SYS_ADMIN or user namespaces.
void ask_kernel(KernelAnswer& answer);

/// Features that save requests, which `answer` doesn't offer; empty for any kernel since 5.1.
[[nodiscard]] std::vector<std::string_view> missing_features(const KernelAnswer& answer);

/// libfuse as it runs, "3.14.0", and whether it's older than what this program was built with.
struct LibraryVersion {
  std::string text;
  bool older_than_built = false;
};
[[nodiscard]] LibraryVersion library_version();

}  // namespace pkgfs::fuse
