// SPDX-License-Identifier: MIT
// The sources that look at files: local registry, directory, path.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "core/cache/file_hash.h"
#include "core/source/container_summary.h"
#include "core/source/directory_source.h"
#include "core/source/local_registry_source.h"
#include "core/source/path_source.h"
#include "core/source/registry.h"
#include "tests/support/fixtures.h"

namespace fs = std::filesystem;

namespace pkgfs::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;
using Kind = QueryError::Kind;

class FileSources : public testing::Test {
 protected:
  static fs::path webc(const std::string& name) { return fixtures() / "webc" / (name + ".webc"); }
  static nlohmann::ordered_json facts(const std::string& name) {
    return read_json(fixtures() / "webc" / (name + ".webc.json"));
  }

  [[nodiscard]] std::string root() const { return dir_.path().string(); }
  /// Puts a copy of a fixture into the directory.
  void put(const std::string& name, const std::string& where) const {
    fs::create_directories((dir_.path() / where).parent_path());
    fs::copy_file(webc(name), dir_.path() / where, fs::copy_options::overwrite_existing);
  }

  static std::vector<std::string> found(Source& source, std::string_view specifier) {
    std::vector<std::string> ids;
    for (const PackageSummary& summary : source.query(PackageSpecifier::parse(specifier))) {
      ids.push_back(summary.pkg.id.to_string());
    }
    return ids;
  }
  static std::optional<Kind> failure(Source& source, const PackageSpecifier& specifier) {
    try {
      static_cast<void>(source.query(specifier));
    } catch (const QueryError& error) {
      return error.kind();
    }
    return std::nullopt;
  }
  static std::optional<Kind> failure(Source& source, std::string_view specifier) {
    return failure(source, PackageSpecifier::parse(specifier));
  }
  static std::vector<std::string> chain(Source& source, std::string_view specifier) {
    try {
      static_cast<void>(source.query(PackageSpecifier::parse(specifier)));
    } catch (const QueryError& error) {
      return error.chain();
    }
    return {};
  }

  TempDir dir_;
};

using ContainerSummary = FileSources;
using LocalRegistry = FileSources;
using Directory = FileSources;
using Path = FileSources;
using OpenRegistry = FileSources;

TEST_F(ContainerSummary, IdAndCommandsOfEveryFixture) {
  int opened = 0;
  for (const auto& entry : fs::directory_iterator(fixtures() / "webc")) {
    if (entry.path().extension() != ".webc") {
      continue;
    }
    SCOPED_TRACE(entry.path().filename());
    const auto golden = read_json(entry.path().string() + ".json");
    if (entry.path().filename().string().starts_with("id-badversion")) {  // no semver; the goldens didn't parse it
      EXPECT_THROW(static_cast<void>(container_summary(entry.path().string())), Error);
      continue;
    }
    const PackageSummary summary = container_summary(entry.path().string());
    EXPECT_EQ(summary.pkg.id.to_string(), golden["package_id"].get<std::string>());
    EXPECT_EQ(nlohmann::ordered_json(summary.pkg.commands), golden["command_order"]);
    EXPECT_EQ(summary.dist.path, entry.path().string());
    EXPECT_EQ(summary.dist.url, "file://" + entry.path().string());
    EXPECT_FALSE(summary.dist.webc_sha256);
    EXPECT_EQ(to_hex(hash_file(entry.path().string())), golden["sha256"].get<std::string>());
    ++opened;
  }
  EXPECT_GT(opened, 40);
}

TEST_F(ContainerSummary, HashesAreReadAgainWhenTheFileChanges) {
  FileHashes hashes;
  const std::string file = dir_.write("f", "one");
  EXPECT_EQ(hashes.of(file), sha256("one"));
  dir_.write("f", "other");
  EXPECT_EQ(hashes.of(file), sha256("other"));
  fs::remove(file);
  EXPECT_THROW(static_cast<void>(hashes.of(file)), Error);
}

TEST_F(ContainerSummary, WhatIsNoRegularFile) {
  const std::string fifo = root() + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_FALSE(has_container_magic(fifo));
  EXPECT_FALSE(has_container_magic(root()));
  EXPECT_FALSE(has_container_magic(root() + "/none"));
  EXPECT_FALSE(has_container_magic(dir_.write("short", std::string_view("\0web", 4))));
  EXPECT_TRUE(has_container_magic(dir_.write("magic", std::string_view("\0webc???", 8))));
  EXPECT_THROW(static_cast<void>(hash_file(fifo)), Error);
}

