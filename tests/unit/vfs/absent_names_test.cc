// SPDX-License-Identifier: MIT
// Risk: the kernel keeps a directory because a name that it knows to be absent there was forgotten.
#include "core/vfs/absent_names.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <thread>
#include <vector>

namespace pkgfs::vfs {
namespace {

std::vector<std::string> texts_of(const std::vector<AbsentNames::Absent>& names) {
  std::vector<std::string> texts;
  for (const auto& each : names) {
    texts.push_back(std::to_string(each.directory) + "/" + each.name);
  }
  std::ranges::sort(texts);
  return texts;
}

TEST(AbsentNames, KeepsTheNamesOfAllThreads) {
  AbsentNames absent;
  std::vector<std::thread> threads;
  for (Inode directory = 1; directory <= 8; ++directory) {
    threads.emplace_back([&absent, directory] {
      for (int i = 0; i < 200; ++i) {
        absent.add(directory, "name" + std::to_string(i));
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::vector<AbsentNames::Absent> names;
  EXPECT_TRUE(absent.copy_to(names));
  std::vector<std::string> expected;
  for (int directory = 1; directory <= 8; ++directory) {
    for (int i = 0; i < 200; ++i) {
      expected.push_back(std::to_string(directory) + "/name" + std::to_string(i));
    }
  }
  std::ranges::sort(expected);
  EXPECT_EQ(texts_of(names), expected);
}

TEST(AbsentNames, TellsWhenThereWasNoRoom) {
  for (const std::size_t length : {1U, 2U, 7U, 8U, 100U, 255U}) {
    AbsentNames absent;
    const std::string name(length, 'n');
    const std::size_t room = AbsentNames::kBytes / (length + 9);
    for (std::size_t i = 0; i < room; ++i) {
      absent.add(7, name);
    }
    std::vector<AbsentNames::Absent> names;
    EXPECT_TRUE(absent.copy_to(names)) << length;
    EXPECT_EQ(names.size(), room) << length;
    for (int i = 0; i < 1000; ++i) {
      absent.add(7, name);
    }
    names.clear();
    EXPECT_FALSE(absent.copy_to(names)) << length;
    EXPECT_EQ(names.size(), room) << length;
    EXPECT_EQ(names.back().name, name);
  }
}

}  // namespace
}  // namespace pkgfs::vfs
