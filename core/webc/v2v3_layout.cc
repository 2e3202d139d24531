// SPDX-License-Identifier: MIT
#include <algorithm>
#include <array>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/webc/bytes.h"
#include "core/webc/json_fields.h"
#include "core/webc/v2v3.h"

namespace pkgfs::webc {
namespace {

enum class Tag : std::uint8_t { kManifest = 1, kIndex = 2, kAtoms = 3, kVolume = 4 };

constexpr std::uint64_t kPrefix = 8;        // magic and version
constexpr std::uint64_t kIndexFraming = 9;  // tag, length

[[noreturn]] void refuse(const ByteSource& source, const std::string& section, std::uint64_t at,
                         const std::string& what) {
  throw Error(ErrorCode::kCorrupt, source.name() + ": " + section + ", offset " + hex(at) + ": " + what);
}

const char* tag_name(unsigned tag) {
  constexpr std::array<const char*, 5> kNames = {nullptr, "manifest", "index", "atoms", "volume"};
  return tag < kNames.size() && kNames[tag] != nullptr ? kNames[tag] : "unknown";
}

std::string tag_text(unsigned tag) { return std::to_string(tag) + " (" + tag_name(tag) + ")"; }

// Bytes in the index: a byte string, or an array of small integers, which the reference accepts as well.
std::string read_bytes(const Json& value, const std::string& where) {
  if (value.is_binary()) {
    const auto& bytes = value.get_binary();
    return {bytes.begin(), bytes.end()};
  }
  std::string bytes;
  for (const Json& item : expect_list(value, where)) {
    const std::uint64_t byte = expect_unsigned(item, where);
    if (byte > 0xff) {
      wrong_type(item, "u8", where);
    }
    bytes += static_cast<char>(byte);
  }
  return bytes;
}

// The tag of a checksum or signature. As in the reference, the name of any tag is accepted.
std::string read_tag(const Json& map, const std::string& where) {
  constexpr std::array<std::string_view, 10> kKnown = {
      "manifest",        "index",          "atoms",     "volume", "checksum-none",
      "checksum-sha256", "signature-none", "directory", "file",   "symlink"};
  const std::string& tag = expect_text(required(map, "tag", where), below(where, "tag"));
  if (std::find(kKnown.begin(), kKnown.end(), tag) == kKnown.end()) {
    throw Error(ErrorCode::kCorrupt, below(where, "tag") + ": unknown variant `" + tag + "`");
  }
  return tag;
}

IndexEntry read_index_entry(const Json& value, const std::string& where) {
  expect_map(value, where);
  const Json& span = expect_map(required(value, "span", where), below(where, "span"));
  const Json& checksum = expect_map(required(value, "checksum", where), below(where, "checksum"));
  IndexEntry entry;
  entry.start = expect_unsigned(required(span, "start", where), below(where, "span.start"));
  entry.length = expect_unsigned(required(span, "len", where), below(where, "span.len"));
  entry.checksum_tag = read_tag(checksum, below(where, "checksum"));
  entry.checksum = read_bytes(required(checksum, "value", below(where, "checksum")), below(where, "checksum.value"));
  return entry;
}

Index read_index(std::span<const std::byte> cbor) {
  const Json json = parse_cbor(cbor);
  expect_map(json, "");
  Index index;
  index.manifest = read_index_entry(required(json, "manifest", ""), "manifest");
  index.atoms = read_index_entry(required(json, "atoms", ""), "atoms");
  const Json& volumes = expect_map(required(json, "volumes", ""), "volumes");
  for (const auto& [name, entry] : volumes.get_ref<const Json::object_t&>()) {
    index.volumes.emplace_back(name, read_index_entry(entry, below("volumes", name)));
  }
  const Json& signature = expect_map(required(json, "signature", ""), "signature");
  index.signature_tag = read_tag(signature, "signature");
  index.signature = read_bytes(required(signature, "value", "signature"), "signature.value");
  return index;
}

// Reads the length-prefixed parts of a payload, front to back.
class Payload {
 public:
  Payload(const ByteSource& source, const std::string& section, std::uint64_t start, std::uint64_t length)
      : source_(source), section_(section), at_(start), end_(start + length) {}

