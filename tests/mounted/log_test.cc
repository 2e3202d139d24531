// SPDX-License-Identifier: MIT
// Risk: a journal full of half messages, wrong priorities and second time stamps.
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <csignal>
#include <fstream>
#include <sstream>

#include "tests/mounted/mounted.h"
#include "tests/support/patterns.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line);
  }
  return lines;
}

/// With standard error as a service has it, as far as a program can see.
const std::string kAsService = "export JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2); exec ";

class Log : public MountedTest {
 protected:
  /// The system's log, for programs that see `/dev` as `own_dev` makes it.
  Log() : socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    const std::string path = dir_.path() / "log";
    path.copy(name.sun_path, sizeof(name.sun_path) - 1);
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)), 0);
    fs::create_directory(dir_.path() / "mnt");
  }

  [[nodiscard]] std::string own_dev() const {
    return "mount --make-rprivate /; mount -t tmpfs none /dev; mknod /dev/fuse c 10 229; mknod /dev/null c 1 3; "
           "ln -s " +
           (dir_.path() / "log").string() + " /dev/log; ";
  }
  /// A container that ends too early; its error has a cause.
  [[nodiscard]] std::string cut_container() const {
    const std::string path = dir_.path() / "cut.webc";
    std::ofstream(path) << "x";
    return path;
  }
  [[nodiscard]] std::vector<std::string> logged() const {
    std::vector<std::string> messages;
    std::array<char, 8192> text{};
    for (ssize_t size = ::recv(socket_.get(), text.data(), text.size(), 0); size >= 0;
         size = ::recv(socket_.get(), text.data(), text.size(), 0)) {
      messages.emplace_back(text.data(), static_cast<std::size_t>(size));
    }
    return messages;
  }

  TempDir dir_;
  UniqueFd socket_;
};

TEST_F(Log, OfAServiceHasPrioritiesAndOneLineForEachEvent) {
  const ProcessResult failed = shell(kAsService + kPkgfs + " ls " + cut_container());
  EXPECT_EQ(failed.exit_code, 5) << failed.describe();
  ASSERT_EQ(lines_of(failed.err).size(), 1U) << failed.err;
  EXPECT_TRUE(failed.err.starts_with("<3>")) << failed.err;
  EXPECT_NE(failed.err.find("; caused by: "), std::string::npos) << failed.err;
  EXPECT_EQ(failed.err.find("pkgfs: error:"), std::string::npos) << "the journal knows name and priority";

  const fs::path where = dir_.path() / "mnt";
  const MountGuard guard(where);
  Process daemon({"/bin/bash", "-c",
                  kAsService + kPkgfs + " mount -f --log-level=info " + single("basic-v3") + " " + where.string()});
  ASSERT_TRUE(eventually([&] { return daemon.err().find("is mounted at") != std::string::npos; })) << daemon.err();
  daemon.signal(SIGUSR2);
  ASSERT_TRUE(eventually([&] { return daemon.err().find("\"debug\" now") != std::string::npos; })) << daemon.err();
  daemon.signal(SIGUSR2);
  ASSERT_TRUE(eventually([&] { return daemon.err().find("\"info\" now") != std::string::npos; })) << daemon.err();
  daemon.signal(SIGTERM);
  EXPECT_TRUE(daemon.wait().ok());
  const std::vector<std::string> lines = lines_of(daemon.err());
  EXPECT_GE(lines.size(), 4U) << daemon.err();
  for (const std::string& line : lines) {
    EXPECT_TRUE(matches(line, R"(<[3467]>["a-z].*)")) << line;
  }
  EXPECT_EQ(lines.front(), "<6>\"acme/basic@1.2.3\" is mounted at \"" + where.string() + "\"");
}

TEST_F(Log, OfAnybodyElseIsForReading) {
  const ProcessResult other = shell("JOURNAL_STREAM=1:2 " + kPkgfs + " ls " + cut_container());
  EXPECT_TRUE(other.err.starts_with("pkgfs: error: ")) << other.describe();
  EXPECT_NE(other.err.find("\n  caused by: "), std::string::npos) << other.describe();
}

TEST_F(Log, OfADaemonGoesToTheSystemsLogWithoutASecondTime) {
  if (!shell("unshare -m true").ok()) {
    GTEST_SKIP() << "no mount namespace can be made here (root is needed)";
  }
  const std::string where = dir_.path() / "mnt";
  const MountGuard guard(where);
  const std::string line = own_dev() + kPkgfs + " mount --log-level=info " + single("basic-v3") + " " + where + " && " +
                           kPkgfs + " unmount " + where + " && sleep 0.3";
  const ProcessResult result = run({"unshare", "-m", "/bin/bash", "-c", line}, {.timeout = std::chrono::seconds(10)});
  ASSERT_TRUE(result.ok()) << result.describe();
  std::vector<std::string> messages;
  EXPECT_TRUE(eventually([&] {
    for (const std::string& message : logged()) {
      messages.push_back(message);
    }
    return messages.size() >= 2;
  }));
  std::string all;
  for (const std::string& message : messages) {
    all += message + "\n";
    // "<30>Nov 24 08:00:00 pkgfs[7]: text"
    EXPECT_TRUE(matches(message, R"(<30>\w+ +\d+ [0-9:]+ pkgfs\[\d+\]: "[^\[\n]*)")) << message;
  }
  EXPECT_NE(all.find(": \"acme/basic@1.2.3\" is mounted at \"" + where + "\""), std::string::npos) << all;
  EXPECT_NE(all.find(": \"" + where + "\" ends: unmounted"), std::string::npos) << all;
}

}  // namespace
}  // namespace pkgfs::test
