// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/byte_source.h"
#include "core/base/hash.h"
#include "core/base/limits.h"
#include "core/webc/manifest.h"
#include "core/webc/volume.h"

namespace pkgfs::webc {

enum class Version : std::uint8_t { kV1 = 1, kV2 = 2, kV3 = 3 };

/// The format of a file, judged by its first bytes (docs/rules/webc-format.md, 1). A kOther file isn't a package. For
/// messages, `file_kind` (core/base/file_kind.h) names its format if it knows it.
enum class FileFormat { kWebc, kTarball, kOther };
[[nodiscard]] FileFormat detect_format(std::span<const std::byte> bytes);

/// An atom: a WebAssembly module or another program, by name. Its bytes are not checked against the manifest's
/// signature; `verify` does that.
struct Atom {
  std::string name;
  Blob body;
  std::optional<std::uint16_t> mode = {};  // permission bits that it is shown with, if they aren't those of a program
};

/// A section of a version 2 or 3 container, as stored in the index. For `inspect` and `verify`.
struct IndexEntry {
  std::uint64_t start = 0;   // file offset of the tag byte
  std::uint64_t length = 0;  // framing included
  std::string checksum_tag;  // "checksum-sha256" or "checksum-none"
  std::string checksum;      // raw bytes
};

struct Index {
  IndexEntry manifest;
  IndexEntry atoms;
  std::vector<std::pair<std::string, IndexEntry>> volumes;  // in index order
  std::string signature_tag;
  std::string signature;  // raw bytes
};

/// Whether Container::open waits for the directory data of the volumes. With kWhenNeeded, nothing may look into a
/// volume before its directory data was waited for (ByteSource::need).
enum class DirectoryData { kNow, kWhenNeeded };

/// An opened container of any version: manifest, atoms and volumes over the bytes of one source. Immutable, safe to
/// share between threads. No content is copied; the container keeps its source alive.
/// Opening checks the manifest, the index and the bounds of every section. It checks neither hashes nor the directory
/// trees of volumes: that would take as long as reading them all. Volume reports damage in a tree when a reader reaches
/// it; `verify()` finds all of it.
class Container {
 public:
  /// Throws Error(kCorrupt) naming source, section and offset; Error(kUnsupported) for a file of another format;
  /// Error(kIo) if the source can't be read completely. `limits` needn't outlive the call.
  [[nodiscard]] static std::shared_ptr<const Container> open(std::shared_ptr<const ByteSource> source,
                                                             const limits::PackageLimits& limits = limits::kLocal,
                                                             DirectoryData data = DirectoryData::kNow);

  [[nodiscard]] Version version() const { return version_; }
  [[nodiscard]] const Manifest& manifest() const { return manifest_; }
  /// The manifest's CBOR, as stored.
  [[nodiscard]] std::span<const std::byte> manifest_bytes() const { return manifest_bytes_; }
  [[nodiscard]] const std::shared_ptr<const ByteSource>& source() const { return source_; }

  /// Sorted by name bytes.
  [[nodiscard]] std::span<const Atom> atoms() const { return atoms_; }
  [[nodiscard]] const Atom* find_atom(std::string_view name) const;

  /// Sorted by name bytes.
  [[nodiscard]] std::span<const std::shared_ptr<const Volume>> volumes() const { return volumes_; }
  /// The volume `name`; null if absent. In version 1, `<own name>@<own version>/<name>` is tried first
  /// (docs/rules/webc-format.md, 3.4).
  [[nodiscard]] std::shared_ptr<const Volume> find_volume(std::string_view name) const;

  /// Null for version 1.
  [[nodiscard]] const Index* index() const { return index_ ? &*index_ : nullptr; }

 private:
  friend class ContainerBuilder;
  Container() = default;

  std::shared_ptr<const ByteSource> source_;
  Version version_ = Version::kV3;
  Manifest manifest_;
  std::span<const std::byte> manifest_bytes_;
  std::vector<Atom> atoms_;
  std::vector<std::shared_ptr<const Volume>> volumes_;
  std::optional<Index> index_;
  std::string own_prefix_;  // of version 1: `<own name>@<own version>/`
};

/// How much of a container `verify` reads.
enum class VerifyDepth {
  kStructure,  // every directory, name and offset, and whether the stored hashes agree; no file body is read
  kContent,    // all bytes: also the SHA-256 of sections, files, links and atoms, and the checksum of version 1
};

/// `verify` stops after this number of problems.
inline constexpr std::size_t kMaxProblems = 100;
/// Checks the whole container by docs/rules/webc-format.md, 11. Returns one message for each problem, which names
/// source, section and offset; none if the container is sound.
[[nodiscard]] std::vector<std::string> verify(const Container& container, VerifyDepth depth);

}  // namespace pkgfs::webc
