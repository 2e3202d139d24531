// SPDX-License-Identifier: MIT
// Risk: a volume of a storage class shows another version on another node or day, a secret leaks, or the kubelet
// doesn't find the driver.
#include <sys/stat.h>

#include <grpcpp/client_context.h>

#include "tests/csi/driver.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using grpc::StatusCode;

class CsiController : public DriverTest {
 protected:
  [[nodiscard]] grpc::Status create(const std::string& name, const Attributes& parameters,
                                    ::csi::v1::CreateVolumeResponse& reply, std::int64_t capacity = 0) const {
    grpc::ClientContext context;
    ::csi::v1::CreateVolumeRequest request;
    request.set_name(name);
    request.mutable_capacity_range()->set_required_bytes(capacity);
    auto* const capability = request.add_volume_capabilities();
    capability->mutable_mount();
    capability->mutable_access_mode()->set_mode(::csi::v1::VolumeCapability::AccessMode::MULTI_NODE_READER_ONLY);
    request.mutable_parameters()->insert(parameters.begin(), parameters.end());
    auto controller = driver_.controller();
    return controller.CreateVolume(&context, request, &reply);
  }

  Driver driver_{environment(), with_fixtures()};
};

TEST_F(CsiController, AVolumeKeepsTheVersionThatWasChosen) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  ::csi::v1::CreateVolumeResponse reply;
  const grpc::Status made = create("pvc-1", local("acme/app"), reply, 1000);
  ASSERT_TRUE(made.ok()) << describe(made);
  const auto& context = reply.volume().volume_context();
  ASSERT_TRUE(context.contains("lock")) << reply.DebugString();
  EXPECT_NE(context.at("lock").find("acme/app"), std::string::npos);
  ASSERT_TRUE(driver_.publish("a", {context.begin(), context.end()}).ok());
  EXPECT_GT(list_tree(driver_.target("a")).size(), 2U);

  EXPECT_EQ(create("pvc-1", local("acme/app"), reply, 2000).error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(create("pvc-1", local("acme/lib"), reply, 1000).error_code(), StatusCode::ALREADY_EXISTS);
  driver_.kill();
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  ::csi::v1::CreateVolumeResponse again;
  ASSERT_TRUE(create("pvc-1", local("acme/app"), again, 1000).ok());
  EXPECT_EQ(again.volume().volume_context().at("lock"), context.at("lock"));
  EXPECT_EQ(create("pvc-2", local("acme/none"), again).error_code(), StatusCode::NOT_FOUND);
}

TEST_F(CsiController, ATokenIsInNoCommandLineLogOrStateFile) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  auto request = driver_.request("a", local("acme/app"));
  (*request.mutable_secrets())["token"] = "s3cret-token\n";
  const grpc::Status status = driver_.publish(request);
  ASSERT_TRUE(status.ok()) << describe(status);
  ASSERT_TRUE(driver_.publish("b", local("acme/app")).ok());
  EXPECT_EQ(driver_.mounted().size(), 2U) << "a pod without the token shares no mount with one that has it";
  EXPECT_EQ(shell("cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c s3cret-[t]oken").out, "0\n");
  EXPECT_EQ(shell("grep -rc 's3cret-token' " + driver_.state().string() + "/state.json").out, "0\n");
  EXPECT_EQ(driver_.process().err().find("s3cret"), std::string::npos);
  // Another token doesn't disturb the pod that runs.
  (*request.mutable_secrets())["token"] = "other";
  EXPECT_TRUE(driver_.publish(request).ok());
  (*request.mutable_secrets())["password"] = "other";
  request.set_target_path(driver_.target("c"));
  const grpc::Status refused = driver_.publish(request);
  EXPECT_EQ(refused.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(refused.error_message().find("other"), std::string::npos) << describe(refused);
}

TEST_F(CsiController, TheKubeletFindsTheDriver) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  ASSERT_TRUE(eventually([&] { return fs::exists(driver_.registration()); }));
  ::pluginregistration::Registration::Stub kubelet(driver_.channel(driver_.registration()));
  ::pluginregistration::PluginInfo info;
  grpc::ClientContext context;
  ASSERT_TRUE(kubelet.GetInfo(&context, {}, &info).ok());
  EXPECT_EQ(info.type(), "CSIPlugin");
  EXPECT_EQ(info.name(), "csi.pkgfs");
  EXPECT_EQ(info.endpoint(), driver_.socket());
  ::pluginregistration::RegistrationStatus status;
  status.set_error("no such version");
  ::pluginregistration::RegistrationStatusResponse reply;
  grpc::ClientContext second;
  ASSERT_TRUE(kubelet.NotifyRegistrationStatus(&second, status, &reply).ok());
  EXPECT_NE(driver_.process().err().find("no such version"), std::string::npos) << driver_.process().err();
  struct stat mode{};
  ASSERT_EQ(::stat(driver_.socket().c_str(), &mode), 0);
  EXPECT_EQ(mode.st_mode & 0777, 0600U) << "for root only";
}

}  // namespace
}  // namespace pkgfs::test
