// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <string>

#include "tests/support/process.h"

namespace pkgfs::test {

/// Begins a script that bash runs in a namespace of mounts of its own (`unshare -m`). In the directory $1, it makes an
/// empty directory "mnt" of another user, which may open /dev/fuse. `user COMMAND...` runs a command as that user.
inline const std::string kOtherUser = R"sh(
set -eu
mount -t tmpfs none "$1"
mkdir "$1/mnt"
mknod -m 666 "$1/fuse" c 10 229
chmod 755 "$1"
chown 65534:65534 "$1" "$1/mnt"
mount --bind "$1/fuse" /dev/fuse
export HOME="$1" WASMER_DIR="$1"
user() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
)sh";

/// Whether such a script can run here, and its user can mount.
[[nodiscard]] inline bool has_other_user() {
  return ::geteuid() == 0 && have_program("unshare") && have_program("setpriv") && have_program("fusermount3");
}

}  // namespace pkgfs::test
