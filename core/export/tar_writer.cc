// SPDX-License-Identifier: MIT
#include "core/export/tar_writer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "core/base/error.h"

namespace pkgfs {

namespace {

constexpr std::uint64_t kBlock = 512;
constexpr std::uint64_t kMostSize = 077777777777;  // what eleven octal digits can hold
constexpr char kFile = '0';
constexpr char kLink = '2';
constexpr char kDirectory = '5';
constexpr char kExtended = 'x';

/// The ustar header (POSIX.1-2017, pax, "ustar Interchange Format").
struct Ustar {
  std::array<char, 100> name;
  std::array<char, 8> mode;
  std::array<char, 8> uid;
  std::array<char, 8> gid;
  std::array<char, 12> size;
  std::array<char, 12> mtime;
  std::array<char, 8> checksum;
  char type;
  std::array<char, 100> target;
  std::array<char, 6> magic;
  std::array<char, 2> version;
  std::array<char, 32> user;
  std::array<char, 32> group;
  std::array<char, 8> major;
  std::array<char, 8> minor;
  std::array<char, 155> prefix;
  std::array<char, 12> rest;
};
static_assert(sizeof(Ustar) == kBlock);

template <std::size_t N>
void put_octal(std::array<char, N>& field, std::uint64_t value) {
  for (std::size_t i = N - 1; i > 0; --i) {
    field[i - 1] = static_cast<char>('0' + (value & 7U));
    value >>= 3U;
  }
}

template <std::size_t N>
void put_text(std::array<char, N>& field, std::string_view text) {
  text.copy(field.data(), N);
}

/// `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
std::string record(std::string_view key, std::string_view value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (rest + std::to_string(length).size() != length) {
    ++length;
  }
  return std::to_string(length) + " " + std::string(key) + "=" + std::string(value) + "\n";
}

/// Seconds since the epoch as a decimal number. The nanoseconds count upwards, also before the epoch.
std::string decimal_time(std::int64_t seconds, std::uint32_t nanoseconds) {
  constexpr std::uint32_t kSecond = 1'000'000'000;
  const bool negative = seconds < 0;
  if (negative && nanoseconds > 0) {
    ++seconds;
    nanoseconds = kSecond - nanoseconds;
  }
  std::string text = negative ? "-" : "";
  text += std::to_string(negative ? 0 - static_cast<std::uint64_t>(seconds) : static_cast<std::uint64_t>(seconds));
  if (nanoseconds > 0) {
    std::array<char, 12> digits{};
    std::snprintf(digits.data(), digits.size(), ".%09u", nanoseconds);
    text += digits.data();
    text.erase(text.find_last_not_of('0') + 1);
  }
  return text;
}

/// How a ustar header holds `path`: the prefix, without the "/" behind it, and the rest. Nothing if it can't.
std::optional<std::pair<std::string_view, std::string_view>> split(std::string_view path) {
  if (path.size() <= sizeof(Ustar::name)) {
    return std::pair(std::string_view(), path);
  }
  // The "/" at the end of a directory isn't one that parts the path, because nothing would follow.
  const std::size_t slash = path.rfind('/', std::min(sizeof(Ustar::prefix), path.size() - 2));
  if (slash == std::string_view::npos || slash == 0 || path.size() - slash - 1 > sizeof(Ustar::name)) {
    return std::nullopt;
  }
  return std::pair(path.substr(0, slash), path.substr(slash + 1));
}

}  // namespace

struct TarWriter::Header {
  std::string_view path;
  char type = kFile;
  std::uint16_t mode = 0644;
  std::uint64_t size = 0;
  std::int64_t modified = 0;
  std::uint32_t modified_ns = 0;
  std::string_view target = {};
};

void TarWriter::write_block(const Header& header, std::uint64_t size, std::int64_t modified) {
  Ustar block{};
  const auto [prefix, name] = split(header.path).value_or(std::pair(std::string_view(), header.path));
  put_text(block.prefix, prefix);
  put_text(block.name, name);
  put_octal(block.mode, header.mode);
  put_octal(block.uid, 0);
  put_octal(block.gid, 0);
  put_octal(block.size, size);
  put_octal(block.mtime, static_cast<std::uint64_t>(modified));
  block.type = header.type;
  put_text(block.target, header.target);
  put_text(block.magic, "ustar");
  put_text(block.version, "00");
  put_octal(block.major, 0);
  put_octal(block.minor, 0);
  block.checksum.fill(' ');
  const auto bytes = std::as_bytes(std::span(&block, 1));
  unsigned sum = 0;
  for (const std::byte byte : bytes) {
    sum += std::to_integer<unsigned>(byte);
  }
  std::array<char, 7> digits{};
  put_octal(digits, sum);
  std::memcpy(block.checksum.data(), digits.data(), digits.size());  // six digits, NUL, and the space that is there
  out_.write(bytes);
}

void TarWriter::write_header(const Header& header) {
  std::string records;
  if (!split(header.path)) {
    records += record("path", header.path);
  }
  if (header.target.size() > sizeof(Ustar::target)) {
    records += record("linkpath", header.target);
  }
  if (header.size > kMostSize) {
    records += record("size", std::to_string(header.size));
  }
  const bool fits = header.modified >= 0 && static_cast<std::uint64_t>(header.modified) <= kMostSize;
  if (!fits || header.modified_ns != 0) {
    records += record("mtime", decimal_time(header.modified, header.modified_ns));
  }
  const std::int64_t modified = fits ? header.modified : 0;
  if (!records.empty()) {
    write_block({.path = "PaxHeaders/entry", .type = kExtended}, records.size(), modified);
    records.resize((records.size() + kBlock - 1) / kBlock * kBlock);
    out_.write(records);
  }
  write_block(header, std::min(header.size, kMostSize), modified);
}

void TarWriter::add(const ExportEntry& entry) {
  const bool is_directory = entry.attributes.type == vfs::FileType::kDirectory;
  const std::string path = (entry.path.empty() ? "." : std::string(entry.path)) + (is_directory ? "/" : "");
  const std::uint64_t size = is_directory ? 0 : entry.attributes.size;
  write_header({.path = path,
                .type = is_directory ? kDirectory : kFile,
                .mode = entry.attributes.mode,
                .size = size,
                .modified = entry.attributes.modified,
                .modified_ns = entry.attributes.modified_ns});
  left_ = size;
  padding_ = (kBlock - size % kBlock) % kBlock;
}

void TarWriter::add_link(const ExportEntry& link, std::string_view target) {
  constexpr std::uint16_t kAll = 0777;
  write_header({.path = link.path,
                .type = kLink,
                .mode = kAll,
                .modified = link.attributes.modified,
                .modified_ns = link.attributes.modified_ns,
                .target = target});
}

void TarWriter::add_file(std::string_view path, std::uint64_t size) {
  write_header({.path = path, .size = size});
  left_ = size;
  padding_ = (kBlock - size % kBlock) % kBlock;
}

void TarWriter::add_file(std::string_view path, std::string_view text) {
  add_file(path, text.size());
  content(std::as_bytes(std::span(text)));
  end_file();
}

void TarWriter::content(std::span<const std::byte> bytes) {
  if (bytes.size() > left_) {
    throw Error(ErrorCode::kInternal, "a file of an archive has more bytes than its header says");
  }
  left_ -= bytes.size();
  out_.write(bytes);
}

void TarWriter::end_file() {
  if (left_ != 0) {
    throw Error(ErrorCode::kInternal, "a file of an archive has fewer bytes than its header says");
  }
  static constexpr std::array<std::byte, kBlock> kZeros{};
  out_.write(std::span(kZeros).first(padding_));
  padding_ = 0;
}

void TarWriter::finish() {
  static constexpr std::array<std::byte, 2 * kBlock> kZeros{};
  out_.write(kZeros);
}

namespace {

class TarTarget final : public TreeTarget {
 public:
  TarTarget(TreeReader& reader, ByteSink& out) : reader_(reader), tar_(out) {}

  void enter(const ExportEntry& directory) override { tar_.add(directory); }
  void file(const ExportEntry& file) override {
    tar_.add(file);
    reader_.copy(file, [this](std::span<const std::byte> bytes) { tar_.content(bytes); });
    tar_.end_file();
  }
  void link(const ExportEntry& link, std::string_view target) override { tar_.add_link(link, target); }
  void finish() { tar_.finish(); }

 private:
  TreeReader& reader_;
  TarWriter tar_;
};

}  // namespace

void write_tar(vfs::FileSystem& fs, ByteSink& out) {
  TreeReader reader(fs);
  TarTarget target(reader, out);
  reader.run(target);
  target.finish();
}

}  // namespace pkgfs
