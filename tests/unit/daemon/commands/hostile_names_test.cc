// SPDX-License-Identifier: MIT
// Risk: a package speaks in the name of pkgfs, or drives the terminal of its user.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/base/printable.h"
#include "core/base/utf8.h"
#include "daemon/cli/logging.h"
#include "daemon/observe/metrics_text.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/fixtures.h"
#include "tests/unit/daemon/commands/run.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

constexpr std::string_view kForged = "pkgfs: error: disk full";
/// All kinds of hidden characters, and a line of pkgfs.
const std::string kHostile = "x\n" + std::string(kForged) +
                             "\r\n\x1b[2J\x1b]0;t\x07\x7f\u009b1m\u0085\u202e\u2066\u2028\u061c\u200b\u200f\ufeff\t";

/// `text` is what a terminal may get: UTF-8 in lines, none of which is the forged one.
void expect_harmless(const std::string& text) {
  EXPECT_TRUE(is_utf8(text));
  EXPECT_EQ(printable(text, true), text);
  EXPECT_NE(text.substr(0, kForged.size()), kForged);
  EXPECT_EQ(text.find("\n" + std::string(kForged)), std::string::npos) << text;
}

class HostileNames : public ::testing::Test {
 protected:
  TempDir dir_;
  std::string package_ = (dir_.path() / ("p" + kHostile + ".webc")).string();
  std::string registry_ = (dir_.path() / "registry").string();

  void SetUp() override {
    PackageBuilder("acme/dep@1.0.0").file("v", "file", "text").mount("/dep", "v").publish(registry_);
    PackageBuilder("acme/" + kHostile + "@1.0.0")
        .file("v", "dir/" + kHostile, "text")
        .link("v", "link" + kHostile, kHostile)
        .link("v", "out", "../../../" + kHostile)
        .file(kHostile, "file", "text")
        .mount("/m" + kHostile, "v")
        .mount("/n", kHostile)
        .mount("/dep2", "v", "alias" + kHostile)
        .use("alias" + kHostile, "acme/dep")
        .command(kHostile, "atom")
        .write(package_);
    fs::create_directories(dir_.path() / "target");
  }
  void expect_harmless_run(std::vector<std::string> arguments) const {
    SCOPED_TRACE(::testing::PrintToString(arguments));
    const bool cat = arguments.front() == "cat";
    arguments.insert(arguments.begin() + 1, {"--log-level=debug", "--registry", registry_});
    const test::Run result = test::run(arguments);
    if (!cat) {
      expect_harmless(result.out);
    }
    expect_harmless(result.err);
  }
};

TEST_F(HostileNames, NoCommandPrintsThemAsTheyAre) {
  const test::Run tree = test::run({"tree", "--registry", registry_, package_});
  ASSERT_EQ(tree.code, 0) << tree.err;
  ASSERT_THAT(tree.out, HasSubstr("x\\x0apkgfs: error: disk full"));
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"tree", package_},
           {"tree", "--json", package_},
           {"tree", "--view=package", package_},
           {"tree", "--strict", package_},
           {"tree", "--conflicts=error", package_},
           {"tree", "--lock", dir_.path().string(), package_},
           {"ls", package_},
           {"ls", "-l", package_, "/m" + kHostile},
           {"ls", package_, "/none" + kHostile},
           {"ls", package_, "/bin"},
           {"ls", package_ + "none"},
           {"cat", package_, "/none" + kHostile},
           {"inspect", package_},
           {"inspect", "--json", package_},
           {"inspect", "--commands", package_},
           {"inspect", "--commands", "--json", package_},
           {"verify", package_},
           {"verify", "--json", package_},
           {"resolve", package_},
           {"resolve", "--json", package_},
           {"resolve", "--dot", package_},
           {"resolve", "--lock", (dir_.path() / "lock").string(), package_},
           {"tree", "--lock", (dir_.path() / "lock").string(), package_},
           {"tree", "--lock", (dir_.path() / "lock").string(), "acme/other" + kHostile},
           {"pull", package_},
           {"pull", "--json", package_},
           {"pull", "--json", package_ + "none"},
           {"extract", package_, (dir_.path() / "target" / kHostile / "none").string()},
           {"extract", package_, (dir_.path() / "target" / kHostile).string()},
           {"config", "--cache-dir", kHostile},
           {"mount", "-o", "word" + kHostile, package_, dir_.path().string()},
           {kHostile},
           {"help", kHostile},
           {"tree", "--" + kHostile},
           {"tree", "acme/" + kHostile}}) {
    if (arguments.front() == kHostile || arguments.front() == "help") {
      const test::Run result = test::run(arguments);
      expect_harmless(result.out);
      expect_harmless(result.err);
    } else {
      expect_harmless_run(arguments);
    }
  }
}

TEST_F(HostileNames, NoManifestPrintsThemAsTheyAre) {
  std::string escaped;  // as TOML writes it
  for (const char c : kHostile) {
    const auto byte = static_cast<unsigned char>(c);
    constexpr std::string_view kDigits = "0123456789abcdef";
    if (byte < 0x20 || byte == 0x7f) {
      escaped += std::string("\\u00") + kDigits[byte >> 4U] + kDigits[byte & 15U];
    } else {
      escaped += c;
    }
  }
  const std::string name = "\"" + escaped + "\"";
  for (const std::string& text :
       {"[package]\nname = " + name + "\n", "[package]\nversion = " + name + "\n",
        "[fs]\n" + name + " = " + name + "\n", "[[module]]\nname = " + name + "\nsource = " + name + "\n",
        "[[command]]\nname = " + name + "\nmodule = " + name + "\n", "[dependencies]\n" + name + " = " + name + "\n",
        "[" + name + "]\nx = 1\n[" + name + "]\n", "[package]\nx = " + escaped + "\n"}) {
    dir_.write("d/wasmer.toml", text);
    for (const char* command : {"tree", "inspect", "verify"}) {
      expect_harmless_run({command, (dir_.path() / "d").string()});
    }
  }
}

// The journal and syslog have one line for each message.
TEST_F(HostileNames, AMessageForTheJournalIsOneLine) {
  std::ostringstream err;
  const Io io{
      .out = &err, .err = &err, .environment = [](const char*) { return std::nullopt; }, .err_is_journal = true};
  {
    const LogSession session(io);
    log::warn("the command \"{}\" isn't shown: {}", kHostile, Error(ErrorCode::kIo, kHostile).context(kHostile));
  }
  err << error_lines(io, Error(ErrorCode::kIo, {kHostile, kHostile}));
  expect_harmless(err.str());
  EXPECT_EQ(std::ranges::count(err.str(), '\n'), 2);
}

TEST_F(HostileNames, ALabelOfAMetricIsPrintable) {
  MountFacts facts;
  facts.package = kHostile;
  facts.mountpoint = kHostile;
  const std::string text = metrics_text(facts, {}, {});
  expect_harmless(text);
  EXPECT_THAT(text, HasSubstr(R"(package="x\\x0apkgfs: error: disk full)"));
}

}  // namespace
}  // namespace pkgfs::test
