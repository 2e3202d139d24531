// SPDX-License-Identifier: MIT
// Risk: with --follow-manifest, an edit of the wasmer.toml doesn't show, disturbs what has nothing to do with it, shows
// a broken manifest, or loses memory, descriptors or open files with each edit.
#include <array>
#include <atomic>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>
#include <thread>

#include "core/base/unique_fd.h"
#include "tests/mounted/follow_manifest.h"

namespace pkgfs::test {
namespace {

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

}  // namespace
}  // namespace pkgfs::test
