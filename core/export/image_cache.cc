// SPDX-License-Identifier: MIT
#include "core/export/image_cache.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/base/log.h"
#include "core/base/unique_fd.h"
#include "core/cache/cache_files.h"
#include "core/export/output_file.h"

namespace pkgfs {

namespace {

constexpr std::string_view kImageEnding = ".erofs";
constexpr std::size_t kHexDigits = 64;
constexpr std::size_t kLongestLabel = 100;  // with the hashes, the name has fewer than 255 bytes

/// A part of a file name that shows the package: "/" becomes "%".
std::string to_label(std::string_view text) {
  std::string label(text.substr(0, kLongestLabel));
  for (char& c : label) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       std::string_view("._@+-").find(c) != std::string_view::npos;
    c = c == '/' ? '%' : plain ? c : '_';
  }
  return label;
}

Sha256 hash_of_file(int fd, const std::string& path) {
  Sha256Hasher hasher;
  read_pieces(fd, path, [&](std::span<const std::byte> bytes) { hasher.update(bytes); });
  return hasher.finish();
}

bool is_trusted(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && (status.st_mode & 0222U) == 0 &&
         (status.st_uid == 0 || status.st_uid == ::geteuid());
}

}  // namespace

std::optional<CachedImage> ImageCache::parse_path(const std::string& path) {
  std::string_view name(path);
  name.remove_prefix(name.rfind('/') + 1);
  constexpr std::size_t kRest = 2 * (kHexDigits + 1) + kImageEnding.size();
  if (name.size() <= kRest || !name.ends_with(kImageEnding)) {
    return std::nullopt;
  }
  const std::string_view hashes = name.substr(name.size() - kRest);
  const auto key = sha256_from_hex(hashes.substr(1, kHexDigits));
  const auto hash = sha256_from_hex(hashes.substr(kHexDigits + 2, kHexDigits));
  if (!key || !hash || hashes[0] != '-' || hashes[kHexDigits + 1] != '-') {
    return std::nullopt;
  }
  CachedImage image{.label = std::string(name.substr(0, name.size() - kRest)),
                    .key = *key,
                    .hash = *hash,
                    .path = path,
                    .size = 0,
                    .used = {}};
  std::ranges::replace(image.label, '%', '/');
  return image;
}

std::vector<CachedImage> ImageCache::entries() const {
  std::vector<CachedImage> images;
  std::error_code failed;
  for (const cache_files::File& file : cache_files::list(directory_, failed)) {
    if (std::optional<CachedImage> image = parse_path(file.path)) {
      image->size = file.size;
      image->used = file.used;
      images.push_back(std::move(*image));
    }
  }
  return images;
}

std::optional<std::string> ImageCache::find(const Sha256& key, bool always_check) const {
  cache_files::require_control(directory_);
  for (const CachedImage& image : entries()) {
    if (image.key != key) {
      continue;
    }
    const UniqueFd fd(::open(image.path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
    if (!fd) {
      continue;
    }
    if ((always_check || !is_trusted(fd.get())) && hash_of_file(fd.get(), image.path) != image.hash) {
      log::warn("\"{}\" is removed: its content doesn't have the hash in its name", image.path);
      remove(image);
      continue;
    }
    cache_files::make_read_only(image.path);
    cache_files::mark_used(image.path);
    return image.path;
  }
  return std::nullopt;
}

std::string ImageCache::add(const Sha256& key, std::string_view label,
                            FunctionRef<void(int fd, const std::string& name)> write) const {
  make_private_directory(directory_);
  cache_files::require_control(directory_);
  const std::string name = to_label(label) + "-" + to_hex(key);
  OutputFile file(directory_ + "/" + name, true);
  write(file.fd(), file.path());
  const Sha256 hash = hash_of_file(file.fd(), file.path());
  if (::fchmod(file.fd(), cache_files::kVerified) != 0) {
    throw system_error("Unable to write \"" + file.path() + "\"", errno);
  }
  const std::string path = directory_ + "/" + name + "-" + to_hex(hash) + std::string(kImageEnding);
  file.publish_as(path);
  return path;
}

std::optional<Sha256> ImageCache::content_hash(const CachedImage& image) {
  const UniqueFd fd(::open(image.path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) {
      return std::nullopt;
    }
    throw system_error("Unable to read \"" + image.path + "\"", errno);
  }
  return hash_of_file(fd.get(), image.path);
}

void ImageCache::remove(const CachedImage& image) {
  if (::unlink(image.path.c_str()) != 0 && errno != ENOENT) {
    throw system_error("Unable to remove \"" + image.path + "\"", errno);
  }
}

}  // namespace pkgfs
