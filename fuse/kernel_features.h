// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace pkgfs::fuse {

/// What the kernel tells of itself in its first request of a mount. Plain bytes, so that a child process can write it
/// to its parent.
struct KernelAnswer {
  enum class Stage : std::uint8_t { kNothing, kNamespace, kDevice, kMount, kInit, kDone };
  Stage failed = Stage::kNothing;  // the step that failed; kDone: none
  int error = 0;                   // its errno
  bool as_user = false;            // it was tried in a user namespace, since this process may not mount
  std::uint32_t major = 0;         // of the protocol
  std::uint32_t minor = 0;
  std::uint32_t flags = 0;
};

/// Makes a FUSE mount in namespaces of its own, where no other process sees it, and reads the kernel's first request.
/// Only for a child process that ends afterwards, and the mount with it. Needs CAP_SYS_ADMIN or user namespaces.
void ask_kernel(KernelAnswer& answer);

/// The features that save requests and that this kernel lacks; empty since Linux 5.1.
[[nodiscard]] std::vector<std::string_view> missing_features(const KernelAnswer& answer);

/// The version of the libfuse that is running, such as "3.14.0", and whether this program was built with a newer one.
struct LibraryVersion {
  std::string text;
  bool older_than_built = false;
};
[[nodiscard]] LibraryVersion library_version();

}  // namespace pkgfs::fuse
