// SPDX-License-Identifier: MIT
// Risk: `pkgfs stats` and monitoring read something else than what the mount counted.
#include "daemon/observe/stats_json.h"

#include <gtest/gtest.h>

#include <cerrno>

#include <nlohmann/json.hpp>

namespace pkgfs {
namespace {

using nlohmann::json;

TEST(StatsJson, HasCountsAndFacts) {
  fuse::Statistics statistics;
  for (const int error : {0, ENOENT, EIO, EISDIR, ELOOP}) {
    fuse::Statistics::Measure(statistics, fuse::Request::kOpen).failed(error);
  }
  const MountFacts facts{.package = "acme/app@1.0.0",
                         .packages = {"acme/app@1.0.0", "acme/lib@2.0.0"},
                         .mountpoint = "/mnt/\"odd\"",
                         .metrics = {},
                         .pid = 7,
                         .since = 9};
  const json stats = json::parse(stats_json(facts, statistics.snapshot(), {}));
  EXPECT_EQ(stats.at("errors"), json::parse(R"({"open":{"EIO":1,"other":2}})"));
  EXPECT_EQ(stats.at("requests").at("open"), 5);
  EXPECT_EQ(stats.at("requests").size(), fuse::kRequests) << "all of them, also those that never came";
  EXPECT_EQ(stats.at("latency_ns").at("open").at("count"), 5);
  EXPECT_FALSE(stats.at("latency_ns").contains("read"));
  EXPECT_EQ(stats.at("package"), "acme/app@1.0.0");
  EXPECT_EQ(stats.at("packages"), json::parse(R"(["acme/app@1.0.0","acme/lib@2.0.0"])"));
  EXPECT_EQ(stats.at("mountpoint"), "/mnt/\"odd\"");
  EXPECT_EQ(stats.at("pid"), 7);
  EXPECT_EQ(stats.at("since"), 9);
  EXPECT_FALSE(stats.contains("metrics"));
  EXPECT_FALSE(stats.contains("packages_total"));
  EXPECT_FALSE(stats.contains("lazy"));
}

TEST(StatsJson, SaysHowFarLazyContainersAre) {
  using State = LazyState::State;
  LazyState lazy;
  lazy.containers = {
      {.package = "acme/whole@1.0.0", .state = State::kWhole, .bytes = 100, .local = 100, .problem = {}},
      {.package = "acme/lazy@1.0.0", .state = State::kLazy, .bytes = 200, .local = 50, .problem = "down"}};
  lazy.reads = 7;
  lazy.waiting = 2;
  lazy.waits.count = 5;
  lazy.waits.total = 100;
  const json said = json::parse(stats_json({}, {}, lazy)).at("lazy");
  EXPECT_EQ(said.at("state"), "lazy");
  EXPECT_EQ(said.at("bytes"), 300);
  EXPECT_EQ(said.at("local"), 150);
  EXPECT_EQ(said.at("percent"), 50);
  EXPECT_EQ(said.at("problem"), "down");
  EXPECT_EQ(said.at("reads"), 7);
  EXPECT_EQ(said.at("waiting"), 2);
  EXPECT_EQ(said.at("wait_ns").at("count"), 5);
  EXPECT_EQ(said.at("wait_ns").at("sum"), 100);
  EXPECT_FALSE(said.at("containers").at(0).contains("problem"));
  EXPECT_EQ(said.at("containers").at(1).at("problem"), "down");

  lazy.containers[1].state = State::kWhole;
  EXPECT_EQ(json::parse(stats_json({}, {}, lazy)).at("lazy").at("state"), "whole");
  lazy.containers[0].state = State::kTampered;
  EXPECT_EQ(json::parse(stats_json({}, {}, lazy)).at("lazy").at("state"), "tampered");
}

TEST(StatsJson, FitsIntoAnAttributeHoweverManyPackagesThereAre) {
  MountFacts facts;
  facts.packages.assign(5000, "some-namespace/some-package@1.2.3");
  facts.metrics = "/run/m.sock";
  LazyState lazy;
  lazy.containers.assign(5000, {.package = facts.packages.front(), .problem = std::string(5000, '"')});
  const std::string text = stats_json(facts, fuse::Statistics().snapshot(), lazy);
  EXPECT_LT(text.size(), 64U << 10U);
  const json stats = json::parse(text);
  EXPECT_EQ(stats.at("packages_total"), 5000);
  EXPECT_GT(stats.at("packages").size(), 100U);
  EXPECT_EQ(stats.at("metrics"), "/run/m.sock");
}

}  // namespace
}  // namespace pkgfs
