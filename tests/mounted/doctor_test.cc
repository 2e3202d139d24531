// SPDX-License-Identifier: MIT
// Risk: `pkgfs doctor` misses a problem, gives useless advice, or hangs because a mount hangs. The tests cause each
// problem for real, in a mount namespace of their own if it would disturb the machine.
#include <sys/stat.h>

#include <chrono>
#include <csignal>

#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using std::chrono::seconds;
using std::chrono::steady_clock;

class Doctor : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    if (!shell("unshare -m true").ok()) {
      GTEST_SKIP() << "no mount namespace can be made here (root is needed)";
    }
    fs::create_directories(dir_.path() / "registry");
    fs::create_directories(dir_.path() / "cache");
    fs::permissions(dir_.path(), fs::perms(0755));
  }

  struct Told {
    int code = -1;
    json document;
    std::string text;  // all that was printed

    /// The first finding of that check which isn't "ok"; else the first one; null if it wasn't checked.
    [[nodiscard]] json find(const std::string& check) const {
      json found;
      for (const json& one : document.value("checks", json::array())) {
        if (one["check"] == check && (found.is_null() || found["level"] == "ok")) {
          found = one;
        }
      }
      return found;
    }
  };

  /// Runs it after `preparation` (shell) in a mount namespace of its own; `as` goes before the program's name.
  [[nodiscard]] Told doctor(const std::string& preparation, const Arguments& more = {},
                            const std::string& as = "") const {
    std::string line = "set -e; mount --make-rprivate /; " + (alone_ ? std::string(kForgetOthers) + "; " : "") +
                       "exec 9<" + kPkgfs + "; " + preparation + "\n" + as +
                       " /proc/self/fd/9 doctor --json --registry " + (dir_.path() / "registry").string();
    for (const std::string& argument : more) {
      line += " '" + argument + "'";
    }
    const auto begin = steady_clock::now();
    const ProcessResult result =
        run({"unshare", "-m", "/bin/bash", "-c", line},
            {.environment = {{"WASMER_CACHE_DIR", dir_.path() / "cache"}, {"WASMER_DIR", dir_.path() / "wasmer"}}});
    EXPECT_LT(steady_clock::now() - begin, seconds(5));
    Told told{result.exit_code, json::parse(result.out, nullptr, false), result.describe()};
    EXPECT_TRUE(told.document.is_object()) << told.text;
    return told;
  }

  static void expect(const Told& told, const std::string& check, const std::string& level, const std::string& said,
                     const std::string& advice) {
    const json found = told.find(check);
    ASSERT_TRUE(found.is_object()) << check << " wasn't checked: " << told.text;
    EXPECT_EQ(found["level"], level) << told.text;
    EXPECT_NE(found["said"].get<std::string>().find(said), std::string::npos) << found;
    EXPECT_EQ(found["advice"].is_null(), level == "ok") << found;
    if (level != "ok") {
      EXPECT_NE(found["advice"].get<std::string>().find(advice), std::string::npos) << found;
    }
    EXPECT_EQ(told.code, told.document["problems"] == 0 ? 0 : 1) << told.text;
    if (level == "problem") {
      EXPECT_EQ(told.code, 1) << told.text;
    }
  }

  bool alone_ = true;
  const std::string user_ = "setpriv --reuid=1000 --regid=1000 --clear-groups";
  const std::string device_ =
      "mount -t tmpfs -o mode=755 none /dev; mknod -m 666 /dev/fuse c 10 229; mknod -m 666 /dev/null c 1 3; ";
  TempDir dir_;
};

TEST_F(Doctor, NamesLibrariesThatCannotBeLoaded) {
  const Told told = doctor(kHideLibcrypto);  // libcurl needs it, too
  expect(told, "libraries", "problem", "can't be loaded", "apt install");
  EXPECT_NE(told.text.find("libcrypto can't be loaded"), std::string::npos) << told.text;
  EXPECT_NE(told.text.find("apt install libssl3"), std::string::npos) << told.text;
}

