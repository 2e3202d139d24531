// SPDX-License-Identifier: MIT
// Risk: the end of the driver, of a daemon or of a connection takes a pod's files away, or leaves a mount for ever.
#include <sys/mount.h>
#include <algorithm>

#include <csignal>
#include <fstream>
#include <thread>

#include <nlohmann/json.hpp>

#include "tests/csi/driver.h"
#include "tests/support/raw_client.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using grpc::StatusCode;
using std::chrono::seconds;

using Json = nlohmann::json;

class CsiFaults : public DriverTest {
 protected:
  /// Ends the daemon of the mount and the keeper that would start another one.
  static void kill_both(const fs::path& mountpoint) {
    Json now;
    ASSERT_TRUE(eventually([&] {
      now = Json::parse(run({kPkgfs, "stats", "--json", mountpoint}).out, nullptr, false);
      return now.is_object() && now.value("keeper", 0) > 1 && now.value("pid", 0) > 1;
    })) << "the mount has a keeper: "
        << now;
    for (const int signal : {SIGSTOP, SIGKILL}) {
      ::kill(now["keeper"].get<pid_t>(), signal);
      ::kill(now["pid"].get<pid_t>(), signal);
    }
  }

  Driver driver_{environment(), with_fixtures()};
};

TEST_F(CsiFaults, VolumesOutliveAKilledDriverAndAreTakenOver) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  ASSERT_TRUE(driver_.publish("a", local("acme/app")).ok());
  ASSERT_TRUE(driver_.publish("gone", local("acme/lib")).ok());
  const std::vector<pid_t> daemons = driver_.daemons();
  const Tree shown = list_tree(driver_.target("a"));
  std::ifstream open_file(driver_.target("a") / "app/main.txt");
  driver_.kill();
  EXPECT_EQ(list_tree(driver_.target("a")), shown);
  ASSERT_EQ(::umount2(driver_.target("gone").c_str(), MNT_DETACH), 0);  // while there is no driver
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  std::string word;
  EXPECT_TRUE(open_file >> word) << "an open file stays readable";
  EXPECT_TRUE(driver_.publish("a", local("acme/app")).ok()) << "as the kubelet does after its own restart";
  EXPECT_TRUE(driver_.publish("b", local("acme/app")).ok());
  EXPECT_TRUE(eventually([&] { return driver_.mounted().size() == 1U; })) << "the volume that has gone needs no mount\n"
                                                                          << driver_.process().err();
  EXPECT_TRUE(driver_.unpublish("gone").ok());
  const std::vector<pid_t> now = driver_.daemons();
  EXPECT_TRUE(std::ranges::all_of(now, [&](pid_t pid) { return std::ranges::count(daemons, pid) == 1; }))
      << "the same daemon";
  open_file.close();
  EXPECT_TRUE(driver_.unpublish("a").ok());
  EXPECT_TRUE(driver_.unpublish("b").ok());
  EXPECT_TRUE(eventually([&] { return driver_.mounted().empty() && driver_.daemons().empty(); }));
}

TEST_F(CsiFaults, AStoppedDriverLeavesWhatPodsUseOnly) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  ASSERT_TRUE(driver_.publish("a", local("acme/app")).ok());
  ASSERT_TRUE(driver_.publish("b", local("acme/lib")).ok());
  ASSERT_TRUE(driver_.unpublish("b").ok());
  const ProcessResult ended = driver_.stop();
  EXPECT_TRUE(ended.ok()) << ended.describe();
  EXPECT_FALSE(fs::exists(driver_.socket()));
  EXPECT_FALSE(fs::exists(driver_.registration()));
  EXPECT_TRUE(driver_.is_shown("a"));
  EXPECT_EQ(driver_.mounted().size(), 1U);
}

TEST_F(CsiFaults, AVolumeWithoutItsDaemonIsUnpublishedAndOtherwiseMadeAnew) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  ASSERT_TRUE(driver_.publish("a", local("acme/app")).ok());
  ASSERT_TRUE(driver_.publish("b", local("acme/app")).ok());
  const Tree shown = list_tree(driver_.target("a"));
  kill_both(driver_.mounted().front());
  const auto state = [&] {
    ::csi::v1::NodeGetVolumeStatsResponse stats;
    const grpc::Status status = driver_.stats("b", stats);
    return status.ok() ? stats.volume_condition().message() : describe(status);
  };
  ASSERT_TRUE(driver_.unpublish("a").ok()) << "works at once";
  EXPECT_FALSE(fs::exists(driver_.target("a")));
  EXPECT_TRUE(eventually([&] { return state().find("made anew; a container") != std::string::npos; }, seconds(20)))
      << state() << driver_.process().err();
  EXPECT_EQ(list_tree(driver_.target("b")), shown);
  const auto is_abnormal = [&] {
    ::csi::v1::NodeGetVolumeStatsResponse stats;
    return driver_.stats("b", stats).ok() && stats.volume_condition().abnormal();
  };
  EXPECT_TRUE(is_abnormal()) << "a container may have the dead mount";
  EXPECT_TRUE(driver_.publish("b", local("acme/app")).ok()) << "as the kubelet does after its restart";
  EXPECT_TRUE(is_abnormal());
  driver_.kill();
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  EXPECT_TRUE(is_abnormal()) << state();
  EXPECT_TRUE(driver_.unpublish("b").ok());
  EXPECT_TRUE(eventually([&] { return driver_.mounted().empty(); })) << "no user is left";
  ASSERT_TRUE(driver_.publish("b", local("acme/app")).ok());
  EXPECT_FALSE(is_abnormal()) << "a new pod";
}

