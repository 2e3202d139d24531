// SPDX-License-Identifier: MIT
// Risk: an engine gets an answer that it doesn't understand, or bad input costs more than an error of its own.
#include <atomic>
#include <memory>
#include <thread>

#include "tests/containers/plugin.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

class PluginProtocol : public PluginTest {
 protected:
  void SetUp() override {
    PluginTest::SetUp();
    if (!IsSkipped()) {
      ASSERT_TRUE(plugin_.start()) << plugin_.process().err();
    }
  }
  /// Everything is as it was: it answers, knows no volume, has mounted nothing.
  void expect_untouched() {
    const Reply list = plugin_.call("List");
    EXPECT_EQ(list.status, 200) << list.describe();
    EXPECT_EQ(list.json()["Volumes"], Json::array()) << list.body;
    EXPECT_TRUE(fs::is_empty(plugin_.mounts()));
  }

  Plugin plugin_{environment(), {"--keep=1"}};
};

TEST_F(PluginProtocol, AVolumeLivesAsTheEnginesExpect) {
  const Reply activated = plugin_.call("Plugin.Activate");
  EXPECT_EQ(activated.body, "{\"Implements\":[\"VolumeDriver\"]}\n");
  EXPECT_EQ(activated.header("content-type"), "application/vnd.docker.plugins.v1.1+json");
  EXPECT_EQ(plugin_.call("Capabilities").body, "{\"Capabilities\":{\"Scope\":\"local\"}}\n");
  EXPECT_EQ(plugin_.error("Get", {{"Name", "x"}}), "no such volume: x");
  EXPECT_EQ(plugin_.call("List").json(), Json::parse(R"({"Err":"","Volumes":[]})"));

  EXPECT_EQ(plugin_.create("x", local("acme/app")), "");
  ASSERT_TRUE(plugin_.reaches_state("x", "ready")) << plugin_.process().err();
  Json volume = plugin_.call("Get", {{"Name", "x"}}).json()["Volume"];
  EXPECT_EQ(volume["Name"], "x");
  EXPECT_EQ(volume["Mountpoint"], "");
  EXPECT_EQ(volume["Status"]["resolved"], "acme/app@2.0.0");
  EXPECT_EQ(volume["CreatedAt"].get<std::string>().size(), std::string("2026-01-01T00:00:00Z").size());
  EXPECT_FALSE(plugin_.is_mounted("x")) << "nobody asked for that";

  const Reply mounted = plugin_.call("Mount", {{"Name", "x"}, {"ID", "a"}});
  ASSERT_EQ(mounted.status, 200) << mounted.describe();
  EXPECT_EQ(mounted.json()["Mountpoint"], plugin_.mountpoint("x").string());
  EXPECT_EQ(mounted.json()["Err"], "");
  MountedPackage other(kPkgfs, "acme/app", {"--registry", registry("chain-v3")});
  ASSERT_TRUE(other.ok());
  EXPECT_EQ(difference(list_tree(other.path()), list_tree(plugin_.mountpoint("x"))), "");
  EXPECT_EQ(plugin_.call("Path", {{"Name", "x"}}).json()["Mountpoint"], plugin_.mountpoint("x").string());
  EXPECT_EQ(plugin_.call("List").json()["Volumes"][0]["Mountpoint"], plugin_.mountpoint("x").string());

  EXPECT_EQ(plugin_.unmount("x", "a"), "");
  EXPECT_EQ(plugin_.unmount("x", "a"), "") << "again changes nothing";
  EXPECT_TRUE(plugin_.is_mounted("x")) << "for a moment";
  EXPECT_TRUE(eventually([&] { return !plugin_.is_mounted("x"); }));
  EXPECT_EQ(plugin_.remove("x"), "");
  EXPECT_EQ(plugin_.remove("x"), "no such volume: x");
  expect_untouched();
  EXPECT_TRUE(fs::is_empty(plugin_.state() / "packages"));
}