  // The next part: where it starts and how long it is.
  std::pair<std::uint64_t, std::uint64_t> part(const char* what) {
    const std::uint64_t here = at_;
    if (end_ - at_ < 8) {
      refuse(source_, section_, here, std::string("no room for the ") + what + " length before " + hex(end_));
    }
    source_.need(at_, 8);
    const std::uint64_t length = load_u64(source_.bytes(), at_);
    at_ += 8;
    if (length > end_ - at_) {
      refuse(source_, section_, here,
             std::string(what) + " length " + hex(length) + " is past the section end (" + hex(end_) + ")");
    }
    const std::uint64_t start = at_;
    at_ += length;
    return {start, length};
  }

 private:
  const ByteSource& source_;
  const std::string& section_;
  std::uint64_t at_;
  std::uint64_t end_;
};

class LayoutReader {
 public:
  LayoutReader(const ByteSource& source, Version version, const limits::PackageLimits& limits, DirectoryData data)
      : source_(source),
        bytes_(source.bytes()),
        limits_(limits),
        needs_directories_(data == DirectoryData::kNow),
        framing_(version == Version::kV3 ? 41 : 9) {
    layout_.version = version;
  }

  Layout read() {
    read_index_section();
    const Index& index = *layout_.index;
    need_beginnings();
    const ByteRange manifest = section(index.manifest, Tag::kManifest, "manifest");
    layout_.manifest = manifest.begin;
    layout_.manifest_length = manifest.end - manifest.begin;
    if (layout_.manifest_length > limits_.manifest_bytes) {
      refuse(source_, "manifest", manifest.begin,
             over_limit(layout_.manifest_length, limits_.manifest_bytes, "bytes", limits_));
    }
    if (index.volumes.size() > limits_.volumes) {
      refuse(source_, "index", kPrefix, over_limit(index.volumes.size(), limits_.volumes, "volumes", limits_));
    }
    layout_.atoms = parts(section(index.atoms, Tag::kAtoms, "atoms"), "atoms", nullptr);
    for (const auto& [name, entry] : index.volumes) {
      const std::string title = "volume " + in_quotes(name);
      layout_.volumes.push_back(parts(section(entry, Tag::kVolume, title), title, &name));
    }
    check_overlap();
    return std::move(layout_);
  }

 private:
  void read_index_section() {
    if (!fits(kPrefix, kIndexFraming, bytes_.size())) {
      refuse(source_, "index", kPrefix, "the file ends (" + hex(bytes_.size()) + ") inside the index section");
    }
    source_.need(kPrefix, kIndexFraming);
    const auto tag = static_cast<unsigned>(bytes_[kPrefix]);
    if (tag != static_cast<unsigned>(Tag::kIndex)) {
      refuse(source_, "index", kPrefix, "section tag " + tag_text(tag) + " instead of 2 (index)");
    }
    const std::uint64_t length = load_u64(bytes_, kPrefix + 1);
    const std::uint64_t payload = kPrefix + kIndexFraming;
    if (length > bytes_.size() - payload) {
      refuse(source_, "index", kPrefix, "length " + hex(length) + " is past the file end (" + hex(bytes_.size()) + ")");
    }
    if (length > limits_.index_bytes) {
      refuse(source_, "index", kPrefix, over_limit(length, limits_.index_bytes, "bytes", limits_));
    }
    spans_.push_back({ByteRange{.begin = kPrefix, .end = payload + length}, "index"});
    source_.need(payload, length);
    try {
      layout_.index = read_index(bytes_.subspan(payload, length));
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kCorrupt) {
        throw;
      }
      refuse(source_, "index", payload, error.message());
    }
  }

  // Fetches the beginnings of all sections, and then all directory data that is wanted, at once each time: otherwise
  // every step below would wait for a server by itself. The lengths that this reads are checked below, when they are
  // read again.
  void need_beginnings() const {
    static constexpr std::uint64_t kBeginning = 4096;
    std::vector<ByteRun> runs;
    const auto add_beginning = [&runs](const IndexEntry& entry) {
      runs.push_back({.offset = entry.start, .length = std::min(entry.length, kBeginning)});
    };
    add_beginning(layout_.index->manifest);
    add_beginning(layout_.index->atoms);
    for (const auto& [name, entry] : layout_.index->volumes) {
      add_beginning(entry);
    }
    source_.need(runs);
    runs = {{.offset = layout_.index->manifest.start, .length = layout_.index->manifest.length}};
    runs.push_back(header_of(layout_.index->atoms, 0));
    for (const auto& [name, entry] : layout_.index->volumes) {
      ByteRun run = header_of(entry, 8 + name.size());
      if (const std::uint64_t skipped = needs_directories_ || run.length < 8 ? 0 : run.length - 8; skipped > 0) {
        run = {.offset = run.offset + skipped, .length = 8};  // the length behind the header
      }
      runs.push_back(run);
    }
    source_.need(runs);
  }

