// SPDX-License-Identifier: MIT
// Risk: an artifact works only on the machine that pushed it, because it needs a name, file or cache of that machine,
// or a registry at another address than localhost is treated otherwise.
#include <gmock/gmock.h>

#include <algorithm>

#include "core/base/hash.h"
#include "tests/net/machines.h"
#include "tests/net/oci_registry.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

/// A registry and the machine that pushes are one network namespace, and the machine that mounts is another one, with
/// another home and cache.
class OciMachines : public NetTest {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    for (const std::string& why : {fuse_missing(), oci_registry_missing(), machines_missing()}) {
      if (!why.empty()) {
        GTEST_SKIP() << why;
      }
    }
    machines_ = std::make_unique<TwoMachines>();
    start();
  }
  void TearDown() override {
    if (machines_ == nullptr) {
      return;
    }
    registry_.reset();
    EXPECT_TRUE(eventually([&] { return machines_->server.processes().empty(); }, std::chrono::seconds(15)));
    EXPECT_TRUE(eventually([&] { return machines_->client.processes().empty(); }, std::chrono::seconds(15)));
  }

  void start(bool tls = true) {
    registry_ = std::make_unique<OciRegistry>(
        OciRegistry::Options{.tls = tls, .address = TwoMachines::kServer, .enter = machines_->server.enter()});
  }
  [[nodiscard]] std::vector<std::pair<std::string, std::string>> variables(const TempDir& home) const {
    auto all = registry_->environment();
    for (const auto& each : environment()) {
      const auto same = [&](const auto& other) { return other.first == each.first; };
      if (std::ranges::none_of(all, same)) {
        all.emplace_back(each.first, each.first == "HOME" ? home.path().string() : each.second);
      }
    }
    return all;
  }
  [[nodiscard]] ProcessResult on_server(Arguments arguments) const {
    arguments.insert(arguments.begin(), kPkgfs);
    return run(machines_->server.there(arguments), {.environment = variables(home_)});
  }
  [[nodiscard]] ProcessResult on_client(Arguments arguments) const {
    arguments.insert(arguments.begin(), kPkgfs);
    return run(machines_->client.there(arguments), {.environment = variables(client_home_)});
  }
  /// A program that is pkgfs on the client.
  [[nodiscard]] std::string client_program() const {
    std::string line = "#!/bin/sh\nexec";
    for (const std::string& word : machines_->client.there({kPkgfs})) {
      line += " '" + word + "'";
    }
    const fs::path path = client_home_.write("pkgfs", line + " \"$@\"\n");
    fs::permissions(path, fs::perms::owner_all);
    return path;
  }
  [[nodiscard]] std::unique_ptr<MountedPackage> mount_on_client(const std::string& name, Arguments options) const {
    options.insert(options.end(), {"--no-commands", "--mtime=stored", "--registry", "http://127.0.0.1:1/graphql"});
    return std::make_unique<MountedPackage>(client_program(), name, options,
                                            ProcessOptions{.environment = variables(client_home_)});
  }

  TempDir client_home_;
  std::unique_ptr<TwoMachines> machines_;
  std::unique_ptr<OciRegistry> registry_;
};

TEST_F(OciMachines, APushedPackageIsMountedOnAnotherMachine) {
  const nlohmann::ordered_json golden = read_json(fixtures() / "expected/chain-v3.json");
  const auto tree = tree_from_json(golden.at("acme/app@2.0.0").at("tree"));
  const std::string tag = registry_->url("acme/chain:2");
  const ProcessResult pushed = on_server({"push", "acme/app@2.0.0", tag, "--registry", registry("chain-v3")});
  ASSERT_TRUE(pushed.ok()) << pushed.describe();
  const std::string name = pushed.out.substr(0, pushed.out.find('\n'));
  ASSERT_THAT(name, HasSubstr(std::string("oci://") + TwoMachines::kServer));
  fs::remove_all(cache());  // of the machine that pushed

  for (const std::string& each : {tag, name}) {
    for (const char* lazy : {"--lazy=on", "--lazy=off"}) {
      const TempDir cache;
      const auto mounted = mount_on_client(each, {lazy, "--cache-dir", cache.path()});
      ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
      EXPECT_EQ(difference(tree, list_tree(mounted->path())), "") << each << " " << lazy;
    }
  }
  const ProcessResult elsewhere =
      run({kPkgfs, "ls", "--timeout=1", "--deadline=2", name}, {.environment = variables(client_home_)});
  EXPECT_FALSE(elsewhere.ok()) << "this machine has no cable to the registry";

  ASSERT_TRUE(on_client({"pull", name}).ok());
  machines_->cut();
  const auto mounted = mount_on_client(name, {});
  ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
  EXPECT_EQ(difference(tree, list_tree(mounted->path())), "") << "from the cache of the client";
  const TempDir empty;
  EXPECT_FALSE(on_client({"ls", "--timeout=1", "--deadline=2", "--cache-dir", empty.path(), name}).ok());
}

TEST_F(OciMachines, AnotherMachineMustHaveHttps) {
  start(false);
  const ProcessResult refused = on_client({"ls", "--timeout=2", "--deadline=3", registry_->url("acme/app:1")});
  EXPECT_EQ(refused.exit_code, 11) << refused.describe();
  EXPECT_THAT(refused.err, HasSubstr(registry_->host()));
  EXPECT_TRUE(registry_->requests().empty());
  EXPECT_EQ(registry_->probes(), 0U);
}

}  // namespace
}  // namespace pkgfs::test