TEST_F(Doctor, HasNothingToSayWhenAllIsWell) {
  const Told told = doctor("true");
  EXPECT_EQ(told.code, 0) << told.text;
  EXPECT_EQ(told.document["problems"], 0) << told.text;
  for (const char* check : {"device", "fusermount3", "fuse.conf", "kernel", "libraries", "clock", "watches", "mount",
                            "settings", "cache", "space", "downloads", "registry"}) {
    EXPECT_TRUE(told.find(check).is_object()) << check << ": " << told.text;
  }
  EXPECT_NE(told.find("kernel")["said"].get<std::string>().find(", FUSE 7."), std::string::npos) << told.text;
  EXPECT_NE(told.find("libraries")["said"].get<std::string>().find("libfuse 3."), std::string::npos) << told.text;
  const ProcessResult text = run({kPkgfs, "doctor", "--registry", dir_.path() / "registry"},
                                 {.environment = {{"WASMER_CACHE_DIR", dir_.path() / "cache"}}});
  EXPECT_TRUE(text.out.starts_with("ok       device       /dev/fuse can be opened")) << text.describe();
  EXPECT_NE(text.out.find(" warnings\n"), std::string::npos) << text.describe();
}

TEST_F(Doctor, FindsAMissingAndAWrongDevice) {
  expect(doctor("mount -t tmpfs none /dev"), "device", "problem", "No such file", "modprobe fuse");
  const std::string file = dir_.write("file", "");
  expect(doctor("mount --bind " + file + " /dev/fuse"), "device", "problem", "isn't the FUSE device", "mknod");
  const std::string closed = device_ + "chmod 600 /dev/fuse";
  expect(doctor(closed, {}, user_), "device", "problem", "Permission denied (mode 0600)", "chmod 666 /dev/fuse");
  expect(doctor(closed), "device", "ok", "mode 0600", "");
}

TEST_F(Doctor, FindsWhatIsWrongWithFusermount) {
  const std::string copy = dir_.path() / "fusermount3";
  const std::string plain = "cp $(command -v fusermount3) " + copy + "; chmod 755 " + copy + "; mount --bind " + copy +
                            " $(command -v fusermount3); ";
  expect(doctor(plain), "fusermount3", "warning", "isn't setuid root", "chmod u+s");
  expect(doctor(device_ + plain, {}, user_), "fusermount3", "problem", "isn't setuid root", "chmod u+s");
  const std::string nosuid = "f=$(command -v fusermount3); mount --bind $f $f; mount -o remount,bind,nosuid $f; ";
  expect(doctor(device_ + nosuid, {}, user_), "fusermount3", "problem", "mounted nosuid", "put it on one");
  expect(doctor("export PATH=/nowhere"), "fusermount3", "warning", "isn't in PATH", "apt install fuse3");
}

TEST_F(Doctor, FindsThatThereIsNoKeeper) {
  const std::string keeper = fs::path(kPkgfs).parent_path() / "pkgfs-keeper";
  expect(doctor(""), "keeper", "ok", "pkgfs-keeper lets another daemon", "");
  expect(doctor("mount --bind /dev/null " + keeper + "; "), "keeper", "warning", "its mount is dead", "install it");
}

TEST_F(Doctor, ReadsTheConfigurationOfFuse) {
  const std::string set = dir_.write("set", "# comment\n  user_allow_other  \n");
  const std::string unset = dir_.write("unset", "#user_allow_other\nmount_max = 5\n");
  const auto bind = [](const std::string& file) { return "mount --bind " + file + " /etc/fuse.conf; "; };
  expect(doctor(device_ + bind(unset), {}, user_), "fuse.conf", "warning", "isn't set",
         "user_allow_other >>/etc/fuse.conf");
  EXPECT_EQ(doctor(device_ + bind(set), {}, user_).find("fuse.conf")["level"], "ok");
  EXPECT_EQ(doctor(bind(unset)).find("fuse.conf")["level"], "ok") << "root may anyhow";
}

TEST_F(Doctor, FindsThatMountingIsForbidden) {
  const Told told = doctor("true", {}, "setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin");
  expect(told, "kernel", "problem", "may not mount", "CAP_SYS_ADMIN");
}

