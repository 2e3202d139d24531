// SPDX-License-Identifier: MIT
// Risk: the installed files don't fit the program: units with wrong paths, pages and completions of other options.
#include <gmock/gmock.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "daemon/cli/command_table.h"
#include "daemon/cli/exit_code.h"
#include "daemon/cli/mount_words.h"
#include "daemon/cli/option_table.h"
#include "daemon/cli/text_output.h"
#include "tests/mounted/mounted.h"
#include "tests/support/patterns.h"
#include "tests/system/build_directory.h"
#include "tests/system/notify_socket.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using ::testing::Not;
using ::testing::UnorderedElementsAreArray;

/// `cmake --install` under a prefix of the test's own.
class Install : public ::testing::Test {
 protected:
  void SetUp() override {
    const ProcessResult result = run({"cmake", "--install", kBuildDirectory, "--prefix", prefix()});
    ASSERT_TRUE(result.ok()) << result.describe();
  }

  [[nodiscard]] fs::path prefix() const { return directory_.path() / "usr"; }
  /// Runs a line of shell with $P the prefix and $T the test's directory; expects success and no message.
  std::string sh(const std::string& line) {
    const ProcessResult result = shell(
        line,
        {.timeout = seconds(20), .environment = {{"P", prefix()}, {"T", directory_.path()}, {"LC_ALL", "C.UTF-8"}}});
    EXPECT_TRUE(result.ok()) << line << '\n' << result.describe();
    EXPECT_EQ(result.err, "") << line;
    return result.out;
  }
  [[nodiscard]] bool needs(const std::string& program) const { return !have_program(program); }

  TempDir directory_;
};

TEST_F(Install, PutsEverythingBelowThePrefix) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory_.path())) {
    if (!entry.is_directory() || entry.is_symlink()) {
      files.insert(entry.path().string().substr(directory_.path().string().size()));
    }
  }
  std::vector<std::string> expected{"/usr/bin/pkgfs",
                                    "/usr/libexec/pkgfs/pkgfs-keeper",
                                    "/usr/libexec/pkgfs/pkgfs-keeperd",
                                    "/usr/sbin/mount.pkgfs",
                                    "/usr/sbin/mount.fuse.pkgfs",
                                    "/usr/lib/tmpfiles.d/pkgfs.conf",
                                    "/usr/share/bash-completion/completions/pkgfs",
                                    "/usr/share/zsh/vendor-completions/_pkgfs",
                                    "/usr/share/fish/vendor_completions.d/pkgfs.fish"};
  if (fs::exists(fs::path(kBuildDirectory) / "pkgfs-csi")) {  // not built without gRPC
    expected.emplace_back("/usr/bin/pkgfs-csi");
  }
  for (const auto& file : fs::directory_iterator(source_directory() / "packaging/systemd")) {
    const fs::path name = file.path().filename();
    if (name.extension() != ".conf") {
      const fs::path unit = name.extension() == ".in" ? name.stem() : name;
      expected.push_back("/usr/lib/systemd/system/" + unit.string());
    }
  }
  if (have_program("scdoc")) {
    for (const char* page : {"1/pkgfs.1", "8/mount.pkgfs.8", "8/mount.fuse.pkgfs.8", "8/pkgfs-keeperd.8",
                             "5/pkgfs-service.5", "5/pkgfs-lock.5"}) {
      expected.push_back(std::string("/usr/share/man/man") + page);
    }
  }
  for (const char* page : {"QUICKSTART.md", "REFERENCE.md", "REGISTRIES.md", "CONTAINERS.md", "KUBERNETES.md",
                           "OPERATIONS.md", "METRICS.md"}) {
    expected.push_back("/usr/share/doc/pkgfs/" + std::string(page));
  }
  for (const auto& picture : fs::directory_iterator(source_directory() / "docs/pictures")) {
    expected.push_back("/usr/share/doc/pkgfs/pictures/" + picture.path().filename().string());
  }
  for (const auto& example : fs::directory_iterator(source_directory() / "packaging/examples")) {
    expected.push_back("/usr/share/doc/pkgfs/examples/" + example.path().filename().string());
  }
  EXPECT_THAT(files, UnorderedElementsAreArray(expected));
  EXPECT_TRUE(fs::is_directory(prefix() / "etc/pkgfs/mounts"));
  EXPECT_EQ(fs::read_symlink(prefix() / "sbin/mount.pkgfs"), "../bin/pkgfs");
  EXPECT_EQ(sh("$P/sbin/mount.pkgfs --version"), sh("$P/bin/pkgfs --version"));
}

