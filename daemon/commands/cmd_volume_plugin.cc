// SPDX-License-Identifier: MIT
#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include "core/base/file_lock.h"
#include "core/base/log.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/logging.h"
#include "daemon/cli/options.h"
#include "daemon/commands/commands.h"
#include "daemon/volumes/plugin_server.h"
#include "daemon/volumes/plugin_socket.h"
#include "daemon/volumes/state_lock.h"
#include "daemon/volumes/volume_table.h"
#include "fuse/session.h"

namespace pkgfs {
namespace {

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
  const FileLock lock = lock_state(flags.state_dir, "volume plugin",
                                   "a second one needs a --socket, --state-dir and --mount-root of its own");
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
