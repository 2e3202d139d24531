// SPDX-License-Identifier: MIT
// Risk: a successor shows another tree than the daemon before it: other inode numbers, times, owners, modes or bytes.
#include <sys/resource.h>

#include <fstream>

#include "tests/mounted/keeper.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

struct SameMount {
  std::string name;
  std::string package;  // a fixture, or a name in the registry
  Arguments options;
};

std::ostream& operator<<(std::ostream& out, const SameMount& shown) { return out << shown.name; }

class KeeperShows : public KeeperTest, public ::testing::WithParamInterface<SameMount> {
 protected:
  static std::string package_named(const std::string& name) {
    return name.find('@') == std::string::npos ? single(name) : name;
  }
};

/// Drops what the kernel knows of entries that no program uses, so that it asks the successor. Only root may.
void forget_entries() {
  if (::geteuid() == 0) {
    std::ofstream("/proc/sys/vm/drop_caches") << "2\n";
  }
}

TEST_P(KeeperShows, TheSameAfterATakeover) {
  const std::string package = package_named(GetParam().package);
  // Inode numbers depend only on packages and options: this mount shows what the other one must show.
  const MountedPackage other(kPkgfs, package, GetParam().options);
  ASSERT_TRUE(other.ok()) << other.result().describe();
  const std::string right = listing(other.path());
  ASSERT_GT(std::count(right.begin(), right.end(), '\n'), 1);
  const MountedPackage mount(kPkgfs, package, GetParam().options);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const auto line = find_mount(mount.path());
  replace_daemon(mount.path());  // before any entry was seen
  ASSERT_FALSE(HasFailure());
  EXPECT_EQ(listing(mount.path()), right);
  replace_daemon(mount.path());  // when the kernel knows all inode numbers
  EXPECT_EQ(listing(mount.path()), right);
  forget_entries();
  EXPECT_EQ(listing(mount.path()), right);
  const auto after = find_mount(mount.path());
  ASSERT_TRUE(line.has_value() && after.has_value());
  EXPECT_EQ(after->options, line->options);
  EXPECT_EQ(after->source, line->source);
  serving(other.path());  // its processes must end, too
}

Arguments from_set(const std::string& set, Arguments more = {}) {
  more.insert(more.begin(), {"--registry", registry(set)});
  return more;
}

