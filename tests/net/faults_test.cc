// SPDX-License-Identifier: MIT
// Risk: a server or a network that misbehaves costs more than one clear error.
#include <fstream>
#include <sstream>

#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;
using Where = Fault::Where;

class Faults : public NetTest {
 protected:
  TestRegistry server_{{fixtures() / "registry/chain-v3"}};
  const std::string base_ = "acme/base@0.3.0";

  [[nodiscard]] ProcessResult pull(const Arguments& more = {}) const {
    Arguments arguments{"pull", base_, "--registry", server_.endpoint(), "--timeout", "1"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return pkgfs(arguments);
  }
  /// After a failure: one error, the right code, and nothing but what another attempt can go on from.
  void expect_failure(const ProcessResult& result, int code, const std::vector<std::string>& texts) const {
    EXPECT_EQ(result.exit_code, code) << result.describe();
    for (const std::string& text : texts) {
      EXPECT_NE(result.err.find(text), std::string::npos) << "expected: " << text << "\n" << result.describe();
    }
    std::size_t errors = 0;
    for (std::size_t at = result.err.find("error:"); at != std::string::npos; at = result.err.find("error:", at + 1)) {
      ++errors;
    }
    EXPECT_EQ(errors, 1U) << result.describe();
    EXPECT_FALSE(fs::exists(entry(server_.sha256(base_))));
  }
  void expect_no_litter() const { EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter()); }
  /// The next attempt, when all is well again.
  void expect_recovery() {
    server_.clear_faults();
    const ProcessResult result = pull();
    EXPECT_TRUE(result.ok()) << result.describe();
    EXPECT_EQ(read_text(entry(server_.sha256(base_))), read_text(chain_ / "acme/base/0.3.0.webc"));
    expect_no_litter();
  }
};

/// A fault of the registry, and the exit code and messages of pkgfs that it causes.
struct Case {
  const char* name;
  Fault fault;
  int code;
  std::vector<std::string> texts;
};

std::vector<Case> cases() {
  const std::string unusable = "Unable to deserialize the response";
  return {
      {"Status404",
       {.kind = Kind::kStatus, .where = Where::kGraphql, .status = 404},
       11,
       {"replied with 404 Not Found"}},
      {"Status500",
       {.kind = Kind::kStatus, .where = Where::kGraphql, .status = 500},
       11,
       {"replied with 500 Internal"}},
      {"Html", {.kind = Kind::kHtml, .where = Where::kGraphql}, 11, {"gave no usable answer", unusable}},
      {"GraphqlErrors",
       {.kind = Kind::kGraphqlErrors, .where = Where::kGraphql, .body = "out of order"},
       11,
       {unusable, "the registry says: out of order"}},
      {"NullPackage", {.kind = Kind::kNullPackage, .where = Where::kGraphql}, 3, {"acme/base@^0.3.0", "not found"}},
      {"Archived", {.kind = Kind::kArchived, .where = Where::kGraphql}, 3, {"0.3.0, is archived"}},
      {"NullFields",
       {.kind = Kind::kNullFields, .where = Where::kGraphql},
       11,
       {"version 0.3.0 was found, but it can't be used",
        "the registry gives no download URL, no hash and no manifest"}},
      {"BadManifest",
       {.kind = Kind::kBadManifest, .where = Where::kGraphql},
       4,
       {"version 0.3.0 was found, but it can't be used", "the manifest that the registry gives is damaged"}},
      {"Truncated", {.kind = Kind::kTruncate, .where = Where::kGraphql, .after = 50}, 11, {"POST \"http://127.0.0.1"}},
      {"Endless", {.kind = Kind::kEndless, .where = Where::kGraphql}, 11, {"the answer has more than"}},
      {"Stalled", {.kind = Kind::kStall, .where = Where::kGraphql, .after = 20}, 11, {"POST \"http://127.0.0.1"}},
      {"RedirectLoop",
       {.kind = Kind::kRedirectLoop, .where = Where::kGraphql},
       11,
       {"Maximum (10) redirects followed"}},
      {"TokenRefused",
       {.kind = Kind::kUnauthorized, .where = Where::kGraphql, .token = "right"},
       11,
       {"replied with 401 Unauthorized", "requires a token"}},
      {"ClosedConnection", {.kind = Kind::kClose, .where = Where::kGraphql}, 11, {"POST \"http://127.0.0.1"}},
      {"FileUrlOfOurs",
       {.kind = Kind::kUrl, .where = Where::kGraphql, .location = "file:///etc/passwd"},
       11,
       {"file:///etc/passwd", "only http and https are"}},
      {"File404",
       {.kind = Kind::kStatus, .where = Where::kFiles, .status = 404},
       11,
       {"acme/base@0.3.0", "package download failed: GET request to \"http://127.0.0.1",
        "failed with status 404 Not Found"}},
      {"File503",
       {.kind = Kind::kStatus, .where = Where::kFiles, .status = 503, .retry_after = "3600"},
       11,
       {"503 Service Unavailable (Retry After: 3600)"}},
      {"WrongHash", {.kind = Kind::kWrongHash, .where = Where::kGraphql}, 4, {"image hash mismatch! expected hash '"}},
      {"WrongBytes", {.kind = Kind::kWrongBytes, .where = Where::kFiles}, 4, {"image hash mismatch! expected hash '"}},
      {"FileRedirectLoop", {.kind = Kind::kRedirectLoop, .where = Where::kFiles}, 11, {"Maximum (10) redirects"}},
      {"FileTokenRefused",
       {.kind = Kind::kUnauthorized, .where = Where::kFiles, .token = "right"},
       11,
       {"failed with status 401 Unauthorized"}},
  };
}

