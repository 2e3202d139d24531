// SPDX-License-Identifier: MIT
#include "daemon/cli/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <set>

#include "daemon/cli/mount_words.h"
#include "daemon/cli/option_table.h"

namespace pkgfs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::string usage_error(const std::vector<std::string>& args, CommandId command = CommandId::kMount) {
  try {
    (void)parse_options(command, args, 0, 9);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    return error.what();
  }
  return "no error";
}

MountOptions mount_options(std::vector<std::string> args) {
  args.insert(args.end(), {"pkg", "/mnt"});
  return parse_mount_options(args);
}

TEST(Options, MountDefaults) {
  const MountOptions options = parse_mount_options({"acme/app@^1", "/mnt/x"});
  EXPECT_EQ(options.package, "acme/app@^1");
  EXPECT_EQ(options.mountpoint, "/mnt/x");
  EXPECT_FALSE(options.foreground || options.debug || options.allow_other || options.tree.exec_auto || options.noexec);
  EXPECT_EQ(options.tree.commands_dir, "/bin");
  EXPECT_EQ(options.tree.conflicts, vfs::Conflicts::kMerge);
  EXPECT_EQ(options.tree.verify, Verify::kNone);
  EXPECT_EQ(options.live_timeout, 1);
  EXPECT_EQ(options.log.level, "warning");
  EXPECT_FALSE(options.uid || options.gid);
}

TEST(Options, FlagsAndMountWordsMeanTheSame) {
  const MountOptions flags = mount_options({"--registry",
                                            "/r1",
                                            "--registry=/r2",
                                            "--commands-dir=/opt/bin/",
                                            "--conflicts=shadow",
                                            "--strict",
                                            "--raw-links",
                                            "--verify=read",
                                            "--as-built",
                                            "-d",
                                            "--allow-other",
                                            "--uid=7",
                                            "--gid",
                                            "8",
                                            "--fmask=022",
                                            "--dmask",
                                            "77",
                                            "--exec=auto",
                                            "--mtime=container",
                                            "--live-timeout=0.5",
                                            "--log-level=info"});
  const MountOptions words = mount_options(
      {"-o", "registry=/r1,registry=/r2,commands_dir=/opt/bin/,conflicts=shadow,strict,raw_links", "-overify=read",
       "-o", "as-built,debug,allow_other,uid=7,gid=8,fmask=022,dmask=77,exec=auto,mtime=container", "-o",
       "live_timeout=0.5,log_level=info"});
  for (const MountOptions& options : {flags, words}) {
    EXPECT_THAT(options.tree.network.registries, ElementsAre("/r1", "/r2"));
    EXPECT_EQ(options.tree.commands_dir, "/opt/bin");
    EXPECT_EQ(options.tree.conflicts, vfs::Conflicts::kShadow);
    EXPECT_TRUE(options.tree.strict && options.tree.raw_links && options.tree.as_built);
    EXPECT_EQ(options.tree.verify, Verify::kRead);
    EXPECT_TRUE(options.debug && options.foreground && options.allow_other);
    EXPECT_TRUE(options.tree.exec_auto && options.tree.times == vfs::Times::kContainer);
    EXPECT_EQ(options.uid, 7);
    EXPECT_EQ(options.gid, 8);
    EXPECT_EQ(options.fmask, 022);
    EXPECT_EQ(options.dmask, 077);
    EXPECT_EQ(options.live_timeout, 0.5);
    EXPECT_EQ(options.log.level, "info");
    EXPECT_EQ(options.package, "pkg");
  }
}

// Risk: the word behind a switch with an optional value is taken for that value.
TEST(Options, StrictHasAnOptionalValue) {
  for (const auto& given : std::vector<std::vector<std::string>>{{"--strict"}, {"--strict=yes"}, {"-o", "strict"}}) {
    const MountOptions options = mount_options(given);
    EXPECT_TRUE(options.tree.strict && !options.tree.lenient);
    EXPECT_EQ(options.package, "pkg");
  }
  for (const auto& given : std::vector<std::vector<std::string>>{{"--strict=no"}, {"-o", "strict=no"}}) {
    const MountOptions options = mount_options(given);
    EXPECT_TRUE(!options.tree.strict && options.tree.lenient);
  }
  EXPECT_THAT(usage_error({"--strict=maybe", "pkg", "/mnt"}), HasSubstr("yes or no"));
}

