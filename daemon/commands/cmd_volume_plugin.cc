// SPDX-License-Identifier: MIT
#include <chrono>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "core/base/file_lock.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/options.h"
#include "daemon/commands/commands.h"
#include "daemon/volumes/plugin_server.h"
#include "daemon/volumes/plugin_socket.h"
#include "daemon/volumes/volume_table.h"
#include "fuse/session.h"

namespace pkgfs {
namespace {

/// Makes and locks the state directory. Throws Error(kBusy) if another plugin has locked it.
FileLock lock_state(const std::string& directory) {
  CancelFlag at_once;
  at_once.cancel();
  make_private_directory(directory);
  std::error_code failed;
  std::optional<PrivateDirectory> opened = PrivateDirectory::find_chosen(directory, failed);
  if (!opened) {
    throw cannot_create_directory(directory, failed.value());
  }
  try {
    return {*std::move(opened), "lock", at_once};
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kInterrupted) {
      throw Error(ErrorCode::kBusy, "Another volume plugin uses the state directory \"" + directory +
                                        "\"; a second one needs a --socket, --state-dir and --mount-root of its own");
    }
    throw;
  }
}

std::chrono::milliseconds milliseconds(double seconds) {
  return std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

}  // namespace

int cmd_volume_plugin(const std::vector<std::string>& args, const Io& io) {
  const Options options = parse_options(CommandId::kVolumePlugin, args, 0, 0);
  const PluginFlags& flags = options.plugin;
  set_log_level(options.log);
  fuse::check_device();
  std::optional<PluginSocket> socket = PluginSocket::passed(io.environment);
  const FileLock lock = lock_state(flags.state_dir);
  if (!socket) {
    socket.emplace(flags.socket);
  }
  VolumeTable::Settings settings{.state_file = flags.state_dir + "/state.json"};
  settings.mount_wait = milliseconds(flags.mount_wait);
  settings.create_wait = std::min(settings.create_wait, settings.mount_wait);
  settings.keep = milliseconds(flags.keep);
  VolumeTable volumes(settings, Mounter(flags.state_dir, flags.mount_root));
  log::info("the volume plugin is ready");
  serve_plugin(socket->fd(), volumes, [&] { volumes.stop(); });
  log::info("the volume plugin ends");
  return kExitOk;
}

}  // namespace pkgfs