TEST_F(CsiFaults, ATargetThatCannotBeMendedDoesNotKeepTheOthers) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  ASSERT_TRUE(driver_.publish("a", local("acme/app")).ok());
  ASSERT_TRUE(driver_.publish("b", local("acme/app")).ok());
  const Tree shown = list_tree(driver_.target("a"));
  ASSERT_EQ(::mount("none", driver_.target("a").c_str(), "tmpfs", 0, nullptr), 0);
  kill_both(driver_.mounted().front());
  const std::string mended = "\"" + driver_.target("b").string() + "\" shows the new mount";
  EXPECT_TRUE(eventually([&] { return driver_.process().err().find(mended) != std::string::npos; }, seconds(20)))
      << driver_.process().err();
  EXPECT_EQ(list_tree(driver_.target("b")), shown);
  std::this_thread::sleep_for(seconds(3));
  const std::string log = driver_.process().err();
  const std::size_t first = log.find("has a mount of another program");
  EXPECT_NE(first, std::string::npos) << log;
  EXPECT_EQ(log.find("has a mount of another program", first + 1), std::string::npos) << "once\n" << log;
  ::umount(driver_.target("a").c_str());
  EXPECT_TRUE(eventually([&] { return list_tree(driver_.target("a")) == shown; }, seconds(10)));
}

TEST_F(CsiFaults, ADeadMountIsMadeAnewAlsoAfterAFailure) {
  const TempDir allowed;
  const fs::path here = allowed.path() / "registry";
  Driver driver(environment(), {"--local-root=" + allowed.path().string(), "--keep=0.2"});
  ASSERT_TRUE(driver.start()) << driver.process().err();
  fs::copy(registry("chain-v3"), here, fs::copy_options::recursive);
  ASSERT_TRUE(driver.publish("a", {{"package", "acme/app"}, {"registry", here}}).ok());
  const Tree shown = list_tree(driver.target("a"));
  fs::rename(here, allowed.path() / "away");
  kill_both(driver.mounted().front());
  const auto fails = [&] {
    const std::string log = driver.process().err();
    const std::size_t dead = log.find("its mount ended while in use");
    return dead != std::string::npos && log.find(here.string(), dead) != std::string::npos;
  };
  ASSERT_TRUE(eventually(fails, seconds(20))) << driver.process().err();
  fs::rename(allowed.path() / "away", here);
  const auto is_mended = [&] { return driver.process().err().find("shows the new mount") != std::string::npos; };
  ASSERT_TRUE(eventually(is_mended, seconds(30))) << driver.process().err();
  EXPECT_EQ(list_tree(driver.target("a")), shown);
  EXPECT_TRUE(driver.unpublish("a").ok());
}

TEST_F(CsiFaults, ASecondDriverAndASocketThatExists) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  const ProcessResult same_state = run(driver_.arguments());
  EXPECT_EQ(same_state.exit_code, 9) << same_state.describe();
  EXPECT_NE(same_state.err.find("Another driver uses"), std::string::npos) << same_state.err;
  const TempDir other;
  Arguments arguments = driver_.arguments();
  arguments.push_back("--state-dir=" + other.path().string());
  const ProcessResult same_socket = run(arguments);
  EXPECT_EQ(same_socket.exit_code, 9) << same_socket.describe();
  EXPECT_NE(same_socket.err.find("another process listens there"), std::string::npos) << same_socket.err;
  EXPECT_TRUE(driver_.publish("a", local("acme/app")).ok()) << "the first goes on";
}

TEST_F(CsiFaults, NonsenseAtTheSocketHurtsNobody) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  const std::string preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  std::string all;
  for (int i = 0; i < 4096; ++i) {
    all += static_cast<char>(i * 7 + i / 256);
  }
  for (const std::string& text :
       {std::string("GET / HTTP/1.1\r\n\r\n"), all, preface + all, preface + std::string(100000, '\0'),
        preface + std::string("\x00\x00\x00\x04\x00\x00\x00\x00\x00\xff\xff\xff\x01\x05\x00\x00\x00\x01", 18)}) {
    const RawClient client(driver_.socket());
    ASSERT_TRUE(client.connected());
    (void)client.send(text);
    (void)client.read(std::chrono::milliseconds(200));
  }
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < 50; ++i) {
    idle.push_back(std::make_unique<RawClient>(driver_.socket()));
  }
  EXPECT_TRUE(driver_.publish("a", local("acme/app")).ok());
  EXPECT_TRUE(driver_.unpublish("a").ok());
}

TEST_F(CsiFaults, AStateFileThatIsDamagedOrOfAnotherBoot) {
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  ASSERT_TRUE(driver_.publish("a", local("acme/app")).ok());
  driver_.kill();
  std::ofstream(driver_.state() / "state.json") << "{";
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  EXPECT_TRUE(driver_.publish("a", local("acme/app")).ok()) << "the kubelet asks again";
  EXPECT_TRUE(list_tree(driver_.target("a")).size() > 2);
  driver_.kill();
  const std::string text = read_text(driver_.state() / "state.json");
  const std::size_t boot = text.find("\"boot\": \"") + 9;
  std::ofstream(driver_.state() / "state.json") << text.substr(0, boot) + "x" + text.substr(boot);
  ASSERT_TRUE(driver_.start()) << driver_.process().err();
  EXPECT_TRUE(driver_.unpublish("a").ok()) << "of a volume that the driver no longer knows";
  EXPECT_FALSE(fs::exists(driver_.target("a")));
  EXPECT_TRUE(eventually([&] { return driver_.mounted().empty() && driver_.daemons().empty(); }));
}

}  // namespace
}  // namespace pkgfs::test
