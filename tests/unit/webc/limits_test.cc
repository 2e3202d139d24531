// SPDX-License-Identifier: MIT
// Risk: a container that isn't large makes pkgfs take much time or memory. Errors name limit, value and package.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/webc/v1.h"
#include "core/webc/writer.h"
#include "tests/unit/webc/webc_files.h"

namespace pkgfs::webc {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::StartsWith;

std::string opening(std::vector<std::byte> bytes, const limits::PackageLimits& set = limits::kLocal) {
  try {
    (void)Container::open(test::memory("big.webc", std::move(bytes)), set);
  } catch (const Error& error) {
    return error.message();
  }
  return "opened";
}

std::string opening(const Writer& writer, const limits::PackageLimits& set = limits::kLocal) {
  return opening(writer.to_bytes(), set);
}

TEST(ContainerLimits, Manifest) {
  const std::uint64_t most = limits::kManifestBytes;
  Json manifest = {{"entrypoint", std::string(most - 100, 'x')}};
  EXPECT_EQ(opening(Writer(Version::kV3, manifest)), "opened");
  manifest = {{"entrypoint", std::string(most, 'x')}};
  EXPECT_THAT(opening(Writer(Version::kV3, manifest)),
              AllOf(StartsWith("big.webc: manifest, offset 0x"),
                    EndsWith(": 16777233 bytes, more than the limit of 16777216 for local packages")));
}

TEST(ContainerLimits, Index) {
  Writer writer(Version::kV3, Json::object());
  for (int i = 0; i < 140; ++i) {
    writer.add_volume(std::string(100'000, 'v') + std::to_string(i), {});
  }
  EXPECT_THAT(opening(writer), AllOf(StartsWith("big.webc: index, offset 0x8: 168"),
                                     EndsWith(" bytes, more than the limit of 16777216 for local packages")));
}

Writer with_volumes(std::size_t count) {
  Writer writer(Version::kV3, Json::object());
  for (std::size_t i = 0; i < count; ++i) {
    writer.add_volume("v" + std::to_string(i), {});
  }
  return writer;
}

TEST(ContainerLimits, Volumes) {
  EXPECT_EQ(opening(with_volumes(limits::kVolumes)), "opened");
  EXPECT_EQ(opening(with_volumes(limits::kVolumes + 1)),
            "big.webc: index, offset 0x8: 10001 volumes, more than the limit of 10000 for local packages");
}

/// A container of version 1 with empty volumes.
std::vector<std::byte> version_1(std::size_t volumes) {
  using namespace std::string_literals;
  std::string bytes = "\0webc001----------------"s;
  bytes.resize(kV1Manifest);
  bytes += "\x01\xa0"s;                         // an empty map
  bytes += "\x09\x08"s + std::string(8, '\0');  // no atoms: an empty table
  for (std::size_t i = 0; i < volumes; ++i) {
    const std::string name = std::to_string(100'000 + i);
    bytes += static_cast<char>(name.size()) + name + "\x09\x08"s + std::string(8, '\0');
  }
  return test::to_bytes(bytes);
}

TEST(ContainerLimits, VolumesOfVersion1) {
  EXPECT_EQ(opening(version_1(limits::kVolumes)), "opened");
  EXPECT_THAT(opening(version_1(limits::kVolumes + 1)),
              AllOf(StartsWith("big.webc: volumes, offset 0x"),
                    EndsWith(": more than the limit of 10000 volumes for local packages")));
}

TEST(ContainerLimits, AreLowerForStrangers) {
  const limits::PackageLimits& set = limits::kStranger;
  const Json manifest = {{"entrypoint", std::string(set.manifest_bytes, 'x')}};
  EXPECT_THAT(opening(Writer(Version::kV3, manifest), set),
              EndsWith(": 1048593 bytes, more than the limit of 1048576 for packages of strangers"));
  EXPECT_EQ(opening(with_volumes(set.volumes), set), "opened");
  EXPECT_THAT(opening(with_volumes(set.volumes + 1), set),
              EndsWith("1001 volumes, more than the limit of 1000 for packages of strangers"));
  EXPECT_THAT(opening(version_1(set.volumes + 1), set),
              EndsWith(": more than the limit of 1000 volumes for packages of strangers"));
  Writer writer(Version::kV3, Json::object());
  for (int i = 0; i < 11; ++i) {
    writer.add_volume(std::string(100'000, 'v') + std::to_string(i), {});
  }
  EXPECT_THAT(opening(writer, set), EndsWith(" bytes, more than the limit of 1048576 for packages of strangers"));
}

TEST(ContainerLimits, AtomsThatAreLeftOutAreToldOnce) {
  const pkgfs::test::CapturedLog log;
  Writer writer(Version::kV2, Json::object());
  for (int i = 0; i < 10; ++i) {
    writer.add_atom("atom" + std::to_string(i), std::string("x"));
  }
  std::vector<std::byte> bytes = writer.to_bytes();
  std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  for (int i = 0; i < 10; ++i) {
    text.replace(text.find("atom" + std::to_string(i)), 5, "at/om");  // a name that no entry can have
  }
  EXPECT_EQ(opening(test::to_bytes(text)), "opened");
  EXPECT_THAT(log.text(), testing::HasSubstr("; it is left out"));
  EXPECT_THAT(log.text(), testing::HasSubstr("and 7 more atoms are left out (10 in all)"));
  EXPECT_THAT(opening(test::to_bytes(text), limits::kStranger), testing::HasSubstr("atom \"at/om\" has a name that"));
}

}  // namespace
}  // namespace pkgfs::webc
