// SPDX-License-Identifier: MIT
#pragma once

#include <csi.pb.h>

namespace pkgfs::csi {

/// Throws Error(kUsage) unless a package can be a volume with this capability: a directory that is mounted without
/// options, and that at most one pod believes to be writable. The kubelet asks for SINGLE_NODE_WRITER for every inline
/// volume, so that this mode is accepted; the volume is read-only all the same.
void check_capability(const ::csi::v1::VolumeCapability& capability);

/// Throws Error(kUsage) if a field that a call must have is empty, too long, or has a character that no path or id has.
void check_field(const char* name, const std::string& value);
/// The same for a path, which must be absolute.
void check_path_field(const char* name, const std::string& value);

}  // namespace pkgfs::csi
