// SPDX-License-Identifier: MIT
// Risk: a successor takes another container for the one that programs have open.
#include "daemon/serve/package_recipe.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <utility>

#include "core/base/hash.h"
#include "core/cache/file_hash.h"
#include "daemon/serve/package_names.h"
#include "tests/support/containers/package_builder.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using Finding = vfs::ServedNames::Finding;

const char* const kName = "acme/app@1.0.0";

class PackageRecipeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const char* const registry : {"one", "two"}) {
      fs::create_directories(dir_.path() / registry / "acme/app");
    }
    build("1.0.0", file("one"));
  }
  [[nodiscard]] fs::path file(const std::string& registry) const {
    return dir_.path() / registry / "acme/app/1.0.0.webc";
  }
  static void build(const std::string& text, const fs::path& to) {
    PackageBuilder package(kName);
    package.mount("/data", "data").file("data", "version", text);
    package.write(to);
  }
  [[nodiscard]] Finding find(const std::string& name, std::shared_ptr<const void> recipe) {
    TreeFlags flags;
    flags.network.offline = true;
    flags.network.cache_dir = (dir_.path() / "cache").string();
    flags.network.registries = {(dir_.path() / "one").string(), (dir_.path() / "two").string()};
    PackageNames names(std::move(flags), "", io_);
    std::promise<Finding> found;
    names.find(1, name, std::move(recipe), [&](Finding finding) { found.set_value(std::move(finding)); });
    Finding finding = found.get_future().get();
    EXPECT_NE(finding.tree, nullptr) << finding.reason;
    return finding;
  }
  /// What another process has of the recipe.
  static std::shared_ptr<const void> handed_over(const Finding& finding) {
    return finding.tree == nullptr
               ? nullptr
               : unread_recipe(std::static_pointer_cast<const PackageRecipe>(finding.tree->recipe())->text);
  }

  TempDir dir_;
  std::ostringstream out_;
  std::ostringstream err_;
  Io io_{&out_, &err_, [](const char*) { return std::nullopt; }, false};
};

TEST_F(PackageRecipeTest, TheSameFileIsTheSame) {
  const Finding first = find(kName, nullptr);
  EXPECT_FALSE(find(kName, handed_over(first)).changed);
}

TEST_F(PackageRecipeTest, AnotherFileWithTheSameSizeAndTimeIsAnother) {
  const Finding first = find(kName, nullptr);
  build("1.0.1", file("two"));
  ASSERT_EQ(fs::file_size(file("two")), fs::file_size(file("one")));
  fs::last_write_time(file("two"), fs::last_write_time(file("one")));
  fs::rename(file("two"), file("one"));
  EXPECT_TRUE(find(kName, handed_over(first)).changed);
}

TEST_F(PackageRecipeTest, WhatIsFoundAnewIsAnotherUnlessItsHashIsTheSame) {
  const Finding first = find(kName, nullptr);
  const std::string by_hash = "sha256/" + to_hex(FileHashes().of(file("one").string()));
  const Finding hashed = find(by_hash, nullptr);
  fs::rename(file("one"), file("two"));
  EXPECT_TRUE(find(kName, handed_over(first)).changed) << "it may have other bytes";
  EXPECT_FALSE(find(by_hash, handed_over(hashed)).changed);
  EXPECT_TRUE(find(kName, unread_recipe("?")).changed);
}

TEST_F(PackageRecipeTest, AFileThatWasTouchedWhileItWasClosedIsKnownByItsNewTime) {
  std::shared_ptr<const void> recipe = find(kName, nullptr).tree->recipe();
  fs::last_write_time(file("one"), fs::last_write_time(file("one")) + 10s);
  const Finding again = find(kName, std::move(recipe));
  EXPECT_FALSE(find(kName, handed_over(again)).changed);
}

}  // namespace
}  // namespace pkgfs::test