TEST_F(LocalRegistry, MustExist) {
  try {
    const LocalRegistrySource source(root() + "/none");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.message(), "package directory does not exist: \"" + root() + "/none\"");
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
  }
  EXPECT_THROW(LocalRegistrySource(dir_.write("file", "")), Error);
}

TEST_F(LocalRegistry, IdsComeFromThePath) {
  put("basic-v3", "ns/name/1.2.3.webc");
  put("basic-v2", "ns/name/1.10.0.webc");
  put("basic-v1", "name/1.2.3.webc");
  put("id-none-v3", "ns/name/1.0.0-rc.1.webc");
  LocalRegistrySource source(root());
  EXPECT_THAT(found(source, "ns/name"), ElementsAre("ns/name@1.2.3", "ns/name@1.10.0"));
  EXPECT_THAT(found(source, "name"), ElementsAre("name@1.2.3"));
  EXPECT_THAT(found(source, "ns/name@=1.0.0-rc.1"), ElementsAre("ns/name@1.0.0-rc.1"));
  EXPECT_THAT(found(source, "ns/name@stable"), ElementsAre("ns/name@1.2.3", "ns/name@1.10.0"));
  EXPECT_EQ(failure(source, "ns/name@2"), Kind::kNoMatches);
  EXPECT_EQ(failure(source, "ns/other"), Kind::kNotFound);
  EXPECT_EQ(failure(source, "./name"), Kind::kUnsupported);
  EXPECT_EQ(failure(source, "https://example.com/name"), Kind::kUnsupported);
  const auto summary = source.query(PackageSpecifier::parse("ns/name@=1.2.3")).front();
  EXPECT_EQ(summary.dist.path, root() + "/ns/name/1.2.3.webc");
  EXPECT_FALSE(summary.dist.webc_sha256);
  EXPECT_EQ(nlohmann::ordered_json(summary.pkg.commands), facts("basic-v3")["command_order"]);
}

TEST_F(LocalRegistry, TrailingSlashAndLateComers) {
  LocalRegistrySource source(root() + "//");
  EXPECT_EQ(failure(source, "a"), Kind::kNotFound);
  put("basic-v3", "a/1.0.0.webc");
  EXPECT_EQ(source.query(PackageSpecifier::parse("a")).front().dist.path, root() + "/a/1.0.0.webc");
  EXPECT_THAT(found(source, "sha256:" + facts("basic-v3")["sha256"].get<std::string>()), ElementsAre("a@1.0.0"));
}

TEST_F(LocalRegistry, OnlyVersionsCountAndOnlyMatchesAreRead) {
  put("basic-v3", "a/1.0.0.webc");
  dir_.write("a/2.0.0.webc", "garbage");
  dir_.write("a/notaversion.webc", "garbage");
  dir_.write("a/1.0.1.txt", "garbage");
  fs::create_directories(dir_.path() / "a/1.0.2.webc");
  ASSERT_EQ(::mkfifo((root() + "/a/1.0.3.webc").c_str(), 0600), 0);
  LocalRegistrySource source(root());
  EXPECT_THAT(found(source, "a@1"), ElementsAre("a@1.0.0"));
  EXPECT_EQ(failure(source, "a"), Kind::kOther);
  const auto texts = chain(source, "a@2");
  ASSERT_GE(texts.size(), 3U);
  EXPECT_EQ(texts[0], "failed to query package 'a@^2': Unable to load \"" + root() + "/a/2.0.0.webc\"");
  EXPECT_EQ(texts[1], "Unable to load \"" + root() + "/a/2.0.0.webc\"");
}

TEST_F(LocalRegistry, ADeadLinkIsNoReasonForAnOlderVersion) {
  put("basic-v3", "a/1.0.0.webc");
  fs::create_symlink("gone", dir_.path() / "a/1.1.0.webc");
  LocalRegistrySource source(root());
  EXPECT_EQ(failure(source, "a"), Kind::kOther);
}

TEST_F(LocalRegistry, NamesStayBelowTheRoot) {
  put("basic-v3", "top/1.0.0.webc");
  put("basic-v3", "reg/ns/name/1.0.0.webc");
  LocalRegistrySource source(root() + "/reg");
  const auto ask = [&](std::optional<std::string> ns, std::string name) {
    return failure(source, NamedIdent{std::nullopt, std::move(ns), std::move(name), {}});
  };
  EXPECT_EQ(ask(std::nullopt, "../top"), Kind::kNotFound);
  EXPECT_EQ(ask("..", "top"), Kind::kNotFound);
  EXPECT_EQ(ask(".", "ns/name"), Kind::kNotFound);
  EXPECT_EQ(ask("", "top"), Kind::kNotFound);
  EXPECT_EQ(ask("ns/", "name"), Kind::kNotFound);
  EXPECT_EQ(ask("ns", ""), Kind::kNotFound);
  EXPECT_EQ(ask("ns", std::string("name\0x", 6)), Kind::kNotFound);
  EXPECT_EQ(ask("ns", "na\\me"), Kind::kNotFound);
  EXPECT_EQ(ask("ns", std::string(5000, 'x')), Kind::kNotFound);
  EXPECT_EQ(ask("ns", "name"), std::nullopt);
}

