// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <string>
#include <vector>

#include "daemon/volumes/volume_options.h"

namespace pkgfs::csi {

/// A protobuf map of strings, as a copy that is sorted.
using StringMap = std::map<std::string, std::string>;

/// What the attributes and secrets of a volume ask for.
struct VolumeRequest {
  std::string name;                    // of the mount that serves it: the same for equal options and secrets
  DriverOptions options;               // of the mount (volume_options.h)
  std::string sub_path;                // the directory of the package that the pod gets; empty: all
  std::string lock_text;               // a lock file; `options["lock"]` is the path where the caller writes it
  std::vector<std::string> variables;  // secrets, for the environment of pkgfs
};

/// How attributes are read on this node.
struct AttributePolicy {
  std::string local_root;      // see CsiOptions
  std::string cache_dir;       // added to the options of every volume
  std::string lock_directory;  // for lock files that an attribute contains
};

/// Checks the attributes (`volumeAttributes` of a pod or volume, `parameters` of a storage class) and secrets. Pods of
/// any user may set them. So they can't name paths of the node, except below `local_root`, nor options that change the
/// driver. Attributes that the kubelet adds ("csi.storage.k8s.io/…") are ignored. Throws Error naming the attribute:
/// kUsage, kNotFound, or kUnsupported for what pkgfs doesn't offer yet.
[[nodiscard]] VolumeRequest parse_attributes(const StringMap& attributes, const StringMap& secrets,
                                             const AttributePolicy& policy);

}  // namespace pkgfs::csi
