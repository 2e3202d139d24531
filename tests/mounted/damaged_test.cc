// SPDX-License-Identifier: MIT
// Risk: a damaged or hostile container crashes, hangs or fools the daemon.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>

#include <nlohmann/json.hpp>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/patterns.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

/// What a full walk met. Only EIO is a legal answer for a damaged part.
struct Walk {
  std::size_t entries = 0;
  std::size_t damaged = 0;
  std::vector<std::string> wrong;
};

constexpr std::size_t kMostEntries = 50'000;
constexpr std::size_t kDeepest = 400;  // each level holds a descriptor

void walk(int dir, const std::string& path, std::size_t depth, Walk& seen) {
  const auto failed = [&](const std::string& call, const std::string& name) {
    if (errno == EIO) {
      ++seen.damaged;
    } else {
      seen.wrong.push_back(call + " " + path + "/" + name + ": " + std::strerror(errno));
    }
  };
  const UniqueFd again(::openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(::dup(again.get())), ::closedir);
  if (stream == nullptr) {
    failed("opendir", "");
    return;
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(stream.get());
    if (entry == nullptr) {
      if (errno != 0) {
        failed("readdir", "");
      }
      break;
    }
    names.emplace_back(entry->d_name);
  }
  for (const std::string& name : names) {
    if (name == "." || name == "..") {
      continue;
    }
    if (++seen.entries > kMostEntries) {
      return;
    }
    struct stat status{};
    if (::fstatat(dir, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
      failed("lstat", name);
      continue;
    }
    if (S_ISLNK(status.st_mode)) {
      std::vector<char> target(5000);
      if (::readlinkat(dir, name.c_str(), target.data(), target.size()) < 0) {
        failed("readlink", name);
      }
      continue;
    }
    const UniqueFd child(::openat(dir, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!child) {
      failed("open", name);
      continue;
    }
    if (S_ISDIR(status.st_mode)) {
      if (depth < kDeepest) {
        walk(child.get(), path + "/" + name, depth + 1, seen);
      }
      continue;
    }
    std::vector<char> buffer(65536);  // not on the stack: this recurses
    ssize_t count = 0;
    std::size_t total = 0;
    while ((count = ::read(child.get(), buffer.data(), buffer.size())) > 0 && total < (1U << 26U)) {
      total += static_cast<std::size_t>(count);
    }
    if (count < 0) {
      failed("read", name);
    }
  }
}

/// "v2-dir" of "v2-dir-len-big": the tests run by these groups.
std::string group_of(const std::string& name) { return name.substr(0, name.find('-', name.find('-') + 1)); }

std::vector<std::string> groups() {
  std::set<std::string> found;
  for (const std::string& name : fixture_names("bad", ".webc")) {
    found.insert(group_of(name));
  }
  return {found.begin(), found.end()};
}

/// Kinds of damage that are at no byte of the file, each with the reason. Every other message names section and offset.
const std::map<std::string, std::string> kNowhere = {
    {"magic", "no container at all: what its first bytes are is said"},
    {"magic-nonul", "the same"},
    {"cut-00000", "too short to have a magic"},
    {"cut-00001", "the same"},
    {"cut-00004", "the same"},
    {"unnamed", "the manifest doesn't list the atom: what isn't there has no offset"},
    {"unnamed-wapm", "the same"},
    {"manifest-null", "the same"},
    {"manifest-indef", "the same"},
};

/// What a message about the damaged container `name` lacks of file, section and offset; "" when all are there.
std::string unplaced(const std::string& name, const ProcessResult& result) {
  // A sound container may still not fit together (exit code 7): that message names the package.
  if (result.exit_code == 7) {
    return result.err.find("acme/bad@1.0.0") != std::string::npos ? "" : "the package";
  }
  const std::string file = name + ".webc";
  if (result.err.find(file) == std::string::npos) {
    return "the file";
  }
  if (kNowhere.contains(name.substr(name.find('-') + 1))) {
    return "";
  }
  // "…/v3-x.webc: volume "/data", header offset 0x72: …"; a message of many problems places each of them.
  static const std::string place(
      R"(\.webc: (version|index|checksum|checksum and signature|signature|manifest|atoms|volume [^\n]+), )"
      R"((header )?offset 0x[0-9a-f]+: )");
  return !find_groups(result.err, place).empty() ? "" : "section and offset";
}

class Damaged : public MountedTest, public ::testing::WithParamInterface<std::string> {};

TEST_P(Damaged, IsRefusedByNameOrServedSafely) {
  const auto notes = read_json(fixtures() / "bad/bad.json");
  for (const std::string& name : fixture_names("bad", ".webc")) {
    if (group_of(name) != GetParam()) {
      continue;
    }
    SCOPED_TRACE(name + ": " + notes.at(name + ".webc").at("note").get<std::string>());
    const std::string file = fixtures() / "bad" / (name + ".webc");
    MountedPackage mount(kPkgfs, file, {"--no-commands"}, {.timeout = seconds(10)});
    if (!mount.ok()) {
      expect_refused(mount);
      EXPECT_EQ(unplaced(name, mount.result()), "") << mount.result().describe();
      EXPECT_FALSE(name.ends_with("-ok"));
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    Walk seen;
    const UniqueFd root(::open(mount.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(root);
    walk(root.get(), "", 1, seen);
    EXPECT_LT(std::chrono::steady_clock::now() - begin, seconds(10));
    EXPECT_LT(seen.entries, kMostEntries);
    EXPECT_TRUE(seen.wrong.empty()) << seen.wrong.front();
    EXPECT_GT(mount.daemon(), 0) << "the daemon died";
    if (name.ends_with("-ok")) {
      EXPECT_GT(seen.entries, 0U);
      EXPECT_EQ(seen.damaged, 0U);
    }
  }
}

/// What `--strict` lets pass: sound files, and what docs/rules/webc-format.md, 11 calls harmless or leaves to the
/// hashes (--verify).
constexpr const char* kHarmless[] = {
    "-ok",           "-checksum",      "-checksum-none", "-checksum-signed",   "-ix-badsum",
    "-ix-extra",     "-ix-indefinite", "-ix-nosum",      "-manifest-trailing", "-trailing",
    "-vol-trailing", "-atoms-sig",     "-file-badhash",  "-file-emptyend",     "-file-emptyfar",
    "-file-end",     "-file-overlap",  "-name-unsorted", "-dir-unsorted",      "-time-accessed",
    "-time-huge",
};

bool harmless(const std::string& name) {
  // Version 1 has no length to tell garbage from a volume; version 3 stores the checksum twice, and they differ.
  if (name == "v1-trailing" || name == "v3-ix-badsum") {
    return false;
  }
  return std::any_of(std::begin(kHarmless), std::end(kHarmless),
                     [&](const char* kind) { return name.substr(2) == kind; });
}

TEST_P(Damaged, IsRefusedByNameWithStrictUnlessHarmless) {
  for (const std::string& name : fixture_names("bad", ".webc")) {
    if (group_of(name) != GetParam()) {
      continue;
    }
    const std::string file = fixtures() / "bad" / (name + ".webc");
    const ProcessResult result = run({kPkgfs, "tree", "--strict", "--no-commands", file}, {.timeout = seconds(10)});
    if (harmless(name)) {
      EXPECT_TRUE(result.ok()) << name << ": " << result.describe();
      continue;
    }
    EXPECT_GT(result.exit_code, 0) << name << ": " << result.describe();
    EXPECT_LT(result.exit_code, 64) << name << ": " << result.describe();
    EXPECT_EQ(unplaced(name, result), "") << name << ": " << result.describe();
  }
}

TEST(DamagedMapping, VerifyMissesTheDirectoryThatIsMapped) {
  const TempDir dir;
  const std::string registry = (dir.path() / "registry").string();
  PackageBuilder("acme/base@1.0.0", webc::Version::kV2)
      .file("data", "sub/file", "x")
      .mount("/own", "data", std::nullopt, "/sub")
      .publish(registry);
  const auto top = [&](const std::string& source) {
    const std::string file = dir.path() / "top.webc";
    PackageBuilder("acme/top@1.0.0", webc::Version::kV2)
        .use("base", "acme/base@^1")
        .file("data", "here/file", "x")
        .mount("/a", "data", std::nullopt, source)
        .mount("/b", "data", "base", source)
        .write(file);
    return run({kPkgfs, "verify", "--registry", registry, file});
  };
  const ProcessResult missing = top("/gone");
  EXPECT_EQ(missing.exit_code, 4) << missing.describe();
  for (const char* package : {"acme/top@1.0.0", "acme/base@1.0.0"}) {
    const std::string text =
        "the package \"" + std::string(package) + R"(" has no directory "/gone" in its volume "data")";
    EXPECT_NE(missing.out.find(text), std::string::npos) << missing.describe();
  }
  const ProcessResult a_file = top("/here/file");
  EXPECT_NE(a_file.out.find("has no directory \"/here/file\""), std::string::npos) << a_file.describe();
  const ProcessResult in_one = top("/sub");
  EXPECT_NE(in_one.out.find("\"acme/top@1.0.0\" has no directory \"/sub\""), std::string::npos) << in_one.describe();
  EXPECT_EQ(in_one.out.find("\"acme/base@1.0.0\" has no"), std::string::npos) << in_one.describe();
}

/// What every command that opens a package answers for `package`, by command.
std::map<std::string, ProcessResult> all_commands(const std::string& package, const Arguments& options) {
  const TempDir dir;
  std::map<std::string, Arguments> commands;
  for (const char* name : {"inspect", "verify", "tree", "ls", "resolve", "pull"}) {
    commands[name] = {package};
  }
  commands["cat"] = {package, "/w/file"};
  commands["extract"] = {package, dir.path() / "out"};
  commands["mount"] = {package, dir.path() / "mnt"};
  fs::create_directory(dir.path() / "mnt");
  std::map<std::string, ProcessResult> results;
  for (const auto& [name, operands] : commands) {
    Arguments arguments{kPkgfs, name};
    arguments.insert(arguments.end(), options.begin(), options.end());
    arguments.insert(arguments.end(), operands.begin(), operands.end());
    results[name] = run(arguments);
  }
  EXPECT_FALSE(fs::exists(dir.path() / "out"));
  return results;
}

TEST(DamagedTarball, IsRefusedByEveryCommand) {
  const TempDir dir;
  dir.write("p/wasmer.toml", "[fs]\n\"/w\" = \"web\"\n");
  dir.write("p/web/file", "the content\n");
  const std::string file = dir.path() / "p.tar.gz";
  ASSERT_TRUE(run({"tar", "-C", dir.path() / "p", "-czf", file, "wasmer.toml", "web"}).ok());
  EXPECT_EQ(run({kPkgfs, "cat", file, "/w/file"}).out, "the content\n");
  for (const char* command : {"tree", "verify", "extract", "inspect"}) {
    const ProcessResult limited = run({kPkgfs, command, "--max-unpacked=1K", file,
                                       command == std::string("extract") ? (dir.path() / "out").string() : "-q"});
    EXPECT_EQ(limited.exit_code, 5) << limited.describe();
    EXPECT_NE(limited.err.find("it holds more than 1024 bytes when unpacked"), std::string::npos) << limited.describe();
  }
  const ProcessResult mounted = run({kPkgfs, "mount", "-o", "max_unpacked=1K", file, dir.path() / "p"});
  EXPECT_EQ(mounted.exit_code, 5) << mounted.describe();

  std::string bytes = read_text(file);
  bytes[bytes.size() - 5] ^= 1;  // of the CRC
  dir.write("p.tar.gz", bytes);
  for (const auto& [command, result] : all_commands(file, {"--offline"})) {
    EXPECT_EQ(result.exit_code, 4) << command << result.describe();
    EXPECT_EQ(result.out, "") << command;
    EXPECT_NE(result.err.find("gzip member 1, offset 0x"), std::string::npos) << command << result.describe();
  }
}

TEST(DamagedDependency, IsDamageForEveryCommandThatNeedsIt) {
  const TempDir dir;
  const std::string registry = (dir.path() / "registry").string();
  const fs::path base =
      PackageBuilder("acme/base@1.0.0").file("data", "file", "x").mount("/w", "data").publish(registry);
  const std::string top = dir.path() / "top.webc";
  PackageBuilder("acme/top@1.0.0").use("base", "acme/base@^1").mount("/w", "data", "base").write(top);
  fs::resize_file(base, fs::file_size(base) / 2);
  for (const auto& [command, result] : all_commands(top, {"--registry", registry})) {
    if (command != "inspect") {  // looks at one package only
      EXPECT_EQ(result.exit_code, 4) << command << result.describe();
      EXPECT_NE(result.err.find("base/1.0.0.webc"), std::string::npos) << command << result.describe();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, Damaged, ::testing::ValuesIn(groups()),
                         [](const auto& group) { return test_name(group.param); });

class Truncated : public MountedTest {
 protected:
  /// A package of our own to cut, mounted.
  void mount(const std::string& name) {
    file_ = dir_.path() / "p.webc";
    fs::copy_file(single(name), file_);
    mount_.emplace(kPkgfs, file_.string(), Arguments{"--no-commands"});
    ASSERT_TRUE(mount_->ok()) << mount_->result().describe();
  }

  /// Reads a whole file without the page cache's help; the errno, or 0.
  static int read_all(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) {
      return errno;
    }
    std::array<char, 65536> buffer{};
    ssize_t count = 0;
    while ((count = ::read(file.get(), buffer.data(), buffer.size())) > 0) {
    }
    return count < 0 ? errno : 0;
  }

  TempDir dir_;
  fs::path file_;
  std::optional<MountedPackage> mount_;
};

TEST_F(Truncated, ReadingALostFileIsEioAndTheDaemonLives) {
  ASSERT_NO_FATAL_FAILURE(mount("big4m-v3"));
  std::string big;
  for (const auto& [path, entry] : list_tree(mount_->path(), {.content = false})) {
    big = entry.length > 1'000'000 ? mount_->path().string() + path : big;
  }
  ASSERT_FALSE(big.empty());
  fs::resize_file(file_, 1'000'000);
  EXPECT_EQ(read_all(big), EIO);
  EXPECT_EQ(read_all(big), EIO) << "again";
  EXPECT_GT(mount_->daemon(), 0);
  EXPECT_TRUE(fs::is_directory(mount_->path()));
}

TEST_F(Truncated, DirectoriesNotYetVisitedAreEioNotSigbus) {
  ASSERT_NO_FATAL_FAILURE(mount("many-v3"));
  fs::resize_file(file_, 0);
  Walk seen;
  const UniqueFd root(::open(mount_->path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(root);
  walk(root.get(), "", 1, seen);
  EXPECT_GT(seen.damaged, 0U);
  EXPECT_TRUE(seen.wrong.empty()) << seen.wrong.front();
  EXPECT_GT(mount_->daemon(), 0);
}

TEST_F(Truncated, WhileReadersAreBusyNobodyHangs) {
  ASSERT_NO_FATAL_FAILURE(mount("many-v3"));
  Process readers({"/bin/bash", "-c",
                   "for i in 1 2 3; do (find " + mount_->path().string() +
                       " -type f -print0 | xargs -0 cat >/dev/null 2>&1) & done; wait"},
                  {.timeout = seconds(15)});
  fs::resize_file(file_, 4096);
  const ProcessResult& result = readers.wait();
  EXPECT_FALSE(result.timed_out);
  EXPECT_GT(mount_->daemon(), 0);
}

}  // namespace
}  // namespace pkgfs::test