TEST_F(Install, StagesForUsr) {
  const fs::path stage = directory_.path() / "stage";
  const ProcessResult result =
      run({"cmake", "--install", kBuildDirectory, "--prefix", "/usr"}, {.environment = {{"DESTDIR", stage}}});
  ASSERT_TRUE(result.ok()) << result.describe();
  EXPECT_TRUE(fs::is_directory(stage / "etc/pkgfs/mounts"));
  EXPECT_TRUE(fs::is_symlink(stage / "usr/sbin/mount.pkgfs"));
  const std::string unit = read_text(stage / "usr/lib/systemd/system/pkgfs@.service");
  EXPECT_THAT(unit, HasSubstr("\nEnvironmentFile=/etc/pkgfs/mounts/%i.conf\n"));
  EXPECT_THAT(unit, HasSubstr("\nExecStart=/usr/bin/pkgfs mount --foreground "));
  EXPECT_THAT(unit, Not(HasSubstr("@bindir@")));
}

TEST_F(Install, UnitIsCorrectAndConfined) {
  if (needs("systemd-analyze")) {
    GTEST_SKIP() << "no systemd-analyze";
  }
  EXPECT_EQ(sh("SYSTEMD_UNIT_PATH=$P/lib/systemd/system: systemd-analyze verify --man=no pkgfs@hello.service"), "");
  EXPECT_EQ(sh("SYSTEMD_UNIT_PATH=$P/lib/systemd/system: systemd-analyze verify --man=no pkgfs-serve.service"), "");
  // Tenths. Settings with mounts of the service's own, which would lower it further, would hide the package.
  const std::string table =
      sh("systemd-analyze security --offline=true --no-pager --threshold=45 $P/lib/systemd/system/pkgfs@.service");
  EXPECT_THAT(table, HasSubstr("Overall exposure level"));
  const std::string unit = read_text(prefix() / "lib/systemd/system/pkgfs@.service");
  for (const char* setting : {"ProtectSystem",
                              "ProtectHome",
                              "ProtectProc",
                              "ProcSubset",
                              "ProtectKernelTunables",
                              "ProtectKernelModules",
                              "ProtectKernelLogs",
                              "ProtectControlGroups",
                              "PrivateTmp",
                              "PrivateDevices",
                              "PrivateMounts",
                              "PrivateUsers",
                              "PrivateIPC",
                              "MountFlags",
                              "RootDirectory",
                              "RootImage",
                              "BindPaths",
                              "BindReadOnlyPaths",
                              "TemporaryFileSystem",
                              "ReadOnlyPaths",
                              "ReadWritePaths",
                              "InaccessiblePaths",
                              "NoExecPaths",
                              "DynamicUser",
                              "InaccessibleFiles"}) {
    EXPECT_EQ(unit.find("\n" + std::string(setting) + "="), std::string::npos) << setting;
  }
  if (!needs("systemd-tmpfiles")) {
    sh("mkdir $T/root && systemd-tmpfiles --create --root=$T/root $P/lib/tmpfiles.d/pkgfs.conf");
    EXPECT_TRUE(fs::is_directory(directory_.path() / "root/run/pkgfs"));
  }
}

