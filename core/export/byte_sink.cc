// SPDX-License-Identifier: MIT
#include "core/export/byte_sink.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/base/error.h"
#include "core/base/files.h"
#include "core/load/zlib.h"

namespace pkgfs {

namespace {

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

FileSink::FileSink(int fd, std::string name, std::size_t buffer) : fd_(fd), name_(std::move(name)), most_(buffer) {}

void FileSink::write(std::span<const std::byte> bytes) {
  if (buffer_.size() + bytes.size() > most_) {
    flush();
  }
  if (bytes.size() >= most_) {
    write_all(fd_, text_of(bytes), name_);
  } else {
    buffer_ += text_of(bytes);
  }
}

void FileSink::flush() {
  write_all(fd_, buffer_, name_);
  buffer_.clear();
}

void HashSink::write(std::span<const std::byte> bytes) {
  hasher_.update(bytes);
  size_ += bytes.size();
  next_.write(bytes);
}

struct GzipSink::State {
  z_stream stream{};
  std::array<std::byte, 64U << 10U> out{};
};

GzipSink::GzipSink(ByteSink& next) : next_(next), state_(std::make_unique<State>()) {
  constexpr int kLevel = 6;
  constexpr int kGzip = 16 + MAX_WBITS;
  constexpr int kMemory = 8;
  if (zlib().deflate_init2(&state_->stream, kLevel, Z_DEFLATED, kGzip, kMemory, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                           static_cast<int>(sizeof(z_stream))) != Z_OK) {
    throw Error(ErrorCode::kInternal, "zlib can't begin to compress");
  }
}

GzipSink::~GzipSink() { zlib().deflate_end(&state_->stream); }

void GzipSink::write(std::span<const std::byte> bytes) {
  constexpr std::size_t kMost = 1U << 30U;  // zlib counts with 32 bits
  while (!bytes.empty()) {
    const auto piece = bytes.first(std::min(bytes.size(), kMost));
    deflate(piece, Z_NO_FLUSH);
    bytes = bytes.subspan(piece.size());
  }
}

void GzipSink::finish() { deflate({}, Z_FINISH); }

void GzipSink::deflate(std::span<const std::byte> bytes, int flush) {
  z_stream& stream = state_->stream;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): zlib's interface; it only reads
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  do {
    stream.next_out = reinterpret_cast<Bytef*>(state_->out.data());
    stream.avail_out = static_cast<uInt>(state_->out.size());
    if (zlib().deflate(&stream, flush) == Z_STREAM_ERROR) {
      throw Error(ErrorCode::kInternal, "zlib can't compress");
    }
    next_.write(std::span<const std::byte>(state_->out).first(state_->out.size() - stream.avail_out));
  } while (stream.avail_out == 0);
}

}  // namespace pkgfs
