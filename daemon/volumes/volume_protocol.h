// SPDX-License-Identifier: MIT
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "daemon/volumes/volume_options.h"

namespace pkgfs {

/// The HTTP status of a request that the plugin can't understand.
inline constexpr unsigned kBadRequest = 400;

/// A volume as a container engine sees it.
struct VolumeDescription {
  std::string name;
  std::string mountpoint;  // empty while the volume is not mounted
  std::string created;     // RFC 3339
  nlohmann::json status;   // an object, shown by `volume inspect`
};

/// The operations that a container engine requests from a volume plugin. Thread-safe. Each throws Error; the engine
/// shows the messages of the error to the user.
class VolumeDriver {
 public:
  VolumeDriver() = default;
  VolumeDriver(const VolumeDriver&) = delete;
  VolumeDriver& operator=(const VolumeDriver&) = delete;
  virtual ~VolumeDriver() = default;

  virtual void create(const std::string& name, const DriverOptions& options) = 0;
  [[nodiscard]] virtual VolumeDescription get(const std::string& name) = 0;
  [[nodiscard]] virtual std::vector<VolumeDescription> list() = 0;
  struct Mounted {
    std::string mountpoint;
    bool is_new = false;  // before, `id` was not among the users of the volume
  };
  /// Mounts the volume if it is not mounted, and adds `id` to its users. Docker passes an id for each container; Podman
  /// passes the same id every time.
  virtual Mounted mount(const std::string& name, const std::string& id) = 0;
  virtual void unmount(const std::string& name, const std::string& id) = 0;
  /// Removes the volume even if it has users: an engine asks for it only when no container uses the volume.
  virtual void remove(const std::string& name) = 0;
};

struct PluginRequest {
  std::string_view method;
  std::string_view path;
  std::string_view body;
};

struct PluginAnswer {
  unsigned status = 200;
  std::string body;            // JSON
  std::function<void()> undo;  // reverts the request if the engine does not receive the answer; may be empty
};

inline constexpr std::string_view kPluginContentType = "application/vnd.docker.plugins.v1.1+json";

/// Docker's volume plugin protocol (docs/rules/integration.md, 2): parses a request, calls the driver, and
/// returns the answer to send. Never throws: an error of the driver, or a request that is not valid, becomes `{"Err":
/// text}`.
[[nodiscard]] PluginAnswer answer_plugin_request(const PluginRequest& request, VolumeDriver& driver);
/// All messages of an error, outermost first, in one line, because an engine shows the text inside one of its lines.
[[nodiscard]] std::string one_line(const Error& error);
/// The answer to a request that failed: `{"Err": text}`.
[[nodiscard]] PluginAnswer plugin_error(unsigned status, std::string_view text);

}  // namespace pkgfs
