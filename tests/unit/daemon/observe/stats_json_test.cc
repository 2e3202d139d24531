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
  const json stats = json::parse(stats_json(facts, statistics.snapshot()));
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
}

TEST(StatsJson, FitsIntoAnAttributeHoweverManyPackagesThereAre) {
  MountFacts facts;
  facts.packages.assign(5000, "some-namespace/some-package@1.2.3");
  facts.metrics = "/run/m.sock";
  const std::string text = stats_json(facts, fuse::Statistics().snapshot());
  EXPECT_LT(text.size(), 64U << 10U);
  const json stats = json::parse(text);
  EXPECT_EQ(stats.at("packages_total"), 5000);
  EXPECT_GT(stats.at("packages").size(), 100U);
  EXPECT_EQ(stats.at("metrics"), "/run/m.sock");
}

}  // namespace
}  // namespace pkgfs
