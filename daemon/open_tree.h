// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/load/package_loader.h"
#include "core/load/package_tree.h"
#include "core/resolve/resolve.h"
#include "core/source/source.h"
#include "daemon/options.h"

namespace pkgfs {

/// A package that the command line named, opened.
struct RootPackage {
  std::shared_ptr<const Package> package;
  /// What the source said of it; none for a file or directory, which speaks for itself.
  std::optional<PackageInfo> info;
};

/// Finds and opens packages for the length of one command: the sources of `--registry`, paths, and one loader. A
/// package is opened once.
class PackageOpener {
 public:
  /// Throws Error for a registry that isn't there.
  explicit PackageOpener(const TreeFlags& flags);
  /// As above, but opens packages with `options` whatever the flags say.
  PackageOpener(const TreeFlags& flags, const OpenOptions& options);

  /// Opens `text` as resolution.md 1.5 orders it: an existing file, an existing directory, a specifier. Throws Error
  /// `Unable to resolve "{text}" as a URL, package name, or file on disk` when it is none of them.
  [[nodiscard]] RootPackage open(const std::string& text);

  [[nodiscard]] Source& source() { return *source_; }
  [[nodiscard]] PackageLoader& loader() { return loader_; }

 private:
  OpenOptions options_;
  PackageLoader loader_;
  std::unique_ptr<Source> source_;
};

/// What the resolver needs to know of an opened root. Throws Error naming the package for a manifest that can't be
/// used.
[[nodiscard]] PackageInfo info_of(const RootPackage& root);

/// A package tree and what it was made from.
struct OpenedTree {
  std::shared_ptr<const Package> root;
  Resolution resolution;
  PackageTree tree;
};

/// The whole way from the text on a command line to a tree: open, resolve, load. Throws Error.
[[nodiscard]] OpenedTree open_tree(const std::string& package, const TreeFlags& flags);

[[nodiscard]] OpenOptions open_options(const TreeFlags& flags);
[[nodiscard]] TreeOptions tree_options(const TreeFlags& flags);

}  // namespace pkgfs
