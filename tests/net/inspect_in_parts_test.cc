// SPDX-License-Identifier: MIT
// Risk: `inspect` of a package at a server downloads all of it, or shows hashes as checked that nothing has checked.
#include <nlohmann/json.hpp>

#include "tests/net/lazy_url.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class InspectInParts : public LazyUrl {
 protected:
  static constexpr std::uint64_t kFew = 300'000;  // bytes

  /// Serves a package with another volume of 10,000 files.
  void serve_many() {
    PackageBuilder builder("acme/big@1.0.0");
    fill(builder, 6 * kMiB);
    for (std::size_t i = 0; i < 10'000; ++i) {
      builder.file("many", "d" + std::to_string(i % 100) + "/f" + std::to_string(i), "x");
    }
    serve(builder, "acme/big@1.0.0");
  }
  void expect_text(const std::string& out, const std::string& text) const {
    EXPECT_NE(out.find(text), std::string::npos) << "\"" << text << "\" in:\n" << out;
  }
};

TEST_F(InspectInParts, ALargePackageTakesKilobytes) {
  serve(64 * kMiB);
  const ProcessResult text = pkgfs({"inspect", url_});
  ASSERT_TRUE(text.ok()) << text.describe();
  EXPECT_EQ(text.err, "");
  expect_text(text.out, "acme/big@1.0.0");
  expect_text(text.out, "data  41 files, 2 directories and links, 64.8 MiB\n");
  expect_text(text.out, "nothing: only parts of the package were read");
  EXPECT_EQ(text.out.find("sha256:"), std::string::npos) << "nothing says which hash it should have";
  EXPECT_LT(sent(), kFew);
  EXPECT_FALSE(fs::exists(url_entry()));

  server_->clear_requests();
  const ProcessResult named = pkgfs({"inspect", "acme/big@1.0.0", "--registry", server_->endpoint()});
  ASSERT_TRUE(named.ok()) << named.describe();
  expect_text(named.out, "sha256:        " + server_->sha256("acme/big@1.0.0"));
  EXPECT_LT(sent(), kFew);

  server_->clear_requests();
  const ProcessResult all = pkgfs({"inspect", "--lazy=off", url_});
  ASSERT_TRUE(all.ok()) << all.describe();
  expect_text(all.out, "sha256:        " + server_->sha256("acme/big@1.0.0"));
  EXPECT_EQ(all.out.find("only parts"), std::string::npos) << all.out;
  EXPECT_GE(sent(), 64 * kMiB);
  EXPECT_TRUE(fs::exists(url_entry()));
}

TEST_F(InspectInParts, TheJsonHasTheStatedHashes) {
  serve(8 * kMiB);
  const json parts = json::parse(pkgfs({"inspect", "--json", url_}).out);
  EXPECT_LT(sent(), kFew);
  json whole = json::parse(pkgfs({"inspect", "--json", "--lazy=off", url_}).out);
  EXPECT_EQ(parts["in_parts"], true);
  EXPECT_EQ(parts["validate"], "not checked: only parts of the package were read");
  EXPECT_EQ(whole["validate"], "ok");
  // All else is the same, because the package tells the truth.
  whole["in_parts"] = true;
  for (const char* key : {"validate", "sha256", "webc_hash", "file"}) {
    whole[key] = parts[key];
  }
  EXPECT_TRUE(parts["sha256"].is_null());
  EXPECT_EQ(parts, whole) << json::diff(whole, parts).dump(1).substr(0, 3000);
}

TEST_F(InspectInParts, DirectoryDataIsReadOnlyIfItIsPrinted) {
  serve_many();
  const ProcessResult text = pkgfs({"inspect", url_});
  ASSERT_TRUE(text.ok()) << text.describe();
  expect_text(text.out, "data  41 files");
  expect_text(text.out, "in directories that weren't read: they take 1.");
  EXPECT_LT(sent(), kFew);
  const ProcessResult full = pkgfs({"inspect", "--json", url_});
  ASSERT_TRUE(full.ok()) << full.describe();
  EXPECT_EQ(json::parse(full.out)["volumes"][1]["entries"].size(), 10'100U);
}

TEST_F(InspectInParts, CommandsNeedOnlyTheManifest) {
  PackageBuilder builder("acme/big@1.0.0");
  fill(builder, 6 * kMiB);
  builder.command("tool", "tool");
  serve(builder, "acme/big@1.0.0");
  const ProcessResult result = pkgfs({"inspect", "--commands", url_});
  EXPECT_TRUE(result.ok()) << result.describe();
  expect_text(result.out, "tool");
  EXPECT_LT(sent(), kFew);
}

TEST_F(InspectInParts, APackageWithoutANameHasNoId) {
  fs::copy_file(fixtures() / "webc/id-none-v3.webc", package_);
  server_ = std::make_unique<TestRegistry>(std::vector<fs::path>{});
  server_->add_package(package_, "acme/none", "1.0.0");
  url_ = server_->file_url("acme/none@1.0.0");
  const json parts = json::parse(pkgfs({"inspect", "--json", "--lazy=on", url_}).out);
  EXPECT_EQ(parts["package_id"], url_);
  EXPECT_FALSE(fs::exists(url_entry()));
}

TEST_F(InspectInParts, ServersWithoutRangesAreDownloadedFrom) {
  serve(6 * kMiB);
  server_->set_fault({.kind = Fault::Kind::kIgnoreRange, .where = Fault::Where::kFiles});
  const ProcessResult result = pkgfs({"inspect", url_});
  ASSERT_TRUE(result.ok()) << result.describe();
  expect_text(result.out, "sha256:        " + server_->sha256("acme/big@1.0.0"));
  EXPECT_TRUE(fs::exists(url_entry()));
}

TEST_F(InspectInParts, AServerThatIsGoneIsAnErrorOfTheNetwork) {
  serve_many();
  server_->set_fault({.kind = Fault::Kind::kStatus, .where = Fault::Where::kFiles, .skip = 3, .status = 503});
  const ProcessResult result = pkgfs({"inspect", "--json", "--timeout", "1", "--no-wait", url_});
  EXPECT_NE(result.exit_code, 0) << result.describe().substr(0, 2000);
  EXPECT_TRUE(result.out.empty()) << result.out.substr(0, 2000);
}

}  // namespace
}  // namespace pkgfs::test
