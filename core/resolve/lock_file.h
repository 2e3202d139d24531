// SPDX-License-Identifier: MIT
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/resolve/resolve.h"
#include "core/webc/manifest.h"

namespace pkgfs {

/// A stored resolution. It gives the same packages later, even if the registries then answer differently. The file is
/// JSON with one entry for each package. An entry has the id, the URL, the SHA-256, the registry that gave the id, and
/// the properties that the resolver uses. It also has the specifier and the resolved id of each dependency.
///
/// pkgfs doesn't use the properties in the file: they only show a user what was locked. pkgfs takes them from the
/// package's manifest, and refuses a file that states other properties (`confirm`). Otherwise an edit of the file could
/// add or hide mounts and commands.
struct LockFile {
  /// Format 1 doesn't say which registry gave an id. Its entries of directories state properties, too. Format 3 has a
  /// profile of accesses for each package, or null (core/lazy/access_profile.h). Only a file with a profile gets it, so
  /// that other files can be read by every pkgfs.
  static constexpr int kNewestFormat = 3;

  struct Locked {
    /// Of `pkg`, `parse_lock` fills only the id. `confirm` fills the rest.
    PackageSummary summary;
    std::vector<std::string> dependency_ids;  // those of the dependencies of `summary.pkg`, in order
    webc::Json entry = {};                    // as the file has it
  };
  int format = 2;
  std::vector<Locked> packages;  // the root first
};

/// Whether a locked package is a directory of the host, whose contents may change. So its entry states neither a hash
/// nor (from format 2 on) properties. Only the path of the directory may name it.
[[nodiscard]] inline bool is_locked_directory(const DistributionInfo& dist) { return dist.path && !dist.webc_sha256; }

/// Every node of `resolution` must have a distribution, the root too. A directory gets no hash. The format is 3 if a
/// package has a profile, else 2.
[[nodiscard]] LockFile make_lock(const Resolution& resolution);

/// The text of the file. Deterministic: the same resolution gives the same bytes.
[[nodiscard]] std::string print_lock(const LockFile& lock);
/// Parses all formats. Throws Error(kCorrupt) that names the entry and its problem, and Error(kUnsupported) for
/// another format. Refuses duplicate keys, a byte order mark and text after the document, and names their position.
/// `file:` URLs become paths.
[[nodiscard]] LockFile parse_lock(std::string_view text);

/// Compares an entry of `lock` with the manifest of its package, and fills the entry's properties from the manifest.
/// `package` is the index of the entry, and `found` is what the manifest states. `found` is empty if the manifest can't
/// be read. Then the package gets neither properties nor dependencies.
///
/// If the entry differs from the manifest, throws Error(kCorrupt) that names entry, key, locked value and found value.
/// For a directory, whose contents may change, compares only id and dependencies. An id that a registry gave may differ
/// from the id that the container gives itself.
void confirm(LockFile& lock, std::size_t package, std::optional<PackageInfo> found);

/// Answers each specifier with the confirmed package that a lock file has for it, and finds no other package.
class LockSource final : public Source {
 public:
  /// Throws Error(kCorrupt) if the file has two packages for one specifier.
  explicit LockSource(const LockFile& lock);
  [[nodiscard]] std::vector<PackageSummary> query(const PackageSpecifier& specifier) override;

 private:
  std::map<std::string, PackageSummary> packages_;  // by specifier
};

}  // namespace pkgfs
