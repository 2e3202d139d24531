// SPDX-License-Identifier: MIT
#include "daemon/cli/options.h"
#include "daemon/commands/commands.h"
#include "daemon/mount/mount_package.h"

namespace pkgfs {

int cmd_mount(const std::vector<std::string>& args, const Io& io) {
  return mount_package(parse_mount_options(args), io);
}

}  // namespace pkgfs
