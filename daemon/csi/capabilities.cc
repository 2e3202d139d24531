// SPDX-License-Identifier: MIT
#include "daemon/csi/capabilities.h"

#include <algorithm>
#include <string>

#include "core/base/error.h"

namespace pkgfs::csi {
namespace {

constexpr std::size_t kLongestField = 4095;

Error usage(const std::string& text) { return {ErrorCode::kUsage, text}; }

bool is_hidden(char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; }

}  // namespace

void check_capability(const ::csi::v1::VolumeCapability& capability) {
  using Mode = ::csi::v1::VolumeCapability::AccessMode;
  if (capability.has_block()) {
    throw usage("a package can't be a block device: ask for a volume of mode Filesystem");
  }
  if (!capability.has_mount()) {
    throw usage("the volume capability has no access type");
  }
  const std::string& type = capability.mount().fs_type();
  if (!type.empty() && type != "pkgfs" && type != "fuse.pkgfs") {
    throw usage("a package can't be mounted as a file system of type \"" + type + "\": leave fsType out");
  }
  for (const std::string& flag : capability.mount().mount_flags()) {
    if (flag != "ro") {
      throw usage("mount option \"" + flag + "\" can't be used: attributes of the volume say how a package is shown");
    }
  }
  switch (capability.access_mode().mode()) {
    case Mode::SINGLE_NODE_WRITER:
    case Mode::SINGLE_NODE_SINGLE_WRITER:
    case Mode::SINGLE_NODE_READER_ONLY:
    case Mode::MULTI_NODE_READER_ONLY:
      return;
    case Mode::UNKNOWN:
      throw usage("the volume capability has no access mode");
    default:
      throw usage("packages are read-only: ask for the access mode ReadOnlyMany");
  }
}

void check_field(const char* name, const std::string& value) {
  if (value.empty()) {
    throw usage(std::string(name) + " is missing");
  }
  if (value.size() > kLongestField || std::ranges::any_of(value, is_hidden)) {
    throw usage(std::string(name) + " is too long, or has a control character");
  }
}

void check_path_field(const char* name, const std::string& value) {
  check_field(name, value);
  if (!value.starts_with('/')) {
    throw usage(std::string(name) + " \"" + value + "\" isn't an absolute path");
  }
}

}  // namespace pkgfs::csi
