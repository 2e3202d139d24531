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

/// A volume as the engines are told of it.
struct VolumeDescription {
  std::string name;
  std::string mountpoint;  // empty while it isn't mounted
  std::string created;     // RFC 3339
  nlohmann::json status;   // an object, shown by `volume inspect`
};

/// What a volume plugin does. Thread-safe. Throws Error; its messages reach the user of the engine.
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
    bool is_new = false;  // `id` wasn't among the volume's users before
  };
  /// Adds `id` to the volume's users. Podman's id is the same every time.
  virtual Mounted mount(const std::string& name, const std::string& id) = 0;
  virtual void unmount(const std::string& name, const std::string& id) = 0;
  /// Whoever uses it or not: engines ask only when nobody does.
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
  std::function<void()> undo;  // for when nobody is there any more to read the answer; may be empty
};

inline constexpr std::string_view kPluginContentType = "application/vnd.docker.plugins.v1.1+json";

/// Docker's volume plugin protocol (integration.md 2): finds out what is asked, asks the driver, and puts the answer
/// into words. Never throws: what the driver throws, and what can't be understood, becomes `{"Err": text}`.
[[nodiscard]] PluginAnswer answer_plugin_request(const PluginRequest& request, VolumeDriver& driver);
/// All messages of an error, outermost first, in one line: engines show what they get in a line of their own.
[[nodiscard]] std::string one_line(const Error& error);
/// The answer that says only what is wrong.
[[nodiscard]] PluginAnswer plugin_error(unsigned status, std::string_view text);

}  // namespace pkgfs