/// The system calls in a set of `systemd-analyze syscall-filter`, those of the sets in it included.
std::set<std::string> calls_in(const std::string& set) {
  std::set<std::string> calls;
  std::istringstream lines(run({"systemd-analyze", "--no-pager", "syscall-filter", set}).out);
  for (std::string word; lines >> word;) {
    if (word == "#") {
      std::getline(lines, word);
    } else if (word.starts_with('@') && word != set) {
      calls.merge(calls_in(word));
    } else if (!word.starts_with('@')) {
      calls.insert(word);
    }
  }
  return calls;
}

/// The system calls that the unit allows.
std::set<std::string> allowed_calls(const std::string& unit) {
  std::set<std::string> allowed = calls_in("@default");
  for (const Groups& line : find_all_groups(unit, "\nSystemCallFilter=(~?)([^\n]*)")) {
    std::istringstream words(line[2]);
    for (std::string word; words >> word;) {
      std::set<std::string> calls = word.starts_with('@') ? calls_in(word) : std::set{word};
      if (line[1].empty()) {
        allowed.merge(calls);
      } else {
        std::erase_if(allowed, [&](const std::string& call) { return calls.contains(call); });
      }
    }
  }
  return allowed;
}

/// Compares the system calls of a mount with the unit's, since the test machine has no systemd that would enforce them.
TEST_F(Install, UnitAllowsTheSystemCallsThatAMountNeeds) {
  if (needs("systemd-analyze") || needs("strace") || !fuse_missing().empty()) {
    GTEST_SKIP() << "no systemd-analyze, strace or FUSE";
  }
  const fs::path mountpoint = directory_.path() / "mnt";
  fs::create_directories(mountpoint);
  const MountGuard guard(mountpoint);
  const NotifySocket socket(directory_.path() / "notify");
  Process daemon(
      {"strace", "-f", "-qq", "-o", directory_.path() / "trace", prefix() / "bin/pkgfs", "mount", "-f", "--registry",
       source_directory() / "packaging/sample/registry", source_directory() / "packaging/sample/hello", mountpoint},
      {.timeout = seconds(20), .environment = {{"WATCHDOG_USEC", "1000000"}, {"NOTIFY_SOCKET", socket.name()}}});
  for (std::string said; said != "WATCHDOG=1";) {
    said = socket.next(seconds(10));
    ASSERT_NE(said, "") << daemon.err();
  }
  EXPECT_FALSE(list_tree(mountpoint).empty());
  EXPECT_TRUE(run({kPkgfs, "unmount", mountpoint}).ok());
  EXPECT_TRUE(daemon.wait().ok()) << daemon.err();

  const std::set<std::string> allowed = allowed_calls(read_text(prefix() / "lib/systemd/system/pkgfs@.service"));
  ASSERT_GT(allowed.size(), 150U);
  EXPECT_FALSE(allowed.contains("ptrace") || allowed.contains("init_module") || allowed.contains("chroot"));
  std::set<std::string> made;
  std::istringstream trace(read_text(directory_.path() / "trace"));
  for (std::string line; std::getline(trace, line);) {
    if (const Groups call = match_groups(line, R"(^[0-9]+ +([a-z0-9_]+)\(.*)"); !call.empty()) {
      made.insert(call[1]);
    }
  }
  EXPECT_TRUE(made.contains("mount") && made.contains("clone3"));
  std::erase_if(made, [&](const std::string& name) { return allowed.contains(name); });
  EXPECT_THAT(made, ::testing::IsEmpty());
}

/// The text of a manual page in a terminal, on one line, with single blanks.
std::string page_text(const std::string& page) {
  const ProcessResult result =
      shell("MANWIDTH=2000 man --warnings -E UTF-8 -l " + page + " | col -b | tr -s '[:space:]' ' '",
            {.environment = {{"LC_ALL", "C.UTF-8"}}});
  EXPECT_TRUE(result.ok()) << result.describe();
  EXPECT_EQ(result.err, "") << page;
  return result.out;
}

