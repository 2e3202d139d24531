// SPDX-License-Identifier: MIT
#include "core/load/tarball.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>

#include "core/vfs/walk.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

constexpr const char* kToml = "[fs]\n\"/w\" = \"web\"\n";

/// $TMPDIR is a directory of the test, to see what stays in it.
class Tarball : public ::testing::Test {
 protected:
  Tarball() {
    const char* before = std::getenv("TMPDIR");  // NOLINT(concurrency-mt-unsafe)
    before_ = before != nullptr ? before : "";
    std::filesystem::create_directory(scratch());
    ::setenv("TMPDIR", scratch().c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
  }
  ~Tarball() override {
    EXPECT_TRUE(std::filesystem::is_empty(scratch())) << "something stayed behind";
    if (before_.empty()) {
      ::unsetenv("TMPDIR");  // NOLINT(concurrency-mt-unsafe)
    } else {
      ::setenv("TMPDIR", before_.c_str(), 1);  // NOLINT(concurrency-mt-unsafe)
    }
  }
  Tarball(const Tarball&) = delete;
  Tarball& operator=(const Tarball&) = delete;

  [[nodiscard]] std::filesystem::path scratch() const { return dir_.path() / "scratch"; }
  [[nodiscard]] std::string archive() const { return (dir_.path() / "p.tar.gz").string(); }
  [[nodiscard]] std::string error_of(const std::vector<TarEntry>& entries) const {
    write_tarball(archive(), entries);
    try {
      (void)open_package(archive());
    } catch (const Error& error) {
      return error.what();
    }
    return "<opens>";
  }
  /// What a package with this entry says.
  [[nodiscard]] std::string with(const TarEntry& entry) const {
    return error_of({{.name = "wasmer.toml", .content = kToml}, {.name = "web/x", .content = "x"}, entry});
  }

 private:
  TempDir dir_;
  std::string before_;
};

TEST_F(Tarball, IsUnpackedAndShownLikeAContainer) {
  write_tarball(archive(), {{.name = "./wasmer.toml", .content = kToml},
                            {.name = "web/", .type = 'd', .modified = 1'500'000'000},
                            {.name = "./web/.git/config", .content = "g"},
                            {.name = "web/.wasmerignore", .content = "*\n"},
                            {.name = "web/ünï 漢字", .content = "utf8", .modified = 1'600'000'123},
                            {.name = "web/link", .type = 'l', .target = "sub/../ünï 漢字"},
                            {.name = "web/sub", .type = 'd', .modified = 1'400'000'000},
                            {.name = "web/sub/hard", .type = 'h', .target = "web/ünï 漢字"},
                            {.name = "web/again", .content = "first"},
                            {.name = "web/again", .content = "second"}});
  const auto package = open_package(archive());
  EXPECT_EQ(package->name(), archive());
  EXPECT_EQ(package->webc_version(), 3);
  EXPECT_FALSE(package->is_live());
  EXPECT_EQ(package->hash().digest(), sha256(read_text(archive())));
  EXPECT_TRUE(std::filesystem::is_empty(scratch()));

  const PackageTree tree = load_alone(package, only_files());
  EXPECT_EQ(content(*tree.file_system, "/w/ünï 漢字"), "utf8");
  EXPECT_EQ(content(*tree.file_system, "/w/sub/hard"), "utf8");
  EXPECT_EQ(content(*tree.file_system, "/w/again"), "second");
  EXPECT_EQ(content(*tree.file_system, "/w/.git/config"), "g");
  const auto times = [&](const std::string& path) {
    return vfs::find_path(*tree.file_system, path)->attributes.modified;
  };
  EXPECT_EQ(times("/w/ünï 漢字"), 1'600'000'123);
  EXPECT_EQ(times("/w/sub"), 1'400'000'000);
  const auto link = vfs::find_path(*tree.file_system, "/w/link");
  ASSERT_TRUE(link);
  EXPECT_EQ(tree.file_system->read_link(link->inode).value(), "sub/../ünï 漢字");
}

TEST_F(Tarball, TheOlderManifestNameIsAFallback) {
  EXPECT_EQ(error_of({{.name = "wapm.toml", .content = kToml}, {.name = "web/x"}}), "<opens>");
  EXPECT_THAT(error_of({{.name = "other.toml"}}), HasSubstr("Unable to find the \"wasmer.toml\""));
  EXPECT_THAT(error_of({{.name = "sub/wasmer.toml", .content = kToml}}),
              HasSubstr("Unable to find the \"wasmer.toml\""));
}

TEST_F(Tarball, MessagesNameTheArchiveAndNotTheScratchDirectory) {
  const std::string text = error_of({{.name = "wasmer.toml", .content = "[package\n"}});
  EXPECT_THAT(text, HasSubstr("Unable to deserialize \"" + archive() + "/wasmer.toml\""));
  EXPECT_THAT(text, ::testing::Not(HasSubstr(scratch().string())));
}

TEST_F(Tarball, WhatLeadsOutIsRefused) {
  EXPECT_THAT(with({.name = "../evil", .content = "x"}), HasSubstr("Unable to extract the tarball"));
  EXPECT_THAT(with({.name = "../evil", .content = "x"}), HasSubstr("\"../evil\" has a name with \"..\""));
  EXPECT_THAT(with({.name = "web/../../evil", .content = "x"}), HasSubstr("has a name with \"..\""));
  EXPECT_THAT(with({.name = "/tmp/evil", .content = "x"}), HasSubstr("has an absolute name"));
  EXPECT_THAT(with({.name = "web/l", .type = 'l', .target = "/etc/passwd"}), HasSubstr("leads out of the archive"));
  EXPECT_THAT(with({.name = "web/l", .type = 'l', .target = "../../x"}), HasSubstr("leads out of the archive"));
  EXPECT_EQ(with({.name = "web/l", .type = 'l', .target = "../wasmer.toml"}), "<opens>");
  EXPECT_THAT(with({.name = "web/h", .type = 'h', .target = "/etc/passwd"}), HasSubstr("has an absolute name"));
  EXPECT_THAT(with({.name = "web/h", .type = 'h', .target = "../../etc/passwd"}), HasSubstr("has a name with"));
  EXPECT_THAT(with({.name = "web/h", .type = 'h', .target = "web"}), HasSubstr("which is no file"));
  EXPECT_THAT(with({.name = "web/c", .type = 'c'}), HasSubstr("is a device, FIFO or socket"));
  EXPECT_THAT(with({.name = "web/p", .type = 'p'}), HasSubstr("is a device, FIFO or socket"));
}

TEST_F(Tarball, NothingIsWrittenThroughALink) {
  EXPECT_THAT(error_of({{.name = "wasmer.toml", .content = kToml},
                        {.name = "web/d", .type = 'd'},
                        {.name = "web/l", .type = 'l', .target = "d"},
                        {.name = "web/l/x", .content = "through"}}),
              HasSubstr("passes through \"web/l\", which is no directory"));
}

std::string repeated(const std::string& text, std::size_t count) {
  std::string all;
  for (std::size_t i = 0; i < count; ++i) {
    all += text;
  }
  return all;
}

TEST_F(Tarball, DeepNamesAreRefusedAndNotFollowed) {
  EXPECT_THAT(with({.name = "web/" + repeated("a/", 3000) + "f"}), HasSubstr("directories deep"));
  EXPECT_THAT(with({.name = "web/" + repeated("a/", 50'000) + "f"}), HasSubstr("directories deep"));
  EXPECT_THAT(with({.name = "web/" + std::string(256, 'a') + "/f"}), HasSubstr("has a name of more than 255 bytes"));
  const std::string deep = "/" + repeated("a/", 250) + "f";
  write_tarball(archive(), {{.name = "wasmer.toml", .content = kToml}, {.name = "web" + deep, .content = "deep"}});
  EXPECT_EQ(content(*load_alone(archive(), only_files()).file_system, "/w" + deep), "deep");
}

TEST_F(Tarball, DirectoriesThatAreNoEntriesCountToo) {
  std::vector<TarEntry> entries{{.name = "wasmer.toml", .content = kToml}};
  const std::string way = repeated("/d", 250) + "/f";
  for (std::size_t i = 0; i < 4'000; ++i) {  // times 252
    entries.push_back({.name = "web/" + std::to_string(i) + way});
  }
  EXPECT_THAT(error_of(entries), HasSubstr("it has more than 1000000 entries"));
}

TEST_F(Tarball, VolumesThatOverlapDontMultiplyWithoutEnd) {
  std::string toml = "[fs]\n";
  std::vector<TarEntry> entries{{}};
  for (std::size_t i = 0; i < 120; ++i) {
    const std::string number = std::to_string(i);
    toml += "\"/w" + number + "\" = \"l" + number + "\"\n";
    entries.push_back({.name = "l" + number, .type = 'l', .target = "web"});
  }
  for (std::size_t i = 0; i < 10'000; ++i) {
    entries.push_back({.name = "web/" + std::to_string(i)});
  }
  entries.front() = {.name = "wasmer.toml", .content = toml};
  EXPECT_THAT(error_of(entries), HasSubstr("it has more than 1000000 entries when packed"));
}

TEST_F(Tarball, PathsInTheManifestStayInTheArchive) {
  for (const char* host : {"/etc", "../etc", "web/../../etc"}) {
    EXPECT_THAT(error_of({{.name = "wasmer.toml", .content = "[fs]\n\"/w\" = \"" + std::string(host) + "\"\n"},
                          {.name = "web/x"}}),
                HasSubstr("leads out of"))
        << host;
  }
  const std::string module = "[[module]]\nname = \"m\"\nsource = \"/etc/hostname\"\n";
  EXPECT_THAT(error_of({{.name = "wasmer.toml", .content = module}}), HasSubstr("leads out of the package directory"));
  // Down a link and up again: only where a link leads shows that this is above the root.
  EXPECT_THAT(error_of({{.name = "wasmer.toml", .content = kToml},
                        {.name = "a/here", .type = 'l', .target = "."},
                        {.name = "a/up", .type = 'l', .target = "here/../../x"},
                        {.name = "web", .type = 'l', .target = "a/up"}}),
              HasSubstr("leads out of"));
  EXPECT_THAT(error_of({{.name = "wasmer.toml", .content = kToml},
                        {.name = "web", .type = 'l', .target = "webb"},
                        {.name = "webb", .type = 'l', .target = "web"}}),
              HasSubstr("Too many levels of symbolic links"));
}

TEST_F(Tarball, LinksInsideAreFollowedForTheManifest) {
  write_tarball(archive(), {{.name = "wasmer.toml", .type = 'l', .target = "meta/./w.toml"},
                            {.name = "meta/w.toml",
                             .content = "[fs]\n\"/w\" = \"web\"\n\"/one\" = \"meta/file\"\n"
                                        "[[module]]\nname = \"m\"\nsource = \"web/m\"\n"},
                            {.name = "meta/file", .content = "alone"},
                            {.name = "web", .type = 'l', .target = "meta/../real//"},
                            {.name = "real/m", .content = "module"}});
  const auto package = open_package(archive());
  ASSERT_NE(package->find_atom("m"), nullptr);
  EXPECT_EQ(package->find_atom("m")->body.length, 6U);
  const PackageTree tree = load_alone(package, only_files());
  EXPECT_EQ(content(*tree.file_system, "/w/m"), "module");
  EXPECT_EQ(content(*tree.file_system, "/one/meta/file"), "alone");
}

TEST_F(Tarball, HolesAreZerosToTheEnd) {
  const TempDir dir;
  dir.write("wasmer.toml", kToml);
  const auto file = dir.write("web/sparse", "");
  std::filesystem::resize_file(file, 3'000'000);
  {
    const UniqueFd fd(::open(file.c_str(), O_WRONLY | O_CLOEXEC));
    ASSERT_EQ(::pwrite(fd.get(), "middle", 6, 1'000'000), 6);
  }
  const std::string command = "tar -C " + dir.path().string() + " -czSf " + archive() + " wasmer.toml web";
  ASSERT_EQ(std::system(command.c_str()), 0);  // NOLINT(concurrency-mt-unsafe)
  const PackageTree tree = load_alone(archive(), only_files());
  EXPECT_EQ(sha256(content(*tree.file_system, "/w/sparse")), sha256(read_text(file)));
}

TEST_F(Tarball, NeedsNoDirectoryToUnpackTo) {
  ::setenv("TMPDIR", "/proc", 1);  // NOLINT(concurrency-mt-unsafe): nothing can be made there
  EXPECT_EQ(error_of({{.name = "wasmer.toml", .content = kToml}, {.name = "web/x", .content = "x"}}), "<opens>");
}

TEST_F(Tarball, AHardLinkOutlivesWhatItWasMadeFrom) {
  write_tarball(archive(), {{.name = "wasmer.toml", .content = kToml},
                            {.name = "web/a", .content = "first", .modified = 1'500'000'000},
                            {.name = "web/b", .type = 'h', .target = "web/a"},
                            {.name = "web/a", .content = "second"}});
  const PackageTree tree = load_alone(archive(), only_files());
  EXPECT_EQ(content(*tree.file_system, "/w/a"), "second");
  EXPECT_EQ(content(*tree.file_system, "/w/b"), "first");
  EXPECT_EQ(vfs::find_path(*tree.file_system, "/w/b")->attributes.modified, 1'500'000'000);
  EXPECT_THAT(with({.name = "web/x", .type = 'h', .target = "web/x"}), HasSubstr("is a hard link to itself"));
}

TEST_F(Tarball, DamageIsAnError) {
  write_tarball(archive(),
                {{.name = "wasmer.toml", .content = kToml}, {.name = "web/x", .content = std::string(100'000, 'x')}});
  const std::string whole = read_text(archive());
  for (const std::size_t size : {std::size_t{2}, std::size_t{10}, whole.size() / 2, whole.size() - 9}) {
    std::filesystem::resize_file(archive(), size);
    try {
      (void)open_package(archive());
      ADD_FAILURE() << "opens with " << size << " bytes";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr(archive()));
    }
  }
}

}  // namespace
}  // namespace pkgfs::test
