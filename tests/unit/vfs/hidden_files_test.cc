// SPDX-License-Identifier: MIT
// Risk: a mount takes time that grows faster than the package, or the fast way finds other files than the rule says.
#include "core/vfs/hidden_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>

#include "core/base/limits.h"
#include "core/vfs/path_text.h"
#include "core/vfs/providers.h"
#include "core/vfs/walk.h"
#include "tests/support/fixtures.h"
#include "tests/unit/vfs/counted.h"
#include "tests/unit/vfs/trees.h"

namespace pkgfs::vfs {
namespace {

using test::Counted;
using test::mount_of;
using testing::HasSubstr;
using testing::Not;

struct Found {
  std::string mount;
  std::string path;
  std::string other;
  friend auto operator<=>(const Found&, const Found&) = default;
};
void PrintTo(const Found& found, std::ostream* out) {
  *out << found.mount << " hides " << found.path << " of " << found.other;
}

/// docs/rules/filesystem.md, 9.2 rule 1, word for word: one question for each mount, path above it and other mount.
std::vector<Found> by_the_rule(const std::vector<Mount>& mounts) {
  std::vector<Found> found;
  std::set<std::pair<std::string, std::string>> known;
  for (const Mount& mount : mounts) {
    const std::vector<std::string_view> names = path_components(mount.mount_path);
    for (std::size_t length = 1; length <= names.size(); ++length) {
      const std::string above = absolute_path({names.begin(), names.begin() + static_cast<std::ptrdiff_t>(length)});
      for (const Mount& other : mounts) {
        if (other.mount_path == mount.mount_path || !path_covers(other.mount_path, mount.mount_path) ||
            !path_covers(other.mount_path, above)) {
          continue;
        }
        std::string inside = other.source_path == "/" ? "" : other.source_path;
        if (const std::string_view below = path_below(other.mount_path, above); below != "/") {
          inside += below;
        }
        const auto entry = find_path(*other.fs, inside);
        if (entry && entry->attributes.type != FileType::kDirectory &&
            known.emplace(above, other.package.text()).second) {
          found.push_back({mount.package.text(), above, other.package.text()});
        }
      }
    }
  }
  return found;
}

std::vector<Found> fast(const std::vector<Mount>& mounts) {
  std::vector<Found> found;
  NameIndex index;
  for (const HiddenFile& file : find_hidden_files(mounts, index)) {
    found.push_back({mounts[file.mount].package.text(), mounts[file.mount].mount_path.substr(0, file.length),
                     mounts[file.other].package.text()});
  }
  return found;
}

/// Few names, so that paths meet.
std::string random_path(std::mt19937& random, std::size_t most) {
  std::string path;
  for (std::size_t i = random() % (most + 1); i > 0; --i) {
    path += std::array{"/a", "/a!", "/b"}.at(random() % 3);
  }
  return path.empty() ? "/" : path;
}

/// In order of precedence, with sources.
std::vector<Mount> random_mounts(std::mt19937& random) {
  std::vector<Mount> mounts;
  for (std::size_t i = 1 + random() % 7; i > 0; --i) {
    std::map<std::string, std::string> contents;
    for (std::size_t file = random() % 5; file > 0; --file) {
      contents.emplace(random_path(random, 3) + "/b", "x");
    }
    Mount mount = mount_of("p" + std::to_string(i), random_path(random, 4), contents,
                           random() % 3 == 0 ? random_path(random, 2) : "/");
    if (const auto source = find_path(*mount.fs, mount.source_path)) {
      mount.source = *source;
      if (mount.mount_path != "/" || source->attributes.type == FileType::kDirectory) {
        mounts.push_back(std::move(mount));
      }
    }
  }
  std::ranges::stable_sort(mounts, std::ranges::greater(), [](const Mount& m) { return path_depth(m.mount_path); });
  return mounts;
}

TEST(HiddenFiles, AsTheRuleSays) {
  std::mt19937 random(1);
  std::size_t total = 0;
  for (int run = 0; run < 3'000; ++run) {
    const std::vector<Mount> mounts = random_mounts(random);
    const std::vector<Found> found = fast(mounts);
    ASSERT_EQ(found, by_the_rule(mounts)) << run;
    total += found.size();
  }
  EXPECT_GT(total, 500U);
}

/// `depth` mounts below each other, "/d", "/d/d" and so on, of one volume with as many directories below each other.
std::size_t work_of_nested(std::size_t depth) {
  std::string path;
  for (std::size_t i = 0; i < depth; ++i) {
    path += "/d";
  }
  const auto volume = std::make_shared<Counted>(test::files({{path + "/file", "x"}}));
  std::vector<Mount> mounts;
  for (std::size_t i = 1; i <= depth; ++i) {
    mounts.push_back({.fs = volume, .mount_path = path.substr(0, 2 * i), .package = "p", .volume = "v"});
  }
  (void)make_union_file_system(std::move(mounts), {});
  return volume->work;
}

TEST(HiddenFiles, NestedMountsTakeWorkForTheirPaths) {
  EXPECT_LT(work_of_nested(60), 4U * 60 * 60);  // the paths have 60 * 61 / 2 names
  EXPECT_LT(work_of_nested(120), 4U * 120 * 120);
}

// Risk: a question for each pair of a directory and a mount point in it.
TEST(HiddenFiles, ManyMountsOverManyTakeWorkForEach) {
  std::vector<std::shared_ptr<Counted>> volumes;
  std::vector<Mount> mounts;
  for (std::size_t i = 0; i < 500; ++i) {
    volumes.push_back(std::make_shared<Counted>(test::files({{"/f" + std::to_string(i), "x"}})));
    mounts.push_back({.fs = volumes.back(), .mount_path = "/", .package = "p", .volume = "v"});
    mounts.push_back({.fs = test::files({}), .mount_path = "/m" + std::to_string(i), .package = "p", .volume = "v"});
  }
  (void)make_union_file_system(std::move(mounts), {});
  for (const auto& volume : volumes) {
    EXPECT_LT(volume->work, 10U);
  }
}

TEST(HiddenFiles, ManyAreToldOnce) {
  const test::CapturedLog log;
  std::vector<Mount> mounts;
  std::map<std::string, std::string> contents;
  for (int i = 100; i < 120; ++i) {
    contents["/f" + std::to_string(i)] = "x";
    mounts.push_back(mount_of("m", "/f" + std::to_string(i) + "/d", {{"/x", "1"}}));
  }
  mounts.push_back(mount_of("files", "/", contents));
  (void)make_union_file_system(std::move(mounts), {});
  EXPECT_THAT(log.text(), HasSubstr("\"/f102/d\" of \"m\" hides the file \"/f102\" of \"files\""));
  EXPECT_THAT(log.text(), Not(HasSubstr("/f103")));
  EXPECT_THAT(log.text(), HasSubstr("and 17 more files are hidden by mount points (20 in all)"));
}

// -- names that mounts have in a directory

std::vector<std::size_t> providers_one_by_one(const std::vector<Mount>& mounts, const std::string& directory,
                                              const std::vector<std::string_view>& names) {
  std::vector<std::size_t> found;
  for (const std::string_view name : names) {
    const std::string path = join_path(directory, name);
    const auto provides = [&](const Mount& mount) {
      if (path_covers(path, mount.mount_path)) {
        return true;
      }
      if (!path_covers(mount.mount_path, path)) {
        return false;
      }
      const auto entry = find_path(*mount.fs, (mount.source_path == "/" ? "" : mount.source_path) +
                                                  std::string(path_below(mount.mount_path, path)));
      return entry || entry.error() == ENOTDIR;
    };
    found.push_back(static_cast<std::size_t>(std::ranges::find_if(mounts, provides) - mounts.begin()));
  }
  return found;
}

TEST(Providers, AsOneQuestionForEachNameAnswers) {
  std::mt19937 random(2);
  for (int run = 0; run < 3'000; ++run) {
    const std::vector<Mount> mounts = random_mounts(random);
    const std::string directory = random_path(random, 3);
    for (const std::vector<std::string_view>& names :
         {std::vector<std::string_view>{"a"}, std::vector<std::string_view>{"a", "a!", "b", "c"}}) {
      ASSERT_EQ(find_providers(mounts, directory, names), providers_one_by_one(mounts, directory, names)) << run;
    }
  }
}

TEST(Providers, ManyNamesOverManyMountsTakeWorkForEach) {
  std::vector<std::string> texts;
  for (int i = 1'000; i < 3'000; ++i) {
    texts.push_back("c" + std::to_string(i));
  }
  const std::vector<std::string_view> names(texts.begin(), texts.end());
  const auto volume = std::make_shared<Counted>(test::files({{"/bin/c1500", "x"}, {"/bin/other", "x"}}));
  std::vector<Mount> mounts;
  for (int i = 0; i < 100; ++i) {
    mounts.push_back({.fs = volume, .mount_path = "/", .package = "p", .volume = "v"});
  }
  const std::vector<std::size_t> found = find_providers(mounts, "/bin", names);
  EXPECT_EQ(found[500], 0U);
  EXPECT_EQ(found[501], mounts.size());
  EXPECT_LT(volume->work, 1'000U);
}

TEST(Providers, AFewNamesDontListALargeDirectory) {
  std::map<std::string, std::string> contents;
  for (int i = 10'000; i < 15'000; ++i) {
    contents["/bin/f" + std::to_string(i)] = "x";
  }
  const auto volume = std::make_shared<Counted>(test::files(contents));
  std::vector<Mount> mounts;
  mounts.push_back({.fs = volume, .mount_path = "/", .package = "p", .volume = "v"});
  const std::vector<std::size_t> found = find_providers(mounts, "/bin", {"a", "f12000", "g"});
  EXPECT_EQ(found, (std::vector<std::size_t>{1, 0, 1}));
  EXPECT_LT(volume->work, 10U);
}

// -- limits

TEST(MountLimits, TheDeepestAndLongestPathsAreMounted) {
  std::string path;
  for (std::size_t i = 0; i < limits::kMountDepth; ++i) {
    path += "/" + std::string(15, 'n');
  }
  ASSERT_EQ(path.size(), limits::kPathBytes);
  std::vector<Mount> mounts;
  mounts.push_back(mount_of("p", path, {{"/x", "1"}}));
  const auto fs = make_union_file_system(std::move(mounts), {});
  EXPECT_TRUE(find_path(*fs, path + "/x"));
}

std::string refusal(const std::string& mount_path, const std::string& source_path = "/") {
  std::vector<Mount> mounts;
  mounts.push_back(mount_of("acme/app@1.0.0", mount_path, {{"/x", "1"}}, source_path));
  try {
    (void)make_union_file_system(std::move(mounts), {});
  } catch (const Error& error) {
    return error.what();
  }
  return "mounted";
}

TEST(MountLimits, OneMoreIsRefused) {
  std::string deep;
  for (std::size_t i = 0; i <= limits::kMountDepth; ++i) {
    deep += "/d";
  }
  EXPECT_EQ(
      refusal(deep),
      "The \"acme/app@1.0.0\" package exceeds the limit of 256 directories in a mount path for local packages: 257");
  std::string wide;
  for (std::size_t i = 0; i < 16; ++i) {
    wide += "/" + std::string(255, 'n');
  }
  ASSERT_EQ(wide.size(), limits::kPathBytes);
  EXPECT_EQ(refusal(wide + "/m"),
            "The \"acme/app@1.0.0\" package exceeds the limit of 4096 bytes in the path of a mapping for local "
            "packages: 4098");
  EXPECT_EQ(refusal("/m", wide + "/m"),
            "The \"acme/app@1.0.0\" package exceeds the limit of 4096 bytes in the path of a mapping for local "
            "packages: 4098");
}

TEST(MountLimits, PathsInMessagesAreCut) {
  const std::string message = refusal("/" + std::string(3'000, 'n'));
  EXPECT_THAT(message, HasSubstr("nn…nn"));
  EXPECT_LT(message.size(), 400U);
}

}  // namespace
}  // namespace pkgfs::vfs
