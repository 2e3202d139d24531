// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "core/base/error.h"
#include "core/base/hash.h"
#include "core/base/private_directory.h"
#include "core/base/unique_fd.h"

namespace pkgfs {

/// A file that a download fills, with the hash of its content. A small file beside it (`{path}.from`) holds the origin
/// of the bytes, so that another process can continue the download. The caller holds a lock, so that only one thread of
/// all processes uses a path at a time.
///
/// The directory must exist. Other users may write there, but must not be able to replace the file: the constructor
/// checks that (PrivateDirectory::require_control). No link or file that they put there is used. The methods
/// that use the disk throw Error naming the path, except `discard`.
class PartialFile {
 public:
  /// Where the bytes come from.
  struct Origin {
    std::string url;
    /// A strong ETag or a Last-Modified date. As long as the server gives the same one, it has the same bytes.
    std::string validator;
  };

  /// Opens the file, or creates it. Keeps its content if that comes from `url`, and else removes the content.
  PartialFile(std::string path, const std::string& url);

  [[nodiscard]] std::uint64_t size() const { return size_; }
  /// Where the bytes come from. None: a download of these bytes can't be continued.
  [[nodiscard]] const std::optional<Origin>& origin() const { return origin_; }

  /// Removes the content and the origin.
  void clear();
  /// Records where the bytes that follow come from.
  void set_origin(Origin origin);
  void append(std::span<const std::byte> piece);
  /// Syncs the file, removes the origin, and returns the hash of the content. Afterwards, the content must not be
  /// changed until `clear` was called.
  [[nodiscard]] Sha256 finish();
  /// Gives the open file away, after `finish`. The file at the path may be another one meanwhile. Afterwards, only
  /// `size` may be called.
  [[nodiscard]] UniqueFd release() { return std::move(fd_); }

  /// Removes the file at `path` and its origin, if they exist. Fails silently.
  static void discard(const std::string& path) noexcept;

 private:
  void hash_content();
  [[nodiscard]] Error failed(const char* what, int errnum) const;

  std::string path_;
  PrivateDirectory directory_;
  std::string name_;
  UniqueFd fd_;
  std::uint64_t size_ = 0;
  std::unique_ptr<Sha256Hasher> hasher_ = std::make_unique<Sha256Hasher>();
  std::optional<Origin> origin_;
};

}  // namespace pkgfs
