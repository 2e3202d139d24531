// SPDX-License-Identifier: MIT
#include "core/lazy/block_map.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <span>
#include <utility>

#include "core/base/error.h"
#include "core/base/lost_pages.h"

namespace pkgfs {
namespace {

constexpr std::uint64_t kHeaderBytes = 4096;     // before the bytes of the blocks
constexpr off_t kGenerationAt = 2048;            // behind the header
constexpr std::size_t kPiece = 64U << 10U;       // of the map, read or written at a time
constexpr std::uint64_t kLongest = 1ULL << 34U;  // more blocks than any file of the file systems has
constexpr std::uint64_t kOnes = 0x0101010101010101;
constexpr std::uint64_t kHighBits = 0x8080808080808080;

Error map_error(const char* what, const std::string& path, int errnum) {
  return system_error(std::string("Unable to ") + what + " '" + path + "'", errnum);
}

void write_at(int fd, std::span<const std::byte> bytes, std::uint64_t offset, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) {
      continue;
    }
    if (put <= 0) {
      throw map_error("write", path, put == 0 ? EIO : errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(put));
    offset += static_cast<std::uint64_t>(put);
  }
}

/// How many bytes of `out` were read; fewer only where the file ends.
std::size_t read_at(int fd, std::span<std::byte> out, std::uint64_t offset, const std::string& path) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t got = ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got < 0) {
      throw map_error("read", path, errno);
    }
    if (got == 0) {
      break;
    }
    done += static_cast<std::size_t>(got);
  }
  return done;
}

void sync_file(int fd, const std::string& path) {
  while (::fdatasync(fd) != 0) {
    if (errno != EINTR) {
      throw map_error("write", path, errno);
    }
  }
}

std::uint64_t blocks_of_header(const MapHeader& header) { return BlockMap::blocks_of(header.size, header.block_size); }

/// Calls `visit` with each piece of the bytes of the blocks, and the number of its first block. False if one call
/// returned false, or if the file ends before.
template <typename Visit>
bool for_each_piece(int fd, const MapHeader& header, const std::string& path, const Visit& visit) {
  std::vector<std::byte> piece(kPiece);
  const std::uint64_t blocks = blocks_of_header(header);
  for (std::uint64_t at = 0; at < blocks; at += piece.size()) {
    piece.resize(std::min<std::uint64_t>(kPiece, blocks - at));
    if (read_at(fd, piece, kHeaderBytes + at, path) != piece.size() || !visit(std::span(piece), at)) {
      return false;
    }
  }
  return true;
}

bool is_state(std::byte each) { return each <= std::byte{static_cast<std::uint8_t>(BlockMap::State::kSynced)}; }
bool is_synced(std::byte each) { return each == std::byte{static_cast<std::uint8_t>(BlockMap::State::kSynced)}; }

template <typename Word>
Word load(const std::byte* at) noexcept {
  // A reference to something that isn't const: std::atomic_ref requires it in C++20. Nothing is stored.
  auto* const word = reinterpret_cast<Word*>(const_cast<std::byte*>(at));
  static_assert(std::atomic_ref<Word>::is_always_lock_free);
  return std::atomic_ref<Word>(*word).load(std::memory_order_acquire);
}

bool has_zero_byte(std::uint64_t word) { return ((word - kOnes) & ~word & kHighBits) != 0; }

}  // namespace

std::uint64_t BlockMap::Count::bytes(std::uint64_t size, std::uint32_t block_size) const {
  const std::uint64_t rest = has_last ? (block_size - size % block_size) % block_size : 0;
  return blocks * block_size - rest;
}

void BlockMap::make(int fd, const MapHeader& header, const std::string& path) {
  const std::uint64_t length = kHeaderBytes + blocks_of_header(header);
  int errnum = EINTR;
  while (errnum == EINTR) {
    errnum = ::posix_fallocate(fd, 0, static_cast<off_t>(length));
  }
  if (errnum != 0) {
    throw map_error("write", path, errnum);
  }
  // At last: a process that dies before this leaves no header.
  write_at(fd, header.encode(), 0, path);
}

std::optional<MapHeader> BlockMap::read_header(int fd, const std::string& path) {
  std::array<std::byte, MapHeader::kBytes> bytes{};
  const std::size_t got = read_at(fd, bytes, 0, path);
  auto header = MapHeader::decode(std::span(bytes).first(got));
  struct stat status{};
  if (!header || header->block_size == 0 || header->size == 0 || blocks_of_header(*header) > kLongest ||
      ::fstat(fd, &status) != 0 ||
      static_cast<std::uint64_t>(status.st_size) != kHeaderBytes + blocks_of_header(*header)) {
    return std::nullopt;
  }
  return header;
}

bool BlockMap::is_valid(int fd, const MapHeader& header, const std::string& path) {
  return for_each_piece(fd, header, path, [](std::span<const std::byte> piece, std::uint64_t) {
    return std::ranges::all_of(piece, is_state);
  });
}

bool BlockMap::begin_boot(int fd, MapHeader header, const std::string& boot, const std::string& path) {
  if (!is_valid(fd, header, path)) {
    return false;
  }
  const bool done = for_each_piece(fd, header, path, [&](std::span<std::byte> piece, std::uint64_t at) {
    if (std::ranges::all_of(piece, [](std::byte each) { return each == std::byte{} || is_synced(each); })) {
      return true;
    }
    std::ranges::replace_if(piece, [](std::byte each) { return !is_synced(each); }, std::byte{});
    write_at(fd, piece, kHeaderBytes + at, path);
    return true;
  });
  // At last: if the process dies before this, the next one does all again.
  header.boot = boot;
  write_at(fd, header.encode(), 0, path);
  return done;
}

