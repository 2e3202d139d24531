// SPDX-License-Identifier: MIT
#include "core/webc/writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/function_ref.h"
#include "core/base/limits.h"
#include "core/base/unique_fd.h"
#include "core/webc/bytes.h"

namespace pkgfs::webc {
namespace {

using Bytes = std::span<const std::byte>;
using Buffer = std::vector<std::byte>;
using Take = FunctionRef<void(Bytes)>;

void put(Buffer& buffer, Bytes bytes) { buffer.insert(buffer.end(), bytes.begin(), bytes.end()); }
void put(Buffer& buffer, std::string_view text) { put(buffer, std::as_bytes(std::span(text.data(), text.size()))); }
void put(Buffer& buffer, const Sha256& digest) { put(buffer, std::as_bytes(std::span(digest))); }
void put(Buffer& buffer, std::uint64_t value) {
  for (unsigned i = 0; i < 8; ++i) {
    buffer.push_back(static_cast<std::byte>(value >> (8 * i)));
  }
}
void set(Buffer& buffer, std::size_t at, Bytes bytes) { std::ranges::copy(bytes, buffer.data() + at); }
void set(Buffer& buffer, std::size_t at, const Sha256& digest) { set(buffer, at, std::as_bytes(std::span(digest))); }
void set(Buffer& buffer, std::size_t at, std::uint64_t value) {
  for (unsigned i = 0; i < 8; ++i) {
    buffer[at + i] = static_cast<std::byte>(value >> (8 * i));
  }
}

void read_host_file(const std::filesystem::path& path, Take take) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    throw system_error("Unable to read \"" + path.string() + "\"", errno);
  }
  Buffer buffer(std::size_t{1} << 18U);
  while (true) {
    const ssize_t count = ::read(fd.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) {
      continue;
    }
    if (count < 0) {
      throw system_error("Unable to read \"" + path.string() + "\"", errno);
    }
    if (count == 0) {
      return;
    }
    take(Bytes(buffer).first(static_cast<std::size_t>(count)));
  }
}

void read_content(const Content& content, Take take) {
  if (const auto* text = std::get_if<std::string>(&content)) {
    take(std::as_bytes(std::span(text->data(), text->size())));
  } else if (const auto* blob = std::get_if<Blob>(&content)) {
    take(blob->bytes());
  } else {
    read_host_file(std::get<std::filesystem::path>(content), take);
  }
}

// The header of one volume and the bodies that follow it.
class Header {
 public:
  Header(const WriterNode& root, bool v3, std::string where) : v3_(v3), where_(std::move(where)) {
    (void)tree(root);  // no section holds the hash of its root from outside
  }

  [[nodiscard]] const Buffer& bytes() const { return bytes_; }
  [[nodiscard]] std::uint64_t data_length() const { return data_length_; }
  [[nodiscard]] const std::vector<const Content*>& bodies() const { return bodies_; }

 private:
  [[noreturn]] void refuse(const WriterNode& node, const std::string& what) const {
    throw Error(ErrorCode::kUnsupported, where_ + ": " + in_quotes(node.name) + " " + what);
  }

  void times(const WriterNode& node) {
    if (v3_) {
      put(bytes_, std::uint64_t{0});
      put(bytes_, node.modified);
      put(bytes_, std::uint64_t{0});
    }
  }

  // A directory whose table is written and whose children are being written.
  struct Open {
    std::size_t hash_at = 0;
    std::vector<const WriterNode*> children;  // sorted
    std::vector<std::size_t> records;         // where the table has them
    Buffer hashes;                            // of the children so far
  };

  // Depth first, without recursion: directories come from people we don't know. The reader's limit is the writer's.
  Sha256 tree(const WriterNode& root) {
    std::vector<Open> way;
    way.push_back(open_directory(root));
    while (true) {
      Open& here = way.back();
      const std::size_t done = here.hashes.size() / sizeof(Sha256);
      if (done == here.children.size()) {
        const Sha256 digest = sha256(here.hashes);
        if (v3_) {
          set(bytes_, here.hash_at, digest);
        }
        way.pop_back();
        if (way.empty()) {
          return digest;
        }
        add_hash(way.back(), digest);
        continue;
      }
      const WriterNode& child = *here.children[done];
      set(bytes_, here.records[done], std::uint64_t{bytes_.size()});
      if (child.kind != EntryKind::kDirectory) {
        add_hash(here, child.kind == EntryKind::kSymlink ? symlink(child) : file(child));
        continue;
      }
      if (way.size() > limits::kTreeDepth) {
        refuse(child, "is nested too deeply");
      }
      way.push_back(open_directory(child));
    }
  }

