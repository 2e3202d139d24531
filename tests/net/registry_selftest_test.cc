// SPDX-License-Identifier: MIT
// Risk: the test registry, which the other tests trust, gives wrong replies, or leaves processes or files behind.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <nlohmann/json.hpp>

#include "tests/net/curl.h"
#include "tests/support/tree.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class RegistrySelf : public RegistryTest {};

TEST_F(RegistrySelf, AnswersTheDocumentedQueryForEveryGeneratedPackage) {
  for (const std::string set : {"chain-v2", "chain-v3", "mixed", "versions-v3", "identity-v2"}) {
    SCOPED_TRACE(set);
    TestRegistry registry({fixtures() / "registry" / set});
    std::map<std::string, std::map<std::string, fs::path>> packages;
    for (const auto& entry : fs::recursive_directory_iterator(fixtures() / "registry" / set)) {
      if (entry.path().extension() == ".webc") {
        const fs::path package = entry.path().parent_path();
        packages[package.lexically_relative(fixtures() / "registry" / set)][entry.path().stem()] = entry.path();
      }
    }
    ASSERT_FALSE(packages.empty());
    for (const auto& [name, versions] : packages) {
      const Json reply = ask(registry.endpoint(), by_name(name)).json();
      const Json& package = reply.at("data").at("getPackage");
      const std::size_t slash = name.find('/');
      EXPECT_EQ(package.at("namespace"), slash == std::string::npos ? "_" : name.substr(0, slash));
      EXPECT_EQ(package.at("packageName"), name.substr(slash + 1));
      EXPECT_TRUE(reply.at("data").at("info").at("defaultFrontend").is_string());
      ASSERT_EQ(package.at("versions").size(), versions.size()) << name;
      for (const Json& version : package.at("versions")) {
        const fs::path file = versions.at(version.at("version"));
        if (read_text(file).substr(0, 5) != std::string("\0webc", 5)) {
          EXPECT_TRUE(version.at("v2").at("webcManifest").is_null() && version.at("v3").at("webcManifest").is_null());
          continue;  // the sets have things that only look like a version
        }
        const bool third = read_text(file).substr(0, 8) == std::string("\0webc003", 8);
        const Json& is = version.at(third ? "v3" : "v2");
        const Json& is_not = version.at(third ? "v2" : "v3");
        EXPECT_EQ(version.at("isArchived"), false);
        EXPECT_TRUE(is_not.at("piritaDownloadUrl").is_null() && is_not.at("webcManifest").is_null());
        const Reply got = curl({is.at("piritaDownloadUrl")});
        EXPECT_EQ(got.status, 200) << got.describe();
        EXPECT_EQ(got.body, read_text(file));
        if (!fs::exists(fs::path(file).replace_extension("sha256"))) {
          EXPECT_EQ(is.at("piritaSha256Hash"), file_sha256(file));
        }
        EXPECT_TRUE(Json::parse(is.at("webcManifest").get<std::string>()).is_object());
      }
      const Json variables = {{"query",
                               "query Q($n: String!) { getPackage(name: $n) { packageName namespace versions { version "
                               "isArchived v2: distribution(version: V2) { piritaDownloadUrl piritaSha256Hash "
                               "webcManifest } v3: distribution(version: V3) { piritaDownloadUrl piritaSha256Hash "
                               "webcManifest } } } info { defaultFrontend } }"},
                              {"variables", {{"n", name}}}};
      EXPECT_EQ(post(registry.endpoint(), variables).json(), reply);
    }
  }
}

