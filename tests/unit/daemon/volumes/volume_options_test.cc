// SPDX-License-Identifier: MIT
// Risk: an option of a volume means something else for the mount, or isn't used where it matters.
#include "daemon/volumes/volume_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "core/base/error.h"
#include "daemon/volumes/volume_protocol.h"

namespace pkgfs::test {
namespace {

using Words = std::vector<std::string>;

TEST(VolumeOptions, BecomeTheArgumentsOfEachCommand) {
  const VolumeOptions options = parse_volume_options({{"package", "acme/app@^2"},
                                                      {"registry", "/srv/a,b"},
                                                      {"cache_dir", "/cache"},
                                                      {"strict", "true"},
                                                      {"offline", "false"},
                                                      {"uid", "5"},
                                                      {"o", "ro,fmask=0222"}});
  EXPECT_EQ(resolve_arguments(options, "/l"),
            (Words{"resolve", "--cache-dir=/cache", "--registry=/srv/a,b", "--lock=/l", "--", "acme/app@^2"}));
  EXPECT_EQ(open_arguments(options, "/l"),
            (Words{"ls", "--cache-dir=/cache", "--registry=/srv/a,b", "--strict", "--lock=/l", "--", "acme/app@^2"}));
  EXPECT_EQ(mount_arguments(options, "/l", "/m"),
            (Words{"mount", "-o", "cache_dir=/cache,ro,fmask=0222,registry=/srv/a\\,b,strict,uid=5", "--lock=/l", "--",
                   "acme/app@^2", "/m"}));
}

TEST(VolumeOptions, ASwitchWithAnOptionalValueMayBeOff) {
  const auto words = [](const char* value) {
    return mount_arguments(parse_volume_options({{"package", "/"}, {"strict", value}}), "", "/m");
  };
  EXPECT_EQ(words("true"), (Words{"mount", "-o", "strict", "--", "/", "/m"}));
  EXPECT_EQ(words("no"), (Words{"mount", "-o", "strict=no", "--", "/", "/m"}));
  EXPECT_EQ(words("false"), (Words{"mount", "--", "/", "/m"}));
}

TEST(VolumeOptions, AUsersLockFileIsTheOnlyOne) {
  const VolumeOptions options = parse_volume_options({{"package", "acme/app"}, {"lock", "/own.lock"}});
  EXPECT_EQ(open_arguments(options, ""), (Words{"ls", "--lock=/own.lock", "--", "acme/app"}));
  EXPECT_EQ(mount_arguments(options, "/l", "/m"), (Words{"mount", "-o", "lock=/own.lock", "--", "acme/app", "/m"}));
}

TEST(VolumeOptions, FollowNeedsSomethingThatCanChange) {
  try {
    (void)parse_volume_options({{"package", "acme/app@^2"}, {"follow", "10m"}});
    ADD_FAILURE() << "the volume stays at the versions that were found when it was created";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    EXPECT_EQ(error.message().find("option 'follow': a volume stays at the versions"), 0U) << error.message();
  }
  EXPECT_NO_THROW((void)parse_volume_options({{"package", "acme/app@^2"}, {"follow", "10m"}, {"lock", "/own.lock"}}));
  EXPECT_NO_THROW((void)parse_volume_options({{"package", "/"}, {"follow", "10m"}}));
}

TEST(VolumeOptions, ThatDoNotFitChangesAreRefused) {
  const std::pair<DriverOptions, std::string> cases[] = {
      {{{"package", "/"}, {"writable", "true"}, {"o", "writable_size=1G"}}, "on a disk"},
      {{{"package", "/"}, {"writable", "true"}, {"view", "package"}}, "--view=package"},
      {{{"package", "/"}, {"writable", "discard"}, {"o", "writable"}}, "keeps its changes"},
  };
  for (const auto& [options, reason] : cases) {
    try {
      (void)parse_volume_options(options);
      ADD_FAILURE() << reason;
    } catch (const Error& error) {
      EXPECT_NE(error.message().find(reason), std::string::npos) << error.message();
    }
  }
}

TEST(VolumeOptions, PathsAreKnown) {
  EXPECT_TRUE(parse_volume_options({{"package", "/"}}).is_path);
  EXPECT_FALSE(parse_volume_options({{"package", "acme/app"}}).is_path);
  EXPECT_FALSE(parse_volume_options({{"package", "https://example.org/a.webc"}}).is_path);
}

TEST(VolumeOptions, NamesBecomeDirectoriesAndNothingElse) {
  for (const char* name : {"a", "A-b_c.d", "0"}) {
    EXPECT_NO_THROW(check_volume_name(name)) << name;
  }
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("-a"), std::string("a\0b", 3), std::string("ä"), std::string(256, 'a')}) {
    EXPECT_THROW(check_volume_name(name), Error) << name;
  }
}

/// Remembers what it was asked.
class Recorder final : public VolumeDriver {
 public:
  void create(const std::string& name, const DriverOptions& options) override {
    asked += "create " + name + " " + std::to_string(options.size()) + ";";
  }
  VolumeDescription get(const std::string& name) override { throw Error(ErrorCode::kIo, {"outer: why", "why", name}); }
  std::vector<VolumeDescription> list() override { throw std::runtime_error("broken"); }
  Mounted mount(const std::string& name, const std::string& id) override {
    asked += "mount " + name + " " + id + ";";
    return {"/m", is_new};
  }
  void unmount(const std::string& name, const std::string& id) override { asked += "unmount " + name + " " + id + ";"; }
  void remove(const std::string& name) override { asked += "remove " + name + ";"; }

  std::string asked;
  bool is_new = true;
};

PluginAnswer ask(VolumeDriver& driver, std::string_view path, std::string_view body) {
  return answer_plugin_request({.method = "POST", .path = path, .body = body}, driver);
}

TEST(VolumeProtocol, AnAnswerThatNobodyReadsIsUndone) {
  Recorder driver;
  PluginAnswer answer = ask(driver, "/VolumeDriver.Mount", R"({"Name":"x","ID":"1"})");
  EXPECT_EQ(answer.body, R"({"Err":"","Mountpoint":"/m"})");
  ASSERT_TRUE(answer.undo);
  answer.undo();
  EXPECT_EQ(driver.asked, "mount x 1;unmount x 1;");
  driver.is_new = false;
  EXPECT_FALSE(ask(driver, "/VolumeDriver.Mount", R"({"Name":"x"})").undo) << "it was there before";
  EXPECT_FALSE(ask(driver, "/VolumeDriver.Unmount", R"({"Name":"x"})").undo);
}

TEST(VolumeProtocol, ErrorsAreOneLine) {
  Recorder driver;
  const PluginAnswer known = ask(driver, "/VolumeDriver.Get", R"({"Name":"x"})");
  EXPECT_EQ(known.status, 500U);
  EXPECT_EQ(known.body, R"({"Err":"outer: why: x"})");
  const PluginAnswer unknown = ask(driver, "/VolumeDriver.List", "");
  EXPECT_EQ(unknown.status, 500U);
  EXPECT_EQ(unknown.body, R"({"Err":"internal error: broken"})");
}

}  // namespace
}  // namespace pkgfs::test