  // The header of a section and the length behind it. `before`: bytes of the payload in front of the header's length.
  [[nodiscard]] ByteRun header_of(const IndexEntry& entry, std::uint64_t before) const {
    const std::uint64_t skip = framing_ + before;
    if (!fits(entry.start, entry.length, bytes_.size()) || !fits(0, skip + 8, entry.length)) {
      return {};
    }
    const std::uint64_t at = entry.start + skip;
    const std::uint64_t length = load_u64(bytes_, at);
    const std::uint64_t room = entry.length - skip - 8;
    return {.offset = at + 8, .length = length <= room ? std::min(length + 8, room) : 0};
  }

  // Checks the framing of a section and returns its payload.
  ByteRange section(const IndexEntry& entry, Tag tag, const std::string& title) {
    if (!fits(entry.start, entry.length, bytes_.size())) {
      refuse(source_, title, entry.start,
             "span of length " + hex(entry.length) + " is past the file end (" + hex(bytes_.size()) + ")");
    }
    if (entry.length < framing_) {
      refuse(source_, title, entry.start, "span of length " + hex(entry.length) + " is shorter than its framing");
    }
    source_.need(entry.start, framing_);
    const auto found = static_cast<unsigned>(bytes_[entry.start]);
    if (found != static_cast<unsigned>(tag)) {
      refuse(source_, title, entry.start,
             "section tag " + tag_text(found) + " instead of " + tag_text(static_cast<unsigned>(tag)));
    }
    const std::uint64_t length = load_u64(bytes_, entry.start + framing_ - 8);
    if (length != entry.length - framing_) {
      refuse(source_, title, entry.start,
             "payload length " + hex(length) + " does not fit the span of length " + hex(entry.length));
    }
    spans_.push_back({ByteRange{.begin = entry.start, .end = entry.start + entry.length}, title});
    return {.begin = entry.start + framing_, .end = entry.start + entry.length};
  }

  VolumeParts parts(const ByteRange& payload, const std::string& title, const std::string* name) {
    Payload reader(source_, title, payload.begin, payload.end - payload.begin);
    VolumeParts parts;
    if (name != nullptr) {
      const auto [start, length] = reader.part("name");
      source_.need(start, length);
      parts.name = as_text(bytes_.subspan(start, length));
      if (parts.name != *name) {
        refuse(source_, title, start, "the section calls itself " + in_quotes(parts.name));
      }
    }
    std::tie(parts.header, parts.header_length) = reader.part("header");
    if (parts.header_length > kMaxHeader) {
      refuse(source_, title, parts.header, "header longer than 4 GiB");
    }
    std::tie(parts.data, parts.data_length) = reader.part("data");
    return parts;
  }

  void check_overlap() {
    std::sort(spans_.begin(), spans_.end(), [](const auto& a, const auto& b) { return a.first.begin < b.first.begin; });
    std::uint64_t covered = kPrefix;
    for (std::size_t i = 0; i < spans_.size(); ++i) {
      const auto& [span, title] = spans_[i];
      if (span.begin < covered) {
        refuse(source_, title, span.begin, i == 0 ? "overlaps the magic bytes" : "overlaps " + spans_[i - 1].second);
      }
      layout_.uncovered += span.begin - covered;
      covered = span.end;
    }
    layout_.uncovered += bytes_.size() - covered;
  }

  const ByteSource& source_;
  std::span<const std::byte> bytes_;
  const limits::PackageLimits& limits_;
  bool needs_directories_;
  std::uint64_t framing_;  // bytes in front of a payload
  Layout layout_;
  std::vector<std::pair<ByteRange, std::string>> spans_;
};

}  // namespace

Layout read_v2v3_layout(const ByteSource& source, Version version, const limits::PackageLimits& limits,
                        DirectoryData data) {
  return LayoutReader(source, version, limits, data).read();
}

}  // namespace pkgfs::webc
