// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "core/base/private_directory.h"
#include "core/lazy/sparse_file.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {

inline constexpr std::uint64_t kBlocks = 100;
inline constexpr std::uint64_t kBlock = SparseFile::kBlock;
inline constexpr std::uint64_t kSize = kBlocks * kBlock - 1000;  // the last block is shorter

/// A directory with one SparseFile.
class LazyDirectory : public ::testing::Test {
 protected:
  static const SparseFile::Version& version() {
    static const SparseFile::Version version{.validator = "\"etag\"", .size = kSize};
    return version;
  }
  [[nodiscard]] std::shared_ptr<SparseFile> open(const std::string& boot = SparseFile::this_boot()) const {
    return SparseFile::open(directory_, "key", version(), boot);
  }
  [[nodiscard]] std::shared_ptr<SparseFile> find(const std::string& boot = SparseFile::this_boot()) const {
    return SparseFile::find(directory_, "key", boot);
  }
  /// Writes bytes that differ from block to block, and marks the blocks.
  static void fetch(SparseFile& file, BlockRange range) {
    for (std::uint64_t block = range.first; block < range.end(); ++block) {
      file.write(block * kBlock, content(block));
    }
    file.mark_present(range);
  }
  static std::vector<std::byte> content(std::uint64_t block) {
    return std::vector<std::byte>(std::min(kBlock, kSize - block * kBlock), static_cast<std::byte>(block + 1));
  }
  /// Whether the file has the bytes that `fetch` writes.
  static bool is_right(const SparseFile& file, std::uint64_t block) {
    std::vector<std::byte> bytes(content(block).size());
    return ::pread(file.fd(), bytes.data(), bytes.size(), static_cast<off_t>(block * kBlock)) ==
               static_cast<ssize_t>(bytes.size()) &&
           bytes == content(block);
  }

  [[nodiscard]] std::filesystem::path data_path() const { return dir_.path() / "temp/key.lazy"; }
  [[nodiscard]] std::filesystem::path map_path() const { return dir_.path() / "temp/key.lazy-map"; }
  void overwrite_map(std::streamoff at, const std::string& bytes) const {
    std::fstream file(map_path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at);
    file << bytes;
    ASSERT_TRUE(file.flush());
  }

  TempDir dir_;
  PrivateDirectory directory_ = PrivateDirectory::make((dir_.path() / "temp").string());
};

}  // namespace pkgfs::test
