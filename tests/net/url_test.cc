// SPDX-License-Identifier: MIT
// Risk: a URL whose content changed shows the old package, or is downloaded again although nothing changed.
#include <chrono>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string>

#include "tests/net/net.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using Kind = Fault::Kind;
using Where = Fault::Where;

class UrlPackage : public NetTest {
 protected:
  void SetUp() override {
    NetTest::SetUp();
    if (IsSkipped()) {
      return;
    }
    fs::create_directories(package_.parent_path());
    fs::copy_file(fixtures() / "registry/chain-v3/acme/base/0.3.0.webc", package_);
    fs::last_write_time(package_, fs::file_time_type::clock::now() - std::chrono::hours(24));
    server_.emplace(std::vector<fs::path>{home_.path() / "registry"});
    url_ = server_->file_url("acme/base@0.3.0");
  }

  [[nodiscard]] ProcessResult ls() const { return pkgfs({"tree", url_}); }
  /// Another package under the same URL.
  void replace() const {
    fs::copy_file(fixtures() / "webc/basic-v3.webc", package_, fs::copy_options::overwrite_existing);
  }
  /// Makes the kept file older than the five minutes for which it isn't checked.
  void make_old() const {
    for (const auto& file : fs::directory_iterator(cache() / "downloads")) {
      if (file.is_regular_file()) {
        fs::last_write_time(file, fs::file_time_type::clock::now() - std::chrono::minutes(6));
      }
    }
  }
  /// Uses the URL three times: as it is, unchanged, and changed. Expects `header` in the requests after the first one,
  /// and `status` for the unchanged file.
  void expect_checks(const std::string& header, int status) {
    const ProcessResult first = ls();
    ASSERT_TRUE(first.ok()) << first.describe();
    make_old();
    server_->clear_requests();
    const ProcessResult same = ls();
    EXPECT_EQ(same.out, first.out);
    EXPECT_EQ(same.err, "");
    ASSERT_EQ(server_->requests().size(), 1U);
    EXPECT_EQ(server_->requests()[0].method, "GET");
    EXPECT_NE(server_->requests()[0].header(header), "") << header;
    EXPECT_EQ(server_->requests()[0].status, status);
    server_->clear_requests();
    EXPECT_TRUE(ls().ok());
    EXPECT_TRUE(server_->requests().empty()) << "checked just now";
    replace();
    make_old();
    const ProcessResult changed = ls();
    EXPECT_TRUE(changed.ok()) << changed.describe();
    EXPECT_NE(changed.out, first.out);
    ASSERT_EQ(server_->requests().size(), 1U);
    EXPECT_NE(server_->requests()[0].header(header), "");
    EXPECT_LT(server_->requests()[0].status, 300) << "200, or 206 if it asked for the beginning";
    EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
  }

  const fs::path package_ = home_.path() / "registry/acme/base/0.3.0.webc";
  std::optional<TestRegistry> server_;
  std::string url_;
};

TEST_F(UrlPackage, IsCheckedByItsEtag) { expect_checks("if-none-match", 304); }

// Python's server knows If-Modified-Since, but no ETag.
TEST_F(UrlPackage, IsCheckedByItsDateIfItHasNoEtag) {
  Process server({"/usr/bin/python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory",
                  package_.parent_path(), "0"});
  ASSERT_TRUE(eventually([&] { return server.out().find(" port ") != std::string::npos; })) << server.err();
  const std::string said = server.out();
  const std::string port = said.substr(said.find(" port ") + 6);
  url_ = "http://127.0.0.1:" + port.substr(0, port.find(' ')) + "/0.3.0.webc";
  const ProcessResult first = ls();
  ASSERT_TRUE(first.ok()) << first.describe();
  make_old();
  EXPECT_EQ(ls().out, first.out);
  EXPECT_TRUE(eventually([&] { return server.err().find("\" 304 -") != std::string::npos; })) << server.err();
  replace();
  fs::last_write_time(package_, fs::file_time_type::clock::now() - std::chrono::hours(12));
  make_old();
  const ProcessResult changed = ls();
  EXPECT_TRUE(changed.ok()) << changed.describe();
  EXPECT_NE(changed.out, first.out);
  fs::copy_file(fixtures() / "registry/chain-v3/acme/base/0.3.0.webc", package_, fs::copy_options::overwrite_existing);
  fs::last_write_time(package_, fs::file_time_type::clock::now() - std::chrono::hours(48));
  make_old();
  EXPECT_EQ(ls().out, first.out) << "the server went back to an older file, which isn't newer than the kept one";
  server.signal(SIGTERM);
  static_cast<void>(server.wait());
}

