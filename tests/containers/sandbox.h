// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {

/// Where container engines run as they would on a machine of their own: a script in private mount and process
/// namespaces with empty /run, /mnt, /var/tmp and engine directories, `pkgfs` in PATH, packages by name from a
/// directory, and a "busybox" image (sandbox.sh). When the script ends, however it does, all that it has started is
/// killed by the kernel and its mounts are gone.
class Sandbox {
 public:
  Sandbox();
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  /// What the script finds under the name "python/python", and so on.
  [[nodiscard]] const std::filesystem::path& registry() const { return registry_; }
  /// Named variables for the script; `engine` is what it is made ready for: "podman", "docker", "rootless" or "none".
  [[nodiscard]] ProcessResult run(const std::string& engine, const std::string& script,
                                  const std::vector<std::pair<std::string, std::string>>& variables = {}) const;

 private:
  TempDir directory_;
  std::filesystem::path registry_;
  UniqueFd lock_;  // shared by all that run; the last one clears away control groups
};

/// Skips, with the reason, where the programs of the Debian packages named in [containers] aren't.
class ContainerTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void need(const std::vector<std::string>& programs);

  Sandbox sandbox_;
};

/// The block of a document that follows the line `<!-- test: NAME -->`, without its fences. Fails the test when there
/// is none.
[[nodiscard]] std::string document_block(const std::string& document, const std::string& name);
/// All names, in order.
[[nodiscard]] std::vector<std::string> document_blocks(const std::string& document);

}  // namespace pkgfs::test
