// SPDX-License-Identifier: MIT
// `pkgfs tree`, `ls` and `cat`: the merged tree without a mount.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/base/hash.h"
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

/// Resolved by pkgfs although the runtimes can't: `sha256:…` is a hash and no URL (docs/rules/resolution.md, 3.2).
bool resolves_after_all(const std::string& root) {
  return root == "acme/useshash@1.0.0" || root == "acme/useshash2@1.0.0";
}

TEST(Tree, EveryRootOfEverySetShowsTheExpectedTree) {
  std::size_t compared = 0;
  for (const fs::path& file : test::files_ending(test::fixtures() / "expected", ".json")) {
    const std::string set = file.stem().string();
    const json roots = json::parse(test::read_text(file));
    for (const auto& [root, expected] : roots.items()) {
      SCOPED_TRACE(set + " " + root);
      const test::Run result =
          run({"tree", "--json", "--no-commands", "--offline", "--registry", package("registry/" + set), root});
      if (expected.contains("tree")) {
        ASSERT_EQ(result.code, 0) << result.err;
        EXPECT_EQ(json::parse(result.out), expected["tree"]);
        ++compared;
      } else if (expected.contains("error")) {
        EXPECT_EQ(result.code, 7);
        EXPECT_THAT(result.err, HasSubstr(expected["error"].get<std::string>()));
      } else {
        EXPECT_EQ(result.code == 0, resolves_after_all(root)) << result.err;
        EXPECT_NE(result.code, 70);
      }
    }
  }
  EXPECT_EQ(compared, 181U);
}

TEST(Tree, AnEmptyTreeNamesTheOptionThatShowsMore) {
  const std::string file = package("atoms/lib.webc");
  for (const std::string command : {"tree", "ls"}) {
    const test::Run merged = run({command, file});
    EXPECT_EQ(merged.code, 0);
    EXPECT_THAT(merged.err, HasSubstr("--view=package"));
    EXPECT_EQ(std::ranges::count(merged.err, '\n'), 1) << merged.err;
    const test::Run whole = run({command, "--view=package", file});
    EXPECT_EQ(whole.err, "");
    EXPECT_THAT(whole.out, HasSubstr("manifest.json"));
  }
  EXPECT_EQ(run({"cat", "--view=package", file, "/metadata/README.md"}).out, "# hi\n");
  EXPECT_EQ(run({"tree", package("webc/basic-v3.webc")}).err, "") << "where something is shown";
  EXPECT_EQ(run({"tree", "--no-commands", package("webc/basic-v2.webc")}).err, "");
  for (const char* name : {"webc/nothing-v3.webc", "webc/empty-volume-v1.webc", "webc/empty-volume-v2.webc"}) {
    EXPECT_THAT(run({"ls", "--no-commands", package(name)}).err, HasSubstr("--view=package")) << name;
  }
  EXPECT_EQ(run({"ls", "--view=package", package("webc/nothing-v2.webc")}).out, "manifest.json\n")
      << "the mapping that can't be made doesn't matter";
}

TEST(Tree, ThePackageViewShowsDependencies) {
  const test::Run result = run(
      {"tree", "--json", "--view=package", "--offline", "--registry", package("registry/chain-v3"), "acme/app@2.0.0"});
  ASSERT_EQ(result.code, 0) << result.err;
  std::set<std::string> paths;
  for (const json& entry : json::parse(result.out)) {
    paths.insert(entry["path"]);
  }
  for (const char* path :
       {"/atoms/appbin", "/volumes/app/main.txt", "/manifest.json", "/packages/acme/lib@1.0.0/manifest.json",
        "/packages/acme/lib@1.0.0/volumes/usr%2Flib%2Flib/lib.txt", "/packages/acme/base@0.3.0/atoms/basebin"}) {
    EXPECT_TRUE(paths.contains(path)) << path;
  }
}

TEST(Tree, ThePackageViewNeedsNoDependencies) {
  const std::string file = package("webc/bundle-v1.webc");
  EXPECT_NE(run({"tree", "--offline", file}).code, 0);
  const test::Run result = run({"ls", "--view=package", "--offline", file});
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.out, HasSubstr("manifest.json\n"));
  EXPECT_THAT(result.err, HasSubstr("warning: the dependencies of \"" + file + "\" aren't shown: "));
  EXPECT_NE(run({"ls", "--view=package", "--strict", "--offline", file}).code, 0);
}

TEST(Tree, CommandsAppearAsExecutableFiles) {
  const std::string file = package("webc/basic-v3.webc");
  const auto entry = [&](const std::vector<std::string>& options, const std::string& path) -> json {
    std::vector<std::string> arguments{"tree", "--json", file};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const json entries = json::parse(run(arguments).out);
    for (const json& item : entries) {
      if (item["path"] == path) {
        return item;
      }
    }
    return {};
  };
  const char* atom = "b7a65f2f30c40f9936788d819aa22e9de0dc080fc89bc498665fa78fc1836148";
  EXPECT_EQ(entry({}, "/bin/tool")["sha256"], atom);
  EXPECT_EQ(entry({"--commands-dir=/usr/bin"}, "/usr/bin/tool")["sha256"], atom);
  EXPECT_TRUE(entry({"--no-commands"}, "/bin").is_null());
  EXPECT_THAT(run({"ls", "-l", "--mtime=stored", file, "/bin"}).out,
              HasSubstr("-rwxr-xr-x 21 1970-01-01 00:00:01 tool\n"));
  EXPECT_THAT(run({"ls", "-l", file, "/bin"}).out, HasSubstr("-rwxr-xr-x 21 2008-09-11 05:44:28 tool\n"));
}

