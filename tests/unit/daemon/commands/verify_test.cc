// SPDX-License-Identifier: MIT
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "core/webc/container.h"
#include "tests/support/fixtures.h"
#include "tests/unit/daemon/commands/golden_files.h"
#include "tests/unit/daemon/commands/run.h"

namespace pkgfs {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using test::package;
using test::run;
using ::testing::HasSubstr;

/// The problems that the container layer finds; nothing if it can't be opened.
std::optional<std::vector<std::string>> problems_of(const fs::path& file) {
  try {
    return webc::verify(*webc::Container::open(MappedFile::open(file.string())), webc::VerifyDepth::kContent);
  } catch (const Error&) {
    return std::nullopt;
  }
}

TEST(Verify, EveryBadFileIsRefusedOrSoundAndInspectAgrees) {
  const test::CapturedLog quiet;
  std::size_t sound = 0;
  for (const fs::path& file : test::files_ending(test::fixtures() / "bad", ".webc")) {
    SCOPED_TRACE(file.filename().string());
    const auto problems = problems_of(file);
    const test::Run inspected = run({"inspect", "-q", "--json", file.string()});
    const test::Run verified = run({"verify", "-q", "--json", file.string()});
    if (problems && problems->empty()) {
      ++sound;
      EXPECT_EQ(inspected.code, 0) << inspected.err;
      continue;  // verify also wants it to load, which some of these packages don't
    }
    for (const test::Run& refused : {inspected, verified}) {
      EXPECT_TRUE(refused.code == 4 || refused.code == 5) << refused.code << refused.err;
    }
    EXPECT_EQ(inspected.out, "");
    EXPECT_THAT(inspected.err, HasSubstr(file.filename().string()));
    if (problems) {
      EXPECT_EQ(json::parse(verified.out)["packages"][0]["problems"], *problems);
    } else {
      EXPECT_THAT(verified.err, HasSubstr(file.filename().string()));
    }
  }
  EXPECT_EQ(sound, 29U);
}

TEST(Verify, NamesEveryPackageOfTheTree) {
  const test::Run result = run({"verify", "--registry", package("registry/chain-v3"), "acme/app@2.0.0"});
  EXPECT_EQ(result.code, 0) << result.err;
  for (const char* id : {"ok       acme/app@2.0.0", "ok       acme/lib@1.0.0", "ok       acme/base@0.3.0"}) {
    EXPECT_THAT(result.out, HasSubstr(id));
  }
  const json facts =
      json::parse(run({"verify", "--json", "--registry", package("registry/chain-v3"), "acme/app@2.0.0"}).out);
  EXPECT_EQ(facts["ok"], true);
  EXPECT_EQ(facts["packages"].size(), 3U);
}

TEST(Verify, StructureLeavesContentsOut) {
  const test::TempDir dir;
  std::string bytes = test::read_text(package("webc/basic-v3.webc"));
  bytes.back() = static_cast<char>(bytes.back() ^ 1);  // in the last file's body
  const std::string file = dir.write("flipped.webc", bytes).string();
  EXPECT_EQ(run({"verify", "--structure", file}).code, 0);
  const test::Run content = run({"verify", file});
  EXPECT_EQ(content.code, 4);
  EXPECT_THAT(content.out, HasSubstr("damaged  acme/basic@1.2.3  " + file + "\n  "));
  EXPECT_EQ(run({"tree", "--verify=open", file}).code, 4);
  EXPECT_EQ(run({"tree", file}).code, 0);
}

TEST(Verify, DamageInADependencyIsFound) {
  const test::TempDir dir;
  fs::copy(package("registry/chain-v3"), dir.path() / "registry", fs::copy_options::recursive);
  const fs::path base = dir.path() / "registry/acme/base/0.3.0.webc";
  std::string bytes = test::read_text(base);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  dir.write("registry/acme/base/0.3.0.webc", bytes);
  const test::Run result = run({"verify", "--registry", (dir.path() / "registry").string(), "acme/app@2.0.0"});
  EXPECT_EQ(result.code, 4);
  EXPECT_THAT(result.out, HasSubstr("damaged  acme/base@0.3.0"));
  EXPECT_THAT(result.out, HasSubstr("ok       acme/app@2.0.0"));
}

TEST(Verify, APackageThatDoesNotLoadIsNoSoundOne) {
  const test::Run result = run({"verify", "--registry", package("registry/fserr-v3"), "acme/depnovol@1.0.0"});
  EXPECT_EQ(result.code, 7);
  EXPECT_THAT(result.err, HasSubstr("The \"acme/atomvol@1.0.0\" package doesn't have a \"nope\" volume"));
}

TEST(Verify, ReadsADirectoryPackage) {
  const test::SourceDirectories sources;
  const test::Run result = run({"verify", (sources / "basic").string()});
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr("ok       sha256:"));
}

}  // namespace
}  // namespace pkgfs