TEST_F(PluginProtocol, EveryUserOfAVolumeCounts) {
  ASSERT_EQ(plugin_.create("x", local("acme/app")), "");
  ASSERT_EQ(plugin_.create("x", local("acme/app")), "") << "the same again is fine";
  EXPECT_EQ(plugin_.create("x", local("acme/lib")), "volume \"x\" exists with other options");
  ASSERT_EQ(plugin_.mount("x", "one"), "");
  ASSERT_EQ(plugin_.mount("x", "two"), "");
  ASSERT_EQ(plugin_.mount("x", "two"), "") << "podman's id is always the same";
  EXPECT_EQ(plugin_.status("x")["users"], 2);
  EXPECT_EQ(processes_with(plugin_.mountpoint("x")).size(), 1U) << "one mount for all";
  ASSERT_EQ(plugin_.unmount("x", "one"), "");
  sleep_ms(1500);
  EXPECT_TRUE(plugin_.is_mounted("x")) << "\"two\" uses it";
  ASSERT_EQ(plugin_.unmount("x", "two"), "");
  EXPECT_TRUE(eventually([&] { return !plugin_.is_mounted("x") && !fs::exists(plugin_.mountpoint("x")); }));
}

TEST_F(PluginProtocol, AUsedVolumeCanBeRemoved) {
  ASSERT_EQ(plugin_.create("x", local("acme/app")), "");
  ASSERT_EQ(plugin_.mount("x"), "");
  Process user({"sleep", "30"}, {.directory = plugin_.mountpoint("x")});
  sleep_ms(100);
  EXPECT_EQ(plugin_.remove("x"), "");
  expect_untouched();
}

