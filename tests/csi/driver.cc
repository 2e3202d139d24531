// SPDX-License-Identifier: MIT
#include "tests/csi/driver.h"

#include <csignal>

#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>

namespace fs = std::filesystem;

namespace pkgfs::test {
namespace {

/// As long as the kubelet waits.
void set_deadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
}

}  // namespace

std::string describe(const grpc::Status& status) {
  return std::to_string(static_cast<int>(status.error_code())) + " " + status.error_message();
}

Driver::Driver(std::vector<std::pair<std::string, std::string>> environment, Arguments options)
    : environment_(std::move(environment)), options_(std::move(options)) {
  fs::create_directory(directory_.path() / "pods");
}

Driver::~Driver() {
  if (process_ != nullptr && !process_->ends_within(std::chrono::milliseconds(0))) {
    const ProcessResult ended = stop();
    EXPECT_TRUE(ended.ok()) << ended.describe();
  }
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(directory_.path() / "pods", failed)) {
    force_unmount(entry.path());
  }
  for (const auto& entry : fs::directory_iterator(mounts(), failed)) {
    force_unmount(entry.path());
  }
  EXPECT_TRUE(eventually([&] { return processes_with(state() / "empty").empty() && daemons().empty(); }));
}

Arguments Driver::arguments() const {
  Arguments all{PKGFS_CSI_BINARY, "--endpoint=" + socket(), "--kubelet-registration-socket=" + registration(),
                "--state-dir=" + state().string(), "--node-id=node-1"};
  all.insert(all.end(), options_.begin(), options_.end());
  return all;
}

std::shared_ptr<grpc::Channel> Driver::channel(const std::string& path) const {
  grpc::ChannelArguments arguments;
  arguments.SetInt("grpc.use_local_subchannel_pool", 1);  // a new connection, also after a restart of the driver
  return grpc::CreateCustomChannel("unix:" + path, grpc::InsecureChannelCredentials(), arguments);
}

bool Driver::start() {
  process_ = std::make_unique<Process>(
      arguments(), ProcessOptions{.timeout = std::chrono::seconds(60), .environment = environment_});
  const auto has_ended = [&] { return process_->ends_within(std::chrono::milliseconds(0)); };
  const auto answers = [&] {
    grpc::ClientContext context;
    set_deadline(context);
    ::csi::v1::ProbeResponse reply;
    return ::csi::v1::Identity::Stub(channel(socket())).Probe(&context, {}, &reply).ok();
  };
  return eventually([&] { return has_ended() || answers(); }, std::chrono::seconds(15)) && !has_ended();
}

ProcessResult Driver::stop() {
  process_->signal(SIGTERM);
  return process_->wait();
}

void Driver::kill() {
  process_->signal(SIGKILL);
  static_cast<void>(process_->wait());
}

::csi::v1::NodePublishVolumeRequest Driver::request(const std::string& pod, const Attributes& attributes) const {
  ::csi::v1::NodePublishVolumeRequest request;
  request.set_volume_id("v-" + pod);
  request.set_target_path(target(pod));
  request.set_readonly(true);
  request.mutable_volume_capability()->mutable_mount();
  request.mutable_volume_capability()->mutable_access_mode()->set_mode(
      ::csi::v1::VolumeCapability::AccessMode::SINGLE_NODE_WRITER);
  request.mutable_volume_context()->insert(attributes.begin(), attributes.end());
  (*request.mutable_volume_context())["csi.storage.k8s.io/pod.name"] = pod;
  (*request.mutable_volume_context())["csi.storage.k8s.io/ephemeral"] = "true";
  return request;
}

grpc::Status Driver::publish(const ::csi::v1::NodePublishVolumeRequest& request) const {
  grpc::ClientContext context;
  set_deadline(context);
  ::csi::v1::NodePublishVolumeResponse reply;
  return ::csi::v1::Node::Stub(channel(socket())).NodePublishVolume(&context, request, &reply);
}

grpc::Status Driver::unpublish(const std::string& pod) const {
  grpc::ClientContext context;
  set_deadline(context);
  ::csi::v1::NodeUnpublishVolumeRequest request;
  request.set_volume_id("v-" + pod);
  request.set_target_path(target(pod));
  ::csi::v1::NodeUnpublishVolumeResponse reply;
  return ::csi::v1::Node::Stub(channel(socket())).NodeUnpublishVolume(&context, request, &reply);
}

grpc::Status Driver::stats(const std::string& pod, ::csi::v1::NodeGetVolumeStatsResponse& reply) const {
  grpc::ClientContext context;
  set_deadline(context);
  ::csi::v1::NodeGetVolumeStatsRequest request;
  request.set_volume_id("v-" + pod);
  request.set_volume_path(target(pod));
  return ::csi::v1::Node::Stub(channel(socket())).NodeGetVolumeStats(&context, request, &reply);
}

std::vector<fs::path> Driver::mounted() const {
  std::vector<fs::path> found;
  std::error_code failed;
  for (const auto& entry : fs::directory_iterator(mounts(), failed)) {
    if (find_mount(entry.path())) {
      found.push_back(entry.path());
    }
  }
  return found;
}

std::vector<pid_t> Driver::daemons() const {
  std::vector<pid_t> found;
  for (const fs::path& path : mounted()) {
    for (const pid_t pid : processes_with(path)) {
      found.push_back(pid);
    }
  }
  return found;
}

void DriverTest::SetUp() {
  NetTest::SetUp();
  if (!IsSkipped() && !fuse_missing().empty()) {
    GTEST_SKIP() << fuse_missing();
  }
}

Attributes DriverTest::local(const std::string& package, const std::string& set) {
  return {{"package", package}, {"registry", registry(set)}};
}

Arguments DriverTest::with_fixtures() { return {"--local-root=" + fixtures().string(), "--keep=0.2"}; }

}  // namespace pkgfs::test
