// SPDX-License-Identifier: MIT
// Risk: the first command of the README doesn't show what it promises. To make the sample's container anew:
// PKGFS_WRITE_SAMPLE=1 build/release/tests/mounted --gtest_filter=Sample.*
#include <cstdlib>

#include "tests/mounted/mounted.h"
#include "tests/support/containers/package_builder.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

const fs::path kSample = source_directory() / "packaging/sample";
const std::string kContainer = "registry/demo/greetings/1.2.0.webc";

/// A WebAssembly module with an empty `_start`.
std::string module() {
  constexpr unsigned char kBytes[] = {0x00, 'a', 's', 'm',  1,   0,   0,   0,                    // header
                                      1,    4,   1,   0x60, 0,   0,                              // one type: () -> ()
                                      3,    2,   1,   0,                                         // one function of it
                                      7,    10,  1,   6,    '_', 's', 't', 'a', 'r', 't', 0, 0,  // exported
                                      10,   4,   1,   2,    0,   0x0b};                          // with an empty body
  return {reinterpret_cast<const char*>(kBytes), sizeof kBytes};
}

void write_container(const fs::path& path) {
  PackageBuilder builder("demo/greetings@1.2.0");
  builder.file("/greetings", "english.txt", "Hello!\n");
  builder.file("/greetings", "german.txt", "Guten Tag!\n");
  builder.file("/greetings", "french.txt", "Bonjour !\n");
  builder.link("/greetings", "default.txt", "english.txt");
  builder.mount("/usr/share/greetings", "/greetings");
  builder.command("greet", module());
  builder.write(path);
}

class Sample : public MountedTest {};

TEST_F(Sample, ContainerIsWhatItsRecipeMakes) {
  if (std::getenv("PKGFS_WRITE_SAMPLE") != nullptr) {  // NOLINT(concurrency-mt-unsafe)
    write_container(kSample / kContainer);
  }
  TempDir dir;
  write_container(dir.path() / "made.webc");
  EXPECT_EQ(file_sha256(dir.path() / "made.webc"), file_sha256(kSample / kContainer));
}

TEST_F(Sample, MountShowsBothPackagesAndTheirCommands) {
  MountedPackage mount(kPkgfs, kSample / "hello", {"--registry", kSample / "registry"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(read_text(mount / "app/welcome.txt"), read_text(kSample / "hello/app/welcome.txt"));
  EXPECT_EQ(read_text(mount / "usr/share/greetings/default.txt"), "Hello!\n");
  for (const char* command : {"hello", "greet"}) {
    EXPECT_EQ(read_text(mount / (std::string("bin/") + command)), module()) << command;
  }
}

}  // namespace
}  // namespace pkgfs::test
