// SPDX-License-Identifier: MIT
// Risk: a user stops pkgfs, which takes that for damage and goes on with another package than the one that was named.
#include <fcntl.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <functional>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/cache/containers_by_hash.h"
#include "core/source/directory_source.h"
#include "core/source/downloaded_source.h"
#include "core/source/local_registry_source.h"
#include "core/webc/container.h"
#include "core/webc/writer.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

/// A container with so many keys that reading its manifest looks whether it shall stop.
std::string large_container() {
  webc::Json many = webc::Json::object();
  for (int i = 0; i < 3'000; ++i) {
    many["key" + std::to_string(100'000 + i * 7'919 % 3'000)] = i;
  }
  const webc::Writer writer(webc::Version::kV3,
                            {{"package", {{"wapm", {{"name", "acme/app"}, {"version", "1.0.0"}}}, {"many", many}}}});
  const std::vector<std::byte> bytes = writer.to_bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Expects that `work` succeeds, and that it says so if it is interrupted.
void expect_interrupted(const std::function<void()>& work) {
  EXPECT_NO_THROW(work());
  CancelFlag cancel;
  cancel.cancel();
  const CancelScope scope(cancel);
  const CapturedLog log;
  try {
    work();
    ADD_FAILURE() << "not interrupted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInterrupted) << error.what();
  }
  EXPECT_EQ(log.text(), "");
}

class Interrupted : public ::testing::Test {
 protected:
  TempDir dir_;
  const std::string content_ = large_container();
  const PackageSpecifier by_name_ = PackageSpecifier::parse("acme/app@1.0.0");
  const PackageSpecifier by_hash_ = PackageSpecifier::parse("sha256:" + to_hex(sha256(content_)));
};

TEST_F(Interrupted, ADirectoryLeavesNothingOut) {
  dir_.write("app.webc", content_);
  for (const bool skip_damaged : {false, true}) {
    expect_interrupted([&] {
      DirectorySource source(dir_.path().string(), {.skip_damaged = skip_damaged});
      EXPECT_EQ(source.query(by_name_).size(), 1U);
    });
    expect_interrupted([&] {  // else another source would be asked
      DirectorySource source(dir_.path().string(), {.skip_damaged = skip_damaged});
      EXPECT_EQ(source.query_all({&by_name_, 1}).front().packages.size(), 1U);
    });
  }
}

TEST_F(Interrupted, ALocalRegistryHasNoOtherAnswer) {
  dir_.write("acme/app/1.0.0.webc", content_);
  expect_interrupted([&] {
    LocalRegistrySource source(dir_.path().string());
    EXPECT_EQ(source.query_all({&by_name_, 1}).front().packages.size(), 1U);
  });
}

TEST_F(Interrupted, TheCacheIsNotSaidToLackAPackage) {
  ContainersByHash cache((dir_.path() / "checkouts").string());
  const CancelFlag never;
  const PartialEntry partial = cache.reserve(by_hash_.hash()->digest(), never);
  std::ofstream(partial.part) << content_;
  cache.commit(partial, UniqueFd(::open(partial.part.c_str(), O_RDONLY | O_CLOEXEC)), by_hash_.hash()->digest());
  expect_interrupted([&] {
    DownloadedSource source(cache);
    EXPECT_EQ(source.query(by_hash_).size(), 1U);
  });
}

TEST_F(Interrupted, VerifyingFindsNoDamage) {
  webc::Writer writer(webc::Version::kV3, webc::Json::object());
  for (int i = 0; i < 1'000; ++i) {
    writer.add_volume("v" + std::to_string(i * 7'919 % 1'000), {});
  }
  const auto container = webc::Container::open(std::make_shared<MemoryBytes>("many", writer.to_bytes()));
  expect_interrupted([&] { EXPECT_TRUE(webc::verify(*container, webc::VerifyDepth::kStructure).empty()); });
}

}  // namespace
}  // namespace pkgfs::test