class FaultCases : public Faults, public ::testing::WithParamInterface<Case> {};

TEST_P(FaultCases, IsOneClearErrorAndThenForgotten) {
  server_.set_fault(GetParam().fault);
  expect_failure(pull(), GetParam().code, GetParam().texts);
  expect_no_litter();
  // An answer that was understood is believed for a while; these were wrong on purpose.
  fs::remove_all(cache() / "queries");
  expect_recovery();
}

INSTANTIATE_TEST_SUITE_P(Kinds, FaultCases, ::testing::ValuesIn(cases()),
                         [](const auto& each) { return std::string(each.param.name); });

TEST_F(Faults, RegistryThatIsDown) {
  server_.stop();
  expect_failure(pull(), 11, {server_.endpoint(), "Couldn't connect"});
  expect_no_litter();
  server_.start();
  expect_recovery();
}

TEST_F(Faults, NameThatNobodyKnows) {
  if (!shell("unshare -n true").ok()) {
    GTEST_SKIP() << "no network namespace can be made here";
  }
  const ProcessResult result =
      run({"unshare", "-n", kPkgfs, "pull", base_, "--registry", "http://registry.invalid/graphql"},
          {.environment = environment()});
  expect_failure(result, 11, {"http://registry.invalid/graphql", "Could not resolve host"});
}

TEST_F(Faults, CertificatesThatProveNothing) {
  for (const auto tls : {TestRegistry::Tls::kWrongHost, TestRegistry::Tls::kExpired, TestRegistry::Tls::kSelfSigned}) {
    const TestRegistry server({chain_}, {.tls = tls});
    const ProcessResult result =
        pkgfs({"pull", base_, "--registry", server.tls_endpoint()}, {{"SSL_CERT_FILE", server.ca_file()}});
    expect_failure(result, 11, {server.tls_endpoint(), "SSL"});
  }
  const TestRegistry good({chain_}, {.tls = TestRegistry::Tls::kValid});
  const ProcessResult result =
      pkgfs({"pull", base_, "--registry", good.tls_endpoint()}, {{"SSL_CERT_FILE", good.ca_file()}});
  ASSERT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(good.requests().front().protocol, "HTTP/2.0");
}

TEST_F(Faults, CutOffDownloadGoesOnWhereItBroke) {
  server_.set_fault({.kind = Kind::kTruncate, .where = Where::kFiles, .times = 1, .after = 300});
  const ProcessResult result = pull();
  ASSERT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(server_.requests().back().header("range"), "bytes=300-");
  EXPECT_EQ(server_.requests().back().status, 206);
  EXPECT_FALSE(server_.requests().back().header("if-range").empty());
  expect_recovery();
}

TEST_F(Faults, CutOffForeverKeepsWhatCame) {
  server_.set_fault({.kind = Kind::kTruncate, .where = Where::kFiles, .after = 0});
  expect_failure(pull(), 11, {"Unable to download \"http://127.0.0.1", "acme/base@0.3.0"});
  expect_recovery();
}

TEST_F(Faults, RangesThatLieAreNeverMixed) {
  for (const Kind kind : {Kind::kIgnoreRange, Kind::kLyingRange, Kind::kWrongSlice, Kind::kGzip}) {
    SCOPED_TRACE(static_cast<int>(kind));
    fs::remove_all(cache());
    server_.set_faults({{.kind = Kind::kTruncate, .where = Where::kFiles, .times = 1, .after = 300},
                        {.kind = kind, .where = Where::kFiles, .times = 1}});
    const ProcessResult result = pull();
    // Only the slice that claims to be another can't be told from the right one before the hash.
    EXPECT_TRUE(result.ok() || (kind == Kind::kWrongSlice && result.exit_code == 4)) << result.describe();
    expect_recovery();
  }
}