INSTANTIATE_TEST_SUITE_P(Packages, KeeperShows,
                         ::testing::Values(SameMount{"v1", "basic-v1", {}}, SameMount{"v2", "basic-v2", {}},
                                           SameMount{"v3", "basic-v3", {}}, SameMount{"many_v1", "many-v1", {}},
                                           SameMount{"deep_v2", "deep-v2", {}}, SameMount{"names", "names-v3", {}},
                                           SameMount{"links", "symlinks-v3", {}}, SameMount{"times", "times-v3", {}},
                                           SameMount{"large", "big4m-v3", {}}, SameMount{"order_v1", "order-v1", {}},
                                           SameMount{"chain_v2", "acme/app@2.0.0", from_set("chain-v2")},
                                           SameMount{"chain_v3", "acme/app@2.0.0", from_set("chain-v3")},
                                           SameMount{"diamond", "acme/app@1.0.0", from_set("diamond-v3")},
                                           SameMount{"hub", "acme/hub@1.0.0", from_set("wide-v3")},
                                           SameMount{"twelve_deep", "acme/link00@1.0.0", from_set("wide-v3")},
                                           SameMount{"nested", "acme/top@5.0.0", from_set("nested-v2")},
                                           SameMount{"collide", "acme/two@1.0.0", from_set("collide-v2")},
                                           SameMount{"mixed", "acme/v1lib@1.0.0", from_set("mixed")},
                                           SameMount{"commands", "acme/tools@1.5.0", from_set("commands-v3")}),
                         [](const auto& tested) { return tested.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Options, KeeperShows,
    ::testing::Values(
        SameMount{"owner", "basic-v3", {"--uid=1234", "--gid=4321"}}, SameMount{"umask", "basic-v3", {"--umask=027"}},
        SameMount{"masks", "basic-v2", {"--fmask=0177"}},
        SameMount{"exec", "acme/tools@1.5.0", from_set("commands-v3", {"--exec=auto"})},
        SameMount{"stored", "times-v3", {"--mtime=stored"}}, SameMount{"container", "basic-v3", {"--mtime=container"}},
        SameMount{"view", "acme/app@2.0.0", from_set("chain-v3", {"--view=package"})},
        SameMount{"view_v1", "basic-v1", {"--view=package"}}, SameMount{"verify_read", "basic-v3", {"--verify=read"}},
        SameMount{"verify_open", "acme/app@2.0.0", from_set("chain-v3", {"--verify=open"})},
        SameMount{"no_commands", "acme/tools@1.5.0", from_set("commands-v3", {"--no-commands"})},
        SameMount{"commands_dir", "acme/tools@1.5.0", from_set("commands-v3", {"--commands-dir=/programs"})},
        SameMount{"raw_links", "symlinks-v3", {"--raw-links"}},
        SameMount{"shadow", "acme/app@2.0.0", from_set("chain-v3", {"--conflicts=shadow"})},
        SameMount{"strict", "basic-v3", {"--strict"}}, SameMount{"noexec", "basic-v3", {"-o", "noexec"}},
        SameMount{"nothing_kept", "many-v3", {"--push=off", "--skip-open=off", "--read-ahead=0"}},
        SameMount{"little_memory", "many-v3", {"--memory=1M"}},
        SameMount{"one_thread", "many-v3", {"--threads=1", "--poll=off"}}),
    [](const auto& tested) { return tested.param.name; });

using KeeperSame = KeeperTest;

TEST_F(KeeperSame, ATarball) {
  const TempDir dir;
  dir.write("p/wasmer.toml", "[package]\nname = \"acme/ball\"\nversion = \"1.0.0\"\n\n[fs]\n\"/w\" = \"web\"\n");
  for (int i = 0; i < 50; ++i) {
    dir.write("p/web/f" + std::to_string(i), std::string(2000, static_cast<char>('a' + i % 26)));
  }
  const fs::path file = dir.path() / "p.tar.gz";
  ASSERT_TRUE(run({"tar", "-C", dir.path() / "p", "-czf", file, "wasmer.toml", "web"}).ok());
  const MountedPackage mount(kPkgfs, file);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  kept(mount.path());
  fs::remove(file);
  replace_daemon(mount.path());
  const std::string first = listing(mount.path());
  EXPECT_EQ(std::count(first.begin(), first.end(), '\n'), 52) << first;
  replace_daemon(mount.path());
  EXPECT_EQ(listing(mount.path()), first);
  EXPECT_EQ(read_text(mount / "w/f3"), std::string(2000, 'd'));
}

TEST_F(KeeperSame, ADamagedFileIsStillFound) {
  const TempDir dir;
  const fs::path file = dir.path() / "damaged.webc";
  PackageBuilder builder("acme/damaged@1.0.0");
  builder.mount("/", "data").file("data", "bad", std::string(100, 'y')).file("data", "good", std::string(100, 'x'));
  builder.write(file);
  std::string bytes = read_text(file);
  bytes.at(bytes.find(std::string(100, 'y')) + 7) = 'z';
  std::ofstream(file, std::ios::binary) << bytes;
  const MountedPackage mount(kPkgfs, file, {"--verify=read"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  replace_daemon(mount.path());
  const ProcessResult read = run({"cat", mount / "bad"});
  EXPECT_NE(read.err.find("Input/output error"), std::string::npos) << read.describe();
  EXPECT_EQ(read_text(mount / "good"), std::string(100, 'x'));
}

/// A successor can't know that a container is as it was at the mount, so the mount may end. It must not show other
/// bytes.
TEST_F(KeeperSame, AChangedContainerIsNoReasonForWrongBytesOrAHang) {
  const TempDir dir;
  const fs::path file = dir.path() / "copy.webc";
  fs::copy_file(package(), file);
  MountedPackage mount(kPkgfs, file);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving now = kept(mount.path());
  ASSERT_GT(now.daemon, 1);
  fs::resize_file(file, fs::file_size(file) / 2);
  ::kill(now.daemon, SIGKILL);
  for (const char* name : {"d1/f100", "d9/f999", "large"}) {
    const ProcessResult read = run({"cat", mount / name}, {.timeout = std::chrono::seconds(2)});
    EXPECT_TRUE(!read.ok() || read.out == read_text(source() + "/" + name)) << name;
    EXPECT_FALSE(read.timed_out) << name;
  }
  if (serving(mount.path()).daemon == 0) {
    EXPECT_TRUE(becomes_dead(mount.path()));
    EXPECT_TRUE(all_ended());
  }
  EXPECT_TRUE(mount.unmount().ok());
}

/// The keeper lets the scheduler prefer a successor until that serves.
TEST_F(KeeperTest, ASuccessorHasTheNiceValueOfTheDaemonBefore) {
  constexpr int kNice = 3;
  const MountedPackage mount(kPkgfs, package());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const Serving first = kept(mount.path());
  ASSERT_EQ(::setpriority(PRIO_PROCESS, static_cast<id_t>(first.daemon), kNice), 0);
  ::kill(first.keeper, SIGKILL);  // the next one is a child of the daemon as it is now
  ASSERT_TRUE(eventually([&] {
    const Serving now = serving(mount.path());
    return now.keeper > 1 && now.keeper != first.keeper;
  }));
  const Serving now = replace_daemon(mount.path());
  ASSERT_GT(now.daemon, 1);
  (void)listing(mount.path());  // by all threads
  for (const auto& thread : fs::directory_iterator("/proc/" + std::to_string(now.daemon) + "/task")) {
    const auto id = static_cast<id_t>(std::stoul(thread.path().filename()));
    EXPECT_EQ(::getpriority(PRIO_PROCESS, id), kNice) << "thread " << id << " of daemon " << now.daemon;
  }
  if (::geteuid() == 0) {
    EXPECT_LT(::getpriority(PRIO_PROCESS, static_cast<id_t>(now.keeper)), 0) << "the next takeover begins late";
  }
}

}  // namespace
}  // namespace pkgfs::test
