// SPDX-License-Identifier: MIT
// Risk: an administrator or a newcomer types a line of README.md, docs/OPERATIONS.md or docs/METRICS.md, and it fails.
#include <gmock/gmock.h>

#include <sstream>

#include <nlohmann/json.hpp>

#include "tests/support/patterns.h"
#include "tests/system/installed.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

/// The indented lines of a page up to the heading `end`; paragraphs of them are one string each.
std::vector<std::string> blocks_of(const std::string& file, const std::string& begin = "",
                                   const std::string& end = "") {
  std::vector<std::string> blocks;
  std::istringstream page(read_text(source_directory() / file));
  bool inside = false;
  bool wanted = begin.empty();
  for (std::string line; std::getline(page, line) && (end.empty() || line != end);) {
    wanted = wanted || line == begin;
    const bool code = wanted && line.starts_with("    ");
    if (code) {
      (inside ? blocks.back() : blocks.emplace_back()) += line.substr(4) + "\n";
    }
    inside = code;
  }
  return blocks;
}

class Manual : public InstalledTest {
 protected:
  void SetUp() override {
    InstalledTest::SetUp();
    for (const char* program : {"curl", "jq", "getfattr", "journalctl", "ip"}) {
      if (!IsSkipped() && !have_program(program)) {
        GTEST_SKIP() << "no " << program;
      }
    }
  }

  /// Runs lines of a page with the sample's package for the names in them, in the page's places, which are this test's
  /// alone: directories, processes, and the network.
  std::string sh_page(std::string lines) {
    own_processes_ = true;
    for (const auto& [name, ours] : std::vector<std::pair<std::string, std::string>>{
             {"python/python@\\^3", "demo/greetings@^1"}, {"acme/app", "demo/greetings"}, {"MOUNTPOINT", "/mnt/x"}}) {
      lines = replace_all(lines, name, ours);
    }
    const std::string script = "set -e\nip link set lo up\ncd /mnt\n" + lines;
    return sh(
        std::string(kForgetOthers) +
        "\nmount -t tmpfs none /mnt\nmount -t tmpfs none /run\nmkdir /mnt/python /mnt/app /mnt/dev /mnt/x /run/pkgfs\n"
        "export HOME=/mnt WASMER_REGISTRY=$R WASMER_CACHE_DIR=/mnt/cache\n"
        "cat >/mnt/lines <<'END-OF-PAGE'\n" +
        script + "END-OF-PAGE\nunshare -n /bin/bash /mnt/lines\n");
  }
};

TEST_F(Manual, OfOperationsDoesWhatItSays) {
  const std::vector<std::string> blocks = blocks_of("docs/OPERATIONS.md");
  ASSERT_EQ(blocks.size(), 8U) << "a block more or less: what it prints belongs below";
  const std::string page = read_text(source_directory() / "docs/OPERATIONS.md");
  const Groups debug = find_groups(page, "`(kill -USR2 [^`]+)`");
  ASSERT_FALSE(debug.empty());
  std::string lines = "pkgfs mount demo/greetings MOUNTPOINT\n";
  for (const std::string& block : blocks) {
    lines += "echo '---'\n" + block;
  }
  const std::string out = sh_page(lines + debug[1] + "\npkgfs stats MOUNTPOINT >/dev/null\nls /mnt/app/usr/share\n");
  EXPECT_THAT(out, HasSubstr("\n0 problems, "));
  EXPECT_THAT(out, HasSubstr("demo/greetings@1.2.0"));
  EXPECT_THAT(out, HasSubstr("p99"));
  EXPECT_THAT(out, HasSubstr("RssAnon:"));
  EXPECT_THAT(out, HasSubstr("\"generation\": 1"));
  EXPECT_THAT(out, HasSubstr(" runs this program already"));
  EXPECT_TRUE(out.ends_with("greetings\n")) << out;
}

TEST_F(Manual, ReadmeDoesWhatItSays) {
  std::string lines =
      "mkdir py pkgs\ncp -r " + (source_directory() / "packaging/sample/hello").string() + " my-package\n";
  int count = 0;
  for (const std::string& block : blocks_of("README.md")) {
    std::istringstream text(block);
    for (std::string line; std::getline(text, line);) {
      // The others are for fstab, docker and other machines, or build and test.
      if (line.starts_with("pkgfs ") && line.find("docker") == std::string::npos &&
          line.find("oci://") == std::string::npos) {
        lines += line + "\n";
        ++count;
      }
    }
  }
  EXPECT_EQ(count, 9) << "a line more or less";
  const std::string out = sh_page(lines +
                                  "echo new >>my-package/app/welcome.txt\ntail -n 1 dev/app/welcome.txt\n"
                                  "ls /mnt/dev/usr/share/greetings /mnt/app/usr/share/greetings\n"
                                  "ls /mnt/pkgs/demo/greetings@1/usr/share/greetings/\npkgfs unmount /mnt/pkgs\n"
                                  "pkgfs unmount /mnt/py\n");
  EXPECT_THAT(out, HasSubstr("new\n"));
  EXPECT_THAT(out, HasSubstr("/mnt/app/usr/share/greetings:\ndefault.txt\n"));
  EXPECT_THAT(out, HasSubstr("/mnt/dev/usr/share/greetings:\ndefault.txt\n"));
}

TEST_F(Manual, OfMetricsDoesWhatItSays) {
  const std::vector<std::string> blocks = blocks_of("docs/METRICS.md", "", "## Rules that have proved useful");
  ASSERT_EQ(blocks.size(), 2U);
  for (const std::string& block : blocks) {
    const std::string out = sh_page(block);
    EXPECT_NE(out.find("\npkgfs_info{package=\"demo/greetings@1.2.0\","), std::string::npos)
        << block << out.substr(0, 200);
  }
}

TEST_F(Manual, HasRulesThatPrometheusTakes) {
  if (!have_program("promtool")) {
    GTEST_SKIP() << "no promtool (package prometheus)";
  }
  const std::vector<std::string> blocks = blocks_of("docs/METRICS.md", "## Rules that have proved useful");
  ASSERT_EQ(blocks.size(), 1U);
  const std::string page = read_text(source_directory() / "docs/METRICS.md");
  std::string rules = "groups:\n- name: pkgfs\n  rules:\n";
  int count = 0;
  std::istringstream lines(blocks.front());
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with('#')) {
      continue;
    }
    rules += "  - {alert: \"A" + std::to_string(++count) + "\", expr: " + nlohmann::json(line).dump() + "}\n";
    for (const Groups& name : find_all_groups(line, "pkgfs_[a-z_]+")) {
      const std::string family = replace_all(name[0], "_bucket$", "");
      EXPECT_THAT(page, HasSubstr("\n| `" + family + "` |")) << line;
    }
  }
  EXPECT_EQ(count, 6);
  const TempDir directory;
  const ProcessResult checked = run({"promtool", "check", "rules", directory.write("rules.yml", rules)});
  EXPECT_TRUE(checked.ok()) << checked.describe();
  EXPECT_THAT(checked.out, HasSubstr("6 rules found"));
}

}  // namespace
}  // namespace pkgfs::test
