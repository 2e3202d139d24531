// SPDX-License-Identifier: MIT
#include "core/webc/writer.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <nlohmann/json.hpp>

#include "core/base/cancel.h"
#include "core/base/error.h"
#include "core/base/function_ref.h"
#include "core/webc/buffer.h"
#include "core/webc/bytes.h"
#include "core/webc/volume_header.h"

namespace pkgfs::webc {
namespace {

using Take = FunctionRef<void(Bytes)>;

// A section to be written: the bytes in front of its volume, and the volume.
struct Section {
  std::uint8_t tag = 0;
  Buffer front;
  const VolumeHeader* volume = nullptr;
  Sha256 hash{};
  std::uint64_t start = 0;   // of the tag byte
  std::uint64_t length = 0;  // of the payload
};

Section volume_section(std::uint8_t tag, const std::string* name, const VolumeHeader& header) {
  Section section;
  section.tag = tag;
  section.volume = &header;
  if (name != nullptr) {
    put(section.front, std::uint64_t{name->size()});
    put(section.front, *name);
  }
  put(section.front, std::uint64_t{header.bytes().size()});
  section.length = section.front.size() + header.bytes().size() + sizeof(header.data_length()) + header.data_length();
  return section;
}

void send(const Section& section, Take take) {
  take(section.front);
  if (section.volume == nullptr) {
    return;
  }
  take(section.volume->bytes());
  Buffer length;
  put(length, section.volume->data_length());
  take(length);
  std::uint64_t sent = 0;
  for (const Content* body : section.volume->bodies()) {
    throw_if_cancelled();
    read_content(*body, [&](Bytes piece) {
      sent += piece.size();
      if (sent <= section.volume->data_length()) {
        take(piece);
      }
    });
  }
  if (sent != section.volume->data_length()) {
    throw Error(ErrorCode::kIo, "a file changed while it was packed");
  }
}

Json index_entry(std::uint64_t start, std::uint64_t length, const Sha256& hash) {
  return {{"span", {{"start", start}, {"len", length}}},
          {"checksum", {{"tag", "checksum-sha256"}, {"value", Json::binary({hash.begin(), hash.end()})}}}};
}

// The index. `names` are those of the sections from the third on.
Buffer index_cbor(const std::vector<Section>& sections, const std::vector<std::string>& names, std::uint64_t framing) {
  const auto entry = [&](const Section& section) {
    return index_entry(section.start, section.length + framing, section.hash);
  };
  // The names differ. `volumes[name]` would look through all of them first.
  using Members = std::vector<Json::object_t::value_type, Json::object_t::allocator_type>;
  Json::object_t volumes;
  for (std::size_t i = 0; i < names.size(); ++i) {
    static_cast<Members&>(volumes).emplace_back(names[i], entry(sections[i + 2]));
  }
  return encode_manifest({{"manifest", entry(sections[0])},
                          {"atoms", entry(sections[1])},
                          {"volumes", std::move(volumes)},
                          {"signature", {{"tag", "signature-none"}, {"value", Json::binary({})}}}});
}

std::uint64_t write_container(bool v3, const Json& manifest, const WriterNode& atoms,
                              std::vector<std::pair<std::string, const WriterNode*>> volumes, Take take) {
  std::ranges::sort(volumes, {}, [](const auto& volume) { return std::string_view(volume.first); });
  std::vector<VolumeHeader> headers;
  headers.reserve(volumes.size() + 1);
  std::vector<Section> sections(1);
  std::vector<std::string> names;
  sections[0].tag = 1;
  sections[0].front = encode_manifest(manifest);
  sections[0].length = sections[0].front.size();
  sections.push_back(volume_section(3, nullptr, headers.emplace_back(atoms, v3, "atoms")));
  for (const auto& [name, root] : volumes) {
    if (!is_utf8(name) || (!names.empty() && names.back() == name)) {
      throw Error(ErrorCode::kUnsupported, "volume " + in_quotes(name) + " is there twice or is not UTF-8");
    }
    names.push_back(name);
    sections.push_back(volume_section(4, &name, headers.emplace_back(*root, v3, "volume " + in_quotes(name))));
  }
  for (Section& section : sections) {
    Sha256Hasher hasher;
    send(section, [&](Bytes piece) { hasher.update(piece); });
    section.hash = hasher.finish();
  }
  const std::uint64_t framing = v3 ? 41 : 9;
  std::uint64_t at = 0;
  const auto place = [&](std::uint64_t first) {
    at = first;
    for (Section& section : sections) {
      section.start = at;
      at += framing + section.length;
    }
    return index_cbor(sections, names, framing);
  };
  // The length of the index depends on the offsets in it, and they on the length. So the reference first counts the
  // offsets from the end of the index. To that section, with its frame of nine bytes, it adds a fifth. The final
  // offsets have room there: each takes up to eight bytes more, and stands among 80 bytes.
  const std::uint64_t index_length = (place(0).size() + 9) * 12 / 10;
  Buffer index = place(8 + 9 + index_length);
  index.resize(index_length);
  Buffer start;
  put(start, std::string_view("\0webc", 5));
  put(start, std::string_view(v3 ? "003" : "002"));
  start.push_back(std::byte{2});
  put(start, index_length);
  put(start, index);
  take(start);
  for (const Section& section : sections) {
    Buffer frame(1, static_cast<std::byte>(section.tag));
    if (v3) {
      put(frame, section.hash);
    }
    put(frame, section.length);
    take(frame);
    Sha256Hasher again;
    send(section, [&](Bytes piece) {
      again.update(piece);
      take(piece);
    });
    if (again.finish() != section.hash) {
      throw Error(ErrorCode::kIo, "a file changed while it was packed");
    }
  }
  return at;
}

std::vector<std::pair<std::string, const WriterNode*>> by_name(
    const std::vector<std::pair<std::string, WriterNode>>& volumes) {
  std::vector<std::pair<std::string, const WriterNode*>> list;
  list.reserve(volumes.size());
  for (const auto& [name, root] : volumes) {
    list.emplace_back(name, &root);
  }
  return list;
}

}  // namespace

std::string atom_signature(const Sha256& digest) { return "sha256:" + base64_encode(digest); }

Writer::Writer(Version version, Json manifest) : version_(version), manifest_(std::move(manifest)) {
  if (version == Version::kV1) {
    throw Error(ErrorCode::kUnsupported, "containers of version 1 are not written");
  }
}

void Writer::add_atom(std::string name, Content content) {
  WriterNode atom;
  atom.name = std::move(name);
  atom.kind = EntryKind::kFile;
  atom.content = std::move(content);
  atoms_.children.push_back(std::move(atom));
}

void Writer::add_volume(std::string name, WriterNode root) { volumes_.emplace_back(std::move(name), std::move(root)); }

std::uint64_t Writer::write(int fd) const {
  auto volumes = by_name(volumes_);
  Buffer buffer;
  const auto flush = [&] {
    Bytes rest = buffer;
    while (!rest.empty()) {
      const ssize_t count = ::write(fd, rest.data(), rest.size());
      if (count < 0 && errno != EINTR) {
        throw system_error("Unable to write a container", errno);
      }
      rest = rest.subspan(count < 0 ? 0 : static_cast<std::size_t>(count));
    }
    buffer.clear();
  };
  const auto take = [&](Bytes bytes) {
    while (!bytes.empty()) {  // a large body passes in slices of the buffer's size
      const Bytes slice = bytes.first(std::min<std::size_t>(bytes.size(), std::size_t{1} << 20U));
      put(buffer, slice);
      bytes = bytes.subspan(slice.size());
      if (buffer.size() >= std::size_t{1} << 20U) {
        flush();
      }
    }
  };
  const std::uint64_t length = write_container(version_ == Version::kV3, manifest_, atoms_, std::move(volumes), take);
  flush();
  return length;
}

std::vector<std::byte> Writer::to_bytes() const {
  auto volumes = by_name(volumes_);
  Buffer buffer;
  write_container(version_ == Version::kV3, manifest_, atoms_, std::move(volumes),
                  [&](Bytes bytes) { put(buffer, bytes); });
  return buffer;
}

}  // namespace pkgfs::webc
