// SPDX-License-Identifier: MIT
// Risk: a package that was pushed to an OCI registry shows another tree, depends on other registries, or leaks a login.
#include <gmock/gmock.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <random>

#include <nlohmann/json.hpp>

#include "core/base/hash.h"
#include "tests/net/oci_registry.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

class Oci : public OciTest {
 protected:
  static constexpr std::size_t kMebi = std::size_t{1} << 20U;

  static std::string random_bytes(std::size_t size, unsigned seed) {
    std::mt19937 random(seed);
    std::string text(size, '\0');
    for (char& c : text) {
      c = static_cast<char>(random());
    }
    return text;
  }
  /// A container with one file, `content`.
  [[nodiscard]] std::string package(const std::string& version, const std::string& content) const {
    const fs::path path = home_.path() / ("app-" + version + ".webc");
    PackageBuilder("acme/app@" + version).file("data", "content", content).mount("/", "data").write(path);
    return path;
  }
  [[nodiscard]] std::string content_of(const std::string& name, Arguments more = {}) const {
    more.insert(more.begin(), "cat");
    more.insert(more.end(), {name, "/content"});
    const ProcessResult got = oci(more);
    return got.ok() ? got.out : got.describe();
  }
  [[nodiscard]] std::string cache_of(const std::string& machine) const {
    return (home_.path() / ("cache-" + machine)).string();
  }
  [[nodiscard]] std::unique_ptr<MountedPackage> mount(const std::string& name, const Arguments& options) const {
    return std::make_unique<MountedPackage>(kPkgfs, name, options, ProcessOptions{.environment = variables()});
  }
  [[nodiscard]] std::uint64_t sent() const {
    std::uint64_t sum = 0;
    for (const auto& request : registry_->requests()) {
      sum += request.sent;
    }
    return sum;
  }
};

TEST_F(Oci, AnotherMachineMountsTheGoldenTree) {
  const nlohmann::ordered_json golden = read_json(fixtures() / "expected/chain-v3.json");
  const std::string name = push("acme/app@2.0.0", "acme/chain:2", {"--registry", registry("chain-v3")});
  ASSERT_THAT(name, HasSubstr("/acme/chain@sha256:"));
  for (const std::string& each : {name, registry_->url("acme/chain:2")}) {
    const auto mounted = mount(each, {"--no-commands", "--mtime=stored", "--cache-dir", cache_of("b"), "--registry",
                                      "http://127.0.0.1:1/graphql"});
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    EXPECT_EQ(difference(tree_from_json(golden.at("acme/app@2.0.0").at("tree")), list_tree(mounted->path())), "");
  }
  for (const Arguments& command : {Arguments{"inspect"}, {"ls"}, {"tree"}, {"verify"}, {"pull"}, {"resolve"}}) {
    Arguments words = command;
    words.push_back(name);
    const ProcessResult done = oci(words);
    EXPECT_TRUE(done.ok()) << done.describe();
  }
  EXPECT_TRUE(oci({"extract", name, (home_.path() / "out").string()}).ok());
  EXPECT_TRUE(oci({"export", name, (home_.path() / "out.tar").string()}).ok());
  EXPECT_EQ(oci({"diff", name, registry_->url("acme/chain:2")}).exit_code, 0);
  EXPECT_TRUE(fs::exists(checkouts() / (file_sha256(registry("chain-v3") + "/acme/base/0.3.0.webc") + ".bin")));
}

TEST_F(Oci, TheSamePackageIsSentOnceAndHasOneDigest) {
  const std::string file = package("1.0.0", "one");
  const std::string first = push(file, "acme/app");
  EXPECT_EQ(shell("umask 077; mkdir " + cache_of("c") + "; cp " + file + " " + cache_of("c") + "/other.webc").exit_code,
            0);
  registry_->clear();
  const ProcessResult again =
      oci({"push", "--json", "--cache-dir", cache_of("c"), cache_of("c") + "/other.webc", registry_->url("acme/app")});
  ASSERT_TRUE(again.ok()) << again.describe();
  const json told = json::parse(again.out);
  EXPECT_EQ(told.at("reference"), first);
  EXPECT_EQ(told.at("sent").at("bytes"), 0);
  EXPECT_EQ(told.at("sent").at("manifest"), false);
  for (const auto& request : registry_->requests()) {
    EXPECT_EQ(request.method, "HEAD") << request.path;
  }
  EXPECT_EQ(content_of(first), "one");
}