TEST(Tree, ThePlainFormIsADrawing) {
  const test::Run result = run({"tree", "--no-commands", package("webc/basic-v2.webc")});
  EXPECT_EQ(result.code, 0);
  EXPECT_EQ(result.out,
            "acme/basic@1.2.3\n"
            "├── README.md\n"
            "├── bin\n"
            "│   └── tool\n"
            "├── etc\n"
            "│   └── tool.conf\n"
            "└── share\n"
            "    ├── doc\n"
            "    │   ├── a.txt\n"
            "    │   └── b.txt\n"
            "    └── empty\n"
            "\n5 directories, 5 files\n");
}

TEST(Tree, AConflictIsAnErrorWhenAskedFor) {
  const test::Run result =
      run({"tree", "--conflicts=error", "--registry", package("registry/collide-v3"), "acme/two@1.0.0"});
  EXPECT_EQ(result.code, 7);
  EXPECT_THAT(result.err, HasSubstr("acme/two@1.0.0"));
}

TEST(Tree, DamageIsNamedAndTheRestIsShown) {
  const test::Run result = run({"tree", "--json", package("bad/v3-file-beyond.webc")});
  EXPECT_EQ(result.code, 4);
  EXPECT_TRUE(json::accept(result.out));
  EXPECT_THAT(result.err, HasSubstr("Input/output error"));
  EXPECT_EQ(run({"tree", "--strict", package("bad/v3-file-beyond.webc")}).code, 4);
}

TEST(Ls, ListsADirectoryAFileAndALink) {
  const std::string basic = package("webc/basic-v2.webc");
  EXPECT_EQ(run({"ls", "--no-commands", basic}).out, "README.md\nbin\netc\nshare\n");
  EXPECT_EQ(run({"ls", basic, "/share/doc/"}).out, "a.txt\nb.txt\n");
  EXPECT_EQ(run({"ls", basic, "etc/../etc/./tool.conf"}).out, "etc/../etc/./tool.conf\n");
  EXPECT_EQ(run({"ls", basic, "/share/empty"}).out, "");
  const test::Run missing = run({"ls", basic, "/nope"});
  EXPECT_EQ(missing.code, 3);
  EXPECT_THAT(missing.err, HasSubstr("\"/nope\""));
  EXPECT_EQ(run({"ls", basic, "/README.md/x"}).code, 3);
  const std::string links = package("webc/symlinks-v3.webc");
  const std::string root = run({"ls", "--no-commands", links}).out;
  const std::string top = "/" + root.substr(0, root.find('\n'));  // the volume's mount point
  EXPECT_THAT(run({"ls", "-l", links, top}).out, HasSubstr(" dlink -> d\n"));
  EXPECT_THAT(run({"ls", "-l", links, top + "/dlink"}).out, HasSubstr("/dlink -> d\n"));
  EXPECT_THAT(run({"ls", links, top + "/dlink/"}).out, HasSubstr("inner.txt\n"));
}

TEST(Cat, WritesBytesAndFollowsLinksInsideTheTree) {
  const std::string basic = package("webc/basic-v3.webc");
  const test::Run two = run({"cat", basic, "/data/share/doc/a.txt", "/data/share/doc/b.txt"});
  EXPECT_EQ(two.code, 0);
  EXPECT_EQ(to_hex(sha256(two.out.substr(0, 1))), "559aead08264d5795d3909718cdd05abd49572e84fe55590eef31a88a08fdffd");
  EXPECT_EQ(two.out.size(), 3U);
  const test::Run some = run({"cat", basic, "/data/share", "/nope", "/data/share/doc/a.txt"});
  EXPECT_NE(some.code, 0);
  EXPECT_EQ(some.out.size(), 1U) << "what can be read is written";
  EXPECT_THAT(some.err, HasSubstr("Is a directory"));
  EXPECT_THAT(some.err, HasSubstr("\"/nope\" in the tree: No such file or directory"));

  const std::string links = package("webc/symlinks-v3.webc");
  const std::string root = run({"ls", "--no-commands", links}).out;
  const std::string top = "/" + root.substr(0, root.find('\n'));
  EXPECT_EQ(run({"cat", links, top + "/chain"}).out, run({"cat", links, top + "/real.txt"}).out);
  EXPECT_EQ(run({"cat", links, top + "/d/up"}).out, run({"cat", links, top + "/real.txt"}).out);
  EXPECT_EQ(run({"cat", links, top + "/dlink/inner.txt"}).out.size(), 5U);
  EXPECT_THAT(run({"cat", links, top + "/loop1"}).err, HasSubstr("Too many levels of symbolic links"));
  EXPECT_EQ(run({"cat", links, top + "/broken"}).code, 3);
}

TEST(Cat, BigFilesComeWhole) {
  const std::string file = package("webc/big4m-v3.webc");
  const json entries = json::parse(run({"tree", "--json", file}).out);
  for (const json& entry : entries) {
    if (entry["type"] == "file") {
      EXPECT_EQ(to_hex(sha256(run({"cat", file, entry["path"]}).out)), entry["sha256"].get<std::string>());
    }
  }
}

}  // namespace
}  // namespace pkgfs