TEST_F(UrlPackage, ServerThatIgnoresConditionsSendsNoBodyTwice) {
  server_->set_fault({.kind = Kind::kIgnoreRange, .where = Where::kFiles});  // not by nginx
  const std::string big(8U << 20U, 'x');
  fs::resize_file(package_, fs::file_size(package_) + big.size());
  fs::last_write_time(package_, fs::file_time_type::clock::now() - std::chrono::hours(24));
  ASSERT_TRUE(ls().ok());
  make_old();
  server_->clear_requests();
  const ProcessResult same = ls();
  EXPECT_TRUE(same.ok()) << same.describe();
  EXPECT_EQ(same.err, "") << "nothing was downloaded";
  ASSERT_EQ(server_->requests().size(), 1U);
}

TEST_F(UrlPackage, IsDownloadedAgainIfTheServerSaysNothingAboutItsVersion) {
  server_->set_fault({.kind = Kind::kPlain, .where = Where::kFiles, .etag = Fault::Etag::kNone});
  const ProcessResult first = ls();
  ASSERT_TRUE(first.ok()) << first.describe();
  replace();
  make_old();
  const ProcessResult changed = ls();
  EXPECT_TRUE(changed.ok()) << changed.describe();
  EXPECT_NE(changed.out, first.out);
}

TEST_F(UrlPackage, APageIsNamedWithItsUrlAndRedirects) {
  server_->set_faults(
      {{.kind = Kind::kRedirect, .where = Where::kFiles}, {.kind = Kind::kHtml, .where = Where::kFiles}});
  const ProcessResult result = ls();
  EXPECT_EQ(result.exit_code, 5) << result.describe();
  const std::string target = server_->other_authority() + url_.substr(server_->authority().size());
  for (const std::string& text :
       {"\"" + url_ + "\" isn't a package: the server sent an HTML page, after a redirect to \"" + target + "\"",
        std::string("a package of a registry is named without a URL")}) {
    EXPECT_NE(result.err.find(text), std::string::npos) << text << "\n" << result.describe();
  }
  EXPECT_TRUE(litter().empty()) << ::testing::PrintToString(litter());
  EXPECT_EQ(pkgfs({"cache", "list", "--json"}).out, "[]\n") << "a page isn't kept";
  server_->clear_faults();
  EXPECT_TRUE(ls().ok()) << "the page is forgotten at once";
}

TEST_F(UrlPackage, APageDoesNotReplaceTheKeptFile) {
  const ProcessResult first = ls();
  ASSERT_TRUE(first.ok());
  make_old();
  server_->set_fault({.kind = Kind::kHtml, .where = Where::kFiles});
  const ProcessResult second = ls();
  EXPECT_EQ(second.out, first.out);
  EXPECT_NE(second.err.find("an HTML page"), std::string::npos) << second.describe();
}

TEST_F(UrlPackage, APageInsteadOfAnAnnouncedContainerIsNamed) {
  server_->set_fault({.kind = Kind::kHtml, .where = Where::kFiles});
  const ProcessResult result = pkgfs({"pull", "acme/base@0.3.0", "--registry", server_->endpoint()});
  EXPECT_EQ(result.exit_code, 4) << result.describe();
  EXPECT_NE(result.err.find("the server sent an HTML page instead of the package"), std::string::npos)
      << result.describe();
}

}  // namespace
}  // namespace pkgfs::test
