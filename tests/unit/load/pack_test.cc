// SPDX-License-Identifier: MIT
#include "core/load/pack.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>

#include "tests/unit/load/support.h"

namespace pkgfs::test {
namespace {

/// A package whose volume has one directory in another, `levels` deep, all called `name`.
class DeepPackage {
 public:
  DeepPackage(std::size_t levels, const std::string& name) {
    dir_.write("wasmer.toml", "[fs]\n\"/w\" = \"web\"\n");
    std::filesystem::create_directory(dir_.path() / "web");
    UniqueFd here(::open((dir_.path() / "web").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    for (std::size_t i = 0; i < levels; ++i) {
      EXPECT_EQ(::mkdirat(here.get(), name.c_str(), 0700), 0);
      here.reset(::openat(here.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    }
  }
  ~DeepPackage() {  // std::filesystem holds a descriptor for each level
    const std::string command = "rm -rf " + (dir_.path() / "web").string();
    EXPECT_EQ(std::system(command.c_str()), 0);  // NOLINT(concurrency-mt-unsafe)
  }
  DeepPackage(const DeepPackage&) = delete;
  DeepPackage& operator=(const DeepPackage&) = delete;

  /// Packs it on a stack of 2 MiB; the error, or "<packed>".
  [[nodiscard]] std::string pack(int fd) const {
    struct Work {
      const DirectoryPackage* package;
      int fd;
      std::string result = "<packed>";
    };
    const auto package = open_directory_package(dir_.path().string());
    Work work{.package = package.get(), .fd = fd};
    pthread_attr_t attributes;
    ::pthread_attr_init(&attributes);
    ::pthread_attr_setstacksize(&attributes, 2U << 20U);
    pthread_t thread{};
    const int started = ::pthread_create(
        &thread, &attributes,
        [](void* argument) -> void* {
          auto& its = *static_cast<Work*>(argument);
          try {
            pack_package(*its.package, its.fd, {.apply_ignore_rules = true});
          } catch (const Error& error) {
            its.result = error.what();
          }
          return nullptr;
        },
        &work);
    ::pthread_attr_destroy(&attributes);
    if (started != 0) {
      return "<no thread>";
    }
    ::pthread_join(thread, nullptr);
    return work.result;
  }

 private:
  TempDir dir_;
};

UniqueFd new_file(const std::string& path) {
  return UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
}

TEST(Pack, DeepDirectoriesTakeNoStack) {
  const TempDir dir;
  const std::string path = (dir.path() / "out.webc").string();
  constexpr std::size_t kLevels = 1000;
  EXPECT_EQ(DeepPackage(kLevels, "a").pack(new_file(path).get()), "<packed>");
  std::size_t levels = 0;
  const auto volume = open_package(path)->open_volume("/web");
  ASSERT_NE(volume, nullptr);
  for (auto here = volume->lookup(volume->root(), "a"); here; here = volume->lookup(here->inode, "a")) {
    ++levels;
  }
  EXPECT_EQ(levels, kLevels);
}

TEST(Pack, ADirectoryTooDeepToNameIsAnError) {
  const TempDir dir;
  EXPECT_THAT(DeepPackage(30, std::string(200, 'a')).pack(new_file((dir.path() / "out.webc").string()).get()),
              ::testing::HasSubstr("File name too long"));
}

}  // namespace
}  // namespace pkgfs::test
