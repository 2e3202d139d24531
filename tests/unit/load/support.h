// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "core/tree/package_tree.h"
#include "tests/support/fixtures.h"

namespace pkgfs::test {

using Json = nlohmann::ordered_json;

/// What a tree shows, in the form of the golden files: sorted by path, each with type, mtime_ns and, for files, len and
/// sha256 of what is read, for links target. Things that can't be read have `error`.
[[nodiscard]] Json listing(vfs::FileSystem& fs);

/// All bytes of a file, or "<errno N>".
[[nodiscard]] std::string content(vfs::FileSystem& fs, const std::string& path);

/// The tree of the container or directory at `path`, without dependencies.
[[nodiscard]] PackageTree load_alone(const std::string& path, const TreeOptions& options,
                                     const OpenOptions& open_options = {});
/// As above, from an opened package.
[[nodiscard]] PackageTree load_alone(const std::shared_ptr<const Package>& package, const TreeOptions& options);

/// No commands in the tree.
[[nodiscard]] TreeOptions only_files();

/// Unpacks sources.tar.gz, with the times in it, to `directory`.
void unpack_sources(const std::filesystem::path& directory);

/// Entries for a tar archive that a test makes.
struct TarEntry {
  std::string name;
  std::string content = {};
  char type = 'f';  // f file, d directory, l link, h hard link, c device, p FIFO
  std::string target = {};
  std::int64_t modified = 1'600'000'000;
};
/// Writes a gzip'd tar archive.
void write_tarball(const std::filesystem::path& path, const std::vector<TarEntry>& entries);

/// A package in memory, for what no fixture has.
class FakePackage final : public Package {
 public:
  FakePackage(std::string name, const Json& manifest, const std::map<std::string, std::string>& atoms);

  [[nodiscard]] const std::string& name() const override { return name_; }
  [[nodiscard]] int webc_version() const override { return 3; }
  [[nodiscard]] const webc::Manifest& manifest() const override { return manifest_; }
  [[nodiscard]] const PackageHash& hash() const override { return hash_; }
  [[nodiscard]] const std::vector<webc::Atom>& atoms() const override { return atoms_; }
  [[nodiscard]] std::vector<std::string> volume_names() const override { return {}; }
  [[nodiscard]] std::unique_ptr<vfs::FileSystem> open_volume(std::string_view) const override { return nullptr; }

 private:
  std::string name_;
  webc::Manifest manifest_;
  PackageHash hash_;
  std::vector<webc::Atom> atoms_;
};

}  // namespace pkgfs::test
