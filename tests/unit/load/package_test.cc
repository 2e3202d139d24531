// SPDX-License-Identifier: MIT
#include "core/load/package.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/load/package_loader.h"
#include "core/package/package_info.h"
#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::string& path, const OpenOptions& options = {}) {
  try {
    (void)open_package(path, options);
  } catch (const Error& error) {
    return error.what();
  }
  return "<opens>";
}

TEST(OpenPackage, GoesByContentAndNotByName) {
  const TempDir dir;
  std::filesystem::copy(fixtures() / "webc/basic-v2.webc", dir.path() / "any.thing");
  const auto package = open_package((dir.path() / "any.thing").string());
  EXPECT_EQ(package->webc_version(), 2);
  EXPECT_EQ(package->name(), (dir.path() / "any.thing").string());
  EXPECT_FALSE(package->is_live());
  EXPECT_NE(package->container(), nullptr);
  EXPECT_EQ(package->open_volume("nope"), nullptr);
  ASSERT_EQ(package->atoms().size(), 1U);
  EXPECT_EQ(package->find_atom(package->atoms()[0].name), package->atoms().data());
  EXPECT_EQ(package->find_atom("nope"), nullptr);
  EXPECT_EQ(to_hex(package->hash().digest()), to_hex(sha256(read_text(dir.path() / "any.thing"))));
}

TEST(OpenPackage, SaysWhatIsNoPackage) {
  const TempDir dir;
  const auto with = [&](std::string_view content) { return error_of(dir.write("x", content).string()); };
  EXPECT_THAT(with(""), HasSubstr("Unable to detect the WEBC version\n  caused by: failed to fill whole buffer"));
  EXPECT_THAT(with("short"), HasSubstr("Expected the magic bytes to be \"\\x00webc\", but found \"short\""));
  EXPECT_THAT(with("\x7f\"ELF"), HasSubstr("but found \"\\x7f\\\"ELF\""));
  EXPECT_THAT(with(std::string_view("\0asm\1\0\0\0", 8)), HasSubstr("is a WebAssembly module, not a package"));
  EXPECT_THAT(with("PK\3\4aaaa"), HasSubstr("ZIP"));
  EXPECT_THAT(with("!<arch>\ndebian-binary"), HasSubstr("it is a Debian package, not a package"));
  EXPECT_THAT(with("<!doctype html>"), HasSubstr("it is an HTML page, not a package"));
  EXPECT_THAT(with("\x28\xB5\x2F\xFD____"), HasSubstr("zstd"));
  EXPECT_THAT(with(std::string_view("\0webc004", 8)), HasSubstr("004"));
  EXPECT_THAT(error_of((dir.path() / "gone").string()), HasSubstr("No such file"));
  EXPECT_THAT(error_of((dir.path() / "gone").string()), HasSubstr((dir.path() / "gone").string()));
  ASSERT_EQ(::mkfifo((dir.path() / "fifo").c_str(), 0600), 0);
  EXPECT_THAT(error_of((dir.path() / "fifo").string()), HasSubstr("neither a file nor a directory"));
}

TEST(OpenPackage, ChecksAsMuchAsItIsAskedTo) {
  const auto bad = [](const char* name) { return (fixtures() / "bad" / name).string(); };
  OpenOptions strict;
  strict.strict = true;
  OpenOptions complete;
  complete.verify = Verify::kOpen;
  // A wrong hash of a file's content is seen only by reading it.
  EXPECT_EQ(error_of(bad("v3-file-badhash.webc")), "<opens>");
  EXPECT_THAT(error_of(bad("v3-file-badhash.webc"), complete), HasSubstr("is damaged"));
  // A directory in a circle is seen by visiting.
  EXPECT_EQ(error_of(bad("v3-dir-cycle-self.webc")), "<opens>");
  EXPECT_THAT(error_of(bad("v3-dir-cycle-self.webc"), strict), HasSubstr("is damaged"));
  EXPECT_EQ(error_of(bad("v3-ok.webc"), strict), "<opens>");
  EXPECT_EQ(error_of(bad("v3-ok.webc"), complete), "<opens>");
}

class BadContainers : public ::testing::TestWithParam<std::string> {};

TEST_P(BadContainers, AreRefusedOrShownWithoutACrash) {
  const CapturedLog log;
  const std::string path = (fixtures() / "bad" / GetParam()).string();
  std::shared_ptr<const Package> package;
  try {
    package = open_package(path);
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(GetParam())) << "names the file";
    return;
  }
  for (const auto& volume : package->volume_names()) {
    const auto fs = package->open_volume(volume);
    ASSERT_NE(fs, nullptr);
    (void)listing(*fs);
  }
  try {
    const PackageTree tree = load_alone(package, {});
    (void)listing(*tree.file_system);
    (void)footprint(*tree.file_system);
    TreeOptions strict;
    strict.strict = true;
    (void)load_alone(package, strict);
  } catch (const Error& error) {
    EXPECT_NE(error.code(), ErrorCode::kInternal) << error.what();
  }
}

std::vector<std::string> bad_files() {
  std::vector<std::string> names;
  for (const auto& file : std::filesystem::directory_iterator(fixtures() / "bad")) {
    if (file.path().extension() == ".webc") {
      names.push_back(file.path().filename().string());
    }
  }
  std::ranges::sort(names);
  return names;
}

INSTANTIATE_TEST_SUITE_P(All, BadContainers, ::testing::ValuesIn(bad_files()), [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace_if(name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

PackageSummary summary_at(const std::optional<std::string>& path) {
  const PackageId id = NamedId{.full_name = "acme/x", .version = Version::parse("1.0.0")};
  return {.pkg = {.id = id, .commands = {}, .entrypoint = {}, .dependencies = {}, .filesystem = {}},
          .dist = {.url = "https://example.com/x.webc", .path = path, .webc_sha256 = {}}};
}

TEST(PackageLoaderTest, OpensAPackageOnce) {
  const TempDir dir;
  std::filesystem::copy(fixtures() / "webc/basic-v3.webc", dir.path() / "a.webc");
  ASSERT_EQ(::symlink("a.webc", (dir.path() / "b.webc").c_str()), 0);
  PackageLoader loader({});
  const auto first = loader.load(summary_at((dir.path() / "a.webc").string()));
  EXPECT_EQ(loader.load(summary_at((dir.path() / "b.webc").string())), first);
}

TEST(PackageLoaderTest, SaysWhichPackageCantBeLoaded) {
  PackageLoader loader({});
  try {
    (void)loader.load(summary_at(std::nullopt));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("acme/x@1.0.0"));
    EXPECT_THAT(error.what(), HasSubstr("https://example.com/x.webc"));
  }
  try {
    (void)loader.load(summary_at("/nothere/x.webc"));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNotFound);
    EXPECT_THAT(error.what(), HasSubstr("acme/x@1.0.0"));
    EXPECT_THAT(error.what(), HasSubstr("/nothere/x.webc"));
  }
}

}  // namespace
}  // namespace pkgfs::test
