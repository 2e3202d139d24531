// SPDX-License-Identifier: MIT
// Risk: a package of a registry makes pkgfs show files of this machine, or send requests to other servers.
#include <algorithm>
#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class Strangers : public NetTest {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    home_.write("private/wasmer.toml", "[package]\nname = \"me/private\"\nversion = \"1.0.0\"\n[fs]\n\"/s\" = \"s\"\n");
    home_.write("private/s/private.txt", "s3cret");
  }

  /// Publishes zorg/portal, which shows what its dependency `specifier` has.
  void publish(const std::string& specifier) {
    PackageBuilder builder("zorg/portal@1.0.0");
    builder.file("data", "own", "own").mount("/own", "data").use("a", specifier).mount("/s", "/s", "a");
    server_.add_package(builder.publish(home_.path() / "published"));
  }
  [[nodiscard]] ProcessResult portal(Arguments arguments) const {
    arguments.insert(arguments.end(), {"--registry", server_.endpoint()});
    return pkgfs(arguments);
  }
  static void expect_refused(const ProcessResult& result, const std::string& why) {
    EXPECT_FALSE(result.ok()) << result.describe();
    EXPECT_NE(result.err.find(why), std::string::npos) << result.describe();
    EXPECT_EQ(result.out.find("s3cret"), std::string::npos);
    EXPECT_EQ(result.err.find("s3cret"), std::string::npos) << "not a byte in a message";
  }

  TestRegistry server_{{fixtures() / "registry/chain-v3"}};
};

TEST_F(Strangers, OpenNoPathOfThisMachine) {
  const std::string path = home_.path() / "private";
  publish(path);
  for (const Arguments& command : {Arguments{"cat", "zorg/portal", "/s/private.txt"}, Arguments{"tree", "zorg/portal"},
                                   Arguments{"resolve", "zorg/portal"}, Arguments{"pull", "zorg/portal"},
                                   Arguments{"cat", server_.file_url("zorg/portal"), "/s/private.txt"}}) {
    const ProcessResult result = portal(command);
    expect_refused(result, "may not depend on \"" + path + "\"");
    EXPECT_NE(result.err.find("it was reached by \"zorg/portal@1.0.0\""), std::string::npos) << result.describe();
  }
}

TEST_F(Strangers, ReadNoByteOfAFileThatIsNoPackage) {
  home_.write("notes", "s3cret");
  publish("file://" + (home_.path() / "notes").string());
  expect_refused(portal({"tree", "zorg/portal"}), "only a package that lies on this machine may depend on a path");
}

TEST_F(Strangers, AlsoInALockFile) {
  publish("acme/base@0.3.0");
  const std::string lock = home_.path() / "lock";
  ASSERT_TRUE(portal({"resolve", "--lock", lock, "zorg/portal"}).ok());
  std::string text = read_text(lock);
  const std::string path = home_.path() / "private";
  const std::string was = "\"acme/base@^0.3.0\"";
  ASSERT_NE(text.find(was), std::string::npos) << text;
  text.replace(text.find(was), was.size(), "\"" + path + "\"");
  std::ofstream(lock) << text;
  expect_refused(portal({"tree", "--lock", lock, "zorg/portal"}),
                 "is \"" + path + "\" in the lock file and " + was + " in the package");
}

TEST_F(Strangers, NameUrlsOfOtherServersOnlyIfAllowed) {
  const std::string file = server_.file_url("acme/base@0.3.0");
  const std::string elsewhere = server_.other_authority() + file.substr(server_.authority().size());
  publish(elsewhere);
  const auto requests_elsewhere = [&] {
    const auto all = server_.requests();
    const std::string host = server_.other_authority().substr(std::string("http://").size());
    return std::ranges::count_if(all, [&](const auto& request) { return request.header("host") == host; });
  };
  expect_refused(portal({"resolve", "zorg/portal"}), "--allow-url-dependencies accepts it");
  EXPECT_EQ(requests_elsewhere(), 0);
  const ProcessResult allowed = portal({"resolve", "--allow-url-dependencies", "zorg/portal"});
  EXPECT_TRUE(allowed.ok()) << allowed.describe();
  EXPECT_GT(requests_elsewhere(), 0);
}

TEST_F(Strangers, NameUrlsOfTheirOwnServer) {
  publish(server_.file_url("acme/base@0.3.0"));
  const ProcessResult result = portal({"resolve", "zorg/portal"});
  EXPECT_TRUE(result.ok()) << result.describe();
}

