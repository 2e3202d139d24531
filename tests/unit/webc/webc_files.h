// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/byte_source.h"
#include "core/webc/container.h"
#include "tests/support/fixtures.h"

namespace pkgfs::webc::test {

/// A number of eight bytes, the lowest first.
[[nodiscard]] inline std::string u64(std::uint64_t value) {
  std::string text;
  for (unsigned i = 0; i < 8; ++i) {
    text += static_cast<char>(value >> (8 * i));
  }
  return text;
}

[[nodiscard]] inline std::vector<std::byte> to_bytes(std::string_view text) {
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  return {data, data + text.size()};
}

[[nodiscard]] inline std::shared_ptr<const ByteSource> memory(std::string name, std::vector<std::byte> bytes) {
  return std::make_shared<MemoryBytes>(std::move(name), std::move(bytes));
}

/// The file's bytes, called by its file name.
[[nodiscard]] inline std::shared_ptr<const ByteSource> load(const std::filesystem::path& path) {
  return memory(path.filename().string(), to_bytes(pkgfs::test::read_text(path)));
}

struct Found {
  std::string path;
  DirRecord record;
};

struct Walk {
  std::vector<Found> entries;    // depth first in stored order
  std::vector<std::string> eio;  // what answered EIO, the root as "/"
  bool endless = false;
};

/// Everything in `volume`, without recursion, up to a million entries.
[[nodiscard]] inline Walk walk(const Volume& volume) {
  Walk result;
  struct Directory {
    std::string path;
    std::vector<DirRecord> records;
    std::size_t next = 0;
  };
  std::vector<Directory> stack;
  const auto enter = [&](const std::string& path, EntryRef ref) {
    Directory directory{.path = path, .records = {}};
    if (!volume.list(ref, [&](const DirRecord& record) {
          directory.records.push_back(record);
          return true;
        })) {
      result.eio.push_back(path.empty() ? "/" : path);
      return;
    }
    stack.push_back(std::move(directory));
  };
  enter("", kRootRef);
  while (!stack.empty()) {
    Directory& directory = stack.back();
    if (directory.next == directory.records.size()) {
      stack.pop_back();
      continue;
    }
    const DirRecord record = directory.records[directory.next++];
    const std::string path = directory.path + "/" + std::string(record.name);
    if (result.entries.size() >= 1'000'000) {
      result.endless = true;
      return result;
    }
    if (record.error != 0) {
      result.eio.push_back(path);
      continue;
    }
    // Paths of very deep trees would take more memory than the tree.
    result.entries.push_back({.path = path.size() > 20'000 ? "…" : path, .record = record});
    if (record.info.kind == EntryKind::kDirectory) {
      enter(path, record.ref);
    }
  }
  return result;
}

[[nodiscard]] inline std::span<const std::byte> body(const Volume& volume, const EntryInfo& info) {
  return volume.source()->bytes().subspan(info.offset, info.length);
}

[[nodiscard]] inline std::string hex_of(std::span<const std::byte> bytes) {
  Sha256 digest{};
  for (std::size_t i = 0; i < digest.size() && i < bytes.size(); ++i) {
    digest[i] = static_cast<std::uint8_t>(bytes[i]);
  }
  return bytes.empty() ? std::string() : to_hex(digest);
}

}  // namespace pkgfs::webc::test
