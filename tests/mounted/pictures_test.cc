// SPDX-License-Identifier: MIT
// Risk: pictures in the documents that no run would show any more, or that aren't there.

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

class Pictures : public MountedTest {};

TEST_F(Pictures, AreMadeFromRunsOfThisProgram) {
  if (!shell("unshare -m true").ok()) {
    GTEST_SKIP() << "no mount namespace can be made here (root is needed)";
  }
  if (!shell("/usr/bin/python3 -c 'import pyte'").ok() || !have_program("jq")) {
    GTEST_SKIP() << "no python3-pyte or jq";
  }
  TempDir dir;
  const ProcessResult made =
      run({source_directory() / "docs/make-pictures", "--pkgfs", kPkgfs, "--output", dir.path()});
  ASSERT_TRUE(made.ok()) << made.describe();
  const std::vector<std::pair<std::string, std::string>> shows{{"quick-start", "/mnt/app/base/base.txt"},
                                                               {"resolve", "acme/app@2.0.0"},
                                                               {"stats", "operation"},
                                                               {"metrics", "pkgfs_fuse_requests_total"},
                                                               {"dead-mount", "Transport endpoint is not connected"},
                                                               {"doctor", "is stopped"}};
  for (const auto& [name, text] : shows) {
    const fs::path file = dir.path() / (name + ".svg");
    ASSERT_TRUE(fs::exists(file)) << made.describe();
    const std::string picture = read_text(file);
    EXPECT_NE(picture.find(text), std::string::npos) << picture;
    EXPECT_LT(picture.size(), 20000U) << name;
    EXPECT_TRUE(fs::exists(source_directory() / "docs/pictures" / (name + ".svg"))) << name << " isn't kept";
  }
  EXPECT_TRUE(
      shell("cd " + dir.path().string() +
            " && /usr/bin/python3 -c \"import glob, xml.dom.minidom as m; [m.parse(f) for f in glob.glob('*.svg')]\"")
          .ok())
      << "not XML";
}

}  // namespace
}  // namespace pkgfs::test
