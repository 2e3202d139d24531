// SPDX-License-Identifier: MIT
#include "daemon/cli/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class SettingsTest : public ::testing::Test {
 protected:
  SettingsTest() { variables_["WASMER_DIR"] = home_.path(); }

  Settings load() {
    return load_settings(flags_, [this](const char* name) -> std::optional<std::string> {
      const auto found = variables_.find(name);
      return found == variables_.end() ? std::nullopt : std::optional(found->second);
    });
  }
  static std::string origin(const Settings& settings, const std::string& name) {
    for (const Settings::Row& row : settings.rows) {
      if (row.name == name) {
        return row.origin;
      }
    }
    return "(missing)";
  }
  static std::vector<std::string> endpoints(const Settings& settings) {
    std::vector<std::string> all;
    for (const RemoteRegistry& registry : settings.registries) {
      all.push_back(registry.endpoint);
    }
    return all;
  }

  TempDir home_;
  NetworkFlags flags_;
  std::map<std::string, std::string> variables_;
};

TEST_F(SettingsTest, DefaultsAreWasmers) {
  const Settings settings = load();
  EXPECT_THAT(endpoints(settings), ElementsAre("https://registry.wasmer.io/graphql"));
  EXPECT_THAT(settings.directories, IsEmpty());
  EXPECT_EQ(settings.cache_dir, (home_.path() / "cache").string());
  EXPECT_EQ(origin(settings, "registry"), "default");
  EXPECT_EQ(origin(settings, "cache-dir"), "WASMER_DIR");
}

TEST_F(SettingsTest, CommandLineGoesBeforeEnvironmentBeforeFile) {
  home_.write("wasmer.toml", "[registry]\nactive_registry = \"https://file.example/graphql\"\n");
  EXPECT_THAT(endpoints(load()), ElementsAre("https://file.example/graphql"));
  EXPECT_EQ(origin(load(), "registry"), (home_.path() / "wasmer.toml").string());
  variables_["WASMER_REGISTRY"] = "env.example";
  EXPECT_THAT(endpoints(load()), ElementsAre("https://registry.env.example/graphql"));
  flags_.registries = {"https://flag.example"};
  EXPECT_THAT(endpoints(load()), ElementsAre("https://flag.example/graphql"));
  EXPECT_EQ(origin(load(), "registry"), "--registry");
}

TEST_F(SettingsTest, RegistriesAreDirectoriesOrNot) {
  flags_.registries = {home_.path(), "./missing",   "a/b",          "word",
                       "wasmer.io",  "localhost:1", "notlocalhost", "localhost"};
  const Settings settings = load();
  EXPECT_THAT(settings.directories, ElementsAre(home_.path(), "./missing", "a/b", "word", "notlocalhost"));
  EXPECT_THAT(endpoints(settings), ElementsAre("https://registry.wasmer.io/graphql", "http://localhost:1/graphql",
                                               "http://localhost/graphql"));
}

TEST_F(SettingsTest, TokensGoWhereTheyBelong) {
  home_.write("wasmer.toml",
              "[[registry.tokens]]\nregistry = \"https://one.example/graphql\"\ntoken = \"old\"\n"
              "[[registry.tokens]]\nregistry = \"https://one.example/graphql\"\ntoken = \"one\"\n"
              "[[registry.tokens]]\nregistry = \"two.example\"\ntoken = \"two\"\n");
  flags_.registries = {"https://one.example/graphql", "two.example", "https://three.example"};
  Settings settings = load();
  EXPECT_EQ(settings.registries[0].token, "one");
  EXPECT_EQ(settings.registries[1].token, "two");
  EXPECT_EQ(settings.registries[2].token, std::nullopt);
  variables_["WASMER_TOKEN"] = "env";
  EXPECT_EQ(load().registries[0].token, "env");
  EXPECT_EQ(load().registries[1].token, "two") << "another registry must not see it";
  flags_.token = "flag";
  EXPECT_EQ(load().registries[0].token, "flag");
  for (const Settings::Row& row : load().rows) {
    EXPECT_TRUE(row.name != "token" || row.value.starts_with('(')) << "secrets aren't shown";
  }
}

TEST_F(SettingsTest, BrokenFileIsAWarning) {
  home_.write("wasmer.toml", "[registry\n");
  const CapturedLog log;
  EXPECT_THAT(endpoints(load()), ElementsAre("https://registry.wasmer.io/graphql"));
  EXPECT_THAT(log.text(), HasSubstr("is ignored"));
}

TEST_F(SettingsTest, WrongValuesNameTheirOrigin) {
  variables_["WASMER_WEBC_VERSION"] = "4";
  EXPECT_THROW(
      {
        try {
          static_cast<void>(load());
        } catch (const Error& error) {
          EXPECT_EQ(error.message(), "WASMER_WEBC_VERSION: unknown webc version: '4'");
          throw;
        }
      },
      Error);
  variables_["WASMER_WEBC_VERSION"] = "2";
  EXPECT_EQ(load().prefer, graphql::Prefer::kV2);
  variables_["WASMER_REGISTRY"] = "ftp://x";
  EXPECT_THROW(static_cast<void>(load()), Error);
}

TEST_F(SettingsTest, PasswordOfTheProxyIsNotShown) {
  for (const auto& [proxy, shown] : std::map<std::string, std::string>{{"http://u:hunter2@p:1", "http://u:***@p:1"},
                                                                       {"u:hun@ter2@p:1", "u:***@p:1"},
                                                                       {"http://p:1", "http://p:1"}}) {
    home_.write("wasmer.toml", "[proxy]\nurl = \"" + proxy + "\"\n");
    const Settings settings = load();
    EXPECT_EQ(settings.proxy, proxy);
    for (const Settings::Row& row : settings.rows) {
      EXPECT_TRUE(row.name != "proxy" || row.value == shown) << row.value;
    }
  }
}

TEST_F(SettingsTest, TimeoutIsAWholeNumberOfSeconds) {
  EXPECT_EQ(parse_options(CommandId::kConfig, {"--timeout=5"}, 0, 0).tree.network.timeout, 5U);
  for (const char* wrong : {"0", "abc", "-1", "1.5", "", "99999999999"}) {
    try {
      static_cast<void>(parse_options(CommandId::kConfig, {std::string("--timeout=") + wrong}, 0, 0));
      ADD_FAILURE() << wrong;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage);
      EXPECT_TRUE(*wrong == '\0' || std::string(error.what()).find("number of seconds") != std::string::npos)
          << error.what();
    }
  }
}

TEST_F(SettingsTest, EmptyVariablesAreUnset) {
  variables_["WASMER_REGISTRY"] = "";
  variables_["WASMER_CACHE_DIR"] = "";
  EXPECT_THAT(endpoints(load()), ElementsAre("https://registry.wasmer.io/graphql"));
  EXPECT_EQ(load().cache_dir, (home_.path() / "cache").string());
}

}  // namespace
}  // namespace pkgfs::test