/// A value that `option` accepts, as it follows the option's name; empty for a switch.
std::string example_value(const OptionSpec& option) {
  if (option.argument.empty()) {
    return {};
  }
  static const std::map<std::string, std::string> kExamples{
      {"DIR", "/x"},  {"ID", "1"}, {"OCTAL", "7"}, {"SECONDS", "2"},    {"LEVEL", "info"}, {"SIZE", "1M"},
      {"KIB", "128"}, {"N", "2"},  {"FILE", "/f"}, {"ADDRESS", "9180"}, {"TOKEN", "t0p"},  {"INTERVAL", "10m"}};
  const std::string first(option.argument.substr(0, option.argument.find('|')));
  const auto found = kExamples.find(first);
  return "=" + (found == kExamples.end() ? first : found->second);
}

TEST(Options, EveryOptionOfMountWorksAsAFlag) {
  for (const OptionSpec& option : option_table()) {
    if (!takes(option, CommandId::kMount)) {
      continue;
    }
    EXPECT_NO_THROW(mount_options({"--" + std::string(option.name) + example_value(option)})) << option.name;
    if (option.letter != '\0') {
      EXPECT_NO_THROW(mount_options({std::string("-") + option.letter})) << option.name;
    }
  }
}

/// The help says that `-o` takes every option, with "_" for "-", but those that it refuses with a reason.
TEST(Options, EveryOptionOfMountWorksInMinusO) {
  std::vector<std::string> refused;
  for (const OptionSpec& option : option_table()) {
    if (!takes(option, CommandId::kMount)) {
      continue;
    }
    std::string underscored(option.name);
    std::ranges::replace(underscored, '-', '_');
    for (const std::string& name : {std::string(option.name), underscored}) {
      const std::string word = name + example_value(option);
      if (option.mount_word) {
        EXPECT_EQ(usage_error({"-o", word, "pkg", "/mnt"}), "no error") << word;
        EXPECT_EQ(usage_error({"-o", "ro," + word, "pkg", "/mnt"}), "no error") << word;
      } else {
        EXPECT_THAT(usage_error({"-o", word, "pkg", "/mnt"}),
                    testing::StartsWith("mount option '" + name + "' is refused: "));
        refused.push_back(name);
      }
    }
  }
  EXPECT_THAT(std::set(refused.begin(), refused.end()), ElementsAre("foreground", "on-change", "on_change", "token"));
}

TEST(Options, ATokenInMinusOIsRefusedWithAReasonAndNotRepeated) {
  for (const char* word : {"token=s3cret", "token", "ro,token=s3cret"}) {
    const std::vector<std::string> args{"-o", word, "pkg", "/mnt"};
    EXPECT_THAT(usage_error(args), HasSubstr("set WASMER_TOKEN"));
    EXPECT_THAT(usage_error(args), testing::Not(HasSubstr("s3cret")));
    EXPECT_THROW((void)parse_mount_options(args, {.from_mount = true, .sloppy = true}), Error) << "as autofs calls";
  }
}

TEST(Options, TheLastOneWins) {
  EXPECT_EQ(mount_options({"--no-commands", "--commands-dir=/x"}).tree.commands_dir, "/x");
  EXPECT_EQ(mount_options({"--commands-dir=/x", "-o", "no_commands"}).tree.commands_dir, std::nullopt);
  EXPECT_TRUE(mount_options({"-o", "exec,noexec"}).noexec);
  EXPECT_FALSE(mount_options({"-o", "noexec", "-o", "exec"}).noexec);
}