// The proxy stands for the public network: nothing else here could have a public address.
TEST_F(Strangers, LeadByNoRedirectToThisMachine) {
  const std::string path = server_.file_url("acme/base@0.3.0").substr(server_.authority().size());
  const std::string url = "http://public.example" + path;
  const std::vector<std::pair<std::string, std::string>> proxy = {{"http_proxy", server_.authority()}};
  const ProcessResult direct = pkgfs({"tree", url}, proxy);
  ASSERT_TRUE(direct.ok()) << direct.describe();
  const std::string leads = "the URL comes from the public network, which may not lead there";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"http://169.254.169.254", leads},
      {"//169.254.169.254", leads},
      {"http://0xa9fea9fe", leads},
      {server_.other_authority(), leads},
      {"http://%EF%BC%91%EF%BC%96%EF%BC%99.254.169.254", "failed"},  // wide digits: libcurl says why
      {"http://user@169.254.169.254", "pkgfs follows no URL with a user name"},
      {"http://user:secret@169.254.169.254", "\"http://user:…@169.254.169.254/"},
  };
  for (const auto& [target, why] : cases) {
    fs::remove_all(cache());
    server_.set_fault({.kind = Fault::Kind::kRedirect, .where = Fault::Where::kFiles, .times = 1, .location = target});
    server_.clear_requests();
    const ProcessResult result = pkgfs({"tree", url}, proxy);
    expect_refused(result, why);
    EXPECT_EQ(count_files(server_), 1U) << "only the request that was redirected, not that to " << target;
  }
}

TEST_F(Strangers, LeadByALockFileToNoServerOfThisMachine) {
  const std::string lock = home_.path() / "lock";
  ASSERT_TRUE(portal({"resolve", "--lock", lock, "acme/base@0.3.0"}).ok());
  server_.clear_requests();
  expect_refused(pkgfs({"tree", "--lock", lock, "acme/base@0.3.0"}), "--registry=" + server_.endpoint() + " adds it");
  auto document = read_json(lock);
  document["pkgfs_lock"] = 1;
  document["packages"][0].erase("registry");
  std::ofstream(lock) << document;
  expect_refused(pkgfs({"tree", "--lock", lock, "acme/base@0.3.0"}), "has an address of this machine (127.0.0.1)");
  EXPECT_TRUE(server_.requests().empty());
  EXPECT_TRUE(portal({"tree", "--lock", lock, "acme/base@0.3.0"}).ok()) << "the user named the server";
}

// What a lock file names by a URL is asked for only after the packages above, which must ask for it and may.
TEST_F(Strangers, OpenNothingThatOnlyALockFileAsksFor) {
  publish("acme/base@0.3.0");
  const std::string lock = home_.path() / "lock";
  ASSERT_TRUE(portal({"resolve", "--lock", lock, "zorg/portal"}).ok());
  auto document = read_json(lock);
  const std::string url = server_.file_url("acme/lib@1.0.0");
  auto more = document["packages"][1];
  more["id"] = "acme/lib@1.0.0";
  more["registry"] = nullptr;
  more["url"] = url;
  more["sha256"] = server_.sha256("acme/lib@1.0.0");
  document["packages"].push_back(more);
  document["packages"][0]["dependencies"].push_back({{"alias", "b"}, {"specifier", url}, {"id", "acme/lib@1.0.0"}});
  std::ofstream(lock) << document;
  fs::remove_all(cache());
  server_.clear_requests();
  expect_refused(portal({"tree", "--lock", lock, "zorg/portal"}), "packages.0.dependencies.1");
  EXPECT_EQ(count_files(server_), document["packages"].size() - 1) << "those of the registry only";
}

TEST_F(Strangers, NameUrlsOfOtherServersInALockFileOnlyIfAllowed) {
  const std::string file = server_.file_url("acme/base@0.3.0");
  publish(server_.other_authority() + file.substr(server_.authority().size()));
  const std::string lock = home_.path() / "lock";
  ASSERT_TRUE(portal({"resolve", "--allow-url-dependencies", "--lock", lock, "zorg/portal"}).ok());
  fs::remove_all(cache());
  server_.clear_requests();
  expect_refused(portal({"tree", "--lock", lock, "zorg/portal"}), "--allow-url-dependencies accepts it");
  EXPECT_EQ(count_files(server_), 1U) << "the root only";
  const ProcessResult allowed = portal({"pull", "--allow-url-dependencies", "--lock", lock, "zorg/portal"});
  EXPECT_TRUE(allowed.ok()) << allowed.describe();
}

// Risk: what works without a lock file fails with it.
TEST_F(Strangers, ARegistryMayHaveItsFilesAtAnotherServerOfItsNetwork) {
  const std::string file = server_.file_url("acme/base@0.3.0");
  server_.set_fault({.kind = Fault::Kind::kUrl,
                     .where = Fault::Where::kGraphql,
                     .location = server_.other_authority() + file.substr(server_.authority().size())});
  const std::string lock = home_.path() / "lock";
  for (const std::string& package : {std::string("acme/base@0.3.0"), "sha256:" + server_.sha256("acme/base@0.3.0")}) {
    ASSERT_TRUE(portal({"tree", package}).ok());
    ASSERT_TRUE(portal({"resolve", "--lock", lock, package}).ok());
    fs::remove_all(cache());
    const ProcessResult locked = portal({"tree", "--lock", lock, package});
    EXPECT_TRUE(locked.ok()) << locked.describe();
    fs::remove_all(cache());
  }
}

