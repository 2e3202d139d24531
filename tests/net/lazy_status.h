// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <memory>
#include <random>
#include <sstream>
#include <string>

#include <nlohmann/json.hpp>

#include "tests/net/net.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/http.h"
#include "tests/support/patterns.h"

namespace pkgfs::test {

/// Mounts a package of 9 MiB: ten files of 20 KiB, one of 6 MiB, and one of 3 MiB.
class LazyStatus : public NetTest {
 protected:
  static constexpr std::size_t kMiB = std::size_t{1} << 20U;
  static constexpr const char* kPackage = "acme/big@1.0.0";

  static std::string random_text(std::size_t size, unsigned seed) {
    std::mt19937 random(seed);
    std::string text(size, '\0');
    for (char& c : text) {
      c = static_cast<char>(random());
    }
    return text;
  }

  void SetUp() override {
    NetTest::SetUp();
    if (const std::string why = fuse_missing(); !why.empty()) {
      GTEST_SKIP() << why;
    }
    PackageBuilder builder(kPackage);
    for (unsigned i = 0; i < 10; ++i) {
      builder.file("data", "small" + std::to_string(i), random_text(20 * 1024, i));
    }
    builder.file("data", "t-large", random_text(6 * kMiB, 100));
    builder.file("data", "u-rest", random_text(3 * kMiB, 101));
    builder.mount("/", "data");
    container_ = home_.path() / "big.webc";
    builder.write(container_);
    server_ = std::make_unique<TestRegistry>(std::vector<std::filesystem::path>{container_});
  }

  [[nodiscard]] std::unique_ptr<MountedPackage> mount(Arguments options = {}) const {
    options.insert(options.begin(), {"--registry", server_->endpoint(), "--lazy=auto", "--timeout", "2"});
    return std::make_unique<MountedPackage>(kPkgfs, kPackage, options, ProcessOptions{.environment = environment()});
  }
  [[nodiscard]] std::filesystem::path entry_path() const { return entry(server_->sha256(kPackage)); }
  [[nodiscard]] std::filesystem::path partial() const {
    return checkouts() / "__temp__" / (server_->sha256(kPackage) + ".lazy");
  }
  /// Body bytes of files that the server sent.
  [[nodiscard]] std::uint64_t sent() const {
    std::uint64_t sum = 0;
    for (const auto& request : server_->requests()) {
      sum += request.is_file() ? request.sent : 0;
    }
    return sum;
  }
  /// The line of `pkgfs mounts`, and the object of `pkgfs mounts --json`.
  [[nodiscard]] std::string line_of(const MountedPackage& mounted) const {
    std::istringstream lines(pkgfs({"mounts"}).out);
    for (std::string line; std::getline(lines, line);) {
      if (line.find(" on " + mounted.path().string() + " (") != std::string::npos) {
        return line;
      }
    }
    return {};
  }
  [[nodiscard]] nlohmann::json object_of(const MountedPackage& mounted) const {
    for (const nlohmann::json& object : nlohmann::json::parse(pkgfs({"mounts", "--json"}).out)) {
      if (object.at("mountpoint") == mounted.path().string()) {
        return object;
      }
    }
    return {};
  }
  [[nodiscard]] ProcessResult wait_for(const MountedPackage& mounted, Arguments options = {}) const {
    options.insert(options.begin(), {"wait", mounted.path()});
    return pkgfs(options);
  }
  [[nodiscard]] std::string socket() const { return home_.path() / "metrics.sock"; }
  /// The value of a sample; -1 if it isn't there.
  [[nodiscard]] double metric(const std::string& sample) const {
    const std::string text = "\n" + scrape("unix:" + socket());
    const std::size_t at = text.find("\n" + sample + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + sample.size() + 1));
  }
  static bool has(const std::string& text, const std::string& pattern) { return !find_groups(text, pattern).empty(); }
  /// A mount reads the file of 6 MiB, and ends.
  void leave_a_part() const {
    const auto mounted = mount({"--background=off"});
    ASSERT_TRUE(mounted->ok()) << mounted->result().describe();
    ASSERT_TRUE(read_text(*mounted / "t-large") == random_text(6 * kMiB, 100));
    ASSERT_TRUE(mounted->unmount().ok());
    ASSERT_TRUE(std::filesystem::exists(partial()));
  }
  [[nodiscard]] ProcessResult pull(Arguments options = {}) const {
    options.insert(options.begin(), {"pull", kPackage, "--registry", server_->endpoint(), "--timeout", "2"});
    return pkgfs(options);
  }
  void expect_right_entry() const {
    EXPECT_TRUE(std::filesystem::exists(entry_path()) && read_text(entry_path()) == read_text(container_));
  }

  std::filesystem::path container_;
  std::unique_ptr<TestRegistry> server_;
};

}  // namespace pkgfs::test
