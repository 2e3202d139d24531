// SPDX-License-Identifier: MIT
// Risk: a failed export leaves a file, or changes one of the user; an OUT that can't be written is noticed late.
#include <sys/mount.h>
#include <unistd.h>

#include <csignal>
#include <fstream>

#include "tests/mounted/export.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

using ExportPlace = ExportTest;

TEST_F(ExportPlace, AFileAppearsWholeOrNotAtAll) {
  const std::string package = single("basic-v3");
  std::ofstream(at("out")) << "mine";
  const ProcessResult exists = write("tar", package, "out");
  EXPECT_EQ(exists.exit_code, 2) << exists.describe();
  EXPECT_EQ(read_text(at("out")), "mine");
  EXPECT_TRUE(write("tar", package, "out", {"--force"}).ok());
  EXPECT_NE(read_text(at("out")), "mine");
  EXPECT_EQ(names(), std::vector<std::string>{"out"});
  const ProcessResult said = shell("{ \"$PKGFS\" export \"$PACKAGE\" -; echo \"code $?\" >&2; } | true",
                                   {.environment = {{"PKGFS", kPkgfs}, {"PACKAGE", single("big4m-v3")}}});
  EXPECT_NE(said.err.find("code 141\n"), std::string::npos) << "ended by SIGPIPE: " << said.describe();

  const std::string longest(255, 'n');
  EXPECT_TRUE(write("tar", package, longest).ok());
  EXPECT_TRUE(write("tar", package, longest, {"--force"}).ok());
}

TEST_F(ExportPlace, AnOutThatCantBeWrittenIsRefusedFirst) {
  std::ofstream(at("file")) << "mine";
  fs::create_directory(at("full"));
  std::ofstream(at("full/file")) << "mine";
  const std::vector<std::pair<const char*, std::string>> places{
      {"tar", "file"}, {"tar", "full"}, {"tar", "missing/out"}, {"oci", "full"}, {"oci", "missing/out"}};
  for (const auto& [format, out] : places) {
    const ProcessResult refused = write(format, "/nonexistent/package.webc", out);
    EXPECT_EQ(refused.err.find("package.webc"), std::string::npos) << refused.describe();
    EXPECT_NE(refused.err.find(out), std::string::npos) << refused.describe();
  }
  for (const char* format : {"squashfs", "erofs"}) {
    const ProcessResult refused = run({kPkgfs, "export", std::string("--format=") + format, "/nonexistent", "-"});
    EXPECT_EQ(refused.exit_code, 2) << refused.describe();
  }
}

TEST_F(ExportPlace, ANewDirectoryHasTheModeOfAnyOther) {
  for (const auto& [mask, mode] : {std::pair("022", 0755U), std::pair("027", 0750U)}) {
    const std::string out = std::string("image-") + mask;
    const ProcessResult made =
        shell("umask " + std::string(mask) + "; \"$PKGFS\" export --format=oci \"$PACKAGE\" " + out,
              {.directory = dir_.path().string(), .environment = {{"PKGFS", kPkgfs}, {"PACKAGE", single("basic-v3")}}});
    ASSERT_TRUE(made.ok()) << made.describe();
    EXPECT_EQ(static_cast<unsigned>(fs::status(at(out)).permissions()), mode);
  }
  fs::create_directory(at("mine"));
  fs::permissions(at("mine"), fs::perms(0711));
  EXPECT_TRUE(write("oci", single("basic-v3"), "mine").ok());
  EXPECT_EQ(fs::status(at("mine")).permissions(), fs::perms(0711));
}

TEST_F(ExportPlace, AFullDiskLeavesNoFile) {
  if (::geteuid() != 0) {
    GTEST_SKIP() << "a small disk needs root";
  }
  fs::create_directory(at("small"));
  ASSERT_EQ(::mount("tmpfs", at("small").c_str(), "tmpfs", 0, "size=1m"), 0);
  std::vector<std::string> formats{"tar", "erofs", "docker", "oci"};
  if (have_program("sqfstar")) {
    formats.emplace_back("squashfs");
  }
  for (const std::string& format : formats) {
    SCOPED_TRACE(format);
    const ProcessResult full = write(format, single("big4m-v3"), "small/out");
    EXPECT_EQ(full.exit_code, 1) << full.describe();
    EXPECT_NE(full.err.find(at("small").string()), std::string::npos) << "names the disk: " << full.describe();
    if (format != "squashfs") {
      EXPECT_NE(full.err.find("No space left"), std::string::npos) << full.describe();
    }
    EXPECT_TRUE(fs::is_empty(at("small")));
  }
  EXPECT_EQ(::umount2(at("small").c_str(), 0), 0);
}

TEST_F(ExportPlace, ASignalLeavesNothing) {
  fs::create_directory(at("in"));
  PackageBuilder builder("acme/bulk@1.0.0");
  for (int i = 0; i < 40; ++i) {
    std::string noise(2'000'000, '\0');
    for (std::size_t at = 0; at < noise.size(); ++at) {
      noise[at] = static_cast<char>((at * 2654435761U + static_cast<unsigned>(i) * 40503U) >> 13U);
    }
    builder.file("data", std::to_string(i), std::move(noise));
  }
  const fs::path package = dir_.path() / "bulk.webc";
  builder.mount("/", "data").write(package);
  for (const char* out : {"in/image", "in/image.tar"}) {
    Process process({kPkgfs, "export", "--format=oci", package.string(), at(out).string()});
    const fs::path files = "/proc/" + std::to_string(process.pid()) + "/fd";
    // The file of a layer: until it has bytes, the process may still be reading its options.
    ASSERT_TRUE(eventually([&] {
      std::error_code gone;
      for (const auto& entry : fs::directory_iterator(files, gone)) {
        const std::string target = fs::read_symlink(entry.path(), gone).string();
        if (target.find("(deleted)") != std::string::npos && target.starts_with(dir_.path().string()) &&
            fs::file_size(entry.path(), gone) > 0) {
          return true;
        }
      }
      return false;
    }));
    process.signal(SIGINT);
    const ProcessResult& result = process.wait();
    EXPECT_NE(result.exit_code, 0) << "it was faster than the test";
    EXPECT_TRUE(fs::is_empty(at("in"))) << result.describe();
  }
}

}  // namespace
}  // namespace pkgfs::test
