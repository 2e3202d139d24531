// SPDX-License-Identifier: MIT
#include "tests/system/installed.h"

#include <unistd.h>

namespace pkgfs::test {

namespace fs = std::filesystem;

void InstalledTest::SetUp() {
  MountedTest::SetUp();
  if (IsSkipped()) {
    return;
  }
  if (::geteuid() != 0 || !run({"unshare", "-m", "true"}).ok()) {
    GTEST_SKIP() << "needs root and mount namespaces";
  }
  fs::permissions(directory(), fs::perms::others_read | fs::perms::others_exec, fs::perm_options::add);
  point("mnt");
  for (const char* link : {"sbin/mount.pkgfs", "sbin/mount.fuse.pkgfs", "sbin/pkgfs"}) {
    fs::create_directories((directory() / link).parent_path());
    fs::create_symlink(kPkgfs, directory() / link);
  }
}

fs::path InstalledTest::point(const std::string& name) {
  fs::create_directories(directory() / name);
  guards_.push_back(std::make_unique<MountGuard>(directory() / name));
  return directory() / name;
}

ProcessResult InstalledTest::run_lines(const std::string& lines, std::chrono::milliseconds limit) {
  const std::string prelude =
      "set -e\n"
      "mount -t overlay none /usr/sbin -o \"lowerdir=$T/sbin:/usr/sbin\"\n";
  Arguments command{"unshare", "-m"};
  if (own_processes_) {
    command.insert(command.end(), {"--pid", "--fork", "--kill-child", "--mount-proc"});
  }
  command.insert(command.end(), {"/bin/bash", "-c", prelude + lines});
  return run(command, {.timeout = limit.count() > 0 ? limit : std::chrono::seconds(20),
                       .directory = "/",
                       .environment = {{"T", directory()},
                                       {"M", mountpoint()},
                                       {"R", source_directory() / "packaging/sample/registry"},
                                       {"PATH", "/usr/sbin:/usr/bin:/sbin:/bin"}}});
}

std::string InstalledTest::sh(const std::string& lines, std::chrono::milliseconds limit) {
  const ProcessResult result = run_lines(lines, limit);
  EXPECT_TRUE(result.ok()) << lines << '\n' << result.describe();
  return result.out;
}

}  // namespace pkgfs::test
