// SPDX-License-Identifier: MIT
// Risk: a hostile registry or file server costs more than one clear error: a command that never ends, a download over a
// connection that others can change.
#include <chrono>

#include "tests/net/net.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;
using Where = Fault::Where;

class Hostile : public NetTest {
 protected:
  TestRegistry server_{{fixtures() / "registry/chain-v3"}};
  const std::string base_ = "acme/base@0.3.0";

  [[nodiscard]] ProcessResult pull(const Arguments& more = {}) const {
    Arguments arguments{"pull", base_, "--registry", server_.endpoint()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return pkgfs(arguments);
  }
  void expect_failure(const ProcessResult& result, int code, const std::vector<std::string>& texts) const {
    EXPECT_EQ(result.exit_code, code) << result.describe();
    for (const std::string& text : texts) {
      EXPECT_NE(result.err.find(text), std::string::npos) << "expected: " << text << "\n" << result.describe();
    }
    EXPECT_EQ(result.err.find("error:"), result.err.rfind("error:")) << result.describe();
    EXPECT_FALSE(fs::exists(entry(server_.sha256(base_))));
  }
  template <typename Call>
  static double seconds_of(const Call& call) {
    const auto begun = std::chrono::steady_clock::now();
    call();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  }
};

TEST_F(Hostile, LiesAboutRangesEndSoonWithTheDefaultTimeOuts) {
  using Lie = Fault::Lie;
  for (const Lie lie : {Lie::k416, Lie::kOtherEtag, Lie::kNoRange, Lie::kWrongRange, Lie::kEmpty, Lie::kOneByte}) {
    SCOPED_TRACE(static_cast<int>(lie));
    fs::remove_all(cache());
    server_.clear_requests();
    server_.set_fault({.kind = Kind::kRangeLie, .where = Where::kFiles, .lie = lie});
    const double took = seconds_of([&] { expect_failure(pull(), 11, {"Unable to download \"http://127.0.0.1"}); });
    EXPECT_LT(took, 15);
    EXPECT_LE(count_files(server_), 8U);
    server_.clear_faults();
    const ProcessResult after = pull();
    EXPECT_TRUE(after.ok()) << after.describe();
    EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
  }
}

TEST_F(Hostile, MuteAndTricklingRegistriesEndInTime) {
  server_.set_fault({.kind = Kind::kStall, .where = Where::kGraphql, .after = 0});
  double took = seconds_of([&] { expect_failure(pull({"--timeout", "2"}), 11, {"in 2 attempts", "nothing for 2 s"}); });
  EXPECT_GE(took, 3.9);
  EXPECT_LE(took, 15) << "two attempts";
  took = seconds_of([&] { expect_failure(pull({"--deadline", "2"}), 11, {"--deadline"}); });
  EXPECT_GE(took, 1.9);
  EXPECT_LE(took, 15);
  server_.set_fault({.kind = Kind::kPlain, .where = Where::kGraphql, .rate = 40});
  took = seconds_of([&] { expect_failure(pull({"--timeout", "1"}), 11, {"less than 256 bytes a second"}); });
  EXPECT_LE(took, 15);
}

class LeavesHttps : public Hostile {
 protected:
  TestRegistry secure_{{fixtures() / "registry/chain-v3"}, {.tls = TestRegistry::Tls::kValid}};

  [[nodiscard]] ProcessResult secure(const Arguments& arguments) const {
    return pkgfs(arguments, {{"SSL_CERT_FILE", secure_.ca_file()}});
  }
  void redirect(Where where) {
    secure_.set_fault({.kind = Kind::kRedirect, .where = where, .location = secure_.authority()});
  }
  /// The https URL of the base package.
  [[nodiscard]] std::string file_url() const {
    const std::string endpoint = secure_.tls_endpoint();
    const std::string url = secure_.file_url(base_);
    return endpoint.substr(0, endpoint.rfind("/graphql")) + url.substr(url.find("/files/"));
  }
};

TEST_F(LeavesHttps, QueriesNever) {
  redirect(Where::kGraphql);
  expect_failure(secure({"pull", base_, "--registry", secure_.tls_endpoint()}), 11,
                 {"the server redirects from https to \"http://127.0.0.1"});
  for (const auto& request : secure_.requests()) {
    EXPECT_EQ("https://" + request.header("host") + "/graphql", secure_.tls_endpoint()) << "it wasn't followed";
  }
}

TEST_F(LeavesHttps, DownloadsWithAHashThatCameOverHttps) {
  redirect(Where::kFiles);
  const ProcessResult result = secure({"pull", base_, "--registry", secure_.tls_endpoint()});
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_NE(result.err.find("came over a connection without encryption, after a redirect to \"http://127.0.0.1"),
            std::string::npos)
      << result.describe();
}

TEST_F(LeavesHttps, DownloadsWithoutSuchAHashNever) {
  redirect(Where::kFiles);
  expect_failure(secure({"tree", file_url()}), 11, {"the server redirects from https to \"http://127.0.0.1"});
  const ProcessResult unchecked =
      secure({"pull", base_, "--registry", secure_.tls_endpoint(), "--verify-downloads=warn"});
  EXPECT_EQ(unchecked.exit_code, 11) << unchecked.describe();
  fs::remove_all(cache());
  secure_.set_faults({{.kind = Kind::kUrl, .where = Where::kGraphql, .match = base_, .location = file_url()},
                      {.kind = Kind::kRedirect, .where = Where::kFiles, .location = secure_.authority()}});
  expect_failure(secure({"pull", base_, "--registry", secure_.endpoint()}), 11,
                 {"the server redirects from https to \"http://127.0.0.1"});
}

}  // namespace
}  // namespace pkgfs::test
