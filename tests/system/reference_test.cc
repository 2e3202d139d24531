// SPDX-License-Identifier: MIT
// Risk: docs/REFERENCE.md says something else than the program's tables.
#include <gtest/gtest.h>

#include "tests/support/fixtures.h"
#include "tests/support/process.h"
#include "tests/system/build_directory.h"

namespace pkgfs::test {
namespace {

TEST(Reference, IsWrittenFromTheTables) {
  const ProcessResult written = run({kBuildDirectory + "/packaging/pkgfs_describe", "reference"});
  ASSERT_TRUE(written.ok()) << written.describe();
  EXPECT_EQ(read_text(source_directory() / "docs/REFERENCE.md"), written.out)
      << "write it anew: " << kBuildDirectory << "/packaging/pkgfs_describe reference >docs/REFERENCE.md";
}

}  // namespace
}  // namespace pkgfs::test