TEST_F(RegistrySelf, KnowsTheManifestsOfTheGoldenFilesByHash) {
  TestRegistry registry({fixtures() / "webc"});
  int compared = 0;
  for (const auto& entry : fs::directory_iterator(fixtures() / "webc")) {
    if (entry.path().extension() != ".json" || entry.path().stem().extension() != ".webc") {
      continue;
    }
    SCOPED_TRACE(entry.path());
    const Json golden = read_json(entry.path());
    const std::string hash = golden.at("sha256");
    const Json release = ask(registry.endpoint(), by_hash("sha256:" + hash)).json().at("data").at("getPackageRelease");
    const auto manifest = nlohmann::json::parse(release.at("piritaManifest").get<std::string>());
    EXPECT_EQ(manifest, nlohmann::json(golden.at("manifest")));
    EXPECT_EQ(release.at("isArchived"), false);
    EXPECT_EQ(release.at("webcUrl"), registry.file_url(hash));
    ++compared;
  }
  EXPECT_GT(compared, 50);
  EXPECT_TRUE(ask(registry.endpoint(), by_hash("sha256:" + std::string(64, '0'))).json().at("data").front().is_null());
}

TEST_F(RegistrySelf, RefusesWhatIsNoQuery) {
  TestRegistry registry({chain_});
  EXPECT_TRUE(ask(registry.endpoint(), by_name("acme/nothing")).json().at("data").at("getPackage").is_null());
  for (const std::string query : {"{ getPackage(name: \"a\" }", "{ getPackage(name: \"a\") { surprise } }", ""}) {
    const Reply reply = ask(registry.endpoint(), query);
    EXPECT_EQ(reply.status, 400) << query;
    EXPECT_TRUE(reply.json().at("errors").at(0).at("message").is_string());
  }
  EXPECT_EQ(post(registry.endpoint(), Json::array()).status, 400);
  EXPECT_EQ(curl({registry.endpoint()}).status, 405);
  EXPECT_EQ(curl({registry.authority() + "/files/acme/app/2.0.0/x.webc"}).status, 404);
  EXPECT_EQ(curl({registry.authority() + "/_control", "-d", "{}"}).status, 404);
}

TEST_F(RegistrySelf, ServesRangesTheSameWithAndWithoutNginx) {
  TestRegistry registry({chain_});
  const std::string url = registry.file_url("acme/app@2.0.0");
  const std::string direct = registry.direct_endpoint().substr(0, registry.direct_endpoint().rfind('/'));
  const std::string etag = curl({url}).header("etag");
  const std::string date = curl({url}).header("last-modified");
  ASSERT_FALSE(etag.empty() || date.empty());
  const std::vector<Arguments> requests = {{},
                                           {"-I"},
                                           {"-r", "10-"},
                                           {"-r", "10-19"},
                                           {"-r", "-7"},
                                           {"-r", "99999999-"},
                                           {"-r", "10-", "-H", "If-Range: " + etag},
                                           {"-r", "10-", "-H", "If-Range: \"other\""},
                                           {"-r", "10-", "-H", "If-Range: W/" + etag},
                                           {"-r", "10-", "-H", "If-Range: " + date},
                                           {"-r", "10-", "-H", "If-Range: Thu, 01 Jan 1970 00:00:00 GMT"}};
  for (const Arguments& request : requests) {
    Arguments first = request;
    first.push_back(url);
    Arguments second = request;
    second.push_back(direct + url.substr(registry.authority().size()));
    const Reply nginx = curl(first);
    const Reply own = curl(second);
    SCOPED_TRACE(::testing::PrintToString(request));
    EXPECT_EQ(own.status, nginx.status);
    for (const std::string name :
         {"content-length", "content-range", "etag", "last-modified", "content-type", "accept-ranges"}) {
      if (nginx.status != 416 || name == "content-range") {
        EXPECT_EQ(own.header(name), nginx.header(name)) << name;
      }
    }
    if (nginx.status != 416 && request != Arguments{"-I"}) {
      EXPECT_EQ(own.body, nginx.body);
    }
  }
  const std::string part = curl({"-r", "10-19", url}).body;
  EXPECT_EQ(part, read_text(chain_ / "acme/app/2.0.0.webc").substr(10, 10));
}

