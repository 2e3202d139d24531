// SPDX-License-Identifier: MIT
#include <array>

#include "daemon/cli/options.h"

namespace pkgfs {

namespace {

constexpr std::string_view kForMount = "for mount(8)";
constexpr std::string_view kAlways = "always so";
constexpr std::string_view kNoTimes = "no times of access are kept";
constexpr std::string_view kNoWrites = "nothing is written";
constexpr std::array kMountWords{
    MountWord{"ro", false, kAlways},
    MountWord{"nosuid", false, kAlways},
    MountWord{"nodev", false, kAlways},
    MountWord{"default_permissions", false, kAlways},
    MountWord{"noatime", false, kNoTimes},
    MountWord{"nodiratime", false, kNoTimes},
    MountWord{"relatime", false, kNoTimes},
    MountWord{"norelatime", false, kNoTimes},
    MountWord{"atime", false, kNoTimes},
    MountWord{"diratime", false, kNoTimes},
    MountWord{"strictatime", false, kNoTimes},
    MountWord{"nostrictatime", false, kNoTimes},
    MountWord{"lazytime", false, kNoTimes},
    MountWord{"nolazytime", false, kNoTimes},
    MountWord{"async", false, kNoWrites},
    MountWord{"sync", false, kNoWrites},
    MountWord{"dirsync", false, kNoWrites},
    MountWord{"mand", false, kNoWrites},
    MountWord{"nomand", false, kNoWrites},
    MountWord{"silent", false, "messages are always few"},
    MountWord{"loud", false, "messages are always few"},
    MountWord{"defaults", false, kForMount},
    MountWord{"auto", false, kForMount},
    MountWord{"noauto", false, kForMount},
    MountWord{"nofail", false, kForMount},
    MountWord{"_netdev", false, kForMount},
    MountWord{"user", false, kForMount},
    MountWord{"user=", false, kForMount},
    MountWord{"nouser", false, kForMount},
    MountWord{"users", false, kForMount},
    MountWord{"nousers", false, kForMount},
    MountWord{"owner", false, kForMount},
    MountWord{"noowner", false, kForMount},
    MountWord{"group", false, kForMount},
    MountWord{"nogroup", false, kForMount},
    MountWord{"comment=", false, kForMount},
    MountWord{"x-*", false, kForMount},
    MountWord{"X-*", false, kForMount},
    MountWord{"rw", true, "a package is always mounted read-only", true},
    MountWord{"suid", true, "a package is always mounted nosuid", true},
    MountWord{"dev", true, "a package is always mounted nodev", true},
    MountWord{"remount", true, "a mount can't be changed: unmount and mount again"},
    MountWord{"fsname=", true, "pkgfs sets it to the package"},
    MountWord{"subtype=", true, "pkgfs sets it"},
};

}  // namespace

std::span<const MountWord> mount_words() { return kMountWords; }

}  // namespace pkgfs