TEST_F(Faults, ContentThatChangesInBetweenStartsAnew) {
  for (const Fault::Etag etag : {Fault::Etag::kWeak, Fault::Etag::kNone, Fault::Etag::kChanges}) {
    SCOPED_TRACE(static_cast<int>(etag));
    fs::remove_all(cache());
    server_.set_faults({{.kind = Kind::kTruncate, .where = Where::kFiles, .times = 1, .after = 300, .etag = etag},
                        {.kind = Kind::kPlain, .where = Where::kFiles, .times = 1, .etag = etag}});
    const ProcessResult result = pull();
    EXPECT_TRUE(result.ok()) << result.describe();
    expect_recovery();
  }
}

TEST_F(Faults, StalledDownloadIsTriedAgain) {
  server_.set_fault({.kind = Kind::kStall, .where = Where::kFiles, .times = 1, .after = 200});
  EXPECT_TRUE(pull().ok());
  expect_recovery();
}

TEST_F(Faults, EndlessDownloadIsLimited) {
  server_.set_fault({.kind = Kind::kEndless, .where = Where::kFiles});
  expect_failure(pull({"--max-download", "1M"}), 11, {"the answer has more than 1048576 bytes"});
  expect_no_litter();
  expect_recovery();
}

TEST_F(Faults, BodyThatIsLongerThanSaidIsCut) {
  server_.set_fault({.kind = Kind::kExcess, .where = Where::kFiles, .after = 100});
  EXPECT_TRUE(pull().ok());
  expect_recovery();
}

TEST_F(Faults, BusyServerIsWaitedFor) {
  server_.set_fault({.kind = Kind::kStatus, .where = Where::kFiles, .times = 1, .status = 503, .retry_after = "1"});
  const ProcessResult result = pull({"--no-wait"});
  expect_failure(result, 11, {"503 Service Unavailable (Retry After: 1)"});
  server_.set_fault({.kind = Kind::kStatus, .where = Where::kBoth, .times = 1, .status = 503, .retry_after = "1"});
  EXPECT_TRUE(pull().ok());
  expect_recovery();
}

TEST_F(Faults, TokenStaysWithItsAuthority) {
  const std::vector<std::pair<std::string, std::string>> token{{"WASMER_TOKEN", "secret"}};
  server_.set_fault({.kind = Kind::kRedirect, .where = Where::kFiles, .times = 1});
  const ProcessResult result = pkgfs({"pull", base_, "--registry", server_.endpoint()}, token);
  ASSERT_TRUE(result.ok()) << result.describe();
  const auto requests = server_.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_EQ(requests[0].header("authorization"), "Bearer secret");
  EXPECT_EQ(requests[1].header("authorization"), "Bearer secret") << "downloads from the registry itself";
  EXPECT_EQ(requests[2].header("host"), server_.other_authority().substr(7));
  EXPECT_EQ(requests[2].header("authorization"), "") << "another authority";
}

TEST_F(Faults, ProxyIsNotAskedForLoopback) {
  TestRegistry proxy({chain_});
  const ProcessResult result = pkgfs({"pull", base_, "--registry", server_.endpoint()},
                                     {{"http_proxy", proxy.authority()}, {"WASMER_TOKEN", "secret"}});
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_TRUE(proxy.requests().empty()) << "it would see the token";
}

TEST_F(Faults, AnswerOfAnotherShapeIsNotKept) {
  ASSERT_TRUE(pkgfs({"resolve", base_, "--registry", server_.endpoint()}).ok());
  fs::remove_all(cache() / "queries");
  server_.set_fault({.kind = Kind::kHtml, .where = Where::kGraphql, .body = R"({"data":{"getPackage":{"x":1}}})"});
  expect_failure(pull(), 11, {"Unable to deserialize the response"});
  expect_recovery();
}

TEST_F(Faults, AnswerAboutAnotherPackageIsAProtocolError) {
  server_.set_fault(
      {.kind = Kind::kHtml,
       .where = Where::kGraphql,
       .body = R"({"data":{"getPackage":{"packageName":"base","namespace":"../../../../tmp/evil","versions":[]}}})"});
  expect_failure(pull(), 11,
                 {"\"" + server_.endpoint() + "\" gave no usable answer",
                  "the registry was asked for \"acme/base\" and answers for \"../../../../tmp/evil/base\""});
  EXPECT_FALSE(fs::exists(cache() / "queries")) << "it isn't kept";
  expect_recovery();
}

TEST_F(Faults, ErrorBesideNullIsNotNotFound) {
  server_.set_fault({.kind = Kind::kHtml,
                     .where = Where::kGraphql,
                     .body = R"({"data":{"getPackage":null},"errors":[{"message":"statement timeout"}]})"});
  expect_failure(pull(), 11, {"statement timeout"});
  expect_recovery();
}

TEST_F(Faults, RightTokenIsAccepted) {
  server_.set_fault({.kind = Kind::kUnauthorized, .token = "right"});
  EXPECT_FALSE(pull({"--token", "wrong"}).ok());
  EXPECT_TRUE(pull({"--token", "right"}).ok());
}

