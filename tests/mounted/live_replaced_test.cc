// SPDX-License-Identifier: MIT
// Risk: a program reads the bytes of two files as one, or one cut at the size of another, because both had the same
// name one after the other.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "tests/mounted/mounted.h"

namespace pkgfs::test {
namespace {

namespace fs = std::filesystem;

/// What is in the file of a generation: its number, again and again. The length depends on the number.
std::string text_of_generation(std::uint64_t generation) {
  std::string text;
  const std::size_t words = 64 + (generation * 7919) % 3000;
  text.resize(words * sizeof(generation));
  for (std::size_t i = 0; i < words; ++i) {
    std::memcpy(text.data() + i * sizeof(generation), &generation, sizeof(generation));
  }
  return text;
}

std::uint64_t generation_of(const std::string& text) {
  std::uint64_t generation = 0;
  std::memcpy(&generation, text.data(), std::min(text.size(), sizeof(generation)));
  return generation;
}

/// Reads from the beginning to the end, in pieces.
std::string read_all(int file, std::size_t piece) {
  std::string text(std::size_t{64} << 10U, '\0');
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count =
        ::pread(file, text.data() + done, std::min(piece, text.size() - done), static_cast<off_t>(done));
    if (count <= 0) {
      break;
    }
    done += static_cast<std::size_t>(count);
  }
  text.resize(done);
  return text;
}

class LiveReplaced : public MountedTest, public testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    MountedTest::SetUp();
    dir_.write("own/wasmer.toml", "[fs]\n\"/pub\" = \"pub\"\n");
    put(1);
  }
  void put(std::uint64_t generation) const {
    dir_.write("own/pub/.new", text_of_generation(generation));
    fs::rename(dir_.path() / "own/pub/.new", dir_.path() / "own/pub/file");
  }
  void count(const std::string& what) {
    const std::lock_guard lock(mutex_);
    ++seen_[what];
  }
  void check(const std::string& text) {
    count(text == text_of_generation(generation_of(text)) ? "whole" : "mixed or cut");
  }
  int reads() {
    const std::lock_guard lock(mutex_);
    return seen_["whole"];
  }
  /// Opens, reads and keeps the file open for a while.
  void read(const std::string& path, std::size_t piece) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) {
      count(std::string("open: ") + ::strerrorname_np(errno));
      return;
    }
    const std::string first = read_all(file.get(), piece);
    check(first);
    for (int i = 0; i < 5; ++i) {
      struct stat status{};
      if (::fstat(file.get(), &status) != 0 || static_cast<std::size_t>(status.st_size) != first.size()) {
        count("the size of an open file changed");
      }
      if (read_all(file.get(), piece) != first) {
        count("an open file became another one");
      }
    }
    struct stat status{};
    if (::stat(path.c_str(), &status) != 0) {
      count(std::string("stat: ") + ::strerrorname_np(errno));
    }
  }

  TempDir dir_;
  std::mutex mutex_;
  std::map<std::string, int> seen_;
};

TEST_P(LiveReplaced, AnOpenFileStaysWhatItIs) {
  constexpr auto kTime = std::chrono::milliseconds(1'500);
  constexpr auto kPatience = std::chrono::seconds(60);  // a loaded machine
  constexpr int kReads = 50;
  const MountedPackage mount(kPkgfs, dir_.path() / "own", {GetParam()});
  ASSERT_TRUE(mount.ok()) << mount.result().describe();
  const std::string path = mount / "pub/file";
  std::atomic<bool> stop{false};
  std::vector<std::thread> readers;
  for (const std::size_t piece : std::initializer_list<std::size_t>{512, 4'096, 65'536, 65'536}) {
    readers.emplace_back([&, piece] {
      while (!stop) {
        read(path, piece);
      }
    });
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto took = [begin] { return std::chrono::steady_clock::now() - begin; };
  const std::uint64_t wanted = number_from_environment("PKGFS_TEST_REPLACEMENTS", 100);
  std::uint64_t generation = 1;
  while (took() < kTime || generation <= wanted || (reads() < kReads && took() < kPatience)) {
    put(++generation);
  }
  stop = true;
  for (std::thread& reader : readers) {
    reader.join();
  }
  EXPECT_GE(seen_["whole"], kReads);
  seen_.erase("whole");
  for (const auto& [what, times] : seen_) {
    ADD_FAILURE() << what << ": " << times << " times in " << generation << " replacements";
  }
}

INSTANTIATE_TEST_SUITE_P(Timeouts, LiveReplaced,
                         testing::Values("--live-timeout=0", "--live-timeout=1", "--live-timeout=60"),
                         [](const auto& timeout) { return test_name(timeout.param); });

}  // namespace
}  // namespace pkgfs::test
