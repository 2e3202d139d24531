// SPDX-License-Identifier: MIT
// Risk: a line of docs/CONTAINERS.md doesn't do what it says.
#include <map>

#include "tests/containers/sandbox.h"
#include "tests/support/patterns.h"

namespace pkgfs::test {
namespace {

constexpr const char* kDocument = "docs/CONTAINERS.md";

/// Starts the plugin as the document says; its socket's place is where engines look.
constexpr const char* kPlugin =
    "pkgfs volume-plugin --log-level=info 2> /run/plugin.log &\n"
    "for _ in $(seq 100); do [ -S /run/docker/plugins/pkgfs.sock ] && break; sleep 0.05; done\n";

/// What the document says of a user's containers.conf.
constexpr const char* kUsersSocket =
    "sed \"s|/run/docker/plugins|$XDG_RUNTIME_DIR|\" $CONTAINERS_CONF > ~/containers.conf\n"
    "export CONTAINERS_CONF=$HOME/containers.conf\n";

struct Block {
  std::string engine;
  std::vector<std::string> programs;
  std::string output;  // a regular expression for all of it
  std::string before = {};
};

const std::string kLibrary = "json\nos.py\n";

const std::string kDf = "Filesystem[^\n]*\npython/python@3.12.5 [^\n]*/packages/python\n";

const std::map<std::string, Block>& blocks() {
  static const std::map<std::string, Block> table{
      {"podman", {"podman", {"podman", "runc", "conmon"}, kLibrary}},
      {"docker", {"docker", {"dockerd", "docker"}, kLibrary}},
      {"podman-overlay", {"podman", {"podman", "runc", "conmon"}, "mine\n# os\n"}},
      {"podman-users", {"podman", {"podman", "runc", "conmon"}, "# os\n# os\n"}},
      {"rootless", {"rootless", {"podman", "runc", "conmon", "newuidmap", "fusermount3"}, kLibrary}},
      {"unshare", {"none", {}, kLibrary}},
      {"bubblewrap", {"none", {"bwrap"}, kLibrary}},
      {"podman-rootfs", {"podman", {"podman", "runc", "conmon"}, "from the package\nmore\n"}},
      {"overlay", {"none", {"bwrap"}, "from the package\nmore\n"}},
      {"rslave",
       {"podman",
        {"podman", "runc", "conmon"},
        "[0-9a-f]{64}\n" + kDf + "(Filesystem[^\n]*\n)?not while it is dead\n" + kDf + "([0-9a-f]{64}|long)\n"}},
      {"podman-volume",
       {"podman",
        {"podman", "runc", "conmon"},
        "py\n" + kLibrary + "\\[\n[^\\]]*\"resolved\": \"python/python@3.12.5\"[^\\]]*\\]\npy\n",
        kPlugin}},
      {"rootless-volume",
       {"rootless",
        {"podman", "runc", "conmon", "newuidmap", "fusermount3"},
        "py\n" + kLibrary + "# os\npy\n",
        kUsersSocket}},
      {"docker-volume",
       {"docker",
        {"dockerd", "docker"},
        "py\n" + kLibrary + "\\[\n[^\\]]*\"resolved\": \"python/python@3.12.5\"[^\\]]*\\]\npy\n" + kLibrary + "once\n",
        kPlugin}},
      {"docker-swarm",
       {"docker",
        {"dockerd", "docker"},
        "DRIVER +VOLUME NAME\n[a-z0-9]{25}\n" + kLibrary + "list\n",
        std::string(kPlugin) + "docker swarm init --advertise-addr 127.0.0.1 > /dev/null\n"}},
      {"docker-swarm-update",
       {"docker",
        {"dockerd", "docker"},
        "[a-z0-9]{25}\nsite\n2.4.0\n2.4.0\n2.4.0\nsite\nsite-1\n",
        std::string(kPlugin) +
            "docker swarm init --advertise-addr 127.0.0.1 > /dev/null\ndocker volume ls > /dev/null\n"
            "until docker node inspect self | grep -q '\"Name\": \"pkgfs\"'; do sleep 1; done\n"}},
      {"node", {"none", {"node"}, "hello from wasm\n"}},
      {"binfmt", {"none", {"node"}, "hello from wasm\n"}},
  };
  return table;
}

class Documents : public ContainerTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(Documents, DoesWhatItSays) {
  const auto block = blocks().find(GetParam());
  ASSERT_NE(block, blocks().end());
  need(block->second.programs);
  if (IsSkipped()) {
    return;
  }
  std::string script = block->second.before + document_block(kDocument, GetParam());
  if (GetParam() == "binfmt") {  // needs the files of the block before it
    const std::string node = document_block(kDocument, "node");
    script = node.substr(0, node.find("mkdir")) + script;
  }
  // A block leaves no mount and no process of pkgfs, except for the plugin.
  script +=
      "\nif grep -q ' fuse.pkgfs ' /proc/self/mounts && [ ! -S /run/docker/plugins/pkgfs.sock ]; then echo A MOUNT IS "
      "LEFT; fi\n";
  const ProcessResult result = sandbox_.run(block->second.engine, script);
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_TRUE(matches(result.out, block->second.output)) << result.describe() << "\nexpected: " << block->second.output;
}

INSTANTIATE_TEST_SUITE_P(Containers, Documents, ::testing::ValuesIn(document_blocks(kDocument)),
                         [](const auto& block) { return test_name(block.param); });

TEST(DocumentsList, EveryBlockIsExpectedToSaySomething) {
  const std::vector<std::string> names = document_blocks(kDocument);
  EXPECT_EQ(names.size(), blocks().size());
  for (const std::string& name : names) {
    EXPECT_TRUE(blocks().contains(name)) << name << " has no expectation here";
  }
}

}  // namespace
}  // namespace pkgfs::test
