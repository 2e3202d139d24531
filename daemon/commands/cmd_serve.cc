// SPDX-License-Identifier: MIT
#include "daemon/cli/options.h"
#include "daemon/commands/commands.h"
#include "daemon/serve/serve_packages.h"

namespace pkgfs {

int cmd_serve(const std::vector<std::string>& args, const Io& io) {
  return serve_packages(parse_serve_options(args), io);
}

}  // namespace pkgfs