TEST_F(Faults, DamagedDownloadMayBeUsedOnceOnDemand) {
  server_.set_fault({.kind = Kind::kWrongHash, .where = Where::kGraphql});
  const ProcessResult warned = pkgfs({"tree", base_, "--registry", server_.endpoint(), "--verify-downloads=warn"});
  EXPECT_TRUE(warned.ok()) << warned.describe();
  EXPECT_NE(warned.err.find("image hash mismatch"), std::string::npos) << warned.describe();
  EXPECT_TRUE(
      pkgfs({"tree", base_, "--registry", server_.endpoint(), "--verify-downloads=off", "--quiet"}).err.empty());
  expect_no_litter();
}

/// On a file system of its own, made with `options`, that is mounted where the cache goes.
ProcessResult on_tmpfs(const std::string& options, const std::string& cache, const std::string& command,
                       const ProcessOptions& process) {
  return shell("unshare -m --propagation private sh -c 'mount -t tmpfs -o " + options + " none " + cache + " && " +
                   command + "; code=$?; find " + cache + " -type f >&2; exit $code'",
               process);
}

TEST_F(Faults, FullAndReadOnlyCaches) {
  if (!shell("unshare -m --propagation private mount -t tmpfs none /mnt").ok()) {
    GTEST_SKIP() << "no tmpfs can be mounted here";
  }
  fs::create_directories(cache());
  const std::string command =
      kPkgfs + " pull " + base_ + " --registry " + server_.endpoint() + " --cache-dir " + cache().string();
  // Room for the answer of the registry and the directories, but not for the container.
  const fs::path filler = cache() / "filler";
  const ProcessResult full =
      on_tmpfs("size=16k", cache(), "head -c 8192 /dev/zero > " + filler.string() + " && " + command,
               {.environment = environment()});
  EXPECT_EQ(full.exit_code, 1) << full.describe();
  EXPECT_NE(full.err.find("No space left on device"), std::string::npos) << full.describe();
  EXPECT_EQ(full.err.find(".part"), full.err.rfind(".part")) << "only in the message\n" << full.describe();
  const ProcessResult read_only = on_tmpfs("ro", cache(), command, {.environment = environment()});
  EXPECT_EQ(read_only.exit_code, 1) << read_only.describe();
  EXPECT_NE(read_only.err.find("Read-only file system"), std::string::npos) << read_only.describe();
  EXPECT_NE(read_only.err.find(cache()), std::string::npos) << read_only.describe();
}

TEST_F(Faults, FullCacheKeepsNoPartOfTheOtherDownloads) {
  if (!shell("unshare -m --propagation private mount -t tmpfs none /mnt").ok()) {
    GTEST_SKIP() << "no tmpfs can be mounted here";
  }
  const fs::path packages = home_.path() / "packages";
  constexpr std::size_t kSize = 1U << 20U;
  for (const char* name : {"large", "slow"}) {
    PackageBuilder(std::string("test/") + name + "@1.0.0")
        .file("data", name, std::string(kSize, 'x'))
        .mount("/", "data")
        .publish(packages);
  }
  PackageBuilder("test/root@1.0.0")
      .use("a", "test/slow@1")
      .use("b", "test/large@1")
      .mount("/a", "data", "a")
      .mount("/b", "data", "b")
      .publish(packages);
  TestRegistry server({packages});
  // The slow one has begun, and isn't done, when the large one finds the disk full.
  server.set_faults({{.kind = Kind::kPlain, .where = Where::kFiles, .match = "test/slow@1.0.0", .rate = 64U << 10U},
                     {.kind = Kind::kPlain, .where = Where::kFiles, .match = "test/large@1.0.0", .latency_ms = 700}});
  fs::create_directories(cache());
  const ProcessResult full =
      on_tmpfs("size=600k", cache(),
               kPkgfs + " pull test/root --registry " + server.endpoint() + " --cache-dir " + cache().string(),
               {.environment = environment()});
  EXPECT_EQ(full.exit_code, 1) << full.describe();
  EXPECT_NE(full.err.find("No space left on device"), std::string::npos) << full.describe();
  bool slow_was_asked = false;
  for (const auto& request : server.requests()) {
    slow_was_asked = slow_was_asked || (request.is_file() && request.path.find("slow") != std::string::npos);
  }
  EXPECT_TRUE(slow_was_asked);
  std::istringstream lines(full.err);
  for (std::string line; std::getline(lines, line);) {
    const bool is_file = line.starts_with(cache().string());
    EXPECT_TRUE(!is_file || line.find("/queries/") != std::string::npos || line.ends_with(".bin")) << full.describe();
  }
}

}  // namespace
}  // namespace pkgfs::test
