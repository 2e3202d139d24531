// SPDX-License-Identifier: MIT
// `pkgfs refresh` and `pkgfs rollback`.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/log.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/options.h"
#include "daemon/cli/text_writer.h"
#include "daemon/commands/commands.h"
#include "daemon/mount/control.h"
#include "daemon/mount/image_mount.h"
#include "daemon/mount/mount_status.h"
#include "daemon/mount/mountpoint.h"
#include "daemon/serve/serve_packages.h"

namespace pkgfs {
namespace {

/// The topmost mount of pkgfs at `path`. Throws Error(kNotFound), or Error(kUnsupported) for a mount without a daemon.
MountEntry refreshable_mount(const std::string& path) {
  const std::string real = resolve_mountpoint(path);
  const auto is_there = [&](const MountEntry& mount) { return mount.mountpoint == real; };
  const std::vector<MountEntry> mounts = our_mounts();
  if (const auto found = std::find_if(mounts.rbegin(), mounts.rend(), is_there); found != mounts.rend()) {
    if (found->source == kServeSource) {
      throw Error(
          ErrorCode::kUnsupported,
          "\"" + path + "\" shows every version, and its links go over to new ones by themselves (docs/SERVE.md)");
    }
    return *found;
  }
  if (std::ranges::any_of(image_mounts(), is_there)) {
    throw Error(ErrorCode::kUnsupported,
                "\"" + path + "\" is served by the kernel (--engine=erofs): unmount it and mount it again instead");
  }
  throw Error(ErrorCode::kNotFound, "No package is mounted at \"" + path + "\"");
}

std::string text_in(const nlohmann::ordered_json& answer, const char* name) {
  const auto found = answer.find(name);
  return found != answer.end() && found->is_string() ? found->get<std::string>() : "?";
}

void request_version(const std::string& path, ControlRequest request, const Io& io) {
  const MountEntry mount = refreshable_mount(path);
  nlohmann::ordered_json answer;
  try {
    answer = ask_daemon(mount, request);
  } catch (Error& error) {
    throw std::move(error.context("The mount at \"" + mount.mountpoint + "\" stays as it is"));
  }
  const bool changed = answer.contains("changed") && answer["changed"] == true;
  TextWriter(*io.out) << mount.mountpoint << (changed ? " shows " : " is up to date: ") << text_in(answer, "package")
                      << (changed ? " now; it showed " + text_in(answer, "before") : std::string()) << "\n";
}

}  // namespace

int cmd_refresh(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kRefresh, args, 1, SIZE_MAX);
  set_log_level(options.log);
  if (options.operands.size() == 1) {
    request_version(options.operands.front(), ControlRequest::kRefresh, io);
    return kExitOk;
  }
  int exit_code = kExitOk;
  for (const std::string& path : options.operands) {  // a mount that fails doesn't hold up the others
    try {
      request_version(path, ControlRequest::kRefresh, io);
    } catch (const Error& error) {
      log::warn("{}", error);
      exit_code = to_exit_code(error.code());
    }
  }
  return exit_code;
}

int cmd_rollback(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kRollback, args, 1, 1);
  set_log_level(options.log);
  request_version(options.operands.front(), ControlRequest::kRollback, io);
  return kExitOk;
}

}  // namespace pkgfs
