// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/webc/writer.h"

namespace pkgfs::test {

/// Puts a container together for tests: volumes by path, mappings, dependencies, commands.
class PackageBuilder {
 public:
  /// `id` is "namespace/name@version".
  explicit PackageBuilder(std::string id, webc::Version version = webc::Version::kV3);

  /// Paths are relative to the volume's root, without a leading "/"; parents are made.
  PackageBuilder& file(const std::string& volume, std::string_view path, std::string content);
  PackageBuilder& directory(const std::string& volume, std::string_view path);
  PackageBuilder& link(const std::string& volume, std::string_view path, std::string target);
  /// An entry of the `fs` annotation. `from` is an alias; `source` becomes `original_path` (versions 1 and 2 use it).
  PackageBuilder& mount(const std::string& path, const std::string& volume,
                        const std::optional<std::string>& from = std::nullopt,
                        const std::optional<std::string>& source = std::nullopt);
  PackageBuilder& use(const std::string& alias, const std::string& specifier);
  /// A WASI command and the atom of the same name.
  PackageBuilder& command(const std::string& name, const std::string& atom);

  /// The root of a volume, for content that is made in bulk.
  [[nodiscard]] webc::WriterNode& volume(const std::string& name) { return volumes_[name]; }

  void write(const std::filesystem::path& path) const;
  [[nodiscard]] std::vector<std::byte> bytes() const { return writer().to_bytes(); }
  /// Writes it to its place in a local registry; returns that path.
  std::filesystem::path publish(const std::filesystem::path& registry) const;

 private:
  [[nodiscard]] webc::Writer writer() const;
  webc::WriterNode& node(const std::string& volume, std::string_view path);

  std::string name_;
  std::string version_text_;
  webc::Version version_;
  std::map<std::string, webc::WriterNode> volumes_;
  std::map<std::string, std::string> atoms_;
  webc::Json use_ = webc::Json::object();
  webc::Json fs_ = webc::Json::array();
  webc::Json atom_entries_ = webc::Json::object();
  webc::Json commands_ = webc::Json::object();
};

}  // namespace pkgfs::test
