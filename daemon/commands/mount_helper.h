// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"

namespace pkgfs {

/// Whether mount(8) calls pkgfs as its helper. pkgfs sees that from the program's name (`mount.pkgfs`,
/// `mount.fuse.pkgfs`), or from the form of mount.fuse(8). That is `pkgfs SPEC DIR -o OPTIONS`, where SPEC isn't the
/// name of a command. `arguments` are those of main().
[[nodiscard]] bool is_mount_helper(const std::vector<std::string>& arguments);

/// The arguments of a helper of mount(8): `SPEC DIR [-fnsv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]`. Letters can be
/// combined. The meanings: -s ignores unknown words of -o, -v prints more messages, and -f checks the options and
/// mounts nothing. The value of -N, from `mount -N`, is the mount namespace for all work. The others, -n and -t, have
/// no effect.
struct HelperArguments {
  std::string package;
  std::string mountpoint;
  std::vector<std::string> mount_words;  // the value of each -o
  std::string mount_namespace;           // a path; empty: the current one
  bool fake = false;
  bool sloppy = false;
  bool verbose = false;
};
/// `args`: without the program's name. Throws Error(kUsage).
[[nodiscard]] HelperArguments parse_helper_arguments(const std::vector<std::string>& args);

/// Mounts as mount(8) asks. Returns the exit code of pkgfs, which the caller translates for mount(8). Throws Error.
[[nodiscard]] int run_mount_helper(const std::vector<std::string>& arguments, const Io& io);

}  // namespace pkgfs
