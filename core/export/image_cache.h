// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/function_ref.h"
#include "core/base/hash.h"

namespace pkgfs {

/// An image in the cache. Its file is `{label}-{key}-{hash}.erofs`, with both hashes in hex.
struct CachedImage {
  std::string label;  // the package, for people
  Sha256 key{};       // of the packages and options that it was made of
  Sha256 hash{};      // of its content
  std::string path;
  std::uint64_t size = 0;
  std::chrono::system_clock::time_point used;
};

/// The cache of EROFS images, a private directory. An image appears under its name when it is complete, and is
/// read-only. So an image of this user or root that nobody can write was hashed when it was made. Any process may
/// remove an image at any time; a mount keeps its image. Thread-safe.
class ImageCache {
 public:
  /// Creates and opens nothing; `add` creates the directory.
  explicit ImageCache(std::string directory) : directory_(std::move(directory)) {}

  /// The path of the image of `key`, and marks it as used now. Nothing if there is none. Compares the content with the
  /// hash in the name if the image is writable, if it belongs to another user, or if `always_check` is set. If they
  /// differ, removes the image with a warning, and returns nothing. Throws Error if other users may replace files in
  /// the directory.
  [[nodiscard]] std::optional<std::string> find(const Sha256& key, bool always_check) const;
  /// Makes the image of `key` and returns its path. `write` gets an open empty file and its name for messages. Throws
  /// Error, also that of `write`, and then leaves nothing.
  std::string add(const Sha256& key, std::string_view label,
                  FunctionRef<void(int fd, const std::string& name)> write) const;

  /// All images, sorted by path. A missing directory has none.
  [[nodiscard]] std::vector<CachedImage> entries() const;
  /// The hash of the content; nothing if the image is gone. Throws Error naming it.
  [[nodiscard]] static std::optional<Sha256> content_hash(const CachedImage& image);
  /// Removes an image, which may be gone already. Throws Error naming it.
  static void remove(const CachedImage& image);
  /// What the name of a file says, without a look at the file. Nothing if it isn't the name of an image.
  [[nodiscard]] static std::optional<CachedImage> parse_path(const std::string& path);

 private:
  std::string directory_;
};

}  // namespace pkgfs
