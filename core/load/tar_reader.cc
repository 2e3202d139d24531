// SPDX-License-Identifier: MIT
#include "core/load/tar_reader.h"

#include <algorithm>
#include <new>

namespace pkgfs {

TarReader::Utf8Locale::Utf8Locale() : locale_(::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
  if (locale_ != nullptr) {
    before_ = ::uselocale(locale_);
  }
}

TarReader::Utf8Locale::~Utf8Locale() {
  if (locale_ != nullptr) {
    ::uselocale(before_);
    ::freelocale(locale_);
  }
}

TarReader::TarReader(std::span<const std::byte> packed, const UnpackLimit& limit)
    : stream_(packed), limit_(limit), packed_(packed.size()), archive_(libarchive().read_new()) {
  if (archive_ == nullptr) {
    throw std::bad_alloc();
  }
  if (libarchive().read_support_format_tar(archive_.get()) != ARCHIVE_OK ||
      libarchive().read_open(archive_.get(), this, nullptr, &TarReader::read, nullptr) != ARCHIVE_OK) {
    fail();
  }
}

la_ssize_t TarReader::read(struct archive* /*archive*/, void* self, const void** buffer) {
  auto& reader = *static_cast<TarReader*>(self);
  try {
    const auto bytes = reader.unpack();
    *buffer = bytes.data();
    return static_cast<la_ssize_t>(bytes.size());
  } catch (const Error& error) {
    reader.failure_ = error;
  } catch (const std::bad_alloc&) {
    reader.failure_ = current_error();
  }
  return ARCHIVE_FATAL;
}

std::span<const std::byte> TarReader::unpack() {
  const auto bytes = stream_.next();
  limit_.check(stream_.unpacked(), packed_, "unpacked");
  limit_.check_beginning(stream_.unpacked(), stream_.position());
  return bytes;
}

void TarReader::fail() {
  if (failure_) {
    throw *failure_;
  }
  const char* text = libarchive().error_string(archive_.get());
  throw Error(ErrorCode::kCorrupt, text != nullptr ? text : "the archive is damaged");
}

struct archive_entry* TarReader::next() {
  struct archive_entry* entry = nullptr;
  const int result = libarchive().read_next_header(archive_.get(), &entry);
  if (result == ARCHIVE_EOF && !failure_) {
    return nullptr;
  }
  if (failure_ || (result != ARCHIVE_OK && result != ARCHIVE_WARN)) {
    fail();
  }
  return entry;
}

TarReader::Part TarReader::next_part() {
  const void* data = nullptr;
  std::size_t length = 0;
  la_int64_t offset = 0;
  const int result = libarchive().read_data_block(archive_.get(), &data, &length, &offset);
  if (failure_ || (result != ARCHIVE_OK && result != ARCHIVE_WARN && result != ARCHIVE_EOF)) {
    fail();
  }
  const bool end = result == ARCHIVE_EOF;
  return {.bytes = {static_cast<const std::byte*>(data), end ? 0 : length},
          .offset = static_cast<std::uint64_t>(std::max<la_int64_t>(offset, 0)),
          .end = end};
}

void TarReader::finish() {
  while (!unpack().empty()) {
  }
}

}  // namespace pkgfs
