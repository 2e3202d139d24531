// SPDX-License-Identifier: MIT
// Risk: because of a name server that doesn't reply, pkgfs waits too long, or doesn't react to signals.
#include <csignal>
#include <ctime>

#include <nlohmann/json.hpp>

#include "tests/net/net.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;
using Clock = std::chrono::steady_clock;

constexpr const char* kUrl = "http://registry.example/graphql";

/// Takes every question, notes that in the file argv[1], answers none, and ends with its parent.
constexpr const char* kSilentServer = R"(
import os, socket, sys
parent = os.getppid()
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
server.settimeout(0.1)
open(sys.argv[1] + ".ready", "w").close()
while os.getppid() == parent:
    try:
        server.recv(4096)
        open(sys.argv[1], "w").close()
    except TimeoutError:
        pass
)";

class NameServerFaults : public NetTest {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    if (!IsSkipped() && !shell("unshare -n -m --propagation private ip link set lo up").ok()) {
      GTEST_SKIP() << "no network namespace can be made here";
    }
    // A lookup by these rules takes a minute and more.
    home_.write("resolv.conf", "nameserver 127.0.0.1\noptions timeout:10 attempts:5\n");
    home_.write("silent.py", kSilentServer);
  }

  /// `pkgfs ARGUMENTS...` where the one name server is silent; the process is pkgfs itself.
  [[nodiscard]] Arguments with_silent_server(const std::string& arguments) const {
    const std::string home = home_.path();
    return {"unshare",
            "-n",
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            "ip link set lo up && mount --bind " + home + "/resolv.conf /etc/resolv.conf || exit 99\n" +
                "/usr/bin/python3 " + home + "/silent.py " + asked() + " &\n" +  //
                "while [ ! -e " + asked() + ".ready ]; do sleep 0.05; done\n" +  //
                "exec " + kPkgfs + " " + arguments};
  }
  [[nodiscard]] std::string asked() const { return home_.path() / "asked"; }
};

TEST_F(NameServerFaults, SilenceIsOneErrorInBoundedTime) {
  const auto begun = Clock::now();
  const ProcessResult result = run(with_silent_server(std::string("tree acme/base --timeout 1 --registry ") + kUrl),
                                   {.environment = environment()});
  const auto took = Clock::now() - begun;
  EXPECT_EQ(result.exit_code, 11) << result.describe();
  EXPECT_NE(result.err.find(kUrl), std::string::npos) << result.describe();
  EXPECT_NE(result.err.find("Resolving timed out"), std::string::npos) << result.describe();
  EXPECT_EQ(result.err.find("error:"), result.err.rfind("error:")) << result.describe();
  EXPECT_TRUE(fs::exists(asked()));
  EXPECT_LT(took, seconds(5)) << "two attempts of a second";
}

TEST_F(NameServerFaults, InterruptEndsTheWaitWithinASecond) {
  // Once while the first lookup waits, and once after pkgfs gave that up and libc didn't.
  for (const auto& [timeout, delay] : {std::pair{"30", milliseconds(0)}, std::pair{"1", milliseconds(1100)}}) {
    SCOPED_TRACE(timeout);
    fs::remove(asked());
    Process process(with_silent_server(std::string("tree acme/base --timeout ") + timeout + " --registry " + kUrl),
                    {.environment = environment()});
    ASSERT_TRUE(eventually([&] { return fs::exists(asked()); })) << process.err();
    sleep_ms(static_cast<int>(delay.count()));
    const auto begun = Clock::now();
    process.signal(SIGINT);
    EXPECT_EQ(process.wait().exit_code, 130) << process.wait().describe();
    EXPECT_LT(Clock::now() - begun, seconds(1));
  }
}

TEST_F(NameServerFaults, WhatTheRegistrySaidEarlierIsUsed) {
  TestRegistry server({chain_});
  ASSERT_TRUE(pkgfs({"tree", "acme/base", "--registry", server.endpoint()}).ok());
  // The same cache as if it had been filled from there, two hours ago.
  const fs::path queries = cache() / "queries";
  const fs::path filled = fs::directory_iterator(queries)->path();
  fs::rename(filled, queries / "http___registry.example_graphql");
  for (const auto& file : fs::directory_iterator(queries / "http___registry.example_graphql")) {
    auto document = read_json(file.path());
    document["unix_timestamp"] = static_cast<std::int64_t>(std::time(nullptr)) - 7200;
    home_.write(file.path().lexically_relative(home_.path()), document.dump());
  }
  const ProcessResult result = run(with_silent_server(std::string("tree acme/base --timeout 1 --registry ") + kUrl),
                                   {.environment = environment()});
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.err.find("2 hours ago"), std::string::npos) << result.describe();
}

}  // namespace
}  // namespace pkgfs::test