/// Nothing is wrong there: mounts work, only the look at the kernel doesn't.
TEST_F(Doctor, SaysNothingAgainstAChroot) {
  const std::string root = dir_.path() / "root";
  const Told told = doctor("mkdir " + root + "; for d in /*; do if [ -L $d ]; then cp -P $d " + root +
                               "; elif [ -d $d ]; then mkdir " + root + "$d; mount --rbind $d " + root + "$d; fi; done",
                           {}, "chroot " + root);
  expect(told, "kernel", "ok", "in a chroot", "");
}

TEST_F(Doctor, FindsWhatIsWrongWithTheCache) {
  const std::string cache = dir_.path() / "cache";
  const std::string tmpfs = "mount -t tmpfs -o size=64m,mode=755 none " + cache + "; ";
  expect(doctor(tmpfs + "mount -o remount,ro " + cache), "cache", "problem", "Read-only file system", "--cache-dir");
  expect(doctor(tmpfs + "chown 1000 " + cache), "cache", "warning", "belongs to user 1000", "WASMER_CACHE_DIR");
  expect(doctor(device_, {}, user_), "cache", "problem", "Permission denied", "chown -R 1000");
  expect(doctor("true", {"--cache-dir", cache + "/new/one"}), "cache", "ok", "will be made", "");
  expect(doctor(tmpfs), "space", "warning", "only 64.0 MiB are free", "cache prune");
  expect(doctor(tmpfs + "head -c 60M /dev/zero >" + cache + "/full"), "space", "problem", "only 4.0 MiB are free",
         "cache prune");
  const std::string part =
      "mkdir -p " + cache + "/checkouts/__temp__; head -c 3M /dev/zero >" + cache + "/checkouts/__temp__/x.part; ";
  expect(doctor(tmpfs + part + "touch -d '2 hours ago' " + cache + "/checkouts/__temp__/x.part"), "downloads",
         "warning", "3.0 MiB of downloads that were broken off", "cache prune");
  EXPECT_EQ(doctor(tmpfs + part).find("downloads")["level"], "ok") << "one that may be going on";
}

TEST_F(Doctor, FindsRegistriesAndSettingsThatAreNoUse) {
  expect(doctor("true", {"--registry", (dir_.path() / "absent/").string()}), "registry", "problem",
         "No such file or directory", "--registry");
  expect(doctor("export WASMER_WEBC_VERSION=7"), "settings", "problem", "WASMER_WEBC_VERSION", "pkgfs config");
  expect(doctor("true", {"--registry=http://127.0.0.1:1/graphql"}), "registry", "problem", "can't be reached",
         "--offline");
  expect(doctor("true", {"--registry=http://127.0.0.1:1/graphql", "--offline"}), "registry", "ok", "", "");
}

TEST_F(Doctor, NamesDeadAndStuckMountsWithoutWaitingForThem) {
  const MountedPackage dead(kPkgfs, single("basic-v3"), {"--keeper=off"});
  const MountedPackage stuck(kPkgfs, single("basic-v3"));
  ASSERT_TRUE(dead.ok() && stuck.ok());
  const pid_t stopped = stuck.daemon();
  ::kill(dead.daemon(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return processes_with(dead.path()).empty(); }));
  ::kill(stopped, SIGSTOP);
  alone_ = false;
  const Told told = doctor("true");
  ::kill(stopped, SIGCONT);
  std::string all;
  for (const json& found : told.document["checks"]) {
    all += found["check"] == "mount" ? found["said"].get<std::string>() + " -> " + found["advice"].dump() + "\n" : "";
  }
  const std::string dead_name = dead.path();
  const std::string stuck_name = stuck.path();
  EXPECT_NE(all.find("on " + dead_name + " is dead"), std::string::npos) << all;
  EXPECT_NE(all.find("pkgfs unmount " + dead_name), std::string::npos) << all;
  EXPECT_NE(all.find("on " + stuck_name + " doesn't answer: process " + std::to_string(stopped) + " is stopped"),
            std::string::npos)
      << all;
  EXPECT_NE(all.find("kill -CONT " + std::to_string(stopped)), std::string::npos) << all;
  EXPECT_NE(all.find("pkgfs unmount --lazy " + stuck_name), std::string::npos) << all;
  EXPECT_EQ(told.code, 1) << told.text;
}

}  // namespace
}  // namespace pkgfs::test