TEST_F(PluginProtocol, RequestsAreUnderstoodAsDockerSendsThem) {
  const RawClient client(plugin_.socket());
  const std::string body = "{\"Name\":\"x\"}\n";
  for (int round = 0; round < 2; ++round) {  // on one connection
    ASSERT_TRUE(client.send(
        "POST /VolumeDriver.Get HTTP/1.1\r\nHost: \r\nUser-Agent: Go-http-client/1.1\r\n"
        "Content-Length: " +
        std::to_string(body.size()) + "\r\nAccept: application/vnd.docker.plugins.v1.2+json\r\n\r\n" + body));
    const std::string answer = client.read(seconds(5), "no such volume: x");
    EXPECT_NE(answer.find("no such volume: x"), std::string::npos) << answer;
  }
  ASSERT_TRUE(client.send("POST /Plugin.Activate HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n"));
  EXPECT_NE(client.read(seconds(5), "VolumeDriver").find("\"VolumeDriver\""), std::string::npos);
  const RawClient chunked(plugin_.socket());
  ASSERT_TRUE(
      chunked.send("POST /VolumeDriver.Get HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "3\r\n{\"N\r\na\r\name\":\"xx\"}\r\n0\r\n\r\n"));
  EXPECT_NE(chunked.read(seconds(5), "no such").find("no such volume: xx"), std::string::npos);
}

TEST_F(PluginProtocol, NonsenseIsNamed) {
  struct Case {
    const char* path;
    std::string body;
    int status;
    const char* says;
  };
  const std::string name = R"({"Name":)";
  const std::vector<Case> cases{
      {"VolumeDriver.Create", "{", 400, "isn't JSON"},
      {"VolumeDriver.Create", "[]", 400, "isn't a JSON object"},
      {"VolumeDriver.Create", std::string(30000, '['), 400, "isn't JSON"},
      {"VolumeDriver.Create", "\xff\xfe", 400, "isn't JSON"},
      {"VolumeDriver.Create", "{}", 400, "has no \"Name\""},
      {"VolumeDriver.Create", name + "7}", 400, "\"Name\" in the request isn't a string"},
      {"VolumeDriver.Create", name + R"("x","Opts":[1]})", 400, "\"Opts\" in the request isn't an object"},
      {"VolumeDriver.Create", name + R"("x","Opts":{"package":7}})", 400, "the value of the option 'package'"},
      {"VolumeDriver.Create", name + R"("x","Opts":null})", 500, "option 'package' is missing"},
      {"VolumeDriver.Create", name + R"("../x","Opts":{"package":"acme/app"}})", 500, "can't be a volume's name"},
      {"VolumeDriver.Create", name + R"("","Opts":{"package":"acme/app"}})", 500, "can't be a volume's name"},
      {"VolumeDriver.Mount", name + R"("x","ID":{}})", 400, "\"ID\" in the request isn't a string"},
      {"VolumeDriver.Mount", name + R"("x","ID":"1"})", 500, "no such volume: x"},
      {"VolumeDriver.Unmount", name + R"("x","ID":"1"})", 500, "no such volume: x"},
      {"VolumeDriver.Path", name + R"("x"})", 500, "no such volume: x"},
      {"VolumeDriver.Dance", "{}", 404, "/VolumeDriver.Dance"},
      {"", "{}", 404, "doesn't know the request"},
  };
  for (const Case& bad : cases) {
    const Reply reply =
        curl({"--unix-socket", plugin_.socket(), "--data-binary", bad.body, std::string("http://plugin/") + bad.path});
    EXPECT_EQ(reply.status, bad.status) << bad.path << " " << bad.body.substr(0, 80) << ": " << reply.describe();
    EXPECT_NE(reply.json().value("Err", "").find(bad.says), std::string::npos) << bad.body << ": " << reply.body;
  }
  const Reply get = curl({"--unix-socket", plugin_.socket(), "http://plugin/VolumeDriver.List"});
  EXPECT_EQ(get.status, 405) << get.describe();
  EXPECT_NE(get.json().value("Err", "").find("must be a POST"), std::string::npos);
  const RawClient garbage(plugin_.socket());
  ASSERT_TRUE(garbage.send("\x16\x03\x01 hello\r\n\r\n"));
  EXPECT_NE(garbage.read(seconds(5)).find("isn't HTTP"), std::string::npos);
  expect_untouched();
}

TEST_F(PluginProtocol, WrongOptionsAreNamed) {
  const std::vector<std::pair<Json, const char*>> cases{
      {{{"pakage", "acme/app"}}, "unknown mount option 'pakage'"},
      {{{"package", "acme/app"}, {"registri", "wasmer.io"}}, "did you mean 'registry'?"},
      {{{"package", "acme/app"}, {"conflicts", "maybe"}}, "\"maybe\" isn't merge, shadow or error"},
      {{{"package", "acme/app"}, {"uid", ""}}, "'uid' needs a value"},
      {{{"package", "acme/app"}, {"strict", "perhaps"}}, "\"perhaps\" isn't true or false"},
      {{{"package", "acme/app"}, {"rw", ""}}, "always mounted read-only"},
      {{{"package", "acme/app"}, {"o", "ro,frobnicate=1"}}, "unknown mount option 'frobnicate'"},
      {{{"package", "acme/app"}, {"a,b", "c"}}, "unknown option 'a,b'"},
      {{{"package", "acme/app"}, {"debug", ""}}, "option 'debug' can't be used for a volume"},
      {{{"package", "acme/app"}, {"engine", "erofs"}}, "option 'engine': a volume needs a daemon"},
      {{{"package", "acme/app"}, {"registry", "./here"}}, "'registry': \"./here\" must be an absolute path"},
      {{{"package", "acme/app"}, {"lock", "app.lock"}}, "'lock': \"app.lock\" must be an absolute path"},
      {{{"package", "./app"}}, "'package': \"./app\" must be an absolute path"},
      {{{"package", "/absent/app.webc"}}, "there is no file or directory \"/absent/app.webc\""},
      {{{"package", "!"}}, "package '!'"},
      {{{"package", "-o"}}, "option 'package': \"-o\""},
      {Json::object(), "option 'package' is missing"},
  };
  for (const auto& [options, says] : cases) {
    const std::string error = plugin_.create("x", options);
    EXPECT_NE(error.find(says), std::string::npos) << options.dump() << ": " << error;
    EXPECT_EQ(error.find('\n'), std::string::npos) << "engines show it in a line";
  }
  // What only the registry knows is an error of Create as well, when the registry is quick.
  EXPECT_NE(plugin_.create("x", local("acme/absent")).find("acme/absent"), std::string::npos);
  EXPECT_NE(plugin_.create("x", local("acme/app@^77")).find("acme/app"), std::string::npos);
  EXPECT_NE(plugin_.create("x", {{"package", fixtures() / "bad/v2-index-garbage.webc"}}).find("v2-index-garbage"),
            std::string::npos);
  expect_untouched();
}

TEST_F(PluginProtocol, OptionsReachTheMount) {
  TempDir directory;
  fs::create_directories(directory.path() / "a,b");
  const fs::path package = directory.path() / "a,b/p.webc";
  fs::copy_file(single("basic-v3"), package);
  const Json options{{"package", package}, {"no-commands", "1"},   {"uid", "77"},
                     {"noexec", ""},       {"o", "ro,fmask=0222"}, {"strict", "no"}};
  ASSERT_EQ(plugin_.create("x", options), "");
  ASSERT_EQ(plugin_.mount("x"), "");
  EXPECT_FALSE(fs::exists(plugin_.mountpoint("x") / "bin"));
  EXPECT_TRUE(find_mount(plugin_.mountpoint("x"))->has("noexec"));
  EXPECT_EQ(shell("stat -c %u " + plugin_.mountpoint("x").string()).out, "77\n");
}

TEST_F(PluginProtocol, AnEndlessBodyIsRefused) {
  TempDir directory;
  const fs::path big = directory.write("big", std::string(1'000'000, 'x'));
  for (const Arguments& how :
       {Arguments{}, Arguments{"-H", "Transfer-Encoding: chunked"}, Arguments{"-H", "Expect:"}}) {
    Arguments arguments{"--unix-socket", plugin_.socket(), "--data-binary", "@" + big.string(),
                        "http://plugin/VolumeDriver.Create"};
    arguments.insert(arguments.end(), how.begin(), how.end());
    const Reply reply = curl(arguments);
    EXPECT_EQ(reply.status, 413) << reply.describe();
    EXPECT_NE(reply.body.find("more than 65536 bytes"), std::string::npos) << reply.body;
  }
  const RawClient header(plugin_.socket());
  static_cast<void>(header.send("POST / HTTP/1.1\r\nX: " + std::string(100'000, 'y')));
  EXPECT_NE(header.read(seconds(5)).find(" 400 "), std::string::npos);
  expect_untouched();
}

TEST_F(PluginProtocol, ClientsThatLeaveOrStallHarmNobody) {
  std::vector<std::unique_ptr<RawClient>> stalled;
  for (int i = 0; i < 50; ++i) {
    stalled.push_back(std::make_unique<RawClient>(plugin_.socket()));
    ASSERT_TRUE(stalled.back()->send("POST /VolumeDriver.List HTTP/1.1\r\nContent-Length: 2\r\n\r\n{"));
  }
  for (int i = 0; i < 100; ++i) {  // podman leaves like this
    const RawClient client(plugin_.socket());
    ASSERT_TRUE(client.send("POST /Plugin.Activate HTTP/1.1\r\nHost: plugin\r\nContent-Length: 0\r\n\r\n"));
  }
  expect_untouched();
  EXPECT_TRUE(stalled.front()->is_closed_within(seconds(8))) << "it never finishes its request";
  expect_untouched();
}

TEST_F(PluginProtocol, ManyAtATime) {
  ASSERT_EQ(plugin_.create("x", local("acme/app")), "");
  std::vector<std::thread> engines;
  std::atomic<int> failed = 0;
  for (int i = 0; i < 6; ++i) {
    engines.emplace_back([&, i] {
      const std::string own = "own" + std::to_string(i);
      const std::string id = std::to_string(i);
      for (int round = 0; round < 3; ++round) {
        failed += plugin_.create(own, local("acme/lib")).empty() ? 0 : 1;
        failed += plugin_.mount(own, id).empty() ? 0 : 1;
        failed += plugin_.mount("x", id).empty() ? 0 : 1;
        failed += fs::is_empty(plugin_.mountpoint("x")) || fs::is_empty(plugin_.mountpoint(own)) ? 1 : 0;
        failed += plugin_.unmount(own, id).empty() ? 0 : 1;
        failed += plugin_.unmount("x", id).empty() ? 0 : 1;
        failed += plugin_.remove(own).empty() ? 0 : 1;
      }
    });
  }
  for (std::thread& engine : engines) {
    engine.join();
  }
  EXPECT_EQ(failed, 0) << plugin_.process().err();
  EXPECT_EQ(plugin_.remove("x"), "");
  expect_untouched();
}

}  // namespace
}  // namespace pkgfs::test