TEST(Options, OperandsAndOptionsMix) {
  const MountOptions options = parse_mount_options({"pkg", "/mnt", "-f", "-o", "ro"});
  EXPECT_EQ(options.mountpoint, "/mnt");
  EXPECT_TRUE(options.foreground);
  const MountOptions dashes = parse_mount_options({"--", "-pkg", "/mnt"});
  EXPECT_EQ(dashes.package, "-pkg");
  EXPECT_THAT(usage_error({"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}), HasSubstr("unexpected argument \"j\""));
  EXPECT_THROW((void)parse_mount_options({"pkg"}), Error);
  EXPECT_THROW((void)parse_mount_options({"a", "b", "c"}), Error);
}

TEST(Options, UnknownOnesAreNamedBeforeAnythingElse) {
  EXPECT_EQ(usage_error({"--verify=nonsense", "--bogus=1", "-o", "ro,colour=red", "-Z"}),
            "unknown option '--bogus', mount option 'colour', option '-Z' (see \"pkgfs help mount\")");
  EXPECT_THAT(usage_error({"--registri=x"}), HasSubstr("unknown option '--registri'; did you mean '--registry'?"));
  EXPECT_THAT(usage_error({"-o", "alow_other"}), HasSubstr("did you mean 'allow_other'?"));
  EXPECT_THAT(usage_error({"--foreground"}, CommandId::kTree), HasSubstr("unknown option '--foreground'"));
  EXPECT_THAT(usage_error({"-o", "ro"}, CommandId::kTree), HasSubstr("unknown option '-o'"));
  EXPECT_THAT(usage_error({"--regis=x"}), HasSubstr("unknown option '--regis'")) << "no guessing of abbreviations";
  EXPECT_THAT(usage_error({"-o", "foreground"}), HasSubstr("mount option 'foreground' is refused: "));
}

TEST(Options, WordsOfMountAreAcceptedOrRefused) {
  EXPECT_NO_THROW(mount_options({"-o",
                                 "ro,noatime,nosuid,nodev,defaults,_netdev,noauto,nofail,x-systemd.automount,"
                                 "comment=a b,user,users,auto,default_permissions,,"}));
  for (const char* word : {"rw", "suid", "dev", "remount", "fsname=x", "subtype=y"}) {
    EXPECT_THAT(
        usage_error({"-o", word}),
        HasSubstr("mount option '" + std::string(word).substr(0, std::string(word).find('=')) + "' is refused: "));
  }
}

/// Every row of the table.
TEST(Options, EveryWordDoesWhatItsRowSays) {
  for (const MountWord& word : mount_words()) {
    std::string item(word.word);
    if (item.ends_with('=') || item.ends_with('*')) {
      item = item.substr(0, item.find('*')) + "value";
    }
    const std::string error = usage_error({"-o", "ro," + item, "pkg", "/mnt"});
    EXPECT_EQ(error != "no error", word.refused) << item << ": " << error;
    EXPECT_EQ(find_mount_word(item), &word) << item;
    EXPECT_FALSE(word.why.empty()) << item;
    EXPECT_FALSE(word.refused && word.apply != nullptr) << item;
  }
}

TEST(Options, WordsWithAnEffectHaveIt) {
  EXPECT_TRUE(mount_options({"-o", "symfollow,nosymfollow"}).nosymfollow);
  EXPECT_FALSE(mount_options({"-o", "nosymfollow,symfollow"}).nosymfollow);
  EXPECT_TRUE(mount_options({"-o", "remount,ro"}).remount);
  EXPECT_THAT(mount_options({"-o", "remount,ro"}).unchanged, IsEmpty());
  EXPECT_THAT(mount_options({"-o", "remount,ro,noexec,noatime,live_timeout=3", "-q"}).unchanged,
              ElementsAre("noexec", "live_timeout=3"));
  EXPECT_THAT(mount_options({"-o", R"(context="a:b:c:s0:c1,c2",fscontext=a:b:c,defcontext=d,rootcontext=e)"}).security,
              ElementsAre(R"(context="a:b:c:s0:c1,c2")", "fscontext=a:b:c", "defcontext=d", "rootcontext=e"));
  EXPECT_THAT(usage_error({"-o", "context="}), HasSubstr("needs a context"));
  EXPECT_THAT(usage_error({"-o", R"(context=a\,"b)"}), HasSubstr("needs a context"));
}

TEST(Options, UsersMayBeNamed) {
  EXPECT_EQ(mount_options({"--uid=root", "-o", "gid=root"}).uid, 0U);
  EXPECT_EQ(mount_options({"--uid=root", "-o", "gid=root"}).gid, 0U);
  EXPECT_EQ(usage_error({"--uid=no such user"}),
            "option 'uid': \"no such user\" isn't a numeric id or the name of a user");
  const MountOptions masks = mount_options({"-o", "umask=027,fmask=0133"});
  EXPECT_EQ(masks.fmask, 0133);
  EXPECT_EQ(masks.dmask, 027);
}

TEST(Options, AllowRootIsForTheUserWhoMounts) {
  const MountOptions options = mount_options({"-o", "allow_root"});
  EXPECT_TRUE(options.allow_root && options.allow_other.value_or(false));
  EXPECT_FALSE(mount_options({"-o", "allow_root,allow_other"}).allow_root);
  EXPECT_THAT(usage_error({"-o", "allow_root,uid=" + std::to_string(::geteuid() + 1)}), HasSubstr("'uid' can't be"));
}

TEST(Options, BadValuesAreNamed) {
  EXPECT_EQ(usage_error({"--conflicts=maybe"}), "option 'conflicts': \"maybe\" isn't merge, shadow or error");
  EXPECT_EQ(usage_error({"-o", "verify=twice"}), "option 'verify': \"twice\" isn't none, open or read");
  EXPECT_EQ(usage_error({"--cpu-latency=yes"}), "option 'cpu-latency': \"yes\" isn't auto, on or off");
  for (const char* bad : {"0", "17", "-1", "2x"}) {
    EXPECT_NE(usage_error({std::string("--threads=") + bad}).find("a number from 1 to 16"), std::string::npos) << bad;
  }
  for (const char* bad : {"--uid=-1",
                          "--uid=no such user",
                          "--gid=no such group",
                          "--umask=8",
                          "--uid=4294967295",
                          "--uid=1x",
                          "--gid=",
                          "--fmask=8",
                          "--fmask=1000",
                          "--dmask=-1",
                          "--live-timeout=-1",
                          "--live-timeout=nan",
                          "--live-timeout=1e9",
                          "--commands-dir=bin",
                          "--commands-dir=/../x",
                          "--follow=0",
                          "--follow=366d",
                          "--follow=200000d",
                          "--follow=31536001",
                          "--exec=yes",
                          "--mtime=now",
                          "--log-level=loud",
                          "--raw-links=yes"}) {
    EXPECT_NE(usage_error({bad}), "no error") << bad;
  }
  EXPECT_THAT(usage_error({"--registry"}), HasSubstr("registry"));
  EXPECT_EQ(usage_error({"-o", "raw_links=1"}), "mount option 'raw_links' takes no value");
  EXPECT_EQ(usage_error({"-o", "uid"}), "mount option 'uid' needs a value");
}

TEST(Options, MountWordsAreSplitAtCommasThatAreNotEscaped) {
  EXPECT_THAT(split_mount_words("a,b=c\\,d,e\\\\,f\\x,,"), ElementsAre("a", "b=c,d", "e\\", "f\\x"));
  EXPECT_THAT(split_mount_words(""), ElementsAre());
  EXPECT_THAT(split_mount_words("\\"), ElementsAre("\\"));
  EXPECT_THAT(mount_options({"-o", "registry=/a\\,b"}).tree.network.registries, ElementsAre("/a,b"));
}

TEST(Options, QuotedValuesKeepTheirCommas) {
  EXPECT_THAT(split_mount_words(R"(a,lock="/x,y",b)"), ElementsAre("a", "lock=/x,y", "b"));
  EXPECT_THAT(split_mount_words(R"(lock="/x\,y\\",b)"), ElementsAre("lock=/x,y\\", "b"));
  EXPECT_THAT(split_mount_words(R"(lock=/x"y,b")"), ElementsAre("lock=/x\"y", "b\"")) << "not a whole value";
  EXPECT_THAT(split_mount_words(R"(lock="/x,y)"), ElementsAre("lock=\"/x", "y")) << "no end";
  EXPECT_THAT(split_mount_words(R"(lock="")"), ElementsAre("lock="));
}

TEST(Options, WhatMountAddsByItselfIsRefusedOnlyWhereTheUserWroteIt) {
  for (const MountWord& word : mount_words()) {
    if (word.unasked) {
      const std::vector<std::string> args{"-o", std::string(word.word), "pkg", "/mnt"};
      EXPECT_THAT(usage_error(args), HasSubstr("refused")) << word.word;
      EXPECT_NO_THROW((void)parse_mount_options(args, {.from_mount = true})) << word.word;
    }
  }
  const std::vector<std::string> args{"-o", "nonsense,uid=3,more=1", "pkg", "/mnt"};
  EXPECT_THAT(usage_error(args), HasSubstr("unknown mount option 'nonsense', mount option 'more'"));
  EXPECT_EQ(parse_mount_options(args, {.from_mount = true, .sloppy = true}).uid, 3);
}

}  // namespace
}  // namespace pkgfs
