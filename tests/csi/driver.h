// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <csi.grpc.pb.h>
#include <grpcpp/channel.h>
#include <registration.grpc.pb.h>

#include "tests/net/net.h"

namespace pkgfs::test {

using Attributes = std::map<std::string, std::string>;

/// A driver with directories of its own, and a client that calls it as the kubelet does. The destructor ends it and all
/// its mounts.
class Driver {
 public:
  /// Doesn't start it. `options` are added to those for its directories.
  explicit Driver(std::vector<std::pair<std::string, std::string>> environment, Arguments options = {});
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  /// True when it answers.
  [[nodiscard]] bool start();
  ProcessResult stop();
  /// SIGKILL.
  void kill();

  /// The request that the kubelet makes for the volume "v-POD" of a pod; a test may change it.
  [[nodiscard]] ::csi::v1::NodePublishVolumeRequest request(const std::string& pod, const Attributes& attributes) const;
  [[nodiscard]] grpc::Status publish(const ::csi::v1::NodePublishVolumeRequest& request) const;
  [[nodiscard]] grpc::Status publish(const std::string& pod, const Attributes& attributes) const {
    return publish(request(pod, attributes));
  }
  [[nodiscard]] grpc::Status unpublish(const std::string& pod) const;
  [[nodiscard]] grpc::Status stats(const std::string& pod, ::csi::v1::NodeGetVolumeStatsResponse& reply) const;

  /// The target path of a pod; the directory above it exists.
  [[nodiscard]] std::filesystem::path target(const std::string& pod) const { return directory_.path() / "pods" / pod; }
  [[nodiscard]] bool is_shown(const std::string& pod) const { return find_mount(target(pod)).has_value(); }
  [[nodiscard]] std::filesystem::path mounts() const { return state() / "mounts"; }
  [[nodiscard]] std::filesystem::path state() const { return directory_.path() / "state"; }
  [[nodiscard]] std::string socket() const { return directory_.path() / "s"; }
  [[nodiscard]] std::string registration() const { return directory_.path() / "r"; }
  /// The mounts of packages themselves, each of which has one daemon.
  [[nodiscard]] std::vector<std::filesystem::path> mounted() const;
  /// The processes that serve them.
  [[nodiscard]] std::vector<pid_t> daemons() const;
  [[nodiscard]] const Process& process() const { return *process_; }
  [[nodiscard]] Arguments arguments() const;
  [[nodiscard]] std::shared_ptr<grpc::Channel> channel(const std::string& path) const;
  [[nodiscard]] ::csi::v1::Controller::Stub controller() const {
    return ::csi::v1::Controller::Stub(channel(socket()));
  }

 private:
  std::vector<std::pair<std::string, std::string>> environment_;
  Arguments options_;
  TempDir directory_;
  std::unique_ptr<Process> process_;
};

class DriverTest : public NetTest {
 protected:
  void SetUp() override;
  /// The attributes of a volume that shows `package` of a registry set of the fixtures.
  [[nodiscard]] static Attributes local(const std::string& package, const std::string& set = "chain-v3");
  [[nodiscard]] static Arguments with_fixtures();
};

/// The status as text, for messages of tests.
[[nodiscard]] std::string describe(const grpc::Status& status);

}  // namespace pkgfs::test
