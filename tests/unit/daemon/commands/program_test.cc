// SPDX-License-Identifier: MIT
#include "daemon/commands/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "daemon/cli/exit_code.h"
#include "daemon/cli/mount_words.h"
#include "daemon/cli/option_table.h"
#include "daemon/commands/commands.h"
#include "tests/support/fixtures.h"
#include "tests/support/patterns.h"
#include "tests/unit/daemon/commands/run.h"

namespace pkgfs {
namespace {

using test::run;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(Program, SaysHowItIsUsedWhenCalledWithNothing) {
  const auto result = run({});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.out, "");
  EXPECT_THAT(result.err, HasSubstr("usage: pkgfs COMMAND"));
}

TEST(Program, PrintsItsVersion) {
  for (const char* flag : {"-V", "--version", "version"}) {
    const auto result = run({flag});
    EXPECT_EQ(result.code, 0);
    EXPECT_EQ(result.out, "pkgfs " PKGFS_VERSION "\n");
  }
}

TEST(Program, HelpListsEveryCommand) {
  for (const auto& arguments : {std::vector<std::string>{"help"}, {"-h"}, {"--help"}}) {
    const auto result = run(arguments);
    EXPECT_EQ(result.code, 0);
    for (const CommandSpec& command : command_table()) {
      EXPECT_THAT(result.out, HasSubstr("\n  " + std::string(command.name) + " "));
    }
  }
}

TEST(Program, HelpOfACommandShowsEachOfItsOptions) {
  for (const CommandSpec& command : command_table()) {
    const std::string name(command.name);
    const auto help = run({"help", name});
    EXPECT_EQ(help.code, 0);
    for (const OptionSpec& option : option_table()) {
      const bool shown = std::ranges::any_of(std::string_view(" =[\n"), [&](char after) {
        return help.out.find("--" + std::string(option.name) + after) != std::string::npos;
      });
      const bool by_another = std::ranges::any_of(
          option_table(), [&](const OptionSpec& o) { return o.name == option.name && takes(o, command.id); });
      EXPECT_EQ(shown, takes(option, command.id) || by_another) << name << " --" << option.name;
    }
    EXPECT_EQ(run({name, "--help"}).out, help.out);
    EXPECT_EQ(run({name, "x", "-h"}).out, help.out);
  }
}

TEST(Program, TheHelpOfMountSaysWhatVerifyingCostsAndWhatIsRefused) {
  const auto help = run({"help", "mount"});
  const std::string flat = test::replace_all(help.out, "\\s+", " ");
  EXPECT_THAT(flat, HasSubstr("costs nothing"));
  EXPECT_THAT(flat, HasSubstr("reads each container once"));
  for (const MountWord& word : mount_words()) {
    EXPECT_THAT(help.out, HasSubstr(std::string(word.word)));
  }
}

TEST(Program, NamesAnUnknownCommandAndAGuess) {
  const auto result = run({"moutn"});
  EXPECT_EQ(result.code, 2);
  EXPECT_THAT(result.err, StartsWith("pkgfs: error: unknown command \"moutn\"; did you mean \"mount\"?"));
  EXPECT_THAT(run({"xyzzy"}).err, StartsWith("pkgfs: error: unknown command \"xyzzy\" (see"));
  EXPECT_THAT(run({"--jsn"}).err, StartsWith("pkgfs: error: unknown option '--jsn'"));
  EXPECT_EQ(run({"help", "xyzzy"}).code, 2);
}

TEST(Program, ControlCharactersInMessagesAreEscaped) {
  const auto result = run({"\x1b]0;title\x07"});
  EXPECT_EQ(result.err.find('\x1b'), std::string::npos);
  EXPECT_THAT(result.err, HasSubstr("\\x1b]0;title\\x07"));
}

TEST(Program, AnArgumentThatIsNothingIsAUsageErrorWithItsCause) {
  const auto result = run({"inspect", ""});
  EXPECT_EQ(result.code, 2);
  EXPECT_EQ(result.err,
            "pkgfs: error: Unable to resolve \"\" as a URL, package name, or file on disk\n"
            "  caused by: could not parse value as package identifier: An empty string is not a valid package source "
            "(value: '')\n");
}

TEST(Program, AMissingPackageIsNotFound) {
  const auto name = run({"tree", "--offline", "acme/ghost"});
  EXPECT_EQ(name.code, 11);
  EXPECT_THAT(name.err,
              HasSubstr("failed to query package 'acme/ghost': there is no cached answer for \"acme/ghost\""));
  // The message must help a user that forgot the "./" before a file, or forgot --registry.
  const std::string registry = test::fixtures() / "registry/versions-v3";
  const auto unknown = run({"tree", "--offline", "--registry", registry, "acme/app"});
  EXPECT_EQ(unknown.code, 3);
  EXPECT_THAT(unknown.err, HasSubstr("failed to query package 'acme/app': not found\n  caused by: there is no file or "
                                     "directory \"acme/app\", nor a package of that name in " +
                                     registry + "\n"));
  const auto path = run({"tree", "./no/such/file.webc"});
  EXPECT_EQ(path.code, 3);
  EXPECT_THAT(path.err, HasSubstr("./no/such/file.webc"));
}

// Risk: a registry is asked for a mistyped path, and the message speaks of packages and queries. The registry of the
// tests answers nothing, so that asking it would give the exit code 11.
TEST(Program, AMissingFileIsNotAskedFor) {
  const std::string missing = "No such file or directory";
  for (const char* text : {"none.webc", "dir/none.webc", "none.wasmer", "none.tar.gz", "x/wasmer.toml", "wasmer.toml",
                           "dir/", "a/b/c", "~/none", "./none", "/none/x", "file:///none/x"}) {
    const auto result = run({"ls", text});
    EXPECT_EQ(result.code, 3) << text << result.err;
    EXPECT_THAT(result.err, HasSubstr(missing)) << text;
    EXPECT_THAT(result.err, Not(HasSubstr("query"))) << text;
  }
  EXPECT_THAT(run({"ls", "none.webc"}).err, HasSubstr("\".webc\" at its end means a file"));
  for (const char* text : {"acme/app", "acme/app.webc@1", "registry.example:acme/app", "acme/app@>=1, <2"}) {
    EXPECT_EQ(run({"ls", text}).code, 11) << text << ": a name";
  }
}

TEST(Program, AWasmerTomlStandsForItsDirectory) {
  const test::TempDir dir;
  dir.write("p/wasmer.toml", "[fs]\n\"/www\" = \"www\"\n");
  dir.write("p/www/index.html", "x");
  const auto result = run({"ls", (dir.path() / "p/wasmer.toml").string(), "/www"});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_EQ(result.out, "index.html\n");
}

TEST(Program, WhatIsNoPackageIsNamed) {
  const auto device = run({"inspect", "/dev/null"});
  EXPECT_EQ(device.code, 5);
  EXPECT_THAT(device.err, HasSubstr("it is neither a file nor a directory"));
  EXPECT_THAT(device.err, Not(HasSubstr("query")));
  const test::TempDir dir;
  const auto directory = run({"inspect", dir.path().string()});
  EXPECT_EQ(directory.code, 3);
  EXPECT_THAT(directory.err, HasSubstr("has no wasmer.toml"));
}

TEST(Program, AMistypedRequirementIsNotAskedFor) {
  const auto result = run({"resolve", "a/b@>1 <2"});
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_THAT(result.err, HasSubstr("at character 4"));
  EXPECT_THAT(result.err, HasSubstr("did you mean \">1, <2\"?"));
  EXPECT_THAT(run({"resolve", "a/b@^^1"}).err, HasSubstr("did you mean \"^1\"?"));
  EXPECT_EQ(run({"resolve", "a/b@v1.2_x-y"}).code, 11) << "a tag";
}

TEST(Program, AMissingRegistryIsNamed) {
  const auto result = run({"resolve", "--registry", "/no/such/registry", "acme/app"});
  EXPECT_EQ(result.code, 3);
  EXPECT_THAT(result.err, HasSubstr("package directory does not exist: \"/no/such/registry\""));
}

/// A stream that accepts no bytes, like a pipe without a reader while SIGPIPE is ignored.
class Broken : public std::streambuf {
 protected:
  int_type overflow(int_type /*c*/) override {
    ++attempts;
    return traits_type::eof();
  }
  std::streamsize xsputn(const char* /*text*/, std::streamsize /*count*/) override {
    ++attempts;
    return 0;
  }

