// SPDX-License-Identifier: MIT
// Risk: with --follow-manifest, an edit of the wasmer.toml doesn't show, disturbs what has nothing to do with it, shows
// a broken manifest, or loses memory, descriptors or open files with each edit.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/unique_fd.h"
#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

constexpr auto kSoon = std::chrono::seconds(5);

ino_t number_of(const fs::path& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

std::vector<std::string> names_in(const fs::path& path) {
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

TEST_F(FollowManifest, MappingsComeGoAndChange) {
  const MountedPackage mount(kPkgfs, own(), follow_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  sleep_ms(3'000);  // the kernel may keep what it is told now
  EXPECT_EQ(names_in(mount.path()), (std::vector<std::string>{"a"}));
  EXPECT_FALSE(fs::exists(mount / "b"));
  const ino_t directory = number_of(mount / "a");
  const ino_t file = number_of(mount / "a/file");

  map({{"/a", "one"}, {"/b", "two"}, {"/deep/er/c", "three"}});
  expect_text(mount / "b/file", "of two");
  expect_text(mount / "deep/er/c/file", "of three");
  expect_names(mount.path(), {"a", "b", "deep"});
  EXPECT_EQ(number_of(mount / "a"), directory);
  EXPECT_EQ(number_of(mount / "a/file"), file);

  map({{"/a", "one"}, {"/b", "three"}});
  expect_text(mount / "b/file", "of three");
  expect_names(mount / "b/sub", {"three"});
  expect_gone(mount / "deep/er/c");
  expect_gone(mount / "deep");

  map({{"/a", "one"}});
  expect_gone(mount / "b");
  expect_gone(mount / "b/file");
  expect_names(mount.path(), {"a"});

  map({{"/a", "one"}, {"/a/sub/more", "two"}});  // a directory that is shown already gets another layer
  expect_names(mount / "a/sub", {"more", "one"});
  expect_text(mount / "a/sub/more/file", "of two");
  EXPECT_EQ(number_of(mount / "a/file"), file);
  map({{"/a", "one"}});
  expect_names(mount / "a/sub", {"one"});
  EXPECT_EQ(text_of(mount / "a/sub/one"), "one");

  dir_.write("own/one/late", "edits of files show as before");
  expect_text(mount / "a/late", "edits of files show as before");
  map({});
  expect_names(mount.path(), {});
  map({{"/", "two"}});
  expect_text(mount / "file", "of two");
}

TEST_F(FollowManifest, WhatIsOpenStaysReadable) {
  map({{"/a", "one"}, {"/b", "two"}});
  const MountedPackage mount(kPkgfs, own(), follow_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const UniqueFd file(::open((mount / "b/file").c_str(), O_RDONLY | O_CLOEXEC));
  const UniqueFd directory(::open((mount / "b").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const UniqueFd kept(::open((mount / "a/sub").c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(file && directory && kept);
  map({{"/a", "one"}});
  expect_gone(mount / "b");
  std::array<char, 16> text{};
  EXPECT_EQ(::pread(file.get(), text.data(), text.size(), 0), 6);
  EXPECT_STREQ(text.data(), "of two");
  struct stat status{};
  EXPECT_EQ(::fstat(file.get(), &status), 0);
  EXPECT_EQ(::fstat(directory.get(), &status), 0) << std::strerror(errno);
  const std::string path = "/proc/self/fd/" + std::to_string(directory.get());
  EXPECT_EQ(names_in(path), (std::vector<std::string>{"file", "sub"}));
  EXPECT_EQ(text_of(path + "/file"), "of two");
  EXPECT_EQ(fs::read_symlink("/proc/self/fd/" + std::to_string(kept.get())), mount / "a/sub") << "it was replaced";
}

TEST_F(FollowManifest, AMountBelowAnUnchangedMappingStays) {
  const MountedPackage mount(kPkgfs, own(), follow_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  if (!run({"mount", "--bind", dir_.path(), mount / "a/sub"}).ok()) {
    GTEST_SKIP() << "only root can mount over a directory of the mount";
  }
  map({{"/a", "one"}, {"/b", "two"}});
  expect_text(mount / "b/file", "of two");
  EXPECT_TRUE(fs::exists(mount / "a/sub/own/wasmer.toml"));
  EXPECT_TRUE(run({"umount", mount / "a/sub"}).ok());
}

TEST_F(FollowManifest, ABrokenManifestChangesNothingAndIsLoggedOnce) {
  const fs::path at = own() / "mnt";
  fs::create_directories(at);
  const MountGuard guard(at);
  Process daemon({kPkgfs, "mount", "--foreground", "--follow-manifest", "--log-level=info", own(), at});
  ASSERT_TRUE(eventually([&] { return find_mount(at).has_value() && fs::exists(at / "a/file"); }));
  const auto count = [&](std::string_view text) {
    const std::string log = daemon.err();
    std::size_t found = 0;
    for (std::size_t i = log.find(text); i != std::string::npos; i = log.find(text, i + 1)) {
      ++found;
    }
    return found;
  };
  const auto expect_refused = [&](const std::string& manifest, std::string_view reason) {
    SCOPED_TRACE(manifest);
    const std::size_t before = count(reason);
    write_manifest(manifest);
    EXPECT_TRUE(eventually([&] { return count(reason) == before + 1; }, kSoon)) << daemon.err();
    EXPECT_EQ(names_in(at), (std::vector<std::string>{"a"}));
    EXPECT_EQ(text_of(at / "a/file"), "of one");
  };
  std::ofstream(own() / "wasmer.toml") << "[fs\n\"/b\" = ";
  EXPECT_TRUE(eventually([&] { return count("Unable to deserialize") == 1; }, kSoon)) << daemon.err();
  expect_refused("[fs]\n\"/b\" = \"../secret\"\n", "../secret");
  expect_refused("[fs]\n\"/b\" = \"missing\"\n", "does not exist");
  expect_refused("[fs]\n\"/\" = \"..\"\n", "\"..\"");
  expect_refused("[fs]\n\"/b\" = \".\"\n", "The mount point");
  expect_refused("[fs]\n\"/b\" = \"mnt\"\n", "leads into the mount");
  expect_refused("[[module]]\nname = \"m\"\nsource = \"mnt/a/file\"\n", "leads into the mount");
  sleep_ms(2'500);  // it is tried again meanwhile
  EXPECT_EQ(count("but the mount stays as it was"), 7U) << daemon.err();
  EXPECT_EQ(count("shows the package as it describes it now"), 0U) << daemon.err();
  write_manifest("[fs]\n\"/b\" = \"late\"\n");
  EXPECT_TRUE(eventually([&] { return count("\"late\" does not exist") == 1; }, kSoon)) << daemon.err();
  dir_.write("own/late/file", "made after the manifest");
  expect_text(at / "b/file", "made after the manifest");
  map({{"/a", "one"}, {"/b", "two"}});
  expect_text(at / "b/file", "of two");
  fs::remove(own() / "wasmer.toml");
  sleep_ms(1'500);
  EXPECT_EQ(text_of(at / "b/file"), "of two");
  map({{"/a", "two"}});
  expect_text(at / "a/file", "of two");
  EXPECT_EQ(count("shows the package as it describes it now"), 3U) << daemon.err();
  EXPECT_TRUE(run({kPkgfs, "unmount", at}).ok());
  EXPECT_TRUE(daemon.ends_within(std::chrono::seconds(10)));
}

TEST_F(FollowManifest, ReadersSeeNoErrorsAndNothingGrows) {
  map({{"/a", "one"}, {"/b", "two"}});
  const MountedPackage mount(kPkgfs, own(), follow_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const pid_t daemon = mount.daemon();
  const auto descriptors = [daemon] {
    const std::string path = "/proc/" + std::to_string(daemon) + "/fd";
    return std::distance(fs::directory_iterator(path), fs::directory_iterator());
  };
  const auto resident = [daemon] {
    std::ifstream status("/proc/" + std::to_string(daemon) + "/status");
    std::string word;
    long kib = 0;
    while (status >> word && word != "RssAnon:") {
    }
    status >> kib;
    return kib;
  };

  std::atomic<bool> stop{false};
  std::atomic<unsigned> reads{0};
  std::array<std::string, 4> wrong;
  std::vector<std::thread> readers;
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    readers.emplace_back([&, i] {
      const auto look = [&](const std::string& name, bool may_be_gone, const std::vector<std::string>& texts) {
        std::array<char, 64> bytes{};
        const UniqueFd file(::open((mount / name).c_str(), O_RDONLY | O_CLOEXEC));
        const ssize_t length = file ? ::read(file.get(), bytes.data(), bytes.size()) : -1;
        const std::string seen =
            length < 0 ? std::strerror(errno) : std::string(bytes.data(), static_cast<std::size_t>(length));
        const bool is_right =
            std::ranges::find(texts, seen) != texts.end() || (length < 0 && errno == ENOENT && may_be_gone);
        if (!is_right && wrong.at(i).empty()) {
          wrong.at(i) = name + ": " + seen;
        }
        ++reads;
      };
      while (!stop) {
        look("a/file", false, {"of one"});
        look("b/file", true, {"of two", "of three"});
        look("a/sub/one", false, {"one"});
        std::error_code failed;
        std::size_t entries = 0;
        for (fs::directory_iterator at(mount.path(), failed), end; !failed && at != end; at.increment(failed)) {
          ++entries;
        }
        if ((failed || entries == 0 || entries > 2) && wrong.at(i).empty()) {
          wrong.at(i) = "listing of the root: " + std::to_string(entries) + " " + failed.message();
        }
      }
    });
  }
  const auto edit = [&](int i) {
    Mappings mappings{{"/a", "one"}};
    if (i % 3 != 0) {
      mappings.emplace_back("/b", i % 3 == 1 ? "two" : "three");
    }
    map(mappings);
    if (i % 8 == 0) {  // else the next edit comes at once
      mappings.size() == 1 ? expect_gone(mount / "b")
                           : expect_text(mount / "b/file", i % 3 == 1 ? "of two" : "of three");
    } else {
      sleep_ms(15);
    }
  };
  for (int i = 0; i < 40; ++i) {
    edit(i);
  }
  const auto before = descriptors();
  const long memory = resident();
  for (int i = 0; i < 200; ++i) {
    edit(i);
  }
  map({{"/a", "one"}, {"/b", "two"}});
  expect_text(mount / "b/file", "of two");
  stop = true;
  for (std::thread& reader : readers) {
    reader.join();
  }
  for (const std::string& what : wrong) {
    EXPECT_EQ(what, "");
  }
  EXPECT_GT(reads, 200U);
  const auto links = [daemon] {
    std::map<std::string, int> counts;
    for (const auto& entry : fs::directory_iterator("/proc/" + std::to_string(daemon) + "/fd")) {
      ++counts[fs::read_symlink(entry.path())];
    }
    return ::testing::PrintToString(counts);
  };
  EXPECT_TRUE(eventually([&] { return descriptors() <= before + 4; })) << links() << " after " << before;
  EXPECT_LT(resident(), memory + 2048);
  RecordProperty("reads", std::to_string(reads));
}

TEST_F(FollowManifest, CommandsAreFollowed) {
  dir_.write("own/first.wasm", "first");
  dir_.write("own/second.wasm", "second");
  const auto with_command = [&](const std::string& name, const std::string& module) {
    write_manifest("[[module]]\nname = \"m\"\nsource = \"" + module + ".wasm\"\n[[command]]\nname = \"" + name +
                   "\"\nmodule = \"m\"\n");
  };
  with_command("run", "first");  // no mapping: without the option, this tree would be immutable
  const MountedPackage mount(kPkgfs, own(), {"--follow-manifest", "--live-timeout=60"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(text_of(mount / "bin/run"), "first");
  const UniqueFd open(::open((mount / "bin/run").c_str(), O_RDONLY | O_CLOEXEC));
  with_command("run", "second");
  expect_text(mount / "bin/run", "second");
  with_command("start", "second");
  expect_text(mount / "bin/start", "second");
  expect_gone(mount / "bin/run");
  expect_names(mount / "bin", {"start"});
  std::array<char, 16> text{};
  EXPECT_EQ(::pread(open.get(), text.data(), text.size(), 0), 5);
  EXPECT_STREQ(text.data(), "first");
  map({{"/bin", "one"}});
  expect_names(mount / "bin", {"file", "sub"});
}

TEST_F(FollowManifest, DependenciesAreResolvedAnew) {
  // The working directory of the daemon is another one: the registry must still be found.
  fs::create_symlink(registry("chain-v3"), dir_.path() / "registry");
  ProcessOptions here;
  here.directory = dir_.path();
  MountedPackage base(kPkgfs, "acme/base@0.3.0", {"--no-commands", "--registry", registry("chain-v3")});
  ASSERT_TRUE(base.ok()) << base.result().describe();
  const Tree packaged = list_tree(base.path());
  ASSERT_FALSE(packaged.empty());
  const MountedPackage mount(kPkgfs, "own",
                             {"--follow-manifest", "--no-commands", "--offline", "--registry=./registry"}, here);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const auto shows_packaged = [&] {
    return std::ranges::all_of(packaged, [&](const auto& entry) {
      const std::string path = mount.path().string() + entry.first;
      return entry.second.type == "file" ? fs::exists(path) && file_sha256(path) == entry.second.sha256
                                         : fs::exists(path);
    });
  };
  EXPECT_FALSE(shows_packaged());
  const std::string dependencies = "[dependencies]\n\"acme/base\" = \"=0.3.0\"\n";
  write_manifest(dependencies + fs_text({{"/a", "one"}}));
  EXPECT_TRUE(eventually(shows_packaged, kSoon)) << mount.result().describe();
  EXPECT_THAT(statistics(mount).at("packages").dump(), ::testing::HasSubstr("acme/base@0.3.0"));
  write_manifest(dependencies + fs_text({{"/a", "two"}}));
  expect_text(mount / "a/file", "of two");
  EXPECT_TRUE(shows_packaged());
  write_manifest("[dependencies]\n\"acme/base\" = \"=77.0.0\"\n" + fs_text({{"/a", "three"}}));
  sleep_ms(1'500);
  EXPECT_EQ(text_of(mount / "a/file"), "of two") << "it can't be resolved";
  EXPECT_TRUE(shows_packaged());
  map({{"/a", "three"}});
  expect_text(mount / "a/file", "of three");
  EXPECT_TRUE(eventually([&] { return names_in(mount.path()) == std::vector<std::string>{"a"}; }, kSoon));
  EXPECT_THAT(statistics(mount).at("packages").dump(), ::testing::Not(::testing::HasSubstr("acme/base")));
}

TEST_F(FollowManifest, ThePackageIsFollowedWhenItIsMadeAnew) {
  const MountedPackage mount(kPkgfs, own(), follow_);
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(text_of(mount / "a/file"), "of one");
  fs::rename(own(), dir_.path() / "old");
  sleep_ms(300);
  dir_.write("own/other/file", "of the new package");
  map({{"/new", "other"}});
  expect_text(mount / "new/file", "of the new package");
  expect_names(mount.path(), {"new"});
  map({{"/new", "other"}, {"/more", "other"}});
  expect_text(mount / "more/file", "of the new package");
}

TEST_F(FollowManifest, ThePackageViewIsFollowedToo) {
  const MountedPackage mount(kPkgfs, own(), {"--follow-manifest", "--view=package"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(text_of(mount / "volumes/one/file"), "of one");
  const std::string manifest = text_of(mount / "manifest.json");
  map({{"/a", "two"}});
  expect_text(mount / "volumes/two/file", "of two");
  expect_gone(mount / "volumes/one");
  EXPECT_TRUE(eventually([&] { return text_of(mount / "manifest.json") != manifest; }, kSoon));
}

TEST_F(FollowManifest, NothingIsCachedWithoutALiveTimeout) {
  const MountedPackage mount(kPkgfs, own(), {"--follow-manifest", "--live-timeout=0"});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  EXPECT_EQ(names_in(mount.path()), (std::vector<std::string>{"a"}));
  map({{"/b", "two"}});
  expect_names(mount.path(), {"b"});
  expect_gone(mount / "a");
}

TEST_F(FollowManifest, IsForPackageDirectoriesOnly) {
  const MountedPackage mount(kPkgfs, single("basic-v3"), follow_);
  expect_refused(mount);
  EXPECT_THAT(mount.result().err, ::testing::HasSubstr("--follow-manifest is for a package directory"));
}

TEST_F(FollowManifest, WithoutTheOptionTheManifestIsNotFollowed) {
  const MountedPackage mount(kPkgfs, own());
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  map({{"/b", "two"}});
  sleep_ms(2'000);
  EXPECT_EQ(names_in(mount.path()), (std::vector<std::string>{"a"}));
}

}  // namespace
}  // namespace pkgfs::test
