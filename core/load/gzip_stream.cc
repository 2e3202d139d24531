// SPDX-License-Identifier: MIT
#include "core/load/gzip_stream.h"

#include <algorithm>
#include <new>
#include <string_view>

#include "core/base/error.h"
#include "core/webc/bytes.h"

namespace pkgfs {

namespace {

constexpr std::size_t kPiece = 256U << 10U;
constexpr std::size_t kMostInput = 1U << 30U;  // zlib counts its input in 32 bits
constexpr std::byte kMagic0{0x1f};
constexpr std::byte kMagic1{0x8b};

/// The problem in words; zlib's own are kept for what only an author of a decoder knows.
std::string reason(const char* text) {
  const std::string_view said = text != nullptr ? text : "";
  if (said == "incorrect data check") {
    return "the unpacked bytes do not match the CRC";
  }
  if (said == "incorrect length check") {
    return "the unpacked bytes do not have the stored length";
  }
  return said.empty() ? "it can't be unpacked" : "it can't be unpacked: " + std::string(said);
}

}  // namespace

GzipStream::GzipStream(std::span<const std::byte> packed) : packed_(packed), buffer_(kPiece) {
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  if (zlib().inflate_init2(&state_, kGzipOnly, ZLIB_VERSION, static_cast<int>(sizeof state_)) != Z_OK) {
    throw std::bad_alloc();  // a wrong version doesn't happen: the soname stands for it
  }
}

GzipStream::~GzipStream() { zlib().inflate_end(&state_); }

void GzipStream::refuse(const std::string& what) const {
  throw Error(ErrorCode::kCorrupt,
              "gzip member " + std::to_string(members_) + ", offset " + webc::hex(position_) + ": " + what);
}

bool GzipStream::begin_member() {
  const auto rest = packed_.subspan(position_);
  if (rest.empty() ||
      (members_ > 0 && std::ranges::all_of(rest, [](std::byte byte) { return byte == std::byte{0}; }))) {
    position_ = packed_.size();
    return false;
  }
  if (rest[0] != kMagic0 || (rest.size() > 1 && rest[1] != kMagic1)) {
    throw Error(ErrorCode::kCorrupt, "offset " + webc::hex(position_) + ": " + std::to_string(rest.size()) +
                                         " bytes follow that are neither a gzip member nor zeros");
  }
  ++members_;
  inside_ = true;
  return zlib().inflate_reset(&state_) == Z_OK;
}

int GzipStream::step() {
  const auto input = packed_.subspan(position_, std::min<std::uint64_t>(packed_.size() - position_, kMostInput));
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast, cppcoreguidelines-pro-type-reinterpret-cast): zlib's
  // interface
  state_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(input.data()));
  state_.avail_in = static_cast<uInt>(input.size());
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): zlib's interface
  state_.next_out = reinterpret_cast<Bytef*>(buffer_.data());
  state_.avail_out = static_cast<uInt>(buffer_.size());
  const int result = zlib().inflate(&state_, Z_NO_FLUSH);
  position_ += input.size() - state_.avail_in;
  unpacked_ += buffer_.size() - state_.avail_out;
  return result;
}

std::span<const std::byte> GzipStream::next() {
  while (inside_ || begin_member()) {
    switch (step()) {
      case Z_OK:
        break;
      case Z_STREAM_END:
        inside_ = false;
        break;
      case Z_BUF_ERROR:
        refuse("the file ends inside the member");
      case Z_MEM_ERROR:
        throw std::bad_alloc();
      default:
        refuse(reason(state_.msg));
    }
    if (state_.avail_out < buffer_.size()) {
      return std::span(buffer_).first(buffer_.size() - state_.avail_out);
    }
  }
  return {};
}

}  // namespace pkgfs
