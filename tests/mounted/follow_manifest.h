// SPDX-License-Identifier: MIT
#pragma once

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {

namespace fs = std::filesystem;

inline constexpr auto kSoon = std::chrono::seconds(5);

inline ino_t number_of(const fs::path& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

inline std::vector<std::string> names_in(const fs::path& path) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(path)) {
    names.push_back(entry.path().filename());
  }
  std::ranges::sort(names);
  return names;
}

class FollowManifest : public MountedTest {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    for (const std::string name : {"one", "two", "three"}) {
      dir_.write("own/" + name + "/file", "of " + name);
      dir_.write("own/" + name + "/sub/" + name, name);
    }
    map({{"/a", "one"}});
  }
  [[nodiscard]] fs::path own() const { return dir_.path() / "own"; }

  using Mappings = std::vector<std::pair<std::string, std::string>>;
  static std::string fs_text(const Mappings& mappings) {
    std::string text = "[fs]\n";
    for (const auto& [guest, host] : mappings) {
      text += "\"" + guest + "\" = \"" + host + "\"\n";
    }
    return text;
  }
  /// Replaces the manifest as most editors do.
  void write_manifest(const std::string& text) const {
    dir_.write("own/.wasmer.toml.new", text);
    fs::rename(own() / ".wasmer.toml.new", own() / "wasmer.toml");
  }
  void map(const Mappings& mappings) const { write_manifest(fs_text(mappings)); }

  static std::string text_of(const fs::path& path) {
    try {
      return read_text(path);
    } catch (const std::exception& error) {
      return error.what();
    }
  }
  static void expect_text(const fs::path& path, const std::string& text) {
    std::string seen;
    EXPECT_TRUE(eventually([&] { return (seen = text_of(path)) == text; }, kSoon)) << path << ": " << seen;
  }
  static void expect_gone(const fs::path& path) {
    EXPECT_TRUE(eventually(
        [&] {
          struct stat status{};
          return ::lstat(path.c_str(), &status) != 0 && errno == ENOENT;
        },
        kSoon))
        << path;
  }
  static void expect_names(const fs::path& path, const std::vector<std::string>& names) {
    std::vector<std::string> seen;
    EXPECT_TRUE(eventually([&] { return (seen = names_in(path)) == names; }, kSoon))
        << path << ": " << ::testing::PrintToString(seen);
  }

  TempDir dir_;
  const Arguments follow_{"--follow-manifest"};
};

}  // namespace pkgfs::test