TEST_F(LocalRegistry, SidecarsMustAgree) {
  const std::string hash = facts("basic-v3")["sha256"];
  put("basic-v3", "a/1.0.0.webc");
  LocalRegistrySource source(root());
  for (const std::string& text : {hash, "sha256:" + hash, " \n" + hash + "\n", "\tsha256:" + hash + " "}) {
    dir_.write("a/1.0.0.sha256", text);
    EXPECT_EQ(source.query(PackageSpecifier::parse("a")).front().dist.webc_sha256, sha256_from_hex(hash)) << text;
  }
  const std::string wrong(64, 'a');
  dir_.write("a/1.0.0.sha256", wrong);
  const std::string mismatch =
      "sha256 mismatch for \"" + root() + "/a/1.0.0.webc\": expected " + wrong + ", file hashes to " + hash;
  EXPECT_THAT(chain(source, "a"), ElementsAre("failed to query package 'a': " + mismatch, mismatch));
  EXPECT_THAT(chain(source, "sha256:" + wrong), ElementsAre(HasSubstr(mismatch), mismatch));
  dir_.write("a/1.0.0.sha256", "not hex");
  EXPECT_EQ(failure(source, "a"), Kind::kOther);
  dir_.write("a/1.0.0.sha256", std::string(100000, ' ') + hash);
  EXPECT_EQ(failure(source, "a"), Kind::kOther);
}

TEST_F(LocalRegistry, ByHash) {
  put("basic-v3", "ns/a/1.0.0.webc");
  put("id-none-v3", "b/2.0.0.webc");
  put("order-v2", "flat.webc");
  put("id-unnamed-v3", "one/two/three/1.0.0.webc");
  dir_.write("bad/1.0.0.sha256", "nonsense");
  dir_.write("bad/1.0.0.webc", "x");
  const CapturedLog log;
  LocalRegistrySource source(root());
  const auto by_hash = [&](const std::string& name) {
    return found(source, "sha256:" + facts(name)["sha256"].get<std::string>());
  };
  EXPECT_THAT(by_hash("basic-v3"), ElementsAre("ns/a@1.0.0"));
  EXPECT_THAT(by_hash("id-none-v3"), ElementsAre("b@2.0.0"));
  EXPECT_THAT(by_hash("order-v2"), ElementsAre(facts("order-v2")["package_id"].get<std::string>()));
  EXPECT_THAT(by_hash("id-unnamed-v3"), ElementsAre(facts("id-unnamed-v3")["package_id"].get<std::string>()));
  EXPECT_EQ(failure(source, "sha256:" + std::string(64, '0')), Kind::kNotFound);
  dir_.write("ns/a/1.0.0.sha256", facts("basic-v3")["sha256"].get<std::string>());
  EXPECT_THAT(by_hash("basic-v3"), ElementsAre("ns/a@1.0.0"));
}

TEST_F(LocalRegistry, LinksAreFollowedAndLoopsEnd) {
  put("basic-v3", "elsewhere/name/1.0.0.webc");
  fs::create_directories(dir_.path() / "reg");
  fs::create_directory_symlink("../elsewhere", dir_.path() / "reg/ns");
  fs::create_directory_symlink("..", dir_.path() / "elsewhere/loop");
  fs::create_directory_symlink("self", dir_.path() / "reg/self");
  LocalRegistrySource source(root() + "/reg");
  EXPECT_THAT(found(source, "ns/name"), ElementsAre("ns/name@1.0.0"));
  EXPECT_THAT(found(source, "sha256:" + facts("basic-v3")["sha256"].get<std::string>()), ElementsAre("ns/name@1.0.0"));
}

TEST_F(Directory, EveryContainerWhateverItsName) {
  put("basic-v1", "a.webc");
  put("order-v2", "deep/er/without-extension");
  put("deep-v3", "deep/b.txt");
  put("id-unnamed-v3", "unnamed.webc");
  dir_.write("readme.webc", "no container");
  DirectorySource source(root());
  for (const char* name : {"basic-v1", "order-v2", "deep-v3", "id-unnamed-v3"}) {
    const std::string id = facts(name)["package_id"];
    EXPECT_THAT(found(source, "sha256:" + facts(name)["sha256"].get<std::string>()), ElementsAre(id));
    if (!id.starts_with("sha256:")) {
      EXPECT_THAT(found(source, id.substr(0, id.find('@'))), ElementsAre(id));
    }
  }
  EXPECT_EQ(failure(source, "nobody/here"), Kind::kNotFound);
  EXPECT_EQ(failure(source, "sha256:" + std::string(64, '0')), Kind::kNotFound);
  EXPECT_EQ(failure(source, "./a.webc"), Kind::kUnsupported);
}