TEST_F(Strangers, ALocalPackageMayNameUrlsOfAPrivateNetworkAlsoInALockFile) {
  PackageBuilder builder("me/root@1.0.0");
  builder.use("a", server_.file_url("acme/base@0.3.0"));
  const std::string root = builder.publish(home_.path() / "own");
  const std::string lock = home_.path() / "lock";
  ASSERT_TRUE(pkgfs({"resolve", "--lock", lock, root}).ok());
  fs::remove_all(cache());
  const ProcessResult locked = pkgfs({"pull", "--lock", lock, root});
  EXPECT_TRUE(locked.ok()) << locked.describe();
}

TEST_F(Strangers, UntrustedMakesALocalPackageAStranger) {
  PackageBuilder builder("me/root@1.0.0");
  builder.use("a", home_.path() / "private").mount("/s", "/s", "a");
  const std::string root = builder.publish(home_.path() / "own");
  EXPECT_EQ(portal({"cat", root, "/s/private.txt"}).out, "s3cret");
  expect_refused(portal({"cat", "--untrusted", root, "/s/private.txt"}), "may not depend on");
  expect_refused(portal({"tree", "--untrusted", home_.path() / "private"}), "accepts only containers and tarballs");
}

// Risk: a package of a registry or a URL gets the limits of a package that the user chose.
TEST_F(Strangers, HaveLowerLimits) {
  PackageBuilder builder("zorg/many@1.0.0");
  builder.file("data", "own", "own");
  for (int i = 0; i < 1001; ++i) {
    builder.mount("/" + std::to_string(i), "data");
  }
  const std::string file = builder.publish(home_.path() / "published");
  server_.add_package(file);
  const std::string why = "exceeds the limit of 1000 mappings in a tree for packages of strangers: 1001";
  for (const Arguments& command : {Arguments{"tree", "zorg/many"}, Arguments{"tree", server_.file_url("zorg/many")},
                                   Arguments{"tree", "--untrusted", file}}) {
    const ProcessResult result = portal(command);
    EXPECT_EQ(result.exit_code, 5) << result.describe();
    expect_refused(result, why);
  }
  EXPECT_TRUE(portal({"tree", file}).ok()) << "the user chose the file";
  EXPECT_TRUE(portal({"resolve", "zorg/many"}).ok()) << "an answer may tell of it";
}

// Risk: a package of a registry is shown although a part of it is damaged.
TEST_F(Strangers, MapNothingThatIsDamaged) {
  PackageBuilder builder("zorg/torn@1.0.0", webc::Version::kV2);
  builder.file("v", "d/e/file", "x").mount("/m", "v", std::nullopt, "/d/e").mount("/n", "v");
  const std::string file = builder.publish(home_.path() / "published");
  std::string bytes = read_text(file);
  bytes[bytes.rfind('\x1e')] = '\x77';  // the tag of the directory "e"
  std::ofstream(file) << bytes;
  server_.add_package(file);
  const std::string why = "that path can't be read: Input/output error";
  for (const Arguments& command : {Arguments{"ls", "zorg/torn"}, Arguments{"ls", server_.file_url("zorg/torn")},
                                   Arguments{"ls", "--untrusted", file}}) {
    const ProcessResult result = portal(command);
    EXPECT_EQ(result.exit_code, 4) << result.describe();
  }
  expect_refused(portal({"ls", "zorg/torn"}), why);
  const ProcessResult local = portal({"ls", file});
  EXPECT_TRUE(local.ok()) << local.describe();
  EXPECT_NE(local.err.find(why), std::string::npos) << local.describe();
}

TEST_F(Strangers, UntrustedAcceptsNoWrongHashAndNoLinkThatLeadsOut) {
  PackageBuilder builder("me/root@1.0.0");
  builder.link("v", "out", "../../etc/passwd").mount("/v", "v");
  const std::string root = builder.publish(home_.path() / "own");
  EXPECT_TRUE(portal({"ls", root}).ok());
  expect_refused(portal({"ls", "--untrusted", root}), "link \"out\" to \"../../etc/passwd\" leaves the volume");
  server_.set_fault({.kind = Fault::Kind::kWrongHash, .where = Fault::Where::kGraphql});
  EXPECT_TRUE(portal({"ls", "acme/base@0.3.0", "--verify-downloads=warn"}).ok());
  expect_refused(portal({"ls", "acme/base@0.3.0", "--verify-downloads=warn", "--untrusted"}), "image hash mismatch");
}

}  // namespace
}  // namespace pkgfs::test
