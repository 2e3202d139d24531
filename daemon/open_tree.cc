// SPDX-License-Identifier: MIT
#include "daemon/open_tree.h"

#include <filesystem>
#include <utility>

#include "core/source/container_summary.h"
#include "core/source/multi_source.h"
#include "core/source/path_source.h"
#include "core/source/registry.h"

namespace pkgfs {

namespace {

namespace stdfs = std::filesystem;

PackageInfo describe(const Package& package) {
  return info_from_manifest(id_from_manifest(package.manifest(), package.hash()), package.manifest(),
                            package.webc_version());
}

/// Stands where the registries would: without one, names are known to nobody.
class NoRegistry final : public Source {
 public:
  std::vector<PackageSummary> query(const PackageSource& specifier) override {
    if (specifier.named() == nullptr && specifier.hash() == nullptr) {
      throw QueryError(QueryError::Kind::kUnsupported, specifier);
    }
    throw QueryError(specifier,
                     Error(ErrorCode::kNotFound, "there is no registry to look it up in (--registry DIR gives one)"));
  }
};

PackageSource parse_specifier(const std::string& text) {
  try {
    return PackageSource::parse(text);
  } catch (Error& error) {
    throw std::move(error).context("Unable to resolve \"" + text + "\" as a URL, package name, or file on disk");
  }
}

}  // namespace

OpenOptions open_options(const TreeFlags& flags) {
  return {.verify = flags.verify,
          .strict = flags.strict,
          .as_built = flags.as_built,
          .detect_executables = flags.exec_auto,
          .container_times = flags.mtime_container};
}

TreeOptions tree_options(const TreeFlags& flags) {
  return {.conflicts = flags.conflicts,
          .strict = flags.strict,
          .raw_links = flags.raw_links,
          .commands_dir = flags.commands_dir,
          .verify = flags.verify};
}

PackageOpener::PackageOpener(const TreeFlags& flags) : PackageOpener(flags, open_options(flags)) {}

PackageOpener::PackageOpener(const TreeFlags& flags, const OpenOptions& options) : options_(options), loader_(options) {
  auto sources = std::make_unique<MultiSource>();
  for (const std::string& directory : flags.registries) {
    sources->add(open_registry(directory));
  }
  if (flags.registries.empty()) {
    sources->add(std::make_unique<NoRegistry>());
  }
  // The loader opens what is found a second time, with all the checks that were asked for; here a look is enough.
  sources->add(std::make_unique<PathSource>([as_built = options.as_built](const std::string& path) {
    const auto package = open_package(path, {.as_built = as_built});
    return PackageSummary{describe(*package), local_distribution(path)};
  }));
  source_ = std::move(sources);
}

RootPackage PackageOpener::open(const std::string& text) {
  std::error_code missing;
  const auto status = stdfs::status(text, missing);
  if (stdfs::is_regular_file(status) || stdfs::is_directory(status)) {
    return {open_package(text, options_), std::nullopt};
  }
  PackageSummary summary = query_latest(*source_, parse_specifier(text));
  auto package = loader_.load(summary);
  return {std::move(package), std::move(summary.pkg)};
}

PackageInfo info_of(const RootPackage& root) {
  if (root.info) {
    return *root.info;
  }
  try {
    return describe(*root.package);
  } catch (Error& error) {
    throw std::move(error).context("Unable to use the manifest of \"" + root.package->name() + "\"");
  }
}

OpenedTree open_tree(const std::string& package, const TreeFlags& flags) {
  PackageOpener opener(flags);
  RootPackage root = opener.open(package);
  Resolution resolution = resolve(info_of(root), opener.source());
  PackageTree tree = load_package_tree(root.package, opener.loader(), resolution, tree_options(flags));
  return {std::move(root.package), std::move(resolution), std::move(tree)};
}

}  // namespace pkgfs
