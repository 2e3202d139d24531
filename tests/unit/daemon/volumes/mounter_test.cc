// SPDX-License-Identifier: MIT
// Risk: changes of a volume are lost with the list of volumes, or a new volume shows those of an earlier one.
#include "daemon/volumes/mounter.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/support/fixtures.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class VolumeChanges : public ::testing::Test {
 protected:
  void leave(const std::string& name) { fs::create_directories(changes_ / name / "upper"); }

  TempDir dir_;
  fs::path changes_ = dir_.path() / "state/changes";
  Mounter mounter_{dir_.path() / "state", dir_.path() / "mounts"};
};

TEST_F(VolumeChanges, OfUnknownVolumesAreSetAside) {
  for (const char* again : {".orphans/lost", ".orphans/lost.2"}) {
    leave("lost");
    leave("known");
    mounter_.forget_all_but({"known"});
    EXPECT_TRUE(fs::exists(changes_ / again / "upper")) << again;
    EXPECT_FALSE(fs::exists(changes_ / "lost"));
    EXPECT_TRUE(fs::exists(changes_ / "known"));
  }
  EXPECT_TRUE(fs::exists(changes_ / ".orphans/lost/upper")) << "of the first time";
}

TEST_F(VolumeChanges, OfAnEarlierVolumeAreNotShownByANewOne) {
  leave("name");
  mounter_.refuse_old_changes("name");
  EXPECT_FALSE(fs::exists(changes_ / "name"));
  EXPECT_TRUE(fs::exists(changes_ / ".orphans/name/upper"));
}

TEST_F(VolumeChanges, GoWithTheVolume) {
  leave("name");
  fs::permissions(changes_ / "name/upper", fs::perms::none);
  mounter_.forget("name");
  EXPECT_FALSE(fs::exists(changes_ / "name"));
  EXPECT_TRUE(fs::is_empty(changes_ / ".orphans"));
}

}  // namespace
}  // namespace pkgfs::test
