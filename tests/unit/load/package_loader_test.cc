// SPDX-License-Identifier: MIT
// Risk: the loader opens a package twice, or returns a location where the package isn't.
#include "core/load/package_loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "core/cache/container_fetcher.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

class CachedPackages : public ::testing::Test {
 protected:
  TempDir dir_;
  ContainerFetcher fetcher_{
      {.packages_directory = dir_.path() / "checkouts", .urls_directory = dir_.path() / "downloads", .tokens = {}}};
  const CancelFlag never_;
  PackageLoader loader_{{}, fetcher_, never_};
  const Sha256 hash_ = sha256(read_text(fixtures() / "webc/basic-v3.webc"));

  void store() {
    std::filesystem::create_directories(dir_.path() / "checkouts");
    std::filesystem::copy(fixtures() / "webc/basic-v3.webc", fetcher_.packages().path_of(hash_));
  }
  static PackageSummary announced(const std::optional<Sha256>& hash) {
    const PackageId id = NamedId{.full_name = "acme/x", .version = Version::parse("1.0.0")};
    return {.pkg = {.id = id, .commands = {}, .entrypoint = {}, .dependencies = {}, .filesystem = {}},
            .dist = {.url = "https://example.com/x.webc", .path = {}, .webc_sha256 = hash}};
  }
};

TEST_F(CachedPackages, AreOpenedOnceByManyThreads) {
  store();
  std::vector<std::shared_ptr<const Package>> opened(8);
  std::vector<std::jthread> threads;
  for (auto& package : opened) {
    threads.emplace_back([&] { package = loader_.load(announced(hash_)); });
  }
  threads.clear();
  EXPECT_THAT(opened, Each(opened.front()));
  ASSERT_NE(opened.front(), nullptr);
  EXPECT_EQ(loader_.location(announced(hash_)), fetcher_.packages().path_of(hash_));
}

TEST_F(CachedPackages, AreNotLocalPackagesOfThatName) {
  store();
  const std::string hex = to_hex(hash_);
  const auto remote = loader_.load(announced(hash_));
  PackageSummary local = announced(std::nullopt);
  local.dist.path = hex;  // relative, and there is no such file
  EXPECT_THROW(static_cast<void>(loader_.load(local)), Error);
  EXPECT_EQ(loader_.location(local), hex);
}

TEST_F(CachedPackages, FailuresNameThePackageAndAreNotRemembered) {
  try {
    static_cast<void>(loader_.load(announced(hash_)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "Unable to load the package \"acme/x@1.0.0\"");
    EXPECT_THAT(error.what(), HasSubstr("isn't in the cache"));
  }
  store();
  EXPECT_NE(loader_.load(announced(hash_)), nullptr);
}

TEST_F(CachedPackages, AreThoseOfStrangers) {
  store();
  EXPECT_EQ(loader_.load(announced(hash_))->limits().name, limits::kStranger.name);
  PackageSummary local = announced(std::nullopt);
  local.dist.path = fetcher_.packages().path_of(hash_);
  EXPECT_EQ(loader_.load(local)->limits().name, limits::kLocal.name);
  bool is_trusted = false;  // as a lock file, which names a file of this machine, can change it
  PackageLoader loader({}, fetcher_, never_, [&](const DistributionInfo&) { return is_trusted; });
  EXPECT_EQ(loader.load(local)->limits().name, limits::kStranger.name);
  is_trusted = true;
  EXPECT_EQ(loader.load(local)->limits().name, limits::kLocal.name) << "it isn't the package that was loaded before";
  local.dist.path = dir_.path();
  is_trusted = false;
  EXPECT_THROW(static_cast<void>(loader.load(local)), Error) << "a live directory";
}

TEST_F(CachedPackages, NeedAHash) {
  try {
    static_cast<void>(loader_.load(announced(std::nullopt)));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("nothing says which hash the package from \"https://example.com/x.webc\""));
  }
}

}  // namespace
}  // namespace pkgfs::test
