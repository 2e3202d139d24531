// SPDX-License-Identifier: MIT
// Risk: `pkgfs doctor` calls an unusable registry good, or waits too long for one that doesn't reply.
#include <chrono>
#include <csignal>

#include <nlohmann/json.hpp>

#include "tests/net/net.h"

namespace pkgfs::test {
namespace {

using nlohmann::json;
using std::chrono::steady_clock;

/// A server that lives in another time; prints its port.
constexpr const char* kOtherTime = R"(
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def date_time_string(self, timestamp=None):
        return "Tue, 01 Jan 2030 00:00:00 GMT"
    def do_POST(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
)";

class DoctorNet : public NetTest {
 protected:
  /// What it says of registries, and of the clock if that is wrong: `check level said advice`, a line each.
  std::string ask(const Arguments& more = {}, int code = 1) {
    Arguments arguments{"doctor", "--json", "--timeout=1", "--registry", server_.endpoint()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto begin = steady_clock::now();
    const ProcessResult result = pkgfs(arguments);
    EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(4));
    const json document = json::parse(result.out, nullptr, false);
    EXPECT_TRUE(document.is_object()) << result.describe();
    EXPECT_EQ(result.exit_code, document.value("problems", 0) > 0 ? 1 : 0) << result.describe();
    std::string lines;
    for (const json& found : document.value("checks", json::array())) {
      if (found["check"] == "registry" || (found["check"] == "clock" && found["level"] != "ok")) {
        lines += found["check"].get<std::string>() + " " + found["level"].get<std::string>() + " " +
                 found["said"].get<std::string>() + " " + found["advice"].dump() + "\n";
      }
    }
    // Other tests may have mounts that are a problem.
    EXPECT_EQ(lines.find(" problem ") != std::string::npos, code == 1) << lines;
    return lines;
  }
  static void expect(const std::string& lines, const std::string& part) {
    EXPECT_NE(lines.find(part), std::string::npos) << "no \"" << part << "\" in " << lines;
  }

  TestRegistry server_{{fixtures() / "registry/chain-v3"}};
};

TEST_F(DoctorNet, AsksTheRegistry) {
  expect(ask({}, 0), "registry ok " + server_.endpoint() + " answers in ");
  expect(ask({"--token=secret"}, 0), "with a token");
  server_.clear_requests();
  expect(ask({"--offline"}, 0), "wasn't asked (--offline)");
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(DoctorNet, SaysWhatIsWrongWithIt) {
  server_.set_fault({.kind = Fault::Kind::kUnauthorized, .token = "right"});
  expect(ask(), "registry problem " + server_.endpoint() + " answers 401 Unauthorized");
  expect(ask(), "wasmer login");
  expect(ask({"--token=wrong"}), "does not accept the token");
  expect(ask({"--token=right"}, 0), "registry ok");
  server_.set_fault({.kind = Fault::Kind::kStatus, .status = 503});
  expect(ask(), "answers 503 Service Unavailable");
  server_.set_fault({.kind = Fault::Kind::kHtml});
  expect(ask(), "but not as a registry does");
  server_.set_fault({.kind = Fault::Kind::kClose});
  expect(ask(), "can't be reached");
  server_.clear_faults();
  server_.stop();
  expect(ask(), "can't be reached");
}

TEST_F(DoctorNet, DoesNotWaitForOneThatSaysNothing) {
  server_.set_fault({.kind = Fault::Kind::kPlain, .latency_ms = 8000});
  expect(ask(), "can't be reached");
  server_.set_fault({.kind = Fault::Kind::kStall, .after = 5});
  expect(ask(), "can't be reached");
}

TEST_F(DoctorNet, ASignalEndsTheWait) {
  server_.set_fault({.kind = Fault::Kind::kPlain, .latency_ms = 8000});
  server_.clear_requests();
  Process process({kPkgfs, "doctor", "--registry", server_.endpoint()}, {.environment = environment()});
  ASSERT_TRUE(eventually([&] { return !server_.requests().empty(); })) << process.err();
  const auto begin = steady_clock::now();
  process.signal(SIGINT);
  EXPECT_EQ(process.wait().exit_code, 130) << process.wait().describe();
  EXPECT_LT(steady_clock::now() - begin, std::chrono::seconds(1));
}

TEST_F(DoctorNet, NoticesAWrongClock) {
  const Process other({"python3", "-c", kOtherTime});
  ASSERT_TRUE(eventually([&] { return other.out().ends_with('\n'); })) << other.err();
  const std::string port = std::to_string(std::stoi(other.out()));
  const std::string lines = ask({"--registry", "http://127.0.0.1:" + port + "/graphql"}, 0);
  expect(lines, "clock warning this clock is ");
  expect(lines, "timedatectl");
}

}  // namespace
}  // namespace pkgfs::test
