// SPDX-License-Identifier: MIT
// Risk: docs/METRICS.md or the dashboard names a metric that no program serves, so that a graph stays empty.
#include <fstream>
#include <set>
#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/csi/driver.h"
#include "tests/support/patterns.h"

namespace pkgfs::test {
namespace {

using nlohmann::json;

/// The meaning of each metric in a part of docs/METRICS.md, by its name.
std::map<std::string, std::string> documented(const std::string& page) {
  std::map<std::string, std::string> found;
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (const Groups row = match_groups(line, R"(\| `([a-z_]+)` \|.*\| ([^|]*) \|)"); !row.empty()) {
      found[row[1]] = row[2];
    }
  }
  return found;
}

std::string metrics_page() { return read_text(source_directory() / "docs/METRICS.md"); }

class CsiMetrics : public DriverTest {};

TEST_F(CsiMetrics, AreThoseThatAreDocumented) {
  const TempDir place;
  const std::string socket = place.path() / "metrics";
  Arguments options = with_fixtures();
  options.push_back("--metrics=unix:" + socket);
  Driver driver(environment(), options);
  ASSERT_TRUE(driver.start()) << driver.process().err();
  ASSERT_TRUE(driver.publish("a", local("acme/app")).ok());
  EXPECT_FALSE(driver.publish("b", local("acme/none")).ok());
  const ProcessResult scraped = run({"curl", "-sSf", "--unix-socket", socket, "http://pkgfs/metrics"});
  ASSERT_TRUE(scraped.ok()) << scraped.describe();
  std::map<std::string, std::string> served;
  for (const Groups& help : find_all_groups(scraped.out, R"(# HELP ([a-z_]+) ([^\n]*))")) {
    served[help[1]] = help[2];
  }
  const std::string page = metrics_page();
  EXPECT_EQ(served, documented(page.substr(page.find("\n## The driver for Kubernetes"))));
  for (const char* sample : {"\npkgfs_csi_mounts 1\n", "\npkgfs_csi_volumes 1\n",
                             "\npkgfs_csi_calls_total{call=\"NodePublishVolume\",status=\"0\"} 1\n",
                             "\npkgfs_csi_calls_total{call=\"NodePublishVolume\",status=\"5\"} 1\n"}) {
    EXPECT_NE(scraped.out.find(sample), std::string::npos) << sample << scraped.out;
  }
}

TEST(Dashboard, ShowsOnlyMetricsThatAreDocumented) {
  const std::string text = read_text(source_directory() / "packaging/kubernetes/monitoring/dashboard.json");
  const std::map<std::string, std::string> known = documented(metrics_page());
  std::string rules = "groups:\n- name: pkgfs\n  rules:\n";
  int expressions = 0;
  const json dashboard = json::parse(text);
  for (const json& panel : dashboard["panels"]) {
    for (const json& target : panel.value("targets", json::array())) {
      std::string expression = target["expr"];
      for (const Groups& name : find_all_groups(expression, "(pkgfs|process)_[a-z_]+")) {
        const std::string family = replace_all(name[0], "_bucket$", "");
        EXPECT_TRUE(known.contains(name[0]) || known.contains(family)) << name[0] << " in " << panel["title"];
      }
      expression = replace_all(expression, R"(\$__rate_interval)", "5m");
      rules += "  - {record: \"pkgfs:" + std::to_string(++expressions) + "\", expr: " + json(expression).dump() + "}\n";
    }
  }
  EXPECT_GT(expressions, 15);
  for (const auto& [name, meaning] : known) {
    if (name.starts_with("pkgfs_csi_")) {
      EXPECT_NE(text.find(name), std::string::npos) << name << " is in no graph";
    }
  }
  if (!have_program("promtool")) {
    GTEST_SKIP() << "no promtool (package prometheus)";
  }
  const TempDir directory;
  const ProcessResult checked = run({"promtool", "check", "rules", directory.write("rules.yml", rules)});
  EXPECT_TRUE(checked.ok()) << checked.describe();
}

}  // namespace
}  // namespace pkgfs::test
