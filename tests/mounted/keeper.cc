// SPDX-License-Identifier: MIT
#include "tests/mounted/keeper.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <sstream>

#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {

namespace fs = std::filesystem;
using std::chrono::seconds;

TempDir* KeeperTest::shared_ = nullptr;

void KeeperTest::SetUpTestSuite() {
  const rlimit none{.rlim_cur = 0, .rlim_max = 0};
  ::setrlimit(RLIMIT_CORE, &none);  // for crashes
  if (shared_ != nullptr) {
    return;
  }
  static TempDir directory;
  shared_ = &directory;
  PackageBuilder builder("acme/many@1.0.0");
  builder.mount("/", "data");
  for (int i = 0; i < kFiles; ++i) {
    std::string content = std::to_string(i) + "\n";
    while (content.size() < 3000) {
      content += content;
    }
    builder.file("data", "d" + std::to_string(i / 100) + "/f" + std::to_string(i), content);
  }
  std::string large;
  for (int i = 0; large.size() < 8'000'000; ++i) {
    large += std::to_string(i) + " ";
  }
  builder.file("data", "large", large);
  builder.write(package());
  const ProcessResult extracted = run({kPkgfs, "extract", package(), source()});
  ASSERT_TRUE(extracted.ok()) << extracted.describe();
}

void KeeperTest::TearDown() {
  EXPECT_TRUE(all_ended()) << "a daemon or keeper is left";
  for (const pid_t pid : seen_) {  // the keepers would replace daemons that are killed before them
    ::kill(pid, SIGSTOP);
  }
  for (const pid_t pid : seen_) {
    ::kill(pid, SIGKILL);
  }
}

bool KeeperTest::all_ended() const {
  return eventually(
      [&] { return std::none_of(seen_.begin(), seen_.end(), [](pid_t pid) { return is_running(pid); }); });
}

KeeperTest::Serving KeeperTest::serving(const fs::path& mountpoint) {
  const ProcessResult asked = run({kPkgfs, "stats", "--json", mountpoint}, {.timeout = seconds(5)});
  Serving found;
  found.all = nlohmann::json::parse(asked.out, nullptr, false);
  if (!asked.ok() || !found.all.is_object()) {
    found.all = {};
    return found;
  }
  const auto number = [&](const char* name) {
    const auto at = found.all.find(name);
    return at != found.all.end() && at->is_number() ? at->get<int>() : 0;
  };
  found.daemon = number("pid");
  found.keeper = number("keeper");
  found.generation = number("generation");
  const auto end = found.all.find("last_end");
  found.last_end = end != found.all.end() && end->is_string() ? end->get<std::string>() : "";
  for (const pid_t pid : {found.daemon, found.keeper}) {
    if (pid > 1) {
      seen_.insert(pid);
    }
  }
  return found;
}

KeeperTest::Serving KeeperTest::kept(const fs::path& mountpoint) {
  Serving now;
  EXPECT_TRUE(eventually([&] { return (now = serving(mountpoint)).keeper > 1 && is_running(now.keeper); }, seconds(2)))
      << "the mount has no keeper: " << now.all;
  return now;
}

KeeperTest::Serving KeeperTest::held(const fs::path& mountpoint) {
  Serving now;
  EXPECT_TRUE(eventually(
      [&] {
        now = serving(mountpoint);
        return now.keeper > 1 && is_running(now.keeper) && now.all.value("keeperd", false);
      },
      seconds(10)))
      << now.all;
  return now;
}

KeeperTest::Serving KeeperTest::replace_daemon(const fs::path& mountpoint, int signal) {
  const Serving before = kept(mountpoint);
  if (before.keeper <= 1) {
    return before;  // `kept` has failed the test
  }
  ::kill(before.daemon, signal);
  Serving after;
  EXPECT_TRUE(eventually([&] {
    after = serving(mountpoint);
    return after.daemon > 1 && after.daemon != before.daemon && after.keeper > 1 && is_running(after.keeper);
  })) << "there is no successor: "
      << after.all;
  EXPECT_EQ(after.generation, before.generation + 1);
  // SIGKILL leaves nothing that could tell the number.
  const std::string why = signal == SIGKILL ? "killed" : "signal " + std::to_string(signal);
  EXPECT_NE(after.last_end.find(why), std::string::npos) << after.last_end;
  EXPECT_TRUE(eventually([&] { return !is_running(before.daemon); })) << "the killed daemon can't end";
  return after;
}

void KeeperTest::kill_both(const fs::path& mountpoint) {
  const Serving now = kept(mountpoint);
  for (const int signal : {SIGSTOP, SIGKILL}) {
    for (const pid_t pid : {now.keeper, now.daemon}) {
      if (pid > 1) {  // kill(2) takes -1 and 0 for many processes
        ::kill(pid, signal);
      }
    }
  }
}

bool KeeperTest::becomes_dead(const fs::path& mountpoint, std::chrono::milliseconds limit) {
  // Each question is in a process of its own, since it may hang, and is for another name, since the kernel remembers.
  static int asked = 0;
  return eventually(
      [&] {
        const std::string name = mountpoint / ("absent" + std::to_string(++asked));
        const ProcessResult result = run({"stat", name}, {.timeout = limit});
        return result.err.find(std::strerror(ENOTCONN)) != std::string::npos ||
               result.err.find(std::strerror(ECONNABORTED)) != std::string::npos;
      },
      limit);
}

std::string listing(const fs::path& root) {
  constexpr const char* kScript = R"(
import hashlib, os, stat, sys
root = sys.argv[1]
def show(path):
    status = os.lstat(path)
    line = [os.path.relpath(path, root), status.st_ino, oct(status.st_mode), status.st_uid, status.st_gid,
            status.st_size, status.st_blocks, status.st_nlink, status.st_mtime_ns, status.st_ctime_ns]
    if stat.S_ISLNK(status.st_mode):
        line.append(os.readlink(path))
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb", buffering=0) as file:
            line.append(hashlib.sha256(file.readall()).hexdigest())
    print(*map(repr, line))
    if stat.S_ISDIR(status.st_mode):
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
        for entry in entries:
            assert entry.inode() == os.lstat(entry.path).st_ino, entry.path
            show(entry.path)
show(root)
)";
  const ProcessResult listed = run({"/usr/bin/python3", "-I", "-S", "-c", kScript, root}, {.timeout = seconds(20)});
  EXPECT_TRUE(listed.ok()) << listed.describe();
  return listed.out;
}

namespace {

constexpr const char* kReader = R"(
import os, sys
mount, source, stop = sys.argv[1:4]
names = sorted(os.path.relpath(os.path.join(at, name), source) for at, _, names in os.walk(source) for name in names)
right = {name: open(os.path.join(source, name), "rb").read() for name in names}
os.write(1, b"go")
while not os.path.exists(stop):
    for name in names:
        with open(os.path.join(mount, name), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            seen = file.readall()
        if seen != right[name]:
            sys.exit(f"{name} has wrong bytes: {len(seen)} of {len(right[name])}")
        if os.path.exists(stop):
            break
)";

}  // namespace

ComparingReader::ComparingReader(const fs::path& mountpoint, const fs::path& source)
    : process_({"/usr/bin/python3", "-I", "-S", "-c", kReader, mountpoint, source, dir_.path() / "stop"},
               {.timeout = seconds(20)}) {
  EXPECT_TRUE(eventually([&] { return process_.out() == "go"; })) << process_.err();
}

void ComparingReader::expect_right() {
  dir_.write("stop", "");
  const ProcessResult& ended = process_.wait();
  EXPECT_TRUE(ended.ok()) << ended.describe();
}

}  // namespace pkgfs::test