/// `text` on one line.
std::string flat(std::string_view text) {
  std::string line(text);
  std::ranges::replace(line, '\n', ' ');
  return line;
}

TEST_F(Install, PagesSayWhatTheProgramDoes) {
  if (needs("scdoc") || needs("man") || needs("col")) {
    GTEST_SKIP() << "no scdoc or man";
  }
  const fs::path man = prefix() / "share/man";
  const std::string program = page_text(man / "man1/pkgfs.1");
  for (const CommandSpec& command : command_table()) {
    EXPECT_THAT(program, HasSubstr(" pkgfs " + std::string(command.name) + " [OPTION]..."));
    EXPECT_THAT(program, HasSubstr(sentence(command.summary)));
    EXPECT_THAT(program, HasSubstr(flat(command.description)));
  }
  for (const OptionSpec& option : option_table()) {
    EXPECT_THAT(program, HasSubstr(" --" + std::string(option.name) + value_text(option) + " "));
    EXPECT_THAT(program, HasSubstr(sentence(option.help)));
  }
  for (const ExitCode& code : exit_codes()) {
    EXPECT_THAT(program, HasSubstr(" " + std::to_string(code.number) + " " + sentence(code.meaning)));
  }
  for (const OptionGroupSpec& group : option_groups()) {
    EXPECT_THAT(program, HasSubstr(" " + std::string(group.title) + " " + std::string(group.text)));
  }
  const std::string helper = page_text(man / "man8/mount.fuse.pkgfs.8");
  for (const OptionSpec& option : option_table()) {
    std::string name(option.name);
    std::ranges::replace(name, '-', '_');
    if (takes(option, CommandId::kMount) && option.mount_word) {
      EXPECT_THAT(helper, HasSubstr(" " + name + (option.argument.empty() ? " " : option.optional ? "[=" : "=")));
    }
  }
  for (const MountWord& word : mount_words()) {
    EXPECT_THAT(helper, HasSubstr(std::string(word.word)));
  }
  for (const char* page : {"man5/pkgfs-service.5", "man5/pkgfs-lock.5", "man8/pkgfs-keeperd.8"}) {
    EXPECT_THAT(page_text(man / page), HasSubstr(" SEE ALSO "));
  }
}

/// Every long flag of a command.
std::vector<std::string> flags_of(const CommandSpec& command) {
  std::set<std::string> flags;
  for (const OptionSpec& option : option_table()) {
    if (takes(option, command.id)) {
      flags.insert("--" + std::string(option.name));
    }
  }
  return {flags.begin(), flags.end()};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    lines.push_back(line.ends_with('=') ? line.substr(0, line.size() - 1) : line);
  }
  return lines;
}

class Completion : public Install {
 protected:
  /// The words that bash offers for TAB after `words`. The last one can be unfinished or empty.
  std::vector<std::string> bash(const std::string& words, const std::string& count) {
    return lines_of(sh("source $P/share/bash-completion/completions/pkgfs; complete -p pkgfs >/dev/null; COMP_WORDS=(" +
                       words + "); COMP_CWORD=" + count + "; _pkgfs; printf '%s\\n' \"${COMPREPLY[@]}\""));
  }
};

