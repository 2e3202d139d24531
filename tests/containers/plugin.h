// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "tests/net/net.h"
#include "tests/support/raw_client.h"

namespace pkgfs::test {

using Json = nlohmann::ordered_json;
using Variables = std::vector<std::pair<std::string, std::string>>;

/// A volume plugin with directories of its own. The destructor ends it and all its mounts.
class Plugin {
 public:
  /// Doesn't start it. `options` are added to those for its directories.
  explicit Plugin(Variables environment, Arguments options = {});
  ~Plugin();
  Plugin(const Plugin&) = delete;
  Plugin& operator=(const Plugin&) = delete;

  /// True when it answers.
  [[nodiscard]] bool start();
  /// SIGTERM, and its end.
  ProcessResult stop();
  /// SIGKILL.
  void kill();

  /// POSTs `body` to `/VolumeDriver.NAME`, or to `/Plugin.Activate`.
  [[nodiscard]] Reply call(const std::string& name, const Json& body = Json::object()) const;
  /// The "Err" of the answer; "(no answer)" when there is none.
  [[nodiscard]] std::string error(const std::string& name, const Json& body) const;
  [[nodiscard]] std::string create(const std::string& volume, const Json& options) const;
  [[nodiscard]] std::string mount(const std::string& volume, const std::string& id = "1") const;
  [[nodiscard]] std::string unmount(const std::string& volume, const std::string& id = "1") const;
  [[nodiscard]] std::string remove(const std::string& volume) const;
  /// The "Status" that Get has; null without the volume.
  [[nodiscard]] Json status(const std::string& volume) const;
  [[nodiscard]] bool reaches_state(const std::string& volume, const std::string& state) const;

  [[nodiscard]] std::string socket() const { return directory_.path() / "s"; }
  [[nodiscard]] std::filesystem::path state() const { return directory_.path() / "state"; }
  [[nodiscard]] std::filesystem::path mountpoint(const std::string& volume) const { return mounts() / volume; }
  [[nodiscard]] std::filesystem::path mounts() const { return directory_.path() / "mounts"; }
  [[nodiscard]] bool is_mounted(const std::string& volume) const { return find_mount(mountpoint(volume)).has_value(); }
  [[nodiscard]] const Process& process() const { return *process_; }
  [[nodiscard]] Arguments arguments() const;
  [[nodiscard]] const std::filesystem::path& directory() const { return directory_.path(); }

 private:
  Variables environment_;
  Arguments options_;
  TempDir directory_;
  std::unique_ptr<Process> process_;
};

/// What a `Plugin` needs: mounts and a registry.
class PluginTest : public NetTest {
 protected:
  void SetUp() override;
  /// The options of a volume that shows `package` of a registry set of the fixtures.
  [[nodiscard]] static Json local(const std::string& package, const std::string& set = "chain-v3");
};

}  // namespace pkgfs::test