TEST_F(Directory, ADamagedContainer) {
  put("basic-v3", "a.webc");
  dir_.write("sub/b.webc", std::string_view("\0webc003xx", 10));
  const std::string id = facts("basic-v3")["package_id"];
  DirectorySource strict(root());
  EXPECT_THAT(chain(strict, id.substr(0, id.find('@')))[0], HasSubstr("Unable to add entries from \"" + root() + "\""));
  const CapturedLog log;
  DirectorySource lenient(root(), {.skip_damaged = true});
  EXPECT_THAT(found(lenient, id.substr(0, id.find('@'))), ElementsAre(id));
  EXPECT_THAT(log.text(), HasSubstr("/sub/b.webc"));
  DirectorySource flat(root(), {.depth = 1});
  EXPECT_THAT(found(flat, id.substr(0, id.find('@'))), ElementsAre(id));
  EXPECT_THROW(DirectorySource(root() + "/none"), Error);
}

TEST_F(Path, AContainer) {
  put("basic-v3", "dir/a.webc");
  fs::create_symlink("dir/a.webc", dir_.path() / "link");
  PathSource source;
  const auto answers = source.query(PackageSpecifier::parse(root() + "/dir/../link"));
  ASSERT_EQ(answers.size(), 1U);
  EXPECT_EQ(answers[0].pkg.id.to_string(), facts("basic-v3")["package_id"].get<std::string>());
  EXPECT_EQ(answers[0].dist.path, fs::canonical(dir_.path()).string() + "/dir/a.webc");
  EXPECT_EQ(failure(source, "a"), Kind::kUnsupported);
  EXPECT_EQ(failure(source, "sha256:" + std::string(64, '0')), Kind::kUnsupported);
}

TEST_F(Path, RelativeOnesBeginAtTheBase) {
  put("basic-v3", "dir/a.webc");
  PathSource source({}, root() + "/dir");
  EXPECT_THAT(found(source, "./a.webc"), testing::SizeIs(1));
  EXPECT_THAT(found(source, root() + "/dir/a.webc"), testing::SizeIs(1));
  EXPECT_EQ(failure(source, "./dir/a.webc"), Kind::kOther);
}

TEST_F(Path, Failures) {
  PathSource source;
  const std::string none = root() + "/none";
  const auto missing = chain(source, none);
  ASSERT_EQ(missing.size(), 3U);
  EXPECT_EQ(missing[1], "Unable to get the canonical form for \"" + none + "\"");
  const std::string text = dir_.write("text", "hello");
  EXPECT_EQ(chain(source, text)[1], "Unable to parse \"" + fs::canonical(text).string() + "\"");
  EXPECT_EQ(failure(source, root()), Kind::kOther);
}

TEST_F(Path, TheCallerSaysWhatAPackageIs) {
  std::string asked;
  PathSource source([&](const std::string& path) {
    asked = path;
    return PackageSummary{{PackageId(PackageHash(sha256(path))), {}, {}, {}, {}}, local_distribution(path)};
  });
  EXPECT_THAT(found(source, root() + "/."), testing::SizeIs(1));
  EXPECT_EQ(asked, fs::canonical(dir_.path()).string());
}

TEST_F(OpenRegistry, LayoutAndLooseFiles) {
  put("basic-v3", "ns/name/1.2.3.webc");
  put("order-v2", "loose.webc");
  dir_.write("broken.webc", std::string_view("\0webc003xx", 10));
  const CapturedLog log;
  const auto source = open_registry(root());
  EXPECT_THAT(found(*source, "ns/name"), ElementsAre("ns/name@1.2.3"));
  const std::string id = facts("order-v2")["package_id"];
  EXPECT_THAT(found(*source, id.substr(0, id.find('@'))), ElementsAre(id));
  EXPECT_EQ(failure(*source, "ns/name@2"), Kind::kNoMatches);
  EXPECT_EQ(failure(*source, "sha256:" + std::string(64, '0')), Kind::kNotFound);
  EXPECT_THROW(static_cast<void>(open_registry(root() + "/none")), Error);
}

}  // namespace
}  // namespace pkgfs::test