BlockMap::Count BlockMap::count(int fd, const MapHeader& header, bool only_synced, const std::string& path) {
  Count count;
  static_cast<void>(for_each_piece(fd, header, path, [&](std::span<const std::byte> piece, std::uint64_t) {
    const auto is_there = [&](std::byte each) { return only_synced ? is_synced(each) : each != std::byte{}; };
    count.blocks += static_cast<std::uint64_t>(std::ranges::count_if(piece, is_there));
    count.has_last = is_there(piece.back());  // what the last call sets stays
    return true;
  }));
  return count;
}

BlockMap::BlockMap(UniqueFd fd, const MapHeader& header, std::string path)
    : path_(std::move(path)),
      blocks_(blocks_of_header(header)),
      file_(MappedFile::adopt(std::move(fd), path_, MappedFile::Changes::kAllowed)) {
  if (file_->bytes().size() < kHeaderBytes + blocks_) {
    throw Error(ErrorCode::kCorrupt, "Unable to read '" + path_ + "': it became shorter");
  }
}

BlockMap::State BlockMap::state(std::uint64_t block) const noexcept {
  return static_cast<State>(load<std::uint8_t>(file_->bytes().data() + kHeaderBytes + block));
}

std::uint64_t BlockMap::find(std::uint64_t at, std::uint64_t end, bool missing) const noexcept {
  constexpr std::uint64_t kWord = sizeof(std::uint64_t);
  const std::byte* const states = file_->bytes().data() + kHeaderBytes;
  while (at < end) {
    if (at % kWord == 0 && end - at >= kWord) {
      const auto word = load<std::uint64_t>(states + at);
      if (missing ? !has_zero_byte(word) : word == 0) {
        at += kWord;
        continue;
      }
    }
    if ((state(at) == State::kMissing) == missing) {
      return at;
    }
    ++at;
  }
  return end;
}

bool BlockMap::has(BlockRange range) const noexcept {
  return range.first <= blocks_ && range.count <= blocks_ - range.first &&
         find(range.first, range.end(), true) == range.end();
}

BlockRange BlockMap::missing(BlockRange range) const noexcept {
  const std::uint64_t begin = std::min(range.first, blocks_);
  const std::uint64_t end = begin + std::min(range.count, blocks_ - begin);
  const std::uint64_t first = find(begin, end, true);
  return first == end ? BlockRange{} : BlockRange{first, find(first, end, false) - first};
}

BlockMap::Count BlockMap::count() const noexcept {
  Count count;
  for (std::uint64_t at = 0; at < blocks_;) {
    const std::uint64_t first = find(at, blocks_, false);
    at = find(first, blocks_, true);
    count.blocks += at - first;
  }
  count.has_last = blocks_ > 0 && state(blocks_ - 1) != State::kMissing;
  return count;
}

std::vector<BlockRange> BlockMap::unsynced() const {
  std::vector<BlockRange> runs;
  for (std::uint64_t at = find(0, blocks_, false); at < blocks_; at = find(at + 1, blocks_, false)) {
    if (state(at) != State::kPresent) {
      continue;
    }
    if (!runs.empty() && runs.back().end() == at) {
      ++runs.back().count;
    } else {
      runs.push_back({at, 1});
    }
  }
  return runs;
}

bool BlockMap::has_synced(BlockRange range) const noexcept {
  const std::uint64_t end = std::min(range.end(), blocks_);
  for (std::uint64_t at = range.first; at < end; ++at) {
    if (state(at) == State::kSynced) {
      return true;
    }
  }
  return false;
}

void BlockMap::set(BlockRange range, State state) {
  const std::vector<std::byte> piece(std::min<std::uint64_t>(kPiece, range.count),
                                     std::byte{static_cast<std::uint8_t>(state)});
  const std::uint64_t end = std::min(range.end(), blocks_);
  for (std::uint64_t at = range.first; at < end;) {
    const std::uint64_t length = std::min<std::uint64_t>(piece.size(), end - at);
    write_at(fd(), std::span(piece).first(length), kHeaderBytes + at, path_);
    at += length;
  }
}

void BlockMap::mark_present(BlockRange range) {
  range.first = std::min(range.first, blocks_);
  range.count = std::min(range.count, blocks_ - range.first);
  const std::uint64_t before = lost_pages::events();
  for (BlockRange run = missing(range); !run.empty();) {
    set(run, State::kPresent);
    const std::uint64_t done = run.end() - range.first;
    run = missing({run.end(), range.count - std::min(range.count, done)});
  }
  if (has(range)) {
    return;
  }
  // A page of the mapping was lost. If the file has the page again by now, it is mapped again.
  static_cast<void>(lost_pages::check(file_->bytes().subspan(kHeaderBytes + range.first, range.count), before));
  if (!has(range)) {
    throw Error(ErrorCode::kIo, "Unable to read '" + path_ + "': it was truncated, or its disk fails");
  }
}

std::uint64_t BlockMap::generation() const {
  std::uint64_t generation = 0;
  static_cast<void>(read_at(fd(), std::as_writable_bytes(std::span(&generation, 1)), kGenerationAt, path_));
  return generation;
}

std::uint64_t BlockMap::mapped_generation() const noexcept {
  return load<std::uint64_t>(file_->bytes().data() + kGenerationAt);
}

void BlockMap::set_generation(std::uint64_t generation) {
  write_at(fd(), std::as_bytes(std::span(&generation, 1)), kGenerationAt, path_);
}

void BlockMap::sync() { sync_file(fd(), path_); }

}  // namespace pkgfs