  void add_hash(Open& directory, const Sha256& hash) {
    if (v3_) {
      set(bytes_, directory.records[directory.hashes.size() / sizeof(Sha256)] + 8, hash);
    }
    put(directory.hashes, hash);
  }

  Open open_directory(const WriterNode& node) {
    Open open;
    for (const WriterNode& child : node.children) {
      if (const char* why = name_problem(child.name)) {
        refuse(child, std::string("can't be stored: the name ") + why);
      }
      open.children.push_back(&child);
    }
    std::ranges::sort(open.children, {}, [](const WriterNode* child) { return std::string_view(child->name); });
    bytes_.push_back(std::byte{0x1e});
    const std::size_t length_at = bytes_.size();
    put(bytes_, std::uint64_t{0});
    times(node);
    open.hash_at = bytes_.size();
    if (v3_) {
      put(bytes_, Sha256{});
    }
    for (std::size_t i = 0; i < open.children.size(); ++i) {
      const WriterNode& child = *open.children[i];
      if (i > 0 && child.name == open.children[i - 1]->name) {
        refuse(child, "is there twice");
      }
      open.records.push_back(bytes_.size());
      put(bytes_, std::uint64_t{0});
      if (v3_) {
        put(bytes_, Sha256{});
      }
      put(bytes_, std::uint64_t{child.name.size()});
      put(bytes_, child.name);
    }
    set(bytes_, length_at, std::uint64_t{bytes_.size() - length_at - 8});
    return open;
  }

  Sha256 file(const WriterNode& node) {
    Sha256Hasher hasher;
    const std::uint64_t start = data_length_;
    read_content(node.content, [&](Bytes piece) {
      hasher.update(piece);
      data_length_ += piece.size();
    });
    const Sha256 digest = hasher.finish();
    bodies_.push_back(&node.content);
    bytes_.push_back(std::byte{0x1f});
    put(bytes_, start);
    put(bytes_, data_length_);
    put(bytes_, digest);
    times(node);
    return digest;
  }

  Sha256 symlink(const WriterNode& node) {
    if (!v3_) {
      refuse(node, "is a symbolic link, which version 2 can't hold");
    }
    if (const char* why = link_problem(node.target)) {
      refuse(node, std::string("can't be stored: the target ") + why);
    }
    const Sha256 digest = sha256(node.target);
    bytes_.push_back(std::byte{0x20});
    put(bytes_, std::uint64_t{node.target.size()});
    put(bytes_, node.target);
    put(bytes_, digest);
    times(node);
    return digest;
  }

  bool v3_;
  std::string where_;
  Buffer bytes_;
  std::uint64_t data_length_ = 0;
  std::vector<const Content*> bodies_;
};

// A section on its way: what comes before the volume, and the volume.
struct Section {
  std::uint8_t tag = 0;
  Buffer front;
  const Header* volume = nullptr;
  Sha256 hash{};
  std::uint64_t start = 0;   // of the tag byte
  std::uint64_t length = 0;  // of the payload
};

Section volume_section(std::uint8_t tag, const std::string* name, const Header& header) {
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

// `names` are those of the sections from the third on.
Buffer index_cbor(const std::vector<Section>& sections, const std::vector<std::string>& names, std::uint64_t framing,
                  bool dummy) {
  const auto entry = [&](const Section& section) {
    return dummy ? index_entry(~0ULL, ~0ULL, section.hash)
                 : index_entry(section.start, section.length + framing, section.hash);
  };
  Json volumes = Json::object();
  for (std::size_t i = 0; i < names.size(); ++i) {
    volumes[names[i]] = entry(sections[i + 2]);
  }
  return encode_manifest({{"manifest", entry(sections[0])},
                          {"atoms", entry(sections[1])},
                          {"volumes", std::move(volumes)},
                          {"signature", {{"tag", "signature-none"}, {"value", Json::binary({})}}}});
}

std::uint64_t write_container(bool v3, const Json& manifest, const WriterNode& atoms,
                              std::vector<std::pair<std::string, const WriterNode*>> volumes, Take take) {
  std::ranges::sort(volumes, {}, [](const auto& volume) { return std::string_view(volume.first); });
  std::vector<Header> headers;
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
  const std::uint64_t index_length = index_cbor(sections, names, framing, true).size();  // the most it can be
  std::uint64_t at = 8 + 9 + index_length;
  for (Section& section : sections) {
    section.start = at;
    at += framing + section.length;
  }
  Buffer index = index_cbor(sections, names, framing, false);
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
    while (!bytes.empty()) {  // a big body goes through in slices of the buffer
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
