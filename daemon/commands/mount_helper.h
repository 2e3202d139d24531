// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "daemon/cli/io.h"
#include "daemon/cli/options.h"

namespace pkgfs {

/// Whether mount(8) is what calls: by the program's name (`mount.pkgfs`, `mount.fuse.pkgfs`), or as mount.fuse(8) does,
/// `pkgfs SPEC DIR -o OPTIONS` with a SPEC that is no command's name. `arguments` as main() gets them.
[[nodiscard]] bool is_mount_helper(const std::vector<std::string>& arguments);

/// What mount(8) says to a helper: `SPEC DIR [-fnsv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]`, options of one letter
/// together or not. -s leaves unknown words of -o out, -v says more, -f checks the options and mounts nothing, -n has
/// no meaning any more; -N, which `mount -N` gives, is the mount namespace where everything happens.
struct HelperArguments {
  std::string package;
  std::string mountpoint;
  std::vector<std::string> mount_words;  // the value of each -o
  std::string mount_namespace;           // a path; empty: this one
  bool fake = false;
  bool sloppy = false;
  bool verbose = false;
};
/// `args`: without the program's name. Throws Error(kUsage).
[[nodiscard]] HelperArguments parse_helper_arguments(const std::vector<std::string>& args);

/// Mounts as mount(8) asks. Returns the exit code of pkgfs, which the caller turns into mount(8)'s; throws Error.
[[nodiscard]] int run_mount_helper(const std::vector<std::string>& arguments, const Io& io);

}  // namespace pkgfs