 public:
  int attempts = 0;
};

TEST(Program, OutputThatCannotBeWrittenIsAnError) {
  Broken broken;
  std::ostream out(&broken);
  std::ostringstream err;
  const Io io{&out, &err, [](const char*) { return std::nullopt; }, false};
  const std::string package = (test::fixtures() / "webc/big4m-v3.webc").string();
  const auto listing = test::run({"tree", "--json", package}).out;
  for (const auto& arguments : std::vector<std::vector<std::string>>{
           {"help"}, {"inspect", "--json", package}, {"tree", package}, {"cat", package, "/data/big.bin"}}) {
    out.clear();
    err.str("");
    std::vector<std::string> all{"pkgfs"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    EXPECT_EQ(run_program(all, io), 1) << arguments.front();
    EXPECT_THAT(err.str(), HasSubstr("writing to standard output failed")) << arguments.front();
  }
  EXPECT_LT(broken.attempts, 100) << "a lost reader stops the writing: " << listing.size();
}

TEST(ExitCode, EveryKindOfErrorHasItsOwnDocumentedCode) {
  std::set<int> documented;
  for (const ExitCode& code : exit_codes()) {
    EXPECT_TRUE(documented.insert(code.number).second) << code.number;
    EXPECT_FALSE(code.meaning.empty());
  }
  EXPECT_EQ(*documented.begin(), kExitOk);
  const auto help = run({"help", "exit-codes"});
  std::set<int> used{kExitOk};
  for (const ErrorCode code :
       {ErrorCode::kUsage, ErrorCode::kNotFound, ErrorCode::kCorrupt, ErrorCode::kUnsupported, ErrorCode::kResolve,
        ErrorCode::kLoad, ErrorCode::kPermission, ErrorCode::kBusy, ErrorCode::kIo, ErrorCode::kMount,
        ErrorCode::kNetwork, ErrorCode::kInterrupted, ErrorCode::kInternal}) {
    const int number = to_exit_code(code);
    EXPECT_TRUE(used.insert(number).second) << number;
    EXPECT_TRUE(documented.contains(number)) << number;
    EXPECT_THAT(help.out, HasSubstr("\n  " + std::to_string(number) + " "));
  }
  used.insert(kExitTimeOver);  // of `pkgfs wait`
  EXPECT_EQ(used, documented);
  EXPECT_EQ(to_exit_code(ErrorCode::kFull), to_exit_code(ErrorCode::kIo)) << "a full disk is a failure to write";
}

}  // namespace
}  // namespace pkgfs