TEST_F(Completion, OfBash) {
  EXPECT_EQ(sh("source $P/share/bash-completion/completions/pkgfs; complete -p pkgfs"), "complete -F _pkgfs pkgfs\n");
  std::vector<std::string> names{"help", "--help", "--version"};
  for (const CommandSpec& command : command_table()) {
    names.emplace_back(command.name);
    std::vector<std::string> flags = flags_of(command);
    flags.emplace_back("--help");
    EXPECT_THAT(bash("pkgfs " + std::string(command.name) + " --", "2"), UnorderedElementsAreArray(flags))
        << command.name;
  }
  EXPECT_THAT(bash("pkgfs ''", "1"), UnorderedElementsAreArray(names));
  EXPECT_THAT(bash("pkgfs mount --exec = ''", "4"), ::testing::ElementsAre("auto", "none"));
  EXPECT_THAT(bash("pkgfs mount --exec = n", "4"), ::testing::ElementsAre("none"));
  EXPECT_THAT(bash("pkgfs mount --exec a", "3"), ::testing::ElementsAre("auto"));
  EXPECT_THAT(bash("pkgfs mount --log-level = in", "4"), ::testing::ElementsAre("info"));
  EXPECT_THAT(bash("pkgfs mount -o ro,allow_ot", "3"), ::testing::ElementsAre("ro,allow_other"));
  EXPECT_THAT(bash("pkgfs umount --la", "2"), ::testing::ElementsAre("--lazy"));
  EXPECT_THAT(bash("pkgfs cache ''", "2"), UnorderedElementsAreArray({"list", "verify", "prune", "path"}));
  EXPECT_THAT(bash("pkgfs help mou", "2"), UnorderedElementsAreArray({"mount", "mounts"}));
  EXPECT_THAT(bash("pkgfs mount $P/sh", "2"), ::testing::ElementsAre(prefix() / "share"));
  EXPECT_THAT(bash("pkgfs mount x $P/sh", "3"), ::testing::ElementsAre(prefix() / "share"));
  EXPECT_THAT(bash("pkgfs mount --registry = $P/sh", "4"), ::testing::ElementsAre(prefix() / "share"));
}

TEST_F(Completion, OfFish) {
  if (needs("fish")) {
    GTEST_SKIP() << "no fish";
  }
  const auto fish = [&](const std::string& line) {
    return lines_of(
        sh("HOME=$T fish --no-config -c 'source $P/share/fish/vendor_completions.d/pkgfs.fish; complete -C \"" + line +
           "\"' | cut -f 1"));
  };
  for (const CommandSpec& command : command_table()) {
    EXPECT_THAT(fish("pkgfs " + std::string(command.name) + " --"), UnorderedElementsAreArray(flags_of(command)))
        << command.name;
  }
  EXPECT_THAT(fish("pkgfs mou"), UnorderedElementsAreArray({"mount", "mounts"}));
  EXPECT_THAT(fish("pkgfs mount --exec="), UnorderedElementsAreArray({"--exec=auto", "--exec=none"}));
}

TEST_F(Completion, OfZsh) {
  if (needs("zsh")) {
    GTEST_SKIP() << "no zsh";
  }
  // Runs zsh in a terminal and types lines and TAB into it. The terminal then shows the words that zsh offers.
  directory_.write("type.zsh",
                   "zmodload zsh/zpty\n"
                   "zpty z HOME=$T TERM=dumb zsh -f -i\n"
                   "zpty -w z \"stty columns 200 rows 200; fpath=($P/share/zsh/vendor-completions \\$fpath);"
                   " autoload -Uz compinit; compinit -u -D; LISTMAX=0; PS1='> '; print REA''DY\"\n"
                   "zpty -r -m z out '*READY*'\n"
                   "for line in \"$@\"; do\n"
                   "  zpty -w -n z \"$line\"$'\\t'\n"
                   "  sleep 0.7\n"
                   "  zpty -w -n z $'\\x15'\n"  // ^U: forget the line
                   "  while zpty -r -t z out; do print -r -- \"$out\"; done\n"
                   "done\n"
                   "zpty -d z\n");
  const std::string out =
      sh("timeout 15 zsh -f $T/type.zsh 'pkgfs mount --' 'pkgfs cache ' 'pkgfs mount -o allow_ot' 'pkgfs unm'");
  for (const std::string& flag : flags_of(command_spec(CommandId::kMount))) {
    EXPECT_THAT(out, HasSubstr(flag));
  }
  for (const char* word : {"list ", "prune ", "path ", "pkgfs mount -o allow_other", "pkgfs unmount"}) {
    EXPECT_THAT(out, HasSubstr(word));
  }
}

}  // namespace
}  // namespace pkgfs::test
