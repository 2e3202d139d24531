// SPDX-License-Identifier: MIT
#pragma once

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "tests/mounted/keeper.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {

/// Served directories whose daemon is killed. The registry has acme/app 1.0.0 and 1.1.0, acme/tool 2.0.0 and, as
/// acme/many 1.0.0, `package()`.
class ServeKeeper : public KeeperTest {
 protected:
  void SetUp() override {
    KeeperTest::SetUp();
    publish("acme/app", "1.0.0");
    publish("acme/app", "1.1.0");
    publish("acme/tool", "2.0.0");
    std::filesystem::create_directories(registry() / "acme/many");
    std::filesystem::create_symlink(package(), registry() / "acme/many/1.0.0.webc");
  }

  /// 300 files of this version.
  void publish(const std::string& name, const std::string& version, const std::string& mark = "") const {
    PackageBuilder package(name + "@" + version);
    package.mount("/data", "data").file("data", "version", version + mark + "\n");
    for (int i = 0; i < 300; ++i) {
      package.file("data", "d/f" + std::to_string(i), content(name, version + mark, i));
    }
    std::filesystem::create_directories(registry() / name);
    const std::filesystem::path fresh = dir_.path() / "fresh.webc";
    package.write(fresh);
    std::filesystem::rename(fresh, registry() / name / (version + ".webc"));
  }
  static std::string content(const std::string& name, const std::string& version, int i) {
    std::string text = name + version + std::to_string(i) + "\n";
    while (text.size() < 3000) {
      text += text;
    }
    return text;
  }
  /// The directory that readers of these packages must see, made by `pkgfs extract`.
  [[nodiscard]] std::filesystem::path right(const std::vector<std::string>& packages) const {
    const std::filesystem::path source = dir_.path() / "right";
    for (const std::string& name : packages) {
      const std::filesystem::path container =
          registry() / (name.substr(0, name.find('@')) + "/" + name.substr(name.find('@') + 1));
      std::filesystem::create_directories((source / name).parent_path());
      const ProcessResult extracted = run({kPkgfs, "extract", container.string() + ".webc", source / name});
      EXPECT_TRUE(extracted.ok()) << extracted.describe();
    }
    return source;
  }
  [[nodiscard]] std::filesystem::path registry() const { return dir_.path() / "registry"; }
  [[nodiscard]] std::unique_ptr<MountedPackage> serve(Arguments options = {}, const ProcessOptions& way = {},
                                                      const std::string& program = kPkgfs) const {
    options.insert(options.end(), {"--offline", "--cache-dir", dir_.path() / "cache", "--registry", registry()});
    auto served = std::make_unique<MountedPackage>(program, kServed, options, way);
    EXPECT_TRUE(served->ok()) << served->result().describe();
    return served;
  }
  /// How a successor gets the requests of the daemon before it.
  static std::vector<ProcessOptions> ways() {
    ProcessOptions without_resend;
    without_resend.environment = {{"PKGFS_TEST_NO_RESEND", "1"}};
    return {ProcessOptions(), without_resend};
  }
  [[nodiscard]] static std::string name_of(const ProcessOptions& way) {
    return way.environment.empty() ? "the kernel sends requests again" : "the daemons keep requests";
  }
  static void forget_entries() {
    if (::geteuid() == 0) {
      std::ofstream("/proc/sys/vm/drop_caches") << "2\n";
    }
  }
  [[nodiscard]] static std::size_t open_containers(pid_t process) {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/fd")) {
      std::error_code gone;
      count += std::filesystem::read_symlink(entry.path(), gone).extension() == ".webc" ? 1 : 0;
    }
    return count;
  }

  TempDir dir_;
};

}  // namespace pkgfs::test