TEST_F(RegistrySelf, RemembersWhatWasAsked) {
  TestRegistry registry({chain_});
  (void)ask(registry.endpoint() + "?a=b", by_name("acme/app"), {"-H", "Authorization: Bearer secret"});
  (void)curl({"-r", "0-99", registry.file_url("acme/app"), "-H", "Accept: application/webc"});
  (void)curl({registry.authority() + "/nothing"});
  const auto requests = registry.requests();
  ASSERT_EQ(requests.size(), 3U);
  EXPECT_TRUE(requests[0].is_graphql());
  EXPECT_EQ(requests[0].method, "POST");
  EXPECT_EQ(requests[0].query, "a=b");
  EXPECT_EQ(requests[0].protocol, "HTTP/1.1");
  EXPECT_EQ(requests[0].header("authorization"), "Bearer secret");
  EXPECT_EQ("http://" + requests[0].header("host"), registry.authority());
  EXPECT_EQ(Json::parse(requests[0].body).at("query"), by_name("acme/app"));
  EXPECT_EQ(requests[0].status, 200);
  EXPECT_TRUE(requests[1].is_file());
  EXPECT_EQ(requests[1].header("range"), "bytes=0-99");
  EXPECT_EQ(requests[1].header("accept"), "application/webc");
  EXPECT_EQ(requests[1].header("x-test-id"), "");
  EXPECT_EQ(requests[1].status, 206);
  EXPECT_EQ(requests[1].sent, 100U);
  EXPECT_EQ(requests[2].status, 404);
  registry.clear_requests();
  EXPECT_TRUE(registry.requests().empty());
}

TEST_F(RegistrySelf, ChangesAtRunTime) {
  TestRegistry registry({chain_});
  const auto versions = [&](const std::string& name) {
    std::map<std::string, bool> found;
    const Json package = ask(registry.endpoint(), by_name(name)).json().at("data").at("getPackage");
    for (const Json& version : package.is_null() ? Json::array() : package.at("versions")) {
      found[version.at("version")] = version.at("isArchived");
    }
    return found;
  };
  registry.add_package(fixtures() / "webc/basic-v2.webc", "acme/app", "2.1.0");
  registry.add_package(fixtures() / "webc/basic-v3.webc");
  EXPECT_EQ(versions("acme/app"), (std::map<std::string, bool>{{"2.0.0", false}, {"2.1.0", false}}));
  const Json wapm = read_json(fixtures() / "webc/basic-v3.webc.json").at("manifest").at("package").at("wapm");
  EXPECT_EQ(versions(wapm.at("name")), (std::map<std::string, bool>{{wapm.at("version"), false}}));
  EXPECT_EQ(curl({registry.file_url("acme/app@2.1.0")}).body, read_text(fixtures() / "webc/basic-v2.webc"));
  registry.archive("acme/app", "2.0.0");
  EXPECT_EQ(versions("acme/app"), (std::map<std::string, bool>{{"2.0.0", true}, {"2.1.0", false}}));
  EXPECT_THROW(registry.archive("acme/app", "7.0.0"), std::runtime_error);
  EXPECT_THROW((void)registry.file_url("acme/nothing"), std::runtime_error);
}

TEST_F(RegistrySelf, GoesDownAndComesBack) {
  TestRegistry registry({chain_});
  const std::string before = registry.endpoint();
  for (int round = 0; round < 3; ++round) {
    registry.stop();
    EXPECT_EQ(ask(before, by_name("acme/app")).exit_code, 7) << "curl: connection refused";
    registry.start();
    EXPECT_EQ(ask(before, by_name("acme/app")).status, 200);
  }
  EXPECT_EQ(registry.requests().size(), 3U);
}

