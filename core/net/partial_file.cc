// SPDX-License-Identifier: MIT
#include "core/net/partial_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <utility>
#include <vector>

#include "core/base/log.h"

namespace pkgfs {
namespace {

constexpr std::size_t kOriginBytes = 64U << 10U;
constexpr std::size_t kReadBytes = 1U << 20U;

constexpr const char* kOriginEnding = ".from";

/// Where the file at a path is.
struct Place {
  PrivateDirectory directory;
  std::string name;
};

/// None if there is no such directory.
std::optional<Place> find_place(const std::string& path) {
  const std::filesystem::path whole(path);
  auto directory = PrivateDirectory::find(whole.has_parent_path() ? whole.parent_path().string() : ".");
  return directory ? std::optional(Place{*std::move(directory), whole.filename()}) : std::nullopt;
}

PrivateDirectory directory_of(const std::string& path) {
  if (auto place = find_place(path)) {
    place->directory.require_control();
    return std::move(place->directory);
  }
  throw Error(ErrorCode::kIo, "Unable to open '" + path + "': its directory was removed or replaced by a link");
}

/// From two lines: the URL and the validator. None if the file is missing or malformed.
std::optional<PartialFile::Origin> read_origin(const PrivateDirectory& directory, const std::string& name) {
  try {
    const auto text = directory.read_file(name, kOriginBytes);
    if (!text) {
      return std::nullopt;
    }
    const std::size_t first = text->find('\n');
    const std::size_t second = first == std::string::npos ? first : text->find('\n', first + 1);
    if (second == std::string::npos || second + 1 != text->size()) {
      return std::nullopt;
    }
    return PartialFile::Origin{text->substr(0, first), text->substr(first + 1, second - first - 1)};
  } catch (const Error& error) {
    log::debug("{}", error);
    return std::nullopt;
  }
}

}  // namespace

PartialFile::PartialFile(std::string path, const std::string& url)
    : path_(std::move(path)),
      directory_(directory_of(path_)),
      name_(std::filesystem::path(path_).filename()),
      fd_(directory_.open_file(name_, PrivateDirectory::Content::kTrusted)),
      origin_(read_origin(directory_, name_ + kOriginEnding)) {
  if (origin_ && origin_->url == url) {
    hash_content();
  } else {
    clear();
  }
}

void PartialFile::hash_content() {
  std::vector<std::byte> buffer(kReadBytes);
  while (true) {
    const ssize_t got = ::pread(fd_.get(), buffer.data(), buffer.size(), static_cast<off_t>(size_));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      throw failed("read", errno);
    }
    if (got == 0) {
      return;
    }
    hasher_->update(std::span(buffer).first(static_cast<std::size_t>(got)));
    size_ += static_cast<std::uint64_t>(got);
  }
}

void PartialFile::clear() {
  origin_.reset();
  directory_.remove(name_ + kOriginEnding);
  if (::ftruncate(fd_.get(), 0) != 0) {
    throw failed("truncate", errno);
  }
  size_ = 0;
  hasher_ = std::make_unique<Sha256Hasher>();
}

void PartialFile::set_origin(Origin origin) {
  if (origin.validator.find('\n') != std::string::npos) {
    return;  // it couldn't be read back
  }
  origin_ = std::move(origin);
  directory_.write_file(name_ + kOriginEnding, origin_->url + "\n" + origin_->validator + "\n");
}

void PartialFile::append(std::span<const std::byte> piece) {
  hasher_->update(piece);
  while (!piece.empty()) {
    const ssize_t put = ::pwrite(fd_.get(), piece.data(), piece.size(), static_cast<off_t>(size_));
    if (put < 0) {
      if (errno == EINTR) {
        continue;
      }
      throw failed("write", errno);
    }
    size_ += static_cast<std::uint64_t>(put);
    piece = piece.subspan(static_cast<std::size_t>(put));
  }
}

Sha256 PartialFile::finish() {
  if (::fsync(fd_.get()) != 0) {
    throw failed("write", errno);
  }
  directory_.remove(name_ + kOriginEnding);
  return hasher_->finish();
}

void PartialFile::discard(const std::string& path) noexcept {
  try {
    if (const auto place = find_place(path)) {
      place->directory.remove(place->name);
      place->directory.remove(place->name + kOriginEnding);
    }
  } catch (...) {  // NOLINT(bugprone-empty-catch): out of memory; a stale file is removed with other old ones
  }
}

Error PartialFile::failed(const char* what, int errnum) const {
  return system_error(std::string("Unable to ") + what + " '" + path_ + "'", errnum);
}

}  // namespace pkgfs