TEST_F(Oci, ACopyInTheSameRegistrySendsNoContainer) {
  const std::string app = "acme/app@2.0.0";
  const std::string name = push(app, "acme/chain:2", {"--registry", registry("chain-v3")});
  registry_->clear();
  const ProcessResult copied = oci({"push", "--json", "--cache-dir", cache_of("g"), name, registry_->url("other/app")});
  ASSERT_TRUE(copied.ok()) << copied.describe();
  const json told = json::parse(copied.out);
  const std::size_t containers = told.at("containers");
  EXPECT_GT(containers, 1U);
  EXPECT_EQ(told.at("mounted"), containers + 1) << "with the lock file";
  EXPECT_EQ(told.at("sent").at("blobs"), 0);
  EXPECT_EQ(told.at("sent").at("manifest"), true);
  for (const auto& request : registry_->requests()) {
    EXPECT_FALSE(request.method == "PUT" && request.path.find("/blobs/") != std::string::npos) << request.path;
  }
  EXPECT_EQ(oci({"diff", "--cache-dir", cache_of("h"), name, told.at("reference")}).exit_code, 0);
  const ProcessResult again = oci({"push", "--json", name, registry_->url("other/app")});
  EXPECT_EQ(json::parse(again.out).at("mounted"), 0) << again.describe();
  OciRegistry elsewhere({.tls = false});
  const ProcessResult sent = oci({"push", "--json", name, elsewhere.url("acme/app")});
  ASSERT_TRUE(sent.ok()) << sent.describe();
  EXPECT_EQ(json::parse(sent.out).at("mounted"), 0);
  EXPECT_EQ(json::parse(sent.out).at("sent").at("blobs"), containers + 1);
}

TEST_F(Oci, ATagMovesAndADigestDoesNot) {
  const std::string one = push(package("1.0.0", "one"), "acme/app:now");
  EXPECT_EQ(content_of(registry_->url("acme/app:now")), "one");
  const std::string two = push(package("2.0.0", "two"), "acme/app:now");
  EXPECT_NE(one, two);
  EXPECT_EQ(content_of(registry_->url("acme/app:now")), "two");
  EXPECT_EQ(content_of(one), "one");
}

TEST_F(Oci, ARefreshFollowsATagAndNeedsTheRegistry) {
  if (const std::string why = fuse_missing(); !why.empty()) {
    GTEST_SKIP() << why;
  }
  const std::string of_one = push(package("1.0.0", "one"), "acme/app:now");
  const auto mounted = mount(registry_->url("acme/app:now"), {});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  const std::string of_two = push(package("2.0.0", "two"), "acme/app:now");
  ASSERT_NE(of_one, of_two);
  registry_->stop();
  const ProcessResult failed = oci({"refresh", mounted->path()});
  EXPECT_FALSE(failed.ok()) << "the tag that is in the cache is no answer";
  EXPECT_EQ(read_text(mounted->path() / "content"), "one");
  registry_->start();
  const ProcessResult refreshed = oci({"refresh", mounted->path()});
  EXPECT_TRUE(refreshed.ok()) << refreshed.describe();
  EXPECT_EQ(read_text(mounted->path() / "content"), "two");
}