TEST_F(RegistrySelf, SpeaksTlsWithGoodAndBadCertificates) {
  using Tls = TestRegistry::Tls;
  // curl: 60 is a certificate that can't be trusted, a wrong name included.
  for (const auto& [tls, exit_code] : {std::pair(Tls::kValid, 0), std::pair(Tls::kWrongHost, 60),
                                       std::pair(Tls::kExpired, 60), std::pair(Tls::kSelfSigned, 60)}) {
    TestRegistry registry({chain_}, {.tls = tls});
    const Reply reply = ask(registry.tls_endpoint(), by_name("acme/app"), {"--cacert", registry.ca_file()});
    EXPECT_EQ(reply.exit_code, exit_code) << static_cast<int>(tls) << reply.describe();
    const Reply trusting = ask(registry.tls_endpoint(), by_name("acme/app"), {"--insecure"});
    ASSERT_EQ(trusting.status, 200) << trusting.describe();
    EXPECT_EQ(registry.requests().back().protocol, "HTTP/2.0");
    const std::string url =
        trusting.json().at("data").at("getPackage").at("versions").at(0).at("v3").at("piritaDownloadUrl");
    EXPECT_TRUE(url.starts_with("https://127.0.0.1:"));
    EXPECT_EQ(curl({"--insecure", url}).body, read_text(chain_ / "acme/app/2.0.0.webc"));
  }
}

TEST_F(RegistrySelf, StandsManyPackagesAndConnections) {
  const TempDir many;
  std::string urls;
  for (int number = 0; number < 200; ++number) {
    const std::string name = "many/p" + std::to_string(number);
    many.write(name + "/1.0.0.webc", read_text(fixtures() / "webc/basic-v3.webc"));
  }
  TestRegistry registry({many.path()});
  for (int number = 0; number < 200; ++number) {
    urls += "url = \"" + registry.file_url("many/p" + std::to_string(number)) + "\"\noutput = \"/dev/null\"\n";
  }
  registry.set_fault({.latency_ms = 50});
  const auto start = std::chrono::steady_clock::now();
  const Reply reply = curl({"--parallel", "--parallel-immediate", "--parallel-max", "32", "--fail", "-K",
                            many.write("urls", urls).string()});
  EXPECT_EQ(reply.exit_code, 0) << reply.describe();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(4)) << "at least 0.35 s";
  const auto requests = registry.requests();
  EXPECT_EQ(requests.size(), 200U);
  for (const auto& request : requests) {
    EXPECT_EQ(request.status, 200);
  }
}

std::vector<pid_t> group_of(pid_t leader) {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") == std::string::npos && ::getpgid(std::stoi(name)) == leader) {
      found.push_back(std::stoi(name));
    }
  }
  return found;
}

TEST_F(RegistrySelf, LeavesNothingBehind) {
  auto registry = std::make_unique<TestRegistry>(std::vector{chain_});
  const pid_t leader = registry->pid();
  const fs::path directory = registry->directory();
  EXPECT_EQ(group_of(leader).size(), 2U) << "the server and nginx";
  registry->set_fault({.kind = Fault::Kind::kStall});
  Process stalled({"curl", "-sS", registry->file_url("acme/app")});
  EXPECT_TRUE(eventually([&] { return !registry->requests().empty(); }));
  registry.reset();
  EXPECT_EQ(group_of(leader), std::vector<pid_t>());
  EXPECT_FALSE(fs::exists(directory));
}

TEST_F(RegistrySelf, LeavesNothingBehindAfterACrash) {
  int ends[2] = {-1, -1};
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    TestRegistry registry({chain_});
    const std::string line = std::to_string(registry.pid()) + " " + registry.directory().string() + "\n";
    (void)!::write(ends[1], line.data(), line.size());
    ::pause();
    ::_exit(0);
  }
  std::string line(4096, '\0');
  const ssize_t count = ::read(ends[0], line.data(), line.size());
  ASSERT_GT(count, 0);
  const pid_t leader = std::stoi(line);
  const fs::path directory = line.substr(line.find(' ') + 1, static_cast<std::size_t>(count) - line.find(' ') - 2);
  ASSERT_TRUE(fs::exists(directory / "nginx.conf"));
  EXPECT_EQ(group_of(leader).size(), 2U);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  // A zombie may stay if no process reaps orphans; it has no command line.
  EXPECT_TRUE(eventually([&] { return processes_alive(group_of(leader)) == 0 && !fs::exists(directory); }));
  ::close(ends[0]);
  ::close(ends[1]);
}

}  // namespace
}  // namespace pkgfs::test
