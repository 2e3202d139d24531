// SPDX-License-Identifier: MIT
// Risk: an engine waits until a large package of a volume is downloaded, before it starts a container that reads one
// small file.
#include "tests/containers/engines.h"
#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

constexpr std::size_t kLarge = std::size_t{26} << 20U;  // bytes of the package
constexpr std::uint64_t kRate = 2U << 20U;              // bytes a second: all of it takes 13 s

/// Starts a container with the volume and one without it, after another one that gets the engine's files into memory.
constexpr const char* kOneFile = R"sh(
ms() { echo $(($(date +%s%N) / 1000000)); }
in_host_network; plugin
begin=$(ms)
$ENGINE volume create $CREATE pkgfs -o package=demo/large -o registry=$SLOW -o background=off large > /dev/null
echo "volume create: $(($(ms) - begin)) ms"
$ENGINE run --rm --network none busybox cat /etc/passwd > /dev/null
begin=$(ms)
$ENGINE run --rm --network none busybox cat /etc/passwd > /dev/null
echo "a container without the volume: $(($(ms) - begin)) ms"
begin=$(ms)
$ENGINE run --rm --network none -v large:/p:ro busybox cat /p/small
took=$(($(ms) - begin))
echo "a container with it: $took ms"
[ $took -lt 8000 ] || { echo "that is too long"; exit 1; }
unmounted large
$ENGINE volume rm large
)sh";

/// A server that answers after 30 ms, and sends slowly.
class LargePackage {
 public:
  LargePackage()
      : server_({PackageBuilder("demo/large@1.0.0")
                     .file("v", "small", "the small file\n")
                     .file("v", "z", std::string(kLarge, 'z'))
                     .mount("/", "v")
                     .publish(directory_.path())}) {
    server_.set_faults({{.where = Fault::Where::kGraphql, .latency_ms = 30},
                        {.where = Fault::Where::kFiles, .latency_ms = 30, .rate = kRate}});
  }
  [[nodiscard]] std::string endpoint() const { return server_.endpoint(); }
  /// Bytes of the package that were sent.
  [[nodiscard]] std::uint64_t sent() const {
    std::uint64_t sum = 0;
    for (const auto& request : server_.requests()) {
      sum += request.is_file() ? request.sent : 0;
    }
    return sum;
  }

 private:
  TempDir directory_;
  TestRegistry server_;
};

/// The container reads the file, and not much more than that comes over the network.
template <typename Run>
void expect_one_file(const Run& run) {
  if (const std::string why = registry_missing(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const LargePackage package;
  const ProcessResult result = run(package);
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.out.find("the small file\n"), std::string::npos) << result.describe();
  EXPECT_LT(package.sent(), std::uint64_t{1} << 20U);
  ::testing::Test::RecordProperty("said", result.out);  // --gtest_output=xml shows the times
}

TEST_F(Podman, AContainerReadsAFileOfALargePackageAtOnce) {
  expect_one_file([this](const LargePackage& package) {
    return run("podman", kOneFile, {{"ENGINE", "podman"}, {"CREATE", "--driver"}, {"SLOW", package.endpoint()}});
  });
}

TEST_F(Docker, AContainerReadsAFileOfALargePackageAtOnce) {
  expect_one_file([this](const LargePackage& package) {
    return run("docker", kOneFile, {{"ENGINE", "docker"}, {"CREATE", "-d"}, {"SLOW", package.endpoint()}});
  });
}

}  // namespace
}  // namespace pkgfs::test