TEST_F(Oci, IsReadInParts) {
  const fs::path path = home_.path() / "big.webc";
  PackageBuilder("acme/big@1.0.0")
      .file("data", "a", random_bytes(100, 1))
      .file("data", "m", random_bytes(12 * kMebi, 2))
      .file("data", "z", random_bytes(50'000, 3))
      .mount("/", "data")
      .write(path);
  const std::string name = push(path, "acme/big");
  registry_->clear();
  const auto mounted = mount(name, {"--background=off", "--cache-dir", cache_of("b")});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_TRUE(read_text(*mounted / "a") == random_bytes(100, 1));
  EXPECT_TRUE(read_text(*mounted / "z") == random_bytes(50'000, 3));
  EXPECT_LT(sent(), 1 * kMebi);
  json before;
  const auto stats = [&] {
    return json::parse(run({kPkgfs, "stats", "--json", mounted->path()}, {.timeout = 5s}).out, nullptr, false);
  };
  ASSERT_TRUE(eventually([&] { return (before = stats()).contains("keeper"); }));
  ASSERT_EQ(::kill(before.at("pid").get<pid_t>(), SIGKILL), 0);
  EXPECT_TRUE(read_text(*mounted / "m") == random_bytes(12 * kMebi, 2)) << "the successor logs in, too";
  EXPECT_GT(sent(), 12 * kMebi);
  EXPECT_LT(sent(), 14 * kMebi);
}

TEST_F(Oci, WithoutARegistryTheCacheServes) {
  const std::string name = push(package("1.0.0", "one"), "acme/app:1");
  ASSERT_EQ(content_of(registry_->url("acme/app:1")), "one");
  registry_->clear();
  EXPECT_EQ(content_of(name), "one");
  EXPECT_TRUE(registry_->requests().empty()) << "a digest needs no request";
  EXPECT_EQ(registry_->probes(), 0U);
  registry_->stop();
  EXPECT_EQ(content_of(name), "one");
  EXPECT_EQ(content_of(name, {"--offline"}), "one");
  const ProcessResult offline = oci({"cat", "--offline", registry_->url("acme/app:1"), "/content"});
  EXPECT_EQ(offline.out, "one");
  EXPECT_THAT(offline.err, HasSubstr("was last looked up"));
  const ProcessResult down = oci({"cat", registry_->url("acme/app:1"), "/content"});
  EXPECT_EQ(down.out, "one") << down.describe();
  EXPECT_THAT(down.err, HasSubstr("was last looked up"));
  const ProcessResult other = oci({"cat", "--offline", registry_->url("acme/app:2"), "/content"});
  EXPECT_THAT(other.err, HasSubstr("isn't in the cache"));
}

TEST_F(Oci, AWrongPasswordIsRefusedAndNotShown) {
  const std::string name = push(package("1.0.0", "one"), "acme/app:1");
  for (const std::string& file : {registry_->login_file("wrong-battery"), std::string("/dev/null")}) {
    for (const Arguments& command :
         {Arguments{"ls", name}, Arguments{"push", package("2.0.0", "two"), registry_->url("acme/app:2")}}) {
      Arguments words = command;
      words.insert(words.begin() + 1, "--log-level=trace");
      const ProcessResult refused = pkgfs(
          words,
          {{"SSL_CERT_FILE", registry_->ca_file()}, {"REGISTRY_AUTH_FILE", file}, {"WASMER_CACHE_DIR", cache_of("d")}});
      EXPECT_EQ(refused.exit_code, 8) << refused.describe();
      EXPECT_THAT(refused.err, HasSubstr("401"));
      EXPECT_THAT(refused.err, Not(HasSubstr("battery")));
      const std::string pair = std::string(OciRegistry::kUser) + ":wrong-battery";
      EXPECT_THAT(refused.err,
                  Not(HasSubstr(base64_encode({reinterpret_cast<const std::uint8_t*>(pair.data()), pair.size()}))));
    }
  }
}

TEST_F(Oci, LoginsComeFromTheFilesOfDockerAndPodman) {
  const std::string name = push(package("1.0.0", "one"), "acme/app:1");
  const std::string login = read_text(registry_->login_file());
  const std::string wrong = read_text(registry_->login_file("wrong"));
  const auto reads = [&](std::vector<std::pair<std::string, std::string>> more) {
    more.emplace_back("SSL_CERT_FILE", registry_->ca_file());
    more.emplace_back("REGISTRY_AUTH_FILE", "");
    const TempDir cache;
    more.emplace_back("WASMER_CACHE_DIR", cache.path().string());
    return pkgfs({"cat", name, "/content"}, more).out == "one";
  };
  const TempDir place;
  const std::string run_time = place.path().string();
  place.write("containers/auth.json", login);
  place.write("docker/config.json", wrong);
  EXPECT_TRUE(reads({{"XDG_RUNTIME_DIR", run_time}, {"DOCKER_CONFIG", run_time + "/docker"}}))
      << "podman's file comes first";
  place.write("containers/auth.json", "{}");
  EXPECT_FALSE(reads({{"XDG_RUNTIME_DIR", run_time}, {"DOCKER_CONFIG", run_time + "/docker"}}));
  place.write("docker/config.json", login);
  EXPECT_TRUE(reads({{"XDG_RUNTIME_DIR", run_time}, {"DOCKER_CONFIG", run_time + "/docker"}}));

  // A helper, which shows what it is asked.
  const fs::path helper =
      place.write("bin/docker-credential-test",
                  "#!/bin/sh\ncat > " + run_time + "/asked\n[ \"$1\" = get ] && echo '{\"Username\": \"" +
                      std::string(OciRegistry::kUser) + "\", \"Secret\": \"" + OciRegistry::kPassword + "\"}'\n");
  fs::permissions(helper, fs::perms::owner_all);
  const std::string path = (place.path() / "bin").string() + ":" + std::getenv("PATH");
  for (const std::string& settings :
       {R"({"credHelpers": {")" + registry_->host() + R"(": "test"}})", std::string(R"({"credsStore": "test"})")}) {
    place.write("docker/config.json", settings);
    EXPECT_TRUE(reads({{"XDG_RUNTIME_DIR", run_time}, {"DOCKER_CONFIG", run_time + "/docker"}, {"PATH", path}}))
        << settings;
    EXPECT_EQ(read_text(place.path() / "asked"), registry_->host());
    fs::remove(place.path() / "asked");
  }
}

TEST_F(Oci, ALockFileNamesTheArtifact) {
  const std::string lock = (home_.path() / "app.lock").string();
  const std::string name = push(package("1.0.0", "one"), "acme/app:now");
  ASSERT_TRUE(oci({"resolve", "--lock", lock, registry_->url("acme/app:now")}).ok());
  EXPECT_EQ(read_json(lock).at("packages")[0].at("registry").at("url"), name);
  EXPECT_EQ(oci({"diff", lock, name}).exit_code, 0);
  static_cast<void>(push(package("2.0.0", "two"), "acme/app:now"));
  const Arguments elsewhere{"--lock", lock, "--cache-dir", cache_of("e")};
  EXPECT_EQ(content_of(registry_->url("acme/app:now"), elsewhere), "one");
  EXPECT_EQ(content_of(name, elsewhere), "one");
  EXPECT_THAT(content_of(registry_->url("acme/other:now"), elsewhere), HasSubstr("is for"));
  EXPECT_THAT(content_of("acme/app", elsewhere), HasSubstr("isn't in that repository"));

  // An edited file must not lead to another server.
  std::string text = read_text(lock);
  const std::string url = "https://" + registry_->host() + "/v2/acme/app";
  text.replace(text.find(url), url.size(), "https://127.0.0.1:1/v2/acme/app");
  std::ofstream(lock) << text;
  EXPECT_THAT(content_of(name, elsewhere), HasSubstr("isn't a blob of"));
}

TEST_F(Oci, ARegistryOfThisMachineMayBeWithoutHttps) {
  registry_ = std::make_unique<OciRegistry>(OciRegistry::Options{.tls = false});
  const std::string name = push(package("1.0.0", "one"), "acme/app:1");
  EXPECT_EQ(content_of(name, {"--cache-dir", cache_of("f")}), "one");
  const std::string lock = (home_.path() / "app.lock").string();
  ASSERT_TRUE(oci({"resolve", "--offline", "--lock", lock, "--cache-dir", cache_of("f"), name}).ok());
  EXPECT_THAT(read_json(lock).at("packages")[0].at("url").get<std::string>(), testing::StartsWith("http://"));
}

TEST_F(Oci, WhatALoginShowedIsNotForOthers) {
  const std::string tag = registry_->url("acme/app:1");
  const std::string name = push(package("1.0.0", "one"), "acme/app:1");
  ASSERT_EQ(content_of(tag), "one");
  ASSERT_EQ(content_of(name), "one");
  for (const std::string& file : {std::string("/dev/null"), registry_->login_file("wrong")}) {
    for (const std::string& each : {tag, name}) {
      for (const Arguments& options : {Arguments{"--offline"}, {}}) {
        Arguments words{"cat", each, "/content"};
        words.insert(words.begin() + 1, options.begin(), options.end());
        const ProcessResult refused =
            pkgfs(words, {{"SSL_CERT_FILE", registry_->ca_file()}, {"REGISTRY_AUTH_FILE", file}});
        EXPECT_FALSE(refused.ok()) << refused.describe();
        EXPECT_EQ(refused.out, "");
      }
    }
  }
  EXPECT_EQ(content_of(tag, {"--offline"}), "one");
}

TEST_F(Oci, WhatCannotBePushedIsNamed) {
  const std::string to = registry_->url("acme/app:1");
  const TempDir package;
  package.write("wasmer.toml", "[package]\nname = \"acme/dir\"\nversion = \"1.0.0\"\n");
  EXPECT_THAT(oci({"push", package.path(), to}).err, HasSubstr("pkgfs pack"));
  EXPECT_THAT(oci({"push", "--offline", single("basic-v3"), to}).err, HasSubstr("needs the network"));
  EXPECT_THAT(oci({"push", single("basic-v3"), to + "@sha256:" + std::string(64, 'a')}).err, HasSubstr("digest"));
  EXPECT_THAT(oci({"push", single("basic-v3"), "https://" + registry_->host() + "/acme"}).err, HasSubstr("oci://"));
  EXPECT_TRUE(registry_->requests().empty());
}

}  // namespace
}  // namespace pkgfs::test
