// SPDX-License-Identifier: MIT
#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"
#include "tests/support/process.h"

namespace pkgfs::test {

/// A memory control group of our own, of version 1 or 2, that holds what is moved into it to a limit.
class MemoryGroup {
 public:
  explicit MemoryGroup(long bytes) {
    const bool first_version = std::filesystem::exists("/sys/fs/cgroup/memory/memory.limit_in_bytes");
    const std::filesystem::path parent = first_version ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup";
    path_ = parent / ("pkgfs-test-" + std::to_string(::getpid()));
    std::error_code failed;
    std::filesystem::create_directory(path_, failed);
    usage_ = first_version ? "memory.max_usage_in_bytes" : "memory.peak";
    works_ = !failed && write(first_version ? "memory.limit_in_bytes" : "memory.max", std::to_string(bytes));
  }
  ~MemoryGroup() {
    EXPECT_TRUE(eventually([&] { return ::rmdir(path_.c_str()) == 0 || errno == ENOENT; }));
  }
  MemoryGroup(const MemoryGroup&) = delete;
  MemoryGroup& operator=(const MemoryGroup&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  [[nodiscard]] bool works() const { return works_; }
  [[nodiscard]] bool add(pid_t pid) const { return write("cgroup.procs", std::to_string(pid)); }
  [[nodiscard]] long most() const { return std::atol(read_text(path_ / usage_).c_str()); }

 private:
  [[nodiscard]] bool write(const std::string& file, const std::string& text) const {
    std::ofstream out(path_ / file);
    out << text << std::flush;
    return out.good();
  }

  std::filesystem::path path_;
  std::string usage_;
  bool works_ = false;
};

}  // namespace pkgfs::test
